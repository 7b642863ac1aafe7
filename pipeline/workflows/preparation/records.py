"""The numbers and the manifest of a run whose partitions are staged."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import polars as pl

from pipeline import __version__
from pipeline.core.errors import SourceError
from pipeline.core.model import LINES
from pipeline.core.storage.file_formats import FORMATS
from pipeline.core.text.wording import count
from pipeline.extract.source_files import unchanged
from pipeline.report.aggregates import Facts
from pipeline.report.summary import AccountingError, RowTotals, Summary, TransactionCounts, totals_of
from pipeline.staging.manifest import Manifest, SourceRecord
from pipeline.staging.workdir import RunDir
from pipeline.validation import quarantine
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.read_counts import ReadCounts
from pipeline.workflows.preparation.staged_partition import StagedPartition
from pipeline.workflows.runs.incremental import mapping_fingerprint


@dataclass(frozen=True)
class StagedInput:
    """Everything that is known once all partitions are staged.

    Attributes:
        plan: What was done.
        run: Where the results are.
        counts: What was seen while the rows were read.
        partitions: What became of each partition.
        sources: The files that were read.
    """

    plan: ImportPlan
    run: RunDir
    counts: ReadCounts
    partitions: Sequence[StagedPartition]
    sources: tuple[SourceRecord, ...]


def source_records(
    plan: ImportPlan, counts: ReadCounts, partitions: Sequence[StagedPartition], fingerprints: Sequence[str]
) -> tuple[SourceRecord, ...]:
    """The records of the files that were read.

    Raises:
        SourceError: A file changed while it was read.
    """
    for each in plan.sources:
        if not unchanged(each.file):
            raise SourceError(
                f"{each.file.name} was changed while it was read; nothing was staged.",
                hint="Prepare again once the export is complete.",
            )
    waiting = frozenset[int]().union(*(each.waiting for each in partitions))
    return tuple(
        SourceRecord(
            name=each.file.name,
            table=each.table,
            size=each.file.size,
            rows=counts.rows.get(each.position, 0),
            modified=each.file.modified.isoformat() if each.file.modified else "",
            fingerprint=fingerprint,
            uri=each.file.uri,
            written=each.file.written.isoformat() if each.file.written else "",
            waiting=each.position in waiting,
        )
        for each, fingerprint in zip(plan.sources, fingerprints, strict=True)
    )


def counted(staged: StagedInput, facts: Facts, warnings: Mapping[str, int]) -> dict[str, Any]:
    """The fields of the summary that say what was read and what became of it.

    Args:
        staged: The staged input.
        facts: Of the whole run.
        warnings: About the run as a whole.

    Raises:
        AccountingError: The rows that were read, and those that have an outcome, are not as many.
    """
    counts, by_partition = staged.counts, [each.rows for each in staged.partitions]
    rows = RowTotals(
        read=sum(counts.rows.values()),
        malformed=counts.malformed_rows,
        duplicate=sum(each.duplicate for each in by_partition),
        skipped=counts.skipped + sum(each.skipped for each in by_partition),
    )
    with_outcome = counts.skipped + sum(each.all for each in by_partition)
    malformed = sum(each.malformed for each in by_partition)
    if rows.read != with_outcome or rows.malformed != malformed:
        raise AccountingError(
            f"{count(rows.read, 'row', 'was')} read, {rows.malformed} of them malformed, "
            f"but {with_outcome} have an outcome, {malformed} of them as malformed."
        )
    outcomes = {name: facts.transactions(name) for name in ("accepted", "dropped", "rejected")}
    unmapped = sum(map(len, staged.plan.unmapped.values()))
    return {
        "rows": rows,
        "transactions": TransactionCounts(sum(outcomes.values()), **outcomes),
        "dropped": facts.by_code("dropped"),
        "rejected": facts.by_code("rejected"),
        "warnings": {
            **facts.by_code("warning"),
            **warnings,
            **({"unmapped_column": unmapped} if unmapped else {}),
        },
        "totals": totals_of({name: facts.sums(name) for name in outcomes}),
    }


def manifest_of(staged: StagedInput, summary: Summary) -> Manifest:
    """The immutable record of a run."""
    plan = staged.plan
    return Manifest(
        run_id=staged.run.run_id,
        created_at=plan.started_at.isoformat(),
        mapping={
            "name": plan.spec.mapping,
            "path": str(plan.mapping.path),
            "digest": plan.mapping.digest,
            "recipe": mapping_fingerprint(plan.mapping, plan.lookups),
        },
        mapping_text=plan.mapping.document.text,
        sources=staged.sources,
        parts=tuple(each.part for each in staged.partitions if each.part is not None),
        versions={
            "omneo-import": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("polars", "pyarrow", "pandera")},
        },
        summary=summary.as_dict(),
    )


def write_quarantine(plan: ImportPlan, run: RunDir, counts: ReadCounts) -> None:
    """Put the quarantine's files together."""
    for table, frames in counts.malformed.items():
        quarantine.write_malformed(run.shared, pl.concat(frames), plan.names, table)
    source = plan.spec.source
    # In reverse, so that the first file of each table is the one that stays in the dict.
    first = {each.table: each.file.name for each in reversed(plan.sources)}
    globs = {str(table): entry.inputs for table, entry in source.tables.items()} or {LINES: source.inputs}
    names = quarantine.file_names(first, globs)
    form = quarantine.RowsForm(source.csv, FORMATS[source.format or "csv"].rows_to_fix, plan.columns, names)
    quarantine.finish(run.path, form, run.shared)
