"""`prepare`, the dry run: files become a staged run, in memory that does not grow with the input."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

from pipeline.core.errors import SettingsError
from pipeline.core.events import Emit, Notice, RunFinished, RunStarted, fan_out, ignore
from pipeline.core.findings import ANOMALY_KINDS
from pipeline.core.memory import USUAL, Budget
from pipeline.core.settings import Limit
from pipeline.core.storage.files import discard
from pipeline.engine.local import Engine, engine_named
from pipeline.extract.source_files import fingerprint, named_sources
from pipeline.mapping.language.draft_marks import unsure_lines
from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.report.data import RejectionGate, ReportData
from pipeline.report.render import REPORT_HTML, write_report
from pipeline.report.summary import DeliveryCounts, Summary
from pipeline.staging.manifest import Manifest, next_ordinal, write_manifest
from pipeline.staging.workdir import SCRATCH, RunDir, Workdir
from pipeline.telemetry.json_log import json_log
from pipeline.validation.control_totals import read_control_totals
from pipeline.workflows.preparation.import_plan import ImportPlan, plan_import
from pipeline.workflows.preparation.measurements import added_up
from pipeline.workflows.preparation.read_counts import ReadCounts
from pipeline.workflows.preparation.records import (
    StagedInput,
    counted,
    manifest_of,
    source_records,
    write_quarantine,
)
from pipeline.workflows.preparation.report_parts.checks_made import checks_made
from pipeline.workflows.preparation.report_parts.previous_run import previous_run
from pipeline.workflows.preparation.report_parts.report_sections import (
    all_causes,
    control_rows,
    of_whole_run,
    run_warnings,
    statistical_findings,
)
from pipeline.workflows.preparation.stage import count_repeated_items, stage
from pipeline.workflows.preparation.usual_size import USUAL_SHARE, Size, shortfall, size_of, usual_sizes
from pipeline.workflows.runs import incremental, run_record
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.runs.workdir_lock import workdir_lock

_DAYS_TO_WARN = 2
"""Earlier days that are needed for a warning: one alone may be the odd one."""
_LEFT_ALONE = timedelta(days=1)
"""How long the unfinished run of another machine is taken for one that is at work."""
_DISK_ERRORS = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS)))


@dataclass(frozen=True)
class PrepareOptions:
    """What the command line says about a dry run.

    Attributes:
        max_rejected: The gate; None for the default one.
        min_share: The gate of nights: the least share of what the last same weekdays brought, 0 to 1; None
            to only warn of less than half.
        control: A file of control totals.
        control_is_sample: It states only some days, stores or currencies.
        budget: How much memory it may take.
        engine: Where the work runs, as `engine_named` takes it.
        workers: How many partitions are at work at a time; None for as many as there are cores.
        show_personal_data: Do not mask the report.
        rate_per_min: Requests a minute that are expected, for the prediction.
        files: Which files of a directory, a prefix or a glob are wanted.
        ledger: Another ledger than the working directory's own, which knows the files that are done.
        base_url: The tenant for which they are done; None for the only one that the ledger knows.
    """

    max_rejected: Limit | None = None
    min_share: Decimal | None = None
    control: Path | None = None
    control_is_sample: bool = False
    budget: Budget = USUAL
    engine: str = "local"
    workers: int | None = None
    show_personal_data: bool = False
    rate_per_min: float | None = None
    files: incremental.FileSelection = field(default_factory=incremental.FileSelection)
    ledger: Path | str | None = None
    base_url: str | None = None


def prepare(
    workdir: Path,
    mapping: str | Path,
    sources: Iterable[str | Path],
    options: PrepareOptions | None = None,
    emit: Emit = ignore,
) -> CommandResult:
    """Stage everything and write the report; nothing is sent, and no network is used.

    Args:
        workdir: The working directory; made where it is not there.
        mapping: A mapping's file or the name of a shipped one.
        sources: Files, globs or one directory, in a list also where it is one.
        options: How; None for the defaults.
        emit: Is given every event.

    Raises:
        NothingNew: The source is a directory, a prefix or a glob, and none of its files is new or changed.
        CannotStart: Mapping, source, options or working directory cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    begun, options = time.monotonic(), options or PrepareOptions()
    loaded = load_mapping(str(mapping))
    choose = partial(
        incremental.choose_files,
        mapping=loaded,
        selection=options.files,
        ledger=options.ledger or Workdir(workdir.expanduser().absolute()).ledger,
        base_url=options.base_url,
        emit=emit,
    )
    control = None
    if options.control:
        control = read_control_totals(options.control, is_sample=options.control_is_sample)
    plan = plan_import(
        loaded, named_sources(sources), emit, control=control, choose=choose, budget=options.budget
    )
    home = Workdir.open(workdir)
    is_locked = isinstance(options.ledger, str)
    with (
        workdir_lock(home, "prepare", options.ledger),
        _new_run(home, emit, is_locked=is_locked) as (run, emit_and_log),
    ):
        with engine_named(options.engine, run.shared / SCRATCH, options.workers, emit_and_log) as engine:
            done = stage(plan, run.shared, engine, emit_and_log)
            counts = ReadCounts.sum(each.counts for each in done)
            fingerprints = _fingerprints(plan, counts, engine)
        staged = StagedInput(plan, run, counts, done, source_records(plan, counts, done, fingerprints))
        with ThreadPoolExecutor(1, thread_name_prefix="quarantine") as pool:
            # Beside the report: it needs these files only once its page is written.
            quarantine_written = pool.submit(write_quarantine, plan, run, counts)
            data, manifest = _report(staged, options, begun, home, emit_and_log)
            data = _with_cancelled(run, manifest, data, options, ledger=home.ledger, emit=emit_and_log)
            # Waited for, because the page links to the files of the quarantine.
            quarantine_written.result()
        (run.shared / SCRATCH).discard()
        write_report(run.path, data, show_personal_data=options.show_personal_data)
        # Last, since a run counts as prepared from then on.
        others = [other for other in home.runs if other.run_id != run.run_id]
        write_manifest(run, replace(manifest, ordinal=next_ordinal(others, plan.started_at)))
        closed = run_record.gate_closed(run.run_id, data.gate)
        code = closed.exit_code if closed else 0
        emit_and_log(RunFinished(run.run_id, "prepare", code, time.monotonic() - begun))
        return CommandResult(data, code, closed)


def _with_cancelled(
    run: RunDir, manifest: Manifest, data: ReportData, options: PrepareOptions, *, ledger: Path, emit: Emit
) -> ReportData:
    """Name the sales that were delivered before and that this run dropped, if the ledger is a file here."""
    where = options.ledger or ledger
    if isinstance(where, str) or not where.exists() or not data.summary.transactions.dropped:
        return data
    # Imported late: a first dry run needs no database.
    from pipeline.workflows.tenant.cancelled_sales import CODE, name_cancelled

    number, notice = name_cancelled(run, manifest, where, options.base_url)
    if notice is None:
        return data
    emit(notice)
    warnings = {**data.summary.warnings, CODE: number}
    return replace(
        data,
        summary=replace(data.summary, warnings=warnings),
        causes=(*data.causes, *run_record.cancelled_causes(number)),
    )


def _report(
    staged: StagedInput, options: PrepareOptions, begun: float, home: Workdir, emit: Emit
) -> tuple[ReportData, Manifest]:
    """Add up what was found, and write what the report is made of."""
    plan, run, counts = staged.plan, staged.run, staged.counts
    total = added_up(run.shared, counts)
    warnings = run_warnings(
        plan,
        total,
        replaced=counts.replaced,
        repeated_items=count_repeated_items(run.shared, staged.partitions),
    )
    summary = Summary(
        run_id=run.run_id,
        run_dir=run.address,
        report=f"{run.address}/{REPORT_HTML}",
        started_at=plan.started_at.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - begun, 3),
        delivery=DeliveryCounts(pending=total.facts.transactions("accepted")),
        **counted(staged, total.facts, warnings),
    )
    lost_of_known_sales = sum(each.lost_of_known_sales for each in staged.partitions)
    gate = run_record.gate_of(options.max_rejected, summary, lost_of_known_sales)
    manifest, facts = manifest_of(staged, summary), of_whole_run(total.facts, total.observations)
    others = [other for other in home.runs if other.run_id != run.run_id]
    if not gate.closed:
        gate = _compared_with_usual(gate, summary, usual_sizes(others, manifest, facts), options, emit)
    record = run_record.RunRecord(
        gate=gate,
        causes=all_causes(plan, total, warnings),
        controls=control_rows(plan, total),
        findings=statistical_findings(plan, total),
        rate_per_min=options.rate_per_min,
        show_personal_data=options.show_personal_data,
        unsure=len(unsure_lines(plan.mapping.document.text)),
        void_cancelled=plan.spec.completion is not None and plan.spec.completion.after_delivery == "void",
        checks=checks_made(plan),
        patterns={code: kind.title for code, kind in ANOMALY_KINDS.items()},
        previous=previous_run(others, manifest, facts),
        currency=facts.currency,
    )
    run_record.write(run, record, facts)
    return run_record.report_of(record, facts, run, manifest, summary), manifest


def _compared_with_usual(
    gate: RejectionGate, summary: Summary, usual: Sequence[Size], options: PrepareOptions, emit: Emit
) -> RejectionGate:
    """The gate, closed where the run is smaller than `--min-share` allows; a notice where it is nearly so."""
    size, least = size_of(summary), options.min_share
    if least is not None and (why := shortfall(size, usual, least)):
        return replace(gate, closed=True, too_small=why)
    warned_below = USUAL_SHARE if least is None else (1 + least) / 2
    if len(usual) >= _DAYS_TO_WARN and (why := shortfall(size, usual, warned_below)):
        then = "--min-share 50% would hold such a run back" if least is None else "It is near --min-share"
        emit(Notice("less_than_usual", f"{why}. {then}."))
    return gate


@contextmanager
def _new_run(home: Workdir, emit: Emit, *, is_locked: bool) -> Iterator[tuple[RunDir, Emit]]:
    """A new run's directory and log; the directory is removed again where preparing fails.

    Args:
        home: The working directory.
        emit: Is given every event.
        is_locked: Whether the lock of a working directory in a store holds on all machines.
    """
    # In a store only the lock in a database keeps others away, and without it they may still be at work.
    home.discard_unfinished(_LEFT_ALONE if home.is_copy and not is_locked else timedelta())
    # If a signal comes right after this line, the next run removes the directory.
    run = home.new_run()
    try:
        with json_log(run.log, run.run_id) as log:
            emit_and_log = fan_out(emit, log)
            emit_and_log(RunStarted(run.run_id, "prepare"))
            yield run, emit_and_log
    except BaseException as error:
        discard(run.path)
        if home.is_copy:
            # If the store cannot be reached, that is also why the run failed.
            with suppress(SettingsError):
                run.shared.discard()
        # By its text, since polars gives no more than that of the system's error.
        if why := next((text for text in _DISK_ERRORS if text in str(error)), None):
            raise SettingsError(
                f"The working directory {home.path} cannot be written: {why}.",
                hint="Free some space, or name another with --workdir DIR.",
            ) from error
        raise


def _fingerprints(plan: ImportPlan, counts: ReadCounts, engine: Engine) -> list[str]:
    """The fingerprints of the files; those that reading them did not give are taken now."""
    known = counts.fingerprints
    missing = [each for each in plan.sources if each.position not in known]
    taken = engine.map(fingerprint, [each.file for each in missing])
    known = known | {each.position: found for each, found in zip(missing, taken, strict=True)}
    return [known[each.position] for each in plan.sources]
