"""What the rows of a run are cut into before they are read: each split can be read on any machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import polars as pl

from pipeline.core.partition_names import PLACES
from pipeline.staging.partitions.cutting import SMALLER, cut
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.read_counts import ReadCounts
from pipeline.workflows.preparation.row_group_ranges import row_group_ranges
from pipeline.workflows.sources import RunSource, raw_rows

_FILLED: Final = 0.8
"""How full of text a split may be: with their places, the rows in it take somewhat more memory."""


@dataclass(frozen=True)
class InputSplit:
    """A part of the input: files of one table. Its number is its place among the splits of the run."""

    number: int
    sources: tuple[RunSource, ...]


@dataclass(frozen=True)
class Partition:
    """Raw rows of whole transactions as far as their split has them, small enough to work on.

    Attributes:
        number: Orders all partitions of the run.
        tables: The rows, by table, with SOURCE, LINE and KEY.
        counts: What was seen while they were read.
        is_bucket: Whether it is a bucket of the shuffle, and holds all rows of its transactions.
    """

    number: int
    tables: dict[str, pl.DataFrame]
    counts: ReadCounts
    is_bucket: bool = False


def input_splits(plan: ImportPlan) -> list[InputSplit]:
    """Cut the input without reading it: small files together, large Parquet between row groups.

    Each other file is alone. The first ones are smaller, so that all workers soon have something to do.
    """
    groups: list[tuple[RunSource, ...]] = []
    waiting: list[RunSource] = []
    size = 0.0
    for each in chain.from_iterable(row_group_ranges(each, plan) for each in plan.sources):
        limit = _FILLED * plan.partition_bytes / (4 if len(groups) < SMALLER else 1)
        own = limit if each.rows else plan.text_bytes(each)
        if waiting and (size + own > limit or waiting[0].table != each.table):
            groups.append(tuple(waiting))
            waiting, size = [], 0.0
        waiting.append(each)
        size += own
    groups.append(tuple(waiting))
    return [InputSplit(number, group) for number, group in enumerate(groups)]


def partitions_of(
    split: InputSplit, plan: ImportPlan, wanted: Collection[int] | None = None
) -> Iterator[Partition]:
    """Read a split as partitions; the same ones every time.

    Args:
        split: What to read.
        plan: By what rows get their keys.
        wanted: The numbers of those that are given; None for all.

    Raises:
        SourceError: A file cannot be read on.
    """
    seen = ReadCounts()
    frames = (rows for _, rows in raw_rows(split.sources, plan.spec, seen.add, seen.end))
    table, number = split.sources[0].table, split.number * PLACES
    for rows in cut(frames, plan.partition_bytes, small_first=split.number == 0):
        counts = seen.taken()
        if wanted is None or number in wanted:
            yield Partition(number, {table: rows}, counts)
        number += 1
    if not seen.is_empty and (wanted is None or number in wanted):
        yield Partition(number, {}, seen)
