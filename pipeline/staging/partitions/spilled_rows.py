"""Raw rows, dealt out by the hash of their transaction key.

Pass two can then take one bucket at a time with every transaction whole, in memory that does not grow
with the input.

Rows wait in memory and move to disk once they are more than the given budget; a small input is never
written.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import polars as pl

from pipeline.core.files import make_private, private_dir
from pipeline.core.model import KEY, LINE


class Buckets:
    """Raw rows of all tables, by bucket.

    Rows of one transaction share a bucket; within a bucket they keep the order in which they were added.
    Rows without a key (null) are dealt out by their line.

    Args:
        directory: Where files go when memory is short; made when needed.
        count: How many buckets.
        waiting_bytes: How much may wait in memory, over all buckets.
    """

    def __init__(self, directory: Path, count: int, waiting_bytes: int) -> None:
        self._directory = directory
        self._count = count
        self._limit_bytes = waiting_bytes
        self._waiting: dict[tuple[int, str], list[pl.DataFrame]] = defaultdict(list)
        self._waiting_bytes = 0
        self._files: dict[tuple[int, str], list[Path]] = defaultdict(list)

    def __len__(self) -> int:
        return self._count

    def add(self, table: str, rows: pl.DataFrame) -> None:
        """Deal out rows of a table; they have KEY, LINE and SOURCE beside the source's own columns."""
        if rows.is_empty():
            return
        for bucket, part in self._split(rows):
            self._waiting[bucket, table].append(part)
        self._waiting_bytes += _held_bytes(rows)
        if self._waiting_bytes > self._limit_bytes:
            self._spill()

    def close(self) -> None:
        """Call it after the last rows: once some are on disk, the others go there too, to make room."""
        if self._files:
            self._spill()

    def read(self, bucket: int) -> dict[str, pl.DataFrame]:
        """The rows of one bucket by table, in the order they were added; a table without rows is absent.

        Columns that one file has and another has not are null where they are missing.
        """
        tables = {table for at, table in (*self._files, *self._waiting) if at == bucket}
        return {table: self._rows(bucket, table) for table in sorted(tables)}

    def _split(self, rows: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
        if self._count == 1:
            return [(0, rows)]
        number = (pl.col(KEY).fill_null(pl.col(LINE).cast(pl.UInt64)) % self._count).cast(pl.UInt32)
        parts = rows.with_columns(number.alias("bucket")).partition_by(
            "bucket", as_dict=True, include_key=False, maintain_order=True
        )
        return [(int(bucket), part) for (bucket,), part in parts.items()]

    def _spill(self) -> None:
        private_dir(self._directory)
        for (bucket, table), parts in self._waiting.items():
            path = self._directory / f"{bucket:05d}-{table}-{len(self._files[bucket, table]):04d}.arrow"
            pl.concat(parts, how="diagonal").write_ipc(make_private(path), compression="lz4")
            self._files[bucket, table].append(path)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _rows(self, bucket: int, table: str) -> pl.DataFrame:
        spilled = [pl.read_ipc(path) for path in self._files.get((bucket, table), ())]
        waiting = self._waiting.get((bucket, table), [])
        return pl.concat([*spilled, *waiting], how="diagonal", rechunk=True)


def _held_bytes(rows: pl.DataFrame) -> int:
    """What rows take in memory: polars counts the texts, but not the 16 bytes that point to each."""
    texts = sum(kind == pl.String for kind in rows.dtypes)
    return int(rows.estimated_size()) + 16 * texts * rows.height
