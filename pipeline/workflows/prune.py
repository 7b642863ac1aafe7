"""`prune`: remove from old runs what holds whole sales; what was delivered stays known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.core.model import StagedTransaction
from pipeline.core.storage.files import discard
from pipeline.core.text.privacy import mask_body
from pipeline.core.text.wording import agree, count
from pipeline.loading.delivery.decisions import has_newer_contents
from pipeline.loading.delivery.leases import positioned
from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    UNSETTLED,
    DeliveryProgress,
    Passed,
    Record,
    RunRef,
    State,
    content_hash,
    counted_in,
)
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.report.view import masked
from pipeline.staging.manifest import Manifest, read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.workflows.preflight import NEW_LOCATIONS_CSV, UNKNOWN_PROFILES_CSV
from pipeline.workflows.report import report
from pipeline.workflows.results import RESULTS
from pipeline.workflows.runs import run_record
from pipeline.workflows.runs.failed_transactions import UNDELIVERED_CSV
from pipeline.workflows.runs.workdir_lock import workdir_lock
from pipeline.workflows.tenant.cancelled_sales import CANCELLED_CSV
from pipeline.workflows.tenant.effects import SNAPSHOT_JSON


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

    Manifest, ledger, log and report stay; the report and the data it is made from are masked permanently.

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
    with workdir_lock(home, "prune", ledger):
        old = [run for run in home.runs if _age(run) > older_than and _removable(run)]
        found = [_found(home, run, ledger, force=force) for run in old]
        for run, each in zip(old, found, strict=True):
            if not (dry_run or each.left_alone):
                _remove(home, run, ledger)
        return found


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
        run.path / CANCELLED_CSV,
        *sorted(run.path.glob(f"{RESULTS}.*")),
        run.path / SNAPSHOT_JSON,
        run.path / UNKNOWN_PROFILES_CSV,
        run.path / NEW_LOCATIONS_CSV,
        *rows,
        run.scratch,
    ]
    return [path for path in paths if path.exists()]


def _found(home: Workdir, run: RunDir, ledger: str | None, *, force: bool) -> Pruned:
    """What there is to remove of an old run, or why it is left alone."""
    if run.manifest.exists() and not force and (needed := _needed(home, run, ledger)):
        what, are = count(needed, "transaction"), agree(needed, "is")
        return Pruned(run.run_id, left_alone=f"{what} of it {are} not delivered and can still be sent")
    files = [file for path in _removable(run) for file in [path, *path.rglob("*")] if file.is_file()]
    return Pruned(run.run_id, len(files), sum(file.stat().st_size for file in files))


def _remove(home: Workdir, run: RunDir, ledger: str | None) -> None:
    paths = _removable(run)
    was_prepared = run.manifest.exists()
    if was_prepared:
        _mask(run)
    for path in paths:
        discard(path) if path.is_dir() else path.unlink()
    if was_prepared:
        # Written again without what was masked, and without links to the files that are gone.
        report(home.path, run.run_id, ledger=ledger)


def _needed(home: Workdir, run: RunDir, ledger: str | None) -> int:
    """How many staged bodies `load`, `retry` or `confirm --resend` could still send, by their records.

    A body is needed where any tenant that knows the run needs it. If no tenant knows the run, it is needed
    unless some tenant got all of it by another run. Delivered transactions need none: they cannot be voided
    once their run is pruned.
    """
    gate, manifest = run_record.read(run).gate, read_manifest(run)
    # An earlier `prune` was cut off, or the gate was closed, so nothing can be sent.
    if any(not (run.staged / part.file).exists() for part in manifest.parts) or (gate and gate.closed):
        return 0
    sizes = [part.transactions for part in manifest.parts]
    if not (ledger or home.ledger.exists()):
        return sum(sizes) - manifest.forgotten
    where = ledger or home.ledger
    with SqlLedger(where) as opened:
        tenants = opened.tenants()
        knowing = list(opened.statuses().get(run.run_id, {}))
    needs = [_needed_by(where, tenant, run, manifest) for tenant in knowing or tenants]
    return (max if knowing else min)(needs, default=sum(sizes) - manifest.forgotten)


def _needed_by(where: Path | str, tenant: str, run: RunDir, manifest: Manifest) -> int:
    ref = RunRef(run.run_id, manifest.transactions, manifest.ordinal)
    number = 0
    with SqlLedger(where, tenant) as ledger:
        progress, is_passed = ledger.progress(ref), ledger.passed(run.run_id)
        for position, batch in positioned(StagedRun(run.here, manifest).batches):
            known = ledger.find([each.external_id for each in batch], progress.run_no)
            number += sum(
                _is_needed(each, known.get(each.external_id), progress, is_passed=is_passed(at))
                for at, each in enumerate(batch, position)
                if each.body
            )
    return number


def _is_needed(
    transaction: StagedTransaction, record: Record | None, progress: DeliveryProgress, *, is_passed: bool
) -> bool:
    """Whether a body may still be sent to the tenant whose record this is."""
    place = record.place if record else None
    counted = counted_in(progress.run_no, record, place, passed=is_passed)
    if record is None or record.run_no == progress.run_no:
        return counted in _MAY_BE_SENT
    if place is None and counted is State.PENDING and record.state in ACCEPTED_BY_OMNEO:
        # Another run has sent this sale since. The same contents or older ones are not sent after those.
        is_other = record.hash != content_hash(transaction.body)
        return is_other and not has_newer_contents(record, transaction, progress)
    return counted in (State.PENDING, State.REFUSED, State.FAILED, Passed.HELD)


_MAY_BE_SENT: Final = UNSETTLED - {State.DIFFERING}


def _mask(run: RunDir) -> None:
    """Mask the data of the report permanently."""
    record, facts = run_record.read(run), run_record.read_facts(run)
    samples = facts.samples.with_columns(
        pl.col("body").map_elements(mask_body, return_dtype=pl.String, skip_nulls=True),
        pl.lit(None, pl.String).alias("rows"),
    )
    hidden = replace(record, causes=tuple(masked(record.causes)), show_personal_data=False)
    run_record.write(run, hidden, replace(facts, samples=samples))
