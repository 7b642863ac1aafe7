"""Which rows and columns of a source are those of headers, items and payments: a line for each layout."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.mapping.functions.cell_cleaning import trimmed
from pipeline.mapping.language.source_spec import Layout
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.nested_lists import explode
from pipeline.mapping.usage.used_columns import UsedColumns, columns_used

HEADERS, ITEMS, PAYMENTS = "headers", "items", "payments"
NO_ROWS: Final = pl.DataFrame(schema={SOURCE: pl.UInt32, LINE: pl.Int64, KEY: pl.UInt64})

Tables = Mapping[str, pl.DataFrame]
"""Raw rows by table: `lines` where the layout has one input, else `headers`, `items` and `payments`."""


@dataclass(frozen=True)
class RowKinds:
    """The rows of a source by kind.

    Attributes:
        headers: Rows of transactions; None where their cells are on the items.
        items: Rows of items; None where there are none.
        payments: Rows of payments; None where there are none.
        skipped: Rows that are neither (layout `records`).
        unreadable: Columns of lists, and the header rows whose list could not be read (layout `nested`).
        nested: Items and payments are not rows of the source, but objects inside the header rows.
    """

    headers: pl.DataFrame | None
    items: pl.DataFrame | None
    payments: pl.DataFrame | None = None
    skipped: pl.DataFrame | None = None
    unreadable: tuple[tuple[str, pl.DataFrame], ...] = ()
    nested: bool = False


class ColumnsByKind(NamedTuple):
    """The columns that the values of transactions, items and payments may use."""

    headers: frozenset[str]
    items: frozenset[str]
    payments: frozenset[str]


Columns = Mapping[str, Collection[str]]
"""The columns of the files by table, as `Tables`."""


def rows_by_kind(tables: Tables, spec: MappingSpec) -> RowKinds:
    """Split raw rows by kind."""
    return _LAYOUTS[spec.source.layout].rows(tables, spec, columns_used(spec))


def columns_by_kind(columns: Columns, spec: MappingSpec, used: UsedColumns) -> ColumnsByKind:
    """Split the columns of the source by the kinds of rows that have them.

    Args:
        columns: Of the files.
        spec: The mapping.
        used: Its columns, where the members of lists are found.
    """
    return _LAYOUTS[spec.source.layout].columns(columns, used)


def _one_input(tables: Tables) -> pl.DataFrame:
    return next(iter(tables.values()), NO_ROWS)


def _lines(tables: Tables, _spec: MappingSpec, _used: UsedColumns) -> RowKinds:
    return RowKinds(None, _one_input(tables))


def _headers(tables: Tables, _spec: MappingSpec, _used: UsedColumns) -> RowKinds:
    return RowKinds(_one_input(tables), None)


def _tables(tables: Tables, spec: MappingSpec, _used: UsedColumns) -> RowKinds:
    # A table that the mapping has and this partition lacks is there, without rows.
    named = {str(name): tables.get(str(name), NO_ROWS) for name in spec.source.tables}
    # Without a file of headers, the items hold the cells of their transaction, as in layout `lines`.
    return RowKinds(tables.get(HEADERS), named.get(ITEMS), named.get(PAYMENTS))


def _records(tables: Tables, spec: MappingSpec, _used: UsedColumns) -> RowKinds:
    rows, records = _one_input(tables), spec.source.records
    if records is None or records.column not in rows.columns:
        return RowKinds(rows, None)
    word = trimmed(pl.col(records.column), ())
    headers, items, payments = (
        rows.filter(word.is_in(words).fill_null(value=False))
        for words in (records.header, records.item, records.payment)
    )
    known = word.is_in((*records.header, *records.item, *records.payment)).fill_null(value=False)
    return RowKinds(headers, items, payments, rows.filter(~known))


def _nested(tables: Tables, spec: MappingSpec, used: UsedColumns) -> RowKinds:
    rows, nested = _one_input(tables), spec.source.nested
    lists = {
        ITEMS: (nested and nested.items, used.line),
        PAYMENTS: (nested and nested.payments, used.payment),
    }
    found: dict[str, pl.DataFrame] = {}
    unreadable = []
    for kind, (column, names) in lists.items():
        if column:
            found[kind], bad = explode(rows, column, f"{kind}.", names)
            unreadable.append((column, bad))
    return RowKinds(rows, found.get(ITEMS), found.get(PAYMENTS), unreadable=tuple(unreadable), nested=True)


def _every(columns: Columns) -> frozenset[str]:
    return frozenset(name for table in columns.values() for name in table)


def _columns_of_lines(columns: Columns, _used: UsedColumns) -> ColumnsByKind:
    return ColumnsByKind(_every(columns), _every(columns), frozenset())


def _columns_of_headers(columns: Columns, _used: UsedColumns) -> ColumnsByKind:
    return ColumnsByKind(_every(columns), frozenset(), frozenset())


def _columns_of_records(columns: Columns, _used: UsedColumns) -> ColumnsByKind:
    return ColumnsByKind(_every(columns), _every(columns), _every(columns))


def _columns_of_tables(columns: Columns, _used: UsedColumns) -> ColumnsByKind:
    items = frozenset(columns.get(ITEMS, ()))
    headers = frozenset(columns[HEADERS]) if HEADERS in columns else items
    return ColumnsByKind(headers, items, frozenset(columns.get(PAYMENTS, ())))


def _columns_of_lists(columns: Columns, used: UsedColumns) -> ColumnsByKind:
    items = frozenset(name for name in used.line if name.startswith(f"{ITEMS}."))
    payments = frozenset(name for name in used.payment if name.startswith(f"{PAYMENTS}."))
    return ColumnsByKind(_every(columns), items, payments)


class _Layout(NamedTuple):
    rows: Callable[[Tables, MappingSpec, UsedColumns], RowKinds]
    columns: Callable[[Columns, UsedColumns], ColumnsByKind]


_LAYOUTS: Final[dict[Layout, _Layout]] = {
    "lines": _Layout(_lines, _columns_of_lines),
    "first_row": _Layout(_lines, _columns_of_lines),
    "records": _Layout(_records, _columns_of_records),
    "tables": _Layout(_tables, _columns_of_tables),
    "nested": _Layout(_nested, _columns_of_lists),
    "headers": _Layout(_headers, _columns_of_headers),
}
