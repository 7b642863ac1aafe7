"""What an import did to customers' figures: the lifetime spend that Omneo calculated, before and after.

From the public reference of `GET /profiles/{id}/aggregations`: `spend_all` is net, so returns subtract, and
is calculated some time after transactions, not at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

from pipeline.core.text.wording import count, part
from pipeline.loading.confirm.list_query import PATH as TRANSACTIONS
from pipeline.loading.confirm.same_sale import decimal_of, is_void
from pipeline.loading.customer_query import Person, ask, find_profile
from pipeline.loading.http.lists import NoList, ask_page, read_pages
from pipeline.loading.http.paced_client import PacedClient

PROFILES: Final = 50
"""Customers that are sampled: one in twenty that is wrong is among them with a probability of 92%."""
DAY: Final = timedelta(hours=24)
"""After so long a figure that has not moved is a fault, not a calculation that is still to come."""
_PAGE_SIZE: Final = 100
_MOST_SALES: Final = 2_000
"""Of one customer that are read to explain a figure; more than a customer has."""


@dataclass(frozen=True)
class CustomerBefore:
    """A customer before an import.

    Attributes:
        person: How the run names them.
        profile_id: Omneo's id; None where it did not know them.
        spend: Their lifetime spend as Omneo had calculated it; None where that is not known.
        delivered: The sum of this run's sales that Omneo had then, delivered by an earlier run.
    """

    person: Person
    profile_id: str | None
    spend: Decimal | None
    delivered: Decimal


@dataclass(frozen=True)
class Snapshot:
    """The figures of some customers before an import.

    Attributes:
        taken_at: When.
        customers: Whose, in an order that the run decides.
    """

    taken_at: datetime
    customers: tuple[CustomerBefore, ...]


@dataclass(frozen=True)
class SentSale:
    """A sale of a customer that the ledger says Omneo has.

    Attributes:
        external_id: Which.
        total: Its total; nothing where it is void.
        at: When the ledger's record got its state, seconds since 1970.
    """

    external_id: str
    total: Decimal
    at: int = 0


class Effect(StrEnum):
    """How a customer's lifetime spend changed."""

    EXACT = "exact"  # by exactly what was imported
    OTHER_SALES = "other_sales"  # by that and by sales from elsewhere, which Omneo has
    NOT_CALCULATED = "not_calculated"  # not, or not by all of it yet: Omneo has the sales
    LOST = "lost"  # by less: Omneo lacks sales
    DOUBLED = "doubled"  # by more: Omneo has sales several times
    DIFFERENT = "different"  # by another amount, which is not explained
    UNKNOWN = "unknown"  # there is no figure from before or after


WRONG: Final = frozenset({Effect.LOST, Effect.DOUBLED, Effect.DIFFERENT})


@dataclass(frozen=True)
class CustomerEffect:
    """What an import did to a customer's lifetime spend.

    Attributes:
        person: How the run names them.
        effect: How it changed.
        sent: What was imported.
        rose: By how much it rose; None where that is not known.
        reason: Why it is not what was imported; empty where it is.
    """

    person: Person
    effect: Effect
    sent: Decimal
    rose: Decimal | None = None
    reason: str = ""


async def take_snapshot(api: PacedClient, delivered: Mapping[Person, Decimal], now: datetime) -> Snapshot:
    """Ask for the lifetime spend of customers; those without an answer are left out.

    Args:
        api: Asks.
        delivered: The customers, each with the sum of the run's sales that Omneo has already.
        now: The present time.

    Raises:
        NoAnswer: The token may not ask for figures.
        StoppedByApi: The token was refused, or there was no answer for too long.
    """
    people = list(delivered)
    # One customer alone first: if the token may not ask, that costs a single request.
    first = [await _before(api, people[0], delivered[people[0]])] if people else []
    others = await asyncio.gather(*(_before(api, each, delivered[each]) for each in people[1:]))
    return Snapshot(now, tuple(each for each in (*first, *others) if each.spend is not None))


async def _before(api: PacedClient, person: Person, delivered: Decimal) -> CustomerBefore:
    profile_id = await find_profile(api, person)
    if profile_id is None:
        return CustomerBefore(person, None, Decimal(0), delivered)
    spend = await _spend(api, profile_id)
    if spend is None and await _has_no_sales(api, profile_id):
        spend = Decimal(0)
    return CustomerBefore(person, profile_id, spend, delivered)


async def _spend(api: PacedClient, profile_id: str) -> Decimal | None:
    """The lifetime spend as Omneo calculated it; None until it has."""
    answer = await ask(api, f"/profiles/{quote(profile_id, safe='')}/aggregations", {})
    data = answer.get("data", answer) if isinstance(answer, dict) else None
    return decimal_of(data.get("spend_all")) if isinstance(data, dict) else None


async def _has_no_sales(api: PacedClient, profile_id: str) -> bool:
    """Whether a customer of whom nothing was calculated has bought nothing; unknown counts as no."""
    try:
        page = await ask_page(api, TRANSACTIONS, {"filter[profile_id]": profile_id, "page[size]": "1"})
    except NoList:
        return False
    return not page.rows and not page.total


async def measure(
    api: PacedClient, snapshot: Snapshot, sent: Mapping[Person, Sequence[SentSale]]
) -> list[CustomerEffect]:
    """Compare the lifetime spend of customers with what it was and what was sent.

    Where none has moved, nothing has been calculated. Otherwise the sales of each whose figure is another
    one are read, which tells what was lost, doubled, or came from elsewhere.

    Args:
        api: Asks.
        snapshot: The figures from before.
        sent: The customers' sales that Omneo has by the ledger.

    Returns:
        An effect for each customer of whom something was sent, in the order of the snapshot.

    Raises:
        NoAnswer: The token may not ask for figures.
        StoppedByApi: The token was refused, or there was no answer for too long.
    """
    customers = [each for each in snapshot.customers if _sent(each, sent)]
    figures = await asyncio.gather(*(_now(api, each) for each in customers))
    asked = list(zip(customers, figures, strict=True))
    has_moved = any(now is not None and now != each.spend for each, (_, now) in asked)

    async def effect(each: CustomerBefore, profile_id: str | None, now: Decimal | None) -> CustomerEffect:
        amount = _sent(each, sent)
        if profile_id is None or each.spend is None:
            return CustomerEffect(each.person, Effect.UNKNOWN, amount, reason="Omneo does not know them")
        rose = Decimal(0) if now is None else now - each.spend
        if rose == amount:
            return CustomerEffect(each.person, Effect.EXACT, amount, rose)
        if not has_moved:
            return CustomerEffect(each.person, Effect.NOT_CALCULATED, amount, rose)
        found, reason = await _explain(
            api, profile_id, sent.get(each.person, ()), now=now, gap=rose - amount, since=snapshot.taken_at
        )
        return CustomerEffect(each.person, found, amount, rose, reason)

    return list(await asyncio.gather(*(effect(each, *figure) for each, figure in asked)))


def _sent(customer: CustomerBefore, sent: Mapping[Person, Sequence[SentSale]]) -> Decimal:
    return sum((each.total for each in sent.get(customer.person, ())), Decimal(0)) - customer.delivered


async def _now(api: PacedClient, customer: CustomerBefore) -> tuple[str | None, Decimal | None]:
    profile_id = customer.profile_id or await find_profile(api, customer.person)
    return profile_id, (await _spend(api, profile_id) if profile_id else None)


async def _explain(
    api: PacedClient,
    profile_id: str,
    sales: Sequence[SentSale],
    *,
    now: Decimal | None,
    gap: Decimal,
    since: datetime,
) -> tuple[Effect, str]:
    """Say from a customer's sales in Omneo why their figure differs from the expected one."""
    rows = await _sales_of(api, profile_id)
    if rows is None:
        return Effect.DIFFERENT, "their sales could not be listed"
    counted = [row for row in rows if not is_void(row)]
    there = Counter(str(row.get("external_id")) for row in counted)
    own = {each.external_id for each in sales}
    expected = [each for each in sales if each.total]
    if missing := sum(not there[each.external_id] for each in expected):
        return Effect.LOST, f"{part(missing, len(expected), 'sale', 'is')} not theirs in Omneo"
    if copies := sum(there[each.external_id] > 1 for each in expected):
        return Effect.DOUBLED, f"{part(copies, len(expected), 'sale', 'is')} in Omneo several times"
    others = [row for row in counted if str(row.get("external_id")) not in own and _is_since(row, since)]
    if others and _sum(others) == gap:
        return Effect.OTHER_SALES, f"{count(len(others), 'other sale')} since"
    if now != _sum(counted):
        return Effect.NOT_CALCULATED, "Omneo has the sales, and has not calculated all of them"
    return Effect.DIFFERENT, "Omneo has the sales with other totals, or others were changed"


async def _sales_of(api: PacedClient, profile_id: str) -> list[Mapping[str, Any]] | None:
    """All sales of a customer; None where the list does not give them, or gives others' too."""
    sales: list[Mapping[str, Any]] = []
    try:
        async for rows in read_pages(api, TRANSACTIONS, {"filter[profile_id]": profile_id}, size=_PAGE_SIZE):
            sales += rows
            if len(sales) > _MOST_SALES or any(str(row.get("profile_id")) != profile_id for row in rows):
                return None
    except NoList:
        return None
    return sales


def _is_since(row: Mapping[str, Any], since: datetime) -> bool:
    """Whether a sale came to Omneo after a moment; one that does not say when did not."""
    try:
        created = datetime.fromisoformat(str(row.get("created_at")))
    except ValueError:
        return False
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    # Times of Omneo have no fractions of a second.
    return created >= since.replace(microsecond=0)


def _sum(rows: Sequence[Mapping[str, Any]]) -> Decimal:
    return sum((decimal_of(row.get("total")) or Decimal(0) for row in rows), Decimal(0))
