"""Raw rows that are brought together by their transaction key, over files that all machines see.

Each partition of what was read writes its rows once, as a file with a record batch for each bucket; a bucket
is then read out of all of these files. Nothing waits in memory, and rows of one transaction share a bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.core.model import KEY, LINE
from pipeline.core.storage.directories import Directory
from pipeline.core.storage.partition_names import partition_name

_BUCKET: Final = "__bucket"


def write_buckets(directory: Directory, number: int, table: str, rows: pl.DataFrame, count: int) -> None:
    """Write a partition's rows of one table, by bucket, in place of what it wrote before.

    Args:
        directory: Where the files of a shuffle are.
        number: The partition's number.
        table: The table.
        rows: With KEY and LINE; rows without a key (null) go by their line.
        count: How many buckets there are.
    """
    bucket = pl.col(KEY).fill_null(pl.col(LINE).cast(pl.UInt64)) % count
    placed = rows.with_columns(bucket.cast(pl.UInt32).alias(_BUCKET)).sort(_BUCKET, maintain_order=True)
    lengths = placed[_BUCKET].value_counts(name="rows").sort(_BUCKET)
    heights = dict(lengths.iter_rows())
    sorted_rows = placed.drop(_BUCKET).to_arrow()
    empty = pa.RecordBatch.from_pylist([], schema=sorted_rows.schema)
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        directory.writing(_file(number, table)) as to,
        pa.ipc.new_file(to, sorted_rows.schema, options=options) as file,
    ):
        start = 0
        for bucket_number in range(count):
            height = heights.get(bucket_number, 0)
            # One batch each, so that a bucket is found by its place.
            some = sorted_rows.slice(start, height).combine_chunks().to_batches() if height else []
            file.write_batch(some[0] if some else empty)
            start += height


def read_bucket(
    directory: Directory, written: Sequence[tuple[int, str]], bucket: int
) -> dict[str, pl.DataFrame]:
    """The rows of one bucket by table; a table without rows is absent.

    Columns that one file has and another does not have are null where they are missing.

    Args:
        directory: Where the files are.
        written: Number and table of all that were written, in the order that the rows shall have. They are
            not found by listing: a directory that machines share may not list at once what another one wrote.
        bucket: Which one.
    """
    found: dict[str, list[pl.DataFrame]] = {}
    for number, table in written:
        with directory.opened(_file(number, table)) as file:
            batch = pa.ipc.open_file(file).get_batch(bucket)
            rows = pl.from_arrow(batch) if batch.num_rows else None
        if isinstance(rows, pl.DataFrame):
            found.setdefault(table, []).append(rows)
    return {table: pl.concat(found[table], how="diagonal", rechunk=True) for table in sorted(found)}


def _file(number: int, table: str) -> str:
    return f"{table}-{partition_name(number)}.arrow"
