"""The local Omneo as an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount

from pipeline.simulator.admin import Admin
from pipeline.simulator.middleware import AuthenticationMiddleware, FaultMiddleware, RateLimitMiddleware
from pipeline.simulator.routes import Api, RequestRefused
from pipeline.simulator.simulator_settings import API_PATH, SimulatorSettings
from pipeline.simulator.state import SimulatorState
from pipeline.simulator.transactions import NoSuchTransaction

if TYPE_CHECKING:
    from starlette.requests import Request


def create_app(settings: SimulatorSettings) -> Starlette:
    """Build the local Omneo: the API below `/api/v3`, its controls below `/_admin`, counts at `/`.

    The app processes its queue between the lifespan's start and end, so lifespan must be on.

    Raises:
        SettingsError: The database cannot be opened.
    """
    state = SimulatorState(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with state.at_work():
            yield

    # The exception handlers sit inside the middleware, so that their answers are counted and limited, too.
    endpoints = Starlette(routes=Api(state).routes(), exception_handlers=_HANDLERS)
    endpoints.router.redirect_slashes = False
    limited = RateLimitMiddleware(endpoints, state)
    authenticated = AuthenticationMiddleware(limited, settings.token, settings.forbidden_token)
    app = Starlette(
        routes=[Mount(API_PATH, app=FaultMiddleware(authenticated, state)), *Admin(state).routes()],
        # Another site's page must not reach the simulator through a name that resolves to loopback.
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]", "testserver"])
        ],
        lifespan=lifespan,
    )
    app.state.simulator = state
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused)
    return error.answer()


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"message": error.detail}, error.status_code, dict(error.headers or {}))


async def _not_found(_: Request, error: Exception) -> Response:
    return JSONResponse({"message": f"No query results for transaction {error}."}, 404)


_HANDLERS = {RequestRefused: _refused, HTTPException: _http_error, NoSuchTransaction: _not_found}
