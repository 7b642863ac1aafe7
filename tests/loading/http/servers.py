"""Servers on real sockets, in the loop of the client that they answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from pipeline.core.settings import Connection, Secret
from pipeline.loading.http.client import Client, Reply

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TOKEN = "tok-c0ffee"
_ANY = ssl.create_default_context()  # it takes longer to make one than to send a request
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def listening(
    handle: Handle, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server that treats each connection so; gives its port."""
    handlers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers[task] = writer
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await handle(reader, writer)
        with suppress(ConnectionError, ssl.SSLError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(guarded, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.01)  # a connection may have just come in
        if handlers:
            await asyncio.wait(handlers, timeout=1)
        for task, writer in handlers.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0.01)  # let the other side see the end of it


async def request(reader: asyncio.StreamReader) -> bytes:
    """A whole request, head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(length_of(head))


def length_of(head: bytes) -> int:
    lower = head.lower()
    return int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]) if b"content-length: " in lower else 0


class Server:
    """Answers each request on each connection with the next of some texts, and notes what came.

    None hangs up; a text with "until the end" in it does after it.
    """

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


def client(
    port: int, *, host: str = "127.0.0.1", timeout_s: float = 5, ssl_context: ssl.SSLContext | None = None
) -> Client:
    scheme = "https" if ssl_context else "http"
    connection = Connection(f"{scheme}://{host}:{port}/api/v3", Secret(TOKEN))
    return Client(connection, timeout_s=timeout_s, ssl_context=ssl_context or _ANY)


def exchanging(handle: Handle, use: Callable[[Client], Awaitable[Reply]], timeout_s: float = 5) -> Reply:
    """What comes of using a client of such a server."""

    async def main() -> Reply:
        async with listening(handle) as port, client(port, timeout_s=timeout_s) as one:
            return await use(one)

    return asyncio.run(main())


def certified(authority: Any, *hosts: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A context for a server of these names, and one that trusts it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return context, trusting
