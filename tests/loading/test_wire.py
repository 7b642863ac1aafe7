from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import httpx
import pytest

from pipeline.loading import wire
from pipeline.loading.wire import Answered, Wire

T = TypeVar("T")

HEADERS = (("Accept", "application/json"),)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request on each connection with the next of some texts, and notes what came."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.requests: list[bytes] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            self.requests.append(await request(reader))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                return
            writer.write(answer)
            if b"until the end" in answer:
                return


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


async def exchanging(server: Server, use: Callable[[Wire], Awaitable[T]], timeout_s: float = 5) -> T:
    handlers: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await server.handle(reader, writer)
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    one = Wire(f"http://127.0.0.1:{port}/api/v3", HEADERS, timeout_s, ssl.create_default_context())
    try:
        return await use(one)
    finally:
        await one.aclose()
        listening.close()
        await asyncio.gather(*(each for each in handlers if each))


def ask(server: Server, *methods: str) -> list[Answered | Exception]:
    async def use(one: Wire) -> list[Answered | Exception]:
        found: list[Answered | Exception] = []
        for method in methods:
            try:
                found.append(await one.exchange(method, "/x", b"{}"))
            except httpx.RequestError as error:
                found.append(error)
            await asyncio.sleep(0.01)
        return found

    return asyncio.run(exchanging(server, use))


def bodies(answers: list[Answered | Exception]) -> list[bytes | str]:
    return [each.body if isinstance(each, Answered) else type(each).__name__ for each in answers]


def test_a_connection_serves_one_request_after_another() -> None:
    server = Server(OK)
    assert bodies(ask(server, "POST", "GET", "POST")) == [b"ok"] * 3
    assert server.connections == 1
    assert [each.split(b" ")[:2] for each in server.requests] == [
        [method, b"/api/v3/x"] for method in (b"POST", b"GET", b"POST")
    ]


def test_requests_at_the_same_time_never_share_a_connection() -> None:
    """Each answer repeats its own request's body, late and out of order."""

    class Echo(Server):
        async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                body = (await request(reader)).split(b"\r\n\r\n", 1)[1]
                await asyncio.sleep(body[-2] % 7 / 1000)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def use(one: Wire) -> list[Answered]:
        places = asyncio.Semaphore(8)

        async def send(number: int) -> Answered:
            async with places:
                return await one.exchange("POST", "/x", b'{"n": %d}' % number)

        return await asyncio.gather(*(send(number) for number in range(300)))

    answers = asyncio.run(exchanging(Echo(OK), use))
    assert [each.body for each in answers] == [b'{"n": %d}' % number for number in range(300)]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
PACKED = gzip.compress(b"ok")


@pytest.mark.parametrize(
    ("answer", "body", "connections"),
    [
        (OK, b"ok", 1),
        (CHUNKED, b"abcde", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", 2),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end", 2),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(PACKED), PACKED),
            b"ok",
            1,
        ),
    ],
    ids=["length", "chunked", "informational", "empty", "close", "old", "until closed", "packed"],
)
def test_every_way_to_end_an_answer_is_understood(answer: bytes, body: bytes, connections: int) -> None:
    server = Server(answer)
    assert bodies(ask(server, "POST", "POST")) == [body, body]
    assert server.connections == connections


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["upgrade", "two lengths", "not packed", "bad chunk", "TLS"],
)
def test_what_is_no_answer_is_an_error_and_the_next_request_is_served(answer: bytes) -> None:
    first, second = bodies(ask(Server(answer, OK), "POST", "POST"))
    assert str(first).endswith("Error")
    assert second == b"ok"


def test_an_answer_that_nobody_asked_for_is_nobodys() -> None:
    """A second answer in the same breath, or later, must not be taken for that of the next request."""
    lie = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlie"
    server = Server(OK + lie, OK)
    first, second = bodies(ask(server, "POST", "POST"))
    assert first in (b"ok", "RemoteProtocolError")
    assert second == b"ok"
    assert server.connections == 2


def test_a_look_up_is_repeated_where_the_server_has_closed_a_kept_connection_and_nothing_else_is() -> None:
    server = Server(OK, None, OK, None, OK)
    assert bodies(ask(server, "POST", "GET", "POST", "POST")) == [b"ok", b"ok", "_Silence", b"ok"]
    assert len(server.requests) == 5


def test_a_new_connection_that_is_closed_without_a_word_is_not_tried_again() -> None:
    server = Server(None)
    assert bodies(ask(server, "GET")) == ["_Silence"]
    assert len(server.requests) == 1


def test_a_connection_that_was_quiet_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_QUIET_MAX_S", 0.001)
    server = Server(OK)
    assert bodies(ask(server, "POST", "POST")) == [b"ok", b"ok"]
    assert server.connections == 2


def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    class Slow(Server):
        async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.05 if self.connections == 1 else 0)
            writer.write(OK.replace(b"ok", b"%02d" % self.connections))

    async def use(one: Wire) -> Answered:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await one.exchange("POST", "/x", b"")
        return await one.exchange("POST", "/x", b"")

    assert asyncio.run(exchanging(Slow(OK), use)).body == b"02"


def test_no_connection_in_time_means_that_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        one = Wire("http://127.0.0.1:9", HEADERS, 0.02, ssl.create_default_context())
        with pytest.raises(httpx.ConnectTimeout):
            await one.exchange("GET", "/x", b"")

    monkeypatch.setattr(wire, "start_connection", never)
    asyncio.run(main())


def test_a_name_that_cannot_be_one_means_that_nothing_was_sent() -> None:
    async def main() -> None:
        one = Wire(f"http://{'a' * 64}.test", HEADERS, 5, ssl.create_default_context())
        with pytest.raises(httpx.ConnectError):
            await one.exchange("GET", "/x", b"")

    asyncio.run(main())


def test_a_name_is_looked_up_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def use(one: Wire) -> list[Answered]:
        loop = asyncio.get_running_loop()
        look_up = loop.getaddrinfo

        async def slowly(*arguments: Any, **more: Any) -> Any:
            asked.append(arguments)
            await asyncio.sleep(0.02)
            return await look_up(*arguments, **more)

        monkeypatch.setattr(loop, "getaddrinfo", slowly)
        return await asyncio.gather(*(one.exchange("POST", "/x", b"{}") for _ in range(20)))

    server = Server(OK)
    assert len(asyncio.run(exchanging(server, use))) == 20
    assert server.connections == 20
    assert len(asked) == 1


def test_what_was_not_sent_when_the_answer_came_does_not_hold_the_next_request_up() -> None:
    class Hasty(Server):
        """Answers by the head alone, and reads no more for a while."""

        async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            if self.connections == 1:
                cast(asyncio.Transport, writer.transport).pause_reading()
                await asyncio.sleep(0.3)

    async def use(one: Wire) -> list[bytes]:
        large = await one.exchange("POST", "/x", bytes(20_000_000))
        return [large.body, (await one.exchange("POST", "/x", b"{}")).body]

    server = Hasty(OK)
    assert asyncio.run(exchanging(server, use, timeout_s=0.2)) == [b"ok", b"ok"]
    assert server.connections == 2


def test_what_follows_a_body_is_no_header() -> None:
    answer = CHUNKED.replace(b"0\r\n\r\n", b"0\r\nContent-Encoding: gzip\r\nRetry-After: 99\r\n\r\n")
    (found,) = ask(Server(answer), "GET")
    assert isinstance(found, Answered)
    assert found.body == b"abcde"
    assert set(found.headers) == {"transfer-encoding"}


def test_an_encoded_answer_may_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "ANSWER_MAX", 10_000)
    packed = gzip.compress(bytes(100_000))
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    (found,) = ask(Server(answer), "GET")
    assert isinstance(found, httpx.RemoteProtocolError)


def test_a_header_cannot_hold_another() -> None:
    with pytest.raises(ValueError, match="line break"):
        Wire("http://127.0.0.1:9", (("A", "b\r\nC: d"),), 1, ssl.create_default_context())


def test_addresses_are_taken_apart_as_they_should_be() -> None:
    one = Wire("https://[::1]/api", HEADERS, 1, ssl.create_default_context())
    assert (one._host, one._port, one._root) == ("::1", 443, b"/api")
    assert b"Host: [::1]\r\n" in one._headers
    two = Wire("https://bücher.example:8443/", HEADERS, 1, ssl.create_default_context())
    assert (two._host, two._port, two._root) == ("xn--bcher-kva.example", 8443, b"")
