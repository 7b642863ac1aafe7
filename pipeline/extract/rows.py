"""The protocol of all readers, and the batches of raw string rows that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import polars as pl

from pipeline.core.model import LINE

MALFORMED_SCHEMA: Final = pl.Schema({LINE: pl.Int64(), "raw": pl.String(), "message": pl.String()})


_NO_MALFORMED: Final = pl.DataFrame(schema=MALFORMED_SCHEMA)
_NO_LINES: Final = pl.Series(LINE, [], pl.Int64)


@dataclass(frozen=True)
class Batch:
    """Some rows of one file, in the file's order.

    Attributes:
        rows: One row a source row. Every source column as String (an empty cell is null, nothing else is
            changed), then LINE: the 1-based physical line the row starts on (CSV, JSON lines) or the
            row's number (Parquet).
        malformed: One row for each row that could not be read: LINE, `raw` its text, `message`.
        replaced: LINE of each row in which undecodable bytes became U+FFFD.
        blank: How many rows of another width than the header were left out because all their cells are blank.
    """

    rows: pl.DataFrame
    malformed: pl.DataFrame = field(default_factory=_NO_MALFORMED.clone)
    replaced: pl.Series = field(default_factory=_NO_LINES.clone)
    blank: int = 0


NUL_MESSAGE: Final = "a cell holds the character NUL (U+0000), which is no text"


def lines_with_nul(rows: pl.DataFrame) -> pl.Series:
    """LINE of each row with a NUL character in a cell: no server keeps such a text as it is."""
    names = [name for name, kind in rows.schema.items() if kind == pl.String]
    if not names:
        return rows[LINE].clear()
    return rows.filter(pl.any_horizontal(pl.col(names).str.contains("\0", literal=True)))[LINE]


class Reader(Protocol):
    """Reads one file as batches of rows.

    Attributes:
        columns: The source columns, in order, under usable and unique names.
        header: The same as they stand in the file, where they differ from what a mapping can use.
        notices: Sentences about what a person should know of these names.
    """

    columns: list[str]
    header: list[str]
    notices: list[str]

    @property
    def fingerprint(self) -> str | None:
        """That of the file, once its rows were read; None where that does not read all its bytes."""
        ...

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order, in bounded memory; call it once. At its end the file is closed."""
        ...

    def cells(self, raw: str) -> list[str]:
        """The cells of a malformed row as far as they can be separated; an empty list where they cannot."""
        ...

    def close(self) -> None:
        """Close the file; needed only where `batches` is not read to its end."""
        ...


_INVISIBLE: Final = " \t\r\n\u00a0\u200b\ufeff"
"""What may surround a name in a header; a byte order mark does where files were joined."""

_EMPTY: Final = ("", "[]", "{}")
"""Cells without anything in them; the last two are the text of a list and of an object without members."""


def without_empty_rows(
    rows: pl.DataFrame, reader: Reader, first: Sequence[str], nulls: Sequence[str]
) -> pl.DataFrame:
    """Leave out rows that are not records: all cells are blank, or each repeats the name of its column.

    Args:
        rows: Rows of the reader.
        reader: It knows the header.
        first: Columns in which few cells are blank. They are checked first, and mostly no others have to be.
        nulls: Words that mean an empty cell.
    """
    if rows.is_empty():
        return rows
    names = sorted(reader.columns, key=lambda name: name not in first)
    titles = dict(zip(reader.columns, (title.strip(_INVISIBLE) for title in reader.header), strict=True))

    def is_blank(name: str) -> pl.Expr:
        cell = pl.col(name).str.strip_chars()
        return cell.is_null() | cell.is_in([*_EMPTY, *nulls])

    def is_title(name: str) -> pl.Expr:
        cell = pl.col(name).str.strip_chars(_INVISIBLE)
        return cell == titles[name] if titles[name] else is_blank(name)

    empty = pl.concat([_where_all(rows, names, is_blank), _where_all(rows, names, is_title)])
    if empty.is_empty():
        return rows
    return rows.filter(~pl.int_range(pl.len(), dtype=pl.UInt32).is_in(empty.implode()))


def _where_all(rows: pl.DataFrame, names: Sequence[str], holds: Callable[[str], pl.Expr]) -> pl.Series:
    """Places of the rows in which a condition holds for every column, tested only where it still may."""
    places = rows.select(pl.arg_where(holds(names[0]))).to_series()
    for name in names[1:]:
        if places.is_empty():
            break
        places = places.filter(rows.select(pl.col(name).gather(places)).select(holds(name)).to_series())
    return places
