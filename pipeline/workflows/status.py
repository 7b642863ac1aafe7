"""`status`: the state of all runs, or of one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.core.events import Emit, ignore
from pipeline.core.findings import RootCause
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.report.next_steps import Circumstances
from pipeline.report.summary import Summary
from pipeline.report.verdict import RunVerdict, verdict_of
from pipeline.staging.manifest import read_manifest
from pipeline.staging.workdir import Workdir
from pipeline.workflows.runs import run_record
from pipeline.workflows.runs.run_state import replaced_by, working_on
from pipeline.workflows.runs.run_summary import statuses_by_run, summaries_by_tenant


@dataclass(frozen=True)
class RunOverview:
    """The state of a run at one tenant.

    Attributes:
        summary: In numbers.
        verdict: In words.
        causes: Why transactions were rejected or dropped.
        currency: Of its transactions; empty where they have none, several, or it is not known.
        replaced_by: The later run that delivered all of its files; empty where none did.
    """

    summary: Summary
    verdict: RunVerdict
    causes: Sequence[RootCause] = ()
    currency: str = ""
    replaced_by: str = ""


def status(
    workdir: Path,
    reference: str | None,
    *,
    ledger: Path | str | None = None,
    base_url: str | None = None,
    emit: Emit = ignore,
) -> list[RunOverview]:
    """The state of all runs, oldest first, or of one. Changes nothing.

    Args:
        workdir: The working directory.
        reference: Which run; None for all.
        ledger: Another ledger than the working directory's own.
        base_url: The tenant that is meant; of one run it comes last, also where nothing was sent to it.
        emit: Is given a notice where the ledger was of an older version.

    Returns:
        One for each run and tenant that knows it; one for a run that no tenant knows.

    Raises:
        CannotStart: There is no such run, or the ledger cannot be read.
    """
    home = Workdir(workdir.expanduser().absolute())
    runs = [home.find(reference)] if reference else [run for run in home.runs if run.manifest.exists()]
    statuses = statuses_by_run(home, ledger, emit)
    found = []
    with ExitStack() as stack:
        ledger_of = cache(lambda tenant: stack.enter_context(SqlLedger(ledger or home.ledger, tenant)))
        tenants = list(dict.fromkeys(tenant for by_tenant in statuses.values() for tenant in by_tenant))
        for run in runs:
            record = run_record.read(run)
            for summary in summaries_by_tenant(
                run, statuses.get(run.run_id, {}), base_url if reference else None
            ):
                asked = tenants if summary.tenant is None else [summary.tenant]
                about = Circumstances(
                    causes=record.causes,
                    findings=record.findings,
                    gate_closed=record.gate is not None and record.gate.closed,
                    stopped=record.of(summary.tenant).stopped,
                    stopped_command=record.of(summary.tenant).stopped_command,
                    loading=working_on(home, run.run_id),
                    replaced_by=replaced_by(home, map(ledger_of, asked), read_manifest(run), summary)
                    if statuses
                    else "",
                )
                verdict = verdict_of(
                    summary,
                    about,
                    gate=record.gate,
                    unsure=record.unsure,
                    currency=record.currency,
                )
                found.append(RunOverview(summary, verdict, record.causes, record.currency, about.replaced_by))
    return found
