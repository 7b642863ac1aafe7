"""Where Omneo is and how to get in: options and environment variables, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import SettingsError


class Secret:
    """A text that never shows itself by accident: `repr`, `str` and formatting give stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself; call it only where it goes on the wire."""
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
        SettingsError: Something is missing, malformed, or would send the token in the clear.
    """
    return Connection(_base_url(environ), _token(token_file, environ))


def address_variable(environ: Mapping[str, str] = os.environ) -> str:
    """The variable that says where Omneo is: `OMNEO_BASE_URL` where that is set, else `OMNEO_TENANT`."""
    return "OMNEO_BASE_URL" if environ.get("OMNEO_BASE_URL", "").strip() else "OMNEO_TENANT"


def _base_url(environ: Mapping[str, str]) -> str:
    if url := environ.get("OMNEO_BASE_URL", "").strip():
        return _checked_url(url)
    tenant = environ.get("OMNEO_TENANT", "").strip()
    if not tenant:
        raise SettingsError(
            "OMNEO_TENANT is not set, so there is no tenant to send to.",
            hint="Set OMNEO_TENANT=<tenant> (the name in api.<tenant>.getomneo.com), or OMNEO_BASE_URL.",
        )
    if not tenant.replace("-", "").isalnum() or not tenant.isascii() or len(tenant) > _LABEL_MAX:
        raise SettingsError(
            f"OMNEO_TENANT={tenant!r} is not a tenant's name: letters, digits and hyphens were expected.",
            hint="Give only the name, as in OMNEO_TENANT=acme; a whole address goes into OMNEO_BASE_URL.",
        )
    return f"https://api.{tenant}.getomneo.com/api/v3"


_LABEL_MAX = 63
"""Characters between two dots of a host's name (RFC 1035)."""


def _checked_url(url: str) -> str:
    import httpx  # only where an address is given

    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
        httpx.URL(url).raw_host.decode("ascii").encode("idna")
    except (ValueError, httpx.InvalidURL) as error:
        raise SettingsError(f"OMNEO_BASE_URL is not an address: {error}.") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError("OMNEO_BASE_URL must hold no user, password, query or fragment.")
    if parts.scheme == "https" and host:
        return url.rstrip("/")
    if parts.scheme == "http" and is_loopback(host):
        return url.rstrip("/")
    if parts.scheme == "http" and host:
        raise SettingsError(
            f"OMNEO_BASE_URL={url!r} would send the token unencrypted to {host}.",
            hint="Use https://; plain http:// is allowed only to a loopback address such as 127.0.0.1.",
        )
    raise SettingsError(f"OMNEO_BASE_URL={url!r} is not an https:// address.")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine as only it sees itself."""
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
        raise SettingsError(f"{where} holds blanks or unprintable characters: that is not a token.")
    return Secret(token)
