"""Staging: each partition goes through mapping, validation and encoding on its own.

What only a look over all partitions can show (transactions whose rows lie far apart, ids that occur twice) is
found by comparing hashes afterwards, and only the partitions concerned are staged again. Rows of sales that
lie apart, and those of several tables, are brought together by a shuffle; its buckets are partitions as well.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final, TypeVar

import polars as pl

from pipeline.core.events import Emit, Progress, StageFinished, StageStarted
from pipeline.core.storage.directories import Directory
from pipeline.core.storage.partition_names import PLACES
from pipeline.engine.local import Engine
from pipeline.staging.partitions.hashes import Hashes, repeated
from pipeline.staging.staged_run import discard_part, write_no_part
from pipeline.staging.workdir import QUARANTINED, SCRATCH, STAGED
from pipeline.validation import quarantine
from pipeline.workflows.preparation import measurements
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.input_splits import InputSplit, input_splits
from pipeline.workflows.preparation.staged_partition import (
    IDS,
    ITEM_IDS,
    KEYS,
    Bucket,
    StagedPartition,
    Work,
)

AnyJob = TypeVar("AnyJob", InputSplit, Bucket)

STAGE = "prepare"
_SCATTERED: Final = 0.1
"""Share of keys in several partitions from which it is quicker to bring all rows together by key.

Such keys are staged twice and their rows read twice; by key, all rows are written and read once more first.
"""
_COMPARED_AFTER: Final = (2, 4, 8, 16, 32, 64)
"""Partitions after which their keys are compared. After each one it costs too much, later it is too late."""


def stage(plan: ImportPlan, run: Directory, engine: Engine, emit: Emit) -> list[StagedPartition]:
    """Stage the input of a run, and give what became of each partition, in order.

    Args:
        plan: What is read, and how.
        run: The run's directory, as all workers reach it.
        engine: Where the work is done.
        emit: Is given progress.

    Raises:
        SourceError: A file cannot be read on.
    """
    begun = time.monotonic()
    emit(StageStarted(STAGE, "rows"))
    staging = _Staging(plan, run, engine, emit)
    if plan.spec.source.tables or not staging.stage_as_read():
        staging.stage_by_key()
    staging.stage_conflicts()
    done = staging.done
    if not any(each.part for each in done.values()):
        write_no_part(run)
    emit(StageFinished(STAGE, sum(one.rows.all for one in done.values()), time.monotonic() - begun))
    return [done[number] for number in sorted(done)]


class _Staging:
    """The partitions of a run, as far as they are staged."""

    def __init__(self, plan: ImportPlan, run: Directory, engine: Engine, emit: Emit) -> None:
        self.done: dict[int, StagedPartition] = {}
        self._plan, self._run, self._engine, self._emit = plan, run, engine, emit
        self._work = Work(plan, run)
        self._splits = input_splits(plan, engine)
        self._buckets: list[Bucket] = []

    def stage_as_read(self) -> bool:
        """Stage partitions as they are read, if nearly all transactions have their rows together.

        Returns:
            Whether they have. If not, everything is as before.
        """
        with closing(self._staged(self._splits)) as staged:
            for number, _ in enumerate(staged, 1):
                if number in _COMPARED_AFTER and self._is_scattered():
                    break
            else:
                self._bring_together()
                return True
        self.done.clear()
        for name in (STAGED, QUARANTINED, SCRATCH):
            (self._run / name).discard()
        quarantine.discard_rows(self._run)
        return False

    def stage_by_key(self) -> None:
        """Stage all rows by key: they go through the shuffle."""
        self._shuffle(None, self._plan.input_bytes)

    def stage_conflicts(self) -> None:
        """Stage again the transactions whose external ids others of the run have too."""
        ids = self._hashes(IDS)
        conflicts = repeated(ids)
        if len(conflicts):
            concerned = frozenset(ids.with_any_of(conflicts))
            self._work = replace(self._work, conflicts=conflicts, wanted=concerned)
            # The splits first: they write again what the buckets read.
            self._stage(self._wanted(self._splits))
            self._stage(self._wanted(self._buckets))

    def _is_scattered(self) -> bool:
        return len(repeated(self._hashes(KEYS))) > _SCATTERED * self._keys

    @property
    def _keys(self) -> int:
        """How many keys the partitions have, one that several have counted for each."""
        return sum(each.keys for each in self.done.values())

    def _bring_together(self) -> None:
        """Stage again, in partitions of their own, transactions whose rows are in several partitions."""
        keys = self._hashes(KEYS)
        apart = repeated(keys)
        if apart.is_empty():
            return
        touched = frozenset(keys.with_any_of(apart))
        # Each such key is in two partitions or more, and may have more rows than others: hence four.
        share = min(1.0, 4 * len(apart) / self._keys)
        for number in touched:
            discard_part(self._run, number)
            quarantine.discard_part(self._run, number)
            measurements.drop(self._run, number)
        self._work = replace(self._work, wanted=touched)
        self._shuffle(apart, int(self._plan.input_bytes * share))

    def _shuffle(self, apart: pl.Series | None, size: int) -> None:
        """Send the rows of these transactions, or all, through the shuffle; `size` is that of their text."""
        count = self._plan.budget.partitions(size)
        self._work = replace(self._work, apart=apart, buckets=count)
        self._stage(self._wanted(self._splits))
        written = tuple((n, table) for n in sorted(self.done) for table in self.done[n].shuffled)
        self._work = replace(self._work, written=written, wanted=None)
        self._buckets = [Bucket(len(self._splits) + place, place) for place in range(count)]
        self._stage(self._buckets)

    def _wanted(self, jobs: Sequence[AnyJob]) -> list[AnyJob]:
        """The jobs that have wanted partitions."""
        if self._work.wanted is None:
            return list(jobs)
        numbers = {number // PLACES for number in self._work.wanted}
        return [job for job in jobs if job.number in numbers]

    def _stage(self, jobs: Iterable[InputSplit | Bucket]) -> None:
        for _ in self._staged(jobs):
            pass

    def _staged(self, jobs: Iterable[InputSplit | Bucket]) -> Generator[StagedPartition, None, None]:
        rows = sum(one.rows.all for one in self.done.values())
        for each in self._engine.flat_map(self._work.partitions, self._work.stage, jobs):
            before = self.done.get(each.number)
            rows += each.rows.all - (before.rows.all if before else 0)
            self.done[each.number] = each
            self._emit(Progress(STAGE, rows))
            yield each

    def _hashes(self, name: str) -> Hashes:
        return hashes(self._run, name, self.done.values())


def hashes(run: Directory, name: str, staged: Iterable[StagedPartition]) -> Hashes:
    """Hashes of the partitions that have rows."""
    return Hashes(run / SCRATCH, name, [each.number for each in staged if each.rows.all])


def count_repeated_items(run: Directory, staged: Iterable[StagedPartition]) -> int:
    """How many ids of items several sales of a run have."""
    return len(repeated(hashes(run, ITEM_IDS, staged)))
