"""A tenant in memory, behind httpx's own mock transport, and made-up transactions to send to it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from pipeline.core.model import StagedTransaction
from pipeline.core.settings import Connection, Secret
from pipeline.loading.confirm.confirm_run import confirm, resend_missing
from pipeline.loading.confirm.confirmation import Confirmation
from pipeline.loading.delivery.decisions import VoidRules
from pipeline.loading.delivery.delivery_options import DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.http.retry_policy import RetryPolicy
from pipeline.loading.ledger.entries import RunRef
from pipeline.loading.ledger.ledger import SqlLedger

TOKEN = "tok-5e9f1c77"
CONNECTION = Connection("https://api.acme.test/api/v3", Secret(TOKEN))
FIRST_DAY = datetime(2024, 1, 1)
QUICK = RetryPolicy(attempts=4, first_wait_s=0.001, longest_wait_s=0.01)

Interfere = Callable[[httpx.Request, dict[str, Any]], httpx.Response | None]
"""Sees a request and its JSON before the tenant does; may answer in its place, or raise."""


def made(number: int, **fields: Any) -> StagedTransaction:
    """The transaction with this number; the same each time."""
    cents = 100 + number % 5000
    moment = FIRST_DAY + timedelta(minutes=number)
    body: dict[str, Any] = {
        "external_id": f"T{number:06d}",
        "total": cents / 100,
        "transacted_at": moment.strftime("%Y-%m-%d %H:%M:%S"),
        "currency": "AUD",
        "location_id": f"S{number % 3}",
        "profile_id": f"p{number % 10}@example.com",
        "profile_id_handle": "email",
        "items": [{"external_id": "1", "name": "Shirt", "quantity": 1, "price_current": cents / 100}],
    }
    body["items"][0]["price_sell"] = body["total"]
    body |= fields
    text = json.dumps(body).encode()
    return StagedTransaction(f"T{number:06d}", text)


def void(*run: Any, **how: Any) -> DeliveryResult:
    """As `deliver`, with what the command `void` does."""
    return deliver(*run, rules=VoidRules(), **how)


def confirm_and_resend(*run: Any, patience_s: float = 0.0, **how: Any) -> tuple[Confirmation, int]:
    """As `confirm --resend`: what the look-ups found, and how many of the missing were sent again."""
    found = confirm(*run, patience_s=patience_s, **how)
    if not found.missing or found.stopped or found.error:
        return found, 0
    resent = resend_missing(*run, **how)
    return found, resent.handled if resent else 0


def run_of(run_id: str, transactions: list[StagedTransaction], day: int = 1) -> RunRef:
    return RunRef(run_id, len(transactions), day)


def batches_of(transactions: list[StagedTransaction], size: int = 100) -> Callable[[int], Iterator[Any]]:
    def batches(start: int) -> Iterator[list[StagedTransaction]]:
        for at in range(start, len(transactions), size):
            yield transactions[at : at + size]

    return batches


@dataclass
class Tenant:
    """Takes transactions at once. `interfere` may answer first; `after` may spoil the answer."""

    interfere: Interfere = lambda *_: None
    after: Interfere = lambda *_: None
    there: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrivals: list[str] = field(default_factory=list)
    posts: Counter[str] = field(default_factory=Counter)
    requests: list[httpx.Request] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    latency_s: float = 0.0

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
            return self._answer(request)
        finally:
            self.in_flight -= 1

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return httpx.Response(401, json={"message": "Unauthenticated."})
        body = json.loads(request.content) if request.content else {}
        early = self.interfere(request, body)
        if early is not None:
            return early
        return self.after_all(request, body)

    def after_all(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        path = request.url.path
        if request.method == "POST":
            for each in body.get("transactions", [body]):
                self.arrivals.append(each["external_id"])
                self.posts[each["external_id"]] += 1
                self.there[each["external_id"]] = {**self.there.get(each["external_id"], {}), **each}
            return self.after(request, body) or httpx.Response(200, json={"data": "OK"})
        name = unquote(request.url.raw_path.decode().rsplit("/", 1)[1])
        if "/transactions/external/" in path and name in self.there:
            return httpx.Response(200, json={"data": self.there[name]})
        return httpx.Response(404, json={"message": "No query results."})


def load(
    ledger: SqlLedger,
    run: RunRef,
    transactions: list[StagedTransaction],
    tenant: Tenant,
    options: DeliveryOptions | None = None,
    **how: Any,
) -> DeliveryResult:
    """`deliver` with quick retries."""
    return deliver(
        run,
        batches_of(transactions),
        CONNECTION,
        ledger,
        options or DeliveryOptions(policy=QUICK, concurrency=8),
        transport=tenant.transport,
        **how,
    )


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
