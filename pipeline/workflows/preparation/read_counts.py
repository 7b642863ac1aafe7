"""What is counted while rows are read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import polars as pl

from pipeline.core.frames import problems_at
from pipeline.core.model import SOURCE, TX
from pipeline.extract.rows import Batch
from pipeline.workflows.preparation.sources import RunSource


@dataclass
class ReadCounts:
    """What was seen while rows were read.

    Attributes:
        rows: Rows by SOURCE, those included that were malformed or skipped.
        malformed: Problems of the rows that could not be read, by table.
        skipped: Rows that were blank, repeated the header, or are left out by the mapping's rule.
        replaced: Rows with characters that could not be read.
        fingerprints: Those of files by SOURCE, where reading the rows gave them.
    """

    rows: dict[int, int] = field(default_factory=dict)
    malformed: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    skipped: int = 0
    replaced: int = 0
    fingerprints: dict[int, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was seen."""
        return not self.rows and not self.fingerprints

    def taken(self) -> ReadCounts:
        """What was seen until now; from here on, only what comes is counted."""
        taken = replace(self)
        self.rows, self.malformed, self.skipped, self.replaced, self.fingerprints = {}, {}, 0, 0, {}
        return taken

    def end(self, source: RunSource, fingerprint: str | None) -> None:
        """Note the end of a file."""
        if fingerprint:
            self.fingerprints[source.position] = fingerprint

    @classmethod
    def sum(cls, parts: Iterable[ReadCounts]) -> ReadCounts:
        """What was seen in all parts of the input."""
        total = cls()
        for part in parts:
            for position, rows in part.rows.items():
                total.rows[position] = total.rows.get(position, 0) + rows
            for table, frames in part.malformed.items():
                total.malformed.setdefault(table, []).extend(frames)
            total.skipped += part.skipped
            total.replaced += part.replaced
            total.fingerprints |= part.fingerprints
        return total

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
