"""Staging: each partition goes through mapping, validation and encoding on its own.

What only a look over all partitions can show (transactions whose rows lie far apart, ids that occur twice) is
found by comparing hashes afterwards, and only the partitions concerned are staged again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import polars as pl

from pipeline.core.codes import Outcome
from pipeline.core.events import Emit, Progress, StageFinished, StageStarted
from pipeline.core.files import private_dir
from pipeline.core.model import SOURCE, TX
from pipeline.engine.local import Engine
from pipeline.mapping.layout.raw_transactions import RawTransactions, without_lost
from pipeline.staging.manifest import PartRecord
from pipeline.staging.partitions.hashes import Hashes, repeated
from pipeline.staging.partitions.partitioning import Partition, Partitioning, Scattered
from pipeline.staging.staged_run import discard_part, write_no_part, write_part
from pipeline.staging.workdir import RunDir
from pipeline.validation import quarantine
from pipeline.validation.outcomes import ACCEPTED, TransactionOutcomes
from pipeline.workflows.incremental import FIXED_BY_TIME
from pipeline.workflows.preparation import measurements
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.judged_partition import hash_of, judge_partition
from pipeline.workflows.preparation.row_accounting import RowCounts, count_lost_of_known_sales, count_rows

STAGE = "prepare"
_KEYS, _IDS, _ITEM_IDS = "keys", "ids", "item-ids"
"""What is hashed by partition: keys of transactions, their external ids, and the ids of their items."""


@dataclass(frozen=True)
class StagedPartition:
    """What became of a partition. Its bodies, quarantine, measurements and hashes are on disk by then.

    Attributes:
        number: The partition's.
        rows: Its rows by outcome.
        part: The record of its staged part; None where it accepted nothing.
        waiting: The files, by SOURCE, with sales that only have to be read again later.
        lost_of_known_sales: How many malformed rows belong to a sale that is known, and rejected.
    """

    number: int
    rows: RowCounts
    part: PartRecord | None
    waiting: frozenset[int] = frozenset()
    lost_of_known_sales: int = 0


def stage(
    plan: ImportPlan, partitioning: Partitioning, run: RunDir, engine: Engine, emit: Emit
) -> list[StagedPartition]:
    """Stage all partitions of a run, and give what became of each, in order."""
    begun = time.monotonic()
    emit(StageStarted(STAGE, "rows"))
    for directory in (run.staged, run.quarantine, run.scratch):
        private_dir(directory)
    done: dict[int, StagedPartition] = {}

    def work(some: Iterator[Partition], conflicts: pl.Series) -> None:
        for each in engine.map(partial(stage_partition, plan=plan, run=run, conflicts=conflicts), some):
            done[each.number] = each
            emit(Progress(STAGE, sum(one.rows.all for one in done.values())))

    none = repeated([])
    try:
        work(partitioning.read(), none)
    except Scattered as scattered:
        _discard(run, done, range(scattered.given))
        partitioning = scattered.by_key
        work(partitioning.read(), none)
    if changed := partitioning.bring_together(_hashes(run, _KEYS, done)):
        _discard(run, done, changed)
        work(partitioning.read(changed), none)
    ids = _hashes(run, _IDS, done)
    conflicts = repeated(ids.values())
    if len(conflicts):
        concerned = {n for n, own in ids.items() if own.is_in(conflicts.implode()).any()}
        work(partitioning.read(concerned), conflicts)
    if not any(each.part for each in done.values()):
        write_no_part(run)
    emit(StageFinished(STAGE, sum(one.rows.all for one in done.values()), time.monotonic() - begun))
    return [done[number] for number in sorted(done)]


def stage_partition(
    partition: Partition, plan: ImportPlan, run: RunDir, conflicts: pl.Series
) -> StagedPartition:
    """Map, judge and encode one partition, and write what became of it.

    Args:
        partition: The rows.
        plan: What they are mapped and judged by.
        run: Where the results go; those of the same partition before are replaced.
        conflicts: Hashes of external ids that several transactions of the run have.
    """
    number, (tables, lost) = partition.number, without_lost(partition.tables)
    judged = judge_partition(tables, lost, plan, conflicts)
    shaped, verdict = judged.shaped, judged.verdict
    part = write_part(run, number, judged.staged, plan.budget.partitions(plan.input_bytes))
    quarantine.write_part(run.path, number, verdict, shaped, plan.names)
    measurements.keep(run, number, measurements.measured(plan, judged))
    accepted = verdict.transactions(ACCEPTED)
    _hashes(run, _KEYS).put(number, partition.keys())
    _hashes(run, _IDS).put(number, accepted.select(hash_of(pl.col("external_id"))).to_series())
    _hashes(run, _ITEM_IDS).put(number, _item_hashes(judged.items, accepted))
    return StagedPartition(
        number,
        rows=count_rows(partition.tables, shaped, judged.left_out, verdict),
        part=part,
        waiting=_waiting(verdict, shaped),
        lost_of_known_sales=count_lost_of_known_sales(partition.tables),
    )


def _item_hashes(items: pl.DataFrame, accepted: pl.DataFrame) -> pl.Series:
    """The hashes of item ids; within a sale each id is there once."""
    if "external_id" not in items.columns:
        return pl.Series([], dtype=pl.UInt64)
    ids = items.filter(pl.col(TX).is_in(accepted[TX].implode())).select(pl.col("external_id").drop_nulls())
    return ids.select(hash_of(pl.col("external_id"))).to_series()


def _waiting(verdict: TransactionOutcomes, shaped: RawTransactions) -> frozenset[int]:
    """The files, by SOURCE, that hold rows of sales which were rejected only for what time alone fixes."""
    rejections = verdict.reasons.filter(pl.col("outcome") == Outcome.REJECTED.value)
    by_time = pl.col("code").is_in(FIXED_BY_TIME).all()
    waiting = rejections.group_by(TX).agg(by_time).filter("code").select(TX)
    if waiting.is_empty():
        return frozenset()
    return frozenset(shaped.members.join(waiting, on=TX, how="semi")[SOURCE].unique().to_list())


def count_repeated_items(run: RunDir, staged: Iterable[StagedPartition]) -> int:
    """How many ids of items several sales of a run have."""
    return len(repeated(_hashes(run, _ITEM_IDS, [each.number for each in staged]).values()))


def _discard(run: RunDir, done: dict[int, StagedPartition], numbers: Iterable[int]) -> None:
    """Forget partitions that will be staged again, or that have no rows left."""
    for number in numbers:
        discard_part(run, number)
        quarantine.discard_part(run.path, number)
        measurements.drop(run, number)
        for name in (_KEYS, _IDS, _ITEM_IDS):
            _hashes(run, name).drop(number)
        done.pop(number, None)


def _hashes(run: RunDir, name: str, partitions: Collection[int] = ()) -> Hashes:
    return Hashes(run.scratch, name, partitions)
