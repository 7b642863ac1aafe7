"""One tenant of Omneo: one request goes out, one of four replies comes back.

What the transport raises is translated here, once, into values that say the only thing that matters later:
whether the request can have reached Omneo.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final, Protocol, Self
from urllib.parse import quote, unquote

from pipeline import __version__
from pipeline.core.network import Proxy, proxy_for, trusted_certificates
from pipeline.core.settings import Connection, address_variable
from pipeline.core.text.privacy import personal_values
from pipeline.loading.http.content import decoded
from pipeline.loading.http.interface import causes, httpx, whole
from pipeline.loading.http.strict_json import parsed


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

    def personal(self) -> set[str]:
        """What it says of people: values that the server's answer may repeat."""
        asked = personal_values(dict(self.params))
        asked.update(value for name, value in self.params if name == "identifier")
        if self.path.startswith("/profiles/"):
            asked.add(unquote(self.path.rsplit("/", 1)[1]))
        return asked | personal_values(parsed(self.body) if self.body else None)


@dataclass(frozen=True)
class Answered:
    """The server answered.

    Attributes:
        status: HTTP's status code.
        body: The whole body, decompressed.
        headers: By name in lower case; where one stands several times the last counts.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def json(self) -> Any:
        """The body's value; None where it is no JSON. See `parsed`."""
        return parsed(self.body)


@dataclass(frozen=True, slots=True)
class Unsent:
    """No connection: the request cannot have reached the server.

    Attributes:
        reason: What happened.
        unresolved: The environment variable whose host has no address; empty where that is not the reason.
    """

    reason: str
    unresolved: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request may have reached the server, but no whole answer came back."""

    reason: str


@dataclass(frozen=True, slots=True)
class Untrusted:
    """The server's certificate is not trusted, so nothing was sent; there is no fall-back."""

    reason: str


_LONG_TOKEN: Final = 16
"""A shorter token may be a part of any word in an answer, so it is not taken out of answers with data."""
_HEADERS: Final = (
    ("Accept", "application/json"),
    ("Content-Type", "application/json"),
    ("User-Agent", f"omneo-import/{__version__}"),
)

Reply = Answered | Unsent | Unknown | Untrusted


class CallSender(Protocol):
    """What the stage needs of the network."""

    async def send(self, call: Call) -> Reply:
        """Send once, without retry; never raises for what the network or the server does."""


class Client:
    """Sends calls to one tenant over a pool of connections.

    Args:
        connection: Where, and with which token.
        transport: Takes the place of the network in tests.
        timeout_s: For connecting, and for each pause within an answer; the whole may take four times as long.
        ssl_context: Certificates to trust; by default as the environment says, see `trusted_certificates`.

    Raises:
        SettingsError: The environment names certificates or a proxy that cannot be used.
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
        self._headers = httpx.Headers([("Authorization", f"Bearer {connection.token.reveal()}"), *_HEADERS])
        self._base_url = connection.base_url
        proxy = None if transport else proxy_for(connection.base_url)
        self._named_by = proxy.variable if proxy else address_variable()
        self._transport = transport or _transport(proxy, ssl_context or trusted_certificates(), timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()

    async def send(self, call: Call) -> Reply:
        """Send once; see `CallSender`. Redirects are answers like any other and are not followed."""
        try:
            url = _url(self._base_url + _target(call))
        except httpx.InvalidURL:
            # httpx refuses a URL this long, and no server takes one either.
            return Answered(414)
        # The body is passed as a stream: httpx would add host and length, which is slow, and the transport
        # adds them anyway.
        request = httpx.Request(call.method, url, headers=self._headers, stream=httpx.ByteStream(call.body))
        try:
            response = await self._transport.handle_async_request(request)
            answer = _answered(response, await whole(response.stream))
        except (httpx.RequestError, OSError) as error:
            return translate(error, self._named_by)
        return self._without_token(answer)

    def _without_token(self, answer: Answered) -> Answered:
        """What a server complains of is kept and shown, and some repeat the request in it."""
        token = self._token.reveal()
        if answer.status < 300 and (len(token) < _LONG_TOKEN or token.encode() not in answer.body):
            return answer
        headers = {name: value.replace(token, "***") for name, value in answer.headers.items()}
        return Answered(answer.status, answer.body.replace(token.encode(), b"***"), headers)


def _transport(proxy: Proxy | None, trusted: ssl.SSLContext, timeout_s: float) -> httpx.AsyncBaseTransport:
    # Imported here, because aiohttp is slow to import.
    from pipeline.loading.http.transport import AiohttpTransport

    return AiohttpTransport(trusted, proxy, timeout_s)


# A load sends to one address, and parsing it takes longer than sending.
@lru_cache(maxsize=16)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


def _target(call: Call) -> str:
    if not call.params:
        return call.path
    return f"{call.path}?" + "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in call.params)


def _answered(response: httpx.Response, raw: bytes) -> Answered:
    """The answer; httpx would decode its body without a bound."""
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw
    }
    encoding = response.headers.get("content-encoding") if "content-encoding" in headers else None  # of all
    return Answered(response.status_code, decoded(raw, encoding) if encoding else raw, headers)


def translate(error: BaseException, named_by: str = "") -> Reply:
    """Say what an exception of a transport means for the request.

    Unless it is sure that no connection came about, the outcome is `Unknown`.

    Args:
        error: What was raised.
        named_by: The variable that names the host to connect to.
    """
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    if not isinstance(error, _NEVER_CONNECTED):
        return Unknown(reason)
    came_of = tuple(map(type, causes(error)))
    if any(issubclass(each, ssl.SSLCertVerificationError) for each in came_of):
        return Untrusted(reason)
    return Unsent(reason, named_by if any(issubclass(each, socket.gaierror) for each in came_of) else "")


_NEVER_CONNECTED: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
