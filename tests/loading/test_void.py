from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import SettingsError
from pipeline.core.events import Event, StageFinished, StageStarted
from pipeline.loading.confirm.confirm_run import confirm
from pipeline.loading.delivery.added_keys import is_void, with_void
from pipeline.loading.delivery.decisions import (
    DeliveryRules,
    LoadRules,
    ResendRules,
    RetryRules,
    VoidRules,
)
from pipeline.loading.delivery.delivery_options import DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.loading.ledger.entries import Record, RunRef, State
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.tenant import CONNECTION, QUICK, Tenant, batches_of, load, made, run_of, void

SOME = [made(n) for n in range(30)]
RUN = run_of("r1", SOME)


def undo(ledger: SqlLedger, tenant: Tenant, **how: Any) -> DeliveryResult:
    return void(RUN, batches_of(SOME), CONNECTION, ledger, transport=tenant.transport, **how)


def test_every_delivered_transaction_is_sent_again_as_void(any_ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(any_ledger, RUN, SOME, tenant)
    undo(any_ledger, tenant)
    assert all(each["is_void"] is True for each in tenant.there.values())
    assert {name: {**each, "is_void": None} for name, each in tenant.there.items()} == {
        each.external_id: {**json.loads(each.body), "is_void": None} for each in SOME
    }
    status = any_ledger.status("r1")
    assert (status.voided, status.delivered, status.pending) == (30, 0, 0)


def test_its_progress_is_that_of_what_is_voided(ledger: SqlLedger) -> None:
    tenant, events = Tenant(), list[Event]()
    load(ledger, RUN, SOME[:12], tenant)
    undo(ledger, tenant, emit=events.append)
    assert events[0] == StageStarted("void", "transactions", 12)
    (finished,) = (event for event in events if isinstance(event, StageFinished))
    assert (finished.stage, finished.done) == ("void", 12)


def test_only_some_are_voided(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    some = {each.external_id: None for each in SOME[3:5]}
    deliver(RUN, batches_of(SOME), CONNECTION, ledger, rules=VoidRules(only=some), transport=tenant.transport)
    assert {name for name, each in tenant.there.items() if each.get("is_void")} == {*some}


def test_voiding_twice_sends_nothing(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    undo(ledger, tenant)
    before = len(tenant.requests)
    undo(ledger, tenant)
    assert len(tenant.requests) == before


def test_what_was_never_delivered_is_left_alone(ledger: SqlLedger) -> None:
    tenant = Tenant()
    stop = Stop()
    tenant.interfere = lambda *_: None if stop.requested else stop.request()
    load(ledger, RUN, SOME, tenant, stop=stop)
    sent = set(tenant.there)
    tenant.interfere = lambda *_: None
    undo(ledger, tenant)
    assert set(tenant.there) == sent


def test_a_stopped_void_goes_on(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    stop = Stop()
    tenant.interfere = lambda *_: stop.request() if len(tenant.requests) > 40 else None
    undo(ledger, tenant, stop=stop)
    voided = ledger.status("r1").voided
    assert 0 < voided < 30
    tenant.interfere = lambda *_: None
    undo(ledger, tenant)
    assert ledger.status("r1").voided == 30
    assert max(tenant.posts.values()) == 2


def test_what_a_later_run_updated_is_left_alone(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    newer = [made(n, tender="cash") for n in range(5)]
    load(ledger, run_of("r2", newer, day=2), newer, tenant)
    undo(ledger, tenant)
    assert not any("is_void" in tenant.there[each.external_id] for each in newer)
    assert sum(each.get("is_void") is True for each in tenant.there.values()) == 25


REVIVE = DeliveryOptions(revive=True)


def voids(tenant: Tenant) -> int:
    return sum(each.get("is_void") is True for each in tenant.there.values())


def test_the_next_night_leaves_void_what_was_undone(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    undo(ledger, tenant)
    fixed = [made(n, tender="cash") if n < 5 else made(n) for n in range(40)]
    result = load(ledger, run_of("r2", fixed, day=2), fixed, tenant)
    assert (result.status.delivered, result.status.voided, result.changes.voided) == (15, 25, 25)
    assert result.status.unchanged == 0
    assert voids(tenant) == 25
    assert tenant.there["T000004"]["is_void"] is False
    assert load(ledger, run_of("r3", fixed, day=3), fixed, tenant).changes.voided == 25


@pytest.mark.parametrize("run", [RUN, run_of("r2", SOME, day=2)])
def test_what_was_undone_can_be_brought_back(any_ledger: SqlLedger, run: RunRef) -> None:
    tenant = Tenant()
    load(any_ledger, RUN, SOME, tenant)
    undo(any_ledger, tenant)
    result = load(any_ledger, run, SOME, tenant, REVIVE)
    assert (result.status.delivered, result.status.pending, voids(tenant)) == (30, 0, 0)
    sent = len(tenant.requests)
    assert load(any_ledger, run_of("r3", SOME, day=3), SOME, tenant).status.unchanged == 30
    load(any_ledger, run, SOME, tenant, REVIVE)
    assert len(tenant.requests) == sent


def in_doubt(ledger: SqlLedger, names: list[str]) -> None:
    """As a crash leaves them: the request is out, nothing is known."""
    ledger.record([row._replace(state=State.SENDING) for row in ledger.find(names).values()])


def test_a_void_that_crashed_and_was_stopped_again_is_not_forgotten(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    undo(ledger, tenant)
    for each in tenant.there.values():
        each["is_void"] = False
    in_doubt(ledger, [each.external_id for each in SOME])
    stop = Stop()
    tenant.interfere = lambda *_: stop.request()
    undo(ledger, tenant, stop=stop, options=DeliveryOptions(concurrency=1))
    assert voids(tenant) < 30
    tenant.interfere = lambda *_: None
    undo(ledger, tenant)
    assert voids(tenant) == ledger.status("r1").voided == 30


def test_what_was_perhaps_taken_is_voided_too(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    in_doubt(ledger, ["T000003", "T000029"])
    undo(ledger, tenant)
    assert voids(tenant) == 30


def test_a_void_that_is_refused_leaves_the_delivery_as_it_was(ledger: SqlLedger) -> None:
    import httpx

    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    tenant.interfere = lambda _, body: httpx.Response(422) if body["external_id"] == "T000001" else None
    result = undo(ledger, tenant)
    assert result.failed == 1
    row = ledger.find(["T000001"])["T000001"]
    assert (row.state, row.status) == (State.DELIVERED, 422)
    assert ledger.status("r1").voided == 29


def test_an_endpoint_that_only_creates_cannot_void(ledger: SqlLedger) -> None:
    with pytest.raises(SettingsError, match="cannot void"):
        undo(ledger, Tenant(), options=DeliveryOptions(endpoint=ENDPOINTS["queue-create"]))


@pytest.mark.slow
@given(
    st.dictionaries(
        st.text(max_size=8) | st.just("is_void"), st.none() | st.booleans() | st.text(max_size=20), max_size=5
    ),
    st.booleans(),
)
def test_only_the_flag_changes(body: dict[str, object], void: bool) -> None:
    changed = with_void(json.dumps(body).encode(), void=void)
    assert json.loads(changed) == {**body, "is_void": void}
    assert is_void(changed) is void


def test_amounts_keep_their_bytes() -> None:
    assert (
        with_void(b'{"total": 12.50, "items": []}', void=True)
        == b'{"total": 12.50, "items": [],"is_void":true}'
    )


def test_a_void_that_is_late_stays_in_doubt(ledger: SqlLedger) -> None:
    """Neither a look-up that shows the sale as it was nor a no to another void says that it will not come."""
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    options = DeliveryOptions(policy=QUICK, concurrency=8, give_up_after_s=0.05)
    tenant.interfere = lambda request, _: httpx.Response(500) if request.method == "POST" else None
    undo(ledger, tenant, options=options)
    names = [each.external_id for each in SOME]
    begun = {name for name, each in ledger.find(names).items() if each.state is State.VOIDING}
    tenant.interfere = lambda *_: None
    confirm(RUN, batches_of(SOME), CONNECTION, ledger, options, transport=tenant.transport, patience_s=0)
    seen = ledger.find(names)
    assert {each.state for each in seen.values()} == {State.CONFIRMED}
    doubtful = {name for name, each in seen.items() if each.maybe_sent}
    assert doubtful
    assert begun <= doubtful
    tenant.interfere = lambda request, _: (
        httpx.Response(422, json={"message": "Invalid."}) if request.method == "POST" else None
    )
    undo(ledger, tenant, options=options)
    assert {name for name, each in ledger.find(names).items() if each.maybe_sent} == doubtful


def test_a_void_that_was_cut_off_is_undone_by_whatever_is_sent_next(ledger: SqlLedger) -> None:
    """A refused revival does not make it unknown that Omneo may have the sale as void."""
    tenant = Tenant()
    some = SOME[:4]
    load(ledger, RUN, some, tenant)
    options = DeliveryOptions(policy=QUICK, concurrency=8, give_up_after_s=0.05)
    lost = httpx.Response(500)
    tenant.after = lambda request, _: lost if request.method == "POST" else None
    looked_up = tenant.interfere
    tenant.interfere = lambda request, _: lost if request.method == "GET" else None
    void(RUN, batches_of(some), CONNECTION, ledger, options, transport=tenant.transport)
    tenant.after = lambda *_: None
    tenant.interfere = lambda request, _: (
        httpx.Response(422, json={"message": "Invalid."}) if request.method == "POST" else None
    )
    revive = DeliveryOptions(policy=QUICK, concurrency=8, revive=True)
    load(ledger, RUN, some, tenant, revive)
    assert ledger.status("r1").refused == 4
    tenant.interfere = looked_up
    load(ledger, RUN, some, tenant, rules=RetryRules())
    assert ledger.status("r1").delivered == 4
    assert not any(each["is_void"] for each in tenant.there.values())


def test_an_update_after_a_void_that_may_be_late_says_that_it_is_not_void(ledger: SqlLedger) -> None:
    tenant = Tenant()
    some = SOME[:4]
    load(ledger, RUN, some, tenant)
    options = DeliveryOptions(policy=QUICK, concurrency=8, give_up_after_s=0.05)
    tenant.interfere = lambda request, _: httpx.Response(500) if request.method == "POST" else None
    void(RUN, batches_of(some), CONNECTION, ledger, options, transport=tenant.transport)
    tenant.interfere = lambda *_: None
    confirm(RUN, batches_of(some), CONNECTION, ledger, options, transport=tenant.transport, patience_s=0)
    tenant.there = {name: {**each, "is_void": True} for name, each in tenant.there.items()}  # now it comes
    changed = [made(n, department="outlet") for n in range(4)]
    load(ledger, run_of("r2", changed, day=2), changed, tenant)
    assert ledger.status("r2").delivered == 4
    assert not any(each["is_void"] for each in tenant.there.values())


@dataclass
class LateVoids:
    """A tenant whose queue takes voids at once and works them off later."""

    tenant: Tenant = field(default_factory=Tenant)
    late: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tenant.interfere = self.take

    def take(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response | None:
        if request.method != "POST":
            return None
        if not body.get("is_void"):
            self.late = [each for each in self.late if each["external_id"] != body["external_id"]]
            return None
        self.late.append(body)
        return httpx.Response(200, json={"data": "OK"})

    def work(self) -> None:
        for body in self.late:
            self.tenant.there[body["external_id"]] |= body


def begun(ledger: SqlLedger, state: State, **known: Any) -> None:
    """As a command leaves all that is killed with its requests on their way."""
    names = [each.external_id for each in SOME]
    ledger.record([row._replace(state=state, **known) for row in ledger.find(names).values()])


@pytest.mark.parametrize("before", [None, State.DELIVERED])
def test_a_void_that_was_cut_off_and_is_late_may_come_after_a_look_up(
    ledger: SqlLedger, before: State | None
) -> None:
    """Of a load that was killed before its answers came, or of what was delivered."""
    omneo = LateVoids()
    load(ledger, RUN, SOME, omneo.tenant)
    undo(ledger, omneo.tenant)
    begun(ledger, State.VOIDING, before=before)
    load(ledger, RUN, SOME, omneo.tenant)
    assert {(each.state, each.maybe_sent) for each in records(ledger)} == {(State.DELIVERED, True)}
    omneo.work()
    changed = [made(n, tender="cash") for n in range(30)]
    load(ledger, run_of("r2", changed, day=2), changed, omneo.tenant)
    assert voids(omneo.tenant) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "known"),
    [
        (State.SENDING, {"before": State.VOIDED}),  # a revival was cut off before it left
        (State.SENDING, {"before": State.VOIDING, "maybe_sent": True}),
        (State.MISSING, {"maybe_sent": True}),
        (State.FAILED, {"before": State.VOIDED, "maybe_sent": True}),
    ],
)
@pytest.mark.parametrize("rules", [LoadRules(), RetryRules(), ResendRules()])
def test_that_a_sale_is_not_void_yet_proves_nothing_where_its_void_may_be_late(
    ledger: SqlLedger, rules: DeliveryRules, state: State, known: dict[str, Any]
) -> None:
    omneo = LateVoids()
    load(ledger, RUN, SOME, omneo.tenant)
    undo(ledger, omneo.tenant)
    begun(ledger, state, **known)
    if isinstance(rules, LoadRules):
        ledger.reopen(RUN)
    load(ledger, RUN, SOME, omneo.tenant, rules=rules)
    omneo.work()
    for each in records(ledger):
        assert each.state is not State.DELIVERED or not omneo.tenant.there[each.external_id].get("is_void")
    if sends(rules, state):
        assert ledger.status("r1").delivered == 30
        assert voids(omneo.tenant) == 0


def sends(rules: DeliveryRules, state: State) -> bool:
    """Whether the command sends what is in this state."""
    sent_by = {LoadRules: (State.SENDING,), RetryRules: (State.FAILED,), ResendRules: (State.MISSING,)}
    return state in sent_by[type(rules)]


def test_that_a_sale_is_void_already_proves_nothing_where_its_revival_may_be_late(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    undo(ledger, tenant)
    begun(ledger, State.SENDING, before=State.VOIDED)
    tenant.interfere = lambda request, _: httpx.Response(200, json={}) if request.method == "POST" else None
    undo(ledger, tenant, options=DeliveryOptions(policy=QUICK))
    assert ledger.status("r1").in_doubt == 30
    assert {each.state for each in records(ledger)} == {State.VOIDING}


def records(ledger: SqlLedger) -> list[Record]:
    return list(ledger.find([each.external_id for each in SOME]).values())


@pytest.mark.slow
def test_a_void_that_is_not_taken_leaves_the_counts_of_both_runs_as_they_were(ledger: SqlLedger) -> None:
    """Of a sale whose newer version was refused, so that Omneo still has the older run's."""
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    changed = [made(n, tender="cash") for n in range(30)]
    tenant.interfere = lambda request, _: httpx.Response(422) if request.method == "POST" else None
    options = DeliveryOptions(policy=QUICK, max_refused="off")
    load(ledger, run_of("r2", changed, day=2), changed, tenant, options)
    assert (ledger.status("r1").delivered, ledger.status("r2").refused) == (30, 30)
    undo(ledger, tenant, options=options)
    assert (ledger.status("r1").delivered, ledger.status("r2").refused) == (30, 30)


def test_what_was_refused_counts_so_after_the_version_before_it_was_undone(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    changed = [made(n, tender="cash") for n in range(30)]
    newer = run_of("r2", changed, day=2)
    tenant.interfere = lambda request, _: httpx.Response(422) if request.method == "POST" else None
    load(ledger, newer, changed, tenant, DeliveryOptions(policy=QUICK, max_refused="off"))
    tenant.interfere = lambda *_: None
    undo(ledger, tenant)
    assert (ledger.status("r1").voided, ledger.status("r2").refused) == (30, 30)
    assert load(ledger, newer, changed, tenant, rules=RetryRules()).status.delivered == 30
    assert voids(tenant) == 0
    assert load(ledger, newer, changed, tenant, rules=RetryRules()).handled == 0


def test_an_endpoint_that_only_creates_revives_nothing(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    undo(ledger, tenant)
    options = DeliveryOptions(endpoint=ENDPOINTS["queue-create"], revive=True)
    with pytest.raises(SettingsError, match="a second time"):
        load(ledger, RUN, SOME, tenant, options)
    assert voids(tenant) == 30
