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
from pipeline.simulator.api import Api, Refused
from pipeline.simulator.middleware import Gate
from pipeline.simulator.simulator_settings import API_PATH, SimulatorSettings
from pipeline.simulator.state import Tenant
from pipeline.simulator.transactions import NoSuchTransaction

if TYPE_CHECKING:
    from starlette.requests import Request


def create_app(settings: SimulatorSettings) -> Starlette:
    """Build the local Omneo: the API below `/api/v3`, its controls below `/_admin`, counts at `/`.

    The app works its queue off between the lifespan's start and end, so it must be run with lifespan on.

    Raises:
        SettingsError: The database cannot be opened.
    """
    tenant = Tenant(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with tenant.at_work():
            yield

    # The gate counts and refuses what comes out of the handlers, so they must sit inside it.
    inner = Starlette(routes=Api(tenant).routes(), exception_handlers=_HANDLERS)
    inner.router.redirect_slashes = False
    app = Starlette(
        routes=[Mount(API_PATH, app=Gate(inner, tenant)), *Admin(tenant).routes()],
        # Another site's page must not reach the simulator through a name that resolves to loopback.
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]", "testserver"])
        ],
        lifespan=lifespan,
    )
    app.state.tenant = tenant
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.answer()


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"message": error.detail}, error.status_code, dict(error.headers or {}))


async def _not_found(_: Request, error: Exception) -> Response:
    return JSONResponse({"message": f"No query results for transaction {error}."}, 404)


_HANDLERS = {Refused: _refused, HTTPException: _http_error, NoSuchTransaction: _not_found}
