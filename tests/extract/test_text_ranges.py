"""Ranges of a text file give the rows, lines and problems that the whole file gives, wherever it is cut."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect
from pipeline.extract import framing
from pipeline.extract.csv_reader import CsvReader
from pipeline.extract.jsonl_reader import JsonLinesReader, newlines
from pipeline.extract.readers import open_range
from pipeline.extract.rows import Batch
from pipeline.extract.source_files import SourceFile, find_sources
from pipeline.extract.text_ranges import FILE_START, RangeForm, TextRange
from tests.fuzzing import examples

COMMA = Dialect(delimiter=",")

Read = tuple[list[object], list[object], list[object], int]
"""Rows, malformed rows, lines with U+FFFD, and how many rows were blank."""


def read(batches: Iterable[Batch]) -> Read:
    found = list(batches)
    rows = [row for batch in found for row in batch.rows.rows()]
    malformed = [row for batch in found for row in batch.malformed.rows()]
    replaced = [line for batch in found for line in batch.replaced]
    return rows, malformed, replaced, sum(batch.blank for batch in found)


def in_ranges(file: SourceFile, reader: CsvReader | JsonLinesReader, block_bytes: int) -> tuple[Read, int]:
    """What all ranges of a file give together, and how many these are."""
    if isinstance(reader, CsvReader):
        how = reader.range_form
        assert how
        with Path(file.uri).open("rb") as stored:
            starts = list(reader.record_starts(stored, block_bytes))
    else:
        how, starts = RangeForm("jsonl", Dialect(), newlines), reader.starts
    edges = [FILE_START, *starts[1:]]
    parts = [
        TextRange(start, end, how.format, how.dialect)
        for start, end in pairwise([*edges, None])
        for end in [end.byte if end else file.size]
    ]
    if isinstance(reader, CsvReader):
        parts[0] = replace(parts[0], dialect=reader._dialect)
    found = [read(open_range(file, part, reader.header).batches()) for part in parts]
    rows, malformed, replaced = ([row for one in found for row in one[at]] for at in range(3))
    return (rows, malformed, replaced, sum(one[3] for one in found)), len(parts)


def check_csv(content: bytes, dialect: Dialect, block_bytes: int) -> int:
    """Compare; give the number of ranges."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.csv"
        path.write_bytes(content)
        (file,) = find_sources([str(path)], [])
        try:
            whole = CsvReader(file, dialect)
            expected = read(whole.batches())
        except SourceError:
            return 0
        if CsvReader(file, dialect).range_form is None:
            return 1
        found, parts = in_ranges(file, CsvReader(file, dialect), block_bytes)
        assert found == expected
        return parts


DIALECTS = st.sampled_from(
    [
        COMMA,
        Dialect(),
        replace(COMMA, comment="#"),
        replace(COMMA, escape="\\"),
        replace(COMMA, quote=None),
        replace(COMMA, quote="'", comment="//"),
        replace(COMMA, skip_lines=2),
        replace(COMMA, header=False),
        replace(COMMA, header=("one", "two", "three")),
    ]
)
HEADER = f"x,{'y' * 400},z\n"
"""Long, so that a start with some NULs is not taken for a binary file."""

# What is in exports more often than single characters: quoted cells of several lines, repeated headers, blank
# and broken rows.
PIECES = st.one_of(
    st.sampled_from(
        [
            *("a,b,c\n", 'a,"b\nb",c\n', 'a,"b\r\n""b"",",c\r\n', "x,y,z\n", "\n", "\r\n", ",,\n", "a,b,c\r"),
            *(
                'a,"b,c\n',
                'a,5" pipe,c\n',
                '"a"b,c,d\n',
                "a,b\n",
                "a,b,c,d\n",
                "sep=,\n",
                "# no row\n",
                "\ufeff",
            ),
            *("a,\0,c\n", "é,€,c\n", "a,\ufffd,c\n", 'a,b\\,",c\n', "total,,\n", '"', "'a\n',b,c\n"),
            *('1,"a,2\n' + "3,b,4\n" * 3 + '5,c",6\n', '1,"a,2\r\n' + "3,b,4\r\n" * 12 + '5,c",6\r\n'),
        ]
    ),
    st.text(alphabet="ab,;\t\"'\n\r \\#é\0", max_size=12),
)


@pytest.mark.slow
@examples(150, fuzz=25)
@given(st.lists(PIECES, max_size=25), DIALECTS, st.integers(1, 60))
@example(["x,y,z\n", 'a,"b\nb",c\n' * 3, 'a,"b,c\n', "a,b,c\n" * 3], COMMA, 1)
@example(["a,b,c\r\n" * 5, "\r", "\n" * 4, "a,b,c"], COMMA, 7)
def test_any_text_may_be_cut_at_any_record(pieces: list[str], dialect: Dialect, block_bytes: int) -> None:
    check_csv((HEADER + "".join(pieces)).encode(), dialect, block_bytes)


@pytest.mark.slow
@examples(75, fuzz=25)
@given(
    st.lists(st.one_of(PIECES.map(str.encode), st.binary(max_size=8)), max_size=25),
    st.sampled_from(["utf-8", "cp1252", "latin-1"]),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"sep=,\r\n"]),
    st.integers(1, 60),
)
def test_so_may_bytes_that_are_no_text(pieces: list[bytes], encoding: str, mark: bytes, block: int) -> None:
    dialect = replace(COMMA, encoding=encoding, on_encoding_error="replace")
    check_csv(mark + HEADER.encode() + b"".join(pieces), dialect, block)


def test_every_record_can_begin_a_range() -> None:
    assert check_csv(b"x,y,z\n" + b'a,"b\nb",c\n' * 20, COMMA, 1) == 20


def test_bytes_that_are_no_text_are_named_by_their_place_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(b"x,y,z\n" + b"a,b,c\n" * 20 + b"a,\xff,c\n")
    (file,) = find_sources([str(path)], [])
    with pytest.raises(SourceError) as whole:
        read(CsvReader(file, COMMA).batches())
    with pytest.raises(SourceError) as cut:
        in_ranges(file, CsvReader(file, COMMA), 12)
    assert str(cut.value) == str(whole.value)


def test_a_file_of_other_characters_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "any.csv"
    for dialect in (
        replace(COMMA, encoding="utf-16"),
        replace(COMMA, encoding="shift_jis"),
        replace(COMMA, encoding="gbk"),
        replace(COMMA, on_encoding_error="replace"),
        Dialect(delimiter="||"),
    ):
        path.write_bytes("x,y,z\na,b,c\n".encode(dialect.encoding))
        (file,) = find_sources([str(path)], [])
        assert CsvReader(file, dialect).range_form is None


@pytest.mark.parametrize("cell", [b"b" * 200, b"b\n" * 100, b'""' * 100])
def test_a_cell_may_be_longer_than_many_ranges(cell: bytes) -> None:
    assert check_csv(b"x,y,z\n" + (b'a,"%s",c\n' % cell) * 5, COMMA, 8) == 5


def test_a_record_that_is_too_long_is_broken_wherever_blocks_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_RECORD_BYTES", 64)
    text = b'a,b\n"' + b"c\n" * 31 + b'",d\n' + b"e,f\n" * 40
    for more in (b"", b'"' + b"c\n" * 100):
        found = []
        for block in range(1, 200):
            stream = io.BytesIO(text + more)
            blocks = iter(lambda: stream.read(block), b"")  # noqa: B023 (read to its end right here)
            at, lines = 0, []
            for framed in framing.frames(blocks, framing.Grammar(",").frame):
                lines += [at + line for line in framed.lines.tolist()]
                at += framed.used_lines
            found.append(lines)
        assert all(lines == found[0] for lines in found)


LINES = st.sampled_from(
    [
        *(b'{"a": "1", "b": 2}\n', b'{"a": "x\\ny"}\r\n', b"\n", b"\r\n", b"no object\n", b'{"a":\r"1"}\n'),
        *(b'{"a": "\\u0000"}\n', b'{"c": [1, {"d": 2}]}\n', b'{"a": "1"', '{"a": "é€"}\n'.encode(), b"   \n"),
    ]
)


@pytest.mark.slow
@examples(75, fuzz=25)
@given(st.lists(LINES, max_size=25), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.integers(1, 60))
def test_json_lines_may_be_cut_behind_any_of_them(lines: list[bytes], mark: bytes, block: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.jsonl"
        path.write_bytes(mark + b'{"b": "0"}\n' + b"".join(lines))
        (file,) = find_sources([str(path)], [])
        whole = JsonLinesReader(file)
        expected = read(whole.batches())
        # A byte order mark must fit into a block. The order in which members are found may depend on blocks.
        reader = JsonLinesReader(file, 3 + block)
        reader.header = whole.header
        found, _ = in_ranges(file, reader, block)
        assert found == expected
        assert bool(reader.starts) == (not mark)
