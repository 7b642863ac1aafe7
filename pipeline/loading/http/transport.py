"""An httpx transport over an aiohttp session, which says for certain whether a request can have left.

What an aiohttp exception means depends on when it was raised, not on its class: a proxy that hangs up and a
server that hangs up raise the same one. So `_Connector` translates what happens while there is no connection
yet, when nothing can have been sent, and `AiohttpTransport` everything else, when the server may have it all.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from pipeline.core.network import Proxy
from pipeline.loading.http.interface import causes, httpx, whole

ANSWER_MAX: Final = 32 * 1024 * 1024
"""Bytes that an answer may have on its way."""
_HEADER_MAX: Final = 64 * 1024
_WHOLE: Final = 4
"""The whole answer may take so many times the longest pause: a server may send a byte a second for ever."""
_LARGE: Final = 1024 * 1024
"""Bytes of a body from which on it is sent in pieces."""
_IDLE_MAX_S: Final = 15.0
"""How long a connection may be idle and used again: firewalls drop idle ones and say nothing."""
_NO_AUTOMATIC_HEADERS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends each request once and reads its whole answer; follows, retries, stores and decodes nothing.

    It raises `httpx.ConnectError`, `httpx.ConnectTimeout` or `httpx.ProxyError` only where no part of the
    request was sent, and another `httpx.TransportError` for everything else.

    Args:
        trusted: Certificates to trust.
        proxy: What to go through; None for a direct connection.
        timeout_s: For connecting, and for each pause within an answer; the whole may take four times as long.
    """

    def __init__(self, trusted: ssl.SSLContext, proxy: Proxy | None = None, timeout_s: float = 30.0) -> None:
        self._session = aiohttp.ClientSession(
            # No limit of connections: the throttle bounds the requests in flight.
            connector=_Connector(ssl=trusted, limit=0, keepalive_timeout=_IDLE_MAX_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(_WHOLE * timeout_s, connect=timeout_s, sock_read=timeout_s),
            skip_auto_headers=_NO_AUTOMATIC_HEADERS,
            # aiohttp would decompress without a bound; see `content.decoded`.
            auto_decompress=False,
            max_line_size=_HEADER_MAX,
            max_field_size=_HEADER_MAX,
            middlewares=(_send_once,),
            proxy=proxy.url if proxy else None,
        )
        self._proxy_headers = proxy.headers if proxy else None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`."""
        try:
            answer = await self._session.request(
                request.method,
                _address(str(request.url)),
                data=_sendable(await whole(request.stream)),
                headers=_headers(tuple(request.headers.raw)),
                proxy_headers=self._proxy_headers,
                allow_redirects=False,
            )
            try:
                body = await _read(answer)
            except BaseException:
                answer.close()
                raise
        except (aiohttp.ClientError, OSError) as error:
            raise _maybe_sent(error) from error
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=httpx.ByteStream(body))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


class _Connector(aiohttp.TCPConnector):
    """Gives connections on which nothing was received yet, or says why there is none."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        while True:
            try:
                connection = await super().connect(*args, **kwargs)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                # A name that cannot be a host raises a ValueError.
                raise _never_sent(error) from error
            # A server may send an answer to no request at all; the next request must not take it for its own.
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise what aiohttp does not know: after errors of its own it sends a query a second time."""
    try:
        return await handler(request)
    except (aiohttp.ClientError, OSError) as error:
        raise _maybe_sent(error) from error


# A load sends to one address with the same headers.
@lru_cache(maxsize=16)
def _address(text: str) -> URL:
    return URL(text, encoded=True)


@lru_cache(maxsize=16)
def _headers(raw: tuple[tuple[bytes, bytes], ...]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict((name.decode(), value.decode("latin-1")) for name, value in raw))


def _sendable(body: bytes) -> bytes | BytesIO | None:
    """A large body goes out in pieces, so that the other requests are not held up meanwhile."""
    return BytesIO(body) if len(body) > _LARGE else body or None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    if answer.status < 200:
        raise aiohttp.ClientPayloadError(f"{answer.status} is no answer")
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > ANSWER_MAX:
            raise aiohttp.ClientPayloadError(f"an answer of more than {ANSWER_MAX >> 20} MiB")
    return bytes(body)


def _never_sent(error: Exception) -> httpx.TransportError:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return httpx.ProxyError(f"the proxy answered {error.status} {error.message}".rstrip())
    if isinstance(error, TimeoutError):
        return httpx.ConnectTimeout("no connection in time")
    return httpx.ConnectError(_reason(error))


def _maybe_sent(error: Exception) -> httpx.TransportError:
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout("no whole answer in time")
    return httpx.ReadError(_reason(error))


def _reason(error: BaseException) -> str:
    """What happened, without the addresses and objects that aiohttp puts before it."""
    deepest = list(causes(error))[-1]
    return f"{type(deepest).__name__}: {deepest}".rstrip(": ")
