"""Which rows of a source are headers, items or payments: one function for each layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.mapping.functions.cell_cleaning import trimmed
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


def rows_by_kind(tables: Tables, spec: MappingSpec) -> RowKinds:
    """Split raw rows by kind."""
    return _LAYOUTS[spec.source.layout](tables, spec, columns_used(spec))


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


_LAYOUTS: Final[dict[str, Callable[[Tables, MappingSpec, UsedColumns], RowKinds]]] = {
    "lines": _lines,
    "first_row": _lines,
    "records": _records,
    "tables": _tables,
    "nested": _nested,
    "headers": _headers,
}
