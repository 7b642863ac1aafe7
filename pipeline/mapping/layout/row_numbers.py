"""Numbers rows that are equal in every cell, so that they can be different sales."""

from __future__ import annotations

import polars as pl

from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.core.storage.partition_frames import cells_of
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.equality import Equality
from pipeline.mapping.layout.row_grouping import in_source_order
from pipeline.mapping.layout.row_kinds import Tables


def with_row_numbers(tables: Tables, spec: MappingSpec) -> Tables:
    """Add the column of `rows: {number_equal: ...}`; the tables as they are where the mapping has none.

    Rows are numbered in each file by itself, so that another export of the same rows gives the same numbers.
    They hold as long as no equal row before them is gone. Equal rows of two files get the same number: they
    are one sale that was exported twice, or a sale that is counted once too seldom.

    Args:
        tables: All rows of each key, by table.
        spec: The mapping.
    """
    name = spec.source.rows.number_equal
    if not name:
        return tables
    return {
        table: _numbered(rows, name, spec, is_key=name in spec.source.key_of(table))
        for table, rows in tables.items()
    }


def _numbered(rows: pl.DataFrame, name: str, spec: MappingSpec, *, is_key: bool) -> pl.DataFrame:
    rows, equal = in_source_order(rows), Equality.of(spec)
    # Rows with different cells may by chance have the same hash. They then get different numbers, which does
    # no harm.
    cells = (equal.form(cell).hash(seed) for seed, cell in enumerate(cells_of(rows)))
    row = pl.sum_horizontal(pl.col(SOURCE).hash(), *cells)
    # Numbers may be equal and written differently, and an id holds them as they are written: 3.00 gets the
    # same number wherever in the file it stands beside 3.
    written = pl.struct(cells_of(rows)).hash()
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(row.alias("row"), order_by=[written, LINE])
    rows = rows.with_columns(number.cast(pl.String).alias(name))
    if not is_key:
        return rows
    own = pl.when(pl.col(name) != "1").then(pl.struct(KEY, name).hash()).otherwise(KEY)
    return rows.with_columns(pl.when(pl.col(KEY).is_not_null()).then(own).alias(KEY))
