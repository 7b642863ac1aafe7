"""`preflight`: ask the tenant what would happen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.loading.preflight import Preflight, questions
from pipeline.loading.preflight import preflight as ask_tenant
from pipeline.report.data import TenantAnswer
from pipeline.report.formatting import count
from pipeline.workflows.delivery import Target, opened
from pipeline.workflows.run_record import CommandResult

_CUSTOMERS = "Customers that Omneo knows"


def preflight(target: Target, *, sample: int = 200) -> CommandResult:
    """Ask the tenant what would happen, sending no transaction; the answers join the report.

    Args:
        target: The run and the tenant.
        sample: How many customers to ask for.

    Raises:
        CannotStart: There is no such run, or it or the ledger cannot be used.
        StoppedByApi: The token was refused, or there was no answer for too long.
        WorkdirBusy: Another process holds the working directory.
    """
    with opened(target, "preflight") as run:
        asked = questions(run.staged.batches(), sample)
        answers = ask_tenant(asked, target.connection, target.options, emit=run.emit, stop=target.stop)
        if answers is None:
            return run.finish(run.summary(), stopped=True)
        run.update_record(preflight=tuple(_findings(answers)))
        return run.finish(run.summary(answers.requests))


def _findings(answers: Preflight) -> Iterator[TenantAnswer]:
    """What the tenant said, for the report."""
    yield TenantAnswer("Token", "The token is good.", good=True)
    yield _unknown_names(
        "Locations that would be created",
        answers.new_locations,
        some="Omneo does not know these locations and would create them; a typo makes a store.",
        none="Omneo knows every location.",
    )
    yield _unknown_names(
        "Currencies that are not configured",
        answers.unknown_currencies,
        some="Omneo refuses transactions in these currencies until they are configured.",
        none="Every currency is configured.",
    )
    if answers.people_asked:
        share = answers.known_share
        yield TenantAnswer(
            _CUSTOMERS,
            f"{answers.people_known:,} of {answers.people_asked:,} that were asked for are known: with 95% "
            f"confidence {share.low:.0%} to {share.high:.0%} of all. Sales of the others become guest sales.",
        )
    elif answers.people_unanswered:
        yield TenantAnswer(_CUSTOMERS, "The token may not ask for customers.")


def _unknown_names(title: str, unknown: Mapping[str, int] | None, *, some: str, none: str) -> TenantAnswer:
    """A finding about names that Omneo does not know, with the number of transactions of each."""
    if unknown is None:
        return TenantAnswer(title, "The tenant gave no list, so this is not known.")
    evidence = tuple(f"{name}: {count(many, 'transaction')}" for name, many in sorted(unknown.items()))
    return TenantAnswer(title, some if unknown else none, good=not unknown, evidence=evidence)
