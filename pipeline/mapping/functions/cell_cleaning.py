"""Cleans raw cells: trims them, and makes blank ones null.

Ids are trimmed of more than white space. Byte order marks, zero-width spaces, direction marks and the like
end up around cells that were copied or joined from files. They are invisible, and two ids that look equal
would be two sales.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import polars as pl

_INVISIBLE: Final = r"[\p{DI}\p{Cf}\p{Cc}\p{Z}]"
"""Invisible characters: ignorable, format and control characters, and all kinds of blanks."""
_OUTER: Final = rf"^{_INVISIBLE}+|{_INVISIBLE}+$"


def stripped(text: pl.Expr, *, is_id: bool = False) -> pl.Expr:
    """The text without outer white space; an id also without other outer invisible characters."""
    return text.str.replace_all(_OUTER, "") if is_id else text.str.strip_chars()


def blank(text: pl.Expr, nulls: Sequence[str], *, is_id: bool = False) -> pl.Expr:
    """Whether a cell is null, only white space, or one of the words in `nulls`."""
    trimmed = stripped(text, is_id=is_id)
    return trimmed.is_null() | trimmed.is_in(["", *nulls])


def trimmed(text: pl.Expr, nulls: Sequence[str], *, is_id: bool = False) -> pl.Expr:
    """The cell, stripped; null where it is blank."""
    return pl.when(~blank(text, nulls, is_id=is_id)).then(stripped(text, is_id=is_id))


def nonblank(text: pl.Expr) -> pl.Expr:
    """The text, or null where it is empty; for texts that are already trimmed."""
    # Names `text` once: naming it twice would double the expression with each step of a chain.
    return text.replace("", None)


def cleaned(
    rows: pl.DataFrame, columns: Sequence[str], nulls: Sequence[str], ids: Collection[str] = ()
) -> pl.DataFrame:
    """Trim the cells of `columns` and make blank ones null; those of `ids` as ids.

    Most columns of most exports need no change. Looking at their outer bytes proves that for nearly all of
    them, at a quarter of the cost of writing them anew; comparing lengths proves it for others, at half of
    the cost.
    """
    suspects = [name for name in columns if not nulls or name in ids]
    suspects = columns_where(rows, suspects, lambda cells: ~begin_and_end_visibly(cells))
    odd = [name for name in suspects if name in ids]
    doubtful = [name for name in (columns if nulls else suspects) if name not in odd]
    untidy = columns_where(rows, doubtful, lambda cells: _untidy(cells, nulls))
    return rows.with_columns(
        *(trimmed(pl.col(name), nulls) for name in untidy),
        *(trimmed(pl.col(name), nulls, is_id=True) for name in odd),
    )


def columns_where(
    rows: pl.DataFrame, columns: Sequence[str], holds: Callable[[pl.Expr], pl.Expr]
) -> list[str]:
    """The columns for which a condition is true."""
    found = rows.select_seq(holds(pl.col(columns))).row(0, named=True) if columns else {}
    return [name for name, is_so in found.items() if is_so]


def begin_and_end_visibly(cells: pl.Expr) -> pl.Expr:
    """Whether the first and the last character of every cell are ASCII and not white space."""
    text = cells.cast(pl.Binary)
    first, last = (text.bin.get(at, null_on_oob=True).is_between(0x21, 0x7E) for at in (0, -1))
    return (first & last).sum() == cells.count()


def _untidy(cells: pl.Expr, nulls: Sequence[str]) -> pl.Expr:
    """Whether any cell has outer white space, or is blank without being null."""
    is_blank = cells.is_in(["", *nulls]) if nulls else cells == ""
    return ((cells.str.strip_chars().str.len_bytes() != cells.str.len_bytes()) | is_blank).any()
