"""CSV reading: cells, physical lines, malformed rows, dialects, encodings."""

from __future__ import annotations

import gzip
import os
import re
import signal
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.errors import SourceError
from pipeline.core.model import LINE, Dialect
from pipeline.extract import Reader, find_sources, framing, open_reader
from pipeline.extract.csv_reader import CsvReader
from pipeline.extract.source_files import HEADER_BYTES

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


def reader(path: Path, content: bytes, dialect: Dialect = DEFAULT) -> Reader:
    path.write_bytes(content)
    opened = open_reader(find_sources([str(path)], [])[0], dialect)
    opened.close()
    return opened


def test_the_line_column_comes_last_and_is_int64(path: Path) -> None:
    path.write_bytes(b"a\n1\n")
    (batch,) = open_reader(find_sources([str(path)], [])[0], Dialect()).batches()
    assert batch.rows.schema == pl.Schema({"a": pl.String(), LINE: pl.Int64()})


def test_malformed_rows_say_why(path: Path) -> None:
    path.write_bytes(b'a,b,c\n1,2\n1,"2"x,3\n1,"2,3\n')
    batches = open_reader(find_sources([str(path)], [])[0], Dialect()).batches()
    malformed = pl.concat([batch.malformed for batch in batches])
    messages = malformed["message"].to_list()
    assert malformed["__line"].to_list() == [2, 3, 4]
    assert messages[0] == "2 cells, expected 3"
    assert "text follows a closing quote" in messages[1]
    assert "opened and not closed" in messages[2]


@pytest.mark.parametrize("more", ["", ",extra"])
def test_two_stray_quotes_do_not_swallow_the_rows_between(path: Path, more: str) -> None:
    head, foot = f'1,"5 inch{more},2', '3,bolt 5",4'
    body = head + "\n" + "2,pipe,3\n" * 1000 + foot + "\n4,nut,5\n"
    rows, malformed = read(path, b"id,name,count\n" + body.encode())
    assert malformed == [(2, head)]
    assert [row[0] for row in rows] == list(range(3, 1005))
    assert rows[-2:] == [(1003, "3", 'bolt 5"', "4"), (1004, "4", "nut", "5")]


def test_a_quote_that_is_never_closed_does_not_swallow_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "MAX_RECORD_BYTES", 1 << 16)
    body = b'1,"open\n' + b"2,pipe\n" * 50_000
    path.write_bytes(b"id,name\n" + body)
    batches = list(CsvReader(find_sources([str(path)], [])[0], DEFAULT, block_bytes=1 << 14).batches())
    assert sum(batch.rows.height for batch in batches) == 50_000
    assert [row[:2] for batch in batches for row in batch.malformed.rows()] == [(2, '1,"open')]


def test_a_long_text_with_commas_stays_one_cell(path: Path) -> None:
    note = "Dear Sir,\nplease, as ever, deliver\n" * 9
    rows, malformed = read(path, f'id,note,total\n1,"{note}",2\n'.encode())
    assert (rows, malformed) == ([(2, "1", note, "2")], [])


def test_a_damaged_row_of_several_lines_is_reported_whole(path: Path) -> None:
    rows, malformed = read(path, b'a,b,c\n1,"x\ny",3,4\n5,6,7\n')
    assert (rows, malformed) == ([(4, "5", "6", "7")], [(2, '1,"x\ny",3,4')])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(path: Path, delimiter: str) -> None:
    head = f'id{delimiter}"a, b; c"{delimiter}total\n'
    opened = reader(path, (head + delimiter.join("123") + "\n").encode())
    assert opened.columns == ["id", "a, b; c", "total"]


def test_preamble_comments_and_quotes(path: Path) -> None:
    dialect = Dialect(delimiter=";", quote="'", comment="//", skip_lines=2)
    content = b"Report;of\n\n// made today\nid;name\n1;'a;b'\n// half-way\n2;c // d\n"
    assert read(path, content, dialect)[0] == [(5, "1", "a;b"), (7, "2", "c // d")]


def test_escaped_quotes_and_no_quotes(path: Path) -> None:
    escaped = b'a,b\n1,"5\\" pipe, \\\\"\n'
    assert read(path, escaped, Dialect(escape="\\"))[0] == [(2, "1", '5" pipe, \\')]
    assert read(path, b'a\tb\n1\t"x\n', Dialect(quote=None))[0] == [(2, "1", '"x')]


def test_a_file_without_header(path: Path) -> None:
    assert read(path, b"1,x\n2,y\n", Dialect(header=("id", "name")))[0] == [(1, "1", "x"), (2, "2", "y")]
    opened = reader(path, b"1,x\n", Dialect(header=False))
    assert opened.columns == ["column_1", "column_2"]


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        (Dialect(header=("id",)), "has 2 columns, and the mapping's `header` names 1"),
        (Dialect(skip_lines=9), "has 2 lines, and `skip_lines` is 9"),
        (Dialect(escape=";;"), "`escape` is ';;', expected one ASCII character"),
        (Dialect(delimiter='"'), "delimiter, quote must differ"),
        (Dialect(encoding="klingon"), "'klingon' is not an encoding"),
        (Dialect(encoding="base64"), "'base64' is not an encoding"),
    ],
)
def test_a_dialect_that_cannot_be_is_reported(path: Path, dialect: Dialect, message: str) -> None:
    with pytest.raises(SourceError, match=re.escape(message)):
        reader(path, b"id,name\n1,x\n", dialect)


def test_a_header_without_rows_gives_none(path: Path) -> None:
    assert read(path, b"id,name\n") == ([], [])
    assert read(path, b"id,name") == ([], [])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1", "utf-8-sig"])
def test_encodings(path: Path, encoding: str) -> None:
    content = "id;name\n1;Müller\n".encode(encoding)
    assert read(path, content, Dialect(encoding=encoding)) == ([(2, "1", "Müller")], [])


def test_a_byte_order_mark_wins_over_the_mapping(path: Path) -> None:
    assert read(path, "id;name\n1;é\n".encode("utf-16"), Dialect(encoding="cp1252"))[0] == [(2, "1", "é")]


def test_a_wrong_encoding_is_reported_with_its_place(path: Path) -> None:
    content = b"id,name\n" + b"1,caf\xc3\xa9\n" * 1000 + b"2,caf\xe9\n"
    path.write_bytes(content)
    opened = CsvReader(find_sources([str(path)], [])[0], DEFAULT, block_bytes=100)
    with pytest.raises(SourceError, match=r"sales\.csv: byte 8,013 \(0xe9, line 1,002\) is not utf-8"):
        list(opened.batches())
    assert content[8013] == 0xE9


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("block_bytes", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("packed", [False, True])
def test_the_line_of_a_byte_that_is_no_text_is_that_of_an_editor(
    path: Path, end: bytes, block_bytes: int, packed: bool
) -> None:
    content = end.join([b"id,name", *[b'1,"two\rlines\r\nand\n\none"'] * 9, b'2,"a\rcaf\xe9"', b""])
    path.write_bytes(gzip.compress(content) if packed else content)
    line = len(content[: content.index(b"\xe9")].splitlines())
    with pytest.raises(SourceError, match=rf"\(0xe9, line {line}\) is not utf-8"):
        list(CsvReader(find_sources([str(path)], [])[0], DEFAULT, block_bytes=block_bytes).batches())


def test_undecodable_bytes_are_replaced_and_reported(path: Path) -> None:
    path.write_bytes(b'id,name\n1,ok\n2,"a\nb\xe9"\n3,ok\n4,\xff,\n5,\xff\n')
    dialect = Dialect(on_encoding_error="replace")
    (batch,) = open_reader(find_sources([str(path)], [])[0], dialect).batches()
    assert batch.rows["name"].to_list() == ["ok", "a\nb\ufffd", "ok", "\ufffd"]
    assert batch.replaced.to_list() == [3, 7]
    assert batch.malformed["raw"].to_list() == ["4,\ufffd,"]


def test_names_are_made_usable_and_what_changed_is_reported(path: Path) -> None:
    names = ["\ufeffid", " total ", "gift\u00a0card", "sku", "sku", "sku#2", "", "__line", "sk\u200bu"]
    opened = reader(path, (",".join(names) + "\n").encode())
    assert opened.columns == [
        "id", "total", "gift card", "sku", "sku#3", "sku#2", "column_7", "column__line", "sku#4",
    ]  # fmt: skip
    assert "column 2 is named ' total '; it is read as 'total'" in opened.notices
    assert "column 5 is named 'sku'; it is read as 'sku#3'" in opened.notices
    assert len(opened.notices) == 6


def test_names_with_nuls_are_read_without_them(path: Path) -> None:
    row = b"1,2,3,4\n"  # many, since a file with many NULs is taken for a binary one
    opened = reader(path, b"na\0me,name,\0,id\0\n" + 500 * row)
    assert opened.columns == ["name", "name#2", "column_3", "id"]
    (batch,) = open_reader(find_sources([str(path)], [])[0], Dialect()).batches()
    assert batch.rows.drop(LINE).row(0) == ("1", "2", "3", "4")


def test_names_that_would_be_patterns_are_read_under_another_name(path: Path) -> None:
    opened = reader(path, b"*,^a.*$,^a,a*,column*\n1,2,3,4,5\n")
    assert opened.columns == ["column*", "column^a.*$", "^a", "a*", "column*#2"]
    assert opened.notices == [
        "column 1 is named '*'; it is read as 'column*'",
        "column 2 is named '^a.*$'; it is read as 'column^a.*$'",
        "column 5 is named 'column*'; it is read as 'column*#2'",
    ]


def test_look_alike_letters_in_names_are_reported(path: Path) -> None:
    opened = reader(path, "\u0415mail,\u041f\u043e\u0447\u0442\u0430,\u03a4otal\n".encode())
    assert [notice.split(":")[0] for notice in opened.notices] == [
        "column '\u0415mail' is not 'Email'",
        "column '\u03a4otal' is not 'Total'",
    ]
    assert "Cyrillic capital letter ie" in opened.notices[0]


def test_a_file_is_read_in_bounded_memory(path: Path) -> None:
    path.write_bytes(b"id,name\n" + b"1,a name of some length\n" * 200_000)
    opened = CsvReader(find_sources([str(path)], [])[0], DEFAULT, block_bytes=1 << 16)
    assert max(batch.rows.height for batch in opened.batches()) < 6_000


def test_no_signal_is_lost_while_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n" + b"1,2\n" * 2000)
    (file,) = find_sources([str(path)], [])
    caught: list[int] = []

    def send() -> None:
        for count in range(1, 201):
            os.kill(os.getpid(), signal.SIGTERM)
            deadline = time.monotonic() + 5
            while len(caught) < count and time.monotonic() < deadline:
                time.sleep(0.0005)
            if len(caught) < count:
                return

    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    try:
        sender = threading.Thread(target=send)
        sender.start()
        while sender.is_alive():
            assert sum(batch.rows.height for batch in CsvReader(file, DEFAULT).batches()) == 2000
    finally:
        sender.join()
        signal.signal(signal.SIGTERM, before)
    assert len(caught) == 200


@pytest.mark.parametrize("before", [0, 3_000])
def test_a_row_with_a_nul_character_is_malformed_wherever_it_is(tmp_path: Path, before: int) -> None:
    path = tmp_path / "any.csv"
    rows = "".join(f"{n},a thing with a rather long name,1\n" for n in range(before))
    path.write_bytes(f'id,name,n\n{rows}A,"tea\0, green",1\nB,mug,2\n'.encode())
    reader = CsvReader(find_sources([str(path)], [])[0], Dialect(delimiter=","), 1 << 14)
    batches = list(reader.batches())
    assert [row for batch in batches for row in batch.rows.rows()][before:] == [("B", "mug", "2", before + 3)]
    ((line, raw, message),) = [row for batch in batches for row in batch.malformed.rows()]
    assert (line, raw, reader.cells(raw)[0]) == (before + 2, 'A,"tea\0, green",1', "A")
    assert "NUL" in message


@pytest.mark.parametrize("skipped", [0, 1])
def test_a_header_may_be_longer_than_what_is_read_to_find_one(path: Path, skipped: int) -> None:
    path.write_bytes(b"title\n" * skipped + b"id," + b"x" * 2 * HEADER_BYTES + b",total\n1,2,3\n")
    file = find_sources([str(path)], [])[0]
    opened = open_reader(file, Dialect(skip_lines=skipped), only_header=True)
    opened.close()
    assert opened.columns == ["id", "x" * 2 * HEADER_BYTES, "total"]


@pytest.mark.parametrize(
    "row",
    [
        b'1,"' + b"x" * 140_000 + b'"',  # longer than Python's own limit of a cell
        b'"\n\n1,2"',  # quotes around all of it, and text only on a later line
    ],
)
def test_a_row_of_a_wrong_width_is_only_blank_where_all_of_it_is(path: Path, row: bytes) -> None:
    rows, malformed = read(path, b"a,b,c\n" + row + b"\n4,5,6\n")
    assert malformed == [(2, row.decode())]
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (b"a,b,c\n1,2,3\n4,5", True),
        (b'a,b,c\n1,2,3\n4,5,"six', True),
        (b"a,b,c\n1,2,3\n4,5\n", False),  # it ends with a line break
        (b"a,b,c\n4,5\n1,2,3", False),  # the last row is whole
        (b"a,b,c\n1,2,3\n4,5,6,7", False),  # too many cells
    ],
)
def test_a_file_that_ends_within_a_row_is_asked_about(path: Path, text: bytes, *, asked: bool) -> None:
    path.write_bytes(text)
    batches = open_reader(find_sources([str(path)], [])[0], DEFAULT).batches()
    (message,) = pl.concat([batch.malformed for batch in batches])["message"]
    assert message.endswith("; the file ends in this row: is it still being copied?") is asked


@pytest.mark.parametrize("first", [b"sep=;\n", b'"sep=;"\r\n', b"SEP=;\r\n"])
def test_a_line_that_states_the_delimiter_for_excel_is_no_row(path: Path, first: bytes) -> None:
    assert read(path, first + b"a;b\n1;x\n") == ([(3, "1", "x")], [])
    assert reader(path, first + b"1;x\n", Dialect(header=("a", "b"))).columns == ["a", "b"]
