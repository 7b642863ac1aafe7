"""The address of Omneo and the token: options and environment variables, checked once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import idna

from pipeline.core.errors import SettingsError
from pipeline.core.network import check_network

HISTORIC_AFTER: Final = timedelta(days=30)
"""The age from which on a sale is old, unless `--historic-after` says otherwise."""


class Secret:
    """A text that is never shown by accident: `repr`, `str` and formatting give stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself; call it only where it is sent."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__


@dataclass(frozen=True)
class Limit:
    """The gate: how much may be rejected.

    Attributes:
        text: As it was written.
        count: At most so many; None where a share is given.
        share: At most this share of what was read, 0 to 1; None where a count is given. Exact, since 29%
            of 100 is 29, and not a little less as with floats.
    """

    text: str
    count: int | None = None
    share: Decimal | None = None

    @classmethod
    def of(cls, text: str) -> Limit:
        """The limit that a text names: a count such as `100`, or a share such as `2%`.

        Raises:
            ValueError: It is neither.
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%|(\d+)", text.strip())
        if not found or float(found[1] or 0) > 100:
            raise ValueError(f"{text!r} is neither a count such as 100 nor a share such as 2%")
        return cls(text, count=int(found[2])) if found[2] else cls(text, share=Decimal(found[1]) / 100)

    def exceeded(self, rejected: int, read: int) -> bool:
        """Whether more was rejected than allowed."""
        if self.count is not None:
            return rejected > self.count
        assert self.share is not None
        return rejected > self.share * read


@dataclass(frozen=True)
class Connection:
    """A tenant of Omneo.

    Attributes:
        base_url: The API's root without a trailing slash, such as `https://api.acme.getomneo.com/api/v3`.
        token: The bearer token.
    """

    base_url: str
    token: Secret = field(repr=False)


def connection_from_environment(
    token_file: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Connection:
    """Read `OMNEO_TENANT` or `OMNEO_BASE_URL`, and the token from `OMNEO_TOKEN` or `token_file`.

    Raises:
        SettingsError: Something is missing, malformed, or would send the token unencrypted; or the settings
            for proxies and certificates in the environment cannot be used.
    """
    connection = Connection(_base_url(environ), _token(token_file, environ))
    check_network(connection.base_url)
    return connection


def address_variable(environ: Mapping[str, str] = os.environ) -> str:
    """The variable that says where Omneo is: `OMNEO_BASE_URL` where that is set, else `OMNEO_TENANT`."""
    return "OMNEO_BASE_URL" if environ.get("OMNEO_BASE_URL", "").strip() else "OMNEO_TENANT"


def base_url_from_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """The tenant that `OMNEO_TENANT` or `OMNEO_BASE_URL` names; None where neither is set.

    Raises:
        SettingsError: It is malformed.
    """
    named = any(environ.get(name, "").strip() for name in ("OMNEO_BASE_URL", "OMNEO_TENANT"))
    return _base_url(environ) if named else None


def tenant_of(base_url: str) -> str:
    """The form in which base URLs are compared: no trailing slash, case of host or usual port."""
    if not base_url:
        return ""
    parts = urlsplit(base_url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    usual = {"http": 80, "https": 443}.get(scheme)
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path.rstrip('/')}"


def _base_url(environ: Mapping[str, str]) -> str:
    if url := environ.get("OMNEO_BASE_URL", "").strip():
        return _checked_url(url)
    tenant = environ.get("OMNEO_TENANT", "").strip()
    if not tenant:
        raise SettingsError(
            "OMNEO_TENANT is not set, so there is no tenant to send to.",
            hint="Set OMNEO_TENANT=<tenant> (the name in api.<tenant>.getomneo.com), or OMNEO_BASE_URL.",
        )
    if not _LABEL.fullmatch(tenant) or "_" in tenant:
        raise SettingsError(
            "OMNEO_TENANT is not a tenant's name: letters, digits and hyphens were expected.",
            hint="Give only the name, as in OMNEO_TENANT=acme; a whole address goes into OMNEO_BASE_URL.",
        )
    return f"https://api.{tenant}.getomneo.com/api/v3"


def _checked_url(url: str) -> str:
    """The address, if requests can go there. It is not repeated in errors: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _bad_address("is not a valid URL") from None
    if parts.username is not None or parts.password is not None or "?" in url or "#" in url:
        raise _bad_address("must hold no user, password, query or fragment")
    if parts.scheme not in ("http", "https") or not host:
        raise _bad_address("is not an https:// address")
    if port == 0 or not _is_host(host) or _NOT_IN_A_PATH.search(parts.path):
        raise _bad_address("is not a valid URL")
    if parts.scheme == "http" and not is_loopback(host):
        raise SettingsError(
            "OMNEO_BASE_URL would send the token unencrypted.",
            hint="Use https://; plain http:// is allowed only to a loopback address such as 127.0.0.1.",
        )
    return url.rstrip("/")


def _bad_address(why: str) -> SettingsError:
    return SettingsError(
        f"OMNEO_BASE_URL {why}.", hint="It is like https://api.acme.getomneo.com/api/v3, or set OMNEO_TENANT."
    )


# Characters that a URL cannot hold, and `%` without two hexadecimal digits.
_NOT_IN_A_PATH: Final = re.compile(r"[^!-~\u00a1-\ud7ff\uf900-\ufffd]|[\\<>\"{}|^`]|%(?![0-9A-Fa-f]{2})")
# DNS allows 63 characters between two dots.
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


def _is_host(host: str) -> bool:
    """Whether a host is an IP address in its usual form, or can be a name."""
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return "%" not in host  # a zone holds for one machine
    try:
        labels = idna.encode(host).decode() if not host.isascii() else host
    except UnicodeError:
        # Errors of `idna` are UnicodeErrors too.
        return False
    parts = labels.removesuffix(".").split(".")
    # All digits, or hexadecimal: meant as an IP address, which it is not.
    is_number = re.fullmatch(r"[0-9]+|0x[0-9a-f]*", parts[-1])
    # DNS allows 253 characters in all.
    return len(labels) < 254 and not is_number and all(map(_LABEL.fullmatch, parts))


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is a loopback address of this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def webhook_secret(secret_file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Secret:
    """Read the secret that Omneo signs its webhooks with, from `OMNEO_WEBHOOK_SECRET` or a file.

    Raises:
        SettingsError: There is none.
    """
    text = _from_file(secret_file) if secret_file is not None else environ.get("OMNEO_WEBHOOK_SECRET", "")
    if not text.strip():
        raise SettingsError(
            "There is no secret to check webhooks with.",
            hint="Set OMNEO_WEBHOOK_SECRET, or name a file with --secret-file.",
        )
    return Secret(text.strip())


def _from_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"The file {path} cannot be read: {why}.") from None


def _token(token_file: Path | None, environ: Mapping[str, str]) -> Secret:
    if token_file is not None:
        return _checked_token(_from_file(token_file), f"The token file {token_file}")
    return _checked_token(environ.get("OMNEO_TOKEN", ""), "OMNEO_TOKEN")


def _checked_token(text: str, where: str) -> Secret:
    token = text.strip()
    if not token:
        raise SettingsError(
            f"{where} holds no token.", hint="Set OMNEO_TOKEN, or name a file with --token-file."
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"{where} contains blanks or unprintable characters: that is not a token.")
    return Secret(token)
