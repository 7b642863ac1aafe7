"""What every request to the API meets before and after its endpoint: faults, the token, the throttle."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, Response

from pipeline.simulator.fault_injector import Fate
from pipeline.simulator.state import Tenant
from pipeline.simulator.throttle import Verdict

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FATE: Final = "fate"  # key in a request's state under which endpoints find what was drawn
TRANSPORT: Final = "transport"  # key under which the server leaves the connection, so that it can be reset


class Gate:
    """ASGI middleware around the API.

    Args:
        app: The API.
        tenant: Whose faults, token and throttle these are.
    """

    def __init__(self, app: ASGIApp, tenant: Tenant) -> None:
        self._app = app
        self._tenant = tenant

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or drop it."""
        tenant = self._tenant
        tenant.requests[f"{scope['method']} {endpoint(scope['path'].removeprefix(scope['root_path']))}"] += 1
        tenant.in_flight += 1
        tenant.in_flight_most = max(tenant.in_flight_most, tenant.in_flight)
        try:
            fate = tenant.dice.fate()
            scope.setdefault("state", {})[FATE] = fate
            if (latency_s := tenant.dice.latency_s()) > 0:
                await tenant.pause(latency_s)
            if not await self._meet(fate, scope, receive, send):
                tenant.statuses["dropped"] += 1
                await _reset(scope, receive)
        finally:
            tenant.in_flight -= 1

    async def _meet(self, fate: Fate, scope: Scope, receive: Receive, send: Send) -> bool:
        """Carry out a fate; False means that the connection is to be reset."""
        faults = self._tenant.dice.faults
        counted = self._counting(send)
        if fate is Fate.OUTAGE and faults.outage_status:
            await _away(faults.outage_status)(scope, receive, counted)
        elif fate is Fate.ERROR:
            await _away(faults.error_status)(scope, receive, counted)
        elif fate in (Fate.OUTAGE, Fate.RESET_BEFORE):
            return False
        elif fate is Fate.RESET_AFTER:
            await self._answer(scope, receive, _nowhere)
            return False
        elif fate is Fate.SLOW:
            await self._answer(scope, receive, self._held_back(counted, faults.slow_s))
        else:
            await self._answer(scope, receive, counted)
        return True

    def _counting(self, send: Send) -> Send:
        statuses = self._tenant.statuses

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses[str(message["status"])] += 1
            await send(message)

        return counting

    def _held_back(self, send: Send, seconds: float) -> Send:
        async def held_back(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._tenant.pause(seconds)
            await send(message)

        return held_back

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings, faults = self._tenant.settings, self._tenant.dice.faults
        token = _bearer(scope)
        if token == settings.forbidden_token:
            await JSONResponse({"message": "This action is unauthorized."}, 403)(scope, receive, send)
            return
        if not is_allowed(scope, settings.token):
            await JSONResponse({"message": "Unauthenticated."}, 401)(scope, receive, send)
            return
        if not faults.throttle_requests:
            await self._app(scope, receive, send)
            return
        verdict = self._tenant.throttle.ask(token, faults.throttle_requests, faults.throttle_window_s)
        send = _with_limits(send, verdict)
        if verdict.allowed:
            await self._app(scope, receive, send)
        else:
            await _too_many(verdict, as_date=faults.retry_after_date)(scope, receive, send)


def endpoint(path: str) -> str:
    """A path with ids replaced, for counting."""
    if path.startswith("/transactions/external/"):
        return "/transactions/external/{external_id}"
    return _without_ids(path)


@lru_cache(maxsize=4096)
def _without_ids(path: str) -> str:
    return re.sub(r"/(\d+|[0-9a-f]{8}-[0-9a-f-]{27})(?=/|$)", "/{id}", path)


def is_allowed(scope: Scope, token: str) -> bool:
    """Whether a request carries the token."""
    return compare_digest(_bearer(scope).encode(), token.encode())


def _bearer(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if kind.lower() == "bearer" else ""
    return ""


def _away(status: int) -> Response:
    return JSONResponse({"message": "Server Error"}, status)


def _too_many(verdict: Verdict, *, as_date: bool) -> Response:
    wait = str(verdict.retry_after_s)
    if as_date:
        wait = format_datetime(datetime.now(UTC) + timedelta(seconds=verdict.retry_after_s), usegmt=True)
    return JSONResponse({"message": "Too Many Attempts."}, 429, {"Retry-After": wait})


def _with_limits(send: Send, verdict: Verdict) -> Send:
    async def limited(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] += [
                (b"x-ratelimit-limit", b"%d" % verdict.limit),
                (b"x-ratelimit-remaining", b"%d" % verdict.remaining),
            ]
        await send(message)

    return limited


async def _nowhere(message: Message) -> None:
    pass


async def _reset(scope: Scope, receive: Receive) -> None:
    """Drop the connection without an answer, with a TCP reset where the server lets us."""
    transport: asyncio.Transport | None = scope["state"].get(TRANSPORT)
    if transport is None:
        raise ConnectionResetError("The simulator drops this connection.")
    if (connection := transport.get_extra_info("socket")) is not None:
        # Lingering for no time makes the close a reset (RST) instead of an orderly end (FIN).
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
