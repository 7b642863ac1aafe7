"""`preflight`: ask the tenant what would happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.core.settings import HISTORIC_AFTER
from pipeline.core.storage.files import write_private
from pipeline.core.text.safe_text import neutral
from pipeline.core.text.wording import agree, between, count, part
from pipeline.loading.tenant_check import Preflight, questions
from pipeline.loading.tenant_check import preflight as ask_tenant
from pipeline.loading.triggers import Reactions
from pipeline.report.data import TenantAnswer
from pipeline.staging.workdir import RunDir
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.tenant.effects import delivered_of_sample, nothing_is_sent, write_snapshot
from pipeline.workflows.tenant.open_run import OpenRun, Target, opened

NEW_LOCATIONS_CSV: Final = "new_locations.csv"
UNKNOWN_PROFILES_CSV: Final = "unknown_profiles.csv"
_LOCATION_COLUMNS: Final = ("location_id", "transactions")
_PROFILE_COLUMNS: Final = ("profile_id", "profile_id_handle")
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
        answers = ask_tenant(
            asked,
            target.connection,
            target.options,
            delivered=delivered_of_sample(run) if nothing_is_sent(run) else None,
            emit=run.emit,
            stop=target.stop,
        )
        if answers is None:
            return run.finish(run.summary(), stopped=True)
        if answers.before is not None and answers.before.customers:
            write_snapshot(run, answers.before)
        _write_files(run.directory, answers)
        run.update_record(preflight=tuple(_findings(answers, _sales_to_send(run))))
        active = answers.reactions.active
        return run.finish(
            run.summary(answers.requests),
            extra={
                "reactions": None if active is None else [asdict(each) for each in active],
                "already_there": asdict(answers.already_there),
            },
        )


def _write_files(run: RunDir, answers: Preflight) -> None:
    """Write what Omneo does not know, for those who have to enter or correct it; old files are removed."""
    places = answers.new_locations
    people = [(each.identifier, each.handle) for each in answers.unknown_people]
    for name, columns, rows in (
        (NEW_LOCATIONS_CSV, _LOCATION_COLUMNS, None if places is None else sorted(places.items())),
        (UNKNOWN_PROFILES_CSV, _PROFILE_COLUMNS, people or None),
    ):
        if rows is None:
            (run.path / name).unlink(missing_ok=True)
        else:
            _write_csv(run.path / name, columns, rows)


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    texts = [[str(cell) for cell in row] for row in rows]
    table = pl.DataFrame(texts, schema=dict.fromkeys(columns, pl.String), orient="row")
    write_private(path, table.with_columns(neutral(pl.all())).write_csv())


def forget_unknown_profile(run: RunDir, is_person: Callable[[str | None], bool]) -> None:
    """Remove a person from the list of those that Omneo does not know."""
    path = run.path / UNKNOWN_PROFILES_CSV
    if path.exists():
        rows = pl.read_csv(path, infer_schema=False).rows()
        kept = [[cell or "" for cell in row] for row in rows if not is_person(row[0])]
        _write_csv(path, _PROFILE_COLUMNS, kept)


def _sales_to_send(run: OpenRun) -> str:
    """How many sales are still to be sent, and how many of the run are old, in words."""
    delivery = run.summary().delivery
    old = run.staged.count_before(datetime.now(UTC) - HISTORIC_AFTER)
    waiting = count(delivery.pending + delivery.in_doubt, "sale")
    days = HISTORIC_AFTER.days
    older = f"{old:,} of the run's sales {agree(old, 'is')} older than {days} days"
    return f"Up to {waiting} would run them; {older}"


def _findings(answers: Preflight, sales_to_send: str) -> Iterator[TenantAnswer]:
    """What the tenant said, for the report."""
    yield TenantAnswer("Token", "The token is good.", good=True)
    yield _triggers(answers.reactions, sales_to_send)
    if sampled := answers.already_there.sampled:
        found = answers.already_there.found
        message = (
            f"{found:,} of {count(sampled, 'sale')} that were looked for are in Omneo under other ids, by "
            "receipt number, total and time."
        )
        twice = " They would be there twice." if found else ""
        yield TenantAnswer("Sales that are there already", message + twice, good=not found)
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
            f"{part(answers.people_known, answers.people_asked, 'customer', 'is')} known: with 95% "
            f"confidence {between(share.low, share.high)} of all. Sales of the others become guest sales.",
        )
    elif answers.people_unanswered:
        yield TenantAnswer(_CUSTOMERS, "The token may not ask for customers.")


def _triggers(reactions: Reactions, sales_to_send: str) -> TenantAnswer:
    """An answer about what would run for imported sales."""
    title = "Triggers that imported sales would run"
    if reactions.active is None:
        return TenantAnswer(title, "The tenant gave no list, so this is not known. Look in CX Manager.")
    if not reactions.active:
        return TenantAnswer(title, "There is none.", good=True)
    message = f"{sales_to_send}. They may award points and send mails, however old a sale is."
    return TenantAnswer(title, message, good=False, evidence=tuple(map(str, reactions.active)))


def _unknown_names(title: str, unknown: Mapping[str, int] | None, *, some: str, none: str) -> TenantAnswer:
    """A finding about names that Omneo does not know, with the number of transactions of each."""
    if unknown is None:
        return TenantAnswer(title, "The tenant gave no list, so this is not known.")
    evidence = tuple(f"{name}: {count(many, 'transaction')}" for name, many in sorted(unknown.items()))
    return TenantAnswer(title, some if unknown else none, good=not unknown, evidence=evidence)
