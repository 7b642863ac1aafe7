"""The frame in which stages tell what is odd about rows: one row a problem."""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline.core.model import LINE, SOURCE, TX

PROBLEMS: Final = {
    TX: pl.UInt32(),
    "code": pl.String(),
    "field": pl.String(),
    "value": pl.String(),
    "message": pl.String(),
    SOURCE: pl.UInt32(),
    LINE: pl.Int64(),
    "raw": pl.String(),
}
"""Columns of a problems frame; TX, `field`, `value` and `raw` may be null."""

NO_PROBLEMS: Final = pl.DataFrame(schema=PROBLEMS)


def problems_at(
    rows: pl.DataFrame,
    code: str,
    message: str | pl.Expr,
    *,
    field: str | None = None,
    value: pl.Expr | None = None,
) -> pl.DataFrame:
    """One problem for each of `rows`, which have TX, SOURCE and LINE.

    Args:
        rows: The rows it is about.
        code: The problem's code.
        message: For people; a text for all, or an expression over the rows.
        field: The field or column concerned.
        value: What is there, as an expression over the rows.
    """
    if rows.is_empty():
        return NO_PROBLEMS
    return rows.select(
        pl.col(TX).cast(pl.UInt32),
        pl.lit(code).alias("code"),
        pl.lit(field, dtype=pl.String).alias("field"),
        (pl.lit(None) if value is None else value).cast(pl.String).alias("value"),
        (pl.lit(message) if isinstance(message, str) else message).alias("message"),
        pl.col(SOURCE).cast(pl.UInt32),
        pl.col(LINE).cast(pl.Int64),
        pl.lit(None, dtype=pl.String).alias("raw"),
    )
