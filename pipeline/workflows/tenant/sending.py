"""Sending transactions of an open run: what `load`, `retry` and `void` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Notice
from pipeline.core.text.wording import agree, count
from pipeline.loading.delivery.decisions import DeliveryRules
from pipeline.loading.delivery.delivery_options import DeliveryResult
from pipeline.report.data import FieldsInOmneo
from pipeline.report.summary import Summary
from pipeline.workflows.runs import run_record
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.tenant.effects import take_snapshot_before_first
from pipeline.workflows.tenant.open_run import OpenRun, Target, opened
from pipeline.workflows.tenant.reactions import check_reactions


def send(
    target: Target,
    command: str,
    deliver: Callable[[OpenRun], DeliveryResult],
    rules: DeliveryRules,
    *,
    whole_run: bool = True,
) -> CommandResult:
    """Send transactions of a run.

    Args:
        target: The run and the tenant.
        command: The command's name.
        deliver: Sends them.
        rules: What it does with each transaction.
        whole_run: Whether the exit code is about the whole run, or about what this command sent.

    Raises:
        CannotStart: There is no such run, or it or the ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    with opened(target, command) as run:
        if closed := run_record.gate_closed(run.ref.run_id, run_record.read(run.directory).gate):
            return run.refuse(closed)
        run.staged.verify()
        if command == "load" and (unsure := run_record.read(run.directory).unsure):
            run.emit(
                Notice(
                    "unsure",
                    f"This sends what a draft made of the data: {count(unsure, 'value')} of its mapping "
                    f"{agree(unsure, 'is')} still marked unsure. `check` names their lines",
                )
            )
        blocked = check_reactions(run, rules, only_warn=command == "void")
        if isinstance(blocked, StoppedByApi):
            return run.finish(run.summary(), error=blocked)
        if blocked:
            return run.refuse(blocked)
        if command == "load":
            take_snapshot_before_first(run)
        result = deliver(run)
        if result.requests.sent:
            run.update_record(sent_at=datetime.now(UTC))
        if result.requests.sent and run.record().beside is not None:
            # What `confirm` saw before is out of date.
            run.update_record(beside=None, fields=FieldsInOmneo())
        if result.requests.sent and command == "void":
            _outdate_other_runs(run)
        summary = run.summary(result.requests)
        if voided := result.changes.voided:
            run.emit(
                Notice(
                    "voided",
                    f"{count(voided, 'transaction', 'was')} undone by `void` and not sent again; --revive "
                    "sends what was undone, no longer void",
                )
            )
        whole_run = whole_run and target.options.first is None
        clean = sent_all_taken(summary) and not summary.delivery.pending if whole_run else not result.failed
        clean = clean and not result.not_voided
        return run.finish(summary, clean=clean, stopped=result.stopped, error=result.error)


def _outdate_other_runs(run: OpenRun) -> None:
    """Drop what `confirm` of other runs noted about sales of this run, which may be void now."""
    for other in run.home.runs:
        if other.run_id == run.ref.run_id or not (other.path / run_record.RECORD_JSON).exists():
            continue
        record = run_record.read(other)
        known = record.of(run.tenant)
        if known.beside is not None and known.beside.confirmed:
            outdated = replace(known, beside=None, fields=FieldsInOmneo())
            run_record.write(other, record.with_tenant(run.tenant, outdated))


def sent_all_taken(summary: Summary) -> bool:
    """Whether Omneo took everything that was sent, however much is still to be sent."""
    delivery = summary.delivery
    return not (delivery.refused or delivery.failed or delivery.in_doubt)
