"""Raw cells as a mapping sees them: trimmed, and blank ones null."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

    Most columns of most exports need nothing. Their outer bytes tell that of nearly all of them, at a quarter
    of the cost of writing them anew; comparing lengths tells it of the others, at half of it.
    """
    doubtful = columns if nulls else _where(rows, columns, lambda cells: ~_begin_and_end_visibly(cells))
    untidy = _where(rows, doubtful, lambda cells: _untidy(cells, nulls))
    return rows.with_columns(trimmed(pl.col(name), nulls) for name in untidy)


def _where(rows: pl.DataFrame, columns: Sequence[str], holds: Callable[[pl.Expr], pl.Expr]) -> list[str]:
    """Those of the columns of which something holds."""
    found = rows.select_seq(holds(pl.col(columns))).row(0, named=True) if columns else {}
    return [name for name, is_so in found.items() if is_so]


def _begin_and_end_visibly(cells: pl.Expr) -> pl.Expr:
    """Whether the first and the last character of every cell are ASCII, and no white space."""
    text = cells.cast(pl.Binary)
    first, last = (text.bin.get(at, null_on_oob=True).is_between(0x21, 0x7E) for at in (0, -1))
    return (first & last).sum() == cells.count()


def _untidy(cells: pl.Expr, nulls: Sequence[str]) -> pl.Expr:
    """Whether any cell has outer white space, or is blank without being null."""
    is_blank = cells.is_in(["", *nulls]) if nulls else cells == ""
    return ((cells.str.strip_chars().str.len_bytes() != cells.str.len_bytes()) | is_blank).any()
