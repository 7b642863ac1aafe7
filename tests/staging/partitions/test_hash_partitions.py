from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.staging.partitions.hash_partitions import HashPartitions


def rows(keys: list[int | None], first_line: int = 2, **cells: str) -> pl.DataFrame:
    return pl.DataFrame({KEY: keys}, schema={KEY: pl.UInt64}).with_columns(
        pl.lit(0, pl.UInt32).alias(SOURCE),
        (pl.int_range(pl.len()) + first_line).alias(LINE),
        *[pl.lit(value).alias(name) for name, value in cells.items()],
    )


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0, 1 << 30], ids=["on disk", "in memory"])
@given(keys=st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1)), max_size=60), count=st.integers(1, 7))
def test_every_row_is_in_one_partition_with_all_of_its_transaction(
    memory: int, tmp_path_factory: pytest.TempPathFactory, keys: list[int | None], count: int
) -> None:
    partitions = HashPartitions(tmp_path_factory.mktemp("partitions"), count, memory)
    partitions.add("lines", rows(keys))
    partitions.add("lines", rows(keys, first_line=1000))
    read = [partitions.read(number).get("lines") for number in range(len(partitions))]
    frames = [frame for frame in read if frame is not None]
    lines = sorted(line for frame in frames for line in frame[LINE])
    assert lines == sorted([*range(2, 2 + len(keys)), *range(1000, 1000 + len(keys))])
    homes = [set(frame[KEY].drop_nulls()) for frame in frames]
    assert sum(map(len, homes)) == len(set().union(*homes))
    for frame in frames:
        assert frame[LINE].is_sorted()


def test_a_column_that_one_file_lacks_is_null_there(tmp_path: Path) -> None:
    partitions = HashPartitions(tmp_path, 1, 0)
    partitions.add("lines", rows([1], a="x"))
    partitions.add("lines", rows([1], first_line=3, b="y"))
    table = partitions.read(0)["lines"]
    assert table.select("a", "b").rows() == [("x", None), (None, "y")]


def test_rows_wait_in_memory_until_they_are_too_many_and_then_none_does(tmp_path: Path) -> None:
    few, many = rows([1], a="x"), rows([2, 3] * 50, first_line=3, a="y" * 40)
    partitions = HashPartitions(tmp_path / "b", 2, 1000)
    partitions.add("lines", few)
    partitions.close()
    assert not (tmp_path / "b").exists()
    partitions.add("lines", many)
    written = len(list((tmp_path / "b").iterdir()))
    assert written
    partitions.add("lines", few)
    assert len(list((tmp_path / "b").iterdir())) == written
    partitions.close()
    assert len(list((tmp_path / "b").iterdir())) > written
    assert sum(frame.height for number in range(2) for frame in partitions.read(number).values()) == 102


def test_there_may_be_more_partitions_than_16_bits_count(tmp_path: Path) -> None:
    partitions = HashPartitions(tmp_path, 70_000, 1 << 30)
    partitions.add("lines", rows([69_999, 65_536]))
    assert [partitions.read(number)["lines"].height for number in (69_999, 65_536)] == [1, 1]
