from __future__ import annotations

import csv
import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.frames import NO_PROBLEMS, QUARANTINE
from pipeline.core.model import KEY, LINE, SOURCE, TX, Dialect
from pipeline.core.storage.directories import directory_at
from pipeline.core.storage.partition_frames import MappedTransactions, RawTransactions
from pipeline.core.text.safe_text import neutral
from pipeline.extract.readers import open_reader
from pipeline.extract.source_files import find_sources
from pipeline.validation.outcomes import decide_outcomes
from pipeline.validation.policy import Policy
from pipeline.validation.quarantine import (
    RowsForm,
    discard_part,
    file_names,
    finish,
    write_malformed,
    write_part,
)
from tests.validation.frames import NOW, headers, items, problems

SOURCES = ["till-1.csv", "till-2.csv"]
COLUMNS_OF_LINES = {"lines": ["receipt", "total", "note"]}
FORM = RowsForm(columns=COLUMNS_OF_LINES)


def raw_of(headers: pl.DataFrame, lines: pl.DataFrame, rows: Mapping[str, pl.DataFrame]) -> RawTransactions:
    """One partition's rows, for one or several tables."""
    members = lines.select(TX, SOURCE, LINE)
    return RawTransactions(headers, lines, lines.clear(), NO_PROBLEMS, members, rows=rows)


def placed(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pl.DataFrame:
    schema = {SOURCE: pl.UInt32, LINE: pl.Int64, KEY: pl.UInt64, TX: pl.UInt32}
    return pl.DataFrame(rows, schema={**schema, **dict.fromkeys(columns, pl.String)}, orient="row")


def unit(*cells: tuple[int, int, str, str | None, str | None]) -> RawTransactions:
    """Rows of layout `lines`: source, line, receipt (its number is TX and key), total, note."""
    rows = [
        {SOURCE: s, LINE: n, KEY: int(r), TX: int(r), "receipt": r, "total": t, "note": o}
        for s, n, r, t, o in cells
    ]
    frame = placed(rows, ["receipt", "total", "note"])
    first = frame.unique(TX, keep="first", maintain_order=True)
    return raw_of(first.drop(KEY), frame.drop(KEY), {"lines": frame.drop(TX)})


def write_one(run: Path, shaped: RawTransactions, *changes: dict[str, Any], number: int = 0) -> None:
    places = shaped.headers.select(SOURCE, LINE).rows()
    frames = [{**change, SOURCE: s, LINE: n} for change, (s, n) in zip(changes, places, strict=True)]
    mapped = MappedTransactions(headers(*frames), items(*[{} for _ in frames]))
    write_part(directory_at(run), number, decide_outcomes(mapped, Policy(), NOW), shaped, SOURCES)


def read_rows(path: Path, dialect: Dialect | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    (file,) = find_sources([str(path)], [])
    batches = list(open_reader(file, dialect or Dialect()).batches())
    return pl.concat(b.rows for b in batches), pl.concat(b.malformed for b in batches)


def read_csv(run: Path) -> list[dict[str, str]]:
    with (run / "quarantine.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


BAD = {"total": None, "total|raw": "N/A"}
DRAFT = {"status|outcome": "draft", "status|raw": "DRAFT"}


def test_one_row_a_reason_with_file_line_id_and_source_row(tmp_path: Path) -> None:
    shaped = unit((0, 2, "0", "1", None), (0, 9, "1", "N/A", "é"), (1, 4, "2", "3", None))
    write_one(tmp_path, shaped, {}, {**BAD, "currency": "?"}, {**DRAFT, "external_id": "R2"})
    finish(tmp_path, FORM)
    frame = pl.read_parquet(tmp_path / "quarantine" / "*.parquet")
    assert tuple(frame.columns) == QUARANTINE
    assert frame.select(pl.exclude("raw", "message")).rows() == [
        ("rejected", "currency_invalid", "currency", "?", "till-1.csv", 9, "R1"),
        ("rejected", "total_invalid", "total", "N/A", "till-1.csv", 9, "R1"),
        ("dropped", "draft", "status", "DRAFT", "till-2.csv", 4, "R2"),
    ]
    assert json.loads(frame["raw"][0]) == {"receipt": "1", "total": "N/A", "note": "é"}
    reported = read_csv(tmp_path)
    assert [row["code"] for row in reported] == ["currency_invalid", "total_invalid", "draft"]
    assert (reported[0]["line"], reported[0]["message"]) == ("9", frame["message"][0])


def test_rows_to_mend_are_all_rows_of_rejected_transactions_and_no_others(tmp_path: Path) -> None:
    shaped = unit(
        (0, 2, "0", "1", None),
        (0, 3, "1", "N/A", "a,b"),
        (0, 4, "2", "2", None),
        (0, 5, "1", "N/A", 'c"d\ne'),
        (1, 2, "1", None, "=1+1"),
    )
    write_one(tmp_path, shaped, {}, BAD, DRAFT)
    (path,) = finish(tmp_path, FORM)
    assert path == tmp_path / "quarantine_rows.csv"
    rows, malformed = read_rows(path)
    assert malformed.is_empty()
    assert rows.drop(LINE).rows() == [
        ("1", "N/A", "a,b"),
        ("1", "N/A", 'c"d\ne'),
        ("1", None, "=1+1"),
    ]
    assert not (tmp_path / "quarantine_rows.parts").exists()


def test_malformed_rows_come_last_as_they_were(tmp_path: Path) -> None:
    write_one(tmp_path, unit((0, 2, "0", "N/A", None)), BAD)
    broken = problems(
        {"code": "malformed_row", LINE: 8, "raw": '7,8,9,"open'},
        {"code": "malformed_row", LINE: 5, "raw": "7,8"},
    )
    write_malformed(directory_at(tmp_path), broken, SOURCES)
    (path,) = finish(tmp_path, FORM)
    assert path.read_text("utf-8-sig").splitlines()[1:] == ['"0","N/A",', "7,8", '7,8,9,"open']
    reported = [(row["code"], row["line"], row["external_id"], row["raw"]) for row in read_csv(tmp_path)]
    assert reported[1:] == [("malformed_row", "5", "", "7,8"), ("malformed_row", "8", "", '7,8,9,"open')]


def test_what_has_no_line_comes_last(tmp_path: Path) -> None:
    rows = [{"code": "malformed_row", LINE: line, "raw": str(line)} for line in (None, 8, 5)]
    write_malformed(directory_at(tmp_path), problems(*rows), SOURCES)
    finish(tmp_path, FORM)
    assert [row["line"] for row in read_csv(tmp_path)] == ["5", "8", ""]
    part = pl.read_parquet(tmp_path / "quarantine" / "*.parquet")
    assert part["line"].to_list() == [5, 8, None]


def test_malformed_rows_alone_keep_the_header(tmp_path: Path) -> None:
    write_malformed(directory_at(tmp_path), problems({"code": "malformed_row", "raw": "7,8"}), SOURCES)
    (path,) = finish(tmp_path, FORM)
    assert path.read_text("utf-8-sig") == '"receipt","total","note"\n7,8\n'


def test_a_unit_written_again_replaces_what_it_gave_before(tmp_path: Path) -> None:
    shaped = unit((0, 2, "0", "N/A", None))
    write_one(tmp_path, shaped, BAD)
    write_one(tmp_path, unit((0, 7, "0", "N/A", None)), BAD, number=1)
    write_one(tmp_path, shaped, {})
    finish(tmp_path, FORM)
    assert [row["line"] for row in read_csv(tmp_path)] == ["7"]
    assert read_rows(tmp_path / "quarantine_rows.csv")[0].height == 1


def test_a_unit_can_be_taken_away_again(tmp_path: Path) -> None:
    write_one(tmp_path, unit((0, 2, "0", "N/A", None)), BAD)
    write_one(tmp_path, unit((0, 7, "0", "N/A", None)), BAD, number=1)
    discard_part(directory_at(tmp_path), 0)
    discard_part(directory_at(tmp_path), 2)
    finish(tmp_path, FORM)
    assert [row["line"] for row in read_csv(tmp_path)] == ["7"]
    assert read_rows(tmp_path / "quarantine_rows.csv")[0].height == 1


def test_a_clean_run_has_an_empty_list_and_no_rows_to_mend(tmp_path: Path) -> None:
    write_one(tmp_path, unit((0, 2, "0", "1", None)), {})
    assert finish(tmp_path, FORM) == []
    assert (tmp_path / "quarantine.csv").read_text("utf-8").splitlines() == [
        ",".join(f'"{name}"' for name in QUARANTINE)
    ]
    assert pl.read_parquet(tmp_path / "quarantine" / "*.parquet").shape == (0, len(QUARANTINE))


def test_units_with_other_columns_line_up(tmp_path: Path) -> None:
    write_one(tmp_path, unit((0, 2, "0", "N/A", "n")), BAD)
    other = unit((1, 2, "0", "N/A", "n"))
    swapped = other.rows["lines"].select(SOURCE, LINE, KEY, "note", "receipt")
    write_one(tmp_path, raw_of(other.headers, other.lines, {"lines": swapped}), BAD, number=1)
    finish(tmp_path, FORM)
    rows, _ = read_rows(tmp_path / "quarantine_rows.csv")
    assert rows.select("receipt", "total", "note").rows() == [("0", "N/A", "n"), ("0", None, "n")]


def test_several_tables_give_a_file_each_with_every_row_of_the_key(tmp_path: Path) -> None:
    cells = {SOURCE: 0, KEY: 5, "id": "5"}
    heads = placed([{**cells, LINE: 2, TX: 0}, {**cells, LINE: 3, TX: 0}], ["id"])
    lines = placed(
        [{**cells, SOURCE: 1, LINE: 9, TX: 0}, {SOURCE: 1, LINE: 10, TX: 1, KEY: 6, "id": "6"}], ["id"]
    )
    keyless = placed([{SOURCE: 0, LINE: 4, TX: 2, KEY: None, "id": None}], ["id"])
    firsts = pl.concat([heads.head(1), lines.tail(1), keyless])
    rows = {"headers": pl.concat([heads, keyless]).drop(TX), "items": lines.drop(TX)}
    shaped = raw_of(firsts.drop(KEY), lines.drop(KEY), rows)
    write_one(tmp_path, shaped, BAD, {}, BAD)
    form = RowsForm(names={"headers": "orders_1.csv", "items": "lines_1.csv"})
    head_file, item_file = finish(tmp_path, form)
    assert head_file == tmp_path / "quarantine_rows" / "orders_1.csv"
    assert head_file.read_text("utf-8-sig").splitlines() == ['"id"', '"5"', '"5"', ""]
    assert item_file.read_text("utf-8-sig").splitlines() == ['"id"', '"5"']
    assert stat.S_IMODE(head_file.parent.stat().st_mode) == 0o700


def test_tables_without_a_name_of_their_own_do_not_share_a_file() -> None:
    paths = {RowsForm().path(Path("run"), table) for table in ("headers", "items", "lines")}
    assert paths == {
        Path("run/quarantine_rows/headers.csv"),
        Path("run/quarantine_rows/items.csv"),
        Path("run/quarantine_rows.csv"),
    }


def test_rows_of_tables_get_names_that_the_inputs_match() -> None:
    first = {"headers": "data/orders-7.csv.gz", "items": "s3://b/lines.csv.gz", "payments": "tenders.csv"}
    inputs = {"headers": ["orders*.csv*"], "items": ["*.csv.gz"], "payments": ["tenders.csv"]}
    assert file_names(first, inputs) == {
        "headers": "orders-7.csv",
        "items": "lines.csv.gz",
        "payments": "tenders.csv",
    }


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_rows_to_mend_keep_a_format_that_the_mapping_insists_on(tmp_path: Path, form: Any) -> None:
    write_one(tmp_path, unit((0, 2, "0", "N/A", "ü")), BAD)
    (path,) = finish(tmp_path, RowsForm(format=form, columns=COLUMNS_OF_LINES))
    assert path.name == f"quarantine_rows.{form}"
    rows, _ = read_rows(path)
    assert rows.select("receipt", "total", "note").rows() == [("0", "N/A", "ü")]


DIALECTS = [
    Dialect(),
    Dialect(delimiter=";"),
    Dialect(delimiter="\t", quote="'"),
    Dialect(delimiter=",", escape="\\"),
    Dialect(delimiter="|", skip_lines=3, encoding="cp1252"),
    Dialect(delimiter=",", header=("receipt", "total", "note")),
    Dialect(delimiter=",", comment="#"),
]


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS, ids=repr)
@pytest.mark.parametrize(
    "note", ["a,b;c|d\t\"e\" 'f'", "x\\", 'back\\"slash', "two\nlines", "#7", "=1", "'", " é ", None]
)
def test_the_same_dialect_reads_them_back_cell_by_cell(
    tmp_path: Path, dialect: Dialect, note: str | None
) -> None:
    write_one(tmp_path, unit((0, 2, "0", "N/A", note)), BAD)
    (path,) = finish(tmp_path, RowsForm(dialect))
    rows, malformed = read_rows(path, dialect)
    assert malformed.is_empty()
    assert rows.select("receipt", "total", "note").rows() == [("0", "N/A", note)]


@pytest.mark.parametrize(
    ("note", "line"), [("n", "0    N/A  n"), ("two words", "0    N/A  two words"), (None, "0    N/A ")]
)
def test_rows_of_fixed_width_have_each_cell_at_its_place(tmp_path: Path, note: str | None, line: str) -> None:
    dialect = Dialect(positions={"receipt": "1-4", "total": "6-9", "note": "11-"})
    write_one(tmp_path, unit((0, 2, "0", "N/A", note)), BAD)
    (path,) = finish(tmp_path, RowsForm(dialect, columns=COLUMNS_OF_LINES))
    assert path.read_text("utf-8-sig") == f"{line}\n"
    rows, malformed = read_rows(path, dialect)
    assert malformed.is_empty()
    trimmed = rows.select(pl.col("receipt", "total", "note").str.strip_chars())
    assert trimmed.rows() == [("0", "N/A", note)]


def test_cells_of_fixed_width_may_share_a_place_and_stand_in_any_order(tmp_path: Path) -> None:
    dialect = Dialect(positions={"receipt": "5-6", "total": "1-3", "note": "1-3"})
    write_one(tmp_path, unit((0, 2, "0", "N/A", None), (0, 3, "1", None, "x")), BAD, BAD)
    (path,) = finish(tmp_path, RowsForm(dialect, columns=COLUMNS_OF_LINES))
    assert path.read_text("utf-8-sig").splitlines() == ["N/A 0 ", "x   1 "]


def test_rows_between_blanks_have_quotes_where_a_cell_is_blank(tmp_path: Path) -> None:
    dialect = Dialect(delimiter="whitespace")
    write_one(tmp_path, unit((0, 2, "0", "N/A", None), (0, 3, "1", "N/A", "a b")), BAD, BAD)
    (path,) = finish(tmp_path, RowsForm(dialect, columns=COLUMNS_OF_LINES))
    assert path.read_text("utf-8-sig").splitlines()[1:] == ['"0" "N/A" ""', '"1" "N/A" "a b"']
    rows, _ = read_rows(path, dialect)
    assert rows.select("receipt", "total", "note").rows() == [("0", "N/A", None), ("1", "N/A", "a b")]


def test_rows_without_quotes_are_written_as_they_are(tmp_path: Path) -> None:
    dialect = Dialect(delimiter="|", quote=None, skip_lines=2)
    write_one(tmp_path, unit((0, 2, "0", "N/A", 'a"b')), BAD)
    (path,) = finish(tmp_path, RowsForm(dialect, columns=COLUMNS_OF_LINES))
    assert path.read_text("utf-8-sig") == '\n\nreceipt|total|note\n0|N/A|a"b\n'


def test_a_message_names_the_row_that_has_the_problem_where_it_is_not_the_first(tmp_path: Path) -> None:
    shaped = unit((0, 2, "0", "1", None), (0, 9, "0", "2", None), (1, 4, "0", "3", None))
    own = headers({SOURCE: 0, LINE: 2})
    found = problems(
        *(
            {TX: 0, "code": code, "message": "Odd", SOURCE: source, LINE: line}
            for code, source, line in (("a", 0, 2), ("b", 0, 9), ("c", 1, 4), ("d", 1, 2))
        )
    )
    decided = decide_outcomes(MappedTransactions(own, items({}), found), Policy(), NOW)
    write_part(directory_at(tmp_path), 0, decided, shaped, SOURCES)
    finish(tmp_path, FORM)
    rows = read_csv(tmp_path)
    assert [row["message"] for row in rows] == [
        "Odd",
        "Odd (line 9)",
        "Odd (till-2.csv line 4)",
        "Odd (till-2.csv line 2)",
    ]
    assert {(row["source"], row["line"], row["external_id"]) for row in rows} == {("till-1.csv", "2", "R0")}
    assert {json.loads(row["raw"])["total"] for row in rows} == {"1"}


@pytest.mark.parametrize(("most", "lines"), [(2, ["3", "5", "2"]), (3, ["2", "3", "5"])])
def test_the_list_is_sorted_where_it_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, lines: list[str]
) -> None:
    monkeypatch.setattr("pipeline.validation.quarantine._SORTED_UP_TO", most)
    write_one(tmp_path, unit((0, 5, "0", "N/A", None), (0, 3, "1", "N/A", None)), BAD, BAD)
    write_one(tmp_path, unit((0, 2, "0", "N/A", None)), BAD, number=1)
    finish(tmp_path, FORM)
    assert [row["line"] for row in read_csv(tmp_path)] == lines


def test_files_are_private(tmp_path: Path) -> None:
    write_one(tmp_path, unit((0, 2, "0", "N/A", None)), BAD)
    finish(tmp_path, FORM)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


HOSTILE = ['=HYPERLINK("http://x")', "+1", "-1", "@a", "\tx", "\rx", "\nx", "'=1", "''-1", "\uff1d1"]


@pytest.mark.slow
@pytest.mark.parametrize("cell", HOSTILE)
def test_no_cell_of_the_list_starts_a_formula(tmp_path: Path, cell: str) -> None:
    write_one(tmp_path, unit((0, 2, "0", cell, None)), {"total": None, "total|raw": cell})
    finish(tmp_path, FORM)
    (row,) = read_csv(tmp_path)
    assert row["value"] == "'" + cell
    assert json.loads(row["raw"])["total"] == cell


def test_control_characters_of_the_list_are_pictures(tmp_path: Path) -> None:
    cell = "\x1b[31mred\x00\x7f"
    write_one(tmp_path, unit((0, 2, "0", cell, None)), {"total": None, "total|raw": cell})
    finish(tmp_path, FORM)
    text = (tmp_path / "quarantine.csv").read_text("utf-8")
    assert "␛[31mred␀␡" in text
    assert "\x1b" not in text


@given(st.text(st.sampled_from("=+-@'a1\t\r\n"), max_size=6))
def test_taking_one_apostrophe_off_gives_the_cell_back(cell: str) -> None:
    shown = pl.select(neutral(pl.lit(cell))).item()
    assert shown in (cell, "'" + cell)
    assert shown == "" or shown[0] not in "=+-@\t\r\n"
    stripped = cell.lstrip("'")
    assert (shown != cell) == (stripped != "" and stripped[0] in "=+-@\t\r\n")
