"""Asking the tenant before anything is sent: token, locations, currencies, a sample of profiles.

From the public reference of `GET /locations`, `/currencies`, `/profiles` and `/identities/search`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from pipeline.core.clock import Clock, SystemClock
from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Emit, StageFinished, StageStarted, ignore
from pipeline.core.model import RequestCounts, StagedTransaction
from pipeline.core.settings import Connection
from pipeline.loading.confirm.estimate import Interval, share_interval
from pipeline.loading.confirm.field_comparison import instant_of
from pipeline.loading.confirm.same_sale import decimal_of, is_void
from pipeline.loading.confirm.spend_comparison import Snapshot, take_snapshot
from pipeline.loading.customer_query import NoAnswer, Person, find_profile
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop, until_stopped
from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.http.interface import httpx
from pipeline.loading.http.lists import NoList, ask_page, read_pages
from pipeline.loading.http.paced_client import DENIED, connected
from pipeline.loading.triggers import Reactions, read_reactions

PAGE_SIZE: Final = 100
SALES: Final = 50
"""Sales that are looked for under other ids: of an import done before, nearly all are found."""
_FURTHEST_APART: Final = timedelta(hours=14)
"""Between a time in UTC and the same time of day in another zone."""


@dataclass(frozen=True)
class Questions:
    """What a staged run refers to.

    Attributes:
        locations: Transactions by `location_id`.
        currencies: Transactions by `currency`.
        people: How many different customers there are.
        sample: Some of them, chosen at random.
        sales: Bodies of some of its transactions, chosen at random.
    """

    locations: Mapping[str, int]
    currencies: Mapping[str, int]
    people: int
    sample: tuple[Person, ...]
    sales: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class AlreadyThere:
    """Whether sales of a run are in Omneo under other ids, from an earlier import or another system.

    Attributes:
        sampled: Sales of the run that were looked for.
        found: Those of them that Omneo has with another external id, or without one: with the same total and
            receipt number, at most a time zone apart; or of the same second, where they have no number.
    """

    sampled: int = 0
    found: int = 0


@dataclass(frozen=True)
class Preflight:
    """What the tenant answered; that it answered at all means that the token is good.

    Attributes:
        new_locations: Transactions by `location_id`, for those that Omneo would create; None where the
            tenant gave no list.
        unknown_currencies: Transactions by `currency`, for those that are not configured; None as above.
        people_asked: Customers of the sample that the tenant answered for.
        people_known: Those of them that Omneo knows.
        known_share: Share of all customers that Omneo knows, as far as the sample tells.
        requests: What went over the wire.
        people_unanswered: Customers of the sample for which there was no answer, or not for this token.
        unknown_people: Customers of the sample that Omneo does not know.
        reactions: What runs in the tenant for imported sales.
        already_there: Sales that are there under other ids.
        before: The lifetime spend of the customers that `confirm --effects` will look at; None where the
            tenant does not give it.
    """

    new_locations: Mapping[str, int] | None
    unknown_currencies: Mapping[str, int] | None
    people_asked: int
    people_known: int
    known_share: Interval
    requests: RequestCounts = field(default_factory=RequestCounts)
    people_unanswered: int = 0
    unknown_people: tuple[Person, ...] = ()
    reactions: Reactions = field(default_factory=lambda: Reactions(None))
    already_there: AlreadyThere = field(default_factory=AlreadyThere)
    before: Snapshot | None = None


def questions(
    transactions: Iterable[list[StagedTransaction]], sample: int = 200, seed: int | None = None
) -> Questions:
    """Gather what a run refers to, from its bodies; memory grows with the number of different customers."""
    locations: Counter[str] = Counter()
    currencies: Counter[str] = Counter()
    people: set[Person] = set()
    dice = random.Random(seed)  # noqa: S311 (a sample is no secret)
    sales: list[Mapping[str, Any]] = []
    read = 0
    for batch in transactions:
        for transaction in batch:
            body = json.loads(transaction.body or b"{}")  # empty where the customer was forgotten
            locations.update(_said(body, "location_id"))
            currencies.update(_said(body, "currency"))
            if person := Person.of(body):
                people.add(person)
            read += bool(body)
            if body and len(sales) < SALES:
                sales.append(body)
            # Reservoir sampling: memory stays bounded although the number of sales is not known.
            elif body and (place := dice.randrange(read)) < SALES:  # each has the same chance
                sales[place] = body
    chosen = dice.sample(sorted(people), min(sample, len(people)))
    return Questions(locations, currencies, len(people), tuple(chosen), tuple(sales))


def _said(body: Mapping[str, Any], name: str) -> list[str]:
    return [str(body[name])] if body.get(name) not in (None, "") else []


def preflight(
    asked: Questions,
    connection: Connection,
    options: DeliveryOptions | None = None,
    *,
    delivered: Mapping[Person, Decimal] | None = None,
    emit: Emit = ignore,
    stop: Stop | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
) -> Preflight | None:
    """Ask the tenant; sends no transaction.

    Args:
        asked: What the run refers to.
        connection: The tenant.
        options: How fast to ask, and for how long to try.
        delivered: The customers whose lifetime spend is wanted, each with the sum of the run's sales that
            Omneo has already; None where nothing is wanted.
        emit: Gets every event.
        stop: Asks it to stop.
        transport: Takes the place of the network in tests.
        clock: Takes the place of the system's clocks in tests.

    Returns:
        The answers; None where it was asked to stop before it had them all.

    Raises:
        StoppedByApi: The token was refused, or there was no answer for too long.
    """
    inquiry = _Inquiry(
        asked=asked,
        delivered=delivered or {},
        options=options or DeliveryOptions(),
        emit=emit,
        stop=stop or Stop(),
        clock=clock or SystemClock(),
    )
    return asyncio.run(inquiry.run(connection, transport))


@dataclass
class _Inquiry:
    asked: Questions
    delivered: Mapping[Person, Decimal]
    options: DeliveryOptions
    emit: Emit
    stop: Stop
    clock: Clock
    unanswered: ReplyVerdict | None = None
    absent: ReplyVerdict | None = None
    """A list of which the address is none."""

    async def run(
        self, connection: Connection, transport: httpx.AsyncBaseTransport | None
    ) -> Preflight | None:
        started = self.clock.monotonic()
        self.emit(StageStarted("preflight", "questions"))
        async with connected(
            connection, self.options, self.emit, transport=transport, clock=self.clock
        ) as self.api:
            answers = await until_stopped(self._ask_all(), self.stop)
        requests = self.api.requests
        self.emit(StageFinished("preflight", requests.sent, self.clock.monotonic() - started))
        return answers

    async def _ask_all(self) -> Preflight:
        # Asked first: the list is short, and a bad token shows with a single request.
        currencies = await self._values("/currencies", ("code", "currency", "from", "to"))
        locations = await self._values("/locations", ("id", "external_id"))
        if self.unanswered and currencies is None and locations is None:
            raise self._error(self.unanswered)
        reactions, already_there = await read_reactions(self.api), await self._already_there()
        has_lists = any(each is not None for each in (currencies, locations, reactions.active))
        if self.absent and not has_lists and not already_there.sampled:  # not Omneo, or not its API
            raise self.api.error(self.absent)
        answers = await asyncio.gather(*map(self._is_known, self.asked.sample))
        known = [answer for answer in answers if answer is not None]
        return Preflight(
            new_locations=_unknown(self.asked.locations, locations),
            unknown_currencies=_unknown(self.asked.currencies, currencies),
            people_asked=len(known),
            people_known=sum(known),
            known_share=share_interval(sum(known), len(known), self.asked.people),
            requests=self.api.requests,
            people_unanswered=len(answers) - len(known),
            unknown_people=tuple(
                person for person, answer in zip(self.asked.sample, answers, strict=True) if answer is False
            ),
            reactions=reactions,
            already_there=already_there,
            before=await self._before(),
        )

    async def _values(self, path: str, names: tuple[str, ...]) -> set[str] | None:
        """All values of these fields in a paged list; None where Omneo gives no list."""
        found: set[str] = set()
        try:
            async for rows in read_pages(self.api, path, {}, size=PAGE_SIZE):
                found.update(str(row[name]) for row in rows for name in names if row.get(name) is not None)
        except NoList as no_list:
            # An answer taken without a list is an empty list, which PHP may write as null or as an object.
            if no_list.verdict.meaning is not Meaning.TAKEN:
                if no_list.verdict.status == 404:
                    self.absent = no_list.verdict
                else:
                    self.unanswered = no_list.verdict
                return found or None
        return found

    async def _is_known(self, person: Person) -> bool | None:
        """Whether Omneo knows a customer; None where it does not say."""
        try:
            return await find_profile(self.api, person) is not None
        except NoAnswer:
            return None

    async def _already_there(self) -> AlreadyThere:
        answers: list[bool | None] = []
        # One sale is asked for first, because the token may not list transactions at all.
        if self.asked.sales:
            answers.append(await self._is_there_otherwise(self.asked.sales[0]))
        if answers and answers[0] is not None:
            answers += await asyncio.gather(*map(self._is_there_otherwise, self.asked.sales[1:]))
        known = [answer for answer in answers if answer is not None]
        return AlreadyThere(len(known), sum(known))

    async def _is_there_otherwise(self, sale: Mapping[str, Any]) -> bool | None:
        """Whether Omneo has a sale under another id; None where it does not say."""
        by = ("receipt_ref",) if sale.get("receipt_ref") else ("transacted_at", "total")
        filters = {f"filter[{name}]": str(sale.get(name)) for name in by}
        try:
            page = await ask_page(self.api, "/transactions", {**filters, "page[size]": "25"}, most_errors=2)
        except NoList:
            return None
        if any(not _is_of(row, sale, by) for row in page.rows):
            # Rows that do not match the filter show that the server ignores it.
            return None
        return any(_is_same_sale(row, sale, by) for row in page.rows)

    async def _before(self) -> Snapshot | None:
        try:
            return await take_snapshot(self.api, self.delivered, datetime.now(UTC))
        except NoAnswer:
            return None

    def _error(self, verdict: ReplyVerdict) -> StoppedByApi:
        if verdict.status in DENIED:
            return self.api.error(verdict)
        return StoppedByApi(
            f"There was neither a list of currencies nor one of locations (last: {verdict.status} "
            f"{verdict.message}).",
            hint="Check OMNEO_TENANT or OMNEO_BASE_URL.",
        )


def _is_of(row: Mapping[str, Any], sale: Mapping[str, Any], by: tuple[str, ...]) -> bool:
    """Whether a row of a list is one that was asked for."""
    if by == ("receipt_ref",):
        return str(row.get("receipt_ref")).strip().casefold() == str(sale["receipt_ref"]).strip().casefold()
    return decimal_of(row.get("total")) == decimal_of(sale.get("total"))


def _is_same_sale(row: Mapping[str, Any], sale: Mapping[str, Any], by: tuple[str, ...]) -> bool:
    """Whether a row is the same sale under another id. If it is, an import makes a second one."""
    times = instant_of(row.get("transacted_at")), instant_of(sale.get("transacted_at"))
    if str(row.get("external_id")) == str(sale.get("external_id")) or is_void(row) or None in times:
        return False
    apart = abs(times[0] - times[1]) if times[0] and times[1] else _FURTHEST_APART
    is_near = apart < _FURTHEST_APART if by == ("receipt_ref",) else not apart
    return is_near and decimal_of(row.get("total")) == decimal_of(sale.get("total"))


def _unknown(asked: Mapping[str, int], known: set[str] | None) -> dict[str, int] | None:
    if known is None:
        return None
    return {name: count for name, count in asked.items() if name not in known}
