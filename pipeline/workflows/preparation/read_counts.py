"""The rows of a plan's files, counted while they are read for the first time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from pipeline.core.frames import problems_at
from pipeline.core.model import SOURCE, TX
from pipeline.extract.rows import Batch
from pipeline.staging.partitions.partitioning import AdjacentPartitioning, KeyPartitioning, Partitioning
from pipeline.staging.workdir import RunDir
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.sources import RunSource, raw_rows


@dataclass
class ReadCounts:
    """What was seen while the rows were read for the first time.

    Attributes:
        rows: Rows by SOURCE, those included that were malformed or skipped.
        malformed: Problems of the rows that could not be read, by table.
        skipped: Rows that were blank, repeated the header, or are left out by the mapping's rule.
        replaced: Rows with characters that could not be read.
    """

    rows: dict[int, int] = field(default_factory=dict)
    malformed: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    skipped: int = 0
    replaced: int = 0

    def clear(self) -> None:
        """Forget a reading that was broken off."""
        self.rows, self.malformed, self.skipped, self.replaced = {}, {}, 0, 0

    def add(self, source: RunSource, batch: Batch, skipped: int) -> None:
        """Count a batch as the reader gave it."""
        rows = batch.rows.height + batch.malformed.height + batch.blank
        self.rows[source.position] = self.rows.get(source.position, 0) + rows
        self.skipped += skipped
        self.replaced += len(batch.replaced)
        if batch.malformed.height:
            at = pl.lit(None).alias(TX), pl.lit(source.position).alias(SOURCE)
            rows_lost = batch.malformed.with_columns(at)
            problems = problems_at(rows_lost, "malformed_row", pl.col("message"), raw=pl.col("raw"))
            self.malformed.setdefault(source.table, []).append(problems)

    @property
    def malformed_rows(self) -> int:
        """Rows that could not be read."""
        return sum(frame.height for frames in self.malformed.values() for frame in frames)


class _CountedRows:
    """Reads the rows of a plan's files. The first reading that reaches their end is counted."""

    def __init__(self, plan: ImportPlan, counts: ReadCounts) -> None:
        self._plan = plan
        self._counts = counts
        self._counted = False

    def __call__(self) -> Iterator[tuple[str, pl.DataFrame]]:
        if not self._counted:
            self._counts.clear()
        look = _ignore if self._counted else self._counts.add
        yield from raw_rows(self._plan.sources, self._plan.spec, look)
        self._counted = True


def _ignore(source: RunSource, batch: Batch, skipped: int) -> None:
    """Do not count a batch a second time."""


def partitioning_of(plan: ImportPlan, run: RunDir, counts: ReadCounts) -> Partitioning:
    """How a plan's rows are cut: as they are read if one file has all rows of a transaction, else by key."""
    kind = KeyPartitioning if plan.spec.source.tables else AdjacentPartitioning
    return kind(_CountedRows(plan, counts), plan.input_bytes, run.scratch, plan.budget)
