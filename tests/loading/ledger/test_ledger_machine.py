"""Any interleaving of two processes on one ledger keeps counts and records as a plain model has them.

One is a loader, the other a listener or a second loader; runs, intents, outcomes, what is taken back, held,
passed by, gone through again and confirmed come in any order, and either may be started anew at any time.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    Counted,
    DeliveryProgress,
    Pass,
    Passed,
    Record,
    Return,
    RunRef,
    State,
)
from pipeline.loading.ledger.ledger import SqlLedger
from tests.fuzzing import times
from tests.loading.tenant import CONNECTION
from tests.servers import new_database

NAMES = [f"T{number}" for number in range(4)]
ORDINALS = {1: 20, 2: 10, 3: 30}  # by the run's number: they are not entered in their order
OUTCOMES = [State.DELIVERED, State.REFUSED, State.FAILED, State.IN_DOUBT, State.VOIDED]
NOT_TAKEN = (State.REFUSED, State.FAILED)
MARKS = [State.CONFIRMED, State.MISSING, State.DIFFERING]

names, writers, runs = st.sampled_from(NAMES), st.integers(0, 1), st.sampled_from(list(ORDINALS))


class TwoWriters(RuleBasedStateMachine):
    def __init__(self, empty: Callable[[], Path | str]) -> None:
        super().__init__()
        self.where = empty()
        self.ledgers = [SqlLedger(self.where, CONNECTION.base_url) for _ in range(2)]
        self.places: dict[int, dict[str, Counted]] = {}
        self.owner: dict[str, int] = {}
        self.state: dict[str, State] = {}
        self.held: dict[str, int] = {}
        self.progress: dict[int, DeliveryProgress] = {}
        self.begun: dict[str, tuple[int, Record | None, dict[int, Counted], int | None]] = {}

    @initialize()
    def enter(self) -> None:
        for number, ordinal in ORDINALS.items():
            run = RunRef(f"r{number}", len(NAMES), ordinal)
            self.progress[number] = self.ledgers[number % 2].open_run(run)
            assert self.progress[number].run_no == number
            self.places[number] = dict.fromkeys(NAMES, State.PENDING)
        for ledger in self.ledgers:
            for number, ordinal in ORDINALS.items():
                ledger.open_run(RunRef(f"r{number}", len(NAMES), ordinal))

    @rule(writer=writers, name=names, run_no=runs)
    def begin(self, writer: int, name: str, run_no: int) -> None:
        if self.is_passed(run_no, name):
            return
        old = self.ledgers[writer].find([name], run_no).get(name)
        places = {number: by_name[name] for number, by_name in self.places.items()}
        self.begun[name] = (run_no, old, places, self.held.get(name))
        self.ledgers[writer].record([Record(name, b"", State.SENDING, run_no)])
        self.own(name, run_no, State.SENDING)

    def own(self, name: str, run_no: int, state: State) -> None:
        before, waiting = self.owner.get(name), self.held.get(name)
        if before not in (None, run_no):
            if self.state[name] not in ACCEPTED_BY_OMNEO:
                is_newer = ORDINALS[run_no] > ORDINALS[before]
                lost = State.PENDING if self.state[name] not in NOT_TAKEN else self.state[name]
                self.places[before][name] = Passed.SUPERSEDED if is_newer else lost
            if waiting is not None and waiting != run_no and ORDINALS[run_no] > ORDINALS[waiting]:
                self.places[self.held.pop(name)][name] = Passed.SUPERSEDED
        if self.held.get(name) == run_no:
            del self.held[name]
        self.owner[name], self.state[name] = run_no, state
        self.places[run_no][name] = state

    @precondition(lambda self: self.begun)
    @rule(writer=writers, data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def conclude(self, writer: int, data: st.DataObject, outcome: State) -> None:
        name = data.draw(st.sampled_from(sorted(self.begun)))
        run_no, *_ = self.begun.pop(name)
        if self.owner[name] == run_no:
            self.ledgers[writer].record([Record(name, b"", outcome, run_no)])
            self.own(name, run_no, outcome)

    @precondition(lambda self: self.begun)
    @rule(writer=writers, data=st.data())
    def take_back(self, writer: int, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.begun)))
        run_no, old, places, waiting = self.begun.pop(name)
        if self.owner[name] != run_no or self.state[name] is not State.SENDING:
            return
        if old is None:
            self.ledgers[writer].record([Record(name, b"", State.PENDING, run_no)])
            self.own(name, run_no, State.PENDING)
            return
        if self.held.get(name) != waiting and self.held.get(name) is not None:
            return  # another run holds newer contents since
        self.ledgers[writer].record([Return(run_no, old)])
        self.owner[name], self.state[name] = old.run_no, old.state
        for number in {run_no, old.run_no, waiting} - {None}:
            self.places[number][name] = places[number]
        if waiting is not None:
            self.held[name] = waiting

    @rule(writer=writers, name=names, run_no=runs)
    def hold(self, writer: int, name: str, run_no: int) -> None:
        if self.owner.get(name) in (None, run_no) or self.is_passed(run_no, name):
            return
        self.ledgers[writer].record([Pass(name, run_no, Passed.HELD)])
        if self.places[run_no][name] in ACCEPTED_BY_OMNEO:
            return
        other = self.held.get(name)
        if other is not None and other != run_no:
            loser = run_no if ORDINALS[other] > ORDINALS[run_no] else other
            self.places[loser][name] = Passed.SUPERSEDED
            if loser == run_no:
                return
        self.held[name] = run_no
        self.places[run_no][name] = Passed.HELD

    @rule(writer=writers, run_no=runs, is_unchanged=st.booleans())
    def pass_the_next(self, writer: int, run_no: int, *, is_unchanged: bool) -> None:
        progress = self.progress[run_no]
        if progress.watermark == len(NAMES):
            return
        name = NAMES[progress.watermark]
        further = replace(progress, watermark=progress.watermark + 1)
        if self.places[run_no][name] is State.PENDING and self.owner.get(name) != run_no:
            known = self.ledgers[writer].find([name], run_no).get(name)
            if known is not None and known.place is not None:
                self.ledgers[writer].record([Pass(name, run_no, Passed.UNCHANGED)], further)
            else:
                further = replace(further, unchanged=further.unchanged + 1)
                self.ledgers[writer].record([], further)
            self.places[run_no][name] = Passed.UNCHANGED
        elif is_unchanged and self.places[run_no][name] not in (State.SENDING, State.PENDING):
            self.ledgers[writer].record([], further)
        else:
            return
        self.progress[run_no] = further

    def is_passed(self, run_no: int, name: str) -> bool:
        """Whether the run has passed it by as unchanged, so that nobody may send it for the run."""
        return self.places[run_no][name] is Passed.UNCHANGED

    @rule(writer=writers, run_no=runs)
    def go_through_again(self, writer: int, run_no: int) -> None:
        run = RunRef(f"r{run_no}", len(NAMES), ORDINALS[run_no])
        self.ledgers[writer].reopen(run)
        self.progress[run_no] = self.ledgers[writer].open_run(run)
        found = self.ledgers[writer].find(NAMES, run_no)
        for name, counted in self.places[run_no].items():
            is_explicit = name in found and found[name].place is not None
            if counted is Passed.UNCHANGED and not is_explicit:
                self.places[run_no][name] = State.PENDING

    @rule(writer=writers, name=names, seen=st.sampled_from(MARKS))
    def see(self, writer: int, name: str, seen: State) -> None:
        self.ledgers[writer].mark(
            [(record, seen) for record in self.ledgers[1 - writer].find([name]).values()]
        )
        if name in self.state and self.state[name] in {State.DELIVERED, *MARKS}:
            self.own(name, self.owner[name], seen)

    @rule(writer=writers)
    def start_anew(self, writer: int) -> None:
        self.ledgers[writer].close()
        self.ledgers[writer] = SqlLedger(self.where, CONNECTION.base_url)

    @invariant()
    def counts_are_those_of_the_model(self) -> None:
        for number, places in self.places.items():
            counts = self.ledgers[0].counts(f"r{number}")
            assert +Counter(counts) == Counter(places.values())
            assert self.ledgers[1].counts(f"r{number}") == counts

    @invariant()
    def records_are_those_of_the_model(self) -> None:
        found = self.ledgers[1].find(NAMES)
        assert {name: (each.run_no, each.state) for name, each in found.items()} == {
            name: (self.owner[name], self.state[name]) for name in self.owner
        }
        assert {name: each.held_run for name, each in found.items() if each.held_run} == self.held

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("sqlite", 20), ("postgresql", 8)])
def test_two_writers_and_a_model_agree(
    kind: str, count: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    def fresh() -> Path:
        return Path(tempfile.mkdtemp(dir=tmp_path)) / "ledger.db"

    empty = fresh if kind == "sqlite" else partial(new_database, request.getfixturevalue("postgres_address"))
    run_state_machine_as_test(
        lambda: TwoWriters(empty),
        settings=settings(
            max_examples=times(count, fuzz=20),
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.generate],
        ),
    )
