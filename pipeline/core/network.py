"""How the environment says Omneo is reached: which certificates to trust, and through which proxy.

The variables are those that other tools read too, so each may hold anything. What cannot be used is an error
that names the variable. Its value is never repeated: a proxy's holds a password.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.core.errors import SettingsError

# Imported late: most commands use no network, and these imports take 30 ms.
if TYPE_CHECKING:
    import ssl

# `openssl rehash` gives certificates such names: a hash and a counter.
_CERTIFICATE_OF_A_DIRECTORY: Final = re.compile(r"[0-9a-f]{8}\.\d+")
_PROXY_VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that connects us through to the server.

    Attributes:
        url: Its address, without credentials.
        variable: The environment variable that names it.
        headers: Sent to the proxy, such as its credentials; None for nothing.
    """

    url: str
    variable: str
    headers: Mapping[str, str] | None = field(default=None, repr=False)


def check_network(base_url: str) -> None:
    """Check that the settings in the environment can be used for this address.

    Raises:
        SettingsError: It cannot.
    """
    trusted_certificates()
    proxy_for(base_url)


def trusted_certificates() -> ssl.SSLContext:
    """Trust `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set, else the system and certifi.

    Raises:
        SettingsError: One of them, or `SSLKEYLOGFILE`, cannot be used.
    """
    _check_key_log()
    file, directory = os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None
    if directory:
        _check_certificate_directory(directory)
    if file and not Path(file).is_file():
        raise _unusable("SSL_CERT_FILE", "names a file that does not exist")
    try:
        return _certificates_of(file, directory, os.environ.get("SSLKEYLOGFILE"))
    except OSError as error:
        # ssl.SSLError is an OSError.
        why = f"cannot be read: {error.strerror}" if error.filename else "holds no certificate in PEM form"
        raise _unusable("SSL_CERT_FILE", f"names a file that {why}") from None


@cache
def _certificates_of(file: str | None, directory: str | None, _key_log: str | None) -> ssl.SSLContext:
    """Trust a file and a directory, else the system and certifi; kept, because reading takes 20 ms.

    Args:
        file: One of certificates, if it is named.
        directory: One of certificates, if it is named.
        _key_log: `SSLKEYLOGFILE`, which Python reads when a context is made.
    """
    import ssl

    import certifi

    trusted = ssl.create_default_context(cafile=file, capath=directory)
    if not file and not directory:
        trusted.load_verify_locations(cafile=certifi.where())
    return trusted


def _check_key_log() -> None:
    """Check the file, which Python opens with every TLS context, failing if it cannot."""
    path = os.environ.get("SSLKEYLOGFILE")
    if not path:
        return
    try:
        with Path(path).open("ab"):
            pass
    except OSError as error:
        raise _unusable("SSLKEYLOGFILE", f"names a file that cannot be written: {error.strerror}") from None


def _check_certificate_directory(directories: str) -> None:
    """OpenSSL looks certificates up by their hash, and does not report that it found none."""
    for directory in filter(None, directories.split(os.pathsep)):
        try:
            if any(_CERTIFICATE_OF_A_DIRECTORY.fullmatch(each.name) for each in Path(directory).iterdir()):
                return
        except OSError:
            continue
    raise _unusable(
        "SSL_CERT_DIR", "names no directory with certificates in it (`openssl rehash` gives them their names)"
    )


def proxy_for(base_url: str) -> Proxy | None:
    """The proxy that the environment names for an https address; None where that is reached directly.

    Plain http goes to loopback addresses only, and so never through a proxy.

    Raises:
        SettingsError: It names one that cannot be used.
    """
    from urllib.request import getproxies

    address = urlsplit(base_url)
    named = getproxies()
    value = named.get("https") or named.get("all")
    if address.scheme != "https" or not value or _is_excepted(address, named.get("no", "")):
        return None
    variable = next((name for name in _PROXY_VARIABLES if os.environ.get(name) == value), "HTTPS_PROXY")
    return _checked_proxy(value.strip(), variable)


def _is_excepted(address: SplitResult, no_proxy: str) -> bool:
    from urllib.request import proxy_bypass

    host = address.hostname or ""
    if proxy_bypass(host) or proxy_bypass(address.netloc):
        return True
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    return any(_holds(each.strip(), ip) for each in no_proxy.split(","))


def _holds(entry: str, ip: object) -> bool:
    """Whether an entry of NO_PROXY is a network, such as 10.0.0.0/8, with this address in it."""
    try:
        return ip in ip_network(entry.strip("[]"), strict=False)
    except (ValueError, TypeError):
        return False


def _checked_proxy(value: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _unusable(variable, "is not the address of a proxy", _PROXY_FORM) from None
    if parts.scheme not in ("http", "https"):
        raise _unusable(variable, "names a kind of proxy that is not supported", _PROXY_FORM)
    # In brackets stands an IPv6 address, whose colons belong to the host.
    named = (host or "").replace(":", "") if "[" in parts.netloc else host or ""
    if (
        not re.fullmatch(r"[A-Za-z0-9._-]+", named)
        or port == 0
        or parts.path.strip("/")
        or re.search(r"[^!-~]", value)
    ):
        raise _unusable(variable, "is not the address of a proxy", _PROXY_FORM)
    where = f"[{host}]" if ":" in (host or "") else host
    url = f"{parts.scheme}://{where}:{port or (443 if parts.scheme == 'https' else 80)}"
    if parts.username is None:
        return Proxy(url, variable)
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return Proxy(url, variable, {"Proxy-Authorization": f"Basic {b64encode(credentials).decode()}"})


_PROXY_FORM: Final = (
    "An HTTP proxy is expected, such as http://proxy.example:3128. Unset it, or except Omneo with NO_PROXY."
)


def _unusable(variable: str, why: str, hint: str = "") -> SettingsError:
    return SettingsError(f"{variable} {why}.", hint=hint or f"Set it right, or unset {variable}.")
