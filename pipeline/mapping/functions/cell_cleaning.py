"""Raw cells as a mapping sees them: trimmed, and blank ones null.

Ids are trimmed of more than white space. Byte order marks, zero-width spaces, marks of direction and the
like stand at the ends of cells that were copied, or joined from files. Nobody sees them, and two ids that
look alike would be two sales.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import polars as pl

_INVISIBLE: Final = r"[\p{DI}\p{Cf}\p{Cc}\p{Z}]"
"""What shows no ink: ignorable characters, marks of format, control characters, and blanks of all kinds."""
_OUTER: Final = rf"^{_INVISIBLE}+|{_INVISIBLE}+$"


def stripped(text: pl.Expr, *, is_id: bool = False) -> pl.Expr:
    """The text without outer white space; an id also without other outer characters that cannot be seen."""
    return text.str.replace_all(_OUTER, "") if is_id else text.str.strip_chars()


def blank(text: pl.Expr, nulls: Sequence[str], *, is_id: bool = False) -> pl.Expr:
    """Whether a cell says nothing: null, only white space, or one of the words in `nulls`."""
    trimmed = stripped(text, is_id=is_id)
    return trimmed.is_null() | trimmed.is_in(["", *nulls])


def trimmed(text: pl.Expr, nulls: Sequence[str], *, is_id: bool = False) -> pl.Expr:
    """The cell without what `stripped` takes off; null where it is blank."""
    return pl.when(~blank(text, nulls, is_id=is_id)).then(stripped(text, is_id=is_id))


def nonblank(text: pl.Expr) -> pl.Expr:
    """The text, or null where it is empty; for texts that are trimmed already."""
    return pl.when(text != "").then(text)


def cleaned(
    rows: pl.DataFrame, columns: Sequence[str], nulls: Sequence[str], ids: Collection[str] = ()
) -> pl.DataFrame:
    """Trim the cells of `columns` and make blank ones null; those of `ids` as ids.

    Most columns of most exports need nothing. Their outer bytes tell that of nearly all of them, at a quarter
    of the cost of writing them anew; comparing lengths tells it of the others, at half of it.
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
    """Those of the columns of which something holds."""
    found = rows.select_seq(holds(pl.col(columns))).row(0, named=True) if columns else {}
    return [name for name, is_so in found.items() if is_so]


def begin_and_end_visibly(cells: pl.Expr) -> pl.Expr:
    """Whether the first and the last character of every cell are ASCII, and no white space."""
    text = cells.cast(pl.Binary)
    first, last = (text.bin.get(at, null_on_oob=True).is_between(0x21, 0x7E) for at in (0, -1))
    return (first & last).sum() == cells.count()


def _untidy(cells: pl.Expr, nulls: Sequence[str]) -> pl.Expr:
    """Whether any cell has outer white space, or is blank without being null."""
    is_blank = cells.is_in(["", *nulls]) if nulls else cells == ""
    return ((cells.str.strip_chars().str.len_bytes() != cells.str.len_bytes()) | is_blank).any()
