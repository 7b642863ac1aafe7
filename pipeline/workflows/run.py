"""The whole system on a page: which stage gives what to which.

    files ──extract──▶ raw rows ──mapping──▶ headers + items ──validation──▶ accepted | quarantine
                                                                                 │
    Omneo ◀──loading── staged run ◀──────────staging─────────────────────────────┘
      │                    ▲
      └── confirm ──▶ ledger ──▶ report

The upper line is `prepare`, here; `prepare.py` has its steps. The lower one is
`delivery.py`; `standing.py` says how a run stands, and `review.py` keeps what its report tells.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pipeline.core.errors import SettingsError
from pipeline.core.events import Emit, RunFinished, RunStarted, fan_out
from pipeline.core.files import discard
from pipeline.core.memory import USUAL, Budget
from pipeline.core.settings import Limit
from pipeline.engine.choice import engine_named
from pipeline.mapping.language.draft_marks import unsure_marks
from pipeline.mapping.language.load import load_mapping
from pipeline.report.data import ReportData
from pipeline.report.render import write_report
from pipeline.report.summary import Delivery, Summary
from pipeline.staging.manifest import Manifest, SourceRecord, next_ordinal, write_manifest
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.telemetry.json_log import json_log
from pipeline.workflows import incremental, run_record
from pipeline.workflows import prepare as dry_run
from pipeline.workflows.run_record import Finished
from pipeline.workflows.workdir_lock import workdir_lock

_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS)))


@dataclass(frozen=True)
class PrepareOptions:
    """What the command line says about a dry run.

    Attributes:
        max_rejected: The gate; None for the default one.
        control: A file of control totals.
        budget: How much memory it may take.
        engine: Where the work runs, as `engine_named` takes it.
        show_personal_data: Do not mask the report.
        rate_per_min: Requests a minute that are expected, for the prediction.
        files: Which files of a directory, a prefix or a glob are wanted.
        ledger: Another ledger than the working directory's own, which knows the files that are done.
        base_url: The tenant for which they are done; None for the only one that the ledger knows.
    """

    max_rejected: Limit | None = None
    control: Path | None = None
    budget: Budget = USUAL
    engine: str = "local"
    show_personal_data: bool = False
    rate_per_min: float | None = None
    files: incremental.Wanted = field(default_factory=incremental.Wanted)
    ledger: Path | str | None = None
    base_url: str | None = None


def prepare(
    workdir: Path, mapping: str, sources: Sequence[str], options: PrepareOptions, emit: Emit
) -> Finished:
    """Stage everything and write the report; nothing is sent, and no network is used.

    Args:
        workdir: The working directory; made where it is not there.
        mapping: A mapping's file or the name of a shipped one.
        sources: Files, globs or one directory.
        options: How.
        emit: Is told what happens.

    Raises:
        NothingNew: The source is a directory, a prefix or a glob, and none of its files is new or changed.
        CannotStart: Mapping, source, options or working directory cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    begun = time.monotonic()
    loaded = load_mapping(mapping)
    ledger = options.ledger or Workdir(workdir.expanduser().absolute()).ledger
    choose = partial(
        incremental.choose,
        mapping=loaded,
        wanted=options.files,
        ledger=ledger,
        base_url=options.base_url,
        emit=emit,
    )
    plan = dry_run.plan(loaded, sources, emit, options.control, choose, options.budget)
    home = Workdir.open(workdir)
    with workdir_lock(home, "prepare", options.ledger), _new_run(home, emit) as (run, tell):
        tally = dry_run.Tally()
        partitioning = dry_run.partitioning_of(plan, run, tally)
        with (
            dry_run.fingerprinting(plan) as fingerprints,
            engine_named(options.engine, run.scratch / "jobs") as engine,
        ):
            staged = dry_run.stage(plan, partitioning, run, engine, tell)
            records = dry_run.source_records(plan, tally, staged, fingerprints())
        with dry_run.beside(dry_run.write_quarantine, plan, run, tally):
            data, manifest = _report(plan, run, tally, staged, records, options, begun)
        # Last, since a run counts as prepared from then on.
        others = [other for other in home.runs if other.run_id != run.run_id]
        write_manifest(run, replace(manifest, ordinal=next_ordinal(others, plan.started_at)))
        closed = run_record.gate_closed(run.run_id, data.gate)
        code = closed.exit_code if closed else 0
        tell(RunFinished(run.run_id, "prepare", code, time.monotonic() - begun))
        return Finished(data, code, closed)


def _report(
    plan: dry_run.Plan,
    run: RunDir,
    tally: dry_run.Tally,
    staged: Sequence[dry_run.Staged],
    sources: tuple[SourceRecord, ...],
    options: PrepareOptions,
    begun: float,
) -> tuple[ReportData, Manifest]:
    """Add up what was found, and write the report and all it is made of."""
    found = dry_run.found_in(run, tally, staged)
    findings = dry_run.findings_of(plan, found)
    discard(run.scratch)
    summary = Summary(
        run_id=run.run_id,
        run_dir=run.address,
        report=f"{run.address}/report.html",
        started_at=plan.started_at.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - begun, 3),
        delivery=Delivery(pending=found.facts.transactions("accepted")),
        **dry_run.counts(plan, tally, staged, found),
    )
    kept = run_record.Review(
        run_record.gate_of(options.max_rejected, summary, sum(each.lost_of_known_sales for each in staged)),
        causes=dry_run.causes_of(plan, found, tally),
        controls=dry_run.controls_of(plan, found),
        findings=findings,
        rate_per_min=options.rate_per_min,
        show_personal_data=options.show_personal_data,
        unsure=unsure_marks(plan.mapping.document.text),
    )
    run_record.save(run, kept, found.facts)
    manifest = dry_run.manifest_of(plan, run, sources, staged, summary.as_dict())
    data = run_record.report_data(run, manifest, summary)
    write_report(run.path, data, show_personal_data=options.show_personal_data)
    return data, manifest


@contextmanager
def _new_run(home: Workdir, emit: Emit) -> Iterator[tuple[RunDir, Emit]]:
    """A new run's directory and log; the directory is removed again where preparing fails."""
    _clear_unfinished(home)
    run = home.new_run()  # what a signal leaves of it right here, the next run clears
    try:
        with json_log(run.log, run.run_id) as log:
            tell = fan_out(emit, log)
            tell(RunStarted(run.run_id, "prepare"))
            yield run, tell
    except BaseException as error:
        discard(run.path)
        # By its words, since polars gives no more than those of the system's error.
        if why := next((words for words in _FULL if words in str(error)), None):
            raise SettingsError(
                f"The working directory {home.path} cannot be written: {why}.",
                hint="Free some space, or name another with --workdir DIR.",
            ) from error
        raise


def _clear_unfinished(home: Workdir) -> None:
    """Remove what a crash left of runs that were never prepared to their end."""
    for run in home.runs:
        if not run.manifest.exists():
            discard(run.path)
