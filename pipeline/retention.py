"""Retention: what holds whole sales is removed from old runs; what was delivered stays known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from pipeline import review
from pipeline.holding import holding
from pipeline.loading.decisions import Case, Load, Look, Retry, Send
from pipeline.loading.entries import Progress, RunRef
from pipeline.loading.ledger import SqlLedger
from pipeline.model import StagedTransaction
from pipeline.privacy import mask_body
from pipeline.report.facts import Facts
from pipeline.report.view import masked
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged import StagedRun
from pipeline.staging.workdir import RunDir, Workdir, discard
from pipeline.standing import report
from pipeline.undelivered import UNDELIVERED_CSV


@dataclass(frozen=True)
class Pruned:
    """What became of an old run.

    Attributes:
        run_id: The run.
        files: Files that were removed, or would be.
        bytes: Their size.
        left_alone: Why nothing was removed; empty where it was.
    """

    run_id: str
    files: int = 0
    bytes: int = 0
    left_alone: str = ""


def prune(
    workdir: Path,
    older_than: timedelta,
    *,
    ledger: str | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> list[Pruned]:
    """Remove staged bodies, quarantine and whatever else holds whole sales from runs of some age.

    Manifest, ledger, log and report stay; the report and what it is made from are masked for good.

    Args:
        workdir: The working directory.
        older_than: Runs that were prepared longer ago are old.
        ledger: Another ledger than the working directory's own.
        force: Also where something was never delivered, which cannot be sent afterwards.
        dry_run: Only say what would be removed.

    Returns:
        The old runs that hold anything to remove, oldest first.

    Raises:
        SettingsError: The ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    home = Workdir(workdir.expanduser().absolute())
    if not home.runs:
        return []
    with holding(home, "prune", ledger):
        return [
            _pruned(home, run, ledger, force=force, dry_run=dry_run)
            for run in home.runs
            if _age(run) > older_than and _removable(run)
        ]


def _age(run: RunDir) -> timedelta:
    begun = datetime.strptime(run.run_id.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return datetime.now(UTC) - begun


def _removable(run: RunDir) -> list[Path]:
    """Everything that holds whole sales."""
    if not run.manifest.exists():
        return [run.path]
    rows = sorted(run.path.glob("quarantine_rows*"))
    paths = [
        run.staged,
        run.quarantine,
        run.path / "quarantine.csv",
        run.path / UNDELIVERED_CSV,
        *rows,
        run.scratch,
    ]
    return [path for path in paths if path.exists()]


def _pruned(home: Workdir, run: RunDir, ledger: str | None, *, force: bool, dry_run: bool) -> Pruned:
    finished = run.manifest.exists()
    if finished and not force and (waiting := _waiting(home, run, ledger)):
        return Pruned(run.run_id, left_alone=f"{waiting:,} transactions of it were never delivered")
    paths = _removable(run)
    files = [file for path in paths for file in [path, *path.rglob("*")] if file.is_file()]
    found = Pruned(run.run_id, len(files), sum(file.stat().st_size for file in files))
    if not dry_run:
        if finished:
            _mask(home, run, ledger)
        for path in paths:
            discard(path) if path.is_dir() else path.unlink()
    return found


def _waiting(home: Workdir, run: RunDir, ledger: str | None) -> int:
    """How many transactions `load` or `retry` would still send: no newer run has delivered them.

    None where the gate is closed, or where an earlier `prune` was cut off.
    """
    gate, manifest = review.saved(run).gate, read_manifest(run)
    begun = any(not (run.staged / part.file).exists() for part in manifest.parts)
    if begun or (gate is not None and gate.closed):
        return 0
    if not (ledger or home.ledger.exists()):
        return manifest.transactions
    with SqlLedger(ledger or home.ledger) as opened:
        if run.run_id not in opened.runs():
            progress = Progress(-1, 0, manifest.transactions)
        else:
            status = opened.status(run.run_id)
            if not (status.pending or status.failed or status.refused or status.in_doubt):
                return 0
            progress = opened.open_run(RunRef(run.run_id, manifest.transactions, manifest.ordinal))
        return sum(_would_send(batch, opened, progress) for batch in StagedRun(run, manifest).batches())


def _would_send(batch: Sequence[StagedTransaction], ledger: SqlLedger, progress: Progress) -> int:
    known = ledger.find([each.external_id for each in batch])
    cases = [Case(0, each, known.get(each.external_id), progress) for each in batch if each.body]
    return sum(
        isinstance(Load().decide(case), Send | Look) or isinstance(Retry().decide(case), Send)
        for case in cases
    )


def _mask(home: Workdir, run: RunDir, ledger: str | None) -> None:
    """Mask what the report is made from, for good; a report that was unmasked is written anew."""
    kept, facts = review.saved(run), _facts(run)
    samples = facts.samples.with_columns(
        pl.col("body").map_elements(mask_body, return_dtype=pl.String, skip_nulls=True)
    )
    hidden = replace(kept, causes=tuple(masked(kept.causes)), show_personal_data=False)
    review.save(run, hidden, replace(facts, samples=samples))
    if kept.show_personal_data:
        report(home.path, run.run_id, ledger=ledger)


def _facts(run: RunDir) -> Facts:
    return Facts.from_json((run.path / "facts.json").read_text(encoding="utf-8"))
