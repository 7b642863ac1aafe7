"""Raw rows of any layout become transactions with their lines and payments.

Every row that was read ends up in exactly one place: among the duplicates, in a transaction, or among the
records that the layout skips. Nothing is rejected here; what is wrong with the rows goes into `problems`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import polars as pl

from pipeline.core.frames import NO_PROBLEMS, problems_at
from pipeline.core.model import KEY, LINE, LOST, SOURCE, TX
from pipeline.core.storage.partition_frames import NO_LOCATIONS, NO_TRANSACTIONS, OWN_COLUMNS, RawTransactions
from pipeline.mapping.functions.cell_cleaning import blank
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout import row_problems
from pipeline.mapping.layout.row_grouping import first_rows, in_source_order, numbered, split_duplicates
from pipeline.mapping.layout.row_kinds import ITEMS, NO_ROWS, PAYMENTS, RowKinds, Tables, rows_by_kind
from pipeline.mapping.usage.used_columns import UsedColumns, columns_used

NOTES: Final = {
    KEY: pl.UInt64(),
    "code": pl.String(),
    "message": pl.String(),
    SOURCE: pl.UInt32(),
    LINE: pl.Int64(),
}
"""A frame of what is known about sales before their rows are looked at. Without SOURCE and LINE, a note is
about the whole sale."""

NO_NOTES: Final = pl.DataFrame(schema=NOTES)


def build_transactions(tables: Tables, spec: MappingSpec, notes: pl.DataFrame = NO_NOTES) -> RawTransactions:
    """Group the raw rows of one partition into transactions.

    Args:
        tables: Raw rows by table with SOURCE, LINE and KEY. All rows of a transaction must be among them. A
            table may be absent.
        spec: The mapping.
        notes: A frame as `NOTES`; each note becomes a problem of the transaction with its key, if there is
            one.

    Returns:
        Transactions in the order of the source; a row without a key is a transaction of its own.
    """
    used = columns_used(spec)
    ordered = {name: in_source_order(rows) for name, rows in tables.items()}
    kept, duplicates = ordered, []
    if spec.source.duplicates == "drop":
        split = {name: split_duplicates(rows, used, spec) for name, rows in ordered.items()}
        kept = {name: rows for name, (rows, _) in split.items()}
        duplicates = [rows for _, rows in split.values() if rows.height]
    kinds = rows_by_kind(kept, spec)
    if kinds.headers is None:
        raw = _without_header_rows(kinds, spec, used)
    else:
        raw = _with_header_rows(kinds, kinds.headers, spec, used)
    noted = _notes_as_problems(notes, raw.headers)
    problems = [row_problems.duplicate_rows(rows, raw.headers) for rows in duplicates]
    return replace(
        raw,
        headers=raw.headers.drop(KEY),
        lines=raw.lines.drop(KEY, strict=False),
        payments=raw.payments.drop(KEY, strict=False),
        problems=pl.concat([raw.problems, *problems, noted]),
        duplicates=pl.concat([NO_LOCATIONS, *(rows.select(SOURCE, LINE) for rows in duplicates)]),
        headless=pl.concat([raw.headless, _first_row_lost(noted, raw.headers, spec)]),
        rows={name: rows.drop(spec.source.added_columns, strict=False) for name, rows in ordered.items()},
    )


# ── Notes ───────────────────────────────────────────────────────────────────────────────────────────


def without_lost(tables: Tables) -> tuple[Tables, pl.DataFrame]:
    """The rows that could be read, and notes that the sales of the other rows are incomplete."""
    notes = [NO_NOTES]
    readable = dict(tables)
    for name, rows in tables.items():
        if LOST in rows.columns:
            readable[name] = rows.filter(pl.col(LOST).is_null()).drop(LOST)
            lost = rows.filter(pl.col(LOST).is_not_null() & pl.col(KEY).is_not_null())
            message = "A row of this sale could not be read, and without it the sale would go short."
            about = pl.lit("row_lost").alias("code"), pl.lit(message).alias("message")
            notes.append(lost.select(KEY, *about, SOURCE, LINE))
    return readable, pl.concat(notes)


def _notes_as_problems(notes: pl.DataFrame, headers: pl.DataFrame) -> pl.DataFrame:
    if notes.is_empty():
        return NO_PROBLEMS
    own = headers.select(KEY, TX, pl.col(SOURCE).alias("first source"), pl.col(LINE).alias("first line"))
    found = notes.join(own, on=KEY, maintain_order="left").with_columns(
        pl.coalesce(SOURCE, "first source").alias(SOURCE), pl.coalesce(LINE, "first line").alias(LINE)
    )
    by_code = found.group_by("code", maintain_order=True)
    problems = [problems_at(some, str(code), pl.col("message")) for (code,), some in by_code]
    return pl.concat([NO_PROBLEMS, *problems])


def _first_row_lost(noted: pl.DataFrame, headers: pl.DataFrame, spec: MappingSpec) -> pl.Series:
    """Transactions whose first row could not be read, where that row holds the header's cells."""
    lost = noted.filter(pl.col("code") == "row_lost")
    if spec.source.layout != "first_row" or lost.is_empty():
        return NO_TRANSACTIONS
    before = lost.join(headers.select(TX, SOURCE, pl.col(LINE).alias("first")), on=[TX, SOURCE])
    return before.filter(pl.col(LINE) < pl.col("first"))[TX].unique()


# ── Transactions ────────────────────────────────────────────────────────────────────────────────────


def _with_header_rows(
    kinds: RowKinds, header_rows: pl.DataFrame, spec: MappingSpec, used: UsedColumns
) -> RawTransactions:
    """Each transaction has a row of its own; items and payments get the number of theirs."""
    rows = numbered(header_rows)
    conflicts = row_problems.header_conflicts(rows, sorted(used.transaction), spec)
    problems = [
        conflicts,
        row_problems.second_headers(rows, conflicts),
        row_problems.keys_missing(rows, spec),
    ]
    headers = first_rows(rows)
    parts = {
        name: _with_number(part, headers)
        for name, part in ((ITEMS, kinds.items), (PAYMENTS, kinds.payments))
        if part is not None
    }
    for column, unreadable in kinds.unreadable:
        problems.append(row_problems.unreadable_list(_with_number(unreadable, headers), column))
    if spec.items and kinds.items is not None:
        problems.append(row_problems.items_missing(headers, parts[ITEMS]))
    known = headers.height
    headers, parts, orphan_problems = _with_orphans(headers, parts, spec)
    none = headers.clear().select(TX, SOURCE, LINE)
    return RawTransactions(
        headers,
        parts.get(ITEMS, none),
        parts.get(PAYMENTS, none),
        pl.concat([*problems, orphan_problems]),
        # Objects inside a row are not rows of the source.
        members=_members([rows] if kinds.nested else [rows, *parts.values()]),
        headless=headers[TX][known:],
        skipped=NO_LOCATIONS if kinds.skipped is None else kinds.skipped.select(SOURCE, LINE),
    )


def _without_header_rows(kinds: RowKinds, spec: MappingSpec, used: UsedColumns) -> RawTransactions:
    """The header's cells are on the lines: on each of them, or on the first."""
    lines = numbered(NO_ROWS if kinds.items is None else kinds.items)
    cells = [name for name in lines.columns if name in used.transaction]
    in_key = [name for name in lines.columns if name in used.key]
    headers = first_rows(lines).select(*OWN_COLUMNS, *cells, *in_key)
    if spec.source.layout == "first_row" and cells:
        # The first cell that is not blank counts, since a source may write one of them on a later row.
        found = lines.group_by(TX, maintain_order=True).agg(
            pl.when(~blank(pl.col(name), spec.source.nulls, is_id=True))
            .then(name)
            .first(ignore_nulls=True)
            .alias(name)
            for name in cells
        )
        headers = headers.select(*OWN_COLUMNS, *in_key).hstack(found.select(cells))
    problems = [row_problems.header_conflicts(lines, cells, spec), row_problems.keys_missing(lines, spec)]
    payments = headers.clear().select(TX, SOURCE, LINE)
    known = headers.height
    if kinds.payments is not None:
        parts = {PAYMENTS: _with_number(kinds.payments, headers)}
        headers, parts, orphan_problems = _with_orphans(headers, parts, spec)
        payments = parts[PAYMENTS]
        problems.append(orphan_problems)
    members = _members([lines, payments])
    return RawTransactions(
        headers, lines, payments, pl.concat(problems), members=members, headless=headers[TX][known:]
    )


def _members(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([part.select(pl.col(TX).cast(pl.UInt32), SOURCE, LINE) for part in parts])


def _with_number(rows: pl.DataFrame, headers: pl.DataFrame) -> pl.DataFrame:
    """Give rows the number of the header with their key; null where there is none."""
    by_key = headers.select(KEY, TX).drop_nulls(KEY)
    rows = rows.join(by_key, on=KEY, how="left", maintain_order="left")
    if not rows[KEY].null_count():
        return rows
    # Objects inside a row without a key belong to that row.
    keyless = headers.filter(pl.col(KEY).is_null()).select(SOURCE, LINE, pl.col(TX).alias("own"))
    rows = rows.join(keyless, on=[SOURCE, LINE], how="left", maintain_order="left")
    return rows.with_columns(pl.coalesce(TX, "own").alias(TX)).drop("own")


def _with_orphans(
    headers: pl.DataFrame, parts: dict[str, pl.DataFrame], spec: MappingSpec
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame], pl.DataFrame]:
    """Make transactions of rows whose header is missing, one per key; all parts sorted by TX."""
    lost = [part.filter(pl.col(TX).is_null()).select(SOURCE, LINE, KEY) for part in parts.values()]
    orphans = pl.concat(lost) if lost else NO_ROWS
    if orphans.is_empty():
        return headers, {name: _by_number(part) for name, part in parts.items()}, NO_PROBLEMS
    rows = numbered(orphans).with_columns(pl.col(TX) + headers.height)
    number = rows.select(SOURCE, LINE, pl.col(TX).alias("own")).unique([SOURCE, LINE])
    with_numbers = {}
    for name, part in parts.items():
        joined = part.join(number, on=[SOURCE, LINE], how="left", maintain_order="left")
        with_numbers[name] = _by_number(joined.with_columns(pl.coalesce(TX, "own").alias(TX)).drop("own"))
    firsts = first_rows(rows).select(*OWN_COLUMNS)
    problems = pl.concat([row_problems.orphans(firsts), row_problems.keys_missing(firsts, spec)])
    return pl.concat([headers, firsts], how="diagonal"), with_numbers, problems


def _by_number(rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.with_columns(pl.col(TX).cast(pl.UInt32))
    return rows if rows[TX].is_sorted() else rows.sort(TX, maintain_order=True)
