"""`confirm`: look transactions up in Omneo and compare them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.core.errors import ReactionsHeld, StoppedByApi
from pipeline.core.events import Notice
from pipeline.loading.confirm.confirm import confirm as look_up
from pipeline.loading.confirm.confirm import resend_missing
from pipeline.loading.confirm.confirmation import Confirmation
from pipeline.loading.delivery.decisions import ResendRules
from pipeline.loading.delivery.delivery_options import DeliveryResult
from pipeline.report.data import FieldsInOmneo
from pipeline.report.formatting import count
from pipeline.workflows.delivery import Target, opened, sent_all_taken
from pipeline.workflows.reactions import check_reactions
from pipeline.workflows.run_record import CommandResult

MOST_NAMED = 20
"""Transactions that are named on the terminal; the ledger has all."""


def confirm(target: Target, *, sample: float = 1.0, resend: bool = False) -> CommandResult:
    """Look transactions of a run up in Omneo and compare them with what was sent.

    Args:
        target: The run and the tenant.
        sample: Share of the transactions to look up, above 0 to 1.
        resend: Send the missing ones again; the next `confirm` says whether that fixed it.

    Raises:
        CannotStart: There is no such run, or it or the ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    with opened(target, "confirm") as run:
        found = run.deliver_by(look_up, sample=sample)
        resent: DeliveryResult | None = None
        blocked: ReactionsHeld | StoppedByApi | None = None
        if resend and found.missing and not (found.stopped or found.error):
            blocked = check_reactions(run, ResendRules())
            resent = None if blocked else run.deliver_by(resend_missing)
        fields = FieldsInOmneo(dict(found.differing_fields), dict(found.not_kept))
        run.update_record(fields=fields)
        for line in _lines(found, sample):
            run.emit(Notice("confirm", line))
        for name, number in sorted(found.not_kept.items()):
            what = count(number, "transaction")
            run.emit(Notice("not_kept", f"{name} was sent and is not kept by Omneo, in {what}"))
        summary = replace(
            run.summary(found.requests),
            confirmed=found.confirmed,
            missing=found.missing,
            differing=found.differing,
        )
        clean = sent_all_taken(summary) and not (found.missing or found.differing or found.in_doubt)
        error = found.error or blocked or (resent.error if resent else None)
        return run.finish(summary, clean=clean, stopped=found.stopped, error=error)


def _lines(found: Confirmation, sample: float) -> Iterator[str]:
    """What was found, a line each; the report of the run has the numbers."""
    for each in sorted(found.findings, key=lambda one: one.external_id)[:MOST_NAMED]:
        about = f" in {', '.join(each.about)}" if each.about else ""
        yield f"{each.external_id} is {str(each.state).replace('_', ' ')}{about}"
    if len(found.findings) > MOST_NAMED:
        yield f"and {len(found.findings) - MOST_NAMED:,} more"
    for name, number in sorted(found.differing_fields.items()):
        yield f"{name} differs in {count(number, 'transaction')}"
    if found.one_by_one:
        yield f"each was looked up with a request of its own: {found.one_by_one}"
    if sample < 1:
        yield (
            f"{found.looked_up:,} of {found.expected:,} were looked up; with 95% confidence "
            f"{found.wrong.low:.3%} to {found.wrong.high:.3%} of all are missing or differ"
        )
