"""Raw rows, partitioned by the hash of their transaction key.

Each partition can then be read on its own, in memory that does not grow with the input. Rows wait in memory
and move to disk once they are more than the given budget; a small input is never written.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import polars as pl

from pipeline.core.files import make_private, private_dir
from pipeline.core.model import KEY, LINE


class HashPartitions:
    """Raw rows of all tables, by partition.

    Rows of one transaction share a partition; within it they keep the order in which they were added. Rows
    without a key (null) are partitioned by their line.

    Args:
        directory: Where files go when memory is short; made when needed.
        count: How many partitions.
        waiting_bytes: How much may wait in memory, over all partitions.
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
        """Add rows of a table; they have KEY, LINE and SOURCE beside the source's own columns."""
        if rows.is_empty():
            return
        for number, part in self._split(rows):
            self._waiting[number, table].append(part)
        # polars counts the texts, but not the 16 bytes of the view that points to each.
        texts = sum(kind == pl.String for kind in rows.dtypes)
        self._waiting_bytes += int(rows.estimated_size()) + 16 * texts * rows.height
        if self._waiting_bytes > self._limit_bytes:
            self._spill()

    def close(self) -> None:
        """Call it after the last rows: once some are on disk, the others go there too, to free memory."""
        if self._files:
            self._spill()

    def read(self, number: int) -> dict[str, pl.DataFrame]:
        """The rows of one partition by table, in the order they were added; a table without rows is absent.

        Columns that one file has and another does not have are null where they are missing.
        """
        tables = sorted({table for at, table in (*self._files, *self._waiting) if at == number})
        return {
            table: pl.concat(
                [
                    *(pl.read_ipc(path) for path in self._files.get((number, table), ())),
                    *self._waiting.get((number, table), ()),
                ],
                how="diagonal",
                rechunk=True,
            )
            for table in tables
        }

    def _split(self, rows: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
        if self._count == 1:
            return [(0, rows)]
        number = (pl.col(KEY).fill_null(pl.col(LINE).cast(pl.UInt64)) % self._count).cast(pl.UInt32)
        parts = rows.with_columns(number.alias("partition")).partition_by(
            "partition", as_dict=True, include_key=False, maintain_order=True
        )
        return [(int(partition), part) for (partition,), part in parts.items()]

    def _spill(self) -> None:
        private_dir(self._directory)
        for (number, table), parts in self._waiting.items():
            path = self._directory / f"{number:05d}-{table}-{len(self._files[number, table]):04d}.arrow"
            pl.concat(parts, how="diagonal").write_ipc(make_private(path), compression="lz4")
            self._files[number, table].append(path)
        self._waiting.clear()
        self._waiting_bytes = 0
