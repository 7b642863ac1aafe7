"""Finds out what an unknown file is: format, encoding, CSV dialect, and a sample of its rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Literal

import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect, Worksheet
from pipeline.core.storage.file_formats import FileFormat
from pipeline.extract.csv_reader import DELIMITERS, CsvReader, grammar_of, split_cells
from pipeline.extract.encodings import bom_of, refuse_other_files, sniff_encoding
from pipeline.extract.excel_reader import ExcelReader
from pipeline.extract.framing import Grammar, line_ends
from pipeline.extract.jsonl_reader import JsonLinesReader
from pipeline.extract.readers import format_of, open_reader, stored_format
from pipeline.extract.rows import Reader
from pipeline.extract.source_files import LOOKED_AT, SourceFile, open_raw, open_text

_WIDE: Final = 3
"""From so many columns on, a row with one filled cell is no header."""
_MOSTLY: Final = 0.8
_MARGIN: Final = 1.25
"""How much wider rows in a file can be than the same rows without needless quotes and blanks."""
_BLOCK_BYTES: Final = 1 << 19
"""How much is read at a time: a sample ends soon, and larger blocks take as much memory again as the rest."""
_RECORDS: Final = 200
"""How many are parsed with each delimiter to find the dialect."""


@dataclass(frozen=True)
class Sniffed:
    """What was found out about a file.

    Attributes:
        file: The file.
        format: What it is.
        dialect: How to read it; only for CSV does it say anything.
        sheet: What to read of it; only for a workbook does it say anything.
        encoding_confidence: From 0 to 1: 1 for a byte order mark or a whole file of valid UTF-8; below
            that only the first mebibyte was looked at, or the encoding is a guess.
        columns: As the reader names them.
        notices: As the reader gives them.
        other_sheets: Of a workbook, the other visible sheets that have cells.
        sample: Rows of it, as the reader gives them, in the order of the file.
        edges: The places in `sample` before which rows of the file are left out; its height is one where the
            file goes on after it.
    """

    file: SourceFile
    format: FileFormat
    dialect: Dialect
    sheet: Worksheet
    encoding_confidence: float
    columns: list[str]
    notices: list[str]
    sample: pl.DataFrame
    edges: tuple[int, ...] = ()
    other_sheets: tuple[str, ...] = ()


def sniff(
    file: SourceFile, rows: int = 1000, *, spread: bool = False, sheet: Worksheet | None = None
) -> Sniffed:
    """Find out what a file is, from its first mebibyte, and read some of its rows.

    Args:
        file: The file.
        rows: How many are read at most.
        spread: Whether of a longer file also rows in the middle and at the end are read, where it can be
            read from there; otherwise the first ones.
        sheet: What to read of a workbook.

    Raises:
        SourceError: It cannot be read, is of no format that can be read, or has no columns.
    """
    format_, head = _format_and_head(file)
    dialect, confidence = _sniff_dialect(file.name, head) if format_ == "csv" else (Dialect(), 1.0)
    sheet = sheet or Worksheet()
    reader = open_reader(file, dialect, format_, sheet, block_bytes=_BLOCK_BYTES)
    others = tuple(reader.other_sheets) if isinstance(reader, ExcelReader) else ()
    if isinstance(reader, ExcelReader) and (likely := reader.likely()) != sheet:
        reader.close()
        sheet = likely
        reader = open_reader(file, dialect, format_, sheet)
    if not reader.columns:
        raise SourceError(f"{file.name} has no JSON object with a member on any line")
    try:
        sample, is_whole = _first_rows(reader, rows)
    finally:
        reader.close()
    edges: tuple[int, ...] = () if is_whole else (sample.height,)
    if edges and spread:
        sample, edges = _spread(file, format_, replace(dialect, header=tuple(reader.header)), sample)
    return Sniffed(
        file=file,
        format=format_,
        dialect=dialect,
        sheet=sheet,
        encoding_confidence=confidence,
        columns=reader.columns,
        notices=reader.notices,
        sample=sample,
        edges=edges,
        other_sheets=others,
    )


def _format_and_head(file: SourceFile) -> tuple[FileFormat, bytes]:
    """What a file is, and its first bytes as text."""
    stored = open_raw(file)
    if found := stored_format(stored):
        stored.close()
        return found, b""
    with open_text(file, stored) as stream:
        head = stream.peek()
    return format_of(file, head), head


def _first_rows(reader: Reader, rows: int) -> tuple[pl.DataFrame, bool]:
    """So many rows, and whether these are all."""
    frames: list[pl.DataFrame] = []
    found = 0
    for batch in reader.batches():
        frames.append(batch.rows.head(rows - found))
        found += batch.rows.height
        if found > rows:
            return pl.concat(frames), False
    return (pl.concat(frames) if frames else pl.DataFrame()), True


def _spread(
    file: SourceFile, format_: FileFormat, dialect: Dialect, first: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[int, ...]]:
    """Half of the rows from the beginning of a file, a quarter from its middle and a quarter from its end.

    Only its beginning where text cannot be read from another place: packed, or with characters of two bytes.
    """
    quarter = first.height // 4
    head = first.head(_RECORDS)
    size = int(_MARGIN * len(head.write_csv()) / max(head.height, 1) * quarter)
    starts = (file.size // 2, file.size - size)
    # In a short file the three places would overlap.
    if not quarter or 4 * size > starts[0] or starts[0] + size > starts[1]:
        return first, (first.height,)
    middle, end = (_rows_from(file, format_, dialect, start, size) for start in starts)
    if middle is None or end is None or not middle.height or not end.height:
        return first, (first.height,)
    parts = [first.head(2 * quarter), middle.head(quarter), end.tail(quarter)]
    edges = (2 * quarter, 2 * quarter + parts[1].height)
    return pl.concat(parts), edges


def _rows_from(
    file: SourceFile, format_: FileFormat, dialect: Dialect, start: int, size: int
) -> pl.DataFrame | None:
    """The rows in `size` bytes from the next line break on; None where a file cannot be read from there."""
    if format_ not in ("csv", "jsonl") or dialect.encoding.lower().startswith(("utf-16", "utf-32", "utf16")):
        return None
    stream = open_text(file)
    if not stream.seekable():
        stream.close()
        return None
    stream.seek(start)
    # Past the rest of a line that began before this place.
    stream.readline()
    assert isinstance(dialect.header, tuple)
    try:
        if format_ == "jsonl":
            reader: Reader = JsonLinesReader(file, size, members=dialect.header, stream=stream)
        else:
            reader = CsvReader(file, replace(dialect, skip_lines=0), size, stream=stream)
        batch = next(reader.batches(), None)
    except SourceError:
        # The sample ends within a quoted cell, or its bytes are not text.
        return None
    finally:
        stream.close()
    return batch.rows if batch else None


def _sniff_dialect(name: str, head: bytes) -> tuple[Dialect, float]:
    """Find a CSV file's dialect, and how sure its encoding is (0 to 1)."""
    encoding, confidence = sniff_encoding(head, whole=len(head) < LOOKED_AT)
    refuse_other_files(name, head, encoding)
    bom = bom_of(head)
    text = head[bom[0] if bom else 0 :].decode(encoding, "replace")
    return _dialect_of(text.encode(), encoding), confidence


def _dialect_of(text: bytes, encoding: str) -> Dialect:
    text += b"" if text.endswith(b"\n") else b"\n"
    comment = "#" if text.startswith(b"#") else None
    marks = Dialect(quote=_quote_of(text), escape=_escape_of(text), comment=comment, encoding=encoding)
    tables = {mark: _Table.of(text, grammar_of(marks, mark)) for mark in DELIMITERS}
    delimiter = max(tables, key=lambda mark: tables[mark].score)
    table = tables[delimiter]
    titles = text[table.start :].partition(b"\n")[0].decode()
    return Dialect(
        delimiter=next((long for long in _LONG if _made_of(titles, long, delimiter)), delimiter),
        quote=marks.quote,
        escape=marks.escape,
        comment=comment,
        skip_lines=len(line_ends(text[: table.start])),
        header=table.has_header or table.names or False,
        encoding=encoding,
    )


_UNNAMED: Final = "unnamed"
_LONG: Final = ("\t|\t", "~|~", "|~|", "||")


def _made_of(titles: str, long: str, short: str) -> bool:
    """Whether each delimiter that was found in a header is a part of a longer one."""
    return 0 < titles.count(short) == titles.count(long) * long.count(short)


@dataclass(frozen=True)
class _Table:
    """The text seen with one delimiter: rows of the commonest width, and where the first of them starts.

    `above` is the row above them.
    """

    start: int
    width: int
    score: float
    rows: list[list[str]]
    above: Sequence[str] = ()

    @classmethod
    def of(cls, text: bytes, grammar: Grammar) -> _Table:
        spans = list(islice(grammar.spans(text), _RECORDS))
        rows = [split_cells(text[start:end].decode(), grammar) for start, end in spans]
        if not rows:
            return cls(0, 0, 0.0, [])
        widths = Counter(map(len, rows))
        # Rows of a single cell are titles or notes, so they do not count.
        width = max(widths, key=lambda width: (widths[width] * (width > 1), width))
        # Of a title above the table only one cell is filled, where a spreadsheet wrote all rows alike wide.
        is_row = [len(row) == width and (width < _WIDE or sum(map(bool, row)) > 1) for row in rows]
        first = is_row.index(True) if True in is_row else 0
        # Text before the table is narrower than it; a first row that is wider is a header with a fault.
        start = spans[first][0] if all(len(row) <= width for row in rows[:first]) else 0
        share = widths[width] / len(rows)
        return cls(
            start,
            width,
            # The width only decides between delimiters that split equally many rows alike.
            share * (width > 1) + width / 1000,
            [row for row in rows[first:] if len(row) == width],
            rows[first - 1] if first else (),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of columns where the row above the table lacks one; otherwise empty.

        Some programs end each row with a delimiter, and others do not name the column of row numbers.
        """
        above = self.above
        if len(above) + 1 != self.width or len(above) < 2 or not all(above):
            return ()
        if any(_VALUE.fullmatch(cell.strip()) for cell in above):
            return ()
        is_last = not any(row[-1].strip() for row in self.rows)
        counts = len({row[0] for row in self.rows}) == len(self.rows) and all(
            row[0].strip().isdigit() for row in self.rows
        )
        return (_UNNAMED, *above) if counts and not is_last else (*above, _UNNAMED)

    @property
    def has_header(self) -> bool:
        """Whether the first row names columns: it holds no number, date or blank where others have some.

        A few columns may be named by a number, such as years.
        """
        if not self.rows:
            return False
        first, *below = ([bool(_VALUE.fullmatch(cell.strip())) for cell in row] for row in self.rows)
        if not any(first):
            return True
        values = (
            [sum(column) > len(below) * _MOSTLY for column in zip(*below, strict=True)] if below else first
        )
        named = sum(is_value and not here for is_value, here in zip(values, first, strict=True))
        return bool(named > sum(first))


_VALUE: Final = re.compile(r"[-+($€£]*\d[\d.,:/ T()-]*[%Z]?|[^@\s]+@[^@\s]+\.[a-z]+", re.IGNORECASE)


def _quote_of(text: bytes) -> Literal['"', "'"]:
    single = len(re.findall(rb"(?:^|[,;\t|])'[^'\r\n]*'(?=[,;\t|\r\n])", text, re.MULTILINE))
    # Apostrophes are common in texts, so there must be a quoted cell in every line and no double quote.
    return "'" if b'"' not in text and single > text.count(b"\n") else '"'


def _escape_of(text: bytes) -> Literal["\\"] | None:
    # A backslash before a cell's own closing quote is a path's; before a quote amid text it escapes.
    return "\\" if re.search(rb'[^\\]\\"[^",;\t|\r\n]', text) else None
