from __future__ import annotations

import json
from itertools import product

import pytest

from pipeline.core.errors import SettingsError
from pipeline.loading.delivery.decisions import (
    Candidate,
    Decision,
    DeliveryRules,
    Ignore,
    Keep,
    LoadRules,
    OnChange,
    QueryOnly,
    ResendRules,
    RetryRules,
    Send,
    VoidRules,
    is_in_omneo,
    with_void,
)
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.http.endpoints import endpoint_named
from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    DeliveryProgress,
    Passed,
    Record,
    State,
    content_hash,
)
from tests.loading.tenant import made

TRANSACTION = made(1)
SAME = content_hash(TRANSACTION.body)
OTHER = content_hash(b"other")
MINE, EARLIER, LATER = 2, 1, 3
PROGRESS = DeliveryProgress(MINE, 0, 10, watermark=5, newer_runs=frozenset({LATER}))


def decision(
    rules: DeliveryRules, state: State | None, run_no: int = MINE, content: bytes = SAME, **known: object
) -> Decision:
    record = None
    if state is not None:
        record = Record(TRANSACTION.external_id, content, state, run_no)._replace(**known)  # type: ignore[arg-type]
    return rules.decide(Candidate(7, TRANSACTION, record, PROGRESS))


def kind(
    rules: DeliveryRules, state: State | None, run_no: int = MINE, content: bytes = SAME, **known: object
) -> str:
    decided = decision(rules, state, run_no, content, **known)
    match decided:
        case Keep():
            return str(decided.counted) if decided.counted else "as it is"
        case Send():
            return "doubt" if decided.look_first else "change" if decided.changed else "send"
        case QueryOnly():
            return "look"
        case Ignore():
            return "ignore"


@pytest.mark.parametrize(
    ("state", "mine", "earlier", "earlier_other", "later", "later_other"),
    [
        (State.PENDING, "send", "send", "send", "send", "send"),
        (State.SENDING, "doubt", "doubt", "doubt", "unchanged", "unchanged"),
        (State.IN_DOUBT, "doubt", "doubt", "doubt", "unchanged", "unchanged"),
        (State.VOIDING, "look", "undone", "doubt", "unchanged", "unchanged"),
        (State.DELIVERED, "as it is", "unchanged", "change", "unchanged", "unchanged"),
        (State.CONFIRMED, "as it is", "unchanged", "change", "unchanged", "unchanged"),
        (State.DIFFERING, "as it is", "unchanged", "change", "unchanged", "unchanged"),
        (State.MISSING, "as it is", "doubt", "change", "unchanged", "unchanged"),
        (State.REFUSED, "as it is", "refused", "send", "refused", "send"),
        (State.FAILED, "as it is", "send", "send", "send", "send"),
        (State.VOIDED, "as it is", "undone", "change", "undone", "unchanged"),
        (State.FORGOTTEN, "send", "send", "send", "send", "send"),
    ],
)
def test_loading_by_what_the_ledger_knows(
    state: State, mine: str, earlier: str, earlier_other: str, later: str, later_other: str
) -> None:
    assert kind(LoadRules(), state) == mine
    assert kind(LoadRules(), state, EARLIER) == earlier
    assert kind(LoadRules(), state, EARLIER, OTHER) == earlier_other
    assert kind(LoadRules(), state, LATER) == later
    assert kind(LoadRules(), state, LATER, OTHER) == later_other


def test_what_another_run_was_refused_becomes_this_runs() -> None:
    assert decision(LoadRules(), State.REFUSED, EARLIER) == Keep(State.REFUSED, takes_over=True)
    assert decision(LoadRules(), State.REFUSED, LATER) == Keep(State.REFUSED)


@pytest.mark.parametrize("before", [None, *State])
def test_an_update_that_omneo_did_not_take_left_the_version_before(before: State | None) -> None:
    expected = "change" if before in ACCEPTED_BY_OMNEO else "send"
    assert kind(LoadRules(), State.FAILED, EARLIER, OTHER, before=before) == expected
    later = decision(LoadRules(), State.FAILED, LATER, OTHER, before=before)
    if before in ACCEPTED_BY_OMNEO:
        assert later == Keep(Passed.UNCHANGED, "superseded")
    else:
        assert isinstance(later, Send)


def test_loading_what_is_unknown() -> None:
    assert kind(LoadRules(), None) == "send"


@pytest.mark.slow
@pytest.mark.parametrize(
    "rules", [LoadRules(), LoadRules(revive=True), RetryRules(), ResendRules(), VoidRules()]
)
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("run_no", [MINE, EARLIER, LATER])
@pytest.mark.parametrize("maybe_sent", [False, True])
@pytest.mark.parametrize("before", [None, State.DELIVERED, State.VOIDED])
def test_every_state_has_a_decision(
    rules: DeliveryRules, state: State, run_no: int, maybe_sent: bool, before: State | None
) -> None:
    for content in (SAME, OTHER):
        assert kind(rules, state, run_no, content, maybe_sent=maybe_sent, before=before)


@pytest.mark.parametrize("state", [State.PENDING, State.REFUSED, State.FAILED])
def test_what_was_perhaps_taken_is_looked_up_before_it_is_sent(state: State) -> None:
    for content in (SAME, OTHER):
        assert kind(LoadRules(), state, EARLIER, content, maybe_sent=True) == "doubt"
        assert kind(LoadRules(), state, LATER, content, maybe_sent=True) == "unchanged"
    assert kind(RetryRules(), State.REFUSED, maybe_sent=True) == "doubt"
    assert kind(RetryRules(), State.FAILED, maybe_sent=True) == "doubt"


@pytest.mark.parametrize(
    ("rule", "expected"), [(OnChange.HOLD, "held"), (OnChange.SKIP, "unchanged"), (OnChange.SEND, "change")]
)
def test_changes_by_rule(rule: OnChange, expected: str) -> None:
    assert kind(LoadRules(rule), State.DELIVERED, EARLIER, OTHER) == expected
    # An update that Omneo did not take has left an earlier version there.
    assert kind(LoadRules(rule), State.REFUSED, EARLIER, OTHER, before=State.DELIVERED) == expected
    assert kind(LoadRules(rule), None) == "send"


@pytest.mark.parametrize("rules", [LoadRules(only_creates=True), RetryRules(only_creates=True)])
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("run_no", [MINE, EARLIER, LATER])
def test_nothing_that_omneo_has_taken_is_created_a_second_time(
    rules: DeliveryRules, state: State, run_no: int
) -> None:
    for content, before, place in product((SAME, OTHER), (None, *State), (None, State.REFUSED)):
        decided = decision(rules, state, run_no, content, before=before, place=place)
        if isinstance(decided, Send):
            assert state not in ACCEPTED_BY_OMNEO
            assert decided.look_first or before not in ACCEPTED_BY_OMNEO


@pytest.mark.parametrize("rule", OnChange)
def test_a_doubt_is_settled_by_the_rule_for_changes(rule: OnChange) -> None:
    doubt = decision(LoadRules(rule), State.SENDING, EARLIER, OTHER)
    assert isinstance(doubt, Send)
    assert (doubt.may_have_other, doubt.if_other) == (True, rule)


def test_the_time_of_the_source_says_which_is_newer() -> None:
    older = TRANSACTION._replace(source_time=10)
    record = Record(TRANSACTION.external_id, OTHER, State.DELIVERED, EARLIER, source_time=20)
    kept = LoadRules().decide(Candidate(7, older, record, PROGRESS))
    assert kept == Keep(Passed.UNCHANGED, "superseded")
    later_run = record._replace(run_no=LATER, source_time=5)
    sent = LoadRules().decide(Candidate(7, older, later_run, PROGRESS))
    assert isinstance(sent, Send)
    assert sent.changed


@pytest.mark.parametrize("state", [None, *State])
def test_retrying(state: State | None) -> None:
    expected = {State.REFUSED: "send", State.FAILED: "send", State.IN_DOUBT: "doubt"}
    assert kind(RetryRules(), state) == (expected.get(state, "ignore") if state else "ignore")
    assert kind(RetryRules(), state, EARLIER) == "ignore"


@pytest.mark.parametrize("place", [State.REFUSED, State.FAILED])
@pytest.mark.parametrize(
    ("state", "run_no", "content", "expected"),
    [
        (State.VOIDED, EARLIER, OTHER, "change"),
        (State.DELIVERED, EARLIER, OTHER, "change"),
        (State.DELIVERED, EARLIER, SAME, "unchanged"),
        (State.REFUSED, EARLIER, SAME, "send"),
        (State.REFUSED, LATER, SAME, "send"),
        (State.SENDING, EARLIER, OTHER, "doubt"),
        (State.DELIVERED, LATER, OTHER, "unchanged"),
    ],
)
def test_retrying_what_was_not_taken_and_another_run_has_taken_over(
    place: State, state: State, run_no: int, content: bytes, expected: str
) -> None:
    assert kind(RetryRules(), state, run_no, content, place=place) == expected
    assert kind(RetryRules(), state, run_no, content, place=Passed.SUPERSEDED) == "ignore"


def test_a_retry_sends_an_update_only_to_an_endpoint_that_updates() -> None:
    assert kind(RetryRules(), State.REFUSED, before=State.DELIVERED) == "send"
    assert kind(RetryRules(only_creates=True), State.REFUSED) == "send"
    held = decision(RetryRules(only_creates=True), State.REFUSED, before=State.DELIVERED)
    assert held == Keep(changed="held")


def test_a_retry_that_was_cut_off_is_taken_up() -> None:
    assert kind(RetryRules(), State.SENDING, before=State.REFUSED) == "doubt"
    assert kind(RetryRules(), State.SENDING, before=State.FAILED) == "doubt"
    assert kind(RetryRules(), State.SENDING) == "ignore"


@pytest.mark.parametrize("state", [None, *State])
def test_sending_the_missing_again(state: State | None) -> None:
    assert kind(ResendRules(), state) == ("doubt" if state is State.MISSING else "ignore")
    assert kind(ResendRules(), state, MINE, OTHER) == "ignore"
    # An earlier resend was cut off.
    assert (kind(ResendRules(), state, before=State.MISSING) == "doubt") is (
        state in (State.MISSING, State.SENDING)
    )


@pytest.mark.parametrize("run_no", [MINE, EARLIER])
def test_a_missing_sale_is_sent_for_the_run_that_has_its_record(run_no: int) -> None:
    sent = decision(ResendRules(), State.MISSING, run_no)
    assert isinstance(sent, Send)
    assert sent.for_its_run


@pytest.mark.parametrize("state", [None, *State])
def test_voiding(state: State | None) -> None:
    there = {State.DELIVERED, State.CONFIRMED, State.MISSING, State.DIFFERING}
    perhaps = {State.SENDING, State.VOIDING, State.IN_DOUBT}
    assert kind(VoidRules(), state) == ("send" if state in there | perhaps else "ignore")
    assert kind(VoidRules(), state, EARLIER) == "ignore"
    assert kind(VoidRules(only={"another": None}), state) == "ignore"
    only = VoidRules(only={TRANSACTION.external_id: None})
    assert kind(only, state) == kind(VoidRules(), state)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("before", [None, State.DELIVERED, State.VOIDED])
def test_what_omneo_has_that_is_not_void(state: State, before: State | None) -> None:
    there = {State.DELIVERED, State.CONFIRMED, State.MISSING, State.DIFFERING}
    perhaps = {State.SENDING, State.VOIDING, State.IN_DOUBT}
    # Beside what Omneo accepted, `VOIDED` says that the source made it void.
    expected = state in perhaps or (state in there and before is not State.VOIDED)
    expected = expected or (before is State.DELIVERED and state is not State.VOIDED)
    assert is_in_omneo(Record("a", SAME, state, MINE, before=before)) is expected


@pytest.mark.parametrize("state", [State.PENDING, State.REFUSED, State.FAILED])
def test_what_was_perhaps_taken_is_voided_too(state: State) -> None:
    assert kind(VoidRules(), state, maybe_sent=True) == "send"
    assert kind(VoidRules(), state, before=State.CONFIRMED) == "send"  # the version before is there


def test_a_void_reaches_what_a_later_run_could_not_replace() -> None:
    sent = decision(VoidRules(), State.REFUSED, LATER, OTHER, place=State.DELIVERED)
    assert isinstance(sent, Send)
    assert sent.hash == SAME  # what is undone is this run's version, not the later one
    assert kind(VoidRules(), State.DELIVERED, LATER, OTHER, place=State.DELIVERED) == "ignore"


def test_a_void_is_the_staged_body_with_the_flag_as_its_last_key() -> None:
    sent = decision(VoidRules(), State.DELIVERED)
    assert isinstance(sent, Send)
    assert sent.body == TRANSACTION.body[:-1] + b',"is_void":true}'
    assert sent.hash == SAME


def test_what_was_undone_stays_so_until_it_changes() -> None:
    assert kind(LoadRules(), State.VOIDED) == "as it is"
    assert decision(LoadRules(), State.VOIDED, EARLIER) == Keep(Passed.UNDONE, "voided")
    again = decision(LoadRules(), State.VOIDED, EARLIER, OTHER)
    assert isinstance(again, Send)
    assert json.loads(again.body)["is_void"] is False
    for run_no in (MINE, EARLIER):
        revived = decision(LoadRules(revive=True), State.VOIDED, run_no)
        assert isinstance(revived, Send)
        assert (json.loads(revived.body)["is_void"], revived.hash) == (False, SAME)


def test_a_voided_record_of_an_older_version_is_known_by_the_hash_of_its_void() -> None:
    old_form = content_hash(with_void(TRANSACTION.body, void=True))
    assert decision(LoadRules(), State.VOIDED, EARLIER, old_form) == Keep(Passed.UNDONE, "voided")


@pytest.mark.parametrize("state", [State.SENDING, State.IN_DOUBT, State.REFUSED, State.FAILED])
def test_what_may_be_void_is_sent_as_not_void(state: State) -> None:
    sent = decision(LoadRules(), state, EARLIER, OTHER, before=State.VOIDED)
    assert isinstance(sent, Send)
    assert json.loads(sent.body)["is_void"] is False


@pytest.mark.parametrize("rules", [LoadRules(revive=True), RetryRules()])
def test_the_staged_body_is_sent_but_where_that_would_leave_it_void(rules: DeliveryRules) -> None:
    plain = decision(rules, State.IN_DOUBT, EARLIER, place=State.FAILED)
    assert isinstance(plain, Send)
    assert (plain.body, plain.may_turn) == (TRANSACTION.body, False)
    turned = decision(rules, State.IN_DOUBT, EARLIER, before=State.VOIDED, place=State.FAILED)
    assert isinstance(turned, Send)
    assert (turned.body, turned.may_turn) == (with_void(TRANSACTION.body, void=False), True)
    void = TRANSACTION._replace(body=with_void(TRANSACTION.body, void=True))
    record = Record(TRANSACTION.external_id, OTHER, State.IN_DOUBT, MINE, before=State.VOIDED)
    sent = rules.decide(Candidate(7, void, record, PROGRESS))
    assert isinstance(sent, Send)
    assert (sent.body, sent.may_turn) == (void.body, False)


@pytest.mark.parametrize(
    ("state", "content", "known", "other"),
    [
        (State.SENDING, SAME, {}, False),  # never sent before the request in doubt
        (State.SENDING, SAME, {"attempts": 1}, True),  # an update was cut off
        (State.SENDING, SAME, {"before": State.DELIVERED}, True),
        (State.IN_DOUBT, SAME, {"attempts": 1}, False),
        (State.IN_DOUBT, OTHER, {}, True),  # an earlier night's version was cut off
    ],
)
def test_where_omneo_may_have_an_earlier_version_finding_it_proves_nothing(
    state: State, content: bytes, known: dict[str, object], other: bool
) -> None:
    doubt = decision(LoadRules(), state, EARLIER, content, **known)
    assert isinstance(doubt, Send)
    assert doubt.may_have_other is other


@pytest.mark.parametrize(
    ("state", "content", "before", "may_have_other", "updates"),
    [
        (State.FAILED, OTHER, None, False, False),
        (State.FAILED, OTHER, State.FAILED, False, False),
        (State.FAILED, OTHER, State.DELIVERED, True, True),
        (State.DELIVERED, OTHER, None, True, True),
        (State.VOIDED, OTHER, None, True, True),
        (State.VOIDED, SAME, None, True, False),  # its items are the same
    ],
)
def test_items_are_replaced_only_where_omneo_has_other_ones(
    state: State, content: bytes, before: State | None, may_have_other: bool, updates: bool
) -> None:
    sent = decision(LoadRules(revive=True), state, EARLIER, content, before=before)
    assert isinstance(sent, Send)
    assert (sent.may_have_other, sent.updates) == (may_have_other, updates)


@pytest.mark.parametrize("rules", [LoadRules(), RetryRules(), ResendRules(), VoidRules()])
@pytest.mark.parametrize("state", [None, *State])
def test_nothing_is_sent_of_a_body_that_was_removed(rules: DeliveryRules, state: State | None) -> None:
    record = state and Record(TRANSACTION.external_id, SAME, state, MINE)
    decided = rules.decide(Candidate(7, TRANSACTION._replace(body=b""), record, PROGRESS))
    assert not isinstance(decided, Send)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("before", [None, State.FAILED, State.DELIVERED])
@pytest.mark.parametrize("maybe_sent", [False, True])
def test_a_sale_whose_customer_was_forgotten_is_forgotten_where_omneo_surely_does_not_have_it(
    state: State, before: State | None, maybe_sent: bool
) -> None:
    unsent = {State.PENDING, State.REFUSED, State.FAILED, State.FORGOTTEN}
    expected: Decision = QueryOnly(b"")
    if state in unsent and not maybe_sent and before is not State.DELIVERED:
        expected = Keep(State.FORGOTTEN)
    elif state in ACCEPTED_BY_OMNEO or state is State.FORGOTTEN:
        expected = Keep()
    record = Record(TRANSACTION.external_id, SAME, state, MINE, before=before, maybe_sent=maybe_sent)
    gone = TRANSACTION._replace(body=b"")
    assert LoadRules().decide(Candidate(7, gone, record, PROGRESS)) == expected
    others = record._replace(run_no=EARLIER)
    assert LoadRules().decide(Candidate(7, gone, others, PROGRESS)) == Keep(State.FORGOTTEN)


def test_a_sale_whose_customer_was_forgotten_can_be_voided() -> None:
    left = TRANSACTION._replace(body=b"", remains=b'{"external_id":"T000001","total":1.01}')
    sent = VoidRules().decide(Candidate(7, left, Record("T000001", SAME, State.DELIVERED, MINE), PROGRESS))
    assert isinstance(sent, Send)
    assert json.loads(sent.body) == {"external_id": "T000001", "total": 1.01, "is_void": True}


def test_options_are_checked() -> None:
    assert DeliveryOptions(endpoint="batch").endpoint.batched  # type: ignore[arg-type]
    for wrong in ({"batch_size": 0}, {"batch_size": 501}, {"concurrency": 0}, {"rate_per_min": 0}):
        with pytest.raises(SettingsError):
            DeliveryOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="did you mean 'queue-create'"):
        endpoint_named("queue_create")
