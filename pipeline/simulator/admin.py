"""The simulator's own controls and its page of counts; they are not part of Omneo's API."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pipeline.core.errors import SettingsError
from pipeline.simulator.database import Query
from pipeline.simulator.middleware import is_allowed
from pipeline.simulator.state import SimulatorState

if TYPE_CHECKING:
    from starlette.requests import Request

Endpoint = Callable[["Request"], Awaitable[Response]]


class Admin:
    """The controls, bound to one simulated tenant. All but the page of counts require the API's token."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """`/` and the paths below `/_admin`."""
        return [
            Route("/", self.page),
            Route("/_admin/faults", self._guarded(self.faults), methods=["GET"]),
            Route("/_admin/faults", self._guarded(self.change_faults), methods=["PUT"]),
            Route("/_admin/stats", self._guarded(self.stats), methods=["GET"]),
            Route("/_admin/arrivals", self._guarded(self.arrivals), methods=["GET"]),
            Route("/_admin/transactions", self._guarded(self.transactions), methods=["GET"]),
            Route("/_admin/reset", self._guarded(self.reset), methods=["POST"]),
            Route("/_admin/drain", self._guarded(self.drain), methods=["POST"]),
        ]

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            if not is_allowed(request.scope, self._state.settings.token):
                return JSONResponse({"message": "Unauthenticated."}, 401)
            return await endpoint(request)

        return guarded

    async def faults(self, request: Request) -> Response:
        """The faults in force."""
        return JSONResponse(self._state.injector.faults.as_dict())

    async def change_faults(self, request: Request) -> Response:
        """Change the given faults, keep the others, and answer all that are in force."""
        try:
            values = await request.json()
            self._state.injector.change(self._state.injector.faults.changed(values))
        except (ValueError, AttributeError, TypeError):
            return JSONResponse({"message": "A JSON object of faults was expected."}, 422)
        except SettingsError as error:
            return JSONResponse({"message": str(error)}, 422)
        return await self.faults(request)

    async def stats(self, request: Request) -> Response:
        """The counters."""
        return JSONResponse(self._state.stats())

    async def arrivals(self, request: Request) -> Response:
        """Every transaction that reached the API, in order, one JSON object a line."""
        return _ndjson(arrival._asdict() for arrival in self._state.arrivals.all())

    async def transactions(self, request: Request) -> Response:
        """Every transaction, oldest id first, one JSON object a line."""
        return _ndjson(self._state.transactions.page(Query(size=-1)).rows)

    async def reset(self, request: Request) -> Response:
        """Delete everything but the settings and the faults."""
        self._state.reset()
        return JSONResponse({"message": "Reset."})

    async def drain(self, request: Request) -> Response:
        """Process the queue now, whatever its delay."""
        return JSONResponse({"processed": self._state.queue.drain()})

    async def page(self, request: Request) -> Response:
        """The counts, for people."""
        rows = "".join(
            f"<tr><th scope=row>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
            for name, value in _flat(self._state.stats())
        )
        return HTMLResponse(_PAGE.format(rows=rows))


def _ndjson(rows: Iterable[Mapping[str, Any]]) -> Response:
    return Response("".join(json.dumps(row) + "\n" for row in rows), media_type="application/x-ndjson")


def _flat(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}: ")
        else:
            yield path + name.replace("_", " "), value


_PAGE = """<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>
<meta name=viewport content="width=device-width"><title>Local Omneo</title>
<style>:root{{color-scheme:light dark;font:16px system-ui}}
th{{text-align:left;font-weight:normal;padding-right:2em}}
td{{text-align:right}}</style><h1>Local Omneo</h1><table>{rows}</table></html>"""
