"""`preview`: the first transactions of a source, each payload beside the rows it came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import polars as pl

from pipeline.core.codes import Outcome
from pipeline.core.events import Emit, Notice, ignore
from pipeline.core.model import KEY, LINE, LINES, SOURCE, TX
from pipeline.core.storage.partition_frames import RawTransactions
from pipeline.mapping.functions.lookup_tables import load_tables
from pipeline.mapping.layout.raw_transactions import without_lost
from pipeline.mapping.layout.row_kinds import HEADERS
from pipeline.mapping.usage.used_columns import lookup_columns
from pipeline.staging.partitions.hashes import NO_HASHES
from pipeline.validation.quarantine import placed, quarantine_frame
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.judged_partition import judge_partition
from pipeline.workflows.preparation.read_counts import ReadCounts
from pipeline.workflows.preparation.sources import RunSource, raw_rows

_READ_WHOLE: Final = 1 << 30
"""Bytes of text that are read whole, in some seconds, since a sale may go on in any file."""
_ONLY_BEGINNING: Final = (
    "The files are large: rows of these sales further down, or in other files of their kind, were not looked"
    " for. `prepare` looks for them."
)
_ENOUGH_ROWS: Final = 10_000
"""So many rows give the few sales that are shown, even where most are dropped."""


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


def preview(plan: ImportPlan, number: int, emit: Emit = ignore) -> Preview:
    """Show the first `number` payloads as `prepare` would stage them, and what is rejected before them.

    What only shows when all sales of a run are compared is left to `prepare`: an id that two of them have.

    Args:
        plan: The mapping and the files.
        number: How many payloads.
        emit: Is given a notice where the files are too large to be read to their end for this.

    Raises:
        SourceError: A file cannot be read.
    """
    counts = ReadCounts()
    tables, lost = without_lost(_first_rows(plan, counts, emit))
    judged = judge_partition(tables, lost, plan, NO_HASHES)
    shaped, headers = judged.shaped, judged.verdict.headers
    chosen = judged.staged.head(number)
    last = headers.filter(pl.col(TX) == chosen[TX][-1]) if chosen.height == number else headers.clear()
    reasons = judged.verdict.reasons.filter(pl.col("outcome") != Outcome.WARNING.value)
    reasons = placed(reasons, headers, shaped, plan.names)
    reasons = pl.concat([reasons, *_malformed(counts)], how="diagonal_relaxed")
    for source, line in last.select(SOURCE, LINE).iter_rows():
        reasons = reasons.filter(
            (pl.col(SOURCE) < source) | (pl.col(SOURCE) == source) & (pl.col(LINE) <= line)
        )
    looked_up = _looked_up(plan, shaped)
    samples = (
        PreviewedTransaction(json.loads(body), _rows_of(tx, shaped, plan.names), looked_up(tx))
        for tx, body in zip(chosen[TX], chosen["body"], strict=True)
    )
    rows = sum(frame.height for frame in tables.values())
    return Preview(tuple(samples), quarantine_frame(reasons, plan.names), rows)


def _first_rows(plan: ImportPlan, counts: ReadCounts, emit: Emit) -> dict[str, pl.DataFrame]:
    """The first rows of the files, and all that belong to their sales, by table.

    Of files that are too large the last transaction is left out, since its rows may go on.
    """
    table = HEADERS if any(each.table == HEADERS for each in plan.sources) else plan.sources[0].table
    frames = raw_rows([each for each in plan.sources if each.table == table], plan.spec, counts.add)
    heads: list[pl.DataFrame] = []
    while sum(head.height for head in heads) < _ENOUGH_ROWS and (found := next(frames, None)):
        heads.append(found[1])
    if not heads:
        return {}
    head = pl.concat(heads, how="diagonal")
    keys = head.select(KEY).drop_nulls().unique()
    # Rows without a key belong to no sale, so the search for rows of these sales does not find them.
    rest, tables = list(plan.sources), {table: [head.filter(pl.col(KEY).is_null())]}
    if plan.input_bytes > _READ_WHOLE:
        emit(Notice("preview", _ONLY_BEGINNING))
        rest = [each for each in rest if each.table != table]
        tables[table] = [head.filter(pl.col(KEY).ne_missing(head[KEY][-1]))]
    for name, rows in raw_rows(rest, plan.spec, _ignore):
        of_sales = rows.join(keys, on=KEY, how="semi", maintain_order="left")
        tables.setdefault(name, []).append(of_sales)
    return {
        name: pl.concat(parts, how="diagonal").sort(SOURCE, LINE, maintain_order=True)
        for name, parts in tables.items()
    }


def _malformed(counts: ReadCounts) -> Iterator[pl.DataFrame]:
    """The rows that could not be read, as reasons."""
    outcome = pl.lit(Outcome.REJECTED.value).alias("outcome")
    for problems in chain.from_iterable(counts.malformed.values()):
        yield problems.with_columns(outcome, pl.lit(None, pl.String).alias("external_id"))


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
