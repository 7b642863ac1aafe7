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
from typing import Any, Final
from urllib.parse import quote

from pipeline.core.clock import Clock, SystemClock
from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Emit, StageFinished, StageStarted, ignore
from pipeline.core.model import StagedTransaction
from pipeline.core.settings import Connection
from pipeline.loading.confirm.estimate import Interval, share_interval
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop, until_stopped
from pipeline.loading.http.answers import Meaning, ReplyVerdict, parsed
from pipeline.loading.http.client import Answered, Client, Reply
from pipeline.loading.http.endpoints import listing
from pipeline.loading.http.interface import httpx
from pipeline.loading.http.lists import rows_of, total_of
from pipeline.loading.http.paced_client import DENIED, PacedClient, RequestCounts

PAGE_SIZE: Final = 100


@dataclass(frozen=True, order=True)
class Person:
    """How a transaction names its customer.

    Attributes:
        handle: `email`, the handle of an identity, or empty for an Omneo UUID.
        identifier: The email, identity or UUID.
    """

    handle: str
    identifier: str


@dataclass(frozen=True)
class Questions:
    """What a staged run refers to.

    Attributes:
        locations: Transactions by `location_id`.
        currencies: Transactions by `currency`.
        people: How many different customers there are.
        sample: Some of them, chosen at random.
    """

    locations: Mapping[str, int]
    currencies: Mapping[str, int]
    people: int
    sample: tuple[Person, ...]


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
    """

    new_locations: Mapping[str, int] | None
    unknown_currencies: Mapping[str, int] | None
    people_asked: int
    people_known: int
    known_share: Interval
    requests: RequestCounts = field(default_factory=RequestCounts)
    people_unanswered: int = 0


def questions(
    transactions: Iterable[list[StagedTransaction]], sample: int = 200, seed: int | None = None
) -> Questions:
    """Gather what a run refers to, from its bodies; memory grows with the number of different customers."""
    locations: Counter[str] = Counter()
    currencies: Counter[str] = Counter()
    people: set[Person] = set()
    for batch in transactions:
        for transaction in batch:
            body = json.loads(transaction.body or b"{}")  # empty where the customer was forgotten
            locations.update(_said(body, "location_id"))
            currencies.update(_said(body, "currency"))
            people.update(
                Person(str(body.get("profile_id_handle") or ""), each) for each in _said(body, "profile_id")
            )
    dice = random.Random(seed)  # noqa: S311
    chosen = dice.sample(sorted(people), min(sample, len(people)))
    return Questions(locations, currencies, len(people), tuple(chosen))


def _said(body: Mapping[str, Any], name: str) -> list[str]:
    return [str(body[name])] if body.get(name) not in (None, "") else []


def preflight(
    asked: Questions,
    connection: Connection,
    options: DeliveryOptions | None = None,
    *,
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
        emit: Gets every event.
        stop: Asks it to stop.
        transport: Takes the place of the network in tests.
        clock: Takes the place of the system's clocks in tests.

    Returns:
        The answers; None where it was asked to stop before it had them all.

    Raises:
        StoppedByApi: The token was refused, or there was no answer for too long.
    """
    inquiry = _Inquiry(asked, options or DeliveryOptions(), emit, stop or Stop(), clock or SystemClock())
    return asyncio.run(inquiry.run(connection, transport))


class _NoAnswer(Exception):
    """The token may not ask for this, or what came is no answer of the API."""


@dataclass
class _Inquiry:
    asked: Questions
    options: DeliveryOptions
    emit: Emit
    stop: Stop
    clock: Clock
    unanswered: ReplyVerdict | None = None
    answers: Preflight | None = None

    async def run(
        self, connection: Connection, transport: httpx.AsyncBaseTransport | None
    ) -> Preflight | None:
        started = self.clock.monotonic()
        self.emit(StageStarted("preflight", "questions"))
        async with Client(connection, transport, timeout_s=self.options.timeout_s) as client:
            self.exchange = PacedClient(
                client, connection.base_url, self.options.limits(), self.clock, self.emit
            )
            await until_stopped(self._ask_all(), self.stop)
        requests = self.exchange.requests
        self.emit(StageFinished("preflight", requests.sent, self.clock.monotonic() - started))
        return self.answers

    async def _ask_all(self) -> None:
        # First, since it finds a bad token with a single request.
        currencies = await self._values("/currencies", ("code", "currency", "from", "to"))
        locations = await self._values("/locations", ("id", "external_id"))
        if self.unanswered and currencies is locations is None:
            raise self._error(self.unanswered)
        answers = await asyncio.gather(*map(self._is_known, self.asked.sample))
        known = [answer for answer in answers if answer is not None]
        self.answers = Preflight(
            _unknown(self.asked.locations, locations),
            _unknown(self.asked.currencies, currencies),
            len(known),
            sum(known),
            share_interval(sum(known), len(known), self.asked.people),
            self.exchange.requests,
            len(answers) - len(known),
        )

    async def _values(self, path: str, names: tuple[str, ...]) -> set[str] | None:
        """All values of these fields in a paged list; None where Omneo gives no list."""
        found: set[str] = set()
        number = seen = 0
        while True:
            number += 1
            try:
                page = await self._ask(path, {"page[size]": str(PAGE_SIZE), "page[number]": str(number)})
            except _NoAnswer:
                page = None
            if page is None:
                return found if seen else None
            rows, known = rows_of(page), len(found)
            seen += len(rows)
            found.update(str(row[name]) for row in rows for name in names if row.get(name) is not None)
            # A page with nothing new is the first one again, of a list that has no pages.
            if len(found) == known or seen >= total_of(page, seen if len(rows) < PAGE_SIZE else seen + 1):
                return found

    async def _is_known(self, person: Person) -> bool | None:
        """Whether Omneo knows a customer; None where it does not say."""
        try:
            return await self._finds(person)
        except _NoAnswer:
            return None

    async def _finds(self, person: Person) -> bool:
        if person.handle == "email":
            answer = await self._ask("/profiles", {"filter[email]": person.identifier})
            wanted = person.identifier.casefold()
            return any(str(row.get("email", "")).casefold() == wanted for row in rows_of(answer))
        if person.handle:
            asked = {"handle": person.handle, "identifier": person.identifier}
            return bool(rows_of(await self._ask("/identities/search", asked)))
        return await self._ask(f"/profiles/{quote(person.identifier, safe='')}", {}) is not None

    async def _ask(self, path: str, params: Mapping[str, str]) -> Any:
        """The JSON answer; None where there is no such thing."""
        verdict, reply = await self.exchange.ask(listing(path, params), path, or_denied=True)
        if verdict.again or verdict.status == DENIED or verdict.meaning is Meaning.UNCLEAR:
            self.unanswered = verdict
            raise _NoAnswer
        if verdict.meaning is Meaning.REFUSED and verdict.status != 404:
            raise StoppedByApi(f"Omneo answered {verdict.status} to GET {path}: {verdict.message}.")
        return _json(reply) if verdict.meaning is Meaning.TAKEN else None

    def _error(self, verdict: ReplyVerdict) -> StoppedByApi:
        if verdict.status == DENIED:
            return self.exchange.error(verdict)
        return StoppedByApi(
            f"There was neither a list of currencies nor one of locations (last: {verdict.status} "
            f"{verdict.message}).",
            hint="Check OMNEO_TENANT or OMNEO_BASE_URL.",
        )


def _unknown(asked: Mapping[str, int], known: set[str] | None) -> dict[str, int] | None:
    if known is None:
        return None
    return {name: count for name, count in asked.items() if name not in known}


def _json(reply: Reply) -> Any:
    return parsed(reply.body) if isinstance(reply, Answered) else None
