"""What can be wrong with rows themselves: blank keys, contradicting cells, missing headers or items."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipeline.core.frames import NO_PROBLEMS, in_message, problems_at
from pipeline.core.model import KEY, LINE, SOURCE, TX
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.equality import Equality


def keys_missing(rows: pl.DataFrame, spec: MappingSpec) -> pl.DataFrame:
    """Rows with a blank cell in their key."""
    if not rows[KEY].null_count():
        return NO_PROBLEMS
    columns = ", ".join(f"`{name}`" for name in dict.fromkeys(spec.source.all_keys))
    message = (
        f"A cell of the key ({columns}) is blank, so it is not known which transaction this row belongs to."
    )
    return problems_at(rows.filter(pl.col(KEY).is_null()), "key_missing", message)


def duplicate_rows(rows: pl.DataFrame, headers: pl.DataFrame) -> pl.DataFrame:
    """Rows that were left out as duplicates."""
    found = rows.join(headers.select(KEY, TX), on=KEY, how="left", maintain_order="left")
    message = "This row is equal in every cell to one before it; it was counted once."
    return problems_at(found, "duplicate_row", message)


def orphans(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of items or payments whose header row is missing."""
    message = "There is no header row with the key of this row."
    return problems_at(rows.filter(pl.col(KEY).is_not_null()), "orphan_item", message)


def items_missing(headers: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Transactions without items."""
    without = headers.join(items.select(TX), on=TX, how="anti", maintain_order="left")
    return problems_at(without, "items_missing", "There is no item row with the key of this row.")


def unreadable_list(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Transactions whose cell does not hold a list of objects."""
    message = f"`{column}` is not a list of objects with texts, numbers and booleans as members."
    return problems_at(rows, "field_invalid", message, field=column, value=pl.col(column))


def second_headers(rows: pl.DataFrame, conflicts: pl.DataFrame) -> pl.DataFrame:
    """Further header rows of a transaction that agree with the first one in everything that is mapped.

    They may be two sales, or two payments of one sale. Counting them once could lose the value of the second.
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


def header_conflicts(rows: pl.DataFrame, columns: Sequence[str], spec: MappingSpec) -> pl.DataFrame:
    """Columns in which the rows of a transaction disagree, reported once per transaction.

    In layout `first_row` a blank cell agrees with everything.

    Args:
        rows: The rows, sorted by TX.
        columns: The columns of a transaction's values; those that are absent are left out.
        spec: The mapping.
    """
    columns = [name for name in columns if name in rows.columns]
    if not columns:
        return NO_PROBLEMS
    # The rows of a transaction lie together, so comparing each with the one above finds every difference.
    same = pl.col(TX) == pl.col(TX).shift(1)
    cells = [pl.col(name) for name in columns]
    differs = rows.select_seq((cell.ne_missing(cell.shift(1)) & same).any() for cell in cells)
    equal = Equality.of(spec)
    found = [NO_PROBLEMS]
    for name, is_so in differs.row(0, named=True).items():
        if not is_so:
            continue
        some = rows.select(TX, SOURCE, LINE, equal.form(name).alias("here"))
        if spec.source.layout == "first_row":
            some = some.drop_nulls("here")
        here, there = pl.col("here"), pl.col("there")
        some = some.with_columns(
            here.first().over(TX).alias("there"), pl.col(LINE).first().over(TX).alias("at")
        )
        odd = some.filter(here.ne_missing(there)).unique(TX, keep="first", maintain_order=True)
        shown = [in_message(cell, name).fill_null("blank") for cell in (there, here)]
        message = pl.format("`{}` is {} on line {} and {} here.", pl.lit(name), shown[0], "at", shown[1])
        if spec.source.layout == "lines":
            only_first = " If only the first row of a sale has it, write `layout: first_row`."
            message += pl.when(here.is_null()).then(pl.lit(only_first)).otherwise(pl.lit(""))
        found.append(problems_at(odd, "header_conflict", message, field=name, value=here))
    return _one_of_each_sale(pl.concat(found))


def _one_of_each_sale(conflicts: pl.DataFrame) -> pl.DataFrame:
    """The first conflict of each transaction, whose message names the other columns that differ too."""
    others = pl.format("`{}`", pl.col("field").slice(1)).str.join(", ").over(TX)
    also = (
        pl.when(pl.len().over(TX) > 1).then(pl.format(" These differ too: {}.", others)).otherwise(pl.lit(""))
    )
    named = conflicts.rechunk().with_columns(pl.col("message") + also)
    return named.unique(TX, keep="first", maintain_order=True)
