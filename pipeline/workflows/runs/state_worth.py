"""What the transactions of a run are worth by what became of them: the ledger beside the staged amounts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import polars as pl

from pipeline.loading.ledger.entries import DELIVERY, Counted, Passed, Record, State, counted_in
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.report.data import StateWorth
from pipeline.report.summary import Summary, totals_of
from pipeline.staging.staged_run import StagedRun
from pipeline.workflows.runs.run_summary import run_ref

_FORGOTTEN: Final = "forgotten"
_VOID: Final = "void"


def state_name(counted: Counted) -> str:
    """The name of a count: its own where Omneo took the transactions, else that of the summary."""
    return str(counted) if DELIVERY[counted] == "delivered" else DELIVERY[counted]


def counted_rows(
    staged: StagedRun, ledger: SqlLedger | None, rows: Iterator[pl.DataFrame]
) -> Iterator[tuple[pl.DataFrame, list[tuple[Counted, Record | None]]]]:
    """Staged rows in delivery order, each with what the run counts it as and what the ledger knows of it.

    Args:
        staged: The run.
        ledger: The ledger, of one tenant; None where there is none, so that all is pending.
        rows: The rows, with `external_id`.
    """
    ref = run_ref(staged.manifest)
    run_no = ledger.progress(ref).run_no if ledger is not None else 0
    is_passed = ledger.passed(ref.run_id) if ledger is not None else lambda _: False
    position = 0
    for some in rows:
        names: Sequence[str] = some["external_id"].to_list()
        known: Mapping[str, Record] = ledger.find(names, run_no) if ledger is not None else {}
        found = []
        for at, name in enumerate(names, position):
            record = known.get(name)
            place = record.place if record is not None else None
            found.append((counted_in(run_no, record, place, passed=is_passed(at)), record))
        position += some.height
        yield some, found


def worth_by_state(staged: StagedRun, ledger: SqlLedger, summary: Summary) -> dict[str, StateWorth]:
    """How many transactions are in each state, and what they are worth.

    Args:
        staged: The run.
        ledger: The ledger, of the tenant that the summary is about.
        summary: The run as it stands.

    Returns:
        By `confirmed`, `missing`, `differing`, `void` (void in Omneo though it was not sent so), and the
        names of the summary's `delivery`. Empty where all is in one state, so that the totals of the run say
        it, and where a load has changed the ledger since the summary was made.
    """
    states = [summary.confirmed, summary.missing, summary.differing, *vars(summary.delivery).values()]
    if sum(bool(number) for number in states) < 2:
        return {}
    by_currency = any(not isinstance(total, str) for total in summary.totals.values())
    looked_up = summary.confirmed is not None
    delivery: Counter[str] = Counter()
    numbers: dict[str, int] = defaultdict(int)
    sums: dict[str, dict[str | None, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    has_bodies = by_currency or staged.manifest.forgotten > 0
    for rows, found in counted_rows(staged, ledger, staged.amounts(with_bodies=has_bodies)):
        names = [_seen_as(counted, record, looked_up=looked_up) for counted, record in found]
        counted = rows.with_columns(
            pl.Series("state", names, pl.String),
            pl.Series("place", [DELIVERY[counted] for counted, _ in found], pl.String),
            _currency(by_currency=by_currency).alias("currency"),
        )
        if has_bodies:
            unknown = pl.Series([record is None for _, record in found], dtype=pl.Boolean)
            is_forgotten = (pl.col("body") == b"") & unknown
            counted = counted.with_columns(
                pl.when(is_forgotten).then(pl.lit(_FORGOTTEN)).otherwise(name).alias(name)
                for name in ("state", "place")
            )
        added = counted.group_by("state", "place", "currency").agg(pl.len(), pl.col("total").sum())
        for state_of, place, currency, number, total in added.iter_rows():
            delivery[place] += number
            numbers[state_of] += number
            sums[state_of][currency] += total
    totals = totals_of(sums)
    if delivery != {name: n for name, n in vars(summary.delivery).items() if n}:
        return {}
    return {state: StateWorth(numbers[state], totals[state]) for state in numbers}


def _currency(*, by_currency: bool) -> pl.Expr:
    """The currency of a body; null where there is one for the whole run, or the body was removed."""
    if not by_currency:
        return pl.lit(None, pl.String)
    text = pl.col("body").cast(pl.String)
    return pl.when(text != "").then(text).str.json_path_match("$.currency")


def _seen_as(counted: Counted, record: Record | None, *, looked_up: bool) -> str:
    """The state of a transaction, also of what another run delivered where `confirm` has looked at that."""
    seen = counted
    if looked_up and counted is Passed.UNCHANGED and record is not None and record.state in _SEEN_OTHERWISE:
        seen = record.state
    if seen is State.DIFFERING and record is not None and '"is_void"' in (record.message or ""):
        return _VOID
    return state_name(seen)


_SEEN_OTHERWISE: Final = (State.MISSING, State.DIFFERING, State.VOIDED)
