"""Querying Omneo for what was delivered."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from pipeline.core.clock import Clock, SystemClock
from pipeline.core.events import Emit, Notice, ignore
from pipeline.core.memory import seldom_collecting
from pipeline.core.settings import Connection
from pipeline.loading.confirm.confirmation import Confirmation
from pipeline.loading.confirm.search import Search
from pipeline.loading.delivery.decisions import ResendRules
from pipeline.loading.delivery.delivery_options import DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.leases import Batches
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.interface import httpx
from pipeline.loading.ledger.entries import RunRef
from pipeline.loading.ledger.ledger import SqlLedger


def confirm(
    run: RunRef,
    batches: Batches,
    connection: Connection,
    ledger: SqlLedger,
    options: DeliveryOptions | None = None,
    *,
    sample: float = 1.0,
    patience_s: float = 30.0,
    seed: int | None = None,
    emit: Emit = ignore,
    stop: Stop | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
) -> Confirmation:
    """Query what a run delivered and compare it with what was sent; the ledger takes note.

    Many are queried with one request where the tenant's list proves to take several ids, else each with a
    request of its own. What a later run has delivered with other contents is that run's to confirm.

    Args:
        run: The run.
        batches: Gives its transactions.
        connection: The tenant.
        ledger: Says what was delivered.
        options: How to ask.
        sample: Share of the transactions to query, chosen at random.
        patience_s: How long to look again for missing ones: Omneo's queue has no guaranteed time.
        seed: Of the choice of the sample.
        emit: Gets every event.
        stop: Asks it to stop.
        transport: Takes the place of the network in tests.
        clock: Takes the place of the system's clocks in tests.

    Raises:
        SettingsError: The ledger cannot be used.
    """
    ledger.bind(connection.base_url)
    search = Search(
        run=run,
        ledger=ledger,
        options=options or DeliveryOptions(),
        sample=sample,
        patience_s=patience_s,
        dice=random.Random(seed),  # noqa: S311 (a sample is no secret)
        emit=emit,
        stop=stop or Stop(),
        clock=clock or SystemClock(),
    )
    with seldom_collecting():
        return asyncio.run(search.run_all(batches, connection, transport))


def resend_missing(
    run: RunRef,
    batches: Batches,
    connection: Connection,
    ledger: SqlLedger,
    options: DeliveryOptions,
    *,
    emit: Emit = ignore,
    **how: Any,
) -> DeliveryResult | None:
    """Send again what `confirm` found missing; takes the same arguments as `deliver`.

    Returns:
        What came of it; None where nothing is sent, since the endpoint only creates.
    """
    if not options.endpoint.upserts:
        # Omneo's queue is late by design: what is missing now may come yet, and would be there twice.
        emit(
            Notice(
                "not_resent",
                f"Nothing was sent again: --endpoint {options.endpoint.name} only creates, and what is "
                "missing may only be late. Use --endpoint queue, which updates what is there.",
            )
        )
        return None
    return deliver(run, batches, connection, ledger, options, rules=ResendRules(), emit=emit, **how)
