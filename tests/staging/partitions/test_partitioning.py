"""Cutting rows into partitions: whole transactions, each row once, the same ones every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.memory import Budget
from pipeline.core.model import KEY, LINE, LINES, SOURCE
from pipeline.staging.partitions.partitioning import (
    AdjacentPartitioning,
    KeyPartitioning,
    Partition,
    Partitioning,
    Scattered,
)

ROW_BY_ROW = Budget(partition_bytes=1, waiting_bytes=0)
BUDGETS = [ROW_BY_ROW, Budget(partition_bytes=1, waiting_bytes=1 << 30)]
KEYS = [*range(7, 60), 1, 1, 2, 3, 3, None, 4, 1, 5, 2, None, 6]


def batches(
    keys: list[int | None] = KEYS, table: str = LINES
) -> Callable[[], Iterator[tuple[str, pl.DataFrame]]]:
    """Reads rows with these keys, one a batch."""
    rows = pl.DataFrame(
        {SOURCE: [0] * len(keys), LINE: list(range(len(keys))), KEY: keys},
        schema={SOURCE: pl.UInt32, LINE: pl.Int64, KEY: pl.UInt64},
    )
    return lambda: ((table, piece) for piece in rows.iter_slices(1))


def lines_of(found: list[Partition]) -> list[int]:
    return sorted(line for partition in found for rows in partition.tables.values() for line in rows[LINE])


def partitions_with(key: int, found: list[Partition]) -> list[int]:
    return [partition.number for partition in found if key in list(partition.keys())]


def brought_together(cutting: Partitioning) -> list[Partition]:
    """All partitions once every transaction is in one."""
    found = {partition.number: partition for partition in cutting.read()}
    changed = cutting.bring_together({number: partition.keys() for number, partition in found.items()})
    found = {number: partition for number, partition in found.items() if number not in changed}
    return [*found.values(), *cutting.read(changed)] if changed else [*found.values()]


@pytest.mark.parametrize("budget", BUDGETS, ids=["on disk", "in memory"])
def test_sales_that_lie_apart_come_together_and_no_row_is_lost(budget: Budget, tmp_path: Path):
    cutting = AdjacentPartitioning(batches(), 65, tmp_path, budget)
    first = list(cutting.read())
    assert lines_of(first) == list(range(len(KEYS)))
    assert len(partitions_with(1, first)) == len(partitions_with(2, first)) == 2
    again = brought_together(AdjacentPartitioning(batches(), 5, tmp_path, budget))
    assert lines_of(again) == list(range(len(KEYS)))
    for key in range(1, 7):
        assert len(partitions_with(key, again)) == 1
    numbers = [partition.number for partition in again]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.slow
def test_units_can_be_read_again_one_by_one(tmp_path: Path):
    cutting = AdjacentPartitioning(batches(), 5, tmp_path, ROW_BY_ROW)
    every = {partition.number: partition for partition in brought_together(cutting)}
    for number, partition in every.items():
        (same,) = cutting.read([number])
        assert same.tables.keys() == partition.tables.keys()
        assert all(same.tables[table].equals(rows) for table, rows in partition.tables.items())
    assert list(cutting.read([])) == []


def test_where_no_sale_lies_apart_nothing_changes(tmp_path: Path):
    cutting = AdjacentPartitioning(batches([1, 1, 2, 3]), 1, tmp_path, Budget())
    (partition,) = cutting.read()
    assert cutting.bring_together({0: partition.keys()}) == set()
    assert list(tmp_path.iterdir()) == []


def test_without_rows_there_is_no_unit(tmp_path: Path):
    assert list(AdjacentPartitioning(batches([]), 1, tmp_path, ROW_BY_ROW).read()) == []
    assert list(KeyPartitioning(batches([]), 1, tmp_path, ROW_BY_ROW).read()) == []


@pytest.mark.parametrize("budget", BUDGETS, ids=["on disk", "in memory"])
def test_rows_of_several_tables_meet_by_their_key(budget: Budget, tmp_path: Path):
    def read() -> Iterator[tuple[str, pl.DataFrame]]:
        yield from batches([1, 2, 3, 4], "headers")()
        yield from batches([4, 3, 2, 1, 9, None], "items")()

    cutting = KeyPartitioning(read, 3, tmp_path, budget)
    found = list(cutting.read())
    assert len(found) > 1
    for key in (1, 2, 3, 4):
        (number,) = partitions_with(key, found)
        tables = next(partition for partition in found if partition.number == number).tables
        assert all(key in rows[KEY] for rows in tables.values())
    assert sum(partition.tables[table].height for partition in found for table in partition.tables) == 10
    assert cutting.bring_together({partition.number: partition.keys() for partition in found}) == set()
    assert [partition.number for partition in cutting.read([found[0].number])] == [found[0].number]


def test_the_keys_of_a_unit_are_over_all_its_tables_and_never_null():
    rows = next(rows for _, rows in batches([7])())
    blank = next(rows for _, rows in batches([None])())
    assert list(Partition(0, {"headers": rows, "items": pl.concat([rows, blank])}).keys()) == [7]


@pytest.mark.parametrize("first", [[], range(100, 104)], ids=["at once", "after a while"])
def test_rows_that_are_scattered_are_partitioned_by_key(first: list[int], tmp_path: Path):
    keys = [*first, *range(10), *range(10), None]
    cutting = AdjacentPartitioning(batches(keys), len(keys), tmp_path, ROW_BY_ROW)
    given = []
    with pytest.raises(Scattered) as raised:
        given.extend(cutting.read())
    assert len(given) == raised.value.given
    found = list(raised.value.by_key.read())
    assert lines_of(found) == list(range(len(keys)))
    assert all(len(partitions_with(key, found)) == 1 for key in range(10))
