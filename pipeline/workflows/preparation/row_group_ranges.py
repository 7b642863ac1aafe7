"""Large Parquet files as ranges of rows that begin at row groups, so that several workers read one file."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Final

import pyarrow as pa

from pipeline.core.file_formats import PARQUET
from pipeline.core.model import KEY
from pipeline.extract.parquet_reader import ParquetReader, row_group_sizes
from pipeline.extract.storage import open_parquet
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.sources import KeyedRows, RunSource

_LOOKED_AT: Final = 1_000
"""Rows behind a row group's start among which a transaction must begin, or the range goes on."""


def row_group_ranges(source: RunSource, plan: ImportPlan) -> list[RunSource]:
    """The file as ranges of rows, none of which parts a transaction; as it is where it cannot be cut.

    Ranges have row groups of about a partition's size together. Each begins at the first row of a row group,
    or where the transaction ends that goes on there: only its key is read. A file is not cut where rows
    depend on those above them.

    Raises:
        SourceError: The file cannot be read.
    """
    spec = plan.spec.source
    is_parquet = spec.format == "parquet" or (spec.format is None and source.file.uri.endswith(PARQUET))
    if not is_parquet or spec.carry_key or spec.records or spec.rows.skip:
        return [source]
    try:
        with open_parquet(source.file) as file:
            groups = row_group_sizes(file)
    except (pa.ArrowException, OSError):  # named as Parquet only
        return [source]
    starts, row, size = [0], 0, 0
    for rows, group_bytes in groups:
        if size and size + group_bytes > plan.partition_bytes:
            starts.append(row)
            size = 0
        row += rows
        size += group_bytes
    begins = [begin for start in starts[1:] if (begin := _begin(source, plan, start)) is not None]
    if not begins:
        return [source]
    bounds = [0, *dict.fromkeys(begins), row]
    return [replace(source, rows=range(*bound)) for bound in pairwise(bounds) if bound[0] < bound[1]]


def _begin(source: RunSource, plan: ImportPlan, start: int) -> int | None:
    """The first row from `start` on that has another key than the row before it; None if that is far."""
    keyed = KeyedRows(plan.spec, source.table)
    rows = range(start - 1, start + _LOOKED_AT)
    previous, at = None, rows.start
    reader = ParquetReader(source.file, rows, keyed.cells)
    if {*keyed.cells}.isdisjoint(reader.columns):
        reader.close()
        return None
    for batch in reader.batches():
        if batch.malformed.height:
            return None
        for key in keyed.add(batch.rows)[0][KEY]:
            if at > rows.start and (previous is None or key != previous):
                return at
            previous, at = key, at + 1
    return None
