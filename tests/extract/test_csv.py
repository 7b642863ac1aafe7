"""CSV reading: cells, physical lines, malformed rows, dialects, encodings."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import SourceError
from pipeline.extract import find_sources, open_reader
from pipeline.model import LINE, Dialect

DEFAULT = Dialect()


def read(path: Path, content: bytes, dialect: Dialect = DEFAULT) -> tuple[list[tuple], list[tuple]]:
    """Rows as (line, cells...) and malformed rows as (line, raw)."""
    path.write_bytes(content)
    batches = list(open_reader(find_sources([str(path)], [])[0], dialect).batches())
    rows = [(row[-1], *row[:-1]) for batch in batches for row in batch.rows.rows()]
    return rows, [row[:2] for batch in batches for row in batch.malformed.rows()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sales.csv"


def test_cells_are_strings_and_empty_ones_null(path: Path) -> None:
    rows, malformed = read(path, b'id,total,note\n00123,17850.0,\n9007199254740993,1e5,""\n NA , x ,null\n')
    assert rows == [
        (2, "00123", "17850.0", None),
        (3, "9007199254740993", "1e5", None),
        (4, " NA ", " x ", "null"),
    ]
    assert malformed == []


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_lines_are_physical(path: Path, newline: bytes) -> None:
    lines = [
        b"\xef\xbb\xbfa,b",
        b"1,x",
        b"",
        b'2,"two',
        b"",
        b'lines"',
        b"too,many,cells",
        b"",
        b"few",
        b"3,y",
    ]
    rows, malformed = read(path, newline.join(lines))
    inner = (newline * 2).decode()
    assert rows == [(2, "1", "x"), (4, "2", f"two{inner}lines"), (10, "3", "y")]
    assert malformed == [(7, "too,many,cells"), (9, "few")]


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.csv does not exist"):
        find_sources([str(tmp_path / "nothing.csv")], [])


def test_the_line_column_comes_last_and_is_int64(path: Path) -> None:
    path.write_bytes(b"a\n1\n")
    (batch,) = open_reader(find_sources([str(path)], [])[0], Dialect()).batches()
    assert batch.rows.schema == pl.Schema({"a": pl.String(), LINE: pl.Int64()})
