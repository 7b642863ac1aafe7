"""Any interleaving of claim, send, answer, crash and restart keeps the ledger's promises.

The machine plays the courier and Omneo; claims, outcomes and progress go through the real books into a
real SQLite file, which is opened anew after every crash.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.events import ignore
from pipeline.loading.books import Books, Item
from pipeline.loading.clock import SystemClock
from pipeline.loading.entries import RunRef, State, content_hash
from pipeline.loading.ledger import SqlLedger
from pipeline.loading.plans import Load
from pipeline.loading.recorder import Recorder
from pipeline.loading.retry import TAKEN, Meaning, Verdict
from pipeline.model import StagedTransaction
from tests.fuzzing import examples
from tests.loading.tenant import made, run_of

pytestmark = pytest.mark.slow

REFUSED = Verdict(Meaning.REFUSED, 422, "No.")
SIZE = 12


class Delivery(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.arrived: dict[str, list[bytes]] = defaultdict(list)  # what Omneo got, in order
        self.refuses: set[str] = set()
        self.books: Books | None = None

    @initialize(refused=st.sets(st.integers(0, SIZE - 1), max_size=3))
    def stage(self, refused: set[int]) -> None:
        self.run_of_day = 0
        self.refuses = {made(n).external_id for n in refused}
        self.new_run(0)
        self.restart()

    def new_run(self, version: int) -> None:
        """The next night's export: some transactions corrected, all else as before."""
        self.run_of_day += 1
        self.transactions: list[StagedTransaction] = [
            made(n, tender=f"v{version}") if n < version else made(n) for n in range(SIZE)
        ]
        self.run_ref: RunRef = run_of(f"r{self.run_of_day}", self.transactions, day=self.run_of_day)

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @precondition(lambda self: self.books is None)
    @rule()
    def restart(self) -> None:
        self.ledger = SqlLedger(self.folder / "ledger.db")
        progress = self.ledger.open_run(self.run_ref)
        self.recorder = Recorder(self.ledger, lambda: books.tally.progress())
        books = Books(self.recorder, progress, Load(), SystemClock(), ignore)
        self.books = books
        self.next = progress.watermark
        self.waiting: list[Item] = []
        self.sent: list[Item] = []

    @precondition(lambda self: self.books is not None and self.next < SIZE)
    @rule(count=st.integers(1, 5), leaving=st.integers(0, 5))
    def claim(self, count: int, leaving: int) -> None:
        """Claim some; a few of all that wait leave at once."""
        assert self.books is not None
        some = self.transactions[self.next : self.next + count]
        self.waiting += self.do(self.books.claim(self.next, some))
        self.next += len(some)
        for _ in range(min(leaving, len(self.waiting))):
            self.leave(0)

    @precondition(lambda self: self.books is not None and self.waiting)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        self.leave(data.draw(st.integers(0, len(self.waiting) - 1)))

    def leave(self, number: int) -> None:
        item = self.waiting.pop(number)
        name = item.transaction.external_id
        if item.exposed and self.arrived[name][-1:] == [item.step.hash]:
            self.do(self.settle(item, TAKEN))  # looked up, and found as it was to be sent
            return
        item.attempts += 1
        item.exposed = True
        if name not in self.refuses:
            self.arrived[name].append(item.step.hash)
        self.sent.append(item)

    @precondition(lambda self: self.books is not None and self.sent)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        item = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        refused = item.transaction.external_id in self.refuses
        self.do(self.settle(item, REFUSED if refused else TAKEN))

    async def settle(self, item: Item, verdict: Verdict) -> None:
        assert self.books is not None
        await self.books.settle([(item, verdict)])

    @precondition(lambda self: self.books is not None)
    @rule()
    def crash(self) -> None:
        self.recorder.close()
        self.ledger.close()
        self.books = None

    @precondition(lambda self: self.books is not None and self.waiting and not self.sent)
    @rule()
    def stop(self) -> None:
        assert self.books is not None
        self.do(self.books.give_back())
        self.crash()

    @precondition(lambda self: self.books is not None and self.next == SIZE)
    @rule(version=st.integers(0, 4))
    def finish_and_go_on_with_the_next_night(self, version: int) -> None:
        self.finish()
        self.check_finished()
        self.crash()
        self.new_run(version)
        self.restart()

    def finish(self) -> None:
        assert self.books is not None
        while self.next < SIZE or self.waiting or self.sent:
            if self.next < SIZE:
                some = self.transactions[self.next :]
                self.waiting += self.do(self.books.claim(self.next, some))
                self.next = SIZE
            while self.waiting:
                self.leave(0)
            while self.sent:
                item = self.sent.pop()
                refused = item.transaction.external_id in self.refuses
                self.do(self.settle(item, REFUSED if refused else TAKEN))
        self.do(self.books.give_back())

    def check_finished(self) -> None:
        status = self.ledger.status(self.run_ref.run_id)
        assert status.pending == 0
        assert status.refused == len(self.refuses)
        for each in self.transactions:
            if each.external_id not in self.refuses:
                assert self.arrived[each.external_id][-1] == content_hash(each.body)

    def rows(self) -> dict[str, Any]:
        with SqlLedger(self.folder / "ledger.db") as reader:
            return reader.find([each.external_id for each in self.transactions])

    @invariant()
    def what_is_delivered_is_in_omneo_in_that_version(self) -> None:
        if not hasattr(self, "run_ref"):
            return
        for name, row in self.rows().items():
            if row.state is State.DELIVERED:
                assert self.arrived[name][-1] == row.hash
            if row.state is State.REFUSED:
                assert name in self.refuses

    @invariant()
    def what_omneo_has_without_a_record_is_in_doubt(self) -> None:
        if not hasattr(self, "run_ref"):
            return
        rows = self.rows()
        for name, versions in self.arrived.items():
            if versions and (row := rows[name]).state is not State.DELIVERED:
                assert row.state in (State.SENDING, State.PENDING)
                if row.state is State.PENDING:  # given back: a newer version that never left
                    assert versions[-1] != row.hash

    @invariant()
    def no_version_arrives_twice(self) -> None:
        for versions in self.arrived.values():
            assert all(one != two for one, two in pairwise(versions))

    @invariant()
    def the_counts_add_up(self) -> None:
        if self.books is None:
            return
        status = self.ledger.status(self.run_ref.run_id)
        settled = status.delivered + status.unchanged + status.refused + status.failed
        assert settled + status.pending == status.accepted == SIZE
        assert self.books.tally.progress().watermark <= self.books.tally.done <= SIZE

    def teardown(self) -> None:
        if hasattr(self, "run_ref"):
            if self.books is None:
                self.restart()
            self.finish()
            self.check_finished()
            self.crash()
        self.loop.close()
        shutil.rmtree(self.folder)


TestDelivery = Delivery.TestCase
TestDelivery.settings = examples(
    25, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
