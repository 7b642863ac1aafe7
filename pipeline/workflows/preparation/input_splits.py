"""What the rows of a run are cut into before they are read: each split can be read on any machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

import polars as pl

from pipeline.core.storage.partition_names import PLACES
from pipeline.engine.local import Engine
from pipeline.extract.text_ranges import TextRange
from pipeline.staging.partitions.cutting import SMALLER, cut
from pipeline.workflows.preparation.file_ranges import file_ranges, is_parquet
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.read_counts import ReadCounts
from pipeline.workflows.preparation.sources import RunSource, raw_rows

_FILLED: Final = 0.8
"""How full of text a split may be: the rows take somewhat more memory than their text."""
_RANGE_STAYS_WHOLE: Final = 1.5
"""A range of text is one partition up to so many times the size of one, rather than one and a small rest."""
_WORTH_CUTTING: Final = 4
"""Partitions that a text file must fill to be cut: it is read once more for that."""
_LEAST_BYTES: Final = 1 << 20
"""The size that it must have: reading less takes less time than looking for ranges in it."""
_SHARE: Final = 1 / 32
"""The share of the input that it must have: with more files than that, workers have enough to do without."""


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


def input_splits(plan: ImportPlan, engine: Engine) -> list[InputSplit]:
    """Cut the input: small files together, large ones into ranges, each other file alone.

    The first ones are smaller, so that all workers soon have something to do. The splits are the same on
    every engine.

    Args:
        plan: What is read.
        engine: Looks for the ranges.

    Raises:
        SourceError: A file cannot be read.
    """
    large = [each for each in plan.sources if _is_worth_cutting(each, plan)]
    cut_up = dict(zip(large, engine.map(partial(file_ranges, plan=plan), large), strict=True))
    groups: list[tuple[RunSource, ...]] = []
    waiting: list[RunSource] = []
    size = 0.0
    for each in chain.from_iterable(cut_up.get(each, [each]) for each in plan.sources):
        limit = _FILLED * plan.partition_bytes / (4 if len(groups) < SMALLER else 1)
        # A range is large enough to be a split of its own.
        own = limit if each.rows else plan.text_bytes(each)
        if waiting and (size + own > limit or waiting[0].table != each.table):
            groups.append(tuple(waiting))
            waiting, size = [], 0.0
        waiting.append(each)
        size += own
    groups.append(tuple(waiting))
    return [InputSplit(number, group) for number, group in enumerate(groups)]


def _is_worth_cutting(source: RunSource, plan: ImportPlan) -> bool:
    # A sheet is read as a whole, and looking for ranges would load it once more.
    if source.held_bytes:
        return False
    size = plan.text_bytes(source)
    if is_parquet(source, plan):
        return size > plan.partition_bytes
    return size > max(_LEAST_BYTES, _WORTH_CUTTING * plan.partition_bytes, _SHARE * plan.input_bytes)


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
    first, number = split.sources[0], split.number * PLACES
    most = plan.partition_bytes
    if isinstance(first.rows, TextRange):
        most = int(most * _RANGE_STAYS_WHOLE)
    for rows in cut(frames, most, small_first=split.number == 0):
        counts = seen.taken()
        if wanted is None or number in wanted:
            yield Partition(number, {first.table: rows}, counts)
        number += 1
    if not seen.is_empty and (wanted is None or number in wanted):
        yield Partition(number, {}, seen)
