from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pipeline.core.settings import Connection, Secret
from pipeline.loading.http.client import Answered, Call, Client, Reply, Unknown, Unsent, Untrusted, translate
from pipeline.loading.http.endpoints import transaction_query
from tests.loading.http.servers import certified

GET = Call("GET", "/locations")
POST = Call("POST", "/transactions/queue", b'{"total": 1}')
TOKEN = "tok-c0ffee"


def send(
    base_url: str, *calls: Call, ssl_context: ssl.SSLContext | None = None, timeout_s: float = 5
) -> list[Reply]:
    async def main() -> list[Reply]:
        connection = Connection(base_url, Secret(TOKEN))
        async with Client(connection, timeout_s=timeout_s, ssl_context=ssl_context) as client:
            return [await client.send(call) for call in calls]

    return asyncio.run(main())


@contextmanager
def server(answer: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A bare socket that treats each connection as asked; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) if context else connection as one:
                    answer(one)
            except OSError:
                if listener.fileno() < 0:
                    return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def answering(text: str, seen: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        got = connection.recv(65536)
        if seen is not None:
            seen.append(got)
        connection.sendall(text.replace("\n", "\r\n").encode())

    return answer


OK = 'HTTP/1.1 200 OK\nContent-Length: 13\nX-RateLimit-Limit: 7\nConnection: close\n\n{"data":"OK"}'


def test_a_request_carries_the_token_and_the_exact_body() -> None:
    seen: list[bytes] = []
    with server(answering(OK, seen)) as port:
        (reply,) = send(f"http://127.0.0.1:{port}/api/v3", POST)
    assert isinstance(reply, Answered)
    assert (reply.status, reply.body, reply.headers["x-ratelimit-limit"]) == (200, b'{"data":"OK"}', "7")
    head, body = seen[0].split(b"\r\n\r\n")
    assert body == POST.body
    lines = head.decode().splitlines()
    assert lines[0] == "POST /api/v3/transactions/queue HTTP/1.1"
    headers = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in lines[1:]}
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["host"] == f"127.0.0.1:{port}"
    assert headers["content-length"] == str(len(POST.body))
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "name", ["plain", "with/slash", "a b", "ü&?#%", "100%", "..x", "+", "q\"uo'te", "%2F", "a//b"]
)
def test_any_external_id_can_be_looked_up(name: str) -> None:
    seen: list[bytes] = []
    with server(answering(OK, seen)) as port:
        send(f"http://127.0.0.1:{port}", transaction_query(name).call)
    target = seen[0].split(b" ")[1].decode()
    path = httpx.URL(f"http://host{target}").raw_path.decode()
    from urllib.parse import unquote

    assert "?" not in path
    assert path.count("/") == 3
    assert unquote(path.rsplit("/", 1)[1]) == name


def test_an_address_that_is_too_long_is_a_refusal() -> None:
    (reply,) = send("http://127.0.0.1:9", Call("GET", f"/transactions/external/{'x' * 70_000}"))
    assert isinstance(reply, Answered)
    assert reply.status == 414


def test_query_parameters_are_quoted() -> None:
    seen: list[bytes] = []
    with server(answering(OK, seen)) as port:
        send(
            f"http://127.0.0.1:{port}", Call("GET", "/profiles", params=(("filter[email]", "a+b@x.de&c=d"),))
        )
    target = seen[0].split(b" ")[1].decode()
    assert dict(httpx.URL(f"http://host{target}").params) == {"filter[email]": "a+b@x.de&c=d"}


def test_a_redirect_is_answered_and_not_followed() -> None:
    elsewhere: list[bytes] = []
    with server(answering(OK, elsewhere)) as evil:
        there = f"Location: http://127.0.0.1:{evil}/"
        redirect = f"HTTP/1.1 307 Go\n{there}\nContent-Length: 0\nConnection: close\n\n"
        with server(answering(redirect)) as port:
            replies = send(f"http://127.0.0.1:{port}", POST, GET)
    assert [reply.status for reply in replies if isinstance(reply, Answered)] == [307, 307]
    assert elsewhere == []


def test_cookies_are_not_kept() -> None:
    seen: list[bytes] = []
    with server(answering(OK.replace("\n\n", "\nSet-Cookie: a=b; Path=/\n\n", 1), seen)) as port:
        send(f"http://localhost:{port}", GET, GET)
    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()


def test_a_compressed_answer_is_read() -> None:
    import gzip

    body = gzip.compress(b'{"data":"OK"}')

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    with server(answer) as port:
        (reply,) = send(f"http://127.0.0.1:{port}", GET)
    assert isinstance(reply, Answered)
    assert reply.body == b'{"data":"OK"}'


def test_nobody_there_means_unsent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (reply,) = send(f"http://127.0.0.1:{port}", POST)
    assert isinstance(reply, Unsent)


def test_an_unknown_host_means_unsent() -> None:
    (reply,) = send("http://no-such-host.invalid", POST)
    assert isinstance(reply, Unsent)


def close_at_once(connection: socket.socket) -> None:
    connection.recv(65536)


def reset(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def half_an_answer(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def no_http(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")


def silence(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.settimeout(3)
    connection.recv(1)


@pytest.mark.parametrize("treatment", [close_at_once, reset, half_an_answer, no_http, silence])
def test_without_a_whole_answer_the_outcome_is_unknown(treatment: Callable[[socket.socket], None]) -> None:
    with server(treatment) as port:
        (reply,) = send(f"http://127.0.0.1:{port}", POST, timeout_s=0.5)
    assert isinstance(reply, Unknown), reply
    assert TOKEN not in reply.reason


@contextmanager
def tls_server(authority: object, host: str) -> Iterator[tuple[int, ssl.SSLContext]]:
    context, trusting = certified(authority, host)
    with server(answering(OK), context) as port:
        yield port, trusting


def test_a_trusted_certificate_is_accepted(authority: object) -> None:
    with tls_server(authority, "127.0.0.1") as (port, trusting):
        (reply,) = send(f"https://127.0.0.1:{port}", POST, ssl_context=trusting)
    assert isinstance(reply, Answered)


def test_an_unknown_authority_is_an_error(authority: object) -> None:
    with tls_server(authority, "127.0.0.1") as (port, _):
        (reply,) = send(f"https://127.0.0.1:{port}", POST)
    assert isinstance(reply, Untrusted)


def test_another_hosts_certificate_is_an_error(authority: object) -> None:
    with tls_server(authority, "other.example") as (port, trusting):
        (reply,) = send(f"https://127.0.0.1:{port}", POST, ssl_context=trusting)
    assert isinstance(reply, Untrusted)


def no_tls(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(OK.encode())


@pytest.mark.parametrize("treatment", [no_tls, close_at_once, reset])
def test_only_a_certificate_is_distrusted_what_else_fails_before_the_request_may_pass(
    treatment: Callable[[socket.socket], None],
) -> None:
    with server(treatment) as port:
        (reply,) = send(f"https://127.0.0.1:{port}", POST)
    assert isinstance(reply, Unsent), reply


def test_a_proxy_only_hands_on_what_it_cannot_read(
    authority: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusting = certified(authority, "api.example")
    seen: list[bytes] = []

    def tunnel(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as inside:
            got = b""
            while not got.endswith(POST.body):
                got += inside.recv(65536)
            seen.append(got)
            inside.sendall(OK.replace("\n", "\r\n").encode())

    with server(tunnel) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        (reply,) = send("https://api.example/api/v3", POST, ssl_context=trusting)
    assert isinstance(reply, Answered)
    assert seen[0].startswith(b"CONNECT api.example:443 ")
    assert TOKEN.encode() not in seen[0]
    assert seen[1].startswith(b"POST /api/v3/transactions/queue ")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def exceptions_of(module: object, base: type[Exception]) -> list[type[Exception]]:
    found = [each for _, each in inspect.getmembers(module, inspect.isclass) if issubclass(each, base)]
    return sorted(found, key=lambda each: each.__name__)


@pytest.mark.parametrize(
    "kind", exceptions_of(httpx, httpx.TransportError), ids=lambda each: str(each.__name__)
)
def test_only_these_exceptions_mean_that_nothing_was_sent(kind: type[Exception]) -> None:
    never_connected = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
    expected = Unsent if kind.__name__ in never_connected else Unknown
    assert isinstance(translate(kind("reason")), expected)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("x"), Unsent),
        (httpx.ConnectTimeout("x"), Unsent),
        (httpx.ReadError("x"), Unknown),
        (httpx.WriteTimeout("x"), Unknown),
        (httpx.RemoteProtocolError("x"), Unknown),
        (ConnectionResetError(), Unknown),
        (TimeoutError(), Unknown),
        (caused(httpx.ConnectError("x"), ssl.SSLCertVerificationError("x")), Untrusted),
        (caused(httpx.ConnectError("x"), ssl.SSLError("x")), Unsent),
        (caused(httpx.ReadError("x"), ssl.SSLCertVerificationError("x")), Unknown),
        (ssl.SSLError("x"), Unknown),
    ],
)
def test_exceptions_are_understood(error: Exception, expected: type[object]) -> None:
    assert isinstance(translate(error), expected)


def test_what_drips_in_for_too_long_is_no_answer() -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        for each in OK.encode():
            connection.sendall(bytes([each]))
            stopped.wait(0.05)

    stopped = threading.Event()
    with server(drip) as port:
        (reply,) = send(f"http://127.0.0.1:{port}", POST, timeout_s=0.5)
        stopped.set()
    assert isinstance(reply, Unknown)


def test_an_answer_without_end_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.loading.http.transport.ANSWER_MAX", 100)
    endless = "HTTP/1.1 200 OK\nContent-Length: 5000\nConnection: close\n\n" + "x" * 5000
    with server(answering(endless)) as port:
        (reply,) = send(f"http://127.0.0.1:{port}", POST)
    assert isinstance(reply, Unknown)
    assert "an answer of more than" in reply.reason


@pytest.mark.parametrize("status", [200, 302, 401, 422, 500])
def test_a_token_that_a_server_repeats_goes_no_further(status: int) -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        token = request.headers["authorization"]
        return httpx.Response(status, json={"message": token}, headers={"location": f"https://x/?{token}"})

    async def main() -> Reply:
        secret = "a-token-of-some-length"
        async with Client(Connection("https://x", Secret(secret)), httpx.MockTransport(echo)) as client:
            return await client.send(POST)

    reply = asyncio.run(main())
    assert isinstance(reply, Answered)
    assert b"a-token-of" not in reply.body
    assert "***" in reply.headers["location"]


def test_nothing_shows_the_token(tmp_path: Path) -> None:
    client = Client(
        Connection("https://x", Secret(TOKEN)), httpx.MockTransport(lambda _: httpx.Response(200))
    )
    assert TOKEN not in repr(vars(client))
