"""What every request to the API passes before its endpoint: faults, the token, the limit of requests."""

from __future__ import annotations

import asyncio
import math
import re
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.responses import JSONResponse

from pipeline.simulator.fault_injector import InjectedFault

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from pipeline.simulator.state import SimulatorState

INJECTED_FAULT: Final = "injected_fault"
"""Key in a request's state under which endpoints find the fault that was drawn for it."""
TRANSPORT: Final = "transport"
"""Key in a request's state under which the server leaves the connection, so that it can be reset."""
WINDOWS_KEPT: Final = 100


class FaultMiddleware:
    """Counts requests and answers, and carries out the faults that are drawn.

    Args:
        app: What answers where no fault prevents it.
        state: Where to count, and what draws the faults.
    """

    def __init__(self, app: ASGIApp, state: SimulatorState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or drop it."""
        state = self._state
        state.requests[f"{scope['method']} {endpoint(scope['path'].removeprefix(scope['root_path']))}"] += 1
        state.in_flight += 1
        state.in_flight_most = max(state.in_flight_most, state.in_flight)
        try:
            fault = state.injector.draw()
            scope.setdefault("state", {})[INJECTED_FAULT] = fault
            if (latency_s := state.injector.latency_s()) > 0:
                await state.pause(latency_s)
            await self._respond(fault, scope, receive, send)
        finally:
            state.in_flight -= 1

    async def _respond(self, fault: InjectedFault, scope: Scope, receive: Receive, send: Send) -> None:
        faults = self._state.injector.faults

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                if fault is InjectedFault.SLOW:
                    await self._state.pause(faults.slow_s)
                self._state.statuses[str(message["status"])] += 1
            await send(message)

        match fault:
            case InjectedFault.OUTAGE if faults.outage_status:
                await _server_error(faults.outage_status)(scope, receive, counting)
            case InjectedFault.ERROR:
                await _server_error(faults.error_status)(scope, receive, counting)
            case InjectedFault.OUTAGE | InjectedFault.RESET_BEFORE:
                await self._drop(scope, receive)
            case InjectedFault.RESET_AFTER:
                await self._app(scope, receive, _discard)
                await self._drop(scope, receive)
            case _:
                await self._app(scope, receive, counting)

    async def _drop(self, scope: Scope, receive: Receive) -> None:
        """End the connection without an answer, by a TCP reset where the server leaves us its transport."""
        self._state.statuses["dropped"] += 1
        transport: asyncio.Transport | None = scope["state"].get(TRANSPORT)
        if transport is None:
            raise ConnectionResetError("The simulator drops this connection.")
        if (connection := transport.get_extra_info("socket")) is not None:
            # Lingering for zero seconds makes the close a reset (RST) instead of an orderly end (FIN).
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class AuthenticationMiddleware:
    """Answers 401 to a request without the token, and 403 to one with the token that has no rights.

    Args:
        app: What answers the others.
        token: The bearer token.
        forbidden_token: A token that is known and may do nothing.
    """

    def __init__(self, app: ASGIApp, token: str, forbidden_token: str) -> None:
        self._app = app
        self._token = token
        self._forbidden_token = forbidden_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        app = self._app
        if _bearer(scope) == self._forbidden_token:
            app = JSONResponse({"message": "This action is unauthorized."}, 403)
        elif not is_allowed(scope, self._token):
            app = JSONResponse({"message": "Unauthenticated."}, 401)
        await app(scope, receive, send)


class RateLimitMiddleware:
    """Answers 429 to requests above the limit, and tells every request how many are left.

    Args:
        app: What answers the others.
        state: Its faults say what the limit is, its limiter counts.
    """

    def __init__(self, app: ASGIApp, state: SimulatorState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        faults = self._state.injector.faults
        if not faults.throttle_requests:
            await self._app(scope, receive, send)
            return
        limit = self._state.rate_limiter.ask(
            _bearer(scope), faults.throttle_requests, faults.throttle_window_s
        )

        async def with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [
                    (b"x-ratelimit-limit", b"%d" % limit.limit),
                    (b"x-ratelimit-remaining", b"%d" % limit.remaining),
                ]
            await send(message)

        app = self._app
        if not limit.allowed:
            wait = str(limit.retry_after_s)
            if faults.retry_after_date:
                wait = format_datetime(
                    datetime.now(UTC) + timedelta(seconds=limit.retry_after_s), usegmt=True
                )
            app = JSONResponse({"message": "Too Many Attempts."}, 429, {"Retry-After": wait})
        await app(scope, receive, with_limits)


class RateLimit(NamedTuple):
    """What the limiter answers about one request.

    Attributes:
        allowed: Whether the request may pass.
        limit: Requests in a window.
        remaining: How many are left in this window.
        retry_after_s: Whole seconds until the window ends.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after_s: int


@dataclass
class LimitWindow:
    """A period in which the requests of one token are counted.

    Attributes:
        began_at: By the limiter's clock.
        ends_at: The first request after it begins the next window.
        used: Requests that passed.
    """

    began_at: float
    ends_at: float
    used: int = 0


class RateLimiter:
    """Limits requests as Laravel does: by token, in a window that begins with the token's first request.

    Refused requests do not count. A new limit applies at once.

    Attributes:
        windows: The last ones of all tokens, oldest first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_token: dict[str, LimitWindow] = {}
        self.windows: deque[LimitWindow] = deque(maxlen=WINDOWS_KEPT)

    def ask(self, token: str, limit: int, window_s: float) -> RateLimit:
        """Count a request, or refuse it."""
        now = self._clock()
        window = self._by_token.get(token)
        # A window that would end later than a new one is of a longer length that was configured before.
        if window is None or now >= window.ends_at or window.ends_at > now + window_s:
            window = self._by_token[token] = LimitWindow(now, now + window_s)
            self.windows.append(window)
        allowed = window.used < limit
        window.used += allowed
        wait_s = max(1, math.ceil(window.ends_at - now))
        return RateLimit(allowed, limit, max(0, limit - window.used), wait_s)

    def clear(self) -> None:
        """Forget what was counted."""
        self._by_token.clear()
        self.windows.clear()


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


def _server_error(status: int) -> JSONResponse:
    return JSONResponse({"message": "Server Error"}, status)


async def _discard(message: Message) -> None:
    pass
