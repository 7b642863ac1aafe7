"""The transaction key of each row, and how it is carried down to rows that leave it blank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from pipeline.core.model import KEY, LINE, LOST, SOURCE, Lost
from pipeline.mapping.functions.cell_cleaning import cleaned, trimmed
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.usage.used_columns import key_cells

_UNDER: Final = "__under"
"""For a row without a key of its own, the line of the unreadable row above, whose key it would have taken."""

CarriedKey = Mapping[str, str | None]
"""The last key cells of a file so far, by column, and `_UNDER`."""


def structural_columns(spec: MappingSpec) -> set[str]:
    """The columns that say which rows belong together, and what each row is."""
    records = {spec.source.records.column} if spec.source.records else set()
    return {*key_cells(spec, spec.source.all_keys)} | records


def key_hash(rows: pl.DataFrame, columns: Sequence[str], nulls: Sequence[str] = ()) -> pl.Series:
    """The transaction key of each row as one number, named KEY; null where a cell of the key is blank.

    Tables whose key columns have different names get the same numbers. The numbers hold for one run: another
    version of polars may give others.
    """
    cells = rows.select(pl.col(name).alias(str(at)) for at, name in enumerate(columns))
    cells = cleaned(cells, cells.columns, nulls, cells.columns)
    # Each place has a seed of its own, so that the same cells in another order give another number.
    key = pl.sum_horizontal(pl.col(name).hash(seed=at) for at, name in enumerate(cells.columns))
    complete = pl.all_horizontal(pl.all().is_not_null())
    return cells.select(pl.when(complete).then(key).alias(KEY)).to_series()


def with_key(rows: pl.DataFrame, columns: Sequence[str], spec: MappingSpec) -> pl.DataFrame:
    """Add KEY to rows.

    Args:
        rows: Rows as `carry_down` returns them.
        columns: The key columns; where the rows lack one of them, no row has a key.
        spec: The mapping.
    """
    missing = [pl.lit(None, pl.String).alias(name) for name in columns if name not in rows.columns]
    key = key_hash(rows.with_columns(missing) if missing else rows, columns, spec.source.nulls)
    rows = rows.with_columns(key)
    if _UNDER not in rows.columns:
        return rows
    # Rows below an unreadable row become a sale of their own: they do not belong to the sale above it.
    under = pl.when(pl.col(_UNDER).is_not_null()).then(pl.struct(SOURCE, _UNDER).hash())
    return rows.with_columns(pl.coalesce(KEY, under).alias(KEY)).drop(_UNDER)


def carries_keys(spec: MappingSpec) -> bool:
    """Whether rows may take their key from the rows above them."""
    return spec.source.carry_key or spec.source.layout == "records"


def carry_down(
    rows: pl.DataFrame, spec: MappingSpec, carried: CarriedKey | None = None
) -> tuple[pl.DataFrame, CarriedKey | None]:
    """Fill blank key cells with those of the row above, where the mapping asks for it.

    It does so with `carry_key`, and for item and payment records, which may leave the key to the header
    record above them; a header record never takes its key from above. A row that could not be read still
    gives its key to the rows below it. Where its key could not be read either, it may have been part of the
    sale above or the first row of another sale. Then nothing is carried past it, and a second row with LOST
    marks the sale above.

    Args:
        rows: The next rows of one file, in file order, with SOURCE; LOST where some could not be read.
        spec: The mapping.
        carried: What this function returned for the rows before; None at the start of a file.

    Returns:
        The rows, and what to pass for the rows after them.
    """
    columns = [name for name in key_cells(spec, spec.source.key) if name in rows.columns]
    records = spec.source.records if spec.source.layout == "records" else None
    if not columns or rows.is_empty() or not carries_keys(spec):
        return rows, carried
    nulls, carried = spec.source.nulls, carried or {}
    never = pl.lit(value=False)
    starts = never
    if records and records.column in rows.columns:
        starts = trimmed(pl.col(records.column), nulls).is_in(records.header).fill_null(value=False)
    if LOST in rows.columns or carried.get(_UNDER):
        unkeyed = (pl.col(LOST) == Lost.UNKEYED).fill_null(value=False) if LOST in rows.columns else never
        rows = rows.with_columns(pl.when(unkeyed).then(pl.col(LINE).cast(pl.String)).alias(_UNDER))
        columns, starts = [*columns, _UNDER], starts | unkeyed
    # A row that starts a sale ends the one before, even if its own key is blank, so cells are filled only
    # within a run.
    run = starts.cum_sum() if records or _UNDER in columns else pl.lit(0)
    first_run = pl.col("__run") == 0
    filled = rows.with_columns(run.alias("__run")).with_columns(
        pl.coalesce(
            trimmed(pl.col(name), nulls, is_id=True).forward_fill().over("__run"),
            pl.when(first_run).then(pl.lit(carried.get(name), dtype=pl.String)),
        ).alias(name)
        for name in columns
    )
    filled, last = filled.drop("__run"), filled.select(columns).row(-1, named=True)
    if LOST in filled.columns:
        keys_above = (pl.col(name).shift(1, fill_value=carried.get(name)) for name in columns)
        above = filled.select(SOURCE, LINE, LOST, *keys_above).filter(pl.col(LOST) == Lost.UNKEYED)
        below = above.with_columns(pl.lit(Lost.BELOW, pl.UInt8).alias(LOST))
        filled = pl.concat([filled, below], how="diagonal").sort(LINE, maintain_order=True)
    return filled, last
