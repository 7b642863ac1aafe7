"""Large text files as ranges: what `prepare` leaves behind is what it leaves without them, byte for byte."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.events import ignore
from pipeline.core.memory import USUAL, Budget
from pipeline.core.model import KEY, LINES
from pipeline.engine.local import LocalEngine
from pipeline.extract.jsonl_reader import JsonLinesReader
from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.workflows.preparation import input_splits as splits
from pipeline.workflows.preparation.import_plan import plan_import
from pipeline.workflows.prepare import PrepareOptions, prepare
from tests.receipts import COLUMNS, Row, receipt, write_export

pytestmark = pytest.mark.slow

PARTITION_BYTES = 1_200


@pytest.fixture(autouse=True)
def small_files_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_LEAST_BYTES", 0)


def sales(count: int) -> list[Row]:
    """Good and bad sales of one to four rows, some with cells of several lines."""
    rows: list[Row] = []
    for n in range(count):
        cells = {"sale_datetime": f"{1 + n % 28:02}/07/2024 {n % 24:02}:{n % 60:02}:00"}
        if n % 7 == 0:
            cells["description"] = 'five inches (5"),\nand a line\r\nmore'
        if n % 11 == 0:
            cells["sale_total"] = "much"
        if n % 13 == 0:
            cells["status"] = "DRAFT"
        rows += receipt(n, 1 + n % 4, **cells)
    return rows


def clean(path: Path, count: int) -> None:
    write_export(path, sales(count))


def carriage_returns(path: Path, count: int) -> None:
    write_export(path, sales(count), newline="\r")


def mixed_line_ends(path: Path, count: int) -> None:
    write_export(path, sales(count))
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"".join(line + (b"\n", b"\r\n", b"\r")[n % 3] for n, line in enumerate(lines)))


def head_and_mark(path: Path, count: int) -> None:
    write_export(path, sales(count), newline="\r\n")
    path.write_bytes(b"\xef\xbb\xbfsep=,\r\n" + path.read_bytes())


def not_utf8(path: Path, count: int) -> None:
    write_export(path, sales(count))
    path.write_bytes(path.read_bytes().replace(b"Thing", b"Th\xefng"))


def rows_apart(path: Path, count: int) -> None:
    """A row of every ninth sale at the end of the file, copies of rows, and the same ids twice."""
    rows = sales(count)
    moved = [row for n, row in enumerate(rows) if n % 9 == 0]
    rest = [row for n, row in enumerate(rows) if n % 9]
    write_export(path, [*rest, *moved, *rows[40:60], *receipt(3, sale_datetime="02/02/2024 02:02:02")])


def shuffled(path: Path, count: int) -> None:
    rows = sales(count)
    random.Random(3).shuffle(rows)
    write_export(path, rows)


def broken_rows(path: Path, count: int) -> None:
    """Headers again, blank rows, a footer, rows of another width, open quotes, NULs, no last newline."""
    write_export(path, sales(count))
    chance = random.Random(5)
    lines = path.read_text("utf-8").split("\n")
    for dirt in (
        *(",".join(COLUMNS), "", "," * 17, "R5,S1", "R8" + ",x" * 25, 'R9,"S1,1', '"', 'R3,"S"1"'),
        *("R4,S1\0" + "," * 16, 'R6,"S1', " ", "Total,,,,,,,,99.00,,,,,,,,,", "\ufeff" + ",".join(COLUMNS)),
    ) * 3:
        lines.insert(chance.randrange(1, len(lines)), dirt)
    path.write_text("\n".join(lines).rstrip("\n") + '\nR1,"S1', "utf-8")


def mutated(path: Path, count: int) -> None:
    write_export(path, sales(count))
    chance, data = random.Random(8), bytearray(path.read_bytes())
    for _ in range(80):
        at = chance.randrange(300, len(data))
        data[at : at + chance.randrange(3)] = chance.choice(
            [b"", b'"', b"\n", b"\r", b",", b"\0", b'""', b"a"]
        )
    path.write_bytes(bytes(data))


def one_huge_cell(path: Path, count: int) -> None:
    rows = sales(count // 2)
    rows[50:50] = receipt("huge", 2, description='line "x",\n' * 900)
    write_export(path, rows)


DIRT: list[Callable[[Path, int], None]] = [
    *(clean, carriage_returns, mixed_line_ends, head_and_mark, not_utf8, rows_apart, shuffled, broken_rows),
    *(mutated, one_huge_cell),
]


def left_behind(workdir: Path, path: Path, budget: Budget) -> tuple[Any, ...]:
    """What a dry run leaves: its summary, staged rows in order, and the text of all other files."""
    mapping = load_mapping("pos_lines").document.text
    if b"Th\xefng" in path.read_bytes():
        mapping = mapping.replace("csv: {", "csv: {encoding: cp1252, ", 1)
    (workdir.parent / "m.yaml").write_text(mapping)
    options = PrepareOptions(budget=budget)
    finished = prepare(workdir, str(workdir.parent / "m.yaml"), [str(path)], options, ignore)
    run = Path(finished.summary.run_dir)
    own = {"run_id", "run_dir", "report", "started_at", "duration_s"}
    report = json.loads((run / "report.json").read_text().replace(run.name, "RUN"))
    summary = {name: value for name, value in report.items() if name not in own}
    del summary["samples"]  # of the first partition
    del summary["provenance"]["prepared_at"]
    parts = sorted(run.glob("staged/*.parquet"))
    staged = pl.concat(map(pl.read_parquet, parts)).sort("line", maintain_order=True)
    # Rows to fix are in the order of partitions, and those of sales that lie apart come last.
    texts = {file.name: sorted(file.read_bytes().split(b"\n")) for file in run.glob("quarantine*.*")}
    manifest = json.loads((run / "manifest.json").read_text())
    found = summary, staged.to_dicts(), texts, manifest["sources"], len(parts)
    shutil.rmtree(workdir)
    return found


@pytest.mark.parametrize("dirt", DIRT)
@pytest.mark.parametrize(("partition_bytes", "count"), [(PARTITION_BYTES, 70), (300, 40), (5_000, 120)])
def test_ranges_change_nothing(
    dirt: Callable[[Path, int], None],
    partition_bytes: int,
    count: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "pos_lines.csv"
    dirt(path, count)
    *cut, parts = left_behind(tmp_path / "w", path, Budget(partition_bytes))
    monkeypatch.setattr(splits, "_is_worth_cutting", lambda *_: False)
    # As one partition, which takes less time than as many.
    *whole, _ = left_behind(tmp_path / "w", path, USUAL)
    assert parts > 2
    assert cut == whole


def test_ranges_of_json_lines_change_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pos_lines.jsonl"
    rows = pl.DataFrame(sales(120), schema=list(COLUMNS), orient="row")
    lines = rows.write_ndjson().encode().split(b"\n")
    lines[50:50] = [b"no object", b"", b'{"receipt_no": "R3"', b'{"tax": "\\u0000"}']
    path.write_bytes(b"\r\n".join(lines).rstrip())
    # Blocks are short, so that many ranges can begin.
    monkeypatch.setattr(JsonLinesReader.__init__, "__defaults__", (400,))
    *cut, parts = left_behind(tmp_path / "w", path, Budget(PARTITION_BYTES))
    monkeypatch.setattr(splits, "_is_worth_cutting", lambda *_: False)
    *whole, _ = left_behind(tmp_path / "w", path, Budget(PARTITION_BYTES))
    assert parts > 10
    assert cut == whole


def test_no_range_parts_a_sale_whose_rows_lie_together(tmp_path: Path) -> None:
    path = tmp_path / "pos_lines.csv"
    clean(path, 120)
    plan = plan_import(load_mapping("pos_lines"), [str(path)], ignore, budget=Budget(PARTITION_BYTES))
    found = splits.input_splits(plan, LocalEngine(2))
    homes = [
        set().union(*(part.tables[LINES][KEY] for part in splits.partitions_of(split, plan)))
        for split in found
    ]
    assert len(found) > 10
    assert sum(map(len, homes)) == len(set().union(*homes))
