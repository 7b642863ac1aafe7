"""The summary of a run: the numbers of the dry run, with the delivery as the ledger has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

from pipeline.core.events import Emit, Notice, ignore
from pipeline.core.settings import tenant_of
from pipeline.loading.ledger.entries import RunRef, RunStatus
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.report.render import REPORT_HTML
from pipeline.report.summary import BesideLedger, DeliveryCounts, Summary
from pipeline.staging.manifest import Manifest, read_manifest
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.workflows.runs import run_record


def run_ref(manifest: Manifest) -> RunRef:
    """A run as delivery sees it."""
    return RunRef(manifest.run_id, manifest.transactions, manifest.ordinal)


def statuses_by_run(
    home: Workdir, ledger: Path | str | None, emit: Emit = ignore
) -> Mapping[str, Mapping[str, RunStatus]]:
    """How runs were delivered, by run and tenant; empty where the ledger is a file that does not exist.

    Args:
        home: The working directory.
        ledger: Another ledger than the working directory's own.
        emit: Is given a notice where the ledger was of an older version.

    Raises:
        SettingsError: The ledger cannot be read.
    """
    where = ledger or home.ledger
    if isinstance(where, Path) and not where.exists():
        return {}
    with SqlLedger(where) as opened:
        for sentence in opened.notices:
            emit(Notice("ledger", sentence))
        return opened.statuses()


def summaries_by_tenant(
    run: RunDir, statuses: Mapping[str, RunStatus], base_url: str | None
) -> Iterator[Summary]:
    """A summary for each tenant that knows a run; at least one.

    Args:
        run: The run.
        statuses: How it was delivered, by tenant.
        base_url: The tenant that is meant, which comes last also where nothing was sent to it.
    """
    manifest, meant = read_manifest(run), None if base_url is None else tenant_of(base_url)
    for tenant, status in statuses.items():
        if tenant != meant:
            yield with_delivery(run, manifest, status, tenant)
    if meant is not None:
        yield with_delivery(run, manifest, statuses.get(meant) or unsent(manifest), meant)
    elif not statuses:
        # A tenant that `preflight` asked, or one that did not answer a load.
        asked = [*run_record.read(run).tenants]
        yield with_delivery(run, manifest, unsent(manifest), asked[-1] if asked else None)


def status_in(ledger: SqlLedger, manifest: Manifest) -> RunStatus:
    """How a run was delivered to the ledger's tenant."""
    known = manifest.run_id in ledger.runs()
    return ledger.status(manifest.run_id) if known else unsent(manifest)


def unsent(manifest: Manifest) -> RunStatus:
    """The status of a run of which a tenant has got nothing."""
    number = manifest.transactions
    return RunStatus(number, pending=number - manifest.forgotten, forgotten=manifest.forgotten)


def with_delivery(run: RunDir, manifest: Manifest, status: RunStatus, tenant: str | None) -> Summary:
    """The summary of `prepare`, with the delivery to a tenant."""
    known = run_record.read(run).of(tenant)
    # The ledger counts a transaction for the run that delivered it. What `confirm` saw of those that another
    # run delivered is in the record of this run.
    beside = known.beside or BesideLedger()
    looked_up = known.beside is not None or status.confirmed or status.missing or status.differing
    missing = status.missing - beside.gone_missing + beside.missing
    differing = status.differing - beside.gone_differing + beside.differing + beside.voided + beside.undone
    prepared = Summary.from_dict(manifest.summary)
    cancelled = known.cancelled_after_delivery
    return replace(
        prepared,
        warnings={**prepared.warnings, "cancelled_after_delivery": cancelled}
        if cancelled
        else prepared.warnings,
        run_dir=run.address,
        report=f"{run.address}/{REPORT_HTML}",
        delivery=DeliveryCounts(*(getattr(status, each.name) for each in fields(DeliveryCounts))),
        confirmed=status.confirmed + beside.confirmed if looked_up else None,
        missing=max(0, missing) if looked_up else None,
        differing=max(0, differing) if looked_up else None,
        tenant=tenant,
        beside=beside,
    )
