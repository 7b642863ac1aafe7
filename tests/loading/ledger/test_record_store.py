"""What several runs, and several processes, keep of the same transactions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.loading.ledger.entries import Counted, Pass, Passed, Record, RunRef, State
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.tenant import CONNECTION

ONE, TWO, THREE = 1, 2, 3
RUNS = {ONE: RunRef("run-1", 10, 5), TWO: RunRef("run-2", 10, 9), THREE: RunRef("run-3", 10, 7)}
"""By their numbers; the second is the newest."""


@pytest.fixture
def other(ledger: SqlLedger) -> Iterator[SqlLedger]:
    """The ledger as another process has it, after this one has entered its run."""
    assert ledger.open_run(RUNS[ONE]).run_no == ONE
    with SqlLedger(ledger.where, CONNECTION.base_url) as opened:
        yield opened


def record(state: State, run_no: int) -> Record:
    return Record("a", b"", state, run_no)


def counts(ledger: SqlLedger, run_no: int) -> dict[Counted, int]:
    found = ledger.counts(RUNS[run_no].run_id)
    return {each: number for each, number in found.items() if number and each is not State.PENDING}


def test_what_is_passed_by_twice_is_counted_once(ledger: SqlLedger) -> None:
    ledger.open_run(RUNS[ONE])
    for counted in (State.FORGOTTEN, State.FORGOTTEN, Passed.UNCHANGED):
        ledger.record([Pass("a", ONE, counted)])
        assert counts(ledger, ONE) == {counted: 1}


def test_a_place_that_is_left_leaves_the_others(ledger: SqlLedger) -> None:
    for run_no in RUNS:
        ledger.open_run(RUNS[run_no])
    for run_no in (ONE, TWO, THREE, TWO):
        ledger.record([record(State.DELIVERED, run_no)])
    places = [ledger.find(["a"], run_no)["a"].place for run_no in RUNS]
    assert places == [State.DELIVERED, None, State.DELIVERED]
    assert [counts(ledger, run_no) for run_no in RUNS] == [{State.DELIVERED: 1}] * 3


def test_a_process_knows_the_places_of_runs_that_another_has_entered(
    ledger: SqlLedger, other: SqlLedger
) -> None:
    ledger.record([record(State.DELIVERED, ONE)])
    ledger.open_run(RUNS[TWO])
    ledger.record([record(State.SENDING, TWO)])
    assert other.find(["a"], ONE)["a"].place is State.DELIVERED
    assert ledger.open_run(RUNS[THREE]).run_no == THREE
    ledger.record([Pass("a", THREE, State.FORGOTTEN)])
    assert other.find(["a"], THREE)["a"].place is State.FORGOTTEN
    assert other.find(["a"], TWO)["a"].place is None


def test_a_process_knows_that_the_run_of_another_is_newer(ledger: SqlLedger, other: SqlLedger) -> None:
    other.open_run(RUNS[TWO])
    other.record([record(State.REFUSED, TWO)])
    ledger.record([record(State.DELIVERED, ONE)])
    assert counts(other, TWO) == {State.REFUSED: 1}


def test_what_a_newer_run_of_another_process_holds_stays_held(ledger: SqlLedger, other: SqlLedger) -> None:
    other.open_run(RUNS[TWO])
    other.open_run(RUNS[THREE])
    other.record([record(State.DELIVERED, THREE), Pass("a", TWO, Passed.HELD)])
    ledger.record([Pass("a", ONE, Passed.HELD)])
    assert counts(other, ONE) == {Passed.SUPERSEDED: 1}
    assert counts(other, TWO) == {Passed.HELD: 1}
    found = ledger.find(["a"], TWO)["a"]
    assert (found.held_run, found.place) == (TWO, Passed.HELD)


def test_a_tenant_has_no_places_of_another(ledger: SqlLedger) -> None:
    ledger.open_run(RUNS[ONE])
    ledger.record([Pass("a", ONE, State.FORGOTTEN)])
    with SqlLedger(ledger.where, "https://api.other.test") as other:
        assert other.open_run(RUNS[TWO]).run_no == TWO
        other.record([record(State.DELIVERED, TWO)])
        other.record([Pass("a", TWO, Passed.UNCHANGED)])
        assert other.find(["a"], ONE)["a"].place is None
    assert counts(ledger, ONE) == {State.FORGOTTEN: 1}


def test_nothing_is_found_where_no_tenant_is_known(ledger: SqlLedger) -> None:
    assert ledger.find(["a"]) == {}
    assert list(ledger.unsettled("run-1")) == []


@pytest.mark.parametrize(("run", "newer"), [(ONE, {TWO, THREE}), (TWO, set()), (THREE, {TWO})])
def test_the_newer_runs_are_those_with_a_higher_ordinal(ledger: SqlLedger, run: int, newer: set[int]) -> None:
    for run_no in RUNS:
        ledger.open_run(RUNS[run_no])
    assert ledger.open_run(RUNS[run]).newer_runs == newer
    assert ledger.progress(RUNS[run]).newer_runs == newer


def test_of_two_runs_with_one_ordinal_the_later_is_newer(ledger: SqlLedger) -> None:
    first, second = (ledger.open_run(RunRef(name, 1, 1)).run_no for name in ("x", "y"))
    assert ledger.open_run(RunRef("x", 1, 1)).newer_runs == {second}
    assert ledger.open_run(RunRef("y", 1, 1)).newer_runs == frozenset()
    assert first < second
