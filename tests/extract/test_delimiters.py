"""Delimiters of several characters, white space, and columns by position."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect, column_place
from pipeline.extract import find_sources
from pipeline.extract.csv_reader import CsvReader
from pipeline.extract.fixed_width import FixedWidthReader
from pipeline.extract.sniff import sniff
from pipeline.extract.source_files import open_text
from tests.command import call

Read = tuple[list[tuple[object, ...]], list[tuple[object, ...]]]


def read(path: Path, content: bytes, dialect: Dialect, block_bytes: int = 5 << 20) -> Read:
    """Rows as (line, cells...) and malformed rows as (line, raw)."""
    path.write_bytes(content)
    kind = FixedWidthReader if dialect.positions else CsvReader
    batches = list(kind(find_sources([str(path)], [])[0], dialect, block_bytes).batches())
    rows = [(row[-1], *row[:-1]) for batch in batches for row in batch.rows.rows()]
    return rows, [row[:2] for batch in batches for row in batch.malformed.rows()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sales.csv"


@pytest.mark.slow
@pytest.mark.parametrize("block_bytes", [3, 16, 1 << 20])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("delimiter", ["||", "\t|\t", "~|~", "§", "::"])
def test_long_delimiters_separate_as_short_ones_do(
    path: Path, delimiter: str, newline: bytes, block_bytes: int
) -> None:
    lines = ["id{}name{}note", "1{}Zoë's | ~ cup{}", "", '2{}"a {} b"{}"two', 'lines"', "3{}few", "4{}x{}y"]
    content = newline.join(line.replace("{}", delimiter).encode() for line in lines)
    rows, malformed = read(path, content, Dialect(delimiter=delimiter), block_bytes)
    assert rows == [
        (2, "1", "Zoë's | ~ cup", None),
        (4, "2", f"a {delimiter} b", f"two{newline.decode()}lines"),
        (7, "4", "x", "y"),
    ]
    assert malformed == [(6, f"3{delimiter}few")]


@pytest.mark.parametrize("block_bytes", [3, 1 << 20])
def test_white_space_is_any_number_of_blanks_and_tabs(path: Path, block_bytes: int) -> None:
    content = b'  id \t name  total\n 1   "Zo\xc3\xab \t ""B."   5 \n2 x\n\n3\ty"\t6'
    rows, malformed = read(path, content, Dialect(delimiter="whitespace"), block_bytes)
    assert rows == [(2, "1", 'Zoë \t "B.', "5"), (5, "3", 'y"', "6")]
    assert malformed == [(3, "2 x")]


def test_the_character_that_stands_in_is_no_delimiter_of_its_own(path: Path) -> None:
    rows, malformed = read(path, b"a||b\n1||x\x1fy\n", Dialect(delimiter="||"))
    assert (rows, malformed) == ([(2, "1", "x�y")], [])


def test_the_delimiter_alone_may_stand_in_quotes(path: Path) -> None:
    rows, malformed = read(path, b'a||b||c||d\nx||y||"||"||"x||""y"\n', Dialect(delimiter="||"))
    assert (rows, malformed) == ([(2, "x", "y", "||", 'x||"y')], [])


def test_a_delimiter_with_a_quote_or_line_break_is_refused(path: Path) -> None:
    for delimiter in ('"|', "|\n"):
        with pytest.raises(SourceError, match="holds a quote or a line break"):
            read(path, b"a\n1\n", Dialect(delimiter=delimiter))


@pytest.mark.parametrize("delimiter", ["||", "\t|\t", "~|~", "|~|", "|", "\t", ","])
def test_long_delimiters_are_found(path: Path, delimiter: str) -> None:
    lines = (delimiter.join(cells) for cells in (("id", "name", "total"), ("1", "a", "5"), ("2", "b", "6")))
    path.write_text("\n".join(lines) + "\n")
    found = sniff(find_sources([str(path)], [])[0])
    assert (found.dialect.delimiter, found.columns) == (delimiter, ["id", "name", "total"])


POSITIONS = {"id": "1-4", "name": "5-10", "total": "11-"}


@pytest.mark.parametrize("block_bytes", [3, 16, 1 << 20])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_columns_have_their_places_in_the_line(path: Path, newline: bytes, block_bytes: int) -> None:
    lines = ["SALES", "0001Zoë     5.00", " \f", "# no", "0002ab cd ", "   3   x  12.50", "0004long  -1.00 "]
    dialect = Dialect(positions=POSITIONS, skip_lines=1, comment="#")
    rows, malformed = read(path, newline.join([*map(str.encode, lines), b""]), dialect, block_bytes)
    # Padding is kept, so that rows to fix can be written as they were.
    assert rows == [
        (2, "0001", "Zoë   ", "  5.00"),
        (5, "0002", "ab cd ", None),
        (6, "   3", "   x  ", "12.50"),
        (7, "0004", "long  ", "-1.00 "),
    ]
    assert malformed == []


def test_a_place_that_is_none_is_named_and_the_file_closed(path: Path) -> None:
    path.write_bytes(b"0001")
    file = find_sources([str(path)], [])[0]
    stream = open_text(file)
    with pytest.raises(SourceError, match="`positions` have 'x-8', expected a place such as 1-8"):
        FixedWidthReader(file, Dialect(positions={"id": "1-4", "name": "x-8"}), stream=stream)
    assert stream.closed


def test_the_end_mark_of_old_programs_is_no_row(path: Path) -> None:
    rows, malformed = read(path, b"0001Zoe     5.00\r\n\x1a", Dialect(positions=POSITIONS))
    assert ([row[1] for row in rows], malformed) == (["0001"], [])


def test_a_file_that_ends_within_a_line_is_asked_about(path: Path) -> None:
    rows, malformed = read(path, b"0001Zoe     5.00\n0002Ann", Dialect(positions=POSITIONS))
    assert [row[1] for row in rows] == ["0001"]
    assert malformed == [(2, "0002Ann")]


@pytest.mark.parametrize(
    ("text", "place"),
    [("1-8", (1, 8)), ("9", (9, 9)), ("25-", (25, None)), ("3 - 4", (3, 4))]
    + [(text, None) for text in ("0-3", "8-1", "-4", "a", "", "1-2-3", "1,8")],
)
def test_places_are_first_and_last_character(text: str, place: tuple[int, int | None] | None) -> None:
    assert column_place(text) == place


MAPPING = """\
mapping: host
source: {{key: [id], csv: {csv}}}
transaction:
  external_id: id
  total: total
  transacted_at: {{column: sold, then: [{{datetime: {{formats: ["%Y%m%d"], timezone: {{constant: UTC}}}}}}]}}
items: {{external_id: id, name: name, quantity: {{constant: 1}}, price_current: total, price_sell: total}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("csv", "lines"),
    [
        ('{delimiter: "||"}', ["id||sold||name||total", "1||20240501||A || cup||x", "2||20240501||Pin||5"]),
        ('{delimiter: "whitespace"}', ["id sold name total", '1 20240501 "A cup" x', "2 20240501 Pin 5"]),
        (
            # Columns of several types of rows may overlap.
            "{positions: {id: 1-3, sold: 4-11, name: 12-17, total: 18-, other: 10-19}}",
            ["1  20240501A cup  x", "2  20240501Pin    5"],
        ),
    ],
)
def test_rows_to_fix_are_written_as_they_were_read(tmp_path: Path, csv: str, lines: list[str]) -> None:
    mapping, source = tmp_path / "m.yaml", tmp_path / "s.txt"
    mapping.write_text(MAPPING.format(csv=csv))
    source.write_text("\n".join(lines).replace("A || cup", '"A || cup"') + "\n")
    mapping.write_text(mapping.read_text().replace("key: [id]", "key: [id], optional: [other]"))
    run = ("prepare", "-m", mapping, "--workdir", tmp_path / "w", "--json")
    first = call(*run, source).summary
    assert first["transactions"]["rejected"] == 1, first
    (rows,) = Path(first["run_dir"]).glob("quarantine_rows*")
    fixed = tmp_path / "fixed.txt"
    fixed.write_bytes(rows.read_bytes().replace(b"x", b"5"))
    again = call(*run, fixed).summary
    assert again["transactions"] == {"read": 1, "accepted": 1, "dropped": 0, "rejected": 0}
