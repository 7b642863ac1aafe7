"""What `confirm` has seen in Omneo, noted with what was known."""

from __future__ import annotations

import pytest

from pipeline.loading.ledger.entries import DeliveryProgress, Record, RunRef, RunStatus, State
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.tenant import CONNECTION

RUN, LATER = RunRef("run-1", 10, 1), RunRef("run-2", 10, 2)
SENT = Record("a", b"", State.DELIVERED, 1, message="answered", omneo_id="o-1", at=5)


def marked(ledger: SqlLedger, known: Record, seen: State, *, begun: bool = False, **read: object) -> Record:
    """What becomes of a record that was seen so; `read` is what the query said of it."""
    ledger.open_run(RUN)
    ledger.record([known])
    ledger.mark([(known._replace(**read), seen)], begun=begun)  # type: ignore[arg-type]  # fields of the table
    return ledger.find(["a"])["a"]


@pytest.mark.parametrize(
    ("known", "is_marked"),
    [
        (SENT._replace(state=State.FAILED, maybe_sent=True), True),
        (SENT._replace(state=State.SENDING), True),
        (SENT._replace(state=State.VOIDING), True),
        (SENT._replace(state=State.IN_DOUBT), True),
        (SENT._replace(state=State.REFUSED), False),
        (SENT._replace(state=State.PENDING), False),
    ],
)
def test_what_omneo_perhaps_has_can_be_seen_only_where_nobody_else_sends_it(
    ledger: SqlLedger, known: Record, is_marked: bool
) -> None:
    assert marked(ledger, known, State.CONFIRMED) == known
    assert (marked(ledger, known, State.CONFIRMED, begun=True).state is State.CONFIRMED) is is_marked


def test_what_was_seen_is_noted_with_omneos_id(ledger: SqlLedger) -> None:
    found = marked(ledger, SENT, State.CONFIRMED, omneo_id="o-2", message="differs")
    assert found._replace(at=0) == SENT._replace(state=State.CONFIRMED, omneo_id="o-2", at=0)
    assert found.at > SENT.at
    assert marked(ledger, SENT, State.MISSING, omneo_id=None).omneo_id == "o-1"


def test_a_difference_is_noted_with_what_differs(ledger: SqlLedger) -> None:
    assert marked(ledger, SENT, State.DIFFERING, message="differs").message == "differs"


@pytest.mark.parametrize(
    ("known", "seen", "maybe_sent"),
    [
        (SENT, State.CONFIRMED, False),
        (SENT._replace(maybe_sent=True), State.CONFIRMED, True),  # a void that is late may follow
        (SENT._replace(state=State.VOIDING), State.VOIDED, False),
        (SENT._replace(state=State.VOIDING, before=State.DELIVERED), State.VOIDED, False),
        (SENT._replace(state=State.SENDING, before=State.VOIDED), State.VOIDED, True),  # that old void
        (SENT._replace(state=State.SENDING, before=State.VOIDED), State.CONFIRMED, True),
    ],
)
def test_what_a_late_request_may_change_stays_in_doubt(
    ledger: SqlLedger, known: Record, seen: State, maybe_sent: bool
) -> None:
    found = marked(ledger, known, seen, begun=True)
    assert (found.state, found.maybe_sent) == (seen, maybe_sent)


def test_progress_is_told_of_runs_that_were_never_entered_too(ledger: SqlLedger) -> None:
    assert ledger.progress(RUN) == DeliveryProgress(0, 0, 10)
    later = ledger.open_run(LATER).run_no
    with SqlLedger(ledger.where, CONNECTION.base_url) as other:  # which has read no runs yet
        assert other.progress(RUN) == DeliveryProgress(0, 0, 10, newer_runs=frozenset({later}))
    own = ledger.open_run(RUN).run_no
    assert own == 2
    ledger.record([], DeliveryProgress(own, 0, 10, watermark=4))
    assert ledger.progress(RUN) == DeliveryProgress(own, 0, 10, watermark=4, newer_runs=frozenset({later}))
    assert ledger.progress(LATER) == DeliveryProgress(later, 0, 10)


def test_a_run_of_which_one_was_passed_is_gone_through_again(ledger: SqlLedger) -> None:
    no = ledger.open_run(RUN).run_no
    assert not ledger.reopen(RUN)
    ledger.record([], DeliveryProgress(no, 0, 10, watermark=1, unchanged=1))
    assert ledger.reopen(RUN)
    assert ledger.status("run-1") == RunStatus(10, pending=10)
    assert ledger.open_run(RUN) == DeliveryProgress(no, 0, 10)


def test_what_is_settled_is_neither_pending_nor_in_doubt(ledger: SqlLedger) -> None:
    no = ledger.open_run(RUN).run_no
    ledger.record([Record(str(state), b"", state, no) for state in sorted(State)[:10]])
    doubtful = {State.PENDING, State.SENDING, State.VOIDING, State.IN_DOUBT}
    assert ledger.settled("run-1") == len(set(sorted(State)[:10]) - doubtful)


def test_runs_are_listed_with_their_numbers(ledger: SqlLedger) -> None:
    for run in (LATER, RUN):
        ledger.open_run(run)
    assert ledger.runs() == ["run-2", "run-1"]
    assert ledger.run_ids() == {1: "run-2", 2: "run-1"}
    assert set(ledger.statuses()) == {"run-1", "run-2"}


def test_all_messages_about_many_transactions_are_removed(ledger: SqlLedger) -> None:
    no = ledger.open_run(RunRef("run-1", 600, 1)).run_no
    names = [f"T{number}" for number in range(600)]
    ledger.record([Record(name, b"", State.REFUSED, no, message="no") for name in names])
    assert ledger.forget_messages(names[1:], "nobody") == 599
    assert [name for name, each in ledger.find(names).items() if each.message] == ["T0"]
