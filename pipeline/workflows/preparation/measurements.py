"""What partitions add to the report: kept in a file by each of them, and added up for the run."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import polars as pl

import pipeline.core.pickling  # noqa: F401 (frames are pickled here)
from pipeline.core.frames import NO_PROBLEMS
from pipeline.core.storage.directories import Directory, write
from pipeline.core.storage.partition_names import partition_name
from pipeline.report.aggregates import Facts
from pipeline.report.aggregates import merge as merge_facts
from pipeline.report.partition_facts import measure, measure_reasons
from pipeline.staging.workdir import SCRATCH
from pipeline.validation.anomalies.observations import (
    Observations,
    merge_observations,
    nothing_observed,
    observe,
)
from pipeline.validation.control_totals import sums_by_key
from pipeline.validation.root_causes import group_reasons, merge_groups
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.judged_partition import JudgedPartition
from pipeline.workflows.preparation.read_counts import ReadCounts
from pipeline.workflows.preparation.report_parts.sample_rows import with_source_rows

_ADDED_AT_A_TIME = 8
"""Partitions that are added up at once: more do not fit in memory, and fewer repeat the sum too often."""


@dataclass(frozen=True)
class Measurements:
    """What a partition, or a whole run, adds to the report.

    Attributes:
        facts: Counts and sums.
        observations: What statistical warnings are made from.
        groups: Reasons, grouped by cause.
        totals: By the dimensions of the control totals; empty where there are none.
    """

    facts: Facts
    observations: Observations
    groups: pl.DataFrame
    totals: pl.DataFrame


def measured(plan: ImportPlan, judged: JudgedPartition) -> Measurements:
    """Measure a partition."""
    headers, outcomes, reasons = judged.verdict.headers, judged.verdict.outcomes, judged.verdict.reasons
    facts = measure(headers, judged.items, outcomes, reasons).with_bodies(judged.staged)
    return Measurements(
        with_source_rows(facts, plan, judged),
        observe(headers, judged.items, outcomes, reasons),
        group_reasons(reasons),
        sums_by_key(headers, outcomes, plan.control.by) if plan.control else pl.DataFrame(),
    )


def added_up(run: Directory, counts: ReadCounts) -> Measurements:
    """Add up the measurements of all partitions, and the rows that never became a transaction."""
    unreadable = [frame for frames in counts.malformed.values() for frame in frames]
    malformed = pl.concat([NO_PROBLEMS, *unreadable])
    reasons = malformed.with_columns(pl.lit("rejected").alias("outcome"))
    total = Measurements(measure_reasons(reasons), nothing_observed(), group_reasons(reasons), pl.DataFrame())
    kept = _kept(run)
    while some := list(islice(kept, _ADDED_AT_A_TIME)):
        both = [total, *some]
        total = Measurements(
            merge_facts([each.facts for each in both]),
            merge_observations([each.observations for each in both]),
            merge_groups([each.groups for each in both]),
            pl.concat([each.totals for each in both], how="diagonal"),
        )
    return total


def keep(run: Directory, number: int, measurements: Measurements) -> None:
    """Keep the measurements of a partition, in place of those it had before."""
    # A pickle: these files are the run's own, in its private directory, and gone before it is prepared.
    write(run / SCRATCH, _file(number), pickle.dumps(measurements))


def drop(run: Directory, number: int) -> None:
    """Remove the measurements of a partition, if there are any."""
    (run / SCRATCH).remove(_file(number))


def _kept(run: Directory) -> Iterator[Measurements]:
    """The measurements of the partitions, in their order."""
    scratch = run / SCRATCH
    return map(pickle.loads, scratch.contents(scratch.names("found-*")))


def _file(number: int) -> str:
    return f"found-{partition_name(number)}"
