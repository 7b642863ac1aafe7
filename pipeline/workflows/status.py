"""How runs stand: the dry run's numbers, with the delivery as the ledger has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pipeline.core.events import Emit, Notice, ignore
from pipeline.core.findings import RootCause
from pipeline.core.settings import tenant_of
from pipeline.loading.ledger.entries import RunStatus
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.report.data import ReportData
from pipeline.report.render import REPORT_HTML, write_report
from pipeline.report.summary import Delivery, Summary
from pipeline.report.verdict import Verdict, verdict_of
from pipeline.report.view import view
from pipeline.staging.manifest import Manifest, read_manifest
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.workflows import run_record


@dataclass(frozen=True)
class Standing:
    """How a run stands.

    Attributes:
        summary: In numbers.
        verdict: In words.
        causes: Why transactions were rejected or dropped.
    """

    summary: Summary
    verdict: Verdict
    causes: Sequence[RootCause] = ()


def status(
    workdir: Path,
    reference: str | None,
    *,
    ledger: Path | str | None = None,
    base_url: str | None = None,
    emit: Emit = ignore,
) -> list[Standing]:
    """How all runs stand, oldest first; or how one does. Leaves no trace.

    Args:
        workdir: The working directory.
        reference: Which run; None for all.
        ledger: Another ledger than the working directory's own.
        base_url: The tenant that is meant; of one run it comes last, also where nothing was sent to it.
        emit: Is told where the ledger was of an older version.

    Returns:
        One for each run and tenant that knows it; one for a run that no tenant knows.

    Raises:
        CannotStart: There is no such run, or the ledger cannot be read.
    """
    home = Workdir(workdir.expanduser().absolute())
    runs = [home.find(reference)] if reference else [run for run in home.runs if run.manifest.exists()]
    standing = []
    known = _known(home, ledger, emit)
    for run in runs:
        kept = run_record.saved(run)
        for summary in _summaries(run, known.get(run.run_id, {}), base_url if reference else None):
            stopped = kept.of(summary.tenant).stopped
            verdict = verdict_of(summary, gate=kept.gate, stopped=stopped, unsure=kept.unsure)
            standing.append(Standing(summary, verdict, kept.causes))
    return standing


def report(
    workdir: Path,
    reference: str,
    *,
    ledger: Path | str | None = None,
    base_url: str | None = None,
    show_personal_data: bool | None = None,
) -> tuple[ReportData, dict[str, Any]]:
    """Write the report of a run again, as it stands now.

    Args:
        workdir: The working directory.
        reference: Which run.
        ledger: Another ledger than the working directory's own.
        base_url: The tenant that it is about; else the last one to which something of the run was sent.
        show_personal_data: Mask or not; None for what `prepare` was told.

    Returns:
        What the report tells, and the same as the plain values that were written.

    Raises:
        CannotStart: There is no such run, or the ledger cannot be read.
    """
    home = Workdir(workdir.expanduser().absolute())
    run = home.find(reference)
    kept = run_record.saved(run)
    if show_personal_data is not None:
        kept = replace(kept, show_personal_data=show_personal_data)
        run_record.save(run, kept)
    *_, summary = _summaries(run, _known(home, ledger).get(run.run_id, {}), base_url)
    data = run_record.report_data(run, read_manifest(run), summary)
    write_report(run.path, data, show_personal_data=kept.show_personal_data)
    return data, view(data, show_personal_data=kept.show_personal_data)


def _known(
    home: Workdir, ledger: Path | str | None, emit: Emit = ignore
) -> Mapping[str, Mapping[str, RunStatus]]:
    """How runs were delivered, by run and tenant."""
    with _opened(home, ledger) as opened:
        if opened is None:
            return {}
        for sentence in opened.notices:
            emit(Notice("ledger", sentence))
        return opened.statuses()


def _summaries(run: RunDir, known: Mapping[str, RunStatus], base_url: str | None) -> Iterator[Summary]:
    """One for each tenant, that which is meant last; at least one."""
    manifest, meant = read_manifest(run), None if base_url is None else tenant_of(base_url)
    for tenant, status in known.items():
        if tenant != meant:
            yield counted(run, manifest, status, tenant)
    if meant is not None:
        yield counted(run, manifest, known.get(meant) or unsent(manifest), meant)
    elif not known:
        asked = [*run_record.saved(run).tenants]  # by `preflight`, or a load that got no answer
        yield counted(run, manifest, unsent(manifest), asked[-1] if asked else None)


def unsent(manifest: Manifest) -> RunStatus:
    """The status of a run of which a tenant has got nothing."""
    number = manifest.transactions
    return RunStatus(number, pending=number - manifest.forgotten, forgotten=manifest.forgotten)


@contextmanager
def _opened(home: Workdir, ledger: Path | str | None) -> Iterator[SqlLedger | None]:
    """The ledger; None where it is a file that is not there yet."""
    where = ledger or home.ledger
    if isinstance(where, Path) and not where.exists():
        yield None
        return
    with SqlLedger(where) as opened:
        yield opened


def counted(run: RunDir, manifest: Manifest, known: RunStatus, tenant: str | None) -> Summary:
    """The summary of `prepare`, with the delivery as the ledger has it."""
    looked = (known.confirmed, known.missing, known.differing)
    # What an earlier run delivered counts there; what `confirm` saw of it is remembered here.
    seen = looked if any(looked) else run_record.saved(run).of(tenant).looked_up or (None, None, None)
    return replace(
        Summary.from_dict(manifest.summary),
        run_dir=run.address,
        report=f"{run.address}/{REPORT_HTML}",
        delivery=Delivery(*(getattr(known, each.name) for each in fields(Delivery))),
        confirmed=seen[0],
        missing=seen[1],
        differing=seen[2],
        tenant=tenant,
    )
