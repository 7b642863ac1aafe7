"""Values as text in messages."""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline.core.frames import in_message

SHOWN: Final = 80
"""Characters of a cell that a message shows; the whole cell stands beside it in the quarantine."""


def amount(expression: pl.Expr) -> pl.Expr:
    """A decimal as text with two to four places: `12.50`, `0.1234`."""
    return expression.cast(pl.String).str.replace(r"(\.\d\d)(\d?[1-9])?0*$", "${1}${2}")


def quoted(text: pl.Expr, field: str = "") -> pl.Expr:
    """A text in quotes, cut where it is long.

    Args:
        text: The text.
        field: The field that it is a value of; a personal one is marked.
    """
    cut = (
        pl.when(text.str.len_chars() > SHOWN)
        .then(in_message(text.str.slice(0, SHOWN), field) + "…")
        .otherwise(in_message(text, field))
    )
    return pl.format("'{}'", cut)
