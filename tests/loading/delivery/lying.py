"""A tenant that lies: a layer before the simulator answers in its place, before or after it kept something.

It is a real HTTP server on a loopback socket.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from pipeline.core.settings import Connection, Secret
from pipeline.simulator import Faults, SimulatorSettings
from pipeline.simulator.app import create_app
from pipeline.testing import LocalOmneo


@dataclass(frozen=True)
class Lie:
    """What a request gets instead of its answer.

    Attributes:
        name: For the names of tests.
        status: HTTP's status.
        body: What comes.
        keeps: Whether the simulator gets the request nevertheless.
        drops: Whether the connection is dropped instead of any answer.
        headers: That come with it.
    """

    name: str
    status: int = 200
    body: bytes = b""
    keeps: bool = False
    drops: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


_BODIES = {
    "success-false": b'{"success":false}',
    "error-true": b'{"message":"Something went wrong.","error":true}',
    "list": b"[]",
    "ok-0": b'{"ok":0}',
    "empty": b"",
    "text": b"OK",
    "page-after-mark": b"\xef\xbb\xbf<html><title>Hello</title></html>",
    "page-after-blank-lines": b"\n\n\n<html><title>Hello</title></html>",
    "page-in-utf-16": "<html><title>Hello</title></html>".encode("utf-16"),
    "json-after-mark": b'\xef\xbb\xbf{"data":"OK"}',
    "truncated": b'{"data":"O',
    "key-twice": b'{"data":"OK","data":null}',
    "error-inside": b'{"data":{"error":"No."}}',
    "data-null": b'{"data":null}',
}
NO_YES = (
    *(Lie(name, body=body) for name, body in _BODIES.items()),
    Lie("no-content", status=204),
    Lie("accepted", status=202, body=b'{"message":"Accepted."}'),
)
"""2xx that are no yes; nothing is kept."""

Choose = Callable[[str, str], Lie | None]
"""Gets a request's method and path, and gives the lie that it meets; None for the truth."""


@dataclass
class LyingTenant:
    """What a test sees of the server.

    Attributes:
        connection: Where it is.
        choose: Decides on each request; may be changed at any time.
        local: The simulator behind it.
        requests: Method and path of each.
    """

    connection: Connection
    choose: Choose
    local: LocalOmneo
    requests: list[tuple[str, str]] = field(default_factory=list)

    def there(self) -> dict[str, dict[str, Any]]:
        """What the tenant has, by external id; everything queued is worked off first."""
        self.local.drain()
        return {each["external_id"]: each for each in self.local.transactions()}

    def posts(self) -> int:
        """How many requests wanted to write."""
        return sum(method == "POST" for method, _ in self.requests)


class _Layer:
    tenant: LyingTenant

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_admin"):
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        self.tenant.requests.append((method, path))
        lie = self.tenant.choose(method, path)
        if lie is None:
            await self._app(scope, receive, send)
            return
        if lie.keeps:
            await self._app(scope, receive, _nowhere)
        else:
            while (await receive()).get("more_body"):
                pass
        headers = [(b"content-type", b"application/json"), *lie.headers]
        if lie.drops:  # the server's protocol hangs up where less comes than was announced
            headers.append((b"content-length", b"100"))
        await send({"type": "http.response.start", "status": lie.status, "headers": headers})
        with suppress(Exception):
            await send({"type": "http.response.body", "body": b"{" if lie.drops else lie.body})


async def _nowhere(message: Any) -> None:
    await asyncio.sleep(0)


@contextmanager
def lying_tenant(choose: Choose = lambda *_: None, **faults: Any) -> Iterator[LyingTenant]:
    """The server, in a thread, for the length of a `with` block."""
    settings = SimulatorSettings(faults=Faults(job_delay_s=0.0, **faults))
    app = create_app(settings)
    config = uvicorn.Config(app, port=0, log_level="critical", log_config=None, lifespan="on")
    config.load()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    local = None
    layer = _Layer(config.loaded_app)
    config.loaded_app = layer
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        local = LocalOmneo(f"http://127.0.0.1:{port}/api/v3", settings.token)
        layer.tenant = LyingTenant(Connection(local.base_url, Secret(settings.token)), choose, local)
        yield layer.tenant
    finally:
        if local is not None:
            local.close()
        server.should_exit = True
        thread.join()
