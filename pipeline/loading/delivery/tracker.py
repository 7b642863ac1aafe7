"""What one delivery knows of its transactions: intents before sending, outcomes after, and the watermark."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pipeline.core.clock import Clock
from pipeline.core.events import Emit, Progress
from pipeline.core.model import StagedTransaction
from pipeline.loading.delivery.added_keys import is_void
from pipeline.loading.delivery.decisions import Candidate, DeliveryRules, Ignore, Keep, QueryOnly, Send
from pipeline.loading.delivery.delivery_options import Changes
from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.http.throttle import PaceLimit
from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    IN_FLIGHT,
    DeliveryProgress,
    Pass,
    Passed,
    Record,
    Return,
    Stamp,
    State,
    Write,
    is_void_by_source,
)
from pipeline.loading.ledger.group_commit import LedgerWriter
from pipeline.loading.ledger.watermark import Watermark
from pipeline.loading.loading_events import Changed, Failed, LeftInDoubt, Refused

_PROGRESS_EVERY_S: Final = 0.2
"""Events of progress come no more often: a bar needs no more, and each costs time in the event loop."""


@dataclass(slots=True)
class OutgoingTransaction:
    """A transaction on its way.

    Attributes:
        position: In the run's delivery order.
        transaction: As staged.
        decision: What is to be done.
        old: The ledger's record before; None where there was none.
        run_no: The run for which it is sent.
        intent: The record that says it is about to be sent; None until it is.
        is_open: Whether the ledger has that record and no outcome yet.
        has_room: Whether it has its place among those that may be in doubt.
        maybe_sent: Whether Omneo may have kept a request for it that was not answered clearly.
        attempts: Requests made for it in this session.
        batch: Omneo's id of the batch it went in; None where it went alone.
        in_flight: Whether a request for it is out, or its answer not yet judged.
        is_counted: Whether the circuit breaker has counted it.
    """

    position: int
    transaction: StagedTransaction
    decision: Send | QueryOnly
    old: Record | None
    run_no: int
    intent: Record | None = None
    is_open: bool = False
    has_room: bool = False
    maybe_sent: bool = False
    attempts: int = 0
    batch: str | None = None
    in_flight: bool = False
    is_counted: bool = False

    @property
    def external_id(self) -> str:
        """Key of the upsert."""
        return self.transaction.external_id

    @property
    def is_of_its_run(self) -> bool:
        """Whether no other run has its record."""
        return self.old is None or self.old.run_no == self.run_no

    @property
    def leaves_doubt(self) -> bool:
        """Whether an earlier request may have been kept, and this attempt does not ask what became of it."""
        decision = self.decision
        asks = isinstance(decision, QueryOnly) or decision.look_first
        old = self.old
        return old is not None and not asks and (old.maybe_sent or old.state in IN_FLIGHT)


class DeliveryOutcome(NamedTuple):
    """What became of a transaction.

    Attributes:
        state: Of its record from now on; None leaves the record as it was before.
        verdict: The answer that says so.
        maybe_sent: Whether Omneo may have something of it that is not proven.
        omneo_id: Omneo's own id; None where unknown.
        counted: What the run counts it as, where the record stays another run's.
    """

    state: State | None
    verdict: ReplyVerdict
    maybe_sent: bool = False
    omneo_id: str | None = None
    counted: Passed | None = None


@dataclass
class SessionCounts:
    """What one delivery did, all parts of the run together.

    Attributes:
        handled: Transactions that were settled.
        sent: Those of them for which Omneo was asked or sent something.
        failed: Those of them that Omneo refused or that were given up.
        in_doubt: Those of them of which it stayed unknown whether Omneo has them.
    """

    handled: int = 0
    sent: int = 0
    failed: int = 0
    in_doubt: int = 0


_FAILURES: Final = frozenset({State.REFUSED, State.FAILED, State.IN_DOUBT})
_IN_DOUBT: Final = IN_FLIGHT | {State.IN_DOUBT}


class DeliveryTracker:
    """What one delivery knows of its transactions.

    Args:
        writer: Writes to the ledger.
        progress: How far the run is.
        rules: What the command does.
        clock: Time.
        emit: Gets changes, refusals, failures and progress.
        elsewhere: Transactions that are done in other parts of the run.
        counts: What was done in other parts, and from now on in this one.
        changes: Where changes are counted, for several parts together.
        room: How many transactions may be in doubt at any time, were the process to end.
        limit: Says what limits the pace, in transactions.
    """

    def __init__(
        self,
        writer: LedgerWriter,
        progress: DeliveryProgress,
        rules: DeliveryRules,
        clock: Clock,
        emit: Emit,
        *,
        elsewhere: int,
        counts: SessionCounts,
        changes: Changes,
        room: int,
        limit: Callable[[], PaceLimit],
    ) -> None:
        self.watermark = Watermark(progress)
        self.changes = changes
        self.counts = counts
        self._writer = writer
        self._progress = progress
        self._rules = rules
        self._clock = clock
        self._emit = emit
        self._elsewhere = elsewhere
        self._room = _Room(room)
        self._limit = limit
        self._open: dict[int, OutgoingTransaction] = {}
        self._postponed: list[tuple[OutgoingTransaction, DeliveryOutcome]] = []
        self._shown_at = clock.monotonic()

    async def decide(
        self, position: int, transactions: Sequence[StagedTransaction]
    ) -> list[OutgoingTransaction]:
        """Decide on transactions; returns those to query or send, in order.

        Args:
            position: Of the first of them.
            transactions: Neighbours in delivery order.
        """
        known = await self._writer.find([each.external_id for each in transactions], self._progress.run_no)
        items = []
        for at, transaction in enumerate(transactions, position):
            candidate = Candidate(at, transaction, known.get(transaction.external_id), self._progress)
            decision = self._rules.decide(candidate)
            if isinstance(decision, Keep):
                self._keep(candidate, decision)
            elif not isinstance(decision, Ignore):
                items.append(_item(candidate, decision))
        self._show()
        return items

    def age_s(self, record: Record) -> float:
        """For how long a record has been in its state."""
        return self._clock.time() - record.at

    async def admit(self, items: Sequence[OutgoingTransaction]) -> None:
        """Wait for room for items already in doubt; the others wait for it just before they are sent."""
        await self._make_room([item for item in items if item.maybe_sent])

    async def begin(self, items: Sequence[OutgoingTransaction]) -> None:
        """Write the intent to send; returns once it is on disk. Nothing may leave before."""
        await self._make_room([item for item in items if not item.has_room])
        new = [item for item in items if not item.is_open]
        for item in new:
            item.is_open = True
            self._open[item.position] = item
        if new:
            await self._writer.put([self._intent(item) for item in new])

    async def _make_room(self, items: Sequence[OutgoingTransaction]) -> None:
        await self._room.take(len(items))
        for item in items:
            item.has_room = True

    def _leave_room(self, item: OutgoingTransaction) -> None:
        """What is written from now on is on disk no later than the intent of whatever gets the room."""
        self._room.give(item.has_room)
        item.has_room = False

    async def settle(self, outcomes: Sequence[tuple[OutgoingTransaction, DeliveryOutcome]]) -> None:
        """Write what became of transactions; returns once it is on disk."""
        if not outcomes:
            return
        writes: list[Write] = []
        for item, outcome in outcomes:
            self._open.pop(item.position, None)
            writes += self._settled(item, outcome)
            item.is_open = False
            self._settle(item.position)
            self.counts.failed += self._is_failure(outcome)
            self.counts.in_doubt += outcome.state in _IN_DOUBT
        self.counts.sent += len(outcomes)
        # No `await` before this line: cancelled in between, the watermark would pass an outcome not on disk.
        written = self._writer.put_now(writes)
        for item, _ in outcomes:
            self._leave_room(item)
        await written
        for item, outcome in outcomes:
            self._report(item, outcome)
        self._show()

    async def postpone(self, item: OutgoingTransaction, outcome: DeliveryOutcome) -> None:
        """Keep an outcome until it is known whether it is about this transaction or about all of them.

        Meanwhile the ledger has the transaction as it was before.
        """
        self._open.pop(item.position, None)
        self._postponed.append((item, outcome))
        if item.is_open:
            item.is_open = False
            written = self._writer.put_now([self._returned(item)])
            self._leave_room(item)
            await written

    def take_postponed(self) -> list[tuple[OutgoingTransaction, DeliveryOutcome]]:
        """The outcomes that were kept back; the caller settles them."""
        outcomes, self._postponed = self._postponed, []
        return outcomes

    def note_batch(self, items: Sequence[OutgoingTransaction], batch_id: str) -> None:
        """Write down in which batch these transactions went, so that a restart can ask for it."""
        for item in items:
            item.batch = batch_id
        self._writer.put_soon([Stamp([item.external_id for item in items], batch_id)])

    async def give_back(self) -> None:
        """Undo the intent of items never sent, or surely not taken; the other items stay in doubt."""
        unsent = [item for item in self._open.values() if not item.maybe_sent]
        self._open.clear()
        # Written even where the list is empty: the commit also stores the watermark.
        await self._writer.put([self._returned(item) for item in unsent])

    def _intent(self, item: OutgoingTransaction) -> Record:
        """The record of an item before it is sent, or settled by a query without being sent; made once."""
        if item.intent is not None:
            return item.intent
        old, decision = item.old, item.decision
        assert isinstance(decision, Send)
        before = _before(old, decision, self._rules.intent)
        item.intent = Record(
            item.external_id,
            decision.hash,
            self._rules.intent,
            item.run_no,
            attempts=old.attempts if old else 0,
            status=old.status if old else None,
            batch=item.batch,
            before=before,
            # An unanswered void may still take effect.
            maybe_sent=item.maybe_sent or before is State.VOIDING or (old is not None and old.maybe_sent),
            omneo_id=old.omneo_id if old else None,
            source_time=item.transaction.source_time,
            total=item.transaction.total,
            at=int(self._clock.time()),
        )
        return item.intent

    def _settled(self, item: OutgoingTransaction, outcome: DeliveryOutcome) -> list[Write]:
        now = int(self._clock.time())
        old = item.old
        if outcome.counted is not None:
            passed = Pass(item.external_id, item.run_no, outcome.counted, now)
            return [self._returned(item), passed] if item.is_open else [passed]
        if outcome.state is None:
            if old is None:
                return [self._returned(item)]
            restored = self._answered(old, item, outcome, now)
            return [Return(item.run_no, restored) if item.is_open else restored]
        base = old if isinstance(item.decision, QueryOnly) and old is not None else self._intent(item)
        before = base.before
        if outcome.state in ACCEPTED_BY_OMNEO:
            before = State.VOIDED if self._is_void_by_source(item) else None
        changed = {"state": outcome.state, "before": before, "batch": item.batch}
        return [self._answered(base, item, outcome, now, **changed)]

    def _is_void_by_source(self, item: OutgoingTransaction) -> bool:
        decision = item.decision
        if not isinstance(decision, Send):
            return False
        return decision.void_by_source or (self._rules.intent is State.SENDING and is_void(decision.body))

    def _answered(
        self, record: Record, item: OutgoingTransaction, outcome: DeliveryOutcome, now: int, **changed: Any
    ) -> Record:
        return record._replace(
            **changed,
            attempts=self._attempts(item),
            status=outcome.verdict.status,
            message=outcome.verdict.as_json() or None,
            maybe_sent=outcome.maybe_sent or (outcome.state not in ACCEPTED_BY_OMNEO and item.leaves_doubt),
            omneo_id=outcome.omneo_id or record.omneo_id,
            # A query that changes nothing keeps the time: `age_s` measures how long the doubt lasts.
            at=record.at if record is item.old and outcome.state is record.state else now,
        )

    def _returned(self, item: OutgoingTransaction) -> Record | Return:
        """All as it was before, but for the number of attempts."""
        if item.old is not None:
            return Return(item.run_no, item.old._replace(attempts=self._attempts(item)))
        return self._intent(item)._replace(
            state=State.PENDING,
            attempts=self._attempts(item),
            batch=item.batch,
            maybe_sent=item.maybe_sent,
            at=int(self._clock.time()),
        )

    @staticmethod
    def _attempts(item: OutgoingTransaction) -> int:
        return (item.old.attempts if item.old else 0) + item.attempts

    def _keep(self, candidate: Candidate, decision: Keep) -> None:
        """Count a transaction that is not sent."""
        name, now = candidate.transaction.external_id, int(self._clock.time())
        if decision.changed is not None:
            self._report_change(name, decision.changed)
        unchanged = False
        if decision.takes_over and candidate.record is not None:
            record = candidate.record._replace(
                run_no=self._progress.run_no,
                source_time=candidate.transaction.source_time,
                at=now,
                place=None,
            )
            self._writer.put_soon([record])
        elif decision.counted is not None:
            has_place = candidate.record is not None and candidate.record.place is not None
            unchanged = decision.counted is Passed.UNCHANGED and not has_place and candidate.own is None
            if not unchanged:
                # Not awaited: the next commit holds both this and the watermark that passes it.
                self._writer.put_soon([Pass(name, self._progress.run_no, decision.counted, now)])
        self._settle(candidate.position, unchanged=unchanged)

    def _settle(self, position: int, *, unchanged: bool = False) -> None:
        self.counts.handled += 1
        if self._rules.resumes:
            self.watermark.settle(position, unchanged=unchanged)

    def _is_failure(self, outcome: DeliveryOutcome) -> bool:
        if self._rules.restores:
            return outcome.state is not self._rules.accepted
        return outcome.state in _FAILURES or outcome.state in IN_FLIGHT

    def _report(self, item: OutgoingTransaction, outcome: DeliveryOutcome) -> None:
        name, verdict = item.external_id, outcome.verdict
        if outcome.counted is not None:
            self._report_change(name, "held" if outcome.counted is Passed.HELD else "skipped")
        elif outcome.state in _IN_DOUBT:
            self._emit(LeftInDoubt(name, verdict.status))
        elif verdict.meaning is Meaning.REFUSED and outcome.state not in ACCEPTED_BY_OMNEO:
            self._emit(Refused(name, verdict.status, tuple(verdict.fields)))
        elif outcome.state is State.FAILED or (
            outcome.state is None and not isinstance(item.decision, QueryOnly)
        ):
            self._emit(Failed(name, item.attempts, verdict.status))
        elif isinstance(item.decision, Send) and item.decision.changed:
            self._report_change(name, "sent")

    def _report_change(self, external_id: str, action: str) -> None:
        setattr(self.changes, action, getattr(self.changes, action) + 1)
        self._emit(Changed(external_id, action))

    def _show(self) -> None:
        now = self._clock.monotonic()
        if now - self._shown_at >= _PROGRESS_EVERY_S:
            self._shown_at = now
            self.show()

    def show(self) -> None:
        """Emit how far it is."""
        unanswered = sum(item.maybe_sent and not item.in_flight for item in self._open.values())
        limit, counts = self._limit(), self.counts
        self._emit(
            Progress(
                self._rules.stage,
                self._elsewhere + self.watermark.done if self._rules.resumes else counts.handled,
                sent=counts.sent,
                in_doubt=counts.in_doubt + unanswered,
                limit=limit.text,
                most_per_s=None if limit.per_min is None else limit.per_min / 60,
            )
        )


def _item(candidate: Candidate, decision: Send | QueryOnly) -> OutgoingTransaction:
    old = candidate.record
    transaction, run_no = candidate.transaction, candidate.progress.run_no
    if old is not None and isinstance(decision, Send) and decision.for_its_run:
        # The record stays the other run's, so it keeps the time of that run's source.
        transaction, run_no = transaction._replace(source_time=old.source_time), old.run_no
    if isinstance(decision, Send) and decision.source_time is not None:
        transaction = transaction._replace(source_time=decision.source_time)
    item = OutgoingTransaction(candidate.position, transaction, decision, old, run_no)
    if old is not None and (isinstance(decision, QueryOnly) or decision.look_first):
        # A batch proves that the contents sent in it were taken, not that Omneo still has them.
        same = isinstance(decision, QueryOnly) or (
            old.hash == decision.hash and old.state not in ACCEPTED_BY_OMNEO
        )
        item.batch = old.batch if same else None
        item.maybe_sent = old.maybe_sent or old.state in IN_FLIGHT or old.state is State.IN_DOUBT
    return item


def _before(old: Record | None, decision: Send, intent: State) -> State | None:
    """The state from which an attempt starts: the last one in which it was known what Omneo has.

    A void that was cut off stays known until a yes: Omneo may have the transaction as void.
    """
    if old is not None and old.state is State.VOIDING and intent is State.SENDING:
        return State.VOIDING
    if old is None:
        return None
    if old.state in ACCEPTED_BY_OMNEO:
        return State.VOIDED if is_void_by_source(old) else old.state
    if old.before is None and old.state in IN_FLIGHT and old.hash == decision.hash:
        return None  # the same request, once more
    return old.before if old.before is not None else old.state


class _Room:
    """How many more may be in doubt; who waits for room gets it in order."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, number: int) -> None:
        """Wait for room for so many."""
        # First come, first served: if others overtook it, a large batch might never get room.
        if number == 0 or (not self._waiting and number <= self._free):
            self._free -= number
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((number, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # It got its room just before it was cancelled, so it gives it back.
            if turn.done() and not turn.cancelled():
                self.give(number)
            raise

    def give(self, number: int) -> None:
        """Let others have it."""
        self._free += number
        while self._waiting and (self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._free):
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= wanted
                turn.set_result(None)
