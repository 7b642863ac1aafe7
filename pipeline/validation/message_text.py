"""How values are put into sentences for people."""

from __future__ import annotations

from typing import Final

import polars as pl

SHOWN: Final = 80
"""Characters of a cell that a message shows; the whole cell stands beside it in the quarantine."""


def amount(expression: pl.Expr) -> pl.Expr:
    """A decimal as text with two to four places: `12.50`, `0.1234`."""
    return expression.cast(pl.String).str.replace(r"(\.\d\d)(\d?[1-9])?0*$", "${1}${2}")


def quoted(expression: pl.Expr) -> pl.Expr:
    """A text in quotes, cut where it is long."""
    cut = (
        pl.when(expression.str.len_chars() > SHOWN)
        .then(expression.str.slice(0, SHOWN) + "…")
        .otherwise(expression)
    )
    return pl.format("'{}'", cut)
