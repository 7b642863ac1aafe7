"""Excel workbooks: every cell as the text that it shows, and what is odd about a sheet."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect, Worksheet
from pipeline.extract import Reader, find_sources, open_reader
from pipeline.extract.excel_reader import _texts
from pipeline.extract.rows import NUL_MESSAGE
from pipeline.extract.sniff import sniff
from tests.fuzzing import examples
from tests.workbooks import workbook

HEAD = ["id", "total"]


def opened(path: Path, sheet: Worksheet | None = None) -> Reader:
    return open_reader(find_sources([str(path)], [])[0], Dialect(), sheet=sheet)


def rows_of(reader: Reader) -> list[tuple[str | int | None, ...]]:
    return [row for batch in reader.batches() for row in batch.rows.rows()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "number_format", "expected"),
    [
        ("00123", "", "00123"),
        (" x ", "", " x "),
        ("a\nb", "", "a\nb"),
        (12, "", "12"),
        (-3.0, "0.00", "-3"),
        (12.5, "", "12.5"),
        (0.1 + 0.2, "", "0.3"),
        (1234.1 - 1000, "", "234.1"),
        (33333333.33, "#,##0.00", "33333333.33"),
        (0.15, "0%", "0.15"),
        (1e-7, "", "0.0000001"),
        (123456789012345, "", "123456789012345"),
        (123456789012, "0.00E+00", "123456789012"),
        (4111111111111111, "", "4111111111111111"),
        (2**53 - 1, "", "9007199254740991"),
        (2**53 + 2, "", "9.007199254740994E+15"),
        (1.23456789012346e18, "", "1.23456789012346E+18"),
        (True, "", "TRUE"),
        (False, "", "FALSE"),
        (date(2024, 1, 2), "d/m/yy", "2024-01-02"),
        (datetime(2024, 1, 2, 13, 4, 5), "dd/mm/yyyy hh:mm", "2024-01-02T13:04:05"),
        (datetime(2024, 1, 2, 13, 4, 5, 678000), "hh:mm:ss.000", "2024-01-02T13:04:05.678"),
        (time(13, 4, 5), "hh:mm:ss", "13:04:05"),
        (timedelta(hours=30, minutes=15), "[h]:mm:ss", "30:15:00"),
        ("", "", None),
    ],
)
def test_values_become_the_text_that_they_show(
    tmp_path: Path, value: Any, number_format: str, expected: str | None
):
    path = workbook(tmp_path / "any.xlsx", [["id", "x"], ["1", value]], {"x": number_format})
    assert rows_of(opened(path)) == [("1", expected, 2)]


@given(st.lists(st.decimals(min_value=-(10**9), max_value=10**9, places=4), min_size=50))
@examples(20)
def test_an_amount_has_the_digits_that_were_typed(amounts: list[Decimal]):
    noisy = [float(amount) * 3 / 3 for amount in amounts]
    assert list(map(Decimal, _texts(noisy))) == amounts


def test_a_column_of_several_types_keeps_each_as_it_is():
    cells = ["a", 1.0, True, date(2024, 1, 2), time(1, 2), "", 2.5]
    assert list(_texts(cells)) == ["a", "1", "TRUE", "2024-01-02", "01:02:00", None, "2.5"]


def test_midnight_has_a_time_where_the_column_has_times(tmp_path: Path):
    at = [datetime(2024, 1, 2), datetime(2024, 1, 2, 9, 30)]
    path = workbook(tmp_path / "any.xlsx", [["at"], *([each] for each in at)], {"at": "yyyy-mm-dd hh:mm"})
    assert [row[0] for row in rows_of(opened(path))] == ["2024-01-02T00:00:00", "2024-01-02T09:30:00"]


@pytest.mark.parametrize("date_1904", [False, True])
def test_days_are_counted_from_what_the_workbook_says(tmp_path: Path, date_1904: bool):
    options = {"date_1904": date_1904}
    path = workbook(tmp_path / "a.xlsx", [["at"], [date(2024, 2, 29)]], {"at": "d mmm yy"}, **options)
    assert rows_of(opened(path)) == [("2024-02-29", 2)]


def test_rows_have_the_numbers_that_the_sheet_shows_and_blank_ones_are_left_out(tmp_path: Path):
    path = workbook(tmp_path / "a.xlsx", [[], [None, "id", "total"], [], [None, "a", 1], [], [None, "b", 2]])
    assert rows_of(opened(path)) == [("a", "1", 4), ("b", "2", 6)]


def test_columns_without_a_name_are_read_where_they_have_cells(tmp_path: Path):
    path = workbook(tmp_path / "a.xlsx", [["id", None, None, "total"], ["a", None, "x", 1]])
    reader = opened(path)
    assert reader.columns == ["id", "column_2", "total"]
    assert rows_of(reader) == [("a", "x", "1", 2)]


def test_a_header_below_a_title_is_named_by_its_row_and_found_for_a_draft(tmp_path: Path):
    head = ["id", "total", "date", "store", "sku"]
    title: list[list[object]] = [["Sales of May"], [], ["from", "1 May"]]
    path = workbook(tmp_path / "a.xlsx", [*title, head, ["a", 1, "x", "y", "z"], ["b", 2, "x"]])
    assert [row[-1] for row in rows_of(opened(path, Worksheet(header_row=4)))] == [5, 6]
    found = sniff(find_sources([str(path)], [])[0])
    assert (found.format, found.sheet, found.columns) == ("xlsx", Worksheet(header_row=4), head)
    for row in (3_000, 2):
        with pytest.raises(SourceError, match=rf"no column names in row {row}.*header_row"):
            opened(path, Worksheet(header_row=row))


def test_the_first_visible_sheet_with_cells_is_read_and_the_others_are_named(tmp_path: Path):
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(path) as book:
        book.add_worksheet("Empty")
        hidden = book.add_worksheet("Secret")
        hidden.write_row(0, 0, HEAD)
        for name in ("Sales", "Käufe & Co."):
            sheet = book.add_worksheet(name)
            sheet.write_row(0, 0, HEAD)
            sheet.write_row(1, 0, [name, 1])
        book.get_worksheet_by_name("Sales").activate()
        hidden.hide()
    reader = opened(path)
    assert rows_of(reader) == [("Sales", "1", 2)]
    (notice,) = reader.notices
    assert "'Sales' is read" in notice
    assert "Secret (hidden), Käufe & Co." in notice
    assert "Empty" not in notice
    named = opened(path, Worksheet(sheet="Käufe & Co."))
    assert (rows_of(named), named.notices) == ([("Käufe & Co.", "1", 2)], [])
    assert sniff(find_sources([str(path)], [])[0]).sheet == Worksheet(sheet="Sales")
    with pytest.raises(SourceError, match=r"no sheet 'sales'; did you mean 'Sales'\?.*Secret, Sales"):
        opened(path, Worksheet(sheet="sales"))
    with pytest.raises(SourceError, match="'Empty' has no column names in row 1"):
        opened(path, Worksheet(sheet="Empty"))


def test_a_workbook_without_cells_says_so(tmp_path: Path):
    with pytest.raises(SourceError, match="no visible sheet with cells"):
        opened(workbook(tmp_path / "a.xlsx", []))


def _with_errors(path: Path) -> Path:
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 1, [*HEAD, "note, please"])
        sheet.write_row(1, 1, ["a", 1, 't="e"'])
        sheet.write_string(2, 1, "b")
        sheet.write_formula(2, 2, "=1/0", None, "#DIV/0!")
        sheet.write_formula(2, 3, "=VLOOKUP(1,A1:B2,3)", None, "#REF!")
        sheet.write_formula(3, 2, "=NA()", None, "#N/A")
        sheet.write_row(4, 1, ["c", 2])
    return path


def test_formula_errors_make_their_row_malformed_and_name_the_cell(tmp_path: Path):
    reader = opened(_with_errors(tmp_path / "a.xlsx"))
    (batch,) = reader.batches()
    assert batch.rows.rows() == [("a", "1", 't="e"', 2), ("c", "2", None, 5)]
    assert batch.malformed["__line"].to_list() == [3, 4]
    first, second = batch.malformed["message"]
    assert "C3 (#DIV/0!), D3 (#REF!)" in first
    assert "`source: {excel: {errors: blank}}`" in first
    assert "C4 (#N/A)" in second
    assert [reader.cells(raw) for raw in batch.malformed["raw"]] == [
        ["b", "#DIV/0!", "#REF!"],
        ["", "#N/A", ""],
    ]


def test_formula_errors_can_be_read_as_empty_cells(tmp_path: Path):
    reader = opened(_with_errors(tmp_path / "a.xlsx"), Worksheet(errors="blank"))
    assert rows_of(reader) == [("a", "1", 't="e"', 2), ("b", None, None, 3), ("c", "2", None, 5)]


def test_hidden_rows_and_merged_cells_are_named_and_read(tmp_path: Path):
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("May")
        sheet.merge_range("A1:B1", "Title")
        for n, row in enumerate([HEAD, *([f"s{n}", n] for n in range(3, 12))], 1):
            sheet.write_row(n, 0, row)
        for row in (3, 5, 6, 7):
            sheet.set_row(row, None, None, {"hidden": True})
        sheet.merge_range("A10:A11", "s10")
    reader = opened(path, Worksheet(header_row=2))
    hidden, merged = reader.notices
    assert "'May' has 4 hidden rows (4, 6–8)" in hidden
    assert "(A10:A11)" in merged
    assert [row[-1] for row in rows_of(reader)] == [*range(3, 12)]


def test_formulas_that_no_one_computed_are_named(tmp_path: Path):
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("May")
        sheet.write_row(0, 0, HEAD)
        sheet.write_row(1, 0, ["a", "=1+1"])
    assert ["not computed" in notice for notice in opened(path).notices] == [True]


def _with_last_cell(tmp_path: Path, cell: str) -> Path:
    plain = workbook(tmp_path / "plain.xlsx", [HEAD, ["a", 1]])
    row = f'<row r="1048576"><c r="XFD1048576"{cell}</row></sheetData>'
    return _edited(plain, tmp_path / "edited.xlsx", lambda xml: xml.replace("</sheetData>", row))


def test_a_stray_cell_does_not_take_all_memory(tmp_path: Path):
    with pytest.raises(SourceError, match=r"'Sales' span A1:XFD1048576.*Delete stray cells"):
        opened(_with_last_cell(tmp_path, "><v>1</v></c>"))


def test_cells_with_a_colour_and_no_value_are_no_stray_cells(tmp_path: Path):
    assert rows_of(opened(_with_last_cell(tmp_path, ' s="1"/>'))) == [("a", "1", 2)]


# ── Files that cannot be read ───────────────────────────────────────────────────────────────────────


def _zip(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "<x/>")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is an old Excel file.*Save it as .xlsx"),
        (_zip("xl/workbook.bin"), "is an .xlsb workbook.*Save it as .xlsx"),
        (_zip("content.xml", "mimetype"), "is an OpenDocument file.*Save it as .xlsx"),
        (_zip("[Content_Types].xml", "word/document.xml"), "document or spreadsheet of an Office program"),
        (_zip("xl/workbook.xml"), "cannot be read as an Excel workbook.*save it again"),
        (b"PK\x03\x04" + bytes(60), "cut short or damaged.*being copied"),
    ],
)
def test_other_files_of_office_programs_say_what_they_are(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "a.xlsx").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        opened(tmp_path / "a.xlsx")
    with pytest.raises(SourceError, match=message):
        sniff(find_sources([str(tmp_path / "a.xlsx")], [])[0])


def test_a_workbook_with_a_password_says_so():
    with pytest.raises(SourceError, match=r"protected by a password.*Protect Workbook"):
        opened(Path(__file__).with_name("protected.xlsx"))


def test_without_the_extra_the_line_to_install_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = workbook(tmp_path / "a.xlsx", [HEAD, ["a", 1]])
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(SourceError, match=re.escape("pip install 'omneo-import[excel]'")):
        opened(path)


@pytest.mark.slow
def test_a_damaged_workbook_is_an_error_or_is_read_and_never_stops_otherwise(tmp_path: Path):
    whole = workbook(tmp_path / "whole.xlsx", [HEAD, *([f"s{n}", n] for n in range(50))]).read_bytes()
    expected = rows_of(opened(tmp_path / "whole.xlsx"))
    path = tmp_path / "damaged.xlsx"
    for at in range(4, len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            found = rows_of(opened(path))
        except SourceError:
            continue
        assert found == expected


def test_leading_zeros_that_only_a_format_shows_are_named(tmp_path: Path):
    rows = [["id", "sku", "zip", "n"], ["a", 123, "00123", 7]]
    reader = opened(workbook(tmp_path / "a.xlsx", rows, {"sku": "00000", "zip": "00000", "n": "0.00"}))
    assert rows_of(reader) == [("a", "123", "00123", "7", 2)]
    (notice,) = reader.notices
    assert "`sku` with leading zeros (00000)" in notice
    assert "`{column: sku, then: [{pad: {width: 5}}]}`" in notice


# ── XML as other programs write it ──────────────────────────────────────────────────────────────────


def _edited(source: Path, path: Path, edit: Callable[[str], str]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            text = old.read(name).decode()
            new.writestr(name, edit(text) if name.startswith("xl/worksheets/") else text)
    return path


def _prefixed(xml: str) -> str:
    return re.sub(r"<(/?)(?=[a-zA-Z])", r"<\1x:", xml).replace("xmlns=", "xmlns:x=")


def _single_quotes(xml: str) -> str:
    return re.sub(r'="([^"]*)"', r"='\1'", xml)


@pytest.mark.parametrize("edit", [_prefixed, _single_quotes])
def test_facts_are_found_however_the_xml_is_written(tmp_path: Path, edit: Callable[[str], str]):
    plain = tmp_path / "plain.xlsx"
    with xlsxwriter.Workbook(plain) as book:
        sheet = book.add_worksheet("May")
        sheet.write_row(0, 0, HEAD)
        sheet.write_row(1, 0, ["a", 1])
        sheet.write_formula(2, 1, "=NA()", None, "#N/A")
        sheet.set_row(1, None, None, {"hidden": True})
        sheet.merge_range("A3:A4", "")
    expected = opened(plain)
    reader = opened(_edited(plain, tmp_path / "edited.xlsx", edit))
    assert reader.notices == expected.notices
    (batch,), (like,) = reader.batches(), expected.batches()
    assert batch.rows.equals(like.rows)
    assert batch.malformed.equals(like.malformed)
    assert batch.malformed.height == 1


@pytest.mark.parametrize("block_bytes", [64, 257, 4096])
def test_facts_do_not_depend_on_where_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
):
    path = _with_errors(tmp_path / "a.xlsx")
    (expected,) = opened(path).batches()
    monkeypatch.setattr("pipeline.extract.workbook._BLOCK_BYTES", block_bytes)
    (batch,) = opened(path).batches()
    assert batch.malformed.equals(expected.malformed)


def test_batches_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    table: Sequence[Sequence[object]] = [HEAD, *([f"s{n}", n / 4] for n in range(100))]
    path = workbook(tmp_path / "a.xlsx", table)
    expected = rows_of(opened(path))
    monkeypatch.setattr("pipeline.extract.excel_reader.BATCH_ROWS", 7)
    assert rows_of(opened(path)) == expected
    assert pl.Series([row[-1] for row in expected]).to_list() == [*range(2, 102)]


HEADER = "".join(
    f'<c r="{c}1" t="inlineStr"><is><t>{name}</t></is></c>' for c, name in zip("AB", HEAD, strict=True)
)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ('<c r="A2"><v>1</v></c><c r="B2" t="s"><v/></c>', ("1", None)),
        ('<c r="A2"><v>1</v></c><c r="B2" t="inlineStr"/>', ("1", None)),
        ('<c r="A2"><v>1</v></c><c r="B2" t="str"><f>VLOOKUP(1,A:B,2)</f><v>00123</v></c>', ("1", "00123")),
        (
            '<c r="A2"><v>1</v></c><c r="B2" t="d"><v>2024-01-31T10:20:30</v></c>',
            ("1", "2024-01-31T10:20:30"),
        ),
        ('<c r="A2" t="b"><v>1</v></c><c r="B2" t="str"><v>true</v></c>', ("TRUE", "true")),
        ("<c><v>1</v></c><c><v>2</v></c>", ("1", "2")),
        ('<c r="A2" t="str"><v>a_x0009_b</v></c>', ("a\tb", None)),
    ],
)
def test_cells_are_read_however_programs_write_them(
    tmp_path: Path, cells: str, expected: tuple[str | None, ...]
):
    data = f'<sheetData><row r="1">{HEADER}</row><row r="2">{cells}</row></sheetData>'
    plain = workbook(tmp_path / "plain.xlsx", [HEAD, ["a", 1]])
    path = _edited(plain, tmp_path / "a.xlsx", lambda xml: re.sub("<sheetData>.*</sheetData>", data, xml))
    assert rows_of(opened(path)) == [(*expected, 2)]


def test_a_cell_with_nul_makes_its_row_malformed(tmp_path: Path):
    cell = '<c r="A3" t="str"><v>b_x0000_</v></c>'
    plain = workbook(tmp_path / "plain.xlsx", [HEAD, ["a", "x"], [5, "y"]])
    path = _edited(plain, tmp_path / "a.xlsx", lambda xml: re.sub('<c r="A3"><v>5</v></c>', cell, xml))
    (batch,) = opened(path).batches()
    assert batch.rows["id"].to_list() == ["a"]
    assert batch.malformed.select("__line", "message").rows() == [(3, NUL_MESSAGE)]
