"""Keeping the books of one delivery: claims before sending, outcomes after, counts and watermark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.events import Emit
from pipeline.events import Progress as ProgressEvent
from pipeline.loading.clock import Clock
from pipeline.loading.entries import Pass, Passed, Progress, Record, Return, Stamp, State
from pipeline.loading.events import Changed, Failed, Refused
from pipeline.loading.options import Changes
from pipeline.loading.plans import Case, Plan, Send, Settled, forgotten
from pipeline.loading.recorder import Recorder
from pipeline.loading.retry import Meaning, Verdict
from pipeline.loading.watermark import Watermark
from pipeline.model import StagedTransaction

_PROGRESS_EVERY_S = 0.2


@dataclass(eq=False, slots=True)
class Item:
    """A transaction on its way.

    Attributes:
        position: In the run's delivery order.
        transaction: As staged.
        step: What is to be sent.
        old: The ledger's row before the claim; None where there was none.
        row: The ledger's row now.
        exposed: Whether Omneo may have taken it.
        attempts: Requests made for it in this session.
        batch: Omneo's id of the batch it went in; None where it went alone.
        in_flight: Whether a request for it is out, or its answer not yet on disk.
    """

    position: int
    transaction: StagedTransaction
    step: Send
    old: Record | None
    row: Record
    exposed: bool = False
    attempts: int = 0
    batch: str | None = None
    in_flight: bool = False


class Books:
    """What one delivery knows of its transactions.

    Args:
        recorder: Writes to the ledger.
        progress: How far the run is.
        plan: What the command does.
        clock: Time.
        emit: Is told of changes, refusals, failures and progress.
        stage: The stage's name in events.
        elsewhere: Transactions that are done in other parts of the run.
        changes: Where changes are counted, for several parts together; a new count by default.
    """

    def __init__(
        self,
        recorder: Recorder,
        progress: Progress,
        plan: Plan,
        clock: Clock,
        emit: Emit,
        stage: str = "load",
        elsewhere: int = 0,
        changes: Changes | None = None,
    ) -> None:
        self.watermark = Watermark(progress)
        self.changes = changes or Changes()
        self.handled = self.troubled = 0
        self._recorder = recorder
        self._progress = progress
        self._plan = plan
        self._clock = clock
        self._emit = emit
        self._stage = stage
        self._elsewhere = elsewhere
        self._open: dict[int, Item] = {}
        self._shown_at = clock.monotonic()

    async def claim(self, position: int, transactions: Sequence[StagedTransaction]) -> list[Item]:
        """Decide on transactions and write the intent to send; returns those to send, in order.

        Args:
            position: Of the first of them.
            transactions: Neighbours in delivery order.
        """
        known = await self._recorder.find([each.external_id for each in transactions], self._progress.run_no)
        now = int(self._clock.time())
        claimed = []
        for at, transaction in enumerate(transactions, position):
            old = known.get(transaction.external_id)
            case = Case(at, transaction, old, self._progress)
            step = self._plan.step(case) if transaction.body else forgotten(self._plan)
            if isinstance(step, Send):
                claimed.append(self._item(at, transaction, step, old, now))
            elif isinstance(step, Settled):
                self._tell_change(transaction.external_id, step.changed)
                self._pass(case, step)
        self._show()
        if claimed:
            self._open.update((item.position, item) for item in claimed)
            await self._recorder.put([item.row for item in claimed])
        return claimed

    async def settle(self, outcomes: Sequence[tuple[Item, Verdict]]) -> None:
        """Write what became of transactions; returns once it is on disk.

        A transient verdict means that the transaction was given up.
        """
        now = int(self._clock.time())
        for item, verdict in outcomes:
            del self._open[item.position]
            item.row = self._settled_row(item, verdict, now)
            self._settle(item.position)
            self.troubled += verdict.meaning is not Meaning.TAKEN
        # Straight on: were they counted and not put, a watermark could pass an outcome that is not on disk.
        await self._recorder.put([item.row for item, _ in outcomes])
        for item, verdict in outcomes:
            if verdict.meaning is not Meaning.TAKEN:
                self._tell(item, verdict)
        self._show()

    def note_batch(self, items: Sequence[Item], batch_id: str) -> None:
        """Write down in which batch these transactions went, so that a restart can ask for it."""
        for item in items:
            item.batch = batch_id
        self._recorder.put_soon([Stamp([item.transaction.external_id for item in items], batch_id)])

    async def give_back(self) -> None:
        """Undo the claim of what was never sent, or surely not taken; the rest stays in doubt."""
        unsent = [item for item in self._open.values() if not item.exposed]
        await self._recorder.put([self._returned(item) for item in unsent])
        self._open.clear()

    def _item(
        self, position: int, transaction: StagedTransaction, step: Send, old: Record | None, now: int
    ) -> Item:
        # What a batch tells is about the contents that went in it.
        batch = old.batch if old and step.in_doubt and old.hash == step.hash else None
        row = Record(
            transaction.external_id,
            step.hash,
            State.VOIDING if self._plan.taken is State.VOIDED else State.SENDING,
            self._progress.run_no,
            attempts=old.attempts if old else 0,
            status=old.status if old else None,
            batch=batch,
            before=old.state if old else None,
            maybe_sent=step.in_doubt or (old is not None and old.maybe_sent),
            source_time=transaction.source_time,
            at=now,
        )
        if step.changed:
            self._tell_change(transaction.external_id, "sent")
        return Item(position, transaction, step, old, row, exposed=step.in_doubt, batch=batch)

    def _settled_row(self, item: Item, verdict: Verdict, now: int) -> Record:
        state = self._plan.taken if verdict.meaning is Meaning.TAKEN else State.FAILED
        if verdict.meaning is Meaning.REFUSED:
            state = State.REFUSED
        row = item.row
        if not self._plan.counts and state is not self._plan.taken and item.old is not None:
            row = item.old  # a void or a repeat that did not work leaves the delivery as it was
            state = row.state
        return row._replace(
            state=state,
            attempts=self._attempts(item),
            status=verdict.status,
            message=verdict.words() or None,
            batch=item.batch,
            maybe_sent=verdict.again and item.exposed,
            at=now,
        )

    def _returned(self, item: Item) -> Record | Return:
        if item.old is None or item.old.state is State.SENDING:
            return item.row._replace(state=State.PENDING, attempts=self._attempts(item))
        return Return(self._progress.run_no, item.old._replace(attempts=self._attempts(item)))

    @staticmethod
    def _attempts(item: Item) -> int:
        return (item.old.attempts if item.old else 0) + item.attempts

    def _pass(self, case: Case, step: Settled) -> None:
        """Count a transaction that is not sent, with the next commit, whose watermark passes it too."""
        row, counted, run_no = case.row, step.counted, case.progress.run_no
        is_merely_unchanged = counted is Passed.UNCHANGED and (row is None or row.place is None)
        if counted is State.REFUSED and row is not None:
            self._recorder.put_soon([row._replace(run_no=run_no)])
        elif counted is not None and not is_merely_unchanged:
            name, now = case.transaction.external_id, int(self._clock.time())
            self._recorder.put_soon([Pass(name, run_no, counted, now)])
        self._settle(case.position, unchanged=is_merely_unchanged)

    def _settle(self, position: int, *, unchanged: bool = False) -> None:
        self.handled += 1
        if self._plan.resumes:
            self.watermark.settle(position, unchanged=unchanged)

    def _tell(self, item: Item, verdict: Verdict) -> None:
        external_id = item.transaction.external_id
        if verdict.meaning is Meaning.REFUSED:
            self._emit(Refused(external_id, verdict.status, tuple(verdict.fields)))
        else:
            self._emit(Failed(external_id, item.attempts, verdict.status))

    def _tell_change(self, external_id: str, action: str | None) -> None:
        if action is not None:
            setattr(self.changes, action, getattr(self.changes, action) + 1)
            self._emit(Changed(external_id, action))

    def _show(self) -> None:
        now = self._clock.monotonic()
        if now - self._shown_at >= _PROGRESS_EVERY_S:
            self._shown_at = now
            done = self.watermark.done if self._plan.resumes else self.handled
            self._emit(ProgressEvent(self._stage, self._elsewhere + done))
