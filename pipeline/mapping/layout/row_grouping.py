"""The order of rows, rows that repeat another one, and the number of each row's transaction."""

from __future__ import annotations

import polars as pl

from pipeline.core.model import KEY, LINE, SOURCE, TX
from pipeline.core.storage.partition_frames import cells_of
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.equality import Equality
from pipeline.mapping.usage.used_columns import UsedColumns


def in_source_order(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows by file and line; most are sorted already, and finding that out is cheaper than sorting."""
    # One number for both: no file has 2**40 lines.
    position = rows.select(pl.col(SOURCE).cast(pl.Int64) * 2**40 + pl.col(LINE)).to_series()
    return rows if position.is_sorted() else rows.sort(SOURCE, LINE, maintain_order=True)


def split_duplicates(
    rows: pl.DataFrame, used: UsedColumns, spec: MappingSpec
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split off rows that are equal in every cell to an earlier one.

    A row without a key is never a duplicate, since its sale is not known.
    """
    if rows.is_empty():
        # If no row could be read, there may be no cells to compare.
        return rows, rows
    cells, equal = cells_of(rows), Equality.of(spec)
    # Candidates are narrowed down column by column, and few rows get past the first two. Cells of the items
    # come first, since they differ between the lines of a sale; numbers come last, since comparing them by
    # value costs more.
    of_items = used.line - used.transaction
    order = sorted(cells, key=lambda name: (name in equal.numbers, name not in of_items))
    candidates = rows.select(pl.col(KEY).alias("hash")).with_row_index("at").drop_nulls("hash")
    for seed, name in enumerate(order):
        cell = rows[name] if candidates.height == rows.height else rows[name].gather(candidates["at"])
        # Each column has a seed of its own, so that the hash depends on the order of the cells.
        mixed = pl.sum_horizontal("hash", equal.comparable(cell).hash(seed))
        candidates = candidates.with_columns(mixed.alias("hash")).filter(pl.col("hash").is_duplicated())
        if candidates.is_empty():
            return rows, rows.clear()
    # Equal hashes are not proof, so the cells of the few candidates are compared.
    at = candidates["at"]
    compared = pl.DataFrame([equal.comparable(rows[name].gather(at)) for name in cells])
    repeated = at.filter(~compared.select(pl.struct(cells).is_first_distinct()).to_series())
    keep = pl.Series([True]).new_from_index(0, rows.height).scatter(repeated, values=False)
    return rows.filter(keep), rows[repeated]


def numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """Add TX, the number of each row's transaction in order of first appearance; sorted by it, stable.

    A row without a key is a transaction of its own.
    """
    key = rows[KEY]
    starts = rows.select(
        (pl.col(KEY) != pl.col(KEY).shift(1)).fill_null(value=True) | pl.col(KEY).is_null()
    ).to_series()
    blank_keys = key.null_count()
    # The usual case: the rows of each transaction lie together, so runs of equal keys are transactions.
    if int(starts.sum() or 0) == key.n_unique() - bool(blank_keys) + blank_keys:
        run = (starts.cast(pl.UInt32).cum_sum() - 1).cast(pl.UInt32).alias(TX)
        return rows.with_columns(run.set_sorted())
    first = pl.when(pl.col(KEY).is_null()).then("__at").otherwise(pl.col("__at").min().over(KEY))
    number = (first.rank("dense") - 1).cast(pl.UInt32).alias(TX)
    rows = rows.with_row_index("__at").with_columns(number).drop("__at")
    return rows.sort(TX, maintain_order=True)


def first_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The first row of each transaction; `rows` are sorted by TX."""
    return rows.filter((pl.col(TX) != pl.col(TX).shift(1)).fill_null(value=True))
