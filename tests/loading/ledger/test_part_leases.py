from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.loading.ledger.entries import Lease, LeaseLost, PartSelection, RunRef
from pipeline.loading.ledger.ledger import SqlLedger

RUN, ALL = RunRef("run-1", 10, 1), PartSelection()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The database's clock, as a list of one number."""
    now = [100.0]
    monkeypatch.setattr(SqlLedger, "now", lambda _: now[0])
    return now


def test_a_lease_lasts_to_its_end_and_no_longer(ledger: SqlLedger, clock: list[float]) -> None:
    (part,) = ledger.leases.share(RUN, [10])
    ledger.record([], replace(part, watermark=10, unchanged=10))
    lease = ledger.leases.take(part.run_no, "one", 30, ALL)
    assert lease == Lease(part.run_no, 1, "one")
    assert ledger.leases.renew(lease, 60) == 1
    clock[0] = 160
    assert ledger.leases.take(part.run_no, "two", 60, ALL) is None
    assert ledger.leases.are_finished_ones_held(part.run_no)
    assert not ledger.reopen(RUN)
    assert ledger.leases.renew(lease, 0) == 1
    clock[0] = 160.1
    assert not ledger.leases.are_finished_ones_held(part.run_no)
    assert ledger.reopen(RUN)
    assert ledger.leases.take(part.run_no, "two", 60, ALL) == Lease(part.run_no, 1, "two")
    with pytest.raises(LeaseLost, match="Part 1 was taken over by another worker"):
        ledger.leases.renew(lease, 60)


def test_only_parts_in_which_all_is_settled_are_finished(ledger: SqlLedger, clock: list[float]) -> None:
    first, second = ledger.leases.share(RUN, [5, 5])
    ledger.leases.take(first.run_no, "one", 60, ALL)
    ledger.record([], replace(first, watermark=4, unchanged=4))
    ledger.record([], replace(second, watermark=5, unchanged=5))  # nobody's
    assert not ledger.leases.are_finished_ones_held(first.run_no)
    ledger.record([], replace(first, watermark=5, unchanged=5))
    assert ledger.leases.are_finished_ones_held(first.run_no)
    assert not ledger.leases.are_finished_ones_held(first.run_no + 1)


def test_any_part_may_be_wanted_or_only_those_that_are_not_finished(ledger: SqlLedger) -> None:
    first, second = ledger.leases.share(RUN, [5, 5])
    ledger.record([], replace(second, watermark=5, unchanged=5))
    wanted = [ALL, PartSelection(1), PartSelection(2), PartSelection(1, unfinished=True)]
    assert [ledger.leases.are_left(first.run_no, each) for each in wanted] == [True, True, False, False]
    taken = [ledger.leases.take(first.run_no, "one", 60, each) for each in reversed(wanted)]
    assert [lease and lease.part for lease in taken] == [None, None, 2, 1]


def test_a_run_that_is_not_shared_is_one_part(ledger: SqlLedger) -> None:
    no = ledger.open_run(RUN).run_no
    assert ledger.leases.are_left(no, ALL)
    assert not ledger.leases.are_left(no, PartSelection(beyond=0))
    lease = ledger.leases.take(no, "one", 60, ALL)
    assert lease == Lease(no, 0, "one")
    ledger.record([], None, lease)
    with pytest.raises(LeaseLost):
        ledger.record([], None, replace(lease, owner="two"))
    ledger.leases.release(replace(lease, owner="two"))
    assert ledger.leases.take(no, "two", 60, ALL) is None
    ledger.leases.release(lease)
    assert ledger.leases.take(no, "two", 60, ALL) == Lease(no, 0, "two")
