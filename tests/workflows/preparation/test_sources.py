"""Which files a run reads, which table each belongs to, and what their rows carry."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import SourceError
from pipeline.core.events import Event, Notice
from pipeline.core.memory import Budget
from pipeline.core.model import KEY, LINE, LINES, SOURCE
from pipeline.extract.rows import Batch
from pipeline.extract.source_files import fingerprint, unchanged
from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.mapping.language.spec import MappingSpec
from pipeline.workflows.preparation.import_plan import plan_import
from pipeline.workflows.preparation.sources import RunSource, columns_by_table, find_run_sources, raw_rows
from tests.command import REPOSITORY, call
from tests.receipts import receipt, write_export
from tests.workbooks import workbook

TABLES = REPOSITORY / "sample_data" / "marketplace_tables"


@pytest.fixture(scope="module")
def lines() -> MappingSpec:
    return load_mapping("pos_lines").spec


@pytest.fixture(scope="module")
def tables() -> MappingSpec:
    return load_mapping("marketplace_tables").spec


def overlook(source: RunSource, batch: Batch, skipped: int) -> None: ...


def test_one_kind_of_file_is_one_table(lines: MappingSpec, tmp_path: Path):
    files = [write_export(tmp_path / f"pos_lines_{n}.csv", receipt(n)) for n in (2, 1)]
    inputs, lookups, _ = find_run_sources(lines, [str(file) for file in files])
    assert [(Path(each.file.uri).name, each.table, each.position) for each in inputs] == [
        ("pos_lines_1.csv", LINES, 0),
        ("pos_lines_2.csv", LINES, 1),
    ]
    assert lookups == []


def test_files_of_several_tables_are_distinguished_by_their_names(tables: MappingSpec):
    inputs, lookups, _ = find_run_sources(tables, [str(TABLES)])
    assert {each.table for each in inputs} >= {"headers", "items"}
    assert [each.position for each in inputs] == list(range(len(inputs)))
    assert not {each.file.uri for each in inputs} & {each.uri for each in lookups}


def test_a_table_without_a_file_and_a_file_without_a_table_are_errors(tables: MappingSpec, tmp_path: Path):
    inputs, _, _ = find_run_sources(tables, [str(TABLES)])
    headers = [each.file.uri for each in inputs if each.table == "headers"]
    with pytest.raises(SourceError, match="No file for the table `items`"):
        find_run_sources(tables, headers)
    stray = tmp_path / "stray.csv"
    stray.write_text("a\n1\n")
    with pytest.raises(SourceError, match=r"stray\.csv matches none of the mapping's tables"):
        find_run_sources(tables, [*(each.file.uri for each in inputs), str(stray)])


def test_columns_are_those_of_all_files_and_differences_are_reported(lines: MappingSpec, tmp_path: Path):
    (tmp_path / "pos_lines_1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "pos_lines_2.csv").write_text("b,c\n1,2\n")
    inputs, _, _ = find_run_sources(lines, [str(tmp_path)])
    _, columns, notices = columns_by_table(inputs, lines)
    assert columns == {LINES: ["a", "b", "c"]}
    assert any("has no a" in notice for notice in notices)
    assert any("has c" in notice for notice in notices)


def test_every_row_carries_its_file_its_line_and_its_key(lines: MappingSpec, tmp_path: Path):
    blank: dict[str, Any] = {"receipt_no": " "}
    write_export(tmp_path / "pos_lines_1.csv", [*receipt(1), *receipt(2, 1, description="two\nlines")])
    write_export(
        tmp_path / "pos_lines_2.csv",
        [*receipt(1, 1, store="S2"), *receipt(1, 1, store=" S1 "), *receipt(9, 1, **blank)],
    )
    inputs, _, _ = find_run_sources(lines, [str(tmp_path)])
    seen: list[int] = []
    found = list(raw_rows(inputs, lines, lambda _, batch, __: seen.append(batch.rows.height)))
    rows = [row for _, frame in found for row in frame.select(SOURCE, LINE, KEY).iter_rows()]
    assert [row[:2] for row in rows] == [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)]
    keys = [row[2] for row in rows]
    assert keys[0] == keys[1] == keys[4]  # Blanks around a cell do not make another sale.
    assert len({keys[0], keys[2], keys[3]}) == 3
    assert keys[5] is None
    assert sum(seen) == 6
    again = [row for _, frame in raw_rows(inputs, lines, overlook) for row in frame[KEY]]
    assert again == keys


HEAD = "receipt_no,store_code,description\n"
ODD_FILES = (
    HEAD + "1,S1,a\n1,S1,\n",
    HEAD + '2,S1,"two\nlines"\n' + HEAD + ",,\n\n2,S1,last",
    HEAD,
    "\ufeff" + HEAD + "3,S1,mark\r\n3,S1,b\r\n",
    "store_code,receipt_no,description\nS1,4,turned\n",
    HEAD.replace(",", ";") + "5;S1;semicolons\n",
    HEAD + "6,S1,good\n6,S1\n7,S1,after a short row\n",
    HEAD + "8,S1,NUL\0\n8,S1,good\n",
    HEAD + '9,S1,"' + "line\n" * 12 + '"\n',
    HEAD + '9,S1,"never closed\n10,S1,x\n',
)


def _added_up(counts: Iterable[tuple[int, int, int, int, int]]) -> dict[int, list[int]]:
    sums: dict[int, list[int]] = {}
    for source, *more in counts:
        sums[source] = [a + b for a, b in zip(sums.get(source, [0] * 4), more, strict=True)]
    return {source: found for source, found in sums.items() if any(found)}


@pytest.mark.parametrize("texts", [ODD_FILES, ODD_FILES[::-1], (*ODD_FILES[:4], *ODD_FILES[:4])])
def test_small_files_read_together_give_what_each_gives_alone(
    lines: MappingSpec, tmp_path: Path, texts: tuple[str, ...]
):
    for number, text in enumerate(texts):
        (tmp_path / f"pos_lines_{number:02}.csv").write_text(text, "utf-8", newline="")
    inputs, _, _ = find_run_sources(lines, [str(tmp_path)])

    def read(*sources: RunSource) -> tuple[list[dict[str, Any]], list[tuple[int, int, int, int, int]]]:
        seen = []

        def count(source: RunSource, batch: Batch, skipped: int) -> None:
            counts = batch.rows.height, batch.malformed.height, batch.blank, skipped
            seen.append((source.position, *counts))

        return [row for _, rows in raw_rows(sources, lines, count) for row in rows.to_dicts()], seen

    def whole(row: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in sorted(row.items()) if value is not None}

    rows, counts = read(*inputs)
    alone = [read(each) for each in inputs]
    assert list(map(whole, rows)) == [whole(row) for found, _ in alone for row in found]
    assert _added_up(counts) == _added_up(one for _, seen in alone for one in seen)


def test_small_files_are_parsed_together(lines: MappingSpec, tmp_path: Path):
    for number in range(5):
        write_export(tmp_path / f"pos_lines_{number}.csv", receipt(number))
    inputs, _, _ = find_run_sources(lines, [str(tmp_path)])
    ended: dict[int, str | None] = {}
    frames = [
        rows
        for _, rows in raw_rows(
            inputs, lines, overlook, lambda each, mark: ended.update({each.position: mark})
        )
    ]
    assert [frame[SOURCE].unique().to_list() for frame in frames] == [[0, 1, 2, 3, 4]]
    assert ended == {each.position: fingerprint(each.file) for each in inputs}


def test_a_file_that_grew_shrank_or_went_is_no_longer_what_was_found(lines: MappingSpec, tmp_path: Path):
    file = write_export(tmp_path / "pos_lines.csv", receipt(1))
    (found,), _, _ = find_run_sources(lines, [str(file)])
    assert unchanged(found.file)
    with file.open("a") as stream:
        stream.write("more")
    assert not unchanged(found.file)
    file.unlink()
    assert not unchanged(found.file)


@pytest.mark.parametrize(("mark", "written"), [(";", '";"'), ("\t", r'"\t"'), ("|", '"|"')])
def test_another_delimiter_than_the_mappings_is_named(tmp_path: Path, mark: str, written: str):
    text = write_export(tmp_path / "pos_lines.csv", []).read_text("utf-8")
    (tmp_path / "pos_lines.csv").write_text(text.replace(",", mark), "utf-8")
    result = call("check", "-m", "pos_lines", tmp_path / "pos_lines.csv")
    assert result.code == 2
    assert f"`source: {{csv: {{delimiter: {written}}}}}`" in result.stderr


@pytest.mark.parametrize(("free_bytes", "named"), [(90 * 18 * 100, True), (1 << 20, False)])
def test_a_sheet_for_which_there_is_too_little_memory_is_named(
    free_bytes: int, named: bool, tmp_path: Path
) -> None:
    with (REPOSITORY / "sample_data/pos_lines.csv").open(newline="") as file:
        rows = list(csv.reader(file))[:102]
    path = workbook(tmp_path / "a.xlsx", rows)
    said: list[Event] = []
    plan_import(load_mapping("pos_lines"), [str(path)], said.append, budget=Budget(free_bytes=free_bytes))
    assert any(isinstance(each, Notice) and "save it as CSV" in each.message for each in said) == named
