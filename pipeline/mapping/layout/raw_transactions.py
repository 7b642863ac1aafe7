"""Layouts: raw rows of any of them become transactions, their lines and their payments.

Every row that was read ends up in exactly one place: as a duplicate that was counted once, in a
transaction, or among the records that the layout leaves out. Nothing is judged here; what is odd about
the rows (blank keys, contradicting header cells, items without a sale) is told in `problems`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from pipeline.core.frames import NO_PROBLEMS, in_message, problems_at
from pipeline.core.model import KEY, LINE, LINES, LOST, SOURCE, TX, Lost
from pipeline.mapping.functions.cell_cleaning import blank, cleaned, trimmed
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.equality import Equality
from pipeline.mapping.layout.nested_lists import explode
from pipeline.mapping.usage.used_columns import Used, columns_used, key_cells

HEADERS, ITEMS, PAYMENTS = "headers", "items", "payments"
_OURS = (TX, SOURCE, LINE, KEY)
_PLACE = (SOURCE, LINE)
_MEMBER = (TX, SOURCE, LINE)
_NO_PLACES = pl.DataFrame(schema={SOURCE: pl.UInt32, LINE: pl.Int64})
_NO_TX = pl.Series(TX, [], pl.UInt32)

Tables = Mapping[str, pl.DataFrame]
"""Raw rows by table."""


@dataclass(frozen=True)
class Shaped:
    """Transactions as raw cells.

    Attributes:
        headers: One row a transaction: TX (0, 1, 2… in the order of first appearance; orphans last), SOURCE
            and LINE of its first row, raw cells. In layout `lines` only the cells that a transaction's
            values use.
        lines: One row an item line: TX, SOURCE, LINE, raw cells; by TX, and in source order within one.
        payments: One row a payment, likewise; empty where tenders are columns of the transaction.
        problems: What is odd about the rows, in the frame all stages share for that.
        members: TX, SOURCE and LINE of every row that is part of a transaction, once each.
        duplicates: SOURCE and LINE of the rows that were left out as alike in every cell to one before.
        skipped: SOURCE and LINE of those that are neither header nor item nor payment (layout `records`).
        headless: TX of the transactions whose header row was not among the rows, so that nothing is known
            of their status.
        rows: The rows as they were read, by table; for showing them with a problem.
    """

    headers: pl.DataFrame
    lines: pl.DataFrame
    payments: pl.DataFrame
    problems: pl.DataFrame
    members: pl.DataFrame
    duplicates: pl.DataFrame
    skipped: pl.DataFrame
    headless: pl.Series
    rows: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def with_raw(self, problems: pl.DataFrame) -> pl.DataFrame:
        """Fill the `raw` of problems with the source row at their SOURCE and LINE, as JSON."""
        places = problems.select(SOURCE, LINE).unique()
        # Lines alone leave few rows of another file, at a fraction of the cost of a join of all.
        near = pl.col(LINE).is_in(places[LINE].implode())
        found = [
            rows.filter(near)
            .join(places, on=[SOURCE, LINE], how="semi")
            .select(SOURCE, LINE, pl.struct(cells_of(rows)).struct.json_encode().alias("row"))
            .unique([SOURCE, LINE], keep="first")
            for rows in self.rows.values()
            if cells_of(rows)
        ]
        if not found:
            return problems
        rows = pl.concat(found).unique([SOURCE, LINE], keep="first")
        joined = problems.join(rows, on=[SOURCE, LINE], how="left", maintain_order="left")
        return joined.with_columns(raw=pl.coalesce("raw", "row")).drop("row")


@dataclass(frozen=True)
class Parts:
    """Rows of a source, cut by what they are; an absent kind is None."""

    headers: pl.DataFrame | None
    items: pl.DataFrame | None
    payments: pl.DataFrame | None = None
    skipped: pl.DataFrame | None = None
    broken: tuple[tuple[str, pl.DataFrame], ...] = ()
    nested: bool = False  # items and payments are no rows of their own, but lie in those of the headers


NOTES: Final = {
    KEY: pl.UInt64(),
    "code": pl.String(),
    "message": pl.String(),
    SOURCE: pl.UInt32(),
    LINE: pl.Int64(),
}
"""What is known of a sale before its rows are looked at; without SOURCE and LINE, of all of it."""

NO_NOTES: Final = pl.DataFrame(schema=NOTES)


def shape(tables: Tables, spec: MappingSpec, notes: pl.DataFrame = NO_NOTES) -> Shaped:
    """Find the transactions in one bucket of raw rows.

    Args:
        tables: Raw rows by table (`lines` where the layout has one input; else `headers`, `items`,
            `payments`) with SOURCE, LINE and KEY. All rows of a transaction must be among them. A table
            may be absent.
        spec: The mapping.
        notes: As `NOTES`; each becomes a problem of the transaction with that key, if there is one.

    Returns:
        Transactions in the order of the source; a row without a key is a transaction of its own.
    """
    used = columns_used(spec)
    ordered = {name: _in_source_order(rows) for name, rows in tables.items()}
    kept, duplicates = ordered, {}
    if spec.source.duplicates == "drop":
        split = {name: _without_duplicates(rows, used, spec) for name, rows in ordered.items()}
        kept = {name: rows for name, (rows, _) in split.items()}
        duplicates = {name: rows for name, (_, rows) in split.items() if rows.height}
    shaped = _joined(_LAYOUTS[spec.source.layout](kept, spec, used), spec, used)
    told = [_duplicate_problems(rows, shaped) for rows in duplicates.values()]
    noted = _noted(notes, shaped.headers)
    return replace(
        shaped,
        headers=shaped.headers.drop(KEY),
        lines=shaped.lines.drop(KEY, strict=False),
        payments=shaped.payments.drop(KEY, strict=False),
        problems=pl.concat([shaped.problems, *told, noted]),
        duplicates=pl.concat([_NO_PLACES, *(rows.select(_PLACE) for rows in duplicates.values())]),
        headless=pl.concat([shaped.headless, _first_row_lost(noted, shaped.headers, spec)]),
        rows=ordered,
    )


def without_lost(tables: Tables) -> tuple[Tables, pl.DataFrame]:
    """The rows that could be read, and the others as notes that their sales go short of them."""
    notes = [NO_NOTES]
    good = dict(tables)
    for name, rows in tables.items():
        if LOST in rows.columns:
            good[name] = rows.filter(pl.col(LOST).is_null()).drop(LOST)
            lost = rows.filter(pl.col(LOST).is_not_null() & pl.col(KEY).is_not_null())
            message = "A row of this sale could not be read, and without it the sale would go short."
            notes.append(
                lost.select(KEY, pl.lit("row_lost").alias("code"), pl.lit(message).alias("message"), *_PLACE)
            )
    return good, pl.concat(notes)


def _noted(notes: pl.DataFrame, headers: pl.DataFrame) -> pl.DataFrame:
    """The notes as problems of the transactions with their keys."""
    if notes.is_empty():
        return NO_PROBLEMS
    own = headers.select(KEY, TX, pl.col(SOURCE).alias("first source"), pl.col(LINE).alias("first line"))
    found = notes.join(own, on=KEY, maintain_order="left").with_columns(
        pl.coalesce(SOURCE, "first source").alias(SOURCE), pl.coalesce(LINE, "first line").alias(LINE)
    )
    by_code = found.group_by("code", maintain_order=True)
    told = [problems_at(some, str(code), pl.col("message")) for (code,), some in by_code]
    return pl.concat([NO_PROBLEMS, *told])


def _first_row_lost(noted: pl.DataFrame, headers: pl.DataFrame, spec: MappingSpec) -> pl.Series:
    """Transactions whose first row could not be read, where that is the one with the header's cells."""
    lost = noted.filter(pl.col("code") == "row_lost")
    if spec.source.layout != "first_row" or lost.is_empty():
        return _NO_TX
    before = lost.join(headers.select(TX, SOURCE, pl.col(LINE).alias("first")), on=[TX, SOURCE])
    return before.filter(pl.col(LINE) < pl.col("first"))[TX].unique()


# ── Keys ────────────────────────────────────────────────────────────────────────────────────────────


def key_columns(spec: MappingSpec, table: str = LINES) -> tuple[str, ...]:
    """The key columns of a table of the mapping's source."""
    named = {str(name): entry for name, entry in spec.source.tables.items()}
    return named[table].key if table in named else spec.source.key


def structural_columns(spec: MappingSpec) -> set[str]:
    """The columns that say which rows belong together, and what each row is."""
    names = {name for table in (LINES, *spec.source.tables) for name in key_columns(spec, str(table))}
    return {*key_cells(spec, names)} | ({spec.source.records.column} if spec.source.records else set())


def key_hash(rows: pl.DataFrame, columns: Sequence[str], nulls: Sequence[str] = ()) -> pl.Series:
    """The transaction key of each row as one number, named KEY; null where a cell of it is blank.

    Tables that call their key columns differently get the same numbers. The numbers hold for one run:
    another version of polars may give others.
    """
    cells = rows.select(pl.col(name).alias(str(at)) for at, name in enumerate(columns))
    cells = cleaned(cells, cells.columns, nulls, cells.columns)
    key = pl.lit(0, dtype=pl.UInt64)
    for at, name in enumerate(cells.columns):
        key = key * 1_000_003 + pl.col(name).hash(seed=at)
    complete = pl.all_horizontal(pl.all().is_not_null())
    return cells.select(pl.when(complete).then(key).alias(KEY)).to_series()


def placed(rows: pl.DataFrame, columns: Sequence[str], spec: MappingSpec, position: int) -> pl.DataFrame:
    """Give the rows of one file SOURCE and KEY.

    Args:
        rows: Rows as `carry_down` gives them.
        columns: The key columns; where the file has not all of them, no row has a key.
        spec: The mapping.
        position: The file's place among those of the run.
    """
    missing = [pl.lit(None, pl.String).alias(name) for name in columns if name not in rows.columns]
    key = key_hash(rows.with_columns(missing) if missing else rows, columns, spec.source.nulls)
    rows = rows.with_columns(pl.lit(position, pl.UInt32).alias(SOURCE), key)
    if _UNDER not in rows.columns:
        return rows
    # Rows below an unreadable one are a sale by themselves: whatever it was, they are not of the sale above.
    under = pl.struct(SOURCE, _UNDER).hash(seed=0)
    return rows.with_columns(
        pl.coalesce(KEY, pl.when(pl.col(_UNDER).is_not_null()).then(under)).alias(KEY)
    ).drop(_UNDER)


_UNDER: Final = "__under"
"""The line of the unreadable row from which a row without a key of its own would have taken it."""

Carry = Mapping[str, str | None]
"""The last key cells of a file so far, by column, and `_UNDER`."""


def carry_down(
    rows: pl.DataFrame, spec: MappingSpec, state: Carry | None = None
) -> tuple[pl.DataFrame, Carry | None]:
    """Fill blank key cells with those of the row above, where the mapping's layout wants it.

    That is so with `carry_key`, and for item and payment records, which may leave the key to the header
    record above them; a header record never takes its key from above. A row that could not be read gives
    its key to those below it all the same. Where its key could not be read either, it may have been part of
    the sale above it, or the first row of another one: then nothing is carried on from above, and one more
    row with LOST takes it to the sale above.

    Args:
        rows: The next rows of one file, in file order; LOST where some could not be read.
        spec: The mapping.
        state: What this function returned for the rows before; None at the start of a file.

    Returns:
        The rows, and the state for those after them.
    """
    columns = [name for name in key_cells(spec, key_columns(spec)) if name in rows.columns]
    records = spec.source.records if spec.source.layout == "records" else None
    if not columns or rows.is_empty() or not (spec.source.carry_key or records):
        return rows, state
    nulls, state = spec.source.nulls, state or {}
    starts = pl.lit(value=False)
    if records and records.column in rows.columns:
        starts = trimmed(pl.col(records.column), nulls).is_in(records.header).fill_null(value=False)
    if LOST in rows.columns or state.get(_UNDER):
        unkeyed = (pl.col(LOST) == Lost.UNKEYED).fill_null(value=False) if LOST in rows.columns else _NEVER
        rows = rows.with_columns(pl.when(unkeyed).then(pl.col(LINE).cast(pl.String)).alias(_UNDER))
        columns, starts = [*columns, _UNDER], starts | unkeyed
    # What starts anew must stop what is carried, also where its own key is blank: runs are filled one by one.
    run = starts.cum_sum() if records or _UNDER in columns else pl.lit(0)
    first_run = pl.col("__run") == 0
    filled = rows.with_columns(run.alias("__run")).with_columns(
        pl.coalesce(
            trimmed(pl.col(name), nulls, is_id=True).forward_fill().over("__run"),
            pl.when(first_run).then(pl.lit(state.get(name), dtype=pl.String)),
        ).alias(name)
        for name in columns
    )
    last = filled.select(columns).row(-1, named=True)
    return _with_lost_below(filled.drop("__run"), columns, state), last


def _with_lost_below(rows: pl.DataFrame, columns: Sequence[str], state: Carry) -> pl.DataFrame:
    """Take each unreadable row to the sale above it as well."""
    if LOST not in rows.columns:
        return rows
    above = rows.select(LINE, LOST, *(pl.col(name).shift(1, fill_value=state.get(name)) for name in columns))
    below = above.filter(pl.col(LOST) == Lost.UNKEYED).with_columns(pl.lit(Lost.BELOW, pl.UInt8).alias(LOST))
    return pl.concat([rows, below], how="diagonal").sort(LINE, maintain_order=True)


_NEVER: Final = pl.lit(value=False)


# ── Rows: order, duplicates, numbers ────────────────────────────────────────────────────────────────


def cells_of(rows: pl.DataFrame) -> list[str]:
    """The columns of the source."""
    return [name for name in rows.columns if name not in _OURS]


def _in_source_order(rows: pl.DataFrame) -> pl.DataFrame:
    place = rows.select(pl.col(SOURCE).cast(pl.Int64) * 2**40 + pl.col(LINE)).to_series()
    return rows if place.is_sorted() else rows.sort(SOURCE, LINE, maintain_order=True)


def _without_duplicates(
    rows: pl.DataFrame, used: Used, spec: MappingSpec
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split off rows that are alike in every cell to an earlier one.

    A row without a key is nobody's repeat, since it is not known which sale it belongs to. Alike in every
    cell means alike in each: candidates are narrowed down column by column, those of the items first, which
    tell lines of one sale apart. Few rows get past the first two.
    """
    cells, equal = cells_of(rows), Equality.of(spec)
    varied = used.line - used.transaction
    # Numbers are compared by value, which costs more: they come last, when few rows are left.
    order = sorted(cells, key=lambda name: (name in equal.numbers, name not in varied))
    candidates = rows.select(pl.col(KEY).alias("hash")).with_row_index("at").drop_nulls("hash")
    for seed, name in enumerate(order):
        cell = rows[name] if candidates.height == rows.height else rows[name].gather(candidates["at"])
        mixed = pl.col("hash") * 1_000_003 + equal.comparable(cell).hash(seed)
        candidates = candidates.with_columns(mixed.alias("hash")).filter(pl.col("hash").is_duplicated())
        if candidates.is_empty():
            return rows, rows.clear()
    at = candidates["at"]
    alike = pl.DataFrame([equal.comparable(rows[name].gather(at)) for name in cells])
    repeated = at.filter(~alike.select(pl.struct(cells).is_first_distinct()).to_series())
    keep = pl.Series([True]).new_from_index(0, rows.height).scatter(repeated, values=False)
    return rows.filter(keep), rows[repeated]


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """Give each row its transaction's number, in order of first appearance; sorted by it, stable."""
    key = rows[KEY]
    starts = rows.select(
        (pl.col(KEY) != pl.col(KEY).shift(1)).fill_null(value=True) | pl.col(KEY).is_null()
    ).to_series()
    run = (starts.cast(pl.UInt32).cum_sum() - 1).cast(pl.UInt32).alias(TX)
    blank_keys = key.null_count()
    if int(starts.sum() or 0) == key.n_unique() - bool(blank_keys) + blank_keys:
        return rows.with_columns(run.set_sorted())
    first = pl.when(pl.col(KEY).is_null()).then("__at").otherwise(pl.col("__at").min().over(KEY))
    number = (first.rank("dense") - 1).cast(pl.UInt32).alias(TX)
    rows = rows.with_row_index("__at").with_columns(number).drop("__at")
    return rows.sort(TX, maintain_order=True)


def _firsts(rows: pl.DataFrame) -> pl.DataFrame:
    """The first row of each transaction; `rows` are sorted by TX."""
    return rows.filter((pl.col(TX) != pl.col(TX).shift(1)).fill_null(value=True))


# ── Layouts ─────────────────────────────────────────────────────────────────────────────────────────


def _one_input(tables: Tables) -> pl.DataFrame:
    return next(iter(tables.values()), _EMPTY)


def _lines_rows(tables: Tables, _spec: MappingSpec, _used: Used) -> Parts:
    return Parts(None, _one_input(tables))


def _headers_rows(tables: Tables, _spec: MappingSpec, _used: Used) -> Parts:
    return Parts(_one_input(tables), None)


def _tables_rows(tables: Tables, spec: MappingSpec, _used: Used) -> Parts:
    """Several files; a table that the mapping has and this bucket lacks is there, without rows."""
    named = {str(name): tables.get(str(name), _EMPTY) for name in spec.source.tables}
    # Without a headers file the items' own rows tell of their transaction, as in layout `lines`.
    return Parts(tables.get(HEADERS), named.get(ITEMS), named.get(PAYMENTS))


def _records_rows(tables: Tables, spec: MappingSpec, _used: Used) -> Parts:
    rows, records = _one_input(tables), spec.source.records
    if records is None or records.column not in rows.columns:
        return Parts(rows, None)
    word = trimmed(pl.col(records.column), ())
    known = {
        kind: rows.filter(word.is_in(words).fill_null(value=False))
        for kind, words in ((HEADERS, records.header), (ITEMS, records.item), (PAYMENTS, records.payment))
    }
    words = (*records.header, *records.item, *records.payment)
    others = rows.filter(~word.is_in(words).fill_null(value=False))
    return Parts(known[HEADERS], known[ITEMS], known[PAYMENTS], others)


def _nested_rows(tables: Tables, spec: MappingSpec, used: Used) -> Parts:
    rows, nested = _one_input(tables), spec.source.nested
    parts: dict[str, pl.DataFrame] = {}
    bad = []
    for kind, column, names in (
        (ITEMS, nested and nested.items, used.line),
        (PAYMENTS, nested and nested.payments, used.payment),
    ):
        if column:
            parts[kind], broken = explode(rows, column, f"{kind}.", names)
            bad.append((column, broken))
    return Parts(rows, parts.get(ITEMS), parts.get(PAYMENTS), broken=tuple(bad), nested=True)


_EMPTY = pl.DataFrame(schema={SOURCE: pl.UInt32, LINE: pl.Int64, KEY: pl.UInt64})

_LAYOUTS: dict[str, Callable[[Tables, MappingSpec, Used], Parts]] = {
    "lines": _lines_rows,
    "first_row": _lines_rows,
    "records": _records_rows,
    "tables": _tables_rows,
    "nested": _nested_rows,
    "headers": _headers_rows,
}


def parts_of(tables: Tables, spec: MappingSpec) -> Parts:
    """Cut raw rows by what they are."""
    return _LAYOUTS[spec.source.layout](tables, spec, columns_used(spec))


# ── Transactions out of rows ────────────────────────────────────────────────────────────────────────


def _joined(rows: Parts, spec: MappingSpec, used: Used) -> Shaped:
    """Number the transactions, and give items and payments the number of theirs."""
    if rows.headers is None:
        return _from_lines(rows, spec, used)
    numbered = _numbered(rows.headers)
    conflicts = _conflicts(numbered, sorted(used.transaction), spec)
    told = [conflicts, _second_headers(numbered, conflicts), _keys_missing(numbered, spec)]
    headers = _firsts(numbered)
    attached = {
        name: _attached(part, headers)
        for name, part in ((ITEMS, rows.items), (PAYMENTS, rows.payments))
        if part is not None
    }
    told += _broken_lists(rows, headers)
    if spec.items and rows.items is not None:
        told.append(_items_missing(headers, attached[ITEMS]))
    known = headers.height
    headers, attached, orphans = _with_orphans(headers, attached, spec)
    told.append(orphans)
    empty = headers.clear().select(_MEMBER)
    return Shaped(
        headers,
        attached.get(ITEMS, empty),
        attached.get(PAYMENTS, empty),
        pl.concat(told),
        _members([numbered] if rows.nested else [numbered, *attached.values()]),
        _NO_PLACES,
        _NO_PLACES if rows.skipped is None else rows.skipped.select(_PLACE),
        headers[TX][known:],
    )


def _members(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([part.select(pl.col(TX).cast(pl.UInt32), SOURCE, LINE) for part in parts])


def _from_lines(rows: Parts, spec: MappingSpec, used: Used) -> Shaped:
    """The header's cells are on the lines: on each of them, or on the first."""
    lines = _numbered(rows.items if rows.items is not None else _EMPTY)
    cells = [name for name in lines.columns if name in used.transaction]
    in_key = [name for name in lines.columns if name in used.key]
    headers = _firsts(lines).select(*_OURS, *cells, *in_key)
    if spec.source.layout == "first_row" and cells:
        found = lines.group_by(TX, maintain_order=True).agg(
            pl.when(~blank(pl.col(name), spec.source.nulls, is_id=True))
            .then(name)
            .first(ignore_nulls=True)
            .alias(name)
            for name in cells
        )
        headers = headers.select(*_OURS, *in_key).hstack(found.select(cells))
    told = [_conflicts(lines, cells, spec), _keys_missing(lines, spec)]
    payments = headers.clear().select(_MEMBER)
    known = headers.height
    if rows.payments is not None:
        attached = {PAYMENTS: _attached(rows.payments, headers)}
        headers, attached, orphans = _with_orphans(headers, attached, spec)
        payments = attached[PAYMENTS]
        told.append(orphans)
    return Shaped(
        headers,
        lines,
        payments,
        pl.concat(told),
        _members([lines, payments]),
        _NO_PLACES,
        _NO_PLACES,
        headers[TX][known:],
    )


def _attached(rows: pl.DataFrame, headers: pl.DataFrame) -> pl.DataFrame:
    """Give rows the number of the header with their key; null where there is none."""
    by_key = headers.select(KEY, TX).drop_nulls(KEY)
    rows = rows.join(by_key, on=KEY, how="left", maintain_order="left")
    if not rows[KEY].null_count():
        return rows
    # Objects inside a row without a key belong to that row.
    by_place = headers.filter(pl.col(KEY).is_null()).select(SOURCE, LINE, pl.col(TX).alias("own"))
    rows = rows.join(by_place, on=[SOURCE, LINE], how="left", maintain_order="left")
    return rows.with_columns(pl.coalesce(TX, "own").alias(TX)).drop("own")


def _with_orphans(
    headers: pl.DataFrame, parts: dict[str, pl.DataFrame], spec: MappingSpec
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame], pl.DataFrame]:
    """Make transactions of rows whose header is not there, one a key; all parts sorted by TX."""
    lost = [part.filter(pl.col(TX).is_null()).select(SOURCE, LINE, KEY) for part in parts.values()]
    orphans = pl.concat(lost) if lost else _EMPTY
    if orphans.is_empty():
        return headers, {name: _by_number(part) for name, part in parts.items()}, NO_PROBLEMS
    numbered = _numbered(orphans).with_columns(pl.col(TX) + headers.height)
    firsts = _firsts(numbered).select(*_OURS)
    number = numbered.select(SOURCE, LINE, pl.col(TX).alias("own")).unique([SOURCE, LINE])
    parts = {
        name: _by_number(
            part.join(number, on=[SOURCE, LINE], how="left", maintain_order="left")
            .with_columns(pl.coalesce(TX, "own").alias(TX))
            .drop("own")
        )
        for name, part in parts.items()
    }
    told = [
        problems_at(
            firsts.filter(pl.col(KEY).is_not_null()),
            "orphan_item",
            "There is no header row with the key of this row.",
        ),
        _keys_missing(firsts, spec),
    ]
    return pl.concat([headers, firsts], how="diagonal"), parts, pl.concat(told)


def _by_number(rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.with_columns(pl.col(TX).cast(pl.UInt32))
    return rows if rows[TX].is_sorted() else rows.sort(TX, maintain_order=True)


# ── What is odd about rows ──────────────────────────────────────────────────────────────────────────


def _keys_missing(rows: pl.DataFrame, spec: MappingSpec) -> pl.DataFrame:
    if not rows[KEY].null_count():
        return NO_PROBLEMS
    names = spec.source.key or tuple(name for table in spec.source.tables.values() for name in table.key)
    columns = ", ".join(f"`{name}`" for name in dict.fromkeys(names))
    return problems_at(
        rows.filter(pl.col(KEY).is_null()),
        "key_missing",
        f"A cell of the key ({columns}) is blank, so it is not known which transaction this row belongs to.",
    )


def _second_headers(rows: pl.DataFrame, conflicts: pl.DataFrame) -> pl.DataFrame:
    """Rows beside the first that hold a whole transaction, and agree with it in all that is mapped.

    They may be two sales, or two payments of one: taking them for one would lose what the second is worth.
    """
    again = (pl.col(TX) == pl.col(TX).shift(1)).fill_null(value=False)
    if not rows.select(again.any()).item():
        return NO_PROBLEMS
    first = [pl.col(LINE).first().over(TX).alias("first"), pl.col(SOURCE).first().over(TX).alias("file")]
    second = rows.with_columns(first).filter(again).unique(TX, keep="first", maintain_order=True)
    both = (
        pl.when(pl.col("file") == pl.col(SOURCE))
        .then(pl.format("Lines {} and {}", "first", LINE))
        .otherwise(pl.format("Line {} of one file and line {} of another", "first", LINE))
    )
    message = pl.format("{} have the same key, and a sale has one such row.", both)
    return problems_at(second.filter(~pl.col(TX).is_in(conflicts[TX].implode())), "header_conflict", message)


def _items_missing(headers: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    without = headers.join(items.select(TX), on=TX, how="anti", maintain_order="left")
    return problems_at(without, "items_missing", "There is no item row with the key of this row.")


def _broken_lists(rows: Parts, headers: pl.DataFrame) -> list[pl.DataFrame]:
    told = []
    for column, broken in rows.broken:
        numbered = _attached(broken, headers)
        message = f"`{column}` is not a list of objects with texts, numbers and booleans as members."
        told.append(problems_at(numbered, "field_invalid", message, field=column, value=pl.col(column)))
    return told


def _duplicate_problems(rows: pl.DataFrame, shaped: Shaped) -> pl.DataFrame:
    numbered = rows.join(
        shaped.headers.select(KEY, TX).drop_nulls(KEY), on=KEY, how="left", maintain_order="left"
    )
    return problems_at(
        numbered, "duplicate_row", "This row is alike in every cell to one before it; it was counted once."
    )


def _conflicts(rows: pl.DataFrame, columns: Sequence[str], spec: MappingSpec) -> pl.DataFrame:
    """Columns of a transaction's values in which its rows disagree, told once a transaction.

    Rows of a transaction lie together, so comparing each with the one above finds all of it. In layout
    `first_row` a blank cell agrees with everything.
    """
    columns = [name for name in columns if name in rows.columns]
    same = pl.col(TX) == pl.col(TX).shift(1)
    cells = [pl.col(name) for name in columns]
    if not columns:
        return NO_PROBLEMS
    found = rows.select_seq((cell.ne_missing(cell.shift(1)) & same).any() for cell in cells).row(
        0, named=True
    )
    told = [_conflicts_in(rows, name, spec) for name, differs in found.items() if differs]
    return pl.concat([NO_PROBLEMS, *told])


def _conflicts_in(rows: pl.DataFrame, name: str, spec: MappingSpec) -> pl.DataFrame:
    cell = Equality.of(spec).form(name)
    some = rows.select(TX, SOURCE, LINE, cell.alias("here"))
    here, there = pl.col("here"), pl.col("there")
    if spec.source.layout == "first_row":
        some = some.drop_nulls("here")
    some = some.with_columns(here.first().over(TX).alias("there"), pl.col(LINE).first().over(TX).alias("at"))
    odd = some.filter(here.ne_missing(there)).unique(TX, keep="first", maintain_order=True)
    blank_or = [in_message(cell, name).fill_null("blank") for cell in (there, here)]
    message = pl.format("`{}` is {} on line {} and {} here.", pl.lit(name), blank_or[0], "at", blank_or[1])
    return problems_at(odd, "header_conflict", message, field=name, value=here)
