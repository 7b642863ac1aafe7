"""One tenant of Omneo: one request goes out, one of four replies comes back.

What the wire raises is translated here, once, into values that say the only thing that matters later:
whether the request can have reached Omneo.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from pipeline import __version__
from pipeline.loading.wire import Answered, Exchanger, Headers, ThroughHttpx, Wire
from pipeline.settings import Connection


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as yet without address and token.

    Attributes:
        method: HTTP's verb.
        path: Below the API's root, with a leading slash; already quoted.
        body: JSON, or empty.
        params: Query parameters in order.
    """

    method: str
    path: str
    body: bytes = b""
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Unsent:
    """No connection: the request cannot have reached the server."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request may have reached the server, but no whole answer came back."""

    reason: str


@dataclass(frozen=True, slots=True)
class Untrusted:
    """TLS failed, so nothing was sent; there is no fall-back."""

    reason: str


_LONG_TOKEN: Final = 16  # a shorter one may be a part of any word in what was looked up
_HEADERS: Final = (
    ("Accept", "application/json"),
    ("Content-Type", "application/json"),
    ("User-Agent", f"omneo-import/{__version__}"),
)

Reply = Answered | Unsent | Unknown | Untrusted


class Sender(Protocol):
    """What the stage needs of the wire."""

    async def send(self, call: Call) -> Reply:
        """Send once, without retry; never raises for what the network or the server does."""


class Client:
    """Sends calls to one tenant over a pool of connections.

    Args:
        connection: Where, and with which token.
        transport: Takes the place of the network in tests.
        timeout_s: For connecting, and for each pause within an answer; the whole may take four times as long.
        ssl_context: Certificates to trust; those of the system and of certifi by default.
    """

    def __init__(
        self,
        connection: Connection,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        timeout_s: float = 30.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._token = connection.token
        headers = (("Authorization", f"Bearer {connection.token.reveal()}"), *_HEADERS)
        self._wire = _wire(connection.base_url, headers, timeout_s, transport, ssl_context)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._wire.aclose()

    async def send(self, call: Call) -> Reply:
        """Send once; see `Sender`. Redirects are answers like any other: nobody follows them."""
        try:
            answer = await self._wire.exchange(call.method, _target(call), call.body)
        except (httpx.HTTPError, OSError) as error:  # what TLS raises is an OSError too
            return translate(error)
        return self._without_token(answer)

    def _without_token(self, answer: Answered) -> Answered:
        """What a server complains of is kept and shown, and some repeat the request in it."""
        token = self._token.reveal()
        if answer.status < 300 and (len(token) < _LONG_TOKEN or token.encode() not in answer.body):
            return answer
        headers = {name: value.replace(token, "***") for name, value in answer.headers.items()}
        return Answered(answer.status, answer.body.replace(token.encode(), b"***"), headers)


def _wire(
    base_url: str,
    headers: Headers,
    timeout_s: float,
    transport: httpx.AsyncBaseTransport | None,
    ssl_context: ssl.SSLContext | None,
) -> Exchanger:
    if transport is None:
        trusted = ssl_context or httpx.create_ssl_context()
        proxy = _proxy(base_url)
        if proxy is None:
            return Wire(base_url, headers, timeout_s, trusted)
        transport = httpx.AsyncHTTPTransport(verify=trusted, proxy=proxy)
    return ThroughHttpx(transport, base_url, headers, timeout_s)


def _target(call: Call) -> str:
    if not call.params:
        return call.path
    return f"{call.path}?" + "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in call.params)


def parsed(body: bytes, parse_float: type = float) -> Any:
    """The value of a JSON text; None where it is none."""
    try:
        return json.loads(body, parse_float=parse_float)
    except (ValueError, RecursionError):
        return None


def translate(error: BaseException) -> Reply:
    """Say what an exception of the wire means for the request.

    Unless it is sure that no connection came about, the outcome is `Unknown`.
    """
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    if not isinstance(error, _NEVER_CONNECTED):
        return Unknown(reason)
    is_tls = any(isinstance(each, ssl.SSLError) for each in _causes(error))
    return Untrusted(reason) if is_tls else Unsent(reason)


_NEVER_CONNECTED: Final = (
    ssl.SSLError,  # by itself it comes of a handshake
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _proxy(base_url: str) -> httpx.Proxy | None:
    """The proxy that the environment names for https; plain http goes to loopback only, so directly."""
    address = urlsplit(base_url)
    proxy = getproxies().get("https")
    if address.scheme != "https" or not proxy or proxy_bypass(address.hostname or ""):
        return None
    return httpx.Proxy(proxy)
