"""What can be wrong with ids: invisible characters, digits lost in a spreadsheet, one id for two items."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import polars as pl

from pipeline.core.frames import NO_PROBLEMS, in_message, problems_at
from pipeline.core.long_numbers import EXACT_BELOW
from pipeline.core.model import LINE, TX
from pipeline.mapping.functions.cell_cleaning import begin_and_end_visibly, columns_where, stripped

_UNUSUAL: Final = r"[\p{DI}\p{Cf}\p{Cc}\p{Z}&&[^ \t\r\n]]"
"""Invisible characters, except the blanks that people type."""
_SHOWN_SHORT: Final = r"[+-]?\d(?:[.,]\d+)?[Ee]\+\d{2,3}"
"""How spreadsheets show a number of many digits, such as 1.23E+12: with an exponent that has a sign."""
_FLOAT: Final = r"[+-]?\d[.,](?:\d{6,}[Ee]\d{1,3}|\d+[Ee](?:1[5-9]|[2-9]\d|\d{3}))"
"""How programs write such a number: with many digits or a large exponent, since 1.23E12 may be an id."""
_ROUNDED: Final = f"(?:{_SHOWN_SHORT}|{_FLOAT})"
_HAS_ROUNDED: Final = rf"(?:^|[^0-9A-Za-z.,])({_ROUNDED})(?:$|[^0-9A-Za-z@.,])"
"""The same as a part of an id that is put together; `ann.1e+12@shop.com` is an address."""
_EXPONENT: Final = r"\d[Ee]\+?\d"
_LONG_FLOAT: Final = r"^[+-]?0*([1-9]\d{15,})[.,]0*$"
"""A whole number of a column of floats, written in full."""
_GOLDEN: Final = 0x9E3779B97F4A7C15
"""An odd number that spreads transaction numbers over all 64 bits (2**64 divided by the golden ratio)."""


def invisible_characters(rows: pl.DataFrame, ids: Collection[str]) -> pl.DataFrame:
    """Report ids with invisible characters, once for each transaction and column.

    At the ends of an id they are removed wherever the cell is used. Inside an id they are kept, since they
    may be part of it, and the report names them.

    Args:
        rows: Raw rows with TX, SOURCE and LINE.
        ids: The columns that ids are made of; those that are absent are left out.
    """
    columns = [name for name in rows.columns if name in ids]
    # Nearly all columns are ASCII with visible ends, which is cheap to see.
    suspects = columns_where(
        rows,
        columns,
        lambda cells: (
            ~(begin_and_end_visibly(cells) & (cells.str.len_bytes() == cells.str.len_chars()).all())
        ),
    )
    return pl.concat([NO_PROBLEMS, *(_invisible_in(rows, name) for name in suspects)])


def _invisible_in(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    cell = pl.col(name)
    odd = rows.filter(cell.str.contains(_UNUSUAL)).unique(TX, keep="first", maintain_order=True)
    if odd.is_empty():
        return NO_PROBLEMS
    inside = stripped(cell, is_id=True).str.extract(f"({_UNUSUAL})")
    named = pl.coalesce(inside, cell.str.extract(f"({_UNUSUAL})")).map_batches(
        _code_points, return_dtype=pl.String, is_elementwise=True
    )
    message = (
        pl.when(inside.is_null())
        .then(pl.format("{} at an end of `{}` cannot be seen; it was left out.", named, pl.lit(name)))
        .otherwise(pl.format("{} within `{}` cannot be seen; it was kept.", named, pl.lit(name)))
    )
    return problems_at(odd, "invisible_characters", message, field=name, value=cell)


def _code_points(characters: pl.Series) -> pl.Series:
    names = {character: f"U+{ord(character):04X}" for character in characters.unique().drop_nulls()}
    return characters.replace_strict(names, default=None, return_dtype=pl.String)


def rounded_cells(rows: pl.DataFrame, key: Collection[str]) -> pl.DataFrame:
    """Report cells of a key that have lost digits: several sales may have become one."""
    return _rounded(rows, key, lambda name: stripped(pl.col(name), is_id=True), f"^{_ROUNDED}$")


def rounded_floats(rows: pl.DataFrame, ids: Collection[str]) -> pl.DataFrame:
    """Report cells with a number in full that a column of floats has rounded, such as 12345678901234568.0.

    This shows in the cell only: an id may be put together to look so, and a mapping may cut off the `.0`.

    Args:
        rows: Raw rows with TX, SOURCE and LINE.
        ids: The columns that ids are made of; those that are absent are left out.
    """
    found = [NO_PROBLEMS]
    names = [name for name in rows.columns if name in ids]
    for name in columns_where(rows, names, lambda cells: cells.str.contains(r"\d{16}[.,]").any()):
        text = stripped(pl.col(name), is_id=True)
        digits = text.str.extract(_LONG_FLOAT)
        is_inexact = (digits.str.len_bytes() > len(str(EXACT_BELOW))) | (digits >= str(EXACT_BELOW))
        found.append(_reported(rows.filter(is_inexact), name, text))
    return pl.concat(found)


def rounded_ids(rows: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """Report mapped ids of sales, items and customers that have lost digits, as a whole or in a part.

    Args:
        rows: Mapped transactions or items.
        names: The fields to look at; those that are absent are left out.
    """
    return _rounded(rows, names, pl.col, _HAS_ROUNDED)


def _rounded(
    rows: pl.DataFrame, names: Collection[str], text_of: Callable[[str], pl.Expr], pattern: str
) -> pl.DataFrame:
    found = [NO_PROBLEMS]
    present = [name for name in rows.columns if name in names]
    for name in columns_where(rows, present, lambda cells: cells.str.contains(_EXPONENT).any()):
        text = text_of(name)
        found.append(_reported(rows.filter(text.str.contains(pattern)), name, text))
    return pl.concat(found)


def _reported(odd: pl.DataFrame, name: str, text: pl.Expr) -> pl.DataFrame:
    """The problem, once for each transaction."""
    odd = odd.unique(TX, keep="first", maintain_order=True)
    shown = in_message(text, name)
    message = pl.format("`{}` is {}, which has lost digits of the id.", pl.lit(name), shown)
    return problems_at(odd, "id_rounded", message, field=name, value=text)


def item_conflicts(items: pl.DataFrame) -> pl.DataFrame:
    """Report items with the id of another item of their sale: the second would replace the first."""
    if "external_id" not in items.columns:
        return NO_PROBLEMS
    external_id = pl.col("external_id")
    in_sale = external_id.hash() + pl.col(TX).cast(pl.UInt64) * _GOLDEN
    hashes = items.select(pl.when(external_id.is_not_null()).then(in_sale).alias("hash"))["hash"]
    # `n_unique` counts all nulls together as one value.
    if hashes.n_unique() == hashes.len() - max(hashes.null_count() - 1, 0):
        return NO_PROBLEMS
    suspects = items.filter(hashes.is_duplicated() & hashes.is_not_null())
    first = pl.col(LINE).first().over(TX, "external_id").alias("first")
    again = suspects.with_columns(first).filter(~pl.struct(TX, "external_id").is_first_distinct())
    odd = again.unique([TX, "external_id"], keep="first", maintain_order=True)
    message = pl.format("The item on line {} has the id {} too.", "first", "external_id")
    return problems_at(
        odd, "item_external_id_conflict", message, field="items.external_id", value=external_id
    )
