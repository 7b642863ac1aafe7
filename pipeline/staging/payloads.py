"""Encodes typed headers and items as the exact request bodies.

A key without a value is left out, since the API refuses `null` for some fields. Amounts are decimals of at
most 15 digits up to here; printed as JSON numbers they are the shortest text of the nearest double, which
for 15 digits is the decimal itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import polars as pl

from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, TX, Field, Kind

_JSON_TEXT = frozenset({Kind.STRINGS, Kind.PAYMENTS, Kind.OBJECT, Kind.OBJECTS})
_ITEMS = Field("items", Kind.OBJECTS, "What was sold.")


def encode(headers: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Write the body of every transaction in `headers`.

    Args:
        headers: One row a transaction, typed, with TX; required fields are not null.
        items: One row an item, typed, with TX; those of other transactions are left out.

    Returns:
        One row a transaction in the order of `headers`: TX, `external_id`, `transacted_at` (UTC),
        `total`, `body`.
    """
    rows = headers
    if not items.is_empty():
        rows = headers.join(_item_lists(items), on=TX, how="left", maintain_order="left")
    return headers.select_seq(
        TX,
        "external_id",
        pl.col("transacted_at").dt.replace_time_zone("UTC"),
        "total",
        _objects(rows, [*TRANSACTION_FIELDS.values(), _ITEMS]).alias("body"),
    )


def _item_lists(items: pl.DataFrame) -> pl.DataFrame:
    """TX and `items`: its objects in the order of the rows, with commas between them."""
    objects = items.select(TX, _objects(items, ITEM_FIELDS.values()).alias("items"))
    if items[TX].is_sorted():
        # With this mark they are grouped without hashes, in half the time.
        objects = objects.set_sorted(TX)
    grouped = objects.group_by(TX, maintain_order=True).agg("items")
    return grouped.with_columns(pl.col("items").list.join(","))


def _objects(rows: pl.DataFrame, fields: Iterable[Field]) -> pl.Series:
    """A JSON object for each row, its members in the order of `fields`, without those that have no value.

    Neighbouring members that every row has are encoded together, since every pass over the texts costs
    about the same.
    """
    present = [field for field in fields if field.name in rows.columns]
    cells = rows.select_seq(_printable(field) for field in present)
    gappy = {name for name in cells.columns if cells[name].null_count()}
    alone = {field for field in present if field.name in gappy or field.kind in _JSON_TEXT}
    if not alone:
        return cells.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    parts: list[pl.Expr] = []
    for together, run in groupby(present, lambda field: field not in alone):
        if together:
            parts += [pl.lit(","), _encoded(*(field.name for field in run))]
        else:
            parts += [part for field in run for part in _member(field, gappy=field.name in gappy)]
    # The first member has no comma before it; which one that is may differ from row to row.
    if present[0] in alone:
        parts = [pl.concat_str(parts, ignore_nulls=True).str.strip_prefix(",")]
    else:
        parts = parts[1:]
    return cells.select(pl.concat_str(pl.lit("{"), *parts, pl.lit("}"), ignore_nulls=True)).to_series()


def _member(field: Field, *, gappy: bool) -> list[pl.Expr]:
    """The texts that make up one member, beginning with a comma; null where there is no value."""
    value, key = pl.col(field.name), pl.lit(f',"{field.name}":')
    if field.kind is Kind.BOOLEAN:  # of which only true is left
        return [pl.when(value).then(pl.lit(f',"{field.name}":true'))]
    if field.kind not in _JSON_TEXT:
        return [pl.when(value.is_not_null()).then(pl.concat_str(pl.lit(","), _encoded(field.name)))]
    parts = [key, pl.lit("["), value, pl.lit("]")] if field is _ITEMS else [key, value]
    return [pl.concat_str(parts)] if gappy else parts


def _encoded(*names: str) -> pl.Expr:
    # The braces are sliced off, which copies no text.
    return pl.struct(names).struct.json_encode().str.slice(1).str.head(-1)


def _printable(field: Field) -> pl.Expr:
    column = pl.col(field.name)
    match field.kind:
        case Kind.DECIMAL:
            return column.cast(pl.Float64)
        case Kind.DATETIME:
            return column.dt.strftime("%Y-%m-%d %H:%M:%S")
        case Kind.BOOLEAN:  # false is the default everywhere and is left out
            return pl.when(column).then(column)
        case _:
            return column
