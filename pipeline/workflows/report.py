"""`report`: write the report of a run again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pipeline.core.storage.files import write_private
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.report.data import ReportData
from pipeline.report.render import write_report
from pipeline.report.runs_page import RunLine, render_runs
from pipeline.report.view import view
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import Workdir
from pipeline.workflows.runs import run_record
from pipeline.workflows.runs.run_state import replaced_by, working_on
from pipeline.workflows.runs.run_summary import statuses_by_run, summaries_by_tenant
from pipeline.workflows.runs.state_worth import worth_by_state
from pipeline.workflows.status import RunOverview, status

RUNS_HTML: Final = "runs.html"


def report_all(workdir: Path, *, ledger: Path | str | None = None) -> tuple[Path, list[RunOverview]]:
    """Write one page over all runs into the working directory.

    Args:
        workdir: The working directory.
        ledger: Another ledger than the working directory's own.

    Returns:
        The page, and the runs on it, oldest first.

    Raises:
        CannotStart: The ledger cannot be read.
    """
    home = Workdir.open(workdir)
    runs = status(home.path, None, ledger=ledger)
    lines = []
    for each in runs:
        mapping = read_manifest(home.find(each.summary.run_id)).mapping
        name = Path(mapping["path"]).name
        lines.append(RunLine(each.summary, each.verdict, name, each.currency, each.replaced_by))
    page = home.path / RUNS_HTML
    write_private(page, render_runs(lines))
    return page, runs


def report(
    workdir: Path,
    reference: str,
    *,
    ledger: Path | str | None = None,
    base_url: str | None = None,
    show_personal_data: bool | None = None,
) -> tuple[ReportData, dict[str, Any]]:
    """Write the report of a run again, with the state of the run now.

    Args:
        workdir: The working directory.
        reference: Which run.
        ledger: Another ledger than the working directory's own.
        base_url: The tenant that it is about; else the last one to which something of the run was sent.
        show_personal_data: Mask or not; None for what `prepare` was called with.

    Returns:
        The contents of the report, and the same as the plain values that were written.

    Raises:
        CannotStart: There is no such run, or the ledger cannot be read.
    """
    home = Workdir(workdir.expanduser().absolute())
    run = home.find(reference)
    record = run_record.read(run)
    if show_personal_data is not None:
        record = replace(record, show_personal_data=show_personal_data)
        run_record.write(run, record)
    *_, summary = summaries_by_tenant(run, statuses_by_run(home, ledger).get(run.run_id, {}), base_url)
    manifest, where = read_manifest(run), ledger or home.ledger
    now: dict[str, Any] = {"loading": working_on(home, run.run_id)}
    if summary.tenant and (isinstance(where, str) or where.exists()):
        with SqlLedger(where, summary.tenant) as opened:
            # `prune` may have removed the staged transactions.
            if run.staged.exists():
                now["states"] = worth_by_state(StagedRun(run.here, manifest), opened, summary)
            now["replaced_by"] = replaced_by(home, [opened], manifest, summary)
    data = run_record.report_data(run, manifest, summary, **now)
    write_report(run.path, data, show_personal_data=record.show_personal_data)
    return data, view(data, show_personal_data=record.show_personal_data)
