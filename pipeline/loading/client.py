"""The wire: one request goes out, one of four replies comes back.

A request is an `httpx.Request` handed to an `httpx.AsyncBaseTransport`; aiohttp does the sending by
default, since httpx's own pool costs twenty times its CPU at high concurrency. What third parties raise
is translated here, once, into values that say the only thing that matters later: whether the request
can have reached Omneo.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from pipeline import __version__
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
class Answered:
    """The server answered.

    Attributes:
        status: HTTP's status code.
        body: The whole body, decompressed.
        headers: By name in lower case.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


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


_WHOLE: Final = 4  # times the longest pause: what drips in for longer is no answer
_LONG_TOKEN: Final = 16  # a shorter one may be a part of any word in what was looked up
_ANSWER_MAX: Final = 32 * 1024 * 1024
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
        self._connection = connection
        self._transport = transport or _aiohttp_transport(connection.base_url, ssl_context)
        self._whole_s = _WHOLE * timeout_s
        self._extensions = {"timeout": {"connect": timeout_s, "read": timeout_s, "write": timeout_s}}
        self._host = urlsplit(connection.base_url).netloc
        self._urls: dict[str, httpx.URL] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()

    async def send(self, call: Call) -> Reply:
        """Send once; see `Sender`. Redirects are answers like any other: nobody follows them."""
        try:
            async with asyncio.timeout(self._whole_s):
                answer = await self._exchange(self._request(call))
        except (httpx.HTTPError, aiohttp.ClientError, TimeoutError, OSError) as error:
            return translate(error)
        return self._without_token(answer)

    async def _exchange(self, request: httpx.Request) -> Answered:
        response = await self._transport.handle_async_request(request)
        try:
            headers = _plain(response.headers)
            body = await _body(response, encoded="content-encoding" in headers)
        finally:
            await response.aclose()
        return Answered(response.status_code, body, headers)

    def _without_token(self, answer: Answered) -> Answered:
        """What a server complains of is kept and shown, and some repeat the request in it."""
        token = self._connection.token.reveal()
        if answer.status < 300 and (len(token) < _LONG_TOKEN or token.encode() not in answer.body):
            return answer
        headers = {name: value.replace(token, "***") for name, value in answer.headers.items()}
        return Answered(answer.status, answer.body.replace(token.encode(), b"***"), headers)

    def _request(self, call: Call) -> httpx.Request:
        # Given as a stream, the body spares httpx its guesses at length and type, a quarter of the CPU.
        headers = [
            ("Host", self._host),
            ("Authorization", f"Bearer {self._connection.token.reveal()}"),
            ("Content-Length", str(len(call.body))),
            *_HEADERS,
        ]
        stream = httpx.ByteStream(call.body)
        request = httpx.Request(
            call.method, self._url(call), headers=headers, stream=stream, extensions=self._extensions
        )
        request.headers.encoding = "ascii"  # else httpx guesses it anew for each header
        request.read()
        return request

    def _url(self, call: Call) -> httpx.URL:
        if call.method != "POST":
            query = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in call.params)
            return httpx.URL(f"{self._connection.base_url}{call.path}{'?' if query else ''}{query}")
        # The few addresses that are posted to are parsed once: parsing costs as much as sending.
        if call.path not in self._urls:
            self._urls[call.path] = httpx.URL(self._connection.base_url + call.path)
        return self._urls[call.path]


async def _body(response: httpx.Response, *, encoded: bool) -> bytes:
    stream = response.stream
    if not isinstance(stream, httpx.AsyncByteStream):
        raise TypeError(f"the transport answered with a {type(stream).__name__}")
    chunks, size = [], 0
    async for chunk in response.aiter_bytes() if encoded else stream:
        chunks.append(chunk)
        size += len(chunk)
        if size > _ANSWER_MAX:
            raise httpx.RemoteProtocolError(f"an answer of more than {_ANSWER_MAX >> 20} MiB")
    return b"".join(chunks)


def parsed(body: bytes, parse_float: type = float) -> Any:
    """The value of a JSON text; None where it is none."""
    try:
        return json.loads(body, parse_float=parse_float)
    except (ValueError, RecursionError):
        return None


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """Names in lower case; where one stands several times the last counts."""
    return {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers.raw}


def translate(error: BaseException) -> Reply:
    """Say what an exception of httpx, aiohttp or the system means for the request.

    Unless it is sure that no connection came about, the outcome is `Unknown`. httpx-aiohttp reports a
    connection dropped in mid-request as `httpx.ConnectTimeout`, so aiohttp's own exception, which is
    kept as the cause, is looked at first.
    """
    chain = list(_causes(error))
    reason = _reason(chain)
    if any(isinstance(each, ssl.SSLError | aiohttp.ClientSSLError) for each in chain):
        return Untrusted(reason)
    native = [each for each in chain if isinstance(each, aiohttp.ClientError)]
    never_connected: tuple[type[BaseException], ...] = (
        (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
        if native
        else (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
    )
    if any(isinstance(each, never_connected) for each in native or chain):
        return Unsent(reason)
    return Unknown(reason)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(chain: Sequence[BaseException]) -> str:
    root = next((each for each in chain if isinstance(each, aiohttp.ClientError)), chain[0])
    return f"{type(root).__name__}: {root}".rstrip(": ")


def _aiohttp_transport(base_url: str, context: ssl.SSLContext | None) -> AiohttpTransport:
    # Built inside the running loop, as aiohttp demands. No cookie is kept: every request stands alone.
    trusted = context or httpx.create_ssl_context()

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trusted), cookie_jar=aiohttp.DummyCookieJar()
        )

    return AiohttpTransport(verify=trusted, client=session, proxy=_proxy(base_url))


def _proxy(base_url: str) -> httpx.Proxy | None:
    """The proxy that the environment names for https; plain http goes to loopback only, so directly."""
    address = urlsplit(base_url)
    proxy = getproxies().get("https")
    if address.scheme != "https" or not proxy or proxy_bypass(address.hostname or ""):
        return None
    return httpx.Proxy(proxy)
