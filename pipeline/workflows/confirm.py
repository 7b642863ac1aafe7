"""`confirm`: look transactions up in Omneo and compare them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from typing import Final

from pipeline.core.errors import ReactionsHeld, StoppedByApi
from pipeline.core.events import Notice
from pipeline.core.text.privacy import mask_whole
from pipeline.core.text.wording import between, count
from pipeline.loading.confirm.confirm_run import confirm as query
from pipeline.loading.confirm.confirm_run import resend_missing
from pipeline.loading.confirm.confirmation import Confirmation
from pipeline.loading.confirm.spend_comparison import DAY, PROFILES, WRONG, CustomerEffect, Effect
from pipeline.loading.delivery.decisions import ResendRules
from pipeline.loading.delivery.delivery_options import DeliveryResult
from pipeline.report.data import FieldsInOmneo
from pipeline.report.summary import BesideLedger, decimal_text
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.tenant.effects import delivered_for, measured, sent_sales, snapshot_of
from pipeline.workflows.tenant.open_run import Target, opened
from pipeline.workflows.tenant.reactions import check_reactions
from pipeline.workflows.tenant.sending import sent_all_taken

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
        found = run.deliver_by(query, sample=sample)
        resent: DeliveryResult | None = None
        blocked: ReactionsHeld | StoppedByApi | None = None
        if resend and found.missing and not (found.stopped or found.error):
            blocked = check_reactions(run, ResendRules())
            resent = None if blocked else run.deliver_by(resend_missing)
        # A query that stopped early may know less than an earlier one did, so that record stays.
        if not (found.stopped or found.error):
            run.update_record(
                fields=FieldsInOmneo(dict(found.differing_fields), dict(found.not_kept)),
                beside=_beside(found, resent),
            )
        for line in _lines(found, sample):
            run.emit(Notice("confirm", line))
        for name, number in sorted(found.not_kept.items()):
            what = count(number, "transaction")
            run.emit(Notice("not_kept", f"{name} was sent and is not kept by Omneo, in {what}"))
        if resent is not None and resent.handled:
            again = count(resent.handled - resent.failed, "missing transaction", "was")
            run.emit(Notice("resent", f"{again} sent again; `confirm` says later whether Omneo has them"))
        summary = run.summary(found.requests)
        # The query was stopped, and no earlier one got an answer either.
        if summary.confirmed is None:
            summary = replace(summary, confirmed=0, missing=0, differing=0)
        clean = sent_all_taken(summary) and not (found.missing or found.differing or found.in_doubt)
        error = found.error or blocked or (resent.error if resent else None)
        # A script is given what this command found; the report shows how things stand after it.
        extra = {"missing": found.missing} if resent else {}
        return run.finish(summary, clean=clean, stopped=found.stopped, error=error, extra=extra)


def _beside(found: Confirmation, resent: DeliveryResult | None) -> BesideLedger:
    """Counts that the ledger does not keep for the run; a sale sent again for another run is not missing."""
    beside = BesideLedger(**found.beside)
    return beside if resent is None else replace(beside, missing=min(beside.missing, resent.failed))


def confirm_effects(target: Target, *, profiles: int = PROFILES) -> CommandResult:
    """Compare customers' lifetime spend with what it was before a run was sent, plus what was sent.

    Args:
        target: The run and the tenant.
        profiles: How many customers to ask for, at most those whose figures from before are known.

    Raises:
        CannotStart: There is no such run, nothing is known from before it, or the ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    with opened(target, "confirm") as run:
        snapshot = snapshot_of(run, profiles)
        sent = sent_sales(run, [each.person for each in snapshot.customers])
        # Each one's figures, their id where Omneo did not know them before, their sales where they differ.
        number = len(snapshot.customers)
        most = sum(2 if each.profile_id else 3 for each in snapshot.customers)
        per_min = target.options.rate_per_min or _USUAL_RATE
        seconds = f"{ceil(60 * most / per_min):,} s at {per_min:,.0f} a minute"
        cost = f"{number:,} to {count(most, 'request')}, {seconds}"
        run.emit(Notice("effects", f"Asks for the lifetime spend of {count(number, 'customer')}: {cost}"))
        try:
            effects, requests = measured(run, snapshot, sent)
        except StoppedByApi as error:
            return run.finish(run.summary(), error=error)
        if effects is None:
            return run.finish(run.summary(requests), stopped=True)
        counts = Counter(each.effect for each in effects)
        is_late = delivered_for(run, sent, datetime.now(UTC)) >= DAY
        for line in _effect_lines(effects, is_late=is_late):
            run.emit(Notice("effects", line))
        wrong = sum(counts[each] for each in WRONG)
        shown = {
            "before": snapshot.taken_at.isoformat(timespec="seconds"),
            "sampled": len(effects),
            "differing": wrong,
            **{str(each): counts[each] for each in Effect},
            "customers": [_shown(each) for each in effects if each.effect is not Effect.EXACT],
        }
        clean = not (wrong or (is_late and counts[Effect.NOT_CALCULATED]))
        return run.finish(run.summary(requests), clean=clean, extra={"effects": shown})


_USUAL_RATE: Final = 1_000
"""Requests a minute, by the examples of Omneo's pages."""


def _effect_lines(effects: Sequence[CustomerEffect], *, is_late: bool) -> Iterator[str]:
    """What became of customers' lifetime spend, a line each; customers are masked."""
    others = [each for each in effects if each.effect is not Effect.EXACT]
    if not effects:
        yield "nothing was sent of the customers whose lifetime spend is known from before"
        return
    if all(each.effect is Effect.NOT_CALCULATED for each in effects):
        late = ", a day after the last was sent" if is_late else "; ask again later"
        yield f"not calculated yet: the lifetime spend of no sampled customer has moved{late}"
        return
    exact = len(effects) - len(others)
    yield f"{exact:,} of {len(effects):,} sampled customers' lifetime spend rose by exactly what was imported"
    for each in others[:MOST_NAMED]:
        shown = _shown(each)
        yield (
            f"{shown['customer']}: {shown['effect'].replace('_', ' ')}: rose by {shown['rose']}, "
            f"imported {shown['sent']}; {each.reason}"
        )


def _shown(effect: CustomerEffect) -> dict[str, str]:
    return {
        "customer": mask_whole(effect.person.identifier),
        "effect": str(effect.effect),
        "sent": decimal_text(effect.sent),
        "rose": "unknown" if effect.rose is None else decimal_text(effect.rose),
        "reason": effect.reason,
    }


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
            f"{found.queried:,} of {found.expected:,} were looked up; with 95% confidence "
            f"{between(found.wrong.low, found.wrong.high, 3)} of all are missing or differ"
        )
