"""Reads Parquet files by their exact paths, in which polars itself takes brackets for a pattern."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


def scan(path: str | Path) -> pl.LazyFrame:
    """A file's rows, to be read later; see `polars.scan_parquet`."""
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def row_groups(path: str | Path, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """A file's rows with these columns, one row group at a time, so memory does not grow with the file."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield pl.DataFrame(file.read_row_group(number, columns=list(columns)))


def read(path: str | Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """A file's rows, with these columns or all."""
    rows = scan(path)
    return (rows if columns is None else rows.select(columns)).collect()


def frame_of(table: pa.Table) -> pl.DataFrame:
    """An Arrow table as a frame; for a table polars never gives a series, which its types allow."""
    rows = pl.from_arrow(table)
    assert isinstance(rows, pl.DataFrame)
    return rows
