"""The work on one partition, on whatever machine: its rows are read, mapped, judged, encoded and written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import polars as pl

from pipeline.core.codes import CODES, Outcome
from pipeline.core.model import KEY, SOURCE, TX
from pipeline.core.storage.directories import Directory
from pipeline.core.storage.partition_frames import RawTransactions
from pipeline.core.storage.partition_names import PLACES
from pipeline.mapping.layout.raw_transactions import without_lost
from pipeline.staging.manifest import PartRecord
from pipeline.staging.partitions.hashes import NO_HASHES, Hashes
from pipeline.staging.partitions.shuffle import read_bucket, write_buckets
from pipeline.staging.staged_run import write_part
from pipeline.staging.workdir import SCRATCH
from pipeline.validation import quarantine
from pipeline.validation.outcomes import ACCEPTED, TransactionOutcomes
from pipeline.workflows.preparation import measurements
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.input_splits import InputSplit, Partition, partitions_of
from pipeline.workflows.preparation.judged_partition import hash_of, judge_partition
from pipeline.workflows.preparation.read_counts import ReadCounts
from pipeline.workflows.preparation.row_accounting import RowCounts, count_lost_of_known_sales, count_rows

KEYS, IDS, ITEM_IDS = "keys", "ids", "item-ids"
"""What is hashed by partition: keys of transactions, their external ids, and the ids of their items."""


@dataclass(frozen=True)
class Bucket:
    """A bucket of the shuffle: as a job, behind the splits, its `number`; in the shuffle its `place`."""

    number: int
    place: int


@dataclass(frozen=True)
class StagedPartition:
    """What became of a partition. Its bodies, quarantine, measurements and hashes are written by then.

    Attributes:
        number: The partition's.
        rows: Its rows by outcome; none where all of them went to the shuffle.
        keys: How many keys of transactions they have.
        part: The record of its staged part; None where it accepted nothing.
        waiting: The files, by SOURCE, with sales that only have to be read again later.
        lost_of_known_sales: How many malformed rows belong to a sale that is known, and rejected.
        counts: What was seen while its rows were read.
        shuffled: The tables of which rows went to the shuffle.
    """

    number: int
    rows: RowCounts = field(default_factory=RowCounts)
    keys: int = 0
    part: PartRecord | None = None
    waiting: frozenset[int] = frozenset()
    lost_of_known_sales: int = 0
    counts: ReadCounts = field(default_factory=ReadCounts)
    shuffled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """What is done with the partitions of a job.

    Attributes:
        plan: What rows are mapped and judged by.
        run: The run's directory for the results; those of the same partition before are replaced.
        apart: Keys of the transactions whose rows go to the shuffle; None for those of all.
        buckets: How many the shuffle has.
        written: Number and table of all that was written for the shuffle, in order.
        conflicts: Hashes of external ids that several transactions of the run have.
        wanted: The numbers of the partitions that are worked on; None for all.
    """

    plan: ImportPlan
    run: Directory
    apart: pl.Series | None = field(default_factory=NO_HASHES.clone)
    buckets: int = 0
    written: tuple[tuple[int, str], ...] = ()
    conflicts: pl.Series = field(default_factory=NO_HASHES.clone)
    wanted: frozenset[int] | None = None

    def partitions(self, job: InputSplit | Bucket) -> Iterator[Partition]:
        """Read the partitions of a job."""
        if isinstance(job, InputSplit):
            yield from partitions_of(job, self.plan, self.wanted)
        else:
            tables = read_bucket(self.run / SCRATCH, self.written, job.place)
            yield Partition(job.number * PLACES, tables, ReadCounts(), is_bucket=True)

    def stage(self, partition: Partition) -> StagedPartition:
        """Stage a partition, but for the rows that go to the shuffle."""
        kept, shuffled = dict(partition.tables), []
        if not partition.is_bucket:
            for table, rows in partition.tables.items():
                apart, kept[table] = self._divided(rows)
                if apart.height:
                    write_buckets(self.run / SCRATCH, partition.number, table, apart, self.buckets)
                    shuffled.append(table)
        staged = StagedPartition(partition.number)
        # All rows of a partition may go to the shuffle.
        if any(rows.height for rows in kept.values()):
            staged = stage_partition(partition.number, kept, self.plan, self.run, self.conflicts)
        return replace(staged, counts=partition.counts, shuffled=tuple(shuffled))

    def _divided(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows that go to the shuffle, and the others."""
        if self.apart is None:
            return rows, rows.clear()
        if self.apart.is_empty():
            return rows.clear(), rows
        # A row without a key belongs to no transaction, so it stays.
        lies_apart = pl.col(KEY).is_in(self.apart.implode()).fill_null(value=False)
        return rows.filter(lies_apart), rows.filter(~lies_apart)


def stage_partition(
    number: int, tables: dict[str, pl.DataFrame], plan: ImportPlan, run: Directory, conflicts: pl.Series
) -> StagedPartition:
    """Map, judge and encode the rows of one partition, and write what became of them.

    Args:
        number: The partition's.
        tables: Its rows; at least one.
        plan: What they are mapped and judged by.
        run: The run's directory for the results; those of the same partition before are replaced.
        conflicts: Hashes of external ids that several transactions of the run have.
    """
    judged = judge_partition(*without_lost(tables), plan, conflicts)
    shaped, verdict = judged.shaped, judged.verdict
    part = write_part(run, number, judged.staged, plan.budget.partitions(plan.input_bytes))
    quarantine.write_part(run, number, verdict, shaped, plan.names)
    measurements.keep(run, number, measurements.measured(plan, judged))
    accepted = verdict.transactions(ACCEPTED)
    keys = pl.concat(rows[KEY] for rows in tables.values()).drop_nulls().unique()
    scratch = run / SCRATCH
    Hashes(scratch, KEYS).put(number, keys)
    Hashes(scratch, IDS).put(number, accepted.select(hash_of(pl.col("external_id"))).to_series())
    Hashes(scratch, ITEM_IDS).put(number, _item_hashes(judged.items, accepted))
    return StagedPartition(
        number,
        rows=count_rows(tables, shaped, judged.left_out, verdict),
        keys=len(keys),
        part=part,
        waiting=_waiting(verdict, shaped),
        lost_of_known_sales=count_lost_of_known_sales(tables),
    )


def _item_hashes(items: pl.DataFrame, accepted: pl.DataFrame) -> pl.Series:
    """The hashes of item ids; within a sale each id is there once."""
    if "external_id" not in items.columns:
        return NO_HASHES
    ids = items.filter(pl.col(TX).is_in(accepted[TX].implode())).select(pl.col("external_id").drop_nulls())
    return ids.select(hash_of(pl.col("external_id"))).to_series()


def _waiting(verdict: TransactionOutcomes, shaped: RawTransactions) -> frozenset[int]:
    """The files, by SOURCE, that hold rows of sales which were rejected only for what time alone fixes."""
    rejections = verdict.reasons.filter(pl.col("outcome") == Outcome.REJECTED.value)
    by_time = pl.col("code").is_in([code.name for code in CODES.values() if code.fixed_by_time]).all()
    waiting = rejections.group_by(TX).agg(by_time).filter("code").select(TX)
    if waiting.is_empty():
        return frozenset()
    return frozenset(shaped.members.join(waiting, on=TX, how="semi")[SOURCE].unique().to_list())
