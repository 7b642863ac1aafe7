"""Text files in which each column has its place in the line, streamed block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.model import LINE, Dialect, column_place
from pipeline.core.text.header_names import usable_names
from pipeline.extract.delimiters import whole_lines
from pipeline.extract.rows import MALFORMED_SCHEMA, NUL_MESSAGE, Batch, lines_with_nul
from pipeline.extract.text_reader import TextReader

_TEXT: Final = "text"
_PADDING: Final = " \t\f\x1a"
"""What blank text is made of; reports have form feeds, and old programs write 0x1A at the end of a file."""
_CUT_OFF: Final = "the line ends before its last column, and the file with it: is it still being copied?"


@dataclass(frozen=True)
class _Place:
    start: int
    length: int | None

    @classmethod
    def of(cls, text: str) -> _Place:
        """The place that a text such as `1-8` names.

        Raises:
            SourceError: It names none.
        """
        place = column_place(text)
        if place is None:
            raise SourceError(f"the dialect's `positions` have {text!r}, expected a place such as 1-8")
        first, last = place
        return cls(first - 1, None if last is None else last - first + 1)

    def cell(self) -> pl.Expr:
        """The text at this place; null where it is blank or the line ends before it."""
        text = pl.col(_TEXT).str.slice(self.start, self.length)
        return pl.when(text.str.strip_chars(_PADDING) != "").then(text)


class FixedWidthReader(TextReader):
    """Reads one file, whose dialect has `positions`; see `Reader`.

    Blank lines are no rows. A line may end early, since padding is often left out at its end.
    """

    def _start(self, dialect: Dialect) -> None:
        assert dialect.positions is not None
        self._dialect = dialect
        self.header = list(dialect.positions)
        self.columns, self.notices = usable_names(self.header)
        places = map(_Place.of, dialect.positions.values())
        self._places = dict(zip(self.columns, places, strict=True))

    def cells(self, raw: str) -> list[str]:
        """The cells of a row that could not be read, as far as it goes."""
        found = pl.DataFrame({_TEXT: [raw]}).select(
            place.cell().alias(name) for name, place in self._places.items()
        )
        return [cell or "" for cell in found.row(0)]

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; call it once.

        Raises:
            SourceError: The file cannot be read further, or has bytes that are invalid in its encoding.
        """
        with self._stream:
            line = 1
            for block in whole_lines(self._text):
                text = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
                is_ended = text.endswith(b"\n")
                texts = pl.Series(_TEXT, [text.removesuffix(b"\n").decode()]).str.split("\n").explode()
                lines = texts.to_frame().with_columns(
                    pl.Series(LINE, np.arange(line, line + len(texts)), pl.Int64)
                )
                line += len(texts)
                yield from self._batch(lines, is_ended=is_ended)

    def _batch(self, lines: pl.DataFrame, *, is_ended: bool) -> Iterator[Batch]:
        text = pl.col(_TEXT)
        lines = lines.filter(text.str.strip_chars(_PADDING) != "", pl.col(LINE) > self._dialect.skip_lines)
        if self._dialect.comment:
            lines = lines.remove(text.str.starts_with(self._dialect.comment))
        if lines.is_empty():
            return
        malformed = [pl.DataFrame(schema=MALFORMED_SCHEMA)]
        last_starts = max(place.start for place in self._places.values())
        if not is_ended and len(lines[_TEXT][-1]) <= last_starts:
            malformed.append(_malformed(lines.tail(1), _CUT_OFF))
            lines = lines.head(-1)
        rows = lines.select(*(place.cell().alias(name) for name, place in self._places.items()), LINE)
        if self._text.holds_nul:
            with_nul = pl.col(LINE).is_in(lines_with_nul(rows).implode())
            malformed.append(_malformed(lines.filter(with_nul), NUL_MESSAGE))
            rows = rows.remove(with_nul)
        yield Batch(rows, pl.concat(malformed), self._replaced(rows))


def _malformed(lines: pl.DataFrame, message: str) -> pl.DataFrame:
    return lines.select(LINE, pl.col(_TEXT).alias("raw"), pl.lit(message).alias("message"))
