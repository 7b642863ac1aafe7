"""What is odd about ids: characters that nobody sees, digits that a spreadsheet lost, one for two items."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from pipeline.core.frames import NO_PROBLEMS, in_message, problems_at
from pipeline.core.model import LINE, TX
from pipeline.mapping.functions.cell_cleaning import begin_and_end_visibly, columns_where, stripped

_UNUSUAL: Final = r"[\p{DI}\p{Cf}\p{Cc}\p{Z}&&[^ \t\r\n]]"
"""What shows no ink, but for the blanks that people type."""
_ROUNDED: Final = r"[+-]?\d(?:[.,]\d+)?[Ee]\+\d{2,3}"
"""How spreadsheets show a number of many digits, such as 1.23E+12: with an exponent that has a sign."""
_IS_ROUNDED: Final = f"^{_ROUNDED}$"
_HAS_ROUNDED: Final = rf"(?:^|[^0-9A-Za-z.,])({_ROUNDED})(?:$|[^0-9A-Za-z@.,])"
"""The same as a part of an id that is put together; `ann.1e+12@shop.com` is an address."""
_GOLDEN: Final = 0x9E3779B97F4A7C15
"""An odd number that spreads the numbers of transactions over all 64 bits."""


def invisible_characters(rows: pl.DataFrame, ids: Collection[str]) -> pl.DataFrame:
    """Report ids with characters that cannot be seen, once for each transaction and column.

    At the ends they are taken off wherever the cell is used; within an id they are kept, since they may be
    part of it, and the report names them.

    Args:
        rows: Raw rows with TX, SOURCE and LINE.
        ids: The columns that make ids; those that are not there are left out.
    """
    columns = [name for name in rows.columns if name in ids]
    suspects = columns_where(rows, columns, lambda cells: ~_is_plain(cells))
    return pl.concat([NO_PROBLEMS, *(_invisible_in(rows, name) for name in suspects)])


def _is_plain(cells: pl.Expr) -> pl.Expr:
    """Whether every cell is ASCII, with a character at each end that can be seen."""
    return begin_and_end_visibly(cells) & (cells.str.len_bytes() == cells.str.len_chars()).all()


def _invisible_in(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    cell, tidy = pl.col(name), stripped(pl.col(name), is_id=True)
    odd = rows.filter(cell.str.contains(_UNUSUAL)).unique(TX, keep="first", maintain_order=True)
    if odd.is_empty():
        return NO_PROBLEMS
    within = tidy.str.extract(f"({_UNUSUAL})")
    named = pl.coalesce(within, cell.str.extract(f"({_UNUSUAL})")).map_batches(
        _code_points, return_dtype=pl.String, is_elementwise=True
    )
    message = (
        pl.when(within.is_null())
        .then(pl.format("{} at an end of `{}` cannot be seen; it was left out.", named, pl.lit(name)))
        .otherwise(pl.format("{} within `{}` cannot be seen; it was kept.", named, pl.lit(name)))
    )
    return problems_at(odd, "invisible_characters", message, field=name, value=cell)


def _code_points(characters: pl.Series) -> pl.Series:
    names = {character: f"U+{ord(character):04X}" for character in characters.unique().drop_nulls()}
    return characters.replace_strict(names, default=None, return_dtype=pl.String)


def rounded_cells(rows: pl.DataFrame, columns: Collection[str]) -> pl.DataFrame:
    """Report keys that have lost digits: several sales may have become one."""
    there = [name for name in rows.columns if name in columns]
    suspects = columns_where(rows, there, _has_plus)
    found = (_rounded_in(rows, name, stripped(pl.col(name), is_id=True), _IS_ROUNDED) for name in suspects)
    return pl.concat([NO_PROBLEMS, *found])


def rounded_ids(rows: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """Report ids of sales, items and customers that have lost digits, whole or in a part.

    Args:
        rows: Mapped transactions or items.
        names: The fields that are looked at; those that are not there are left out.
    """
    there = [name for name in names if name in rows.columns]
    suspects = columns_where(rows, there, _has_plus)
    found = (_rounded_in(rows, name, pl.col(name), _HAS_ROUNDED) for name in suspects)
    return pl.concat([NO_PROBLEMS, *found])


def _has_plus(cells: pl.Expr) -> pl.Expr:
    return cells.str.contains("+", literal=True).any()


def _rounded_in(rows: pl.DataFrame, name: str, text: pl.Expr, pattern: str) -> pl.DataFrame:
    odd = rows.filter(text.str.contains(pattern)).unique(TX, keep="first", maintain_order=True)
    message = pl.format("`{}` is {}, which has lost digits of the id.", pl.lit(name), in_message(text, name))
    return problems_at(odd, "id_rounded", message, field=name, value=text)


def item_conflicts(items: pl.DataFrame) -> pl.DataFrame:
    """Report items with the id of another one of their sale: the second would replace the first."""
    if "external_id" not in items.columns:
        return NO_PROBLEMS
    of_sale = pl.col("external_id").hash(seed=0) + pl.col(TX).cast(pl.UInt64) * _GOLDEN
    hashes = items.select(pl.when(pl.col("external_id").is_not_null()).then(of_sale).alias("hash"))["hash"]
    if hashes.n_unique() == hashes.len() - max(hashes.null_count() - 1, 0):
        return NO_PROBLEMS
    suspects = items.filter(hashes.is_duplicated() & hashes.is_not_null())
    first = pl.col(LINE).first().over(TX, "external_id").alias("first")
    again = ~pl.struct(TX, "external_id").is_first_distinct()
    odd = (
        suspects.with_columns(first)
        .filter(again)
        .unique([TX, "external_id"], keep="first", maintain_order=True)
    )
    message = pl.format("The item on line {} has the id {} too.", "first", "external_id")
    return problems_at(
        odd, "item_external_id_conflict", message, field="items.external_id", value=pl.col("external_id")
    )
