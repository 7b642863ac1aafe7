"""`preview`: the first transactions of a source, each payload beside the rows it came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.core.model import KEY, LINE, LINES, SOURCE, TX
from pipeline.mapping.functions.lookup_tables import load_tables
from pipeline.mapping.layout.raw_transactions import RawTransactions, build_transactions, without_lost
from pipeline.mapping.layout.row_kinds import HEADERS
from pipeline.mapping.layout.row_numbers import with_row_numbers
from pipeline.mapping.usage.used_columns import lookup_columns
from pipeline.staging.payloads import encode
from pipeline.validation.outcomes import ACCEPTED, decide_outcomes
from pipeline.validation.quarantine import placed, quarantine_frame
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.sources import RunSource, raw_rows


@dataclass(frozen=True)
class SourceRow:
    """A row as it was read: its file, its line, its cells that are not empty, and the mapping's table."""

    source: str
    line: int
    cells: dict[str, str]
    table: str = LINES


@dataclass(frozen=True)
class PreviewedTransaction:
    """One transaction: the payload that would be sent, and the rows it came from.

    Attributes:
        payload: The payload.
        rows: Its rows.
        looked_up: By look-up table `from: source`, the rows that it looks up: the cells by column.
    """

    payload: dict[str, Any]
    rows: tuple[SourceRow, ...]
    looked_up: Mapping[str, Sequence[Mapping[str, str | None]]]


@dataclass(frozen=True)
class Preview:
    """The first transactions, and what was not accepted among the rows read for them.

    Attributes:
        samples: The first accepted transactions, in the order of the source.
        reasons: One row a reason for what was dropped or rejected before the last sample, as in the
            quarantine.
        rows: How many rows were read.
    """

    samples: tuple[PreviewedTransaction, ...]
    reasons: pl.DataFrame
    rows: int


def preview(plan: ImportPlan, number: int) -> Preview:
    """Map the first rows of a source and show the first `number` payloads.

    Raises:
        SourceError: A file cannot be read.
    """
    tables, lost = without_lost(first_rows(plan))
    shaped = build_transactions(with_row_numbers(tables, plan.spec), plan.spec, lost)
    mapped = plan.compiled.apply(shaped)
    verdict = decide_outcomes(mapped, plan.policy, plan.started_at)
    chosen = verdict.transactions(ACCEPTED).head(number)
    last = chosen[TX][-1] if chosen.height == number else shaped.headers.height
    shown = verdict.reasons.filter((pl.col("outcome") != "warning") & (pl.col(TX) <= last))
    reasons = placed(shown, verdict.headers, shaped, plan.names)
    bodies = encode(chosen, mapped.items)
    looked_up = _looked_up(plan, shaped)
    samples = (
        PreviewedTransaction(json.loads(body), _rows_of(tx, shaped, plan.names), looked_up(tx))
        for tx, body in zip(bodies[TX], bodies["body"], strict=True)
    )
    rows = sum(frame.height for frame in tables.values())
    return Preview(tuple(samples), quarantine_frame(reasons, plan.names), rows)


def first_rows(plan: ImportPlan) -> dict[str, pl.DataFrame]:
    """The first rows of the source, and from its other tables those that belong to them.

    The last transaction is left out where its rows may go on after those that were read.
    """
    first = next((each for each in plan.sources if each.table == HEADERS), plan.sources[0])
    frames = (rows for _, rows in raw_rows([first], plan.spec, _ignore))
    head = next(frames, None)
    if head is None:
        return {}
    if next(frames, None) is not None:
        head = head.filter(pl.col(KEY).ne_missing(head[KEY][-1]))
    others = [each for each in plan.sources if each.table != first.table]
    keys = head.select(KEY).drop_nulls().unique()
    tables: dict[str, list[pl.DataFrame]] = {first.table: [head]}
    for table, rows in raw_rows(others, plan.spec, _ignore):
        tables.setdefault(table, []).append(rows.join(keys, on=KEY, how="semi", maintain_order="left"))
    return {table: pl.concat(parts, how="diagonal") for table, parts in tables.items()}


def _rows_of(tx: int, shaped: RawTransactions, names: Sequence[str]) -> tuple[SourceRow, ...]:
    frames = (shaped.headers, shaped.lines, shaped.payments)
    places = pl.concat(frame.filter(pl.col(TX) == tx).select(SOURCE, LINE) for frame in frames).unique()
    return tuple(
        row
        for table, rows in shaped.rows.items()
        for row in _cells(rows.join(places, on=[SOURCE, LINE], how="semi").sort(SOURCE, LINE), names, table)
    )


def _looked_up(
    plan: ImportPlan, shaped: RawTransactions
) -> Callable[[int], dict[str, Sequence[Mapping[str, str | None]]]]:
    """For each transaction, the rows of tables `from: source` that it looks up."""
    tables, _ = load_tables(plan.spec, plan.mapping.path.parent, [file.uri for file in plan.lookups])
    tables = {name: rows for name, rows in tables.items() if plan.spec.lookups[name].from_ == "source"}
    keys = plan.compiled.looked_up(shaped) if tables else pl.DataFrame()

    def rows_of(tx: int) -> dict[str, Sequence[Mapping[str, str | None]]]:
        found: dict[str, Sequence[Mapping[str, str | None]]] = {}
        for name, rows in tables.items():
            wanted = keys.filter((pl.col(TX) == tx) & (pl.col("table") == name))["key"]
            used = [*plan.spec.lookups[name].key, *sorted(lookup_columns(plan.spec, name))]
            if rows_found := rows.values.filter(rows.keys.is_in(wanted.implode())).select(used).to_dicts():
                found[name] = rows_found
        return found

    return rows_of


def _cells(rows: pl.DataFrame, names: Sequence[str], table: str) -> Iterator[SourceRow]:
    for row in rows.drop(KEY).iter_rows(named=True):
        source, line = names[row.pop(SOURCE)], row.pop(LINE)
        yield SourceRow(source, line, {name: cell for name, cell in row.items() if cell is not None}, table)


def _ignore(source: RunSource, batch: object, skipped: int) -> None:
    """Leave rows that cannot be read to `prepare`, which reports them."""
