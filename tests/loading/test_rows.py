"""Rows that lie as they came, and rows in their places, are one ledger: compared with one that is a dict."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.loading import rows as rows_module
from pipeline.loading.entries import Row, RunRef, Stamp, State, content_hash
from pipeline.loading.ledger import MemoryLedger, SqlLedger
from pipeline.loading.tables import RECENT, TRANSACTIONS
from tests.fuzzing import examples
from tests.loading.test_ledger import RUN, row

pytestmark = pytest.mark.slow

NAMES = [f"n{number}" for number in range(8)]
SETTLED = [State.DELIVERED, State.REFUSED, State.FAILED, State.PENDING]


def count(ledger: SqlLedger, table: sa.Table) -> int:
    with ledger._db.begin():
        return int(ledger._db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


class Ledgers(RuleBasedStateMachine):
    """One process loads, another looks on and marks, and now and then all are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.monkeypatch = pytest.MonkeyPatch()
        self.monkeypatch.setattr(rows_module, "_MANY", 6)
        self.monkeypatch.setattr(rows_module, "_MOST_AT_ONCE", 3)
        self.where = Path(tempfile.mkdtemp()) / "l.db"
        self.model = MemoryLedger()
        self.open()

    def open(self) -> None:
        self.loader, self.onlooker = SqlLedger(self.where), SqlLedger(self.where)
        self.loader.open_run(RUN)
        self.fresh = True

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, unique=True), text=st.sampled_from("ab"))
    def claim(self, names: list[str], text: str) -> None:
        rows = [row(name, State.SENDING, hash=content_hash(text.encode()), status=None) for name in names]
        self.record(rows)

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
        state=st.sampled_from(SETTLED),
        status=st.sampled_from([200, 422]),
    )
    def settle(self, names: list[str], state: State, status: int) -> None:
        known = self.model.find(names)
        self.record([each._replace(state=state, status=status) for each in known.values()])

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, unique=True), then=st.booleans())
    def stamp(self, names: list[str], then: bool) -> None:
        known = self.model.find(names)
        if known:
            settled = [each._replace(state=State.DELIVERED, batch="b") for each in known.values()]
            self.record([Stamp(list(known), "b"), *(settled if then else [])])

    @rule(name=st.sampled_from(NAMES), begun=st.booleans())
    def mark(self, name: str, begun: bool) -> None:
        self.onlooker.mark({name: State.CONFIRMED}, begun=begun)
        found = self.model.rows.get(name)
        markable = {State.DELIVERED, State.CONFIRMED} | ({State.SENDING} if begun else set())
        if found is not None and found.state in markable:
            self.model.rows[name] = found._replace(state=State.CONFIRMED)

    @rule()
    def forget(self) -> None:
        self.onlooker.forget_words(NAMES, "nobody")

    @rule()
    def fail(self) -> None:
        with suppress(ZeroDivisionError), self.loader._transaction("written"):
            self.loader._rows.put([row(name, State.SENDING, attempts=9) for name in NAMES])
            raise ZeroDivisionError

    @precondition(lambda self: not self.fresh)
    @rule()
    def crash_and_come_back(self) -> None:
        self.close()
        self.open()

    def record(self, writes: list[Any]) -> None:
        self.fresh = False
        self.loader.record(writes)
        # The order that `Ledger` promises: stamps first.
        stamps = [each for each in writes if isinstance(each, Stamp)]
        self.model.record([*stamps])
        self.model.record([each for each in writes if isinstance(each, Row)])

    @invariant()
    def everybody_finds_the_same(self) -> None:
        for ledger in (self.loader, self.onlooker):
            found = {name: plain(each) for name, each in ledger.find(NAMES).items()}
            assert found == {name: plain(each) for name, each in self.model.rows.items()}

    @invariant()
    def all_are_counted_once(self) -> None:
        states = Counter(each.state for each in self.model.rows.values())
        assert self.onlooker.status(RUN.run_id).confirmed == states[State.CONFIRMED]
        trouble = [n for n, each in self.model.rows.items() if each.state in (State.REFUSED, State.FAILED)]
        assert [each.external_id for each in self.onlooker.in_trouble(RUN.run_id)] == sorted(trouble)

    def close(self) -> None:
        self.loader.close()
        self.onlooker.close()

    def teardown(self) -> None:
        self.close()
        self.monkeypatch.undo()


def plain(found: Row) -> Row:
    """Without the time of a mark."""
    return found._replace(at=0)


Ledgers.TestCase.settings = examples(60, stateful_step_count=25)
TestLedgers = Ledgers.TestCase


def test_many_rows_move_and_those_being_sent_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_MANY", 100)
    with SqlLedger(tmp_path / "l.db") as ledger:
        names = [f"n{number:03}" for number in range(120)]
        ledger.record([row(name, State.SENDING) for name in names[:99]])
        ledger.record([row(name) for name in names[:90]])
        assert (count(ledger, RECENT), count(ledger, TRANSACTIONS)) == (99, 0)
        ledger.record([row(name, State.SENDING) for name in names[99:]])
        assert (count(ledger, RECENT), count(ledger, TRANSACTIONS)) == (30, 90)
        states = Counter(each.state for each in ledger.find(names).values())
        assert states == {State.DELIVERED: 90, State.SENDING: 30}


def test_who_only_reads_writes_nothing(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger, SqlLedger(tmp_path / "l.db") as reader:
        ledger.open_run(RUN)
        ledger.record([row("a", State.REFUSED), row("b", State.VOIDED), row("c", State.SENDING)])
        reader._db.exec_driver_sql("PRAGMA query_only = 1")
        reader._db.commit()
        assert set(reader.find(["a", "b", "c"])) == {"a", "b", "c"}
        assert reader.status(RUN.run_id).voided == 1
        assert reader.statuses()[RUN.run_id].voided == 1
        assert [each.external_id for each in reader.in_trouble(RUN.run_id)] == ["a"]


def test_the_next_to_open_a_run_finds_everything_in_its_place(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger:
        ledger.record([row("a"), row("b", State.SENDING)])
    with SqlLedger(tmp_path / "l.db") as ledger:
        ledger.open_run(RunRef("next", 1, RUN.prepared_at))
        assert (count(ledger, RECENT), count(ledger, TRANSACTIONS)) == (0, 2)
        assert ledger.find(["b"])["b"].state is State.SENDING


def test_who_looks_rows_up_while_they_move_finds_them(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger:
        ledger.record([row("a")])
        with ledger._transaction("written"):
            ledger._rows.move(sending_too=False)
            assert set(ledger.find(["a"])) == {"a"}
        assert set(ledger.find(["a"])) == {"a"}
        with suppress(ZeroDivisionError), ledger._transaction("written"):
            ledger._rows.put([row("b")])
            raise ZeroDivisionError
        assert set(ledger.find(["a", "b"])) == {"a"}


def test_a_ledger_that_another_one_used_meanwhile_is_looked_at_anew(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as first, SqlLedger(tmp_path / "l.db") as second:
        first.open_run(RUN)
        first.record([row("a")])
        second.open_run(RUN)
        second.record([row("b")])
        first.open_run(RUN)
        assert set(first.find(["a", "b"])) == {"a", "b"}
