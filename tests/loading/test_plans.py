from __future__ import annotations

import json

import pytest

from pipeline.errors import SettingsError
from pipeline.loading.endpoints import endpoint_named
from pipeline.loading.entries import Progress, Record, State, content_hash
from pipeline.loading.options import DeliveryOptions
from pipeline.loading.plans import (
    Case,
    Ignore,
    Load,
    OnChange,
    Plan,
    Resend,
    Retry,
    Send,
    Settled,
    Void,
    with_void,
)
from tests.loading.tenant import made

TRANSACTION = made(1)
SAME = content_hash(TRANSACTION.body)
OTHER = content_hash(b"other")
MINE, EARLIER, LATER = 2, 1, 3
PROGRESS = Progress(MINE, 0, 10, watermark=5, newer_runs=frozenset({LATER}))


def case(
    state: State | None, run_no: int = MINE, content: bytes = SAME, position: int = 7, status: int = 200
) -> Case:
    row = None
    if state is not None:
        row = Record(TRANSACTION.external_id, content, state, run_no, 1, status)
    return Case(position, TRANSACTION, row, PROGRESS)


def told(plan: Plan, *args: object, **kwargs: object) -> str:
    step = plan.step(case(*args, **kwargs))  # type: ignore[arg-type]
    if isinstance(step, Settled):
        return step.kind
    if isinstance(step, Ignore):
        return "ignore"
    return "doubt" if step.in_doubt else "change" if step.changed else "send"


@pytest.mark.parametrize(
    ("state", "mine", "earlier", "earlier_other", "later_other"),
    [
        (State.PENDING, "send", "send", "send", "send"),
        (State.SENDING, "doubt", "doubt", "doubt", "unchanged"),
        (State.DELIVERED, "delivered", "unchanged", "change", "unchanged"),
        (State.CONFIRMED, "delivered", "unchanged", "change", "unchanged"),
        (State.DIFFERING, "delivered", "unchanged", "change", "unchanged"),
        (State.MISSING, "delivered", "send", "change", "unchanged"),
        (State.REFUSED, "refused", "refused", "send", "unchanged"),
        (State.FAILED, "failed", "doubt", "doubt", "unchanged"),
        (State.VOIDED, "delivered", "unchanged", "change", "unchanged"),
    ],
)
def test_loading_by_what_the_ledger_knows(
    state: State, mine: str, earlier: str, earlier_other: str, later_other: str
) -> None:
    assert told(Load(), state) == mine
    assert told(Load(), state, EARLIER) == earlier
    assert told(Load(), state, EARLIER, OTHER) == earlier_other
    assert told(Load(), state, LATER, OTHER) == later_other


def test_loading_what_is_unknown() -> None:
    assert told(Load(), None) == "send"


@pytest.mark.parametrize(
    ("rule", "kind"), [(OnChange.HOLD, "held"), (OnChange.SKIP, "unchanged"), (OnChange.SEND, "change")]
)
def test_changes_by_rule(rule: OnChange, kind: str) -> None:
    assert told(Load(rule), State.DELIVERED, EARLIER, OTHER) == kind
    assert told(Load(rule), None) == "send"


@pytest.mark.parametrize("state", [None, *State])
def test_retrying(state: State | None) -> None:
    expected = {State.REFUSED: "send", State.FAILED: "doubt"}
    assert told(Retry(), state) == (expected.get(state, "ignore") if state else "ignore")
    assert told(Retry(), state, EARLIER) == "ignore"


def test_a_retry_that_was_cut_off_is_taken_up_below_the_watermark_only() -> None:
    below = Retry().step(case(State.SENDING, position=3, status=422))
    assert isinstance(below, Send)
    assert (below.was, below.in_doubt) == ("refused", True)
    failed = Retry().step(case(State.SENDING, position=3, status=503))
    assert isinstance(failed, Send)
    assert failed.was == "failed"
    assert told(Retry(), State.SENDING, position=7) == "ignore"
    assert told(Retry(), State.SENDING, MINE, OTHER, position=3) == "ignore"


@pytest.mark.parametrize("state", [None, *State])
def test_sending_the_missing_again(state: State | None) -> None:
    assert told(Resend(), state) == ("send" if state is State.MISSING else "ignore")
    assert told(Resend(), state, MINE, OTHER) == "ignore"


@pytest.mark.parametrize("state", [None, *State])
def test_voiding(state: State | None) -> None:
    delivered = {State.DELIVERED, State.CONFIRMED, State.MISSING, State.DIFFERING}
    perhaps = {State.SENDING, State.FAILED}
    expected = "send" if state in delivered else "doubt" if state in perhaps else "ignore"
    assert told(Void(), state) == expected
    assert told(Void(), state, EARLIER) == "ignore"


UNDONE = content_hash(with_void(TRANSACTION.body, void=True))


@pytest.mark.parametrize("state", [State.VOIDED, State.SENDING])
def test_what_was_undone_stays_so_until_it_changes(state: State) -> None:
    assert told(Load(), state, MINE, UNDONE) == "delivered"
    assert Load().step(case(state, EARLIER, UNDONE)) == Settled("unchanged", "voided")
    again = Load().step(case(State.VOIDED, EARLIER, OTHER))
    assert isinstance(again, Send)
    assert json.loads(again.body)["is_void"] is False
    for run_no in (MINE, EARLIER):
        revived = Load(revive=True).step(case(State.VOIDED, run_no, UNDONE))
        assert isinstance(revived, Send)
        assert (json.loads(revived.body)["is_void"], revived.hash) == (False, SAME)


def test_where_omneo_may_have_an_earlier_version_finding_it_proves_nothing() -> None:
    def doubt(content: bytes, attempts: int) -> tuple[bool, bool]:
        one = case(State.SENDING, EARLIER, content)
        assert one.row is not None
        step = Load().step(one._replace(row=one.row._replace(attempts=attempts)))
        assert isinstance(step, Send)
        return step.earlier, json.loads(step.body).get("is_void") is False

    assert doubt(SAME, 0) == (False, False)  # never sent before the request in doubt
    assert doubt(SAME, 1) == (True, True)  # an update was cut off; what it updates may be void
    assert doubt(OTHER, 0) == (True, True)  # an earlier night's version was cut off


def test_options_are_checked() -> None:
    assert DeliveryOptions(endpoint="batch").endpoint.batched  # type: ignore[arg-type]
    for wrong in ({"batch_size": 0}, {"batch_size": 501}, {"concurrency": 0}, {"rate_per_min": 0}):
        with pytest.raises(SettingsError):
            DeliveryOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="did you mean 'queue-create'"):
        endpoint_named("queue_create")
