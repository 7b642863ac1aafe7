"""The CSV reader against a slow reference, cell by cell and line by line, for any text and any bytes."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.model import Dialect
from pipeline.extract.csv_reader import CsvReader
from pipeline.extract.source_files import find_sources
from tests.fuzzing import examples

pytestmark = pytest.mark.slow

SHARED = Path(__file__).parents[3] / "shared" / "data"
Row = tuple[int, list[str | None]]
COMMA = Dialect(delimiter=",")


def record_at(text: str, at: int, dialect: Dialect) -> tuple[list[str], int] | None:
    """The cells of the record at `at` and where it ends, read character by character; None if broken."""
    cells, cell, quoted, closed = [], "", text[at] == dialect.quote, False
    at += quoted
    while at < len(text):
        char, following = text[at], text[at + 1 : at + 2]
        if dialect.escape and char == dialect.escape and not closed:
            cell, at = cell + following, at + 2
        elif quoted and not closed:
            doubled = char == following == dialect.quote
            closed = char == dialect.quote and not doubled
            cell, at = cell + ("" if closed else char), at + 1 + doubled
        elif char == dialect.delimiter:
            cells.append(cell)
            cell, quoted, closed = "", following == dialect.quote, False
            at += 1 + quoted
        elif char in "\r\n":
            return [*cells, cell], at + (2 if char + following == "\r\n" else 1)
        elif closed:
            return None
        else:
            cell, at = cell + char, at + 1
    return None


def records(text: str, dialect: Dialect) -> Iterator[tuple[int, str, list[str] | None]]:
    """Line, text and cells (None where broken) of each record, comments and blank lines left out."""
    at, line = 0, 1
    text += "" if text.endswith(("\r", "\n")) else "\n"
    while at < len(text):
        first_line = physical_lines(text[at:])[0]
        found = record_at(text, at, dialect)
        if dialect.comment and first_line.startswith(dialect.comment):
            end = at + len(first_line)
        elif found:
            end = found[1]
            if first_line.strip("\r\n"):
                yield line, re.sub(r"(\r\n|\n|\r)\Z", "", text[at:end]), found[0]
        else:
            end = at + len(first_line)
            yield line, first_line.rstrip("\r\n"), None
        line += len(physical_lines(text[at:end]))
        at = end


def physical_lines(text: str) -> list[str]:
    return io.StringIO(text, newline="").readlines()


def judged(
    text: str, width: int, dialect: Dialect, first: int = 1
) -> tuple[list[Row], list[tuple[int, str]]]:
    """What the reader must give for the text below the header, which begins at line `first`."""
    rows: list[Row] = []
    malformed: list[tuple[int, str]] = []
    for line, raw, cells in records(text, dialect):
        inner = physical_lines(raw)[1:-1]
        whole = sum([len(r[2] or ()) for r in records(text, dialect)][:1] == [width] for text in inner)
        right = len(cells or ()) == width
        if cells and width > 2 and whole >= (10 if right else 2) and 2 * whole >= len(inner):
            malformed.append((first + line - 1, physical_lines(raw)[0].rstrip("\r\n")))
            again = judged("".join(physical_lines(raw)[1:]), width, dialect, first + line)
            rows, malformed = rows + again[0], malformed + again[1]
        elif cells and right and "\0" in "".join(cells):
            malformed.append((first + line - 1, raw))
        elif cells and right:
            rows.append((first + line - 1, [cell or None for cell in cells]))
        elif cells is None or any(cell.strip() for cell in cells):
            malformed.append((first + line - 1, raw))
    return rows, malformed


def read(
    content: bytes, dialect: Dialect, block_bytes: int = 1 << 20
) -> tuple[list[Row], list[tuple[int, str]]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.csv"
        path.write_bytes(content)
        reader = CsvReader(find_sources([str(path)], [])[0], dialect, block_bytes)
        batches = list(reader.batches())
    rows = [(row[-1], list(row[:-1])) for batch in batches for row in batch.rows.rows()]
    return rows, [row[:2] for batch in batches for row in batch.malformed.rows()]


DIALECTS = st.sampled_from(
    [
        COMMA,
        replace(COMMA, comment="#"),
        replace(COMMA, escape="\\"),
        replace(COMMA, quote=None),
        replace(COMMA, quote=None, escape="\\"),
        replace(COMMA, quote="'", delimiter=";", comment="//"),
        replace(COMMA, delimiter="\t"),
    ]
)
TEXT = st.text(alphabet="ab,;\t\"'\n\r \\#/é\0\x0b\u2028", max_size=60)


@examples(200, fuzz=25)
@given(TEXT, DIALECTS, st.integers(1, 4), st.integers(8, 80))
@example('1,"a,2\n3,b,4\n3,b,4\n5,c",6,7\n', COMMA, 3, 60)
@example('1,"a,2\n' + "3,b,4\r\n" * 12 + '5,c",6\n', COMMA, 3, 60)
@example('5" pipe,3\n"5" pipe",3\n"open,4\n6,7\n', COMMA, 2, 60)
def test_any_text_is_read_as_the_reference_reads_it(
    text: str, dialect: Dialect, width: int, block_bytes: int
) -> None:
    # The header fills the first block, so that what follows may hold anything, NUL bytes included.
    names = ["x" * block_bytes, "y", "z", "w"][:width]
    header = (dialect.delimiter or ",").join(names) + "\n"
    rows, malformed = judged(text, width, dialect, first=2)
    assert read((header + text).encode(), dialect, len(header)) == (rows, malformed)


@examples(120, fuzz=25)
@given(st.binary(max_size=80), st.sampled_from(["utf-8", "cp1252", "latin-1", "shift_jis"]))
@example(b"\xef\xbb\xbf", "utf-8")
@example(b"\xef\xbb\xbfa,b\nc,d,e\n\xef\xbb\xbff,g\nh\n", "utf-8")
def test_any_bytes_are_all_accounted_for(content: bytes, encoding: str) -> None:
    dialect = replace(COMMA, encoding=encoding, on_encoding_error="replace")
    text = content.decode(encoding, "replace")
    header = b"x,yyyyyyyyyyyy\n"
    assert read(header + content, dialect, len(header)) == judged(text, 2, dialect, first=2)


@examples(80, fuzz=25)
@given(
    st.lists(st.lists(st.text(alphabet="ab,;\"' \n\r\té\U0001f600"), min_size=3, max_size=3), max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(['"', "'"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]),
    st.sampled_from([16, 64, 1 << 20]),
)
def test_what_is_written_is_read(
    table: list[list[str]], delimiter: str, quote: str, end: str, quoting: int, encoding: str, extra: int
) -> None:
    if quoting == csv.QUOTE_MINIMAL and end != "\r\n":  # csv.writer then leaves the other line break unquoted
        table = [[cell.translate({10: " ", 13: " "}) for cell in row] for row in table]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quotechar=quote, lineterminator=end, quoting=quoting)
    writer.writerow(["first", "second", "third"])
    expected: list[Row] = []
    for row in table:
        expected.append((len(physical_lines(text.getvalue())) + 1, [cell or None for cell in row]))
        writer.writerow(row)
    dialect = Dialect(quote=quote, encoding=encoding)
    assert read(text.getvalue().encode(encoding), dialect, 64 + extra) == (expected, [])


def real_files() -> list[Path]:
    return sorted(path for path in SHARED.rglob("*.csv") if "cases" not in path.parts)


@pytest.mark.skipif(not real_files(), reason="the real exports are not here")
def test_real_exports_are_read_as_the_csv_module_reads_them() -> None:
    for path in real_files():
        content = path.read_bytes()
        encoding = "cp1252" if path.name == "pizza_types.csv" else "utf-8"
        reader = CsvReader(find_sources([str(path)], [])[0], Dialect(encoding=encoding))
        reader.close()
        text = io.StringIO(content.decode(encoding).removeprefix("\ufeff"), newline="")
        slow = csv.reader(text, delimiter=reader.delimiter)
        expected, before = [], 0
        for row in slow:
            if row:
                expected.append((before + 1, [cell or None for cell in row]))
            before = slow.line_num
        assert read(content, Dialect(encoding=encoding)) == (expected[1:], []), path
