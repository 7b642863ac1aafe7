"""Rows that go through the shuffle: each once, and those of a transaction together."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.core.storage.directories import directory_at
from pipeline.staging.partitions.shuffle import read_bucket, write_buckets


def rows(keys: list[int | None], first_line: int = 2, **cells: str) -> pl.DataFrame:
    return pl.DataFrame({KEY: keys}, schema={KEY: pl.UInt64}).with_columns(
        pl.lit(0, pl.UInt32).alias(SOURCE),
        (pl.int_range(pl.len()) + first_line).alias(LINE),
        *[pl.lit(value).alias(name) for name, value in cells.items()],
    )


@pytest.mark.slow
@given(keys=st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1)), max_size=60), count=st.integers(1, 7))
def test_every_row_is_in_one_bucket_with_all_of_its_transaction(
    tmp_path_factory: pytest.TempPathFactory, keys: list[int | None], count: int
) -> None:
    directory = directory_at(tmp_path_factory.mktemp("shuffle"))
    write_buckets(directory, 0, "lines", rows(keys), count)
    write_buckets(directory, 1, "lines", rows(keys, first_line=1000), count)
    read = [read_bucket(directory, [(0, "lines"), (1, "lines")], bucket) for bucket in range(count)]
    frames = [tables["lines"] for tables in read if tables]
    lines = sorted(line for frame in frames for line in frame[LINE])
    assert lines == sorted([*range(2, 2 + len(keys)), *range(1000, 1000 + len(keys))])
    homes = [set(frame[KEY].drop_nulls()) for frame in frames]
    assert sum(map(len, homes)) == len(set().union(*homes))
    for frame in frames:
        assert frame[LINE].is_sorted()


def test_a_column_that_one_file_lacks_is_null_there(tmp_path: Path) -> None:
    write_buckets(directory_at(tmp_path), 0, "lines", rows([1], a="x"), 1)
    write_buckets(directory_at(tmp_path), 1, "lines", rows([1], first_line=3, b="y"), 1)
    table = read_bucket(directory_at(tmp_path), [(0, "lines"), (1, "lines")], 0)["lines"]
    assert table.select("a", "b").rows() == [("x", None), (None, "y")]


def test_rows_of_several_tables_meet_by_their_key_and_replace_what_was_there(tmp_path: Path) -> None:
    write_buckets(directory_at(tmp_path), 0, "headers", rows([8, 9]), 3)
    write_buckets(directory_at(tmp_path), 0, "headers", rows([1, 2, 3, 4]), 3)
    write_buckets(directory_at(tmp_path), 1, "items", rows([4, 3, 2, 1, 9]), 3)
    buckets = [
        read_bucket(directory_at(tmp_path), [(0, "headers"), (1, "items")], bucket) for bucket in range(3)
    ]
    for key in range(1, 5):
        (home,) = [tables for tables in buckets if "headers" in tables and key in tables["headers"][KEY]]
        assert key in home["items"][KEY]
    assert sum(frame.height for tables in buckets for frame in tables.values()) == 9


@pytest.mark.slow
def test_there_may_be_more_buckets_than_16_bits_count(tmp_path: Path) -> None:
    write_buckets(directory_at(tmp_path), 0, "lines", rows([69_999, 65_536]), 70_000)
    found = [read_bucket(directory_at(tmp_path), [(0, "lines")], bucket) for bucket in (69_999, 65_536)]
    assert [tables["lines"].height for tables in found] == [1, 1]
