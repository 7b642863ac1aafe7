"""The queries of `confirm`: in lists where the tenant's list proves to take several ids, else singly."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, NamedTuple

from pipeline.core.clock import Clock
from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Emit, Progress, StageFinished, StageStarted
from pipeline.core.model import StagedTransaction
from pipeline.core.settings import Connection
from pipeline.core.text.privacy import mask_value
from pipeline.loading.confirm.confirmation import Confirmation, Finding
from pipeline.loading.confirm.field_comparison import Comparison, Difference, compare_fields
from pipeline.loading.confirm.list_query import ListQuery
from pipeline.loading.confirm.same_sale import has_same_contents, is_void
from pipeline.loading.delivery.decisions import has_other_contents, same_content, surely_not_sent
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.leases import Batches
from pipeline.loading.delivery.stop import Stop, until_stopped
from pipeline.loading.http.answers import MESSAGE_MAX, Meaning, kept_id, transaction_of
from pipeline.loading.http.endpoints import transaction_query
from pipeline.loading.http.interface import httpx
from pipeline.loading.http.paced_client import connected
from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    Passed,
    Record,
    RunRef,
    State,
    counted_in,
)
from pipeline.loading.ledger.group_commit import GroupCommit
from pipeline.loading.ledger.ledger import SqlLedger

_MOST_ABSENT: Final = 20_000
"""Missing transactions that are kept in memory for another look."""
# Waits between looks double from the first to the longest.
FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 15.0
_MOST_TRIED: Final = 20
"""Single queries until lists are not tried: where few are there yet, the list has little to give."""
_LISTS_AT_A_TIME: Final = 8
"""Each holds a hundred transactions in memory, and is a hundred times the work for Omneo."""
_PROOF_OF_A_FIELD: Final = 20
"""Single queries that lack a field as the list does until the list is trusted with it."""
COPIES: Final = "copies"
"""Named like a field where Omneo has a transaction several times."""


class Wanted(NamedTuple):
    """A transaction to query.

    Attributes:
        external_id: Which.
        body: As it was staged.
        record: What the ledger has of it.
    """

    external_id: str
    body: bytes
    record: Record


@dataclass
class Search:
    """Queries transactions of a run, and marks in the ledger what was found.

    Attributes:
        run: The run.
        ledger: Says what was delivered.
        options: How to ask.
        sample: Share of the transactions to query.
        patience_s: How long to look again for missing ones.
        dice: Chooses the sample.
        emit: Is called with what happens.
        stop: Asks it to stop.
        clock: Time.
    """

    run: RunRef
    ledger: SqlLedger
    options: DeliveryOptions
    sample: float
    patience_s: float
    dice: random.Random
    emit: Emit
    stop: Stop
    clock: Clock
    _omitted: set[str] = field(default_factory=set)  # fields that the list leaves out
    _agreed: Counter[str] = field(default_factory=Counter)  # queries that lack a field as the list does

    async def run_all(
        self, batches: Batches, connection: Connection, transport: httpx.AsyncBaseTransport | None
    ) -> Confirmation:
        """Query everything; what stops it early is in the result."""
        started = self.clock.monotonic()
        self.emit(StageStarted("confirm", "transactions"))
        self.result = Confirmation()
        self.absent: list[Wanted] = []
        self.unanswered: set[str] = set()
        self.shown_at = started
        self.learning = asyncio.Lock()
        self.run_no = self.ledger.progress(self.run).run_no
        self.marks: GroupCommit[tuple[Record, State]] = GroupCommit(
            lambda marks: lambda: self.ledger.mark(marks, begun=True)
        )
        try:
            async with connected(
                connection, self.options, self.emit, transport=transport, clock=self.clock
            ) as self.exchange:
                self.lists = ListQuery(self.exchange)
                self.result.requests = self.exchange.requests
                await until_stopped(self._look(batches), self.stop)
                self.result.one_by_one = self.lists.why_not
        except StoppedByApi as error:
            self.result.error = error
        finally:
            self.marks.close()
        self.result.stopped = self.stop.requested
        self.emit(StageFinished("confirm", self.result.queried, self.clock.monotonic() - started))
        return self.result

    async def _look(self, batches: Batches) -> None:
        wanted = self._delivered(batches)
        first = await self._try_lists(wanted)
        await self._each(_chained(first, wanted))
        await self._look_again()

    async def _delivered(self, batches: Batches) -> AsyncIterator[Wanted]:
        reading = iter(batches(0))
        while (batch := await asyncio.to_thread(next, reading, None)) is not None:
            for start in range(0, len(batch), 1000):
                some = batch[start : start + 1000]
                names = [each.external_id for each in some]
                known = await self.marks.call(partial(self.ledger.find, run_no=self.run_no), names)
                for transaction in some:
                    record = known.get(transaction.external_id)
                    if record is None:
                        continue
                    if not self._is_expected(transaction, record):
                        self._note_gone(transaction, record)
                        continue
                    self.result.expected += 1
                    if self.sample >= 1 or self.dice.random() < self.sample:
                        yield Wanted(transaction.external_id, transaction.body, record)

    def _is_expected(self, transaction: StagedTransaction, record: Record) -> bool:
        """Whether Omneo has these contents, as far as the ledger knows, or perhaps has them.

        Perhaps from this run, or since another run's repeat or update was cut off.
        """
        if not transaction.body or not same_content(record, transaction.body):
            return False
        perhaps = record.run_no == self.run_no or record.before in ACCEPTED_BY_OMNEO
        return record.state in ACCEPTED_BY_OMNEO or (perhaps and not surely_not_sent(record))

    def _note_gone(self, transaction: StagedTransaction, record: Record) -> None:
        """Count what this run delivered and what cannot be looked up any more."""
        counted = counted_in(self.run_no, record, record.place)
        if counted in _UNCONFIRMED:
            self.result.beside["replaced" if transaction.body else "forgotten"] += 1
        if counted in (State.MISSING, State.DIFFERING):
            self.result.beside[f"gone_{counted}"] += 1

    def _expects_void(self, record: Record) -> bool:
        """Whether the run has voided it; what another run has voided is not as this one has it."""
        return record.state is State.VOIDED and record.run_no == self.run_no

    # Whether lists can be used

    async def _try_lists(self, wanted: AsyncIterator[Wanted]) -> list[Wanted]:
        """Query some singly until three are found, and ask for two of those in a list.

        Returns:
            What was taken from `wanted` and not queried.
        """
        found: list[tuple[Wanted, Mapping[str, Any]]] = []
        for _ in range(_MOST_TRIED):
            one = await anext(wanted, None)
            if one is None:
                return []
            # Two to ask for, and a third that must not be in the answer.
            if len(found) == 3:
                await self._prove_lists(found)
                return [one]
            there = await self._query(one)
            if there is not None and self.lists.takes(one.external_id):
                found.append((one, there))
        return []

    async def _prove_lists(self, found: list[tuple[Wanted, Mapping[str, Any]]]) -> None:
        two = found[:2]
        rows = await self.lists.prove(*(wanted.external_id for wanted, _ in two))
        if not rows:
            return
        for wanted, alone in two:
            in_list = compare_fields(wanted.body, rows[wanted.external_id][0], in_list=True).lacking
            self._learn(in_list, compare_fields(wanted.body, alone).lacking)
        if "items" in self._omitted:
            # Without items a row of the list proves little, so each must be queried singly anyway.
            self.lists.works, self.lists.why_not = False, "the list of transactions leaves out their items"

    def _learn(self, lacking_in_list: Iterable[str], lacking_alone: frozenset[str]) -> None:
        """Remember whether the list leaves fields out which a query of one transaction gives."""
        for name in lacking_in_list:
            if name in lacking_alone:
                self._agreed[name] += 1
            else:
                self._omitted.add(name)

    def _is_trusted(self, lacking: frozenset[str]) -> bool:
        """Whether all these fields, which the list lacks, are known to be such that Omneo does not keep."""
        return self._omitted.isdisjoint(lacking) and all(
            self._agreed[name] >= _PROOF_OF_A_FIELD for name in lacking
        )

    def _may_be_trusted(self, lacking: frozenset[str]) -> bool:
        """Whether more queries may show that."""
        return self._omitted.isdisjoint(lacking) and not self._is_trusted(lacking)

    # Looking up

    async def _each(self, wanted: AsyncIterator[Wanted]) -> None:
        """Query everything, as many at a time as may be in flight."""
        # Two workers must not advance the same async generator at once.
        turn = asyncio.Lock()
        left: list[Wanted] = []

        async def take() -> list[Wanted]:
            """The next ones, as many as a request can hold; more than one only where lists work."""
            async with turn:
                taken = [one] if (one := left.pop() if left else await anext(wanted, None)) else []
                while taken and self._fits_a_list(taken[0]):
                    one = await anext(wanted, None)
                    if one is None:
                        break
                    names = [each.external_id for each in taken]
                    if not (self._fits_a_list(one) and self.lists.has_room(names, one.external_id)):
                        left.append(one)
                        break
                    taken.append(one)
                return taken

        in_lists = is_done = False

        async def worker() -> None:
            nonlocal is_done
            while self.lists.works is in_lists:
                taken = await take()
                if not taken:
                    is_done = True
                    return
                await (self._query_list(taken) if len(taken) > 1 else self._query(taken[0]))

        # Workers stop where lists turn out not to work, and the rest is asked one by one.
        while not is_done:
            in_lists = self.lists.works
            # Twice as many workers as requests: half of them wait for the ledger's commit.
            workers = 2 * self.options.concurrency
            await _all([worker] * (min(_LISTS_AT_A_TIME, workers) if in_lists else workers))

    def _fits_a_list(self, wanted: Wanted) -> bool:
        """Whether a list may show it; one that may be there in another version needs a query of its own."""
        proven = wanted.record.state in ACCEPTED_BY_OMNEO
        return self.lists.works and proven and self.lists.takes(wanted.external_id)

    async def _query_list(self, wanted: list[Wanted]) -> None:
        found = await self.lists.find([each.external_id for each in wanted])
        if found is None:
            await _all([partial(self._query, each) for each in wanted])
            return
        await _all([partial(self._judge_rows, each, found.get(each.external_id, [])) for each in wanted])

    async def _judge_rows(self, wanted: Wanted, rows: list[Mapping[str, Any]]) -> None:
        """Judge the copies of a transaction in a list; query it alone for fields that they do not show."""
        if not rows:
            await self._note_absent(wanted, Meaning.REFUSED)
            return
        void = self._expects_void(wanted.record)
        # Compare the copy that is nearest to what was sent; the copies are reported by their number.
        row, compared = min(
            ((row, compare_fields(wanted.body, row, void=void, in_list=True)) for row in rows),
            key=lambda each: len(each[1].differences),
        )
        copies = sum(not is_void(each) for each in rows)
        if not self._is_trusted(compared.lacking):
            # One query at a time, until it is known whether the list leaves these fields out.
            async with self.learning:
                if self._may_be_trusted(compared.lacking):
                    if (there := await self._query(wanted, copies)) is not None:
                        self._learn(compared.lacking, compare_fields(wanted.body, there).lacking)
                    return
            if not self._is_trusted(compared.lacking):
                await self._query(wanted, copies)
                return
        if compared.lacking:
            compared = compare_fields(wanted.body, row, void=void)
        await self._note_found(wanted, row, _with_copies(compared, copies))

    async def _query(self, wanted: Wanted, copies: int = 1) -> Mapping[str, Any] | None:
        """Query a transaction with a request of its own.

        Args:
            wanted: Which.
            copies: How many of it a list has.
        """
        verdict, reply = await self.exchange.ask(
            transaction_query(wanted.external_id, wanted.body), wanted.external_id
        )
        found = transaction_of(reply, wanted.external_id) if verdict.meaning is Meaning.TAKEN else None
        if found is None:
            await self._note_absent(wanted, verdict.meaning)
            return None
        self.unanswered.discard(wanted.external_id)
        void = self._expects_void(wanted.record)
        if wanted.record.state is State.VOIDING and wanted.record.run_no == self.run_no:
            # A void was cut off: only what is there says whether it was done.
            void = is_void(found)
        comparison = compare_fields(wanted.body, found, void=void)
        await self._note_found(wanted, found, _with_copies(comparison, copies))
        return found

    async def _note_absent(self, wanted: Wanted, meaning: Meaning) -> None:
        """Keep a transaction that was not found for another look, up to a limit for the memory."""
        if meaning is Meaning.REFUSED:
            self.unanswered.discard(wanted.external_id)
        else:
            self.unanswered.add(wanted.external_id)
        if len(self.absent) < _MOST_ABSENT:
            self.absent.append(wanted)
        else:
            await self._note(wanted, _unseen(wanted, meaning))

    async def _look_again(self) -> None:
        """Give Omneo's queue time to bring what is missing yet."""
        wait_s, deadline = FIRST_WAIT_S, self.clock.monotonic() + self.patience_s
        while self.absent and self.clock.monotonic() + wait_s <= deadline:
            await self.clock.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            await self._each_absent()
        if self.absent and self.lists.works:
            # A transaction is called missing only after a query of its own, not because a list lacks it.
            self.lists.works = False
            await self._each_absent()
        for wanted in self.absent:
            answered = wanted.external_id not in self.unanswered
            await self._note(wanted, _unseen(wanted, Meaning.REFUSED if answered else Meaning.UNCLEAR))

    async def _each_absent(self) -> None:
        again, self.absent = self.absent, []
        await self._each(_given(again))

    # What was found

    async def _note_found(self, wanted: Wanted, found: Mapping[str, Any], comparison: Comparison) -> None:
        state = wanted.record.state
        if state is State.VOIDING:
            known = State.VOIDED if is_void(found) else State.CONFIRMED
        else:
            known = State.VOIDED if state is State.VOIDED else State.CONFIRMED
        if comparison.differences:
            # If it was never proven that Omneo took it, other contents may be an earlier version's.
            known = State.DIFFERING if state in ACCEPTED_BY_OMNEO else State.IN_DOUBT
        elif _may_be_other(wanted.record) and not has_same_contents(wanted.body, found):
            known = State.IN_DOUBT
        self.result.not_kept.update(comparison.lacking)
        self.result.differing_fields.update(comparison.fields)
        await self._note(wanted, known, comparison.differences, kept_id(found.get("id")))

    async def _note(
        self,
        wanted: Wanted,
        state: State,
        differences: tuple[Difference, ...] = (),
        omneo_id: str | None = None,
    ) -> None:
        """Count what was found, and have the ledger say it."""
        kind = _COUNTED_AS[state]
        setattr(self.result, kind, getattr(self.result, kind) + 1)
        self.result.voided += state is State.VOIDED
        self._note_beside(wanted.record, kind)
        if kind != "confirmed":
            fields = tuple(dict.fromkeys(each.field for each in differences))
            self.result.findings.append(Finding(wanted.external_id, State(kind), fields))
        now = self.clock.monotonic()
        if now - self.shown_at > 0.2:
            self.shown_at = now
            limit = self.exchange.throttle.limit.text
            self.emit(Progress("confirm", self.result.queried, limit=limit))
        if kind == "in_doubt" or self._is_undone(wanted.record):
            return
        seen = wanted.record._replace(
            omneo_id=omneo_id or wanted.record.omneo_id,
            message=_message(differences) if state is State.DIFFERING else wanted.record.message,
        )
        if state is not wanted.record.state or seen != wanted.record:
            await self.marks.put([(seen, state)])

    def _is_undone(self, record: Record) -> bool:
        """Whether another run has voided it. Then what was seen says nothing new about that run."""
        return record.state is State.VOIDED and record.run_no != self.run_no

    def _note_beside(self, record: Record, kind: str) -> None:
        """Count what the ledger does not count for this run."""
        if kind == "differing" and record.state is State.VOIDED:
            is_counted = record.run_no == self.run_no or record.place in (Passed.UNDONE, State.VOIDED)
            self.result.beside["undone" if is_counted else "voided"] += 1
        elif record.run_no == self.run_no or kind == "in_doubt":
            return
        elif record.place not in ACCEPTED_BY_OMNEO:
            self.result.beside[kind] += 1
        elif kind == "confirmed" and record.place in _UNCONFIRMED:
            self.result.beside["replaced"] += 1
            if record.place is not State.DELIVERED:
                self.result.beside[f"gone_{record.place}"] += 1


_UNCONFIRMED: Final = (State.DELIVERED, State.MISSING, State.DIFFERING)
_COUNTED_AS: Final = {
    State.CONFIRMED: "confirmed",
    State.VOIDED: "confirmed",
    State.MISSING: "missing",
    State.DIFFERING: "differing",
    State.IN_DOUBT: "in_doubt",
}


def _with_copies(comparison: Comparison, copies: int) -> Comparison:
    if copies < 2:
        return comparison
    return replace(comparison, differences=(*comparison.differences, Difference(COPIES, copies)))


def _message(differences: Iterable[Difference]) -> str:
    """What differs, for the ledger, in the form of a server's message by field; masked, and not too long."""
    errors: dict[str, list[str]] = {}
    text = ""
    for each in differences:
        found = mask_value(each.field.rpartition(".")[2], str(each.found))[:200]
        errors[each.path[:100]] = [f"Omneo has {found}"]
        longer = json.dumps({"differs": errors}, ensure_ascii=False)
        if len(longer) > MESSAGE_MAX:
            break
        text = longer
    return text


def _may_be_other(record: Record) -> bool:
    """Whether an earlier version may be there, which the fields that people see do not show."""
    return record.state not in ACCEPTED_BY_OMNEO and has_other_contents(record)


def _unseen(wanted: Wanted, meaning: Meaning) -> State:
    """What a transaction is that was not found."""
    state, before = wanted.record.state, wanted.record.before
    # An update or resend that was cut off is about a transaction that Omneo had taken before.
    known = before if state in (State.SENDING, State.IN_DOUBT) else state
    return State.MISSING if known in ACCEPTED_BY_OMNEO and meaning is Meaning.REFUSED else State.IN_DOUBT


async def _given(wanted: list[Wanted]) -> AsyncIterator[Wanted]:
    for each in wanted:
        yield each


async def _chained(first: list[Wanted], rest: AsyncIterator[Wanted]) -> AsyncIterator[Wanted]:
    for each in first:
        yield each
    async for each in rest:
        yield each


async def _all(workers: list[Callable[[], Awaitable[object]]]) -> None:
    """Run workers side by side; the first error ends the others."""
    tasks = [asyncio.ensure_future(worker()) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
