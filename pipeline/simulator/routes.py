"""The endpoints of Omneo's transaction API, as its public pages describe them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.core.text.wording import count
from pipeline.simulator.arrival_log import Arrival
from pipeline.simulator.checks import Errors, check_item, errors_in, parse_json
from pipeline.simulator.database import Query, ResultPage
from pipeline.simulator.fault_injector import InjectedFault
from pipeline.simulator.middleware import INJECTED_FAULT, endpoint
from pipeline.simulator.queue import Job
from pipeline.simulator.simulator_settings import Reaction
from pipeline.simulator.state import SimulatorState
from pipeline.simulator.transactions import FILTERS as TRANSACTION_FILTERS
from pipeline.simulator.transactions import Written

if TYPE_CHECKING:
    from starlette.requests import Request

_QUEUED: Final = b'{"data":"OK"}'
_OPERATORS: Final = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_FILTER: Final = re.compile(r"filter\[([\w.]+)\](?:\[(\w+)\])?")

Select = Callable[[Query], ResultPage]
"""Gives a page of a list."""


class RequestRefused(Exception):
    """The request is answered with a client error.

    Args:
        status: Of the answer.
        message: For people.
        errors: By field path, for 422.
    """

    def __init__(self, status: int, message: str, errors: Errors | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors

    def answer(self) -> Response:
        """As Laravel writes it."""
        body: dict[str, Any] = {"message": self.message}
        return JSONResponse(body | ({"errors": self.errors} if self.errors else {}), self.status)


class Checked(NamedTuple):
    """A transaction and its errors."""

    body: dict[str, Any]
    errors: Errors


class Api:
    """The endpoints, bound to one simulated tenant."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state
        self._transactions = state.transactions
        self._reference_data = state.reference_data
        self._currencies = frozenset(state.settings.currencies)

    def routes(self) -> list[Route]:
        """The routes below `/api/v3`; the busiest one first."""
        post, get, put = ["POST"], ["GET"], ["PUT"]
        return [
            Route("/transactions/queue", self.queue, methods=post),
            Route("/transactions/external/{external_id:path}", self.external, methods=get),
            Route("/transactions/queue/create", self.queue_create, methods=post),
            Route("/transactions/batch.json", self.batch, methods=post),
            Route("/transactions/update-create", self.update_create, methods=post),
            Route("/transactions", self.create, methods=post),
            Route("/transactions", self.transactions, methods=get),
            Route("/transactions/{id:int}", self.transaction, methods=get),
            Route("/transactions/{id:int}", self.update, methods=put),
            Route("/transactions/{id:int}/items", self.add_item, methods=post),
            Route("/batches/{id}", self.batch_status, methods=get),
            Route("/locations", self.locations, methods=get),
            Route("/currencies", self.currencies, methods=get),
            Route("/profiles", self.profiles, methods=get),
            Route("/profiles/{id}/aggregations", self.aggregations, methods=get),
            Route("/profiles/{id}", self.profile, methods=get),
            Route("/triggers", self.triggers, methods=get),
            Route("/automations", self.automations, methods=get),
            Route("/webhooks", self.webhooks, methods=get),
            Route("/identities/search", self.identities, methods=get),
        ]

    # --- queued

    async def queue(self, request: Request) -> Response:
        """Queue an upsert."""
        return await self._queue(request, upsert=True)

    async def queue_create(self, request: Request) -> Response:
        """Queue a create."""
        return await self._queue(request, upsert=False)

    async def _queue(self, request: Request, *, upsert: bool) -> Response:
        body = self._accepted(request, await self._json(request), create=not upsert)
        if not self._is_lost(request, body):
            self._add_job(Job(body, upsert))
        return Response(_QUEUED, media_type="application/json")

    async def batch(self, request: Request) -> Response:
        """Queue many upserts and answer the id of their batch."""
        data = await self._json(request)
        rows = data.get("transactions") if isinstance(data, dict) else None
        if not isinstance(rows, list) or not 1 <= len(rows) <= self._state.settings.batch_limit:
            most = count(self._state.settings.batch_limit, "item")
            raise _invalid({"transactions": [f"The transactions must have between 1 and {most}."]})
        checked = [self._check(row, create=False) for row in rows]
        errors = {
            f"transactions.{n}.{path}": text
            for n, one in enumerate(checked)
            for path, text in one.errors.items()
        }
        if errors and self._state.settings.batch_checks == "whole":
            for one in checked:
                self._arrived(request, one.body, "refused")
            raise _invalid(errors)
        batch_id = self._state.batches.add([_external_id(one.body) for one in checked])
        for position, one in enumerate(checked):
            self._queue_in_batch(request, one, batch_id, position)
        return JSONResponse({"message": "Batch queued.", "batch_id": batch_id})

    def _queue_in_batch(self, request: Request, one: Checked, batch_id: str, position: int) -> None:
        error = None
        if one.errors:
            self._arrived(request, one.body, "refused")
            error = "; ".join(text for texts in one.errors.values() for text in texts)
        elif self._is_lost(request, one.body):
            return
        self._add_job(Job(one.body, batch_id=batch_id, position=position, error=error))

    def _add_job(self, job: Job) -> None:
        self._state.queue.add(job)
        external_id = _external_id(job.body)
        if external_id is not None and job.error is None and self._state.injector.doubles(external_id):
            self._state.queue.add(Job(job.body, upsert=False))

    async def batch_status(self, request: Request) -> Response:
        """The progress of a batch."""
        batch = self._state.batches.one(request.path_params["id"])
        if batch is None:
            raise _not_found()
        return JSONResponse({"data": batch})

    # --- direct

    async def create(self, request: Request) -> Response:
        """Create a transaction."""
        body = self._accepted(request, await self._json(request), create=True)
        self._arrived(request, body, "accepted")
        with self._state.db.writing():
            written = self._transactions.create(body)
        return self._written(written, 201)

    async def update_create(self, request: Request) -> Response:
        """Update a transaction, or create it."""
        body = self._accepted(request, await self._json(request), create=False)
        self._arrived(request, body, "accepted")
        with self._state.db.writing():
            written = self._transactions.upsert(body)
        return self._written(written, 201 if written.created else 200)

    async def update(self, request: Request) -> Response:
        """Change given fields of a transaction."""
        body = await self._json(request)
        if errors := errors_in(body, self._currencies, partial=True):
            raise _invalid(errors)
        with self._state.db.writing():
            written = self._transactions.update(request.path_params["id"], self._kept(body))
        return self._written(written)

    async def add_item(self, request: Request) -> Response:
        """Add an item to a transaction, whose total stays."""
        body = await self._json(request)
        errors: Errors = {}
        check_item(body, "", errors)
        if errors:
            raise _invalid(errors)
        with self._state.db.writing():
            item = self._transactions.add_item(request.path_params["id"], body)
        return JSONResponse({"data": item}, 201)

    def _written(self, written: Written, status: int = 200) -> Response:
        self._state.processed(written)
        return JSONResponse({"data": self._transactions.one(written.id)}, status)

    # --- reading

    async def external(self, request: Request) -> Response:
        """The transaction with an `external_id`, which may hold slashes."""
        return JSONResponse({"data": self._transactions.external(request.path_params["external_id"])})

    async def transaction(self, request: Request) -> Response:
        """A transaction by id."""
        return JSONResponse({"data": self._transactions.one(request.path_params["id"])})

    async def transactions(self, request: Request) -> Response:
        """A page of transactions, with or without their items."""
        faults = self._state.injector.faults

        def select(query: Query) -> ResultPage:
            page = self._transactions.page(query)
            for row in page.rows if faults.list_without_items else ():
                del row["items"]
            return page

        ignored = "external_id" if faults.list_ids == "none" else ""
        terms = _terms(request, TRANSACTION_FILTERS, many=faults.list_ids == "many", ignored=ignored)
        return self._page(request, select, terms)

    async def locations(self, request: Request) -> Response:
        """A page of locations."""
        terms = _terms(request, _columns("id", "external_id", "name", "timezone"))
        return self._page(request, self._reference_data.locations, terms)

    async def currencies(self, request: Request) -> Response:
        """A page of configured currencies."""
        return self._page(
            request, self._reference_data.currencies, _terms(request, _columns("id", "from", "to"))
        )

    async def profiles(self, request: Request) -> Response:
        """A page of profiles; `search` looks into email and names."""
        search = request.query_params.get("search")
        terms = _terms(request, _columns("id", "email"))
        return self._page(request, lambda query: self._reference_data.profiles(query, search), terms)

    async def profile(self, request: Request) -> Response:
        """A profile by its UUID."""
        return JSONResponse({"data": self._profile(request)})

    async def aggregations(self, request: Request) -> Response:
        """A profile's figures, as they were when they were last calculated."""
        return JSONResponse({"data": self._state.aggregations.of(self._profile(request)["id"])})

    def _profile(self, request: Request) -> dict[str, Any]:
        page = self._reference_data.profiles(Query([("id = ?", request.path_params["id"])]))
        if not page.rows:
            raise _not_found()
        return page.rows[0]

    async def triggers(self, request: Request) -> Response:
        """A page of triggers."""
        if status := self._state.injector.faults.triggers_status:
            return JSONResponse({"message": "The simulator is configured to answer this."}, status)
        return self._page(request, _rows(_reactions(self._state.settings.triggers)))

    async def automations(self, request: Request) -> Response:
        """A page of automations."""
        return self._page(request, _rows(_reactions(self._state.settings.automations)))

    async def webhooks(self, request: Request) -> Response:
        """A page of the registered webhooks."""
        return self._page(request, _rows(self._state.webhooks.registered()))

    async def identities(self, request: Request) -> Response:
        """The profiles with an identity; empty where the identity is unknown."""
        given = [request.query_params.get(name, "") for name in ("handle", "identifier")]
        if "" in given:
            raise _invalid({"handle": ["The handle and the identifier are required."]})
        found = self._reference_data.profile_id_of_identity(*given)
        rows = self._reference_data.profiles(Query([("id = ?", found)])).rows if found else []
        return JSONResponse({"data": [row | {"profile_id": row["id"]} for row in rows]})

    # --- shared

    def _page(self, request: Request, select: Select, terms: Sequence[tuple[str, str]] = ()) -> Response:
        """Answer a page of a list in Laravel's form: data, links and meta."""
        size = min(_positive(request, "page[size]", 25), self._state.injector.faults.list_page_most)
        number = _positive(request, "page[number]", 1)
        page = select(Query(terms, size, number))
        last = max(1, ceil(page.total / size))

        def link(target: int) -> str | None:
            if not 1 <= target <= last:
                return None
            return str(request.url.include_query_params(**{"page[number]": target, "page[size]": size}))

        links = {"first": link(1), "last": link(last), "prev": link(number - 1), "next": link(number + 1)}
        meta = {"current_page": number, "per_page": size, "last_page": last, "total": page.total}
        return JSONResponse({"data": page.rows, "links": links, "meta": meta})

    async def _json(self, request: Request) -> Any:
        body = await request.body()
        if len(body) > self._state.settings.max_body_bytes:
            raise RequestRefused(413, "Payload Too Large")
        try:
            return parse_json(body)
        except ValueError as error:
            raise _invalid({"body": [f"The body is not JSON: {error}."]}) from None

    def _accepted(self, request: Request, body: Any, *, create: bool) -> dict[str, Any]:
        checked = self._check(body, create=create)
        if checked.errors:
            self._arrived(request, checked.body, "refused")
            raise _invalid(checked.errors)
        return checked.body

    def _kept(self, body: dict[str, Any]) -> dict[str, Any]:
        """The part of a body that is kept: all but what the simulator is configured to ignore."""
        faults = self._state.injector.faults
        if not (faults.unkept_fields or faults.keeps_items):
            return body
        names = {name.strip() for name in faults.unkept_fields.split(",")}
        names |= {"delete_existing_items"} if faults.keeps_items else set()
        kept = {name: value for name, value in body.items() if name not in names}
        of_items = {name.removeprefix("items.") for name in names if name.startswith("items.")}
        if of_items and isinstance(body.get("items"), list):
            kept["items"] = [{k: v for k, v in item.items() if k not in of_items} for item in body["items"]]
        return kept

    def _check(self, body: Any, *, create: bool) -> Checked:
        if errors := errors_in(body, self._currencies):
            return Checked(body if isinstance(body, dict) else {}, errors)
        body = self._kept(body)
        external_id = _external_id(body)
        if external_id is None:
            return Checked(body, {})
        if self._state.injector.refuses(external_id):
            return Checked(body, {"external_id": ["The selected external id is invalid."]})
        refuse = create and self._state.settings.create_existing == "refuse"
        if refuse and self._transactions.id_of(external_id) is not None:
            return Checked(body, {"external_id": ["The external id has already been taken."]})
        return Checked(body, {})

    def _is_lost(self, request: Request, body: dict[str, Any]) -> bool:
        """Log that a transaction was accepted, and decide whether its job vanishes."""
        external_id = _external_id(body)
        lost = external_id is not None and self._state.injector.loses(external_id)
        self._arrived(request, body, "lost" if lost else "accepted")
        return lost

    def _arrived(self, request: Request, body: dict[str, Any], outcome: str) -> None:
        scope, transacted_at = request.scope, body.get("transacted_at")
        self._state.arrivals.note(
            Arrival(
                endpoint=endpoint(scope["path"].removeprefix(scope["root_path"])),
                external_id=_external_id(body),
                transacted_at=transacted_at if isinstance(transacted_at, str) else None,
                outcome=outcome,
                answered=scope["state"][INJECTED_FAULT] is not InjectedFault.RESET_AFTER,
            )
        )


def _external_id(body: dict[str, Any]) -> str | None:
    external_id = body.get("external_id")
    return None if external_id is None else str(external_id)


def _invalid(errors: Errors) -> RequestRefused:
    first = next(iter(errors.values()))[0]
    more = len(errors) - 1
    return RequestRefused(422, f"{first} (and {more} more)" if more else first, errors)


def _not_found() -> RequestRefused:
    return RequestRefused(404, "No query results.")


def _positive(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise _invalid({name: [f"The {name} must be at least 1."]})
    return int(text)


def _columns(*names: str) -> dict[str, str]:
    """Filters that look into a column of the same name."""
    return {name: f'"{name}" {{is}}' for name in names}


def _terms(
    request: Request, filters: Mapping[str, str], *, many: bool = False, ignored: str = ""
) -> list[tuple[str, str]]:
    """The conditions that a request's filters stand for.

    Args:
        request: Has them, as `filter[name]=value` or `filter[name][operator]=value`.
        filters: By name: the condition in SQL, with `{is}` where operator and value go.
        many: Several values may be given, separated by commas.
        ignored: The name of a filter that does nothing.
    """
    terms: list[tuple[str, str]] = []
    for name, value in request.query_params.multi_items():
        if not (found := _FILTER.fullmatch(name)) or found[1] == ignored:
            continue
        column, operator = found[1], found[2] or "eq"
        if column not in filters or operator not in _OPERATORS:
            raise _invalid({name: [f"The filter {name} is not supported by the simulator."]})
        value = {"true": "1", "false": "0"}.get(value, value) if column == "is_void" else value
        comparison = f"{_OPERATORS[operator]} ?"
        if many and operator == "eq" and "," in value:
            comparison, value = "IN (SELECT value FROM json_each(?))", json.dumps(value.split(","))
        terms.append((filters[column].format(**{"is": comparison}), value))
    return terms


def _reactions(reactions: Iterable[Reaction]) -> list[dict[str, Any]]:
    """Triggers or automations in the form of the SDK."""
    return [
        {
            "id": number,
            "name": each.name,
            "trigger": each.trigger,
            "description": each.description,
            "notes": each.notes,
            "is_active": each.is_active,
            "actions": [
                {"id": place, "reference_id": None, "name": "", "sort_order": place, "description": ""}
                | {"arguments": {}}
                | dict(action)
                for place, action in enumerate(each.actions, start=1)
            ],
        }
        for number, each in enumerate(reactions, start=1)
    ]


def _rows(rows: Sequence[dict[str, Any]]) -> Select:
    """A list that is held in memory."""

    def select(query: Query) -> ResultPage:
        start = (query.number - 1) * query.size
        return ResultPage(list(rows[start : start + query.size]), len(rows))

    return select
