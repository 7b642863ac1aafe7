"""JSON lines: one object a line, every member as text, members that are objects or lists as JSON text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

import polars as pl

from pipeline.errors import SourceError
from pipeline.extract.rows import MALFORMED_SCHEMA, Batch
from pipeline.extract.storage import SourceFile, open_text
from pipeline.extract.text import Utf8Blocks
from pipeline.model import LINE
from pipeline.names import usable_names

BLOCK_BYTES: Final = 4 << 20


class JsonLinesReader:
    """Reads one file of JSON objects, one a line.

    The columns are the members of any object in the file, in the order they first appear; to know them
    the file is read once more, before its rows. A number is written as short as it can be without losing
    value (`1.50` becomes `1.5`); one with a fraction is rounded to 17 digits. A line that is no object is
    malformed; a blank line is no row.

    Attributes:
        columns: See `Reader`.
        header: See `Reader`.
        notices: See `Reader`.
    """

    def __init__(self, file: SourceFile, block_bytes: int = BLOCK_BYTES) -> None:
        """Open the file and find its columns.

        Raises:
            SourceError: It cannot be read, is no text, or has no object.
        """
        self._file = file
        self._block_bytes = block_bytes
        names = chain.from_iterable(_member_names(lines["raw"]) for lines in self._lines())
        self._members = list(dict.fromkeys(names))
        if not self._members:
            raise SourceError(f"{file.name} has no JSON object on any line")
        self.header = self._members
        self.columns, self.notices = usable_names(self._members)

    def cells(self, _raw: str) -> list[str]:
        """None: a line that is no object has no cells."""
        return []

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; call it once.

        Raises:
            SourceError: The file cannot be read on, or is not UTF-8.
        """
        for lines in self._lines():
            parts = list(self._read(lines))
            yield Batch(
                pl.concat([rows for rows, _ in parts]), pl.concat([malformed for _, malformed in parts])
            )

    def _lines(self) -> Iterator[pl.DataFrame]:
        """Lines that are not blank: LINE and `raw`."""
        first, carry = 1, b""
        with open_text(self._file) as stream:
            for block in Utf8Blocks(stream, self._file.name, "utf-8", "error", self._block_bytes):
                whole, newline, carry = (carry + block).rpartition(b"\n")
                if newline:
                    yield _numbered(whole, first)
                    first += whole.count(b"\n") + 1
        if carry:
            yield _numbered(carry, first)

    def _read(self, lines: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Rows and malformed rows of some lines; lines that fail together are halved until they are found."""
        schema = dict.fromkeys(self._members, pl.String)
        try:
            rows = pl.read_ndjson(_joined(lines["raw"]), schema=schema)
        except pl.exceptions.PolarsError:
            if lines.height > 1:
                middle = lines.height // 2
                yield from self._read(lines[:middle])
                yield from self._read(lines[middle:])
                return
            malformed = lines.with_columns(message=pl.lit("not a JSON object"))
            yield self._named(pl.DataFrame(schema=schema), lines.clear()), malformed
        else:
            yield self._named(rows, lines), pl.DataFrame(schema=MALFORMED_SCHEMA)

    def _named(self, rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
        rows.columns = self.columns
        return rows.with_columns(pl.when(pl.all() != "").then(pl.all())).with_columns(lines[LINE])


def _numbered(block: bytes, first: int) -> pl.DataFrame:
    lines = pl.DataFrame({"raw": block.decode().split("\n")}, schema={"raw": pl.String})
    lines = lines.with_columns(pl.col("raw").str.strip_suffix("\r"))
    lines = lines.select(pl.int_range(first, first + pl.len(), dtype=pl.Int64).alias(LINE), "raw")
    return lines.filter(pl.col("raw").str.strip_chars() != "")


def _joined(lines: pl.Series) -> bytes:
    return "\n".join(lines).encode()


def _member_names(lines: pl.Series) -> list[str]:
    """The members of the objects on these lines; a line that is no object has none."""
    if not len(lines):
        return []
    try:
        return pl.read_ndjson(_joined(lines), infer_schema_length=None).columns
    except pl.exceptions.PolarsError:
        middle = len(lines) // 2
        return [] if not middle else _member_names(lines[:middle]) + _member_names(lines[middle:])
