"""HTTP/1.1 to one server: requests with whole bodies go out, whole answers come back.

`Wire` keeps connections and has one request at a time on each. llhttp, by way of httptools, reads the
answers; asyncio connects, with TLS where the address wants it. It leaves out what an import has no use for
(redirects, cookies, streams, HTTP/2), and a request costs less than half the CPU that aiohttp takes for it.
`ThroughHttpx` does the same through a transport of httpx: for what stands between us and the server, such as
a proxy, and in the place of the network in tests.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from socket import SOCK_STREAM
from typing import Final, NamedTuple, Protocol

import httptools
import httpx
from aiohappyeyeballs import AddrInfoType, start_connection

ANSWER_MAX: Final = 32 * 1024 * 1024
"""Bytes that an answer may have."""
_WHOLE: Final = 4  # times the longest pause: what drips in for longer is no answer
_QUIET_MAX_S: Final = 15.0  # firewalls forget quiet connections without a word
_HAPPY_EYEBALLS_S: Final = 0.25  # RFC 8305: then the next of a name's addresses is tried too
_ADDRESSES_S: Final = 10.0  # for so long a name keeps its addresses
_TELLS_LENGTH: Final = frozenset({b"content-length", b"transfer-encoding"})

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
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


class Exchanger(Protocol):
    """Exchanges requests for answers with one server."""

    async def exchange(self, method: str, target: str, body: bytes) -> Answered:
        """Send one request and read the whole answer.

        Args:
            method: HTTP's verb.
            target: Path and query below the base address, quoted.
            body: May be empty.

        Raises:
            httpx.ConnectError: No connection, so nothing was sent; `httpx.ConnectTimeout` likewise.
            ssl.SSLError: No connection that can be trusted, so nothing was sent.
            httpx.RequestError: Any other: it may have been sent, and there is no whole answer.
        """

    async def aclose(self) -> None:
        """Close the connections."""


class Wire:
    """Sends over connections of its own; see `Exchanger`.

    Args:
        base_url: The server, and a path that is common to all requests.
        headers: Of every request; those about host and body are added.
        timeout_s: For connecting, and for each pause within an answer; the whole may take four times as long.
        ssl_context: Certificates to trust.
    """

    def __init__(
        self, base_url: str, headers: Headers, timeout_s: float, ssl_context: ssl.SSLContext
    ) -> None:
        url = httpx.URL(base_url)
        self._ssl = ssl_context if url.scheme == "https" else None
        self._host = url.raw_host.decode("ascii")
        self._port = url.port or (443 if self._ssl else 80)
        self._root = url.raw_path.rstrip(b"/")
        lines = [("Host", url.netloc.decode("ascii")), *headers]
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in lines).encode("ascii")
        if self._headers.count(b"\n") != len(lines) or self._headers.count(b"\r") != len(lines):
            raise ValueError("a line break in a header")
        self._timeout_s = timeout_s
        self._kept: list[_Connection] = []
        self._addresses: list[AddrInfoType] = []
        self._resolved_at = -_ADDRESSES_S
        self._resolving = asyncio.Lock()

    async def exchange(self, method: str, target: str, body: bytes) -> Answered:
        """See `Exchanger`."""
        start = b"%b %b%b HTTP/1.1\r\n" % (method.encode("ascii"), self._root, target.encode("ascii"))
        request = b"%b%bContent-Length: %d\r\n\r\n%b" % (start, self._headers, len(body), body)
        raw = await self._exchange(request, repeatable=method == "GET")
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in raw.headers}
        return Answered(raw.status, _decoded(raw) if "content-encoding" in headers else raw.body, headers)

    async def _exchange(self, request: bytes, *, repeatable: bool) -> _Raw:
        while True:
            kept = self._quiet()
            connection = kept or await self._connect()
            try:
                raw = await connection.exchange(request, self._timeout_s)
            except _Silence:
                # The server may have closed a kept connection while the request was on its way.
                if kept is None or not repeatable:
                    raise
                continue
            if connection.is_open:
                self._kept.append(connection)
            return raw

    async def aclose(self) -> None:
        """Close the connections that no request is on."""
        while self._kept:
            self._kept.pop().close()
        await asyncio.sleep(0)  # sockets are closed by the loop's next turn

    def _quiet(self) -> _Connection | None:
        """The connection that was used last, if it still can be."""
        while self._kept:
            connection = self._kept.pop()
            if connection.is_usable:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._connection(asyncio.get_running_loop())
        except TimeoutError:
            raise httpx.ConnectTimeout(f"no connection in {self._timeout_s:g} s") from None
        except ssl.SSLError:
            raise
        except (OSError, UnicodeError) as error:  # the latter for a name that cannot be one
            raise httpx.ConnectError(str(error)) from error

    async def _connection(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        addresses = await self._resolve(loop)
        socket = await start_connection(addresses, happy_eyeballs_delay=_HAPPY_EYEBALLS_S, interleave=1)
        name = self._host if self._ssl else None
        _, connection = await loop.create_connection(
            lambda: _Connection(loop), sock=socket, ssl=self._ssl, server_hostname=name
        )
        return connection

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> list[AddrInfoType]:
        """The server's addresses, looked up once for all who wait for them."""
        async with self._resolving:
            if loop.time() - self._resolved_at >= _ADDRESSES_S:
                found = await loop.getaddrinfo(self._host, self._port, type=SOCK_STREAM)
                self._addresses, self._resolved_at = list(found), loop.time()
        return self._addresses


class _Raw(NamedTuple):
    """An answer as it came."""

    status: int
    headers: list[tuple[bytes, bytes]]
    chunks: list[bytes]
    keeps_alive: bool

    @property
    def body(self) -> bytes:
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)


class _Silence(httpx.RemoteProtocolError):
    """The connection ended before any answer."""


class _Connection(asyncio.Protocol):
    """One connection: a request goes out, its answer comes in, and so on. What nobody asked for ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[_Raw] | None = None
        self._sent_at = self._heard_at = loop.time()
        self._size = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._in_head = self._ends_with_connection = False

    @property
    def is_open(self) -> bool:
        """Whether it is not, and is not about to be, closed."""
        return not self._transport.is_closing()

    @property
    def is_usable(self) -> bool:
        """Whether it is open, and was in use lately."""
        return self.is_open and self._loop.time() - self._heard_at < _QUIET_MAX_S

    def close(self) -> None:
        """Close it at once."""
        self._transport.abort()

    async def exchange(self, request: bytes, timeout_s: float) -> _Raw:
        """Send a request and wait for its answer."""
        self._answer = self._loop.create_future()
        self._size = 0
        self._sent_at = self._heard_at = self._loop.time()
        self._watch = self._loop.call_later(timeout_s, self._look, timeout_s)
        self._transport.write(request)
        try:
            answer = await self._answer
        except BaseException:  # cancelled, for example: what comes now is nobody's answer
            self.close()
            raise
        finally:
            self._answer = None
            self._watch.cancel()
        # A server may answer before it has read all; the rest must not come before the next request.
        if not answer.keeps_alive or self._transport.get_write_buffer_size():
            self.close()
        return answer

    def _look(self, timeout_s: float) -> None:
        """Once in a while, see whether the answer takes too long."""
        now = self._loop.time()
        left_s = min(self._heard_at + timeout_s, self._sent_at + _WHOLE * timeout_s) - now
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look, timeout_s)
        else:
            self._fail(httpx.ReadTimeout(f"no whole answer in {now - self._sent_at:.0f} s"))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._size += len(data)
        if self._size > ANSWER_MAX:
            self._fail(_too_long())
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx.RemoteProtocolError(f"no HTTP/1.1: {error.__context__ or error}"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._ends_with_connection and error is None:
            self._settle(keeps_alive=False)
        elif self._size:
            self._fail(httpx.RemoteProtocolError("disconnected in the middle of an answer"))
        else:
            self._fail(_Silence("disconnected without an answer"))

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.done():
            raise ValueError("an answer that nobody asked for")
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._ends_with_connection = _TELLS_LENGTH.isdisjoint(name.lower() for name, _ in self._headers)

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._ends_with_connection = False
        if self._parser.get_status_code() >= 200:  # others come before the answer
            self._settle(keeps_alive=self._parser.should_keep_alive())
        self._headers, self._chunks = [], []

    def _settle(self, *, keeps_alive: bool) -> None:
        if self._answer is not None and not self._answer.done():
            status = self._parser.get_status_code()
            self._answer.set_result(_Raw(status, self._headers, self._chunks, keeps_alive))


class ThroughHttpx:
    """Sends through a transport of httpx; see `Exchanger`.

    Args:
        transport: The transport; it is closed with this.
        base_url: As for `Wire`.
        headers: As for `Wire`.
        timeout_s: As for `Wire`.
    """

    def __init__(
        self, transport: httpx.AsyncBaseTransport, base_url: str, headers: Headers, timeout_s: float
    ) -> None:
        self._transport = transport
        self._base_url = base_url
        self._headers = headers
        self._whole_s = _WHOLE * timeout_s
        self._extensions = {"timeout": httpx.Timeout(timeout_s).as_dict()}

    async def exchange(self, method: str, target: str, body: bytes) -> Answered:
        """See `Exchanger`."""
        url = httpx.URL(self._base_url + target)
        request = httpx.Request(method, url, headers=self._headers, content=body, extensions=self._extensions)
        try:
            async with asyncio.timeout(self._whole_s):
                response = await self._transport.handle_async_request(request)
                try:
                    body = await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise httpx.ReadTimeout(f"no whole answer in {self._whole_s:g} s") from None
        except ssl.SSLError as error:  # httpx lets these through where they come after the handshake
            raise httpx.ReadError(str(error)) from None
        return Answered(response.status_code, body, dict(response.headers))

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        _grow(body, chunk)
    return bytes(body)


class _Chunks(httpx.SyncByteStream):
    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)


def _decoded(raw: _Raw) -> bytes:
    """The body without its encoding, taken off piece by piece, since little may hide a great deal."""
    body = bytearray()
    for chunk in httpx.Response(raw.status, headers=raw.headers, stream=_Chunks(raw.chunks)).iter_bytes():
        _grow(body, chunk)
    return bytes(body)


def _grow(body: bytearray, chunk: bytes) -> None:
    body += chunk
    if len(body) > ANSWER_MAX:
        raise _too_long()


def _too_long() -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(f"an answer of more than {ANSWER_MAX >> 20} MiB")
