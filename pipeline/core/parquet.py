"""Reading Parquet files each by its own path: polars alone takes brackets in a path for a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl


def scan(path: str | Path) -> pl.LazyFrame:
    """A file's rows, to be read later; see `polars.scan_parquet`."""
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def read(path: str | Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """A file's rows, with these columns or all."""
    rows = scan(path)
    return (rows if columns is None else rows.select(columns)).collect()
