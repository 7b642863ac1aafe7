"""Delivery: a staged run goes to Omneo, is confirmed there, or is undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pipeline.core.errors import ImportToolError, RunError, SettingsError
from pipeline.core.events import Emit, Notice, RunFinished, RunStarted, fan_out
from pipeline.core.settings import Connection, Secret, base_url_from_environment
from pipeline.loading.confirm.confirm import Confirmation
from pipeline.loading.confirm.confirm import confirm as look_up
from pipeline.loading.delivery.decisions import Retry
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.options import DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.ledger.adoption import adopt as take_over
from pipeline.loading.ledger.entries import RunRef
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.preflight import Preflight, questions
from pipeline.loading.preflight import preflight as ask_tenant
from pipeline.loading.void import void as deliver_void
from pipeline.report.data import TenantFinding
from pipeline.report.formatting import count
from pipeline.report.render import write_report
from pipeline.report.summary import Requests, Summary
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.telemetry.json_log import json_log
from pipeline.workflows import incremental, run_record
from pipeline.workflows.distributed_load import Assignment, orders_in, spread
from pipeline.workflows.failed_transactions import UNDELIVERED_CSV, write_undelivered
from pipeline.workflows.run_record import Finished
from pipeline.workflows.status import counted, unsent
from pipeline.workflows.workdir_lock import holding

UNFINISHED = 4
"""Exit code: finished, but some transactions were refused, failed, are missing or differ."""

MOST_TOLD = 20
"""Transactions that `confirm` names on the terminal; the ledger has all."""


@dataclass(frozen=True)
class Target:
    """Which run to deliver, where to, and how.

    Attributes:
        workdir: The working directory.
        reference: The run: its id, a unique prefix, or `latest`.
        connection: The tenant.
        options: How to send and ask.
        emit: Is told what happens.
        stop: Asks to stop.
        ledger: Another ledger than the working directory's own; None for that.
        engine: Where a load works, as `engine_named` takes it.
        token_file: Where the token is from; None for the environment. Workers elsewhere read it themselves.
        signals: The signals that asked to stop, as they come in.
        prepared: The dry run's summary, where it is a part of the same command.
    """

    workdir: Path
    reference: str
    connection: Connection
    options: DeliveryOptions
    emit: Emit
    stop: Stop
    ledger: Path | str | None = None
    engine: str = "local"
    token_file: Path | None = None
    signals: Sequence[int] = ()
    prepared: Summary | None = None


def load(target: Target) -> Finished:
    """Send a staged run, or go on where it was stopped.

    Raises:
        CannotStart: There is no such run, or it or the ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    refuse_unshared(target.engine, target.ledger)
    return _send(target, "load", _here(deliver) if target.engine == "local" else _on_workers)


def refuse_unshared(engine: str, ledger: Path | str | None) -> None:
    """See to it that workers elsewhere can use the ledger.

    Raises:
        SettingsError: It is a file.
    """
    if engine != "local" and not isinstance(ledger, str):
        raise SettingsError(
            f"--engine {engine} loads from several processes, which need a ledger that they can share.",
            hint="Name one with --ledger postgresql://…, or `prepare` with this engine and `load` without.",
        )


def retry(target: Target) -> Finished:
    """Send again what failed or was refused; see `load`."""
    return _send(target, "retry", _here(partial(deliver, plan=Retry())))


def void(target: Target) -> Finished:
    """Send every delivered transaction of the run again as void; see `load`."""
    return _send(target, "void", _here(deliver_void), counts=False)


def _send(
    target: Target, command: str, send: Callable[[_Run, Target], DeliveryResult], *, counts: bool = True
) -> Finished:
    """Send a run.

    Args:
        target: The run and the tenant.
        command: Its name.
        send: Does it.
        counts: Whether the command is about the whole run; else about what it sent itself.
    """
    with _opened(target, command) as run:
        if closed := run_record.gate_closed(run.ref.run_id, run_record.saved(run.directory).gate):
            return run.refuse(closed)
        run.staged.verify()
        result = send(run, target)
        if result.requests.sent:
            run.forget_look_ups()
        summary = run.summary(Requests(**asdict(result.requests)))
        if result.changes.voided:
            run.emit(Notice("voided", _left_void(result.changes.voided)))
        clean = _all_delivered(summary) if counts else not result.troubled
        return run.finish(summary, target, clean=clean, stopped=result.stopped, error=result.error)


def _left_void(number: int) -> str:
    were = "was" if number == 1 else "were"
    return (
        f"{count(number, 'transaction')} {were} undone by `void` and not sent again;"
        " --revive sends them, no longer void"
    )


def _here(send: Callable[..., DeliveryResult]) -> Callable[[_Run, Target], DeliveryResult]:
    """Send from this process."""

    def here(run: _Run, target: Target) -> DeliveryResult:
        batches, connection, options = run.staged.batches, target.connection, target.options
        return send(run.ref, batches, connection, run.ledger, options, emit=run.emit, stop=target.stop)

    return here


def _on_workers(run: _Run, target: Target) -> DeliveryResult:
    """Send from the workers of the target's engine, which read the run themselves."""
    with orders_in(run.directory.scratch) as orders:
        assignment = Assignment(
            run.directory.path.parents[1],
            run.ref.run_id,
            target.connection.base_url,
            target.token_file.absolute() if target.token_file else None,
            str(target.ledger),
            target.options,
            orders,
        )
        return spread(run.ref, assignment, target.engine, run.ledger, emit=run.emit, stop=target.stop)


def confirm(target: Target, *, sample: float = 1.0, resend: bool = False) -> Finished:
    """Look transactions of a run up in Omneo and compare them with what was sent.

    Args:
        target: The run and the tenant.
        sample: Share of the transactions to look up, above 0 to 1.
        resend: Send the missing ones again; the next `confirm` says whether that mended it.
    """
    with _opened(target, "confirm") as run:
        found = look_up(
            run.ref,
            run.staged.batches,
            target.connection,
            run.ledger,
            target.options,
            sample=sample,
            resend=resend,
            emit=run.emit,
            stop=target.stop,
        )
        for line in _told(found, sample):
            run.emit(Notice("confirm", line))
        summary = replace(
            run.summary(Requests(**asdict(found.requests))),
            confirmed=found.confirmed,
            missing=found.missing,
            differing=found.differing,
        )
        there = _all_there(summary) and not (found.missing or found.differing or found.in_doubt)
        error = found.error or (found.resent.error if found.resent else None)
        return run.finish(summary, target, clean=there, stopped=found.stopped, error=error)


def _all_there(summary: Summary) -> bool:
    """Whether Omneo took all that was sent; what is still to be sent is not judged."""
    sent = summary.delivery
    return not (sent.refused or sent.failed or sent.in_doubt)


def _all_delivered(summary: Summary) -> bool:
    sent = summary.delivery
    return _all_there(summary) and not sent.pending


def _told(found: Confirmation, sample: float) -> Iterator[str]:
    """What a look-up found, a line each; the report of the run has the numbers."""
    for each in sorted(found.findings, key=lambda one: one.external_id)[:MOST_TOLD]:
        about = f" in {', '.join(each.about)}" if each.about else ""
        yield f"{each.external_id} is {str(each.state).replace('_', ' ')}{about}"
    if len(found.findings) > MOST_TOLD:
        yield f"and {len(found.findings) - MOST_TOLD:,} more"
    if sample < 1:
        yield (
            f"{found.looked_up:,} of {found.expected:,} were looked up; with 95% confidence "
            f"{found.wrong.low:.3%} to {found.wrong.high:.3%} of all are missing or differ"
        )


def preflight(target: Target, *, sample: int = 200) -> Finished:
    """Ask the tenant what would happen, sending no transaction; the answers join the report.

    Args:
        target: The run and the tenant.
        sample: How many customers to ask for.

    Raises:
        StoppedByApi: The token was refused, or there was no answer for too long.
    """
    with _opened(target, "preflight") as run:
        asked = questions(run.staged.batches(), sample)
        answers = ask_tenant(asked, target.connection, target.options, emit=run.emit, stop=target.stop)
        if answers is None:
            return run.finish(run.summary(Requests()), target, stopped=True)
        told = tuple(_answers(answers))
        kept, tenant = run_record.saved(run.directory), run.tenant
        known = replace(kept.of(tenant), preflight=told)
        run_record.save(run.directory, kept.with_tenant(tenant, known))
        summary = run.summary(Requests(**asdict(answers.requests)))
        return run.finish(summary, target)


def _answers(found: Preflight) -> Iterator[TenantFinding]:
    """What the tenant said, for the report."""
    yield TenantFinding("Token", "The token is good.", good=True)
    for title, some, none, unknown in (
        (
            "Locations that would be created",
            "Omneo does not know these locations and would create them; a typo makes a store.",
            "Omneo knows every location.",
            found.new_locations,
        ),
        (
            "Currencies that are not configured",
            "Omneo refuses transactions in these currencies until they are configured.",
            "Every currency is configured.",
            found.unknown_currencies,
        ),
    ):
        if unknown is None:
            yield TenantFinding(title, "The tenant gave no list: it cannot be said.")
            continue
        evidence = tuple(f"{name}: {count(many, 'transaction')}" for name, many in sorted(unknown.items()))
        yield TenantFinding(title, some if unknown else none, good=not unknown, evidence=evidence)
    if found.people_asked:
        share = found.known_share
        yield TenantFinding(
            "Customers that Omneo knows",
            f"{found.people_known:,} of {found.people_asked:,} that were asked for are known: with 95% "
            f"confidence {share.low:.0%} to {share.high:.0%} of all. Sales of the others become guest sales.",
        )
    elif found.people_unanswered:
        yield TenantFinding("Customers that Omneo knows", "The token may not ask for customers.")


def listen(
    workdir: Path,
    secret: Secret,
    host: str,
    port: int,
    emit: Emit,
    on_ready: Callable[[str], None],
    *,
    ledger: Path | str | None = None,
) -> None:
    """Receive webhooks until a signal comes; may run beside a load.

    Raises:
        SettingsError: The ledger or the address cannot be used.
    """
    from pipeline.loading.confirm.listen import listen as receive  # it brings in a web server

    home = Workdir.open(workdir)
    with SqlLedger(ledger or home.ledger, base_url_from_environment()) as opened:
        if opened.base_url is None and len(opened.tenants()) > 1:
            raise SettingsError(
                f"The ledger {opened.where} knows several tenants: {', '.join(opened.tenants())}.",
                hint="Set OMNEO_TENANT or OMNEO_BASE_URL to the one whose events these are.",
            )
        receive(opened, secret, host=host, port=port, emit=emit, on_ready=on_ready)


# ── A run that is being delivered ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Run:
    directory: RunDir
    staged: StagedRun
    ref: RunRef
    ledger: SqlLedger
    emit: Emit
    command: str
    started_at: datetime
    begun: float

    @property
    def tenant(self) -> str:
        """The base URL of the tenant."""
        assert self.ledger.base_url is not None
        return self.ledger.base_url

    def summary(self, requests: Requests) -> Summary:
        """How the run stands now, and what this command sent."""
        manifest = self.staged.manifest
        is_known = self.ref.run_id in self.ledger.runs()
        known = self.ledger.status(self.ref.run_id) if is_known else unsent(manifest)
        return replace(
            counted(self.directory, manifest, known, self.tenant),
            started_at=self.started_at.isoformat(timespec="seconds"),
            duration_s=round(time.monotonic() - self.begun, 3),
            requests=requests,
        )

    def forget_look_ups(self) -> None:
        """What `confirm` saw before something was sent again says nothing of what is there now."""
        kept = run_record.saved(self.directory)
        known = kept.of(self.tenant)
        if known.looked_up is not None:
            run_record.save(self.directory, kept.with_tenant(self.tenant, replace(known, looked_up=None)))

    def refuse(self, error: ImportToolError) -> Finished:
        """Nothing was done, for this reason; the run stays as it is."""
        summary = self.summary(Requests())
        self.emit(RunFinished(self.ref.run_id, self.command, error.exit_code, summary.duration_s))
        data = run_record.report_data(self.directory, self.staged.manifest, summary)
        return Finished(data, error.exit_code, error)

    def finish(
        self,
        summary: Summary,
        target: Target,
        *,
        clean: bool = True,
        stopped: bool = False,
        error: ImportToolError | None = None,
    ) -> Finished:
        """Write the report and say how it ended.

        Args:
            summary: How the run stands.
            target: What was asked for.
            clean: Whether all that the command is about is as it should be.
            stopped: Whether it was asked to stop before it was through.
            error: Why the API or the ledger stopped it.
        """
        why = error.message if error else "It was asked to stop." if stopped else ""
        looked_up = (summary.confirmed or 0, summary.missing or 0, summary.differing or 0)
        kept = run_record.saved(self.directory)
        of_tenant = replace(
            kept.of(self.tenant), stopped=why, looked_up=None if summary.confirmed is None else looked_up
        )
        kept = kept.with_tenant(self.tenant, of_tenant)
        run_record.save(self.directory, kept)
        data = run_record.report_data(self.directory, self.staged.manifest, summary)
        write_report(self.directory.path, data, show_personal_data=kept.show_personal_data)
        self._list_undelivered()
        incremental.note(self.ledger, self.staged.manifest, self.emit)
        code = error.exit_code if error else 128 + target.signals[0] if stopped and target.signals else 0
        code = code or (0 if clean else UNFINISHED)
        self.emit(RunFinished(self.ref.run_id, self.command, code, summary.duration_s))
        return Finished(data, code, error)

    def _list_undelivered(self) -> None:
        known = self.ref.run_id in self.ledger.runs()
        troubled = self.ledger.in_trouble(self.ref.run_id) if known else iter(())
        if number := write_undelivered(self.directory, troubled):
            what, are = count(number, "transaction"), "is" if number == 1 else "are"
            place = self.directory.path / UNDELIVERED_CSV
            self.emit(Notice("undelivered", f"{what} {are} listed in {place}"))


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
            _adopt(opened, home, connection, options, emit, Stop())


def _adopt(
    ledger: SqlLedger, home: Workdir, connection: Connection, options: DeliveryOptions, emit: Emit, stop: Stop
) -> None:
    for sentence in ledger.notices:
        emit(Notice("ledger", sentence))
    if take_over(ledger, connection, options, emit=emit, stop=stop):
        assert ledger.base_url is not None
        for run in home.runs:
            if run.manifest.exists():
                run_record.adopt(run, ledger.base_url)


@contextmanager
def _opened(target: Target, command: str) -> Iterator[_Run]:
    """A staged run with its ledger and log, while this process holds the working directory.

    Several may load at a time where their ledger is a server: then leases keep them apart.
    """
    shared = command == "load" and isinstance(target.ledger, str)
    directory = Workdir(target.workdir.expanduser().absolute()).find(target.reference)
    home = Workdir.open(target.workdir)
    begun, now = time.monotonic(), datetime.now(UTC)
    if target.prepared is not None:
        begun -= target.prepared.duration_s
        now = datetime.fromisoformat(target.prepared.started_at)
    with (
        holding(home, command, target.ledger, shared=shared),
        SqlLedger(target.ledger or home.ledger, target.connection.base_url) as ledger,
        json_log(directory.log, directory.run_id) as log,
    ):
        emit = fan_out(target.emit, log)
        emit(RunStarted(directory.run_id, command))
        _adopt(ledger, home, target.connection, target.options, emit, target.stop)
        manifest = read_manifest(directory)
        if manifest.parts and not directory.staged.exists():
            raise RunError(
                f"The staged bodies of run {directory.run_id} were removed, by `prune` most likely.",
                hint="Prepare it again from its source.",
            )
        ref = RunRef(directory.run_id, manifest.transactions, manifest.ordinal)
        yield _Run(directory, StagedRun(directory, manifest), ref, ledger, emit, command, now, begun)
