"""What Omneo does of itself when a transaction arrives, and whether old sales are about to set it off.

A *trigger* runs actions when an event happens: it may award points or send a mail. No flag marks a sale as
historical, so years of old receipts would run triggers as today's sales do. From the public reference of
`GET /triggers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from pipeline.core.clock import Clock
from pipeline.core.errors import ReactionsHeld
from pipeline.core.events import Emit, ignore
from pipeline.core.model import RequestCounts
from pipeline.core.settings import Connection
from pipeline.core.text.wording import count
from pipeline.loading.delivery.decisions import Candidate, DeliveryRules, Send
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.leases import Batches, positioned
from pipeline.loading.delivery.stop import Stop, until_stopped
from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.http.interface import httpx
from pipeline.loading.http.lists import NoList, read_pages
from pipeline.loading.http.paced_client import PacedClient, connected
from pipeline.loading.ledger.entries import RunRef
from pipeline.loading.ledger.ledger import SqlLedger

EVENTS: Final = frozenset({"transaction.created", "transaction.updated"})
"""The events that an import causes."""
MOST_HISTORIC: Final = 500
MOST_HISTORIC_SHARE: Final = Fraction(5, 100)
"""A night may bring a few late sales; with more old ones than either of these it is history."""
_INACTIVE: Final = frozenset({"false", "0", "none"})
_PATH: Final = "/triggers"
_PAGE_SIZE: Final = 100
_MOST_TRIGGERS: Final = 10_000
"""No tenant has as many; a list that never ends is left."""
_LONGEST_NAME: Final = 200
_MOST_ERRORS: Final = 3
"""Answers with a server error until the tenant is taken not to say: one alone may be chance."""
_STOPPING: Final = (None, 401, 407)
"""What says that nothing can be asked or sent; other answers may be about this list alone."""
_DECIDED_AT_ONCE: Final = 1_000


@dataclass(frozen=True)
class ActiveTrigger:
    """An active trigger that runs for imported sales.

    Attributes:
        name: As the tenant calls it.
        trigger: The event.
        actions: The types of its actions, such as `target.send`, in their order.
    """

    name: str
    trigger: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} (on {self.trigger}: {', '.join(self.actions) or 'no action'})"


@dataclass(frozen=True)
class Reactions:
    """What the tenant said about its triggers.

    Attributes:
        active: Those that run for imported sales, in the tenant's order; None where it does not say.
        why_unknown: Why it does not say; empty where it does.
        requests: Requests that were made.
    """

    active: tuple[ActiveTrigger, ...] | None
    why_unknown: str = ""
    requests: RequestCounts | None = None


def ask_reactions(
    connection: Connection,
    options: DeliveryOptions | None = None,
    *,
    emit: Emit = ignore,
    stop: Stop | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
) -> Reactions | None:
    """Ask the tenant for its triggers; sends no transaction.

    Args:
        connection: The tenant.
        options: How fast to ask, and for how long to try.
        emit: Is called with what happens.
        stop: Asks it to stop.
        transport: Takes the place of the network in tests.
        clock: Takes the place of the system's clocks in tests.

    Returns:
        The triggers; None where it was asked to stop before it had them.

    Raises:
        StoppedByApi: The token was refused (401), or there was no answer for too long.
    """

    async def ask() -> Reactions | None:
        limits = options or DeliveryOptions()
        async with connected(connection, limits, emit, transport=transport, clock=clock) as api:
            return await until_stopped(read_reactions(api), stop or Stop())

    return asyncio.run(ask())


async def read_reactions(api: PacedClient) -> Reactions:
    """Read the list of triggers over a connection that is open; see `ask_reactions`."""
    rows: list[Mapping[str, Any]] = []
    pages = read_pages(api, _PATH, {}, size=_PAGE_SIZE, most_errors=_MOST_ERRORS, stopping=_STOPPING)
    try:
        async for page in pages:
            rows += page
            if len(rows) > _MOST_TRIGGERS:
                break
    except NoList as no_list:
        # A page that was read may have named an active trigger, which is enough to know.
        return Reactions(tuple(_active(rows)) or None, _why_unknown(no_list.verdict), api.requests)
    return Reactions(tuple(_active(rows)), requests=api.requests)


def _why_unknown(verdict: ReplyVerdict) -> str:
    if verdict.meaning is Meaning.TAKEN:
        return f"GET {_PATH} was not answered with a list"
    return f"GET {_PATH} was answered with {verdict.status} {verdict.message}".strip()


def _active(rows: Sequence[Mapping[str, Any]]) -> list[ActiveTrigger]:
    """The triggers that run for imported sales.

    Whether a trigger without `is_active` is active is not documented: it is taken for active, which asks a
    question too many rather than one too few.
    """
    return [
        ActiveTrigger(_one_line(row.get("name") or row.get("id")), str(row["trigger"]), _actions(row))
        for row in rows
        if str(row.get("trigger")) in EVENTS and str(row.get("is_active", True)).lower() not in _INACTIVE
    ]


def _actions(row: Mapping[str, Any]) -> tuple[str, ...]:
    actions = row.get("actions")
    if not isinstance(actions, list):
        return ()
    each = [action for action in actions if isinstance(action, dict)]
    return tuple(_one_line(action.get("uuid") or action.get("name")) for action in each)


def _one_line(name: Any) -> str:
    """A name as a message shows it: none can look like another line of it, or push the rest out of sight."""
    return " ".join(str(name or "unnamed").split())[:_LONGEST_NAME]


def is_history(run: RunRef, batches: Batches, ledger: SqlLedger, rules: DeliveryRules, older: int) -> bool:
    """Whether too many of the transactions that are still to be sent are old.

    Reads no further than is needed to say it.

    Args:
        run: The run.
        batches: Gives its transactions, oldest first.
        ledger: Says what was sent.
        rules: What the command does with each transaction.
        older: How many transactions at the head of the run are old.
    """
    progress = ledger.progress(run)
    start = progress.watermark if rules.resumes else 0
    old = to_send = 0
    for position, batch in positioned(batches, start):
        for at in range(0, len(batch), _DECIDED_AT_ONCE):
            some = batch[at : at + _DECIDED_AT_ONCE]
            known = ledger.find([each.external_id for each in some], progress.run_no)
            for place, transaction in enumerate(some, position + at):
                decision = rules.decide(
                    Candidate(place, transaction, known.get(transaction.external_id), progress)
                )
                if isinstance(decision, Send):
                    to_send += 1
                    old += place < older
            if old > MOST_HISTORIC:
                return True
            # Old sales come first: behind them only new ones follow, so the share can only fall.
            if position + at + len(some) >= older and old <= to_send * MOST_HISTORIC_SHARE:
                return False
    return old > to_send * MOST_HISTORIC_SHARE


def held(reactions: Sequence[ActiveTrigger], run_id: str, to_send: int) -> ReactionsHeld:
    """The error that names the triggers that a load would set off; nothing was sent."""
    named = "".join(f"\n  - {each}" for each in reactions)
    return ReactionsHeld(
        f"Run {run_id} holds old sales, and up to {count(to_send, 'transaction')} would run "
        f"{count(len(reactions), 'active trigger')} in Omneo; nothing was sent:{named}",
        hint="Switch them off in Omneo while history is imported. Or agree to them with --reactions allow; "
        "--historic-after says from what age on a sale is old.",
    )
