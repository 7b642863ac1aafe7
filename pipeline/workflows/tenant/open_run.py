"""A staged run that is open for a tenant, with its ledger and log: what the commands on both share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pipeline.core.errors import ImportToolError, RunError
from pipeline.core.events import Emit, Notice, RunFinished, RunStarted, fan_out, ignore
from pipeline.core.model import RequestCounts
from pipeline.core.settings import HISTORIC_AFTER, Connection
from pipeline.core.text.wording import count
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.ledger import adoption
from pipeline.loading.ledger.entries import RunRef
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.report.render import write_report
from pipeline.report.summary import Summary
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.telemetry.json_log import json_log
from pipeline.workflows.runs import incremental, run_record
from pipeline.workflows.runs.failed_transactions import UNDELIVERED_CSV, write_failed_transactions
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.runs.run_state import replaced_by, report_replaced
from pipeline.workflows.runs.run_summary import run_ref, status_in, with_delivery
from pipeline.workflows.runs.state_worth import worth_by_state
from pipeline.workflows.runs.workdir_lock import workdir_lock

INCOMPLETE = 4
"""Exit code: finished, but some transactions were refused, failed, are missing or differ."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class ReactionsPolicy:
    """What to do where old sales would run active triggers.

    Attributes:
        allow: Go on, now and from now on for this run and tenant.
        historic_after: How old a sale is that counts as old.
    """

    allow: bool = False
    historic_after: timedelta = HISTORIC_AFTER


@dataclass(frozen=True)
class Target:
    """Which run to deliver, where to, and how.

    Attributes:
        workdir: The working directory.
        reference: The run: its id, a unique prefix, or `latest`.
        connection: The tenant.
        options: How to send and ask.
        emit: Is given every event.
        stop: Asks to stop.
        ledger: Another ledger than the working directory's own; None for that.
        engine: Where a load runs, as `engine_named` takes it.
        token_file: Where the token is from; None for the environment. Workers elsewhere read it themselves.
        signals: The signals that asked to stop, as they come in.
        prepared: The summary of the dry run that is a part of the same command; None where there is none.
        reactions: What to do where old sales would run active triggers in Omneo.
    """

    workdir: Path
    reference: str
    connection: Connection
    options: DeliveryOptions = field(default_factory=DeliveryOptions)
    emit: Emit = ignore
    stop: Stop = field(default_factory=Stop)
    ledger: Path | str | None = None
    engine: str = "local"
    token_file: Path | None = None
    signals: Sequence[int] = ()
    prepared: Summary | None = None
    reactions: ReactionsPolicy = field(default_factory=ReactionsPolicy)


@dataclass(frozen=True)
class OpenRun:
    """A staged run with its ledger and log, while this process holds the lock of the working directory.

    Attributes:
        target: What was asked for.
        command: The command's name.
        directory: The run's directory.
        staged: The run's transactions.
        ledger: The ledger, opened for the tenant.
        emit: Is given every event; also writes the run's log.
        started_at: When the command began.
        begun: The same on the monotonic clock.
    """

    target: Target
    command: str
    directory: RunDir
    staged: StagedRun
    ledger: SqlLedger
    emit: Emit
    started_at: datetime
    begun: float

    @property
    def ref(self) -> RunRef:
        """The run as delivery sees it."""
        return run_ref(self.staged.manifest)

    @property
    def home(self) -> Workdir:
        """The working directory, which is there."""
        return Workdir(self.target.workdir.expanduser().absolute())

    @property
    def tenant(self) -> str:
        """The base URL of the tenant."""
        assert self.ledger.base_url is not None
        return self.ledger.base_url

    def deliver_by(self, function: Callable[..., Result], **arguments: Any) -> Result:
        """Call a function of `pipeline.loading` that takes what `deliver` takes."""
        return function(
            self.ref,
            self.staged.batches,
            self.target.connection,
            self.ledger,
            self.target.options,
            emit=self.emit,
            stop=self.target.stop,
            **arguments,
        )

    def record(self) -> run_record.TenantRecord:
        """What is known of the run from this tenant."""
        return run_record.read(self.directory).of(self.tenant)

    def update_record(self, **changes: Any) -> run_record.RunRecord:
        """Change what is known of the run from this tenant."""
        record = run_record.read(self.directory)
        record = record.with_tenant(self.tenant, replace(record.of(self.tenant), **changes))
        run_record.write(self.directory, record)
        return record

    def summary(self, requests: RequestCounts | None = None) -> Summary:
        """The state of the run now, and the requests that this command sent."""
        manifest = self.staged.manifest
        return replace(
            with_delivery(self.directory, manifest, status_in(self.ledger, manifest), self.tenant),
            started_at=self.started_at.isoformat(timespec="seconds"),
            duration_s=round(time.monotonic() - self.begun, 3),
            requests=replace(requests) if requests else RequestCounts(),
        )

    def refuse(self, error: ImportToolError) -> CommandResult:
        """End without having done anything; the run stays as it is."""
        summary = self.summary()
        self.emit(RunFinished(self.ref.run_id, self.command, error.exit_code, summary.duration_s))
        data = run_record.report_data(self.directory, self.staged.manifest, summary)
        return CommandResult(data, error.exit_code, error)

    def finish(
        self,
        summary: Summary,
        *,
        clean: bool = True,
        stopped: bool = False,
        error: ImportToolError | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> CommandResult:
        """Write the report and all else that is kept about how the command ended.

        Args:
            summary: The state of the run.
            clean: Whether everything that the command is about succeeded.
            stopped: Whether it was asked to stop before it was finished.
            error: Why the API or the ledger stopped it.
            extra: What the command adds to the summary's JSON.
        """
        record = self.update_record(
            stopped=error.message if error else "It was asked to stop." if stopped else "",
            stopped_command=self.command,
        )
        self._list_failed_transactions()  # the report says why they failed
        incremental.note_completed(self.ledger, self.staged.manifest, self.emit)
        data = run_record.report_data(
            self.directory,
            self.staged.manifest,
            summary,
            states=worth_by_state(self.staged, self.ledger, summary),
            replaced_by=replaced_by(self.home, [self.ledger], self.staged.manifest, summary),
        )
        write_report(self.directory.path, data, show_personal_data=record.show_personal_data)
        report_replaced(self.home, self.ledger, self.ref.run_id)
        if error:
            code = error.exit_code
        elif stopped and self.target.signals:
            # The exit code by which shells report that a signal ended a process.
            code = 128 + self.target.signals[0]
        else:
            code = 0 if clean else INCOMPLETE
        self.emit(RunFinished(self.ref.run_id, self.command, code, summary.duration_s))
        return CommandResult(data, code, error, extra or {})

    def _list_failed_transactions(self) -> None:
        run_id = self.ref.run_id
        failed = self.ledger.failed_transactions(run_id) if run_id in self.ledger.runs() else ()
        if number := write_failed_transactions(self.directory, failed):
            path = self.directory.path / UNDELIVERED_CSV
            self.emit(Notice("undelivered", f"{count(number, 'transaction', 'is')} listed in {path}"))


@contextmanager
def opened(target: Target, command: str) -> Iterator[OpenRun]:
    """Open the run of a target, and hold the lock of its working directory.

    Several processes may load at a time where their ledger is a server: leases keep them apart.

    Raises:
        CannotStart: There is no such run, or it or the ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    shared = command == "load" and isinstance(target.ledger, str)
    directory = Workdir(target.workdir.expanduser().absolute()).find(target.reference)
    home = Workdir.open(target.workdir)
    begun, now = time.monotonic(), datetime.now(UTC)
    if target.prepared is not None:
        # As a part of `run`, the command began with the dry run.
        begun -= target.prepared.duration_s
        now = datetime.fromisoformat(target.prepared.started_at)
    with (
        workdir_lock(home, command, target.ledger, shared=shared, run_id=directory.run_id),
        SqlLedger(target.ledger or home.ledger, target.connection.base_url) as ledger,
        json_log(directory.log, directory.run_id) as log,
    ):
        emit = fan_out(target.emit, log)
        emit(RunStarted(directory.run_id, command))
        _adopt(ledger, home, target.connection, target.options, emit=emit, stop=target.stop)
        manifest = read_manifest(directory)
        if manifest.parts and not directory.staged.exists():
            raise RunError(
                f"The staged bodies of run {directory.run_id} were removed, by `prune` most likely.",
                hint="Prepare it again from its source.",
            )
        staged = StagedRun(directory.here, manifest)
        yield OpenRun(
            target,
            command,
            directory=directory,
            staged=staged,
            ledger=ledger,
            emit=emit,
            started_at=now,
            begun=begun,
        )


def adopt(
    workdir: Path,
    connection: Connection,
    options: DeliveryOptions,
    emit: Emit,
    *,
    ledger: Path | str | None = None,
) -> None:
    """Have a ledger of an older version belong to a tenant, before its files or counts are looked at.

    Every command on a run does that itself before it decides on anything.

    Raises:
        StoppedByApi: The tenant does not answer.
    """
    home = Workdir(workdir.expanduser().absolute())
    where = ledger or home.ledger
    if isinstance(where, str) or where.exists():
        with SqlLedger(where, connection.base_url) as opened:
            _adopt(opened, home, connection, options, emit=emit)


def _adopt(
    ledger: SqlLedger,
    home: Workdir,
    connection: Connection,
    options: DeliveryOptions,
    *,
    emit: Emit,
    stop: Stop | None = None,
) -> None:
    for sentence in ledger.notices:
        emit(Notice("ledger", sentence))
    if adoption.adopt(ledger, connection, options, emit=emit, stop=stop):
        assert ledger.base_url is not None
        for run in home.runs:
            if run.manifest.exists():
                run_record.adopt(run, ledger.base_url)
