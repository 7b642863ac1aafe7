"""Looking up in Omneo what was delivered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pipeline.core.clock import Clock, SystemClock
from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Emit, Notice, Progress, StageFinished, StageStarted, ignore
from pipeline.core.memory import seldom_collecting
from pipeline.core.model import StagedTransaction
from pipeline.core.settings import Connection
from pipeline.loading.confirm.compare import differences, has_same_contents, is_void
from pipeline.loading.confirm.estimate import Interval, share_interval
from pipeline.loading.delivery.decisions import ResendRules, has_other_contents, same_content, surely_not_sent
from pipeline.loading.delivery.delivery_options import DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.leases import Batches
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.stop import Stop, until_stopped
from pipeline.loading.http.answers import Meaning, transaction_of
from pipeline.loading.http.client import Client
from pipeline.loading.http.endpoints import external_lookup
from pipeline.loading.http.interface import httpx
from pipeline.loading.http.paced_client import PacedClient, RequestCounts
from pipeline.loading.ledger.entries import ACCEPTED_BY_OMNEO, Record, RunRef, State
from pipeline.loading.ledger.group_commit import GroupCommit
from pipeline.loading.ledger.ledger import SqlLedger

_AGAIN_MAX = 20_000  # missing transactions that are kept in memory for another look
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 15.0


@dataclass(frozen=True)
class Finding:
    """A transaction that is not in Omneo as it was sent, or of which that is unknown.

    Attributes:
        external_id: Which.
        state: Missing, differing or in doubt.
        about: Names of the fields that differ.
    """

    external_id: str
    state: State
    about: tuple[str, ...] = ()


@dataclass
class Confirmation:
    """What the look-ups found.

    Attributes:
        expected: Transactions of the run that Omneo has taken, by this run or an earlier one, or perhaps.
        confirmed: Looked up and found as sent.
        missing: Looked up and not found.
        differing: Looked up and found with other contents.
        in_doubt: Looked up, and whether Omneo keeps it stays unknown.
        findings: Those missing, differing and in doubt.
        requests: What went over the wire.
        stopped: Whether it was asked to stop before it was through.
        error: Why the API stopped it before it was through: the token was refused, or there was no answer for
            too long.
        resent: What sending the missing again did; None where that was not asked for or none was missing.
    """

    expected: int = 0
    confirmed: int = 0
    missing: int = 0
    differing: int = 0
    in_doubt: int = 0
    findings: list[Finding] = field(default_factory=list)
    requests: RequestCounts = field(default_factory=RequestCounts)
    stopped: bool = False
    error: StoppedByApi | None = None
    resent: DeliveryResult | None = None

    @property
    def looked_up(self) -> int:
        """Transactions that were looked up."""
        return self.confirmed + self.missing + self.differing + self.in_doubt

    @property
    def wrong(self) -> Interval:
        """The share of all expected transactions that is missing or differing, as far as the sample tells."""
        return share_interval(self.missing + self.differing, self.looked_up, self.expected)


def confirm(
    run: RunRef,
    batches: Batches,
    connection: Connection,
    ledger: SqlLedger,
    options: DeliveryOptions | None = None,
    *,
    sample: float = 1.0,
    resend: bool = False,
    patience_s: float = 30.0,
    seed: int | None = None,
    emit: Emit = ignore,
    stop: Stop | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
) -> Confirmation:
    """Look up what a run delivered and compare it with what was sent; the ledger takes note.

    What a later run has delivered with other contents is that run's to confirm.

    Args:
        run: The run.
        batches: Gives its transactions.
        connection: The tenant.
        ledger: Says what was delivered.
        options: How to ask; and to send, with `resend`.
        sample: Share of the transactions to look up, chosen at random.
        resend: Send the missing ones again; not by an endpoint that only creates.
        patience_s: How long to look again for missing ones: Omneo's queue has no guaranteed time.
        seed: Of the choice of the sample.
        emit: Is told what happens.
        stop: Asks it to stop.
        transport: Takes the place of the network in tests.
        clock: Takes the place of the system's clocks in tests.

    Raises:
        SettingsError: The ledger cannot be used.
    """
    ledger.bind(connection.base_url)
    options, stop, clock = options or DeliveryOptions(), stop or Stop(), clock or SystemClock()
    search = _Search(run, ledger, options, sample, patience_s, random.Random(seed), emit, stop, clock)  # noqa: S311
    with seldom_collecting():
        result = asyncio.run(search.run_all(batches, connection, transport))
    if resend and result.missing and not (stop.requested or result.error):
        how = {"stop": stop, "transport": transport, "clock": clock}
        result.resent = resend_missing(run, batches, connection, ledger, options, emit=emit, **how)
    return result


def resend_missing(
    run: RunRef,
    batches: Batches,
    connection: Connection,
    ledger: SqlLedger,
    options: DeliveryOptions,
    *,
    emit: Emit = ignore,
    **how: Any,
) -> DeliveryResult | None:
    """Send again what `confirm` found missing; takes the same arguments as `deliver`.

    Returns:
        What came of it; None where nothing is sent, since the endpoint only creates.
    """
    if not options.endpoint.upserts:
        # Omneo's queue is late by design: what is missing now may come yet, and would be there twice.
        emit(
            Notice(
                "not_resent",
                f"Nothing was sent again: --endpoint {options.endpoint.name} only creates, and what is "
                "missing may only be late. Use --endpoint queue, which updates what is there.",
            )
        )
        return None
    return deliver(run, batches, connection, ledger, options, rules=ResendRules(), emit=emit, **how)


class Wanted(NamedTuple):
    """A transaction to look up.

    Attributes:
        external_id: Which.
        body: As it was staged.
        record: What the ledger has of it.
    """

    external_id: str
    body: bytes
    record: Record


@dataclass
class _Search:
    run: RunRef
    ledger: SqlLedger
    options: DeliveryOptions
    sample: float
    patience_s: float
    dice: random.Random
    emit: Emit
    stop: Stop
    clock: Clock

    async def run_all(
        self, batches: Batches, connection: Connection, transport: httpx.AsyncBaseTransport | None
    ) -> Confirmation:
        started = self.clock.monotonic()
        self.emit(StageStarted("confirm", "transactions"))
        self.result = Confirmation()
        self.absent: list[Wanted] = []
        self.unanswered: set[str] = set()
        self.shown_at = started
        self.run_no = self.ledger.progress(self.run).run_no
        self.marks: GroupCommit[tuple[Record, State]] = GroupCommit(
            lambda marks: lambda: self.ledger.mark(marks, begun=True)
        )
        try:
            async with Client(connection, transport, timeout_s=self.options.timeout_s) as client:
                self.exchange = PacedClient(
                    client, connection.base_url, self.options.limits(), self.clock, self.emit
                )
                self.result.requests = self.exchange.requests
                await until_stopped(self._look(batches), self.stop)
        except StoppedByApi as error:
            self.result.error = error
        finally:
            self.marks.close()
        self.result.stopped = self.stop.requested
        self.emit(StageFinished("confirm", self.result.looked_up, self.clock.monotonic() - started))
        return self.result

    async def _look(self, batches: Batches) -> None:
        await self._each(self._delivered(batches))
        await self._look_again()

    async def _delivered(self, batches: Batches) -> AsyncIterator[Wanted]:
        reading = iter(batches(0))
        while (batch := await asyncio.to_thread(next, reading, None)) is not None:
            for start in range(0, len(batch), 1000):
                some = batch[start : start + 1000]
                known = await self.marks.call(self.ledger.find, [each.external_id for each in some])
                for transaction in some:
                    record = known.get(transaction.external_id)
                    if record is None or not self._is_expected(transaction, record):
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

    async def _each(self, wanted: AsyncIterator[Wanted]) -> None:
        """Look everything up, as many at a time as may be in flight."""
        turn = asyncio.Lock()

        async def worker() -> None:
            while True:
                async with turn:
                    one = await anext(wanted, None)
                if one is None:
                    return
                await self._look_up(one)

        # Twice as many as may be in flight: half of them wait until the ledger has taken note.
        await _all([worker] * (2 * self.options.concurrency))

    async def _look_up(self, wanted: Wanted) -> None:
        verdict, reply = await self.exchange.ask(
            external_lookup(wanted.external_id, wanted.body), wanted.external_id
        )
        found = transaction_of(reply, wanted.external_id) if verdict.meaning is Meaning.TAKEN else None
        if found is not None:
            await self._note(wanted, *_judged(wanted, found))
        elif len(self.absent) < _AGAIN_MAX:
            self.absent.append(wanted)
        else:
            await self._note(wanted, _unseen(wanted, verdict.meaning))
        if found is None and verdict.meaning is not Meaning.REFUSED:
            self.unanswered.add(wanted.external_id)
        else:
            self.unanswered.discard(wanted.external_id)

    async def _look_again(self) -> None:
        """Give Omneo's queue time to bring what is missing yet."""
        wait_s, deadline = _FIRST_WAIT_S, self.clock.monotonic() + self.patience_s
        while self.absent and self.clock.monotonic() + wait_s <= deadline:
            await self.clock.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            again, self.absent = self.absent, []
            await self._each(_given(again))
        for wanted in self.absent:
            answered = wanted.external_id not in self.unanswered
            await self._note(wanted, _unseen(wanted, Meaning.REFUSED if answered else Meaning.UNCLEAR))

    async def _note(self, wanted: Wanted, state: State, about: tuple[str, ...] = ()) -> None:
        """Count what was found, and have the ledger say it."""
        kind = _COUNTED_AS[state]
        setattr(self.result, kind, getattr(self.result, kind) + 1)
        if kind != "confirmed":
            self.result.findings.append(Finding(wanted.external_id, State(kind), about))
        now = self.clock.monotonic()
        if now - self.shown_at > 0.2:
            self.shown_at = now
            self.emit(Progress("confirm", self.result.looked_up))
        if state is not wanted.record.state and kind != "in_doubt":
            await self.marks.put([(wanted.record, state)])


_COUNTED_AS: Final = {
    State.CONFIRMED: "confirmed",
    State.VOIDED: "confirmed",
    State.MISSING: "missing",
    State.DIFFERING: "differing",
    State.IN_DOUBT: "in_doubt",
}


def _judged(wanted: Wanted, found: Mapping[str, Any]) -> tuple[State, tuple[str, ...]]:
    """What a transaction is that was found."""
    state = wanted.record.state
    if state is State.VOIDING:
        # The void was cut off: what is there says how far it came.
        about = differences(wanted.body, found, void=is_void(found))
        known = State.VOIDED if is_void(found) else State.CONFIRMED
    else:
        about = differences(wanted.body, found, void=state is State.VOIDED)
        known = State.VOIDED if state is State.VOIDED else State.CONFIRMED
    if not about and _may_be_other(wanted.record) and not has_same_contents(wanted.body, found):
        return State.IN_DOUBT, ()
    if not about:
        return known, ()
    # Of what was never proven to be taken, other contents may be an earlier version's.
    return (State.DIFFERING if state in ACCEPTED_BY_OMNEO else State.IN_DOUBT), about


def _may_be_other(record: Record) -> bool:
    """Whether an earlier version may be there, which the fields that people see do not show."""
    return record.state not in ACCEPTED_BY_OMNEO and has_other_contents(record)


def _unseen(wanted: Wanted, meaning: Meaning) -> State:
    """What a transaction is that was not found."""
    state, before = wanted.record.state, wanted.record.before
    # An update or a repeat that was cut off is of something that Omneo had taken before.
    known = before if state in (State.SENDING, State.IN_DOUBT) else state
    return State.MISSING if known in ACCEPTED_BY_OMNEO and meaning is Meaning.REFUSED else State.IN_DOUBT


async def _given(wanted: list[Wanted]) -> AsyncIterator[Wanted]:
    for each in wanted:
        yield each


async def _all(workers: list[Callable[[], Awaitable[None]]]) -> None:
    """Run workers side by side; the first error ends the others."""
    tasks = [asyncio.ensure_future(worker()) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
