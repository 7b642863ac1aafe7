"""The state of a run besides its numbers: who works on it now, and whether a later run has replaced it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from pipeline.core.errors import RunError
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.report.render import write_report
from pipeline.report.summary import Summary
from pipeline.staging.manifest import Manifest, read_manifest
from pipeline.staging.workdir import Workdir
from pipeline.workflows.runs import run_record
from pipeline.workflows.runs.incremental import imported_by
from pipeline.workflows.runs.run_summary import unsent, with_delivery
from pipeline.workflows.runs.workdir_lock import lock_holders


def working_on(home: Workdir, run_id: str) -> str:
    """The command that another process runs on a run now, with its start; empty where none does."""
    others = (each for each in lock_holders(home) if each.run_id == run_id and each.pid != os.getpid())
    return next((f"`{each.command}` (since {each.since})" for each in others), "")


def replaced_by(home: Workdir, ledgers: Iterable[SqlLedger], manifest: Manifest, summary: Summary) -> str:
    """The later run that delivered all files of a run that is not finished; empty where none did."""
    if not summary.delivery.pending:
        return ""
    others = []
    if any(source.waiting for source in manifest.sources):
        others = [read_manifest(run) for run in home.runs if run.manifest.exists()]
    return max((imported_by(ledger, manifest, others) for ledger in ledgers), default="")


def report_replaced(home: Workdir, ledger: SqlLedger, by: str) -> None:
    """Write the reports of unfinished runs that this run replaces again, so their pages say so."""
    tenant, statuses = ledger.base_url, ledger.statuses()
    for run in home.runs:
        known = statuses.get(run.run_id, {})
        # A run that only another tenant knows is not this one's to judge.
        is_open = known[tenant].pending > 0 if tenant in known else not known
        if run.run_id >= by or not is_open or not run.manifest.exists():
            continue
        # A run that cannot be read must not end a load.
        with suppress(RunError, OSError, KeyError):
            manifest, record = read_manifest(run), run_record.read(run)
            summary = with_delivery(run, manifest, known.get(tenant or "") or unsent(manifest), tenant)
            if replaced_by(home, [ledger], manifest, summary) == by:
                data = run_record.report_data(run, manifest, summary, replaced_by=by)
                write_report(run.path, data, show_personal_data=record.show_personal_data)
