"""How a write moves a transaction between the counts of runs, computed from the old record and the new.

A run counts each of its transactions exactly once, by the first of these that holds:

1. The record is the run's own: its state counts. Or the run holds newer contents back: *held*.
2. The transaction has a *place* in the run, which is kept where another run has taken the record over.
3. Neither: it is pending, or unchanged if it lies below the watermark. The watermark counts both, so
   nothing is kept for the transaction itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    Counted,
    Pass,
    Passed,
    Record,
    Return,
    State,
    counted_in,
    has_newer_source,
)


class LedgerEntry(NamedTuple):
    """All that the ledger keeps of one transaction.

    Attributes:
        record: Its record; None where it has none.
        places: By run, what the transaction is counted as there, where the record does not say.
    """

    record: Record | None = None
    places: Mapping[int, Counted] = {}

    def counted_in(self, run_no: int) -> Counted:
        """What the transaction is counted as in a run that has not passed it by as unchanged."""
        return counted_in(run_no, self.record, self.places.get(run_no))


IsNewer = Callable[[int, int], bool]
"""Says whether a run is newer than another, by their numbers."""


class Move(NamedTuple):
    """One transaction of a run is counted as something else now."""

    run_no: int
    old: Counted
    new: Counted


def after(kept: LedgerEntry, write: Record | Return | Pass, is_newer: IsNewer) -> LedgerEntry:
    """What is kept of a transaction once something was written about it."""
    match write:
        case Record():
            return _recorded(kept, write, is_newer)
        case Return():
            return _returned(kept, write, is_newer)
        case Pass():
            return _passed(kept, write, is_newer)


def moves(old: LedgerEntry, new: LedgerEntry) -> Iterator[Move]:
    """The moves between counts that a change makes."""
    if not (old.places or new.places) and old.record is not None and new.record is not None:
        # The usual case, and the quickest: no other run counts it.
        one, other = old.record, new.record
        if one.run_no == other.run_no and one.held_run is None and other.held_run is None:
            if one.state is not other.state:
                yield Move(one.run_no, one.state, other.state)
            return
    for run_no in sorted(_runs(old) | _runs(new)):
        before, now = old.counted_in(run_no), new.counted_in(run_no)
        if before is not now:
            yield Move(run_no, before, now)


def wins(record: Record, other: Record, is_newer: IsNewer) -> bool:
    """Whether contents are newer than others: by the time of their sources, else by their runs."""
    by_source = has_newer_source(record.source_time, other.source_time)
    return is_newer(record.run_no, other.run_no) if by_source is None else by_source


def _runs(kept: LedgerEntry) -> set[int]:
    runs = set(kept.places)
    if kept.record is not None:
        runs.add(kept.record.run_no)
        if kept.record.held_run is not None:
            runs.add(kept.record.held_run)
    return runs


def _recorded(kept: LedgerEntry, new: Record, is_newer: IsNewer) -> LedgerEntry:
    old = kept.record
    held_run = old.held_run if old is not None else None
    if old is None or (old.run_no == new.run_no and held_run is None):
        # The usual case: no other run counts it.
        return LedgerEntry(new._replace(held_run=None, place=None), _without(kept.places, new.run_no))
    places = dict(kept.places)
    if old.run_no != new.run_no:
        places[old.run_no] = _left(old, wins(new, old, is_newer))
        if held_run is not None and held_run != new.run_no and is_newer(new.run_no, held_run):
            places[held_run] = Passed.SUPERSEDED
            held_run = None
    if held_run == new.run_no:
        held_run = None
    places.pop(new.run_no, None)
    return LedgerEntry(new._replace(held_run=held_run, place=None), places)


def _left(old: Record, is_taken_by_newer: bool) -> Counted:
    """How a run counts a transaction after another run has taken over its record."""
    if old.state in ACCEPTED_BY_OMNEO or old.state is State.FORGOTTEN:
        return old.state
    if is_taken_by_newer:
        return Passed.SUPERSEDED
    return old.state if old.state in (State.REFUSED, State.FAILED) else State.PENDING


def _returned(kept: LedgerEntry, write: Return, is_newer: IsNewer) -> LedgerEntry:
    now, before = kept.record, write.record
    # Another run has taken the record over meanwhile.
    if now is None or now.run_no != write.run_no:
        return kept
    if before.run_no == write.run_no:
        return _recorded(kept, before, is_newer)
    places = _without(_without(kept.places, before.run_no), write.run_no)
    if before.place is not None and before.held_run != write.run_no:
        places = {**places, write.run_no: before.place}
    return LedgerEntry(before._replace(place=None), _without(places, before.held_run))


def _passed(kept: LedgerEntry, write: Pass, is_newer: IsNewer) -> LedgerEntry:
    record, run_no = kept.record, write.run_no
    if record is not None and record.run_no == run_no:
        forgets = write.counted is State.FORGOTTEN and _is_unsent(record)
        return (
            LedgerEntry(record._replace(state=State.FORGOTTEN, at=write.at), kept.places) if forgets else kept
        )
    if kept.places.get(run_no) in ACCEPTED_BY_OMNEO:
        return kept
    places = dict(kept.places)
    if record is not None and write.counted is Passed.HELD:
        places.pop(run_no, None)
        other = record.held_run
        if other is not None and other != run_no:
            if is_newer(other, run_no):
                return LedgerEntry(record, {**places, run_no: Passed.SUPERSEDED})
            places[other] = Passed.SUPERSEDED
        return LedgerEntry(record._replace(held_run=run_no), places)
    places[run_no] = write.counted
    if record is not None and record.held_run == run_no:
        record = record._replace(held_run=None)
    return LedgerEntry(record, places)


def _is_unsent(record: Record) -> bool:
    """Whether Omneo surely has nothing of it."""
    return record.state in (State.PENDING, State.REFUSED, State.FAILED) and not record.maybe_sent


def _without(places: Mapping[int, Counted], run_no: int | None) -> Mapping[int, Counted]:
    return {no: counted for no, counted in places.items() if no != run_no} if run_no in places else places
