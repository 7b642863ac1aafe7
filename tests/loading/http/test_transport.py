from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import Sequence
from typing import Any, cast

import pytest

from pipeline.core.settings import Connection, Secret
from pipeline.loading.http import content, transport
from pipeline.loading.http.client import Answered, Call, Client, Reply, Unknown, Unsent, Untrusted
from tests.loading.http.servers import OK, TOKEN, Server, certified, client, exchanging, listening, request

POST = Call("POST", "/x", b"{}")


async def send_all(one: Client, methods: Sequence[str]) -> list[Reply]:
    replies = []
    for method in methods:
        replies.append(await one.send(Call(method, "/x", b"{}")))
        await asyncio.sleep(0.01)
    return replies


def ask(server: Server, *methods: str) -> list[Reply]:
    async def main() -> list[Reply]:
        async with listening(server.handle) as port, client(port) as one:
            return await send_all(one, methods)

    return asyncio.run(main())


def bodies(replies: list[Reply]) -> list[bytes | str]:
    return [each.body if isinstance(each, Answered) else type(each).__name__ for each in replies]


def test_a_connection_serves_one_request_after_another() -> None:
    server = Server(OK)
    assert bodies(ask(server, "POST", "GET", "POST")) == [b"ok"] * 3
    assert server.connections == 1
    assert [each.split(b" ")[:2] for each in server.requests] == [
        [method, b"/api/v3/x"] for method in (b"POST", b"GET", b"POST")
    ]


def test_a_request_holds_no_header_that_nobody_set() -> None:
    server = Server(OK)
    ask(server, "POST")
    lines = server.requests[0].split(b"\r\n\r\n")[0].decode().lower().splitlines()[1:]
    assert sorted(line.split(":")[0] for line in lines) == [
        "accept", "authorization", "content-length", "content-type", "host", "user-agent",
    ]  # fmt: skip


def test_requests_at_the_same_time_never_share_a_connection() -> None:
    """Each answer repeats its own request's body, late and out of order."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = (await request(reader)).split(b"\r\n\r\n", 1)[1]
            await asyncio.sleep(body[-2] % 7 / 1000)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def main() -> list[Reply]:
        places = asyncio.Semaphore(8)
        async with listening(echo) as port, client(port) as one:

            async def send(number: int) -> Reply:
                async with places:
                    return await one.send(Call("POST", "/x", b'{"n": %d}' % number))

            return await asyncio.gather(*(send(number) for number in range(300)))

    assert bodies(asyncio.run(main())) == [b'{"n": %d}' % number for number in range(300)]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
BARE_DEFLATE = zlib.compressobj(wbits=-15)


def encoded(encoding: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


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
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\nContent-Length: 2\r\n\r\nok", b"ok", 1),
        (encoded("gzip", gzip.compress(b"ok", mtime=0)), b"ok", 1),
        (encoded("GZip", gzip.compress(b"ok", mtime=0)), b"ok", 1),
        (encoded("deflate", zlib.compress(b"ok")), b"ok", 1),
        (encoded("deflate", BARE_DEFLATE.compress(b"ok") + BARE_DEFLATE.flush()), b"ok", 1),
        (encoded("identity", b"ok"), b"ok", 1),
        (encoded("gzip", b""), b"", 1),
    ],
)
def test_every_way_to_end_an_answer_is_understood(answer: bytes, body: bytes, connections: int) -> None:
    server = Server(answer)
    assert bodies(ask(server, "POST", "POST")) == [body, body]
    assert server.connections == connections


BOMB = gzip.compress(bytes(1_000_000), mtime=0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/9.9 999 ?\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"<html>\r\n\r\n",
        encoded("gzip", b"ok"),
        encoded("gzip", gzip.compress(b"ok", mtime=0)[:-1]),
        encoded("gzip", BOMB),
        encoded("gzip, gzip", gzip.compress(gzip.compress(b"ok", mtime=0), mtime=0)),
        encoded("gzip\r\nContent-Encoding: gzip", gzip.compress(gzip.compress(b"ok", mtime=0), mtime=0)),
        encoded("deflate, gzip", gzip.compress(zlib.compress(b"ok"), mtime=0)),
        encoded("br", b"ok"),
        encoded("zstd", b"ok"),
    ],
)
def test_what_is_no_answer_leaves_a_doubt_and_the_next_request_is_served(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "DECODED_MAX", 100_000)
    assert bodies(ask(Server(answer, OK), "POST", "POST")) == ["Unknown", b"ok"]


LIE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlie"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("lie", [LIE, LIE[:10], b"\r\n", LIE * 100])
def test_an_answer_that_nobody_asked_for_is_nobodys(late: bool, lie: bytes) -> None:
    """A second answer, in the same breath or later, must not be taken for that of the next request."""

    async def main() -> list[Reply]:
        lied = asyncio.Event()

        async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK + (b"" if late else lie))
            await asyncio.sleep(0.01)
            writer.write(lie if late else b"")
            lied.set()
            await request(reader)
            writer.write(OK)

        async with listening(talkative) as port, client(port) as one:
            first = await one.send(POST)
            await lied.wait()
            await asyncio.sleep(0.02)
            return [first, await one.send(POST)]

    first, second = bodies(asyncio.run(main()))
    assert first in (b"ok", "Unknown")
    assert second == b"ok"


def test_nothing_is_sent_twice_where_the_server_has_closed_a_kept_connection() -> None:
    server = Server(OK, None, OK, None, OK)
    assert bodies(ask(server, "POST", "GET", "POST", "POST", "GET")) == [
        b"ok", "Unknown", b"ok", "Unknown", b"ok",
    ]  # fmt: skip
    assert len(server.requests) == 5


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_new_connection_that_is_closed_without_a_word_is_not_tried_again(method: str) -> None:
    server = Server(None)
    assert bodies(ask(server, method)) == ["Unknown"]
    assert len(server.requests) == 1


def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_IDLE_MAX_S", 0.001)
    server = Server(OK)
    assert bodies(ask(server, "POST", "POST")) == [b"ok", b"ok"]
    assert server.connections == 2


def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    connections: list[object] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        number = len(connections)
        await request(reader)
        await asyncio.sleep(0.05 if number == 1 else 0)
        writer.write(OK.replace(b"ok", b"%02d" % number))

    async def use(one: Client) -> Reply:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await one.send(POST)
        return await one.send(POST)

    assert bodies([exchanging(slow, use)]) == [b"02"]


def test_no_connection_in_time_means_that_nothing_was_sent() -> None:
    async def no_handshake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)

    async def main() -> Reply:
        context = ssl.create_default_context()
        async with (
            listening(no_handshake) as port,
            client(port, timeout_s=0.05, ssl_context=context) as one,
        ):
            return await one.send(POST)

    assert isinstance(asyncio.run(main()), Unsent)


def test_a_name_that_cannot_be_one_means_that_nothing_was_sent() -> None:
    async def main() -> Reply:
        async with client(80, host=f"{'a' * 64}.test") as one:
            return await one.send(POST)

    assert isinstance(asyncio.run(main()), Unsent)


def test_a_name_that_has_no_address_is_said_to_have_none() -> None:
    async def main() -> Reply:
        async with client(80, host="no-such-host.invalid") as one:
            return await one.send(POST)

    reply = asyncio.run(main())
    assert isinstance(reply, Unsent)
    assert reply.unresolved


def test_a_name_is_looked_up_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    server = Server(OK)

    async def main() -> list[Reply]:
        loop = asyncio.get_running_loop()
        look_up = loop.getaddrinfo

        async def slowly(*arguments: Any, **more: Any) -> Any:
            asked.append(arguments)
            await asyncio.sleep(0.02)
            return await look_up(*arguments, **more)

        monkeypatch.setattr(loop, "getaddrinfo", slowly)
        async with listening(server.handle) as port, client(port, host="localhost") as one:
            return await asyncio.gather(*(one.send(POST) for _ in range(20)))

    assert bodies(asyncio.run(main())) == [b"ok"] * 20
    assert server.connections == 20
    assert len(asked) == 1


def test_a_server_may_have_an_ipv6_address() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    server = Server(OK)

    async def main() -> Reply:
        async with listening(server.handle, "::1") as port, client(port, host="[::1]") as one:
            return await one.send(POST)

    assert bodies([asyncio.run(main())]) == [b"ok"]
    assert b"Host: [::1]:" in server.requests[0]


def test_a_server_that_is_reached_by_its_other_address_only_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(OK)

    async def main() -> Reply:
        async with listening(server.handle) as port, client(port, host="two.test") as one:

            async def both(*_: Any, **__: Any) -> Any:
                kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
                return [
                    (socket.AF_INET6, *kind, ("::1", port, 0, 0)),
                    (socket.AF_INET, *kind, ("127.0.0.1", port)),
                ]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
            return await one.send(POST)

    assert bodies([asyncio.run(main())]) == [b"ok"]


def test_what_was_not_sent_when_the_answer_came_does_not_hold_the_next_request_up() -> None:
    connections: list[object] = []

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers by the head alone, and reads no more for a while."""
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        if len(connections) == 1:
            cast(asyncio.Transport, writer.transport).pause_reading()
            await asyncio.sleep(0.3)
            writer.transport.abort()

    async def main() -> list[Reply]:
        async with listening(hasty) as port, client(port, timeout_s=0.2) as one:
            return [await one.send(Call("POST", "/x", bytes(20_000_000))), await one.send(POST)]

    assert bodies(asyncio.run(main())) == [b"ok", b"ok"]
    assert len(connections) == 2


def test_a_server_that_reads_nothing_is_not_waited_for_without_end() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cast(asyncio.Transport, writer.transport).pause_reading()
        await asyncio.sleep(0.6)
        writer.transport.abort()

    async def use(one: Client) -> Reply:
        return await one.send(Call("POST", "/x", bytes(20_000_000)))

    assert isinstance(exchanging(deaf, use, timeout_s=0.1), Unknown)


def test_what_follows_a_body_is_no_header() -> None:
    answer = CHUNKED.replace(b"0\r\n\r\n", b"0\r\nContent-Encoding: gzip\r\nRetry-After: 99\r\n\r\n")
    (found,) = ask(Server(answer), "GET")
    assert isinstance(found, Answered)
    assert found.body == b"abcde"
    assert set(found.headers) == {"transfer-encoding"}


def test_of_headers_of_one_name_the_last_counts() -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nX-RateLimit-Limit: 5\r\nx-ratelimit-limit: 7\r\n\r\n")
    (found,) = ask(Server(answer), "GET")
    assert isinstance(found, Answered)
    assert found.headers["x-ratelimit-limit"] == "7"


def test_a_name_outside_ascii_is_asked_for_in_its_own_form(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    server = Server(OK)

    async def main() -> Reply:
        loop = asyncio.get_running_loop()
        async with listening(server.handle) as port, client(port, host="bücher.example") as one:

            async def here(host: str, *_: Any, **__: Any) -> Any:
                asked.append(host)
                return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

            monkeypatch.setattr(loop, "getaddrinfo", here)
            return await one.send(POST)

    assert bodies([asyncio.run(main())]) == [b"ok"]
    assert asked == ["xn--bcher-kva.example"]
    assert b"Host: xn--bcher-kva.example:" in server.requests[0]


# ── Through a proxy ─────────────────────────────────────────────────────────────────────────────────


class Tunnels:
    """A proxy: says this to CONNECT, and connects through to a port where it says yes."""

    def __init__(self, says: bytes, to: int = 0) -> None:
        self.says = says
        self.to = to
        self.asked: list[bytes] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.says)
        if not self.to:
            await asyncio.sleep(0 if self.says else 0.3)
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.to)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer))


CONNECTED = b"HTTP/1.1 200 Connected\r\n\r\n"


def through_proxy(
    server: Server,
    proxy: Tunnels,
    authority: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    credentials: str = "",
    encrypted: bool = False,
    host: str = "api.example",
) -> list[Reply]:
    context, trusting = certified(authority, host, "127.0.0.1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def main() -> list[Reply]:
        async with (
            listening(server.handle, context=context) as port,
            listening(proxy.handle, context=context if encrypted else None) as proxy_port,
        ):
            if proxy.says == CONNECTED:
                proxy.to = port
            scheme = "https" if encrypted else "http"
            monkeypatch.setenv("https_proxy", f"{scheme}://{credentials}127.0.0.1:{proxy_port}")
            connection = Connection("https://api.example/api/v3", Secret(TOKEN))
            async with Client(connection, timeout_s=0.5, ssl_context=trusting) as one:
                return await send_all(one, ["POST", "POST"])

    return asyncio.run(main())


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_proxy_connects_through_and_reads_nothing(
    encrypted: bool, authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = Server(OK), Tunnels(CONNECTED)
    replies = through_proxy(
        server, proxy, authority, monkeypatch, credentials="us%20er:p%40ss@", encrypted=encrypted
    )
    assert bodies(replies) == [b"ok", b"ok"]
    assert server.connections == len(proxy.asked) == 1
    assert proxy.asked[0].startswith(b"CONNECT api.example:443 ")
    assert b"Proxy-Authorization: Basic dXMgZXI6cEBzcw==\r\n" in proxy.asked[0]
    assert TOKEN.encode() not in proxy.asked[0]
    assert b"roxy" not in server.requests[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\n\r\n",
        b"HTTP/1.1 200 Connected\r\n\r\nno TLS",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2",
        b"",
    ],
)
def test_what_a_proxy_refuses_was_not_sent(
    says: bytes, authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(OK)
    replies = through_proxy(server, Tunnels(says), authority, monkeypatch, credentials="user:hunter2@")
    assert all(isinstance(each, Unsent) for each in replies), replies
    assert "hunter2" not in repr(replies)
    assert server.requests == []


def test_a_server_behind_a_proxy_is_trusted_no_more_than_any(
    authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(OK)
    replies = through_proxy(server, Tunnels(CONNECTED), authority, monkeypatch, host="other.example")
    assert all(isinstance(each, Untrusted) for each in replies), replies
    assert server.requests == []


def test_what_a_server_behind_a_proxy_does_not_answer_may_have_been_sent(
    authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = through_proxy(Server(None), Tunnels(CONNECTED), authority, monkeypatch)
    assert bodies(replies) == ["Unknown", "Unknown"]


def nobody_there() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "http://no-such-proxy.invalid:3128"])
def test_a_proxy_that_is_not_there_sends_nothing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", address.format(port=nobody_there()))
    monkeypatch.delenv("no_proxy", raising=False)

    async def main() -> Reply:
        async with Client(Connection("https://api.example", Secret(TOKEN)), timeout_s=1) as one:
            return await one.send(POST)

    assert isinstance(asyncio.run(main()), Unsent)
