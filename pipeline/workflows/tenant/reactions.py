"""Old sales are held back while they would run active triggers in Omneo, until that is agreed to."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.core.errors import ReactionsHeld, StoppedByApi
from pipeline.core.events import Notice
from pipeline.loading.delivery.decisions import DeliveryRules, LoadRules, ResendRules
from pipeline.loading.triggers import ask_reactions, held, is_history
from pipeline.workflows.tenant.open_run import OpenRun


def check_reactions(
    run: OpenRun, rules: DeliveryRules, *, only_warn: bool = False
) -> ReactionsHeld | StoppedByApi | None:
    """Ask the tenant what it would do of itself, where old sales are about to be sent.

    Args:
        run: The run.
        rules: What the command does with each of its transactions.
        only_warn: Give a notice instead of the error.

    Returns:
        None where the command may go on; else the error that names the triggers, or why the tenant did not
        answer: the token was refused, or it was away for too long. Not raised, since the command has a
        summary to give.
    """
    policy, record = run.target.reactions, run.record()
    if policy.allow and not record.reactions_allowed:
        run.update_record(reactions_allowed=True)
    if policy.allow or record.reactions_allowed:
        return None
    older = run.staged.count_before(datetime.now(UTC) - policy.historic_after)
    if not older or not is_history(run.ref, run.staged.batches, run.ledger, rules, older):
        return None
    options, stop = run.target.options, run.target.stop
    try:
        answer = ask_reactions(run.target.connection, options, emit=run.emit, stop=stop)
    except StoppedByApi as stopped:
        return stopped
    if answer is None:
        return None
    if answer.active is None:
        run.emit(
            Notice(
                "reactions",
                f"It is not known whether old sales run triggers in Omneo: {answer.why_unknown}. "
                "Look in CX Manager.",
            )
        )
        return None
    if not answer.active:
        return None
    error = held(answer.active, run.ref.run_id, _most_sent(run, rules))
    if only_warn:
        names = ", ".join(map(str, answer.active))
        run.emit(Notice("reactions", f"What is sent may run active triggers in Omneo: {names}."))
        return None
    return error


def _most_sent(run: OpenRun, rules: DeliveryRules) -> int:
    """How many transactions the command sends at most."""
    summary = run.summary()
    if isinstance(rules, ResendRules):
        return summary.missing or 0
    delivery = summary.delivery
    waiting = delivery.pending + delivery.in_doubt
    number = waiting if isinstance(rules, LoadRules) else waiting + delivery.refused + delivery.failed
    return min(number, run.target.options.first or number)
