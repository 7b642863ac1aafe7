"""Input splits: each row of a file is in one of them, and no split parts a transaction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.memory import Budget
from pipeline.core.model import KEY, LINE, LINES
from pipeline.engine.local import LocalEngine
from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.workflows.preparation.import_plan import plan_import
from pipeline.workflows.preparation.input_splits import input_splits, partitions_of
from tests.receipts import COLUMNS, receipt, write_export
from tests.workbooks import workbook


def rows_by_split(files: list[Path], partition_bytes: int) -> list[pl.DataFrame]:
    budget = Budget(partition_bytes)
    plan = plan_import(
        load_mapping("pos_lines"), [str(file) for file in files], lambda _: None, budget=budget
    )
    splits = input_splits(plan, LocalEngine(1))
    assert [split.number for split in splits] == list(range(len(splits)))
    return [
        pl.concat(partition.tables[LINES] for partition in partitions_of(split, plan)) for split in splits
    ]


def as_parquet(path: Path, receipts: list[int], row_group_size: int) -> Path:
    """An export of receipts with so many rows each."""
    rows = [row for number, height in enumerate(receipts) for row in receipt(number, height)]
    table = pl.DataFrame(rows, schema=list(COLUMNS), orient="row", infer_schema_length=None)
    table.write_parquet(path, row_group_size=row_group_size)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("row_group_size", [1, 2, 5, 8, 100])
@pytest.mark.parametrize("name", ["pos_lines.parquet", "POS_LINES.PARQUET"])
def test_ranges_of_parquet_part_no_transaction(tmp_path: Path, row_group_size: int, name: str) -> None:
    path = as_parquet(tmp_path / name, [3, 1, 1, 7, 2, 4, 1, 5], row_group_size)
    found = rows_by_split([path], 1)
    assert (len(found) > 1) == (row_group_size < 24)
    assert [line for rows in found for line in rows[LINE]] == list(range(1, 25))
    homes = [set(rows[KEY]) for rows in found]
    assert sum(map(len, homes)) == len(set().union(*homes))


def test_a_transaction_longer_than_row_groups_stays_in_one_range(tmp_path: Path) -> None:
    found = rows_by_split([as_parquet(tmp_path / "pos_lines.parquet", [2, 30, 2], 4)], 1)
    assert [rows.height for rows in found] == [32, 2]


def test_a_large_workbook_is_not_loaded_to_look_for_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.workflows.preparation.input_splits._LEAST_BYTES", 0)
    path = workbook(tmp_path / "pos_lines.xlsx", [COLUMNS, *receipt(1, 9)])
    plan = plan_import(load_mapping("pos_lines"), [str(path)], lambda _: None, budget=Budget(1))
    path.unlink()
    (split,) = input_splits(plan, LocalEngine(1))
    assert split.sources == tuple(plan.sources)


def test_small_files_share_a_split_and_large_ones_do_not(tmp_path: Path) -> None:
    files = [write_export(tmp_path / f"pos_lines_{n:02}.csv", receipt(n)) for n in range(12)]
    assert len(rows_by_split(files, 1)) == 12
    size = files[0].stat().st_size
    assert 1 < len(rows_by_split(files, 4 * size)) < 12
    assert len(rows_by_split(files, 1 << 30)) == 1


def test_the_text_in_packed_files_is_taken_for_more_than_their_bytes(tmp_path: Path) -> None:
    file = write_export(tmp_path / "pos_lines.csv", receipt(1))
    plan = plan_import(load_mapping("pos_lines"), [str(file)], lambda _: None)
    (source,) = plan.sources

    def text_bytes(name: str) -> int:
        return plan.text_bytes(replace(source, file=replace(source.file, uri=f"/{name}", size=100)))

    plain, *packed = map(text_bytes, ("a.csv", "a.csv.gz", "a.zip", "a.parquet", "a.xlsx", "A.XLSM"))
    assert plain == 100
    assert min(packed) >= 300
