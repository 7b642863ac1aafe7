"""The moves between counts, for any sequence of writes by several runs about one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    COUNTED,
    DELIVERY,
    Counted,
    Pass,
    Passed,
    Record,
    Return,
    State,
)
from pipeline.loading.ledger.moves import LedgerEntry, after, moves, wins

RUNS = (1, 2, 3)

records = st.builds(
    Record,
    external_id=st.just("a"),
    hash=st.just(b""),
    state=st.sampled_from(State),
    run_no=st.sampled_from(RUNS),
    maybe_sent=st.booleans(),
    source_time=st.none() | st.integers(1, 3),
    **{name: st.none() for name in ("status", "message", "batch", "before", "omneo_id", "held_run", "place")},
)
passes = st.builds(
    Pass,
    external_id=st.just("a"),
    run_no=st.sampled_from(RUNS),
    counted=st.sampled_from([Passed.HELD, Passed.UNCHANGED, State.FORGOTTEN, State.REFUSED]),
)
holding = st.builds(lambda record, run_no: record._replace(held_run=run_no), records, st.sampled_from(RUNS))
returns = st.builds(
    Return,
    run_no=st.sampled_from(RUNS),
    record=records | holding.filter(lambda record: record.held_run != record.run_no),
)


def is_newer(run_no: int, other: int) -> bool:
    return run_no > other


@pytest.mark.slow
@given(st.lists(records | passes | returns, max_size=12))
def test_each_run_counts_the_transaction_exactly_once_whatever_is_written(
    writes: Sequence[Record | Pass | Return],
) -> None:
    kept = LedgerEntry()
    counts: Counter[tuple[int, Counted]] = Counter({(run_no, State.PENDING): 1 for run_no in RUNS})
    for write in writes:
        now = after(kept, write, is_newer)
        for move in moves(kept, now):
            counts[move.run_no, move.old] -= 1
            counts[move.run_no, move.new] += 1
        kept = now
        assert min(counts.values()) >= 0
        for run_no in RUNS:
            (counted,) = (each for (no, each), number in counts.items() if no == run_no and number)
            assert counted is kept.counted_in(run_no)
        if kept.record is not None:
            assert kept.record.held_run != kept.record.run_no
            assert kept.record.run_no not in kept.places
            assert kept.record.held_run not in kept.places


@given(records, records)
def test_what_omneo_accepted_from_a_run_stays_its_own_when_another_takes_over(
    first: Record, second: Record
) -> None:
    kept = after(after(LedgerEntry(), first, is_newer), second, is_newer)
    expected: Counted = second.state
    if first.run_no != second.run_no:
        lasting = ACCEPTED_BY_OMNEO | {State.FORGOTTEN}
        expected = State.PENDING
        if wins(second, first, is_newer) and first.state not in lasting:
            expected = Passed.SUPERSEDED
        elif first.state in lasting | {State.REFUSED, State.FAILED}:
            expected = first.state
    assert kept.counted_in(first.run_no) is expected
    assert kept.counted_in(second.run_no) is second.state


@given(st.lists(records | passes, max_size=6), records)
def test_an_intent_that_is_taken_back_leaves_the_record_and_all_others_as_they_were(
    writes: Sequence[Record | Pass], intent: Record
) -> None:
    kept = LedgerEntry()
    for write in writes:
        kept = after(kept, write, is_newer)
    if kept.record is None:
        return
    found = kept.record._replace(place=kept.places.get(intent.run_no))
    now = after(after(kept, intent, is_newer), Return(intent.run_no, found), is_newer)
    assert now.record == kept.record
    for run_no in RUNS:
        assert now.counted_in(run_no) is kept.counted_in(run_no)


@pytest.mark.slow
@given(records, records)
def test_of_two_versions_exactly_one_wins(first: Record, second: Record) -> None:
    if first.run_no != second.run_no:
        assert wins(first, second, is_newer) is not wins(second, first, is_newer)


@pytest.mark.parametrize(("one", "other"), [(None, 5), (5, None), (5, 5), (None, None)])
def test_the_run_decides_where_the_time_of_the_source_cannot(one: int | None, other: int | None) -> None:
    newer = Record("a", b"", State.DELIVERED, 2, source_time=one)
    assert wins(newer, newer._replace(run_no=1, source_time=other), is_newer)


def test_the_time_of_the_source_decides_where_it_differs() -> None:
    late = Record("a", b"", State.DELIVERED, 1, source_time=6)
    assert wins(late, late._replace(run_no=2, source_time=5), is_newer)


def test_every_count_belongs_to_one_number_of_the_summary() -> None:
    assert set(DELIVERY) == set(COUNTED)


# ── One write at a time ─────────────────────────────────────────────────────────────────────────────

ONE = Record("a", b"", State.DELIVERED, 1)
TWO = Record("a", b"", State.SENDING, 2, place=State.FAILED)
HELD_BY_TWO = ONE._replace(held_run=2)


def entry(record: Record | None = None, places: Mapping[int, Counted] | None = None) -> LedgerEntry:
    return LedgerEntry(record, places or {})


@pytest.mark.parametrize(
    ("kept", "new", "expected"),
    [
        (entry(None, {1: State.FORGOTTEN, 3: Passed.HELD}), ONE, entry(ONE, {3: Passed.HELD})),
        (entry(), ONE._replace(held_run=2, place=State.FAILED), entry(ONE)),
        (
            entry(ONE, {3: Passed.HELD}),
            ONE._replace(state=State.MISSING),
            entry(ONE._replace(state=State.MISSING), {3: Passed.HELD}),
        ),
        (
            entry(HELD_BY_TWO),
            ONE._replace(state=State.MISSING),
            entry(HELD_BY_TWO._replace(state=State.MISSING)),
        ),
        (entry(ONE, {2: State.FAILED}), TWO, entry(TWO._replace(place=None), {1: State.DELIVERED})),
        (entry(HELD_BY_TWO), TWO, entry(TWO._replace(place=None), {1: State.DELIVERED})),
        (
            entry(HELD_BY_TWO),
            TWO._replace(run_no=3),
            entry(TWO._replace(run_no=3, place=None), {1: State.DELIVERED, 2: Passed.SUPERSEDED}),
        ),
        (
            entry(TWO._replace(place=None, held_run=3)),
            ONE,
            entry(ONE._replace(held_run=3), {2: State.PENDING}),
        ),
    ],
)
def test_a_record_takes_the_place_of_the_one_before(
    kept: LedgerEntry, new: Record, expected: LedgerEntry
) -> None:
    assert after(kept, new, is_newer) == expected


NOW_TWO = entry(TWO._replace(place=None), {1: State.DELIVERED})


@pytest.mark.parametrize(
    ("kept", "back", "expected"),
    [
        (entry(), Return(2, ONE), entry()),
        (entry(ONE), Return(2, TWO), entry(ONE)),  # another has taken it over meanwhile
        (NOW_TWO, Return(2, ONE), entry(ONE)),
        (
            NOW_TWO,
            Return(2, TWO._replace(state=State.FAILED)),
            entry(TWO._replace(state=State.FAILED, place=None), {1: State.DELIVERED}),
        ),
        (NOW_TWO, Return(2, ONE._replace(place=State.FAILED)), entry(ONE, {2: State.FAILED})),
        (NOW_TWO, Return(2, HELD_BY_TWO._replace(place=Passed.HELD)), entry(HELD_BY_TWO)),
        (
            entry(NOW_TWO.record, {1: State.DELIVERED, 3: Passed.SUPERSEDED, 4: State.FAILED}),
            Return(2, ONE._replace(held_run=3)),
            entry(ONE._replace(held_run=3), {4: State.FAILED}),
        ),
        (
            entry(NOW_TWO.record, {1: State.DELIVERED, 4: State.FAILED}),
            Return(2, ONE._replace(held_run=3)),
            entry(ONE._replace(held_run=3), {4: State.FAILED}),
        ),
    ],
)
def test_an_intent_is_taken_back(kept: LedgerEntry, back: Return, expected: LedgerEntry) -> None:
    assert after(kept, back, is_newer) == expected


@pytest.mark.parametrize(
    ("kept", "run_no", "counted", "expected"),
    [
        (entry(), 1, Passed.HELD, entry(None, {1: Passed.HELD})),
        (entry(), 1, State.FORGOTTEN, entry(None, {1: State.FORGOTTEN})),
        (entry(ONE), 1, Passed.UNCHANGED, entry(ONE)),
        (entry(ONE), 1, State.FORGOTTEN, entry(ONE)),
        (entry(ONE), 2, Passed.UNCHANGED, entry(ONE, {2: Passed.UNCHANGED})),
        (entry(ONE, {2: State.VOIDED}), 2, Passed.UNCHANGED, entry(ONE, {2: State.VOIDED})),
        (entry(ONE, {2: State.FAILED}), 2, Passed.HELD, entry(HELD_BY_TWO)),
        (entry(HELD_BY_TWO), 2, Passed.HELD, entry(HELD_BY_TWO)),
        (entry(HELD_BY_TWO), 2, Passed.UNCHANGED, entry(ONE, {2: Passed.UNCHANGED})),
        (entry(HELD_BY_TWO), 3, Passed.UNCHANGED, entry(HELD_BY_TWO, {3: Passed.UNCHANGED})),
        (entry(HELD_BY_TWO), 3, Passed.HELD, entry(ONE._replace(held_run=3), {2: Passed.SUPERSEDED})),
        (
            entry(ONE._replace(held_run=3), {4: State.FAILED}),
            2,
            Passed.HELD,
            entry(ONE._replace(held_run=3), {4: State.FAILED, 2: Passed.SUPERSEDED}),
        ),
    ],
)
def test_a_run_passes_a_transaction_by(
    kept: LedgerEntry, run_no: int, counted: Counted, expected: LedgerEntry
) -> None:
    assert after(kept, Pass("a", run_no, counted, at=7), is_newer) == expected


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("maybe_sent", [False, True])
def test_a_run_forgets_only_what_was_surely_not_sent(state: State, maybe_sent: bool) -> None:
    kept = entry(ONE._replace(state=state, maybe_sent=maybe_sent), {2: Passed.HELD})
    unsent = state in (State.PENDING, State.REFUSED, State.FAILED) and not maybe_sent
    forgotten = entry(ONE._replace(state=State.FORGOTTEN, at=7), {2: Passed.HELD})
    assert after(kept, Pass("a", 1, State.FORGOTTEN, at=7), is_newer) == (forgotten if unsent else kept)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (entry(), entry(ONE), [(1, State.PENDING, State.DELIVERED)]),
        (entry(ONE), entry(ONE._replace(attempts=1)), []),
        (entry(ONE), entry(ONE._replace(state=State.MISSING)), [(1, State.DELIVERED, State.MISSING)]),
        (entry(ONE), entry(HELD_BY_TWO), [(2, State.PENDING, Passed.HELD)]),
        (entry(HELD_BY_TWO), entry(ONE), [(2, Passed.HELD, State.PENDING)]),
        (entry(ONE), entry(ONE, {2: State.FAILED}), [(2, State.PENDING, State.FAILED)]),
        (entry(ONE, {2: State.FAILED}), entry(ONE), [(2, State.FAILED, State.PENDING)]),
        (entry(ONE), NOW_TWO, [(2, State.PENDING, State.SENDING)]),
        (entry(ONE), entry(TWO), [(1, State.DELIVERED, State.PENDING), (2, State.PENDING, State.SENDING)]),
    ],
)
def test_each_run_that_counts_it_otherwise_moves_it(
    old: LedgerEntry, new: LedgerEntry, expected: list[tuple[int, Counted, Counted]]
) -> None:
    assert list(moves(old, new)) == expected
