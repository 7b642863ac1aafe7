from __future__ import annotations

from dataclasses import asdict

import pytest

from pipeline.loading.ledger.entries import (
    Counted,
    Passed,
    Record,
    RunStatus,
    State,
    counted_in,
    has_newer_source,
    may_be_void,
    was_void,
)

OWN = Record("a", b"", State.REFUSED, 1)
OTHERS = Record("a", b"", State.DELIVERED, 2)


@pytest.mark.parametrize(
    ("record", "place", "passed", "counted"),
    [
        (None, None, False, State.PENDING),
        (None, None, True, Passed.UNCHANGED),
        (None, State.FORGOTTEN, True, State.FORGOTTEN),
        (OWN, None, False, State.REFUSED),
        (OWN, State.FAILED, True, State.REFUSED),
        (OTHERS, None, False, State.PENDING),
        (OTHERS, None, True, Passed.UNCHANGED),
        (OTHERS, State.FAILED, True, State.FAILED),
        (OTHERS._replace(held_run=1), State.FAILED, True, Passed.HELD),
        (OTHERS._replace(held_run=3), None, False, State.PENDING),
    ],
)
def test_a_run_counts_a_transaction_by_what_says_most(
    record: Record | None, place: Counted | None, passed: bool, counted: Counted
) -> None:
    assert counted_in(1, record, place, passed=passed) is counted


def test_what_the_ledger_does_not_know_is_pending() -> None:
    assert counted_in(1, None) is State.PENDING


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [(2, 1, True), (1, 2, False), (1, 1, None), (None, 1, None), (1, None, None), (None, None, None)],
)
def test_the_times_of_two_sources_say_which_is_newer_where_they_differ(
    one: int | None, other: int | None, newer: bool | None
) -> None:
    assert has_newer_source(one, other) is newer


@pytest.mark.parametrize(
    ("state", "before", "maybe_sent", "expected"),
    [
        (State.PENDING, None, False, False),
        (State.DELIVERED, None, False, False),
        (State.DELIVERED, None, True, True),  # a void that is late
        (State.VOIDED, None, False, True),
        (State.VOIDING, State.DELIVERED, False, True),
        (State.IN_DOUBT, None, True, False),
        (State.IN_DOUBT, State.DELIVERED, False, False),
        (State.IN_DOUBT, State.DELIVERED, True, True),
        (State.IN_DOUBT, State.VOIDED, False, True),
        (State.REFUSED, State.VOIDING, False, True),
    ],
)
def test_what_omneo_may_have_as_void(
    state: State, before: State | None, maybe_sent: bool, expected: bool
) -> None:
    assert may_be_void(Record("a", b"", state, 1, before=before, maybe_sent=maybe_sent)) is expected


@pytest.mark.parametrize("before", [None, *State])
def test_what_was_void_before_the_last_request(before: State | None) -> None:
    expected = before in (State.VOIDED, State.VOIDING)
    assert was_void(Record("a", b"", State.VOIDED, 1, before=before)) is expected


def test_a_summary_has_each_count_once() -> None:
    counts: dict[Counted, int] = {
        State.DELIVERED: 1,
        State.CONFIRMED: 2,
        State.MISSING: 4,
        State.DIFFERING: 8,
        State.PENDING: 16,
        Passed.HELD: 32,
        Passed.UNCHANGED: 64,
        Passed.SUPERSEDED: 128,
    }
    found = asdict(RunStatus.of(counts))
    assert {name: number for name, number in found.items() if number} == {
        "accepted": 255,
        "delivered": 15,
        "confirmed": 2,
        "missing": 4,
        "differing": 8,
        "pending": 48,
        "held": 32,
        "unchanged": 192,
    }
    assert set(asdict(RunStatus.of({})).values()) == {0}


def test_a_new_record_was_never_sent() -> None:
    record = Record("a", b"", State.PENDING, 1)
    assert (record.attempts, record.maybe_sent, record.at) == (0, False, 0)
