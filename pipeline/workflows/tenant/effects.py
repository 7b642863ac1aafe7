"""Customers' lifetime spend before and after an import: kept with the run, compared by `confirm`."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from math import ceil
from typing import Any, Final, TypeVar

import polars as pl
from pydantic import TypeAdapter

from pipeline.core.errors import RunError, StoppedByApi
from pipeline.core.model import RequestCounts
from pipeline.core.storage import parquet
from pipeline.core.storage.files import write_private
from pipeline.loading.confirm.same_sale import decimal_of, is_void
from pipeline.loading.confirm.spend_comparison import (
    PROFILES,
    CustomerEffect,
    SentSale,
    Snapshot,
    measure,
    take_snapshot,
)
from pipeline.loading.customer_query import NoAnswer, Person
from pipeline.loading.delivery.stop import until_stopped
from pipeline.loading.http.paced_client import PacedClient, connected
from pipeline.loading.http.retry_policy import RetryPolicy
from pipeline.loading.ledger.entries import ACCEPTED_BY_OMNEO, State
from pipeline.staging.workdir import RunDir
from pipeline.workflows.tenant.open_run import OpenRun

SNAPSHOT_JSON: Final = "effects_before.json"
_MOST_READ: Final = 50_000
"""Transactions among which customers are chosen; more would only take longer."""
_PATIENCE_S: Final = 5.0
"""How long a load waits for figures that it can do without."""
_SNAPSHOTS = TypeAdapter(dict[str, Snapshot])
T = TypeVar("T")


def read_snapshots(run: RunDir) -> dict[str, Snapshot]:
    """The figures from before the import, by the tenant's base URL."""
    path = run.path / SNAPSHOT_JSON
    return _SNAPSHOTS.validate_json(path.read_bytes()) if path.exists() else {}


def write_snapshot(run: OpenRun, snapshot: Snapshot) -> None:
    """Keep the figures of this tenant's customers."""
    snapshots = {**read_snapshots(run.directory), run.tenant: snapshot}
    write_private(run.directory.path / SNAPSHOT_JSON, _SNAPSHOTS.dump_json(snapshots, indent=1))


def forget_in_snapshots(run: RunDir, is_person: Callable[[str | None], bool]) -> None:
    """Remove a person from the figures of a run."""
    if snapshots := read_snapshots(run):
        kept = {
            tenant: replace(
                each,
                customers=tuple(
                    customer
                    for customer in each.customers
                    if not (is_person(customer.person.identifier) or is_person(customer.profile_id))
                ),
            )
            for tenant, each in snapshots.items()
        }
        write_private(run.path / SNAPSHOT_JSON, _SNAPSHOTS.dump_json(kept, indent=1))


def delivered_of_sample(run: OpenRun) -> dict[Person, Decimal]:
    """The customers whose figures are looked at, and what Omneo has of this run's sales of each.

    The choice depends on the run alone, so it is the same each time.
    """
    step = max(1, ceil(run.staged.manifest.transactions / _MOST_READ))
    people: set[Person] = set()
    for rows in _staged(run.directory, ["body"]):
        some = rows.get_column("body").gather_every(step).cast(pl.String)
        fields = pl.DataFrame({"body": some}).select(
            handle=pl.col("body").str.json_path_match("$.profile_id_handle"),
            identifier=pl.col("body").str.json_path_match("$.profile_id"),
        )
        named = fields.drop_nulls("identifier").unique().with_columns(pl.col("handle").fill_null(""))
        people.update(Person(*row) for row in named.iter_rows())
    chosen = sorted(people, key=lambda each: _lot(run.ref.run_id, each))[:PROFILES]
    sales = sent_sales(run, chosen)
    return {each: sum((sale.total for sale in sales[each]), Decimal(0)) for each in chosen}


def _lot(run_id: str, person: Person) -> bytes:
    return blake2b(json.dumps([run_id, person.handle, person.identifier]).encode(), digest_size=8).digest()


def sent_sales(run: OpenRun, people: Sequence[Person]) -> dict[Person, list[SentSale]]:
    """The sales of customers in this run that Omneo has by the ledger; void ones are worth nothing."""
    found: dict[Person, list[SentSale]] = defaultdict(list)
    # As a name stands within the JSON of a body, without its quotes; a quick filter before parsing.
    names = [json.dumps(each.identifier, ensure_ascii=False)[1:-1] for each in people]
    wanted = set(people)
    for each in _staged(run.directory, ["external_id", "body"]) if names else ():
        rows = each.with_columns(pl.col("body").cast(pl.String))
        rows = rows.filter(pl.col("body").str.contains_any(names))
        known = run.ledger.find(rows.get_column("external_id").to_list())
        for external_id, body in rows.iter_rows():
            sale, record = json.loads(body), known.get(external_id)
            person = Person.of(sale)
            if person not in wanted or person is None or record is None:
                continue
            if record.state in ACCEPTED_BY_OMNEO:
                counts = record.state is not State.VOIDED and not is_void(sale)
                total = decimal_of(record.total) or decimal_of(sale.get("total")) or Decimal(0)
                found[person].append(SentSale(external_id, total if counts else Decimal(0), record.at))
    return defaultdict(list, found)


def _staged(run: RunDir, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """What is staged, in the order of its parts."""
    for path in sorted(run.staged.glob("*.parquet")):
        yield from parquet.row_groups(path, columns)


def nothing_is_sent(run: OpenRun) -> bool:
    """Whether all of a run is still to be sent, so that figures are from before it."""
    delivery = run.summary().delivery
    return (
        bool(delivery.pending) and delivery.pending + delivery.forgotten == run.staged.manifest.transactions
    )


def take_snapshot_before_first(run: OpenRun) -> None:
    """Ask for customers' figures before the first transaction of a run is sent; without them it goes on.

    Figures that `preflight` took are taken again: live sales may have come since.
    """
    if not nothing_is_sent(run):
        return
    chosen = delivered_of_sample(run)
    if not chosen:
        return
    try:
        snapshot = _ask(
            run, lambda api: take_snapshot(api, chosen, datetime.now(UTC)), patience_s=_PATIENCE_S
        )[0]
    except (NoAnswer, StoppedByApi):
        # If more fails than this query, the load itself reports it.
        return
    if snapshot is not None:
        write_snapshot(run, snapshot)


def measured(
    run: OpenRun, snapshot: Snapshot, sent: Mapping[Person, Sequence[SentSale]]
) -> tuple[list[CustomerEffect] | None, RequestCounts]:
    """Compare customers' figures with what they were and what was sent.

    Returns:
        The effects, None where it was asked to stop; and what went over the wire.

    Raises:
        StoppedByApi: The token may not ask for figures, or there was no answer for too long.
    """
    try:
        effects, requests = _ask(run, lambda api: measure(api, snapshot, sent))
    except NoAnswer as no_answer:
        raise StoppedByApi(
            f"Omneo does not give customers' figures ({no_answer}).", hint="Check the token's rights."
        ) from None
    return effects, requests


def snapshot_of(run: OpenRun, profiles: int) -> Snapshot:
    """The figures from before of the first so many customers.

    Raises:
        RunError: There are none.
    """
    snapshot = read_snapshots(run.directory).get(run.tenant)
    if snapshot is None:
        raise RunError(
            f"It is not known what customers had spent before run {run.ref.run_id} was sent.",
            hint="`preflight` asks for it, and `load` before the first is sent; afterwards it is too late.",
        )
    return replace(snapshot, customers=snapshot.customers[:profiles])


def delivered_for(run: OpenRun, sent: Mapping[Person, Sequence[SentSale]], now: datetime) -> timedelta:
    """How long ago the last of these sales was delivered."""
    # A later query also sets a record's time, so this time may be too late, never too early.
    last = max((sale.at for sales in sent.values() for sale in sales), default=0)
    moments = [datetime.fromtimestamp(last, UTC)]
    if (sent_at := run.record().sent_at) is not None:
        moments.append(sent_at)
    return now - min(moments)


def _ask(
    run: OpenRun,
    question: Callable[[PacedClient], Coroutine[Any, Any, T]],
    *,
    patience_s: float | None = None,
) -> tuple[T | None, RequestCounts]:
    """Ask the tenant something; None where it was asked to stop before the answer."""
    options = run.target.options
    if patience_s is not None:
        policy = RetryPolicy(attempts=2, first_wait_s=0.5, longest_wait_s=1.0)
        options = replace(options, give_up_after_s=min(patience_s, options.give_up_after_s), policy=policy)

    async def ask() -> tuple[T | None, RequestCounts]:
        async with connected(run.target.connection, options, run.emit) as api:
            return await until_stopped(question(api), run.target.stop), api.requests

    return asyncio.run(ask())
