"""Raw cells as a mapping sees them: trimmed, and blank ones null."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def blank(text: pl.Expr, nulls: Sequence[str]) -> pl.Expr:
    """Whether a cell says nothing: null, only white space, or one of the words in `nulls`."""
    trimmed = text.str.strip_chars()
    return trimmed.is_null() | trimmed.is_in(["", *nulls])


def trimmed(text: pl.Expr, nulls: Sequence[str]) -> pl.Expr:
    """The cell without outer white space; null where it is blank."""
    return pl.when(~blank(text, nulls)).then(text.str.strip_chars())


def nonblank(text: pl.Expr) -> pl.Expr:
    """The text, or null where it is empty; for texts that are trimmed already."""
    return pl.when(text != "").then(text)


def cleaned(rows: pl.DataFrame, columns: Sequence[str], nulls: Sequence[str]) -> pl.DataFrame:
    """Trim the cells of `columns` and make blank ones null.

    Most columns of most exports need nothing: comparing lengths finds those at half the cost of
    writing all of them anew.
    """
    if not columns:
        return rows
    cells = pl.col(columns)
    untidy = rows.select(
        ((cells.str.strip_chars().str.len_bytes() != cells.str.len_bytes()) | cells.is_in(["", *nulls])).any()
        if nulls
        else ((cells.str.strip_chars().str.len_bytes() != cells.str.len_bytes()) | (cells == "")).any()
    ).row(0, named=True)
    return rows.with_columns(trimmed(pl.col(name), nulls) for name, found in untidy.items() if found)
