"""The local Omneo on a loopback socket: in the foreground for the command, in a thread for tests."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn

from pipeline.core.errors import SettingsError
from pipeline.core.memory import seldom_collecting
from pipeline.simulator.app import create_app
from pipeline.simulator.arrival_log import Arrival
from pipeline.simulator.middleware import TRANSPORT
from pipeline.simulator.simulator_settings import API_PATH, SimulatorSettings, require_loopback
from pipeline.simulator.state import SimulatorState

if TYPE_CHECKING:
    from starlette.applications import Starlette

OnReady = Callable[[str], None]


def serve(
    settings: SimulatorSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: OnReady | None = None,
) -> None:
    """Serve the local Omneo until SIGINT or SIGTERM; transactions accepted by then are kept.

    Args:
        settings: How the simulator behaves at first.
        host: A loopback address; any other is refused.
        port: 0 for a free one.
        on_ready: Called with the API's base URL once it answers.

    Raises:
        SettingsError: The address or the database cannot be used.
        KeyboardInterrupt: After the orderly end on SIGINT. SIGTERM is raised again in the same way.
    """
    with _listener(host, port) as listener, seldom_collecting():
        _Server(create_app(settings), listener, on_ready).run(sockets=[listener])


class LocalOmneo:
    """A client of a running simulator.

    Args:
        base_url: The API's root, as for `OMNEO_BASE_URL`.
        token: The bearer token.
    """

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url
        self.token = token
        self._client = httpx.Client(
            base_url=base_url.removesuffix(API_PATH),
            headers={"Authorization": f"Bearer {token}"},
            timeout=600,
            # The server is on this computer; a proxy of the environment could not reach it.
            trust_env=False,
        )

    def environment(self) -> dict[str, str]:
        """The environment variables with which the command line finds this tenant."""
        return {"OMNEO_BASE_URL": self.base_url, "OMNEO_TOKEN": self.token}

    def close(self) -> None:
        """Close the connection; the simulator runs on."""
        self._client.close()

    def stats(self) -> dict[str, Any]:
        """Counts of requests, answers, jobs, webhooks and transactions."""
        return dict(self._ask("GET", "/_admin/stats"))

    def faults(self) -> dict[str, Any]:
        """The faults in force."""
        return dict(self._ask("GET", "/_admin/faults"))

    def set_faults(self, **faults: float | str) -> dict[str, Any]:
        """Change the named faults, keep the others; an outage's start counts from now.

        Raises:
            SettingsError: There is no such fault, or a value is out of its range.
        """
        return dict(self._ask("PUT", "/_admin/faults", json=faults))

    def drain(self) -> int:
        """Process the queue now, whatever its delay, and return how many jobs there were."""
        return int(self._ask("POST", "/_admin/drain")["processed"])

    def reset(self) -> None:
        """Delete everything but the settings and the faults."""
        self._ask("POST", "/_admin/reset")

    def arrivals(self) -> list[Arrival]:
        """Every transaction that reached the API, in order of arrival."""
        answer = self._client.get("/_admin/arrivals").raise_for_status()
        return [Arrival(**json.loads(line)) for line in answer.text.splitlines()]

    def transactions(self) -> list[dict[str, Any]]:
        """Every transaction, oldest id first. Faults and the rate limit do not apply."""
        answer = self._client.get("/_admin/transactions").raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self._client.request(method, path, **options)
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            raise SettingsError(answer.json()["message"])
        return answer.raise_for_status().json()


@contextmanager
def running(settings: SimulatorSettings | None = None) -> Iterator[LocalOmneo]:
    """Run the local Omneo in a thread, on a free loopback port, for the length of a `with` block.

    Raises:
        SettingsError: The database cannot be used.
    """
    settings = settings or SimulatorSettings()
    with _listener("127.0.0.1", 0) as listener:
        server = _Server(create_app(settings), listener)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="local-omneo", daemon=True)
        thread.start()
        omneo = LocalOmneo(_base_url(listener), settings.token)
        try:
            yield omneo
        finally:
            omneo.close()
            server.should_exit = True
            thread.join()


def _listener(host: str, port: int) -> socket.socket:
    address = require_loopback(host, f"The address {host!r}")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # asyncio sends answers at once (TCP_NODELAY) only on connections of a socket that names its protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise SettingsError(
            f"The simulator cannot listen on {address} port {port}: {error}.",
            hint="Choose another --port, or 0 for a free one.",
        ) from None
    return listener


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{API_PATH}"


class _Server(uvicorn.Server):
    """Uvicorn on a given socket, with a call once it answers."""

    def __init__(self, app: Starlette, listener: socket.socket, on_ready: OnReady | None = None) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            # In seconds, as nginx has it: a client that pauses keeps its connection.
            timeout_keep_alive=75,
            access_log=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=1,
        )
        config.load()
        config.http_protocol_class = _with_transport(config.http_protocol_class)
        super().__init__(config)
        self._listener = listener
        self._on_ready = on_ready
        self._state: SimulatorState = app.state.simulator

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready(_base_url(self._listener))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._state.stopping.set()
        await super().shutdown(sockets)


def _with_transport(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """Uvicorn's protocol, with the connection in the scope's state: ASGI has no way to drop one."""

    class WithTransport(protocol):  # type: ignore[valid-type, misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.app_state: dict[str, Any] = {**self.app_state, TRANSPORT: transport}

    return WithTransport
