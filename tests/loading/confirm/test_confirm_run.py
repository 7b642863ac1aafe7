from __future__ import annotations

import httpx
import pytest

from pipeline.core.clock import FakeClock
from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Notice
from pipeline.core.model import StagedTransaction
from pipeline.core.settings import Connection, Secret
from pipeline.loading.confirm.confirm_run import confirm
from pipeline.loading.confirm.confirmation import Confirmation
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.endpoints import endpoint_named
from pipeline.loading.ledger.entries import RunRef, State
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.tenant import (
    CONNECTION,
    QUICK,
    Tenant,
    batches_of,
    confirm_and_resend,
    load,
    made,
    run_of,
    void,
)

SOME = [made(n) for n in range(100)]
RUN = run_of("r1", SOME)


def look(
    ledger: SqlLedger,
    tenant: Tenant,
    some: list[StagedTransaction] = SOME,
    run: RunRef = RUN,
    **how: object,
) -> Confirmation:
    options = DeliveryOptions(policy=QUICK, concurrency=8)
    given = {"patience_s": 0.0, **how}
    return confirm(run, batches_of(some), CONNECTION, ledger, options, transport=tenant.transport, **given)  # type: ignore[arg-type]


def look_and_resend(
    ledger: SqlLedger,
    tenant: Tenant,
    run: RunRef = RUN,
    options: DeliveryOptions | None = None,
    **how: object,
) -> tuple[Confirmation, int]:
    options = options or DeliveryOptions(policy=QUICK, concurrency=8)
    given = (run, batches_of(SOME), CONNECTION, ledger, options)
    return confirm_and_resend(*given, transport=tenant.transport, **how)


@pytest.fixture
def delivered(any_ledger: SqlLedger) -> tuple[SqlLedger, Tenant]:
    tenant = Tenant()
    load(any_ledger, RUN, SOME, tenant)
    return any_ledger, tenant


def test_all_that_is_there_is_confirmed(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    found = look(ledger, tenant)
    assert (found.expected, found.confirmed, found.missing, found.differing) == (100, 100, 0, 0)
    assert found.findings == []
    assert found.wrong.low == found.wrong.high == 0
    assert ledger.status("r1").confirmed == ledger.status("r1").delivered == 100


def test_the_missing_and_the_differing_are_named(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    del tenant.there["T000003"]
    tenant.there["T000004"]["total"] = 0.01
    tenant.there["T000005"]["items"] = []
    tenant.there["T000006"]["is_void"] = True
    tenant.there["T000007"]["profile_id"] = None
    found = look(ledger, tenant)
    seen = {each.external_id: (each.state, each.about) for each in found.findings}
    assert seen == {
        "T000003": (State.MISSING, ()),
        "T000004": (State.DIFFERING, ("total",)),
        "T000005": (State.DIFFERING, ("items",)),
        "T000006": (State.DIFFERING, ("is_void",)),
        "T000007": (State.DIFFERING, ("profile_id",)),
    }
    status = ledger.status("r1")
    assert (status.confirmed, status.missing, status.differing, status.delivered) == (95, 1, 4, 100)


def test_the_missing_are_sent_again(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    del tenant.there["T000003"]
    _, resent = look_and_resend(ledger, tenant)
    assert resent == 1
    assert tenant.posts["T000003"] == 2
    assert sum(tenant.posts.values()) == 101
    assert look(ledger, tenant).missing == 0


def test_the_missing_are_not_sent_again_where_that_could_make_a_copy(
    delivered: tuple[SqlLedger, Tenant],
) -> None:
    ledger, tenant = delivered
    del tenant.there["T000003"]
    events: list[object] = []
    options = DeliveryOptions(endpoint=endpoint_named("queue-create"))
    found, resent = look_and_resend(ledger, tenant, options=options, emit=events.append)
    assert (found.missing, resent, tenant.posts["T000003"]) == (1, 0, 1)
    assert any(isinstance(each, Notice) and each.code == "not_resent" for each in events)


def test_what_appears_later_is_waited_for(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    late = tenant.there.pop("T000003")
    clock = FakeClock()

    def arrive(*_: object) -> None:
        if clock.now > 5:
            tenant.there["T000003"] = late

    tenant.interfere = arrive
    # The ledger's thread is nothing the clock knows of, so only waiting between passes is faked.
    found = look(ledger, tenant, patience_s=20, clock=clock)
    assert (found.confirmed, found.missing) == (100, 0)
    assert clock.now < 20


def test_a_sample_states_its_confidence(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    before = len(tenant.requests)
    found = look(ledger, tenant, sample=0.3, seed=4)
    assert 15 < found.queried < 45
    # One asks for the list, which this tenant does not have.
    assert len(tenant.requests) - before == found.queried + 1
    assert found.expected == 100
    assert found.wrong.low == 0
    assert 0 < found.wrong.high < 0.25


def test_what_a_later_run_changed_is_that_runs_to_confirm(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    newer = [made(n, tender="cash") for n in range(10)] + [made(n) for n in range(10, 20)]
    run = run_of("r2", newer, day=2)
    load(ledger, run, newer, tenant)
    assert look(ledger, tenant).expected == 90
    # The unchanged ones belong to both.
    assert look(ledger, tenant, newer, run).confirmed == 20


def test_what_was_refused_is_not_looked_for(ledger: SqlLedger) -> None:
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    row = ledger.find(["T000001"])["T000001"]
    ledger.record([row._replace(state=State.REFUSED)])
    assert look(ledger, tenant).expected == 99


def test_voided_ones_are_expected_to_be_void(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    void(RUN, batches_of(SOME), CONNECTION, ledger, transport=tenant.transport)
    found = look(ledger, tenant)
    assert (found.confirmed, found.differing) == (100, 0)
    assert ledger.status("r1").voided == 100


def test_a_ledger_of_another_tenant_is_not_asked(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    with (
        SqlLedger(ledger.where, "https://api.other.test") as other,
        pytest.raises(ValueError, match="is used for"),
    ):
        look(other, tenant)


def test_what_is_missing_is_looked_for_no_longer_than_half_a_minute(
    delivered: tuple[SqlLedger, Tenant],
) -> None:
    ledger, tenant = delivered
    del tenant.there[SOME[0].external_id]
    clock = FakeClock()
    found = confirm(RUN, batches_of(SOME), CONNECTION, ledger, transport=tenant.transport, clock=clock)
    assert (found.confirmed, found.missing) == (99, 1)
    assert 15 < clock.now <= 30


def test_a_refused_token_stops_it(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    wrong = Connection(CONNECTION.base_url, Secret("wrong"))
    found = confirm(RUN, batches_of(SOME), wrong, ledger, transport=tenant.transport)
    assert isinstance(found.error, StoppedByApi)
    assert "refused the token" in found.error.message
    assert found.queried == 0
    assert found.requests.sent > 0


def test_a_stop_waits_for_no_outage(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    stop = Stop()

    def away(*_: object) -> httpx.Response | None:
        if len(tenant.requests) < 150:
            return None
        stop.request()
        return httpx.Response(503, headers={"retry-after": "500"})

    tenant.interfere = away
    found = look(ledger, tenant, stop=stop)
    assert found.stopped
    assert found.missing == 0


def test_one_look_is_not_enough_to_call_it_missing(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    tenant.there.clear()
    stop = Stop()
    tenant.interfere = lambda *_: stop.request() if len(tenant.requests) == 150 else None
    assert look(ledger, tenant, stop=stop, patience_s=60.0).missing == 0


def test_another_transaction_is_not_the_one_that_was_asked_for(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    tenant.there["T000007"]["external_id"] = "t000007"
    assert [(each.external_id, each.state) for each in look(ledger, tenant).findings] == [
        ("T000007", State.MISSING)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("items", [None, "none", {"data": []}, [1, "two"], 5])
def test_odd_items_differ(delivered: tuple[SqlLedger, Tenant], items: object) -> None:
    ledger, tenant = delivered
    tenant.there["T000007"]["items"] = items
    assert [each.about for each in look(ledger, tenant).findings] == [("items",)]


@pytest.mark.slow
def test_a_repeat_that_was_cut_off_is_looked_for_and_sent_again(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    del tenant.there["T000007"]
    rows = ledger.find(["T000007", "T000008"]).values()
    ledger.record([row._replace(state=State.SENDING, before=State.MISSING) for row in rows])
    found, _ = look_and_resend(ledger, tenant)
    assert (found.confirmed, found.missing) == (99, 1)
    assert look(ledger, tenant).confirmed == ledger.status("r1").confirmed == 100


def test_it_can_be_stopped(delivered: tuple[SqlLedger, Tenant]) -> None:
    ledger, tenant = delivered
    stop = Stop()
    tenant.interfere = lambda *_: stop.request()
    found = look(ledger, tenant, stop=stop)
    assert found.stopped
    assert 0 < found.queried < 100


@pytest.mark.slow
def test_an_update_in_doubt_is_not_confirmed_by_the_version_before(ledger: SqlLedger) -> None:
    """Where total and items are the same in both, the other fields tell them apart."""
    tenant = Tenant()
    load(ledger, RUN, SOME, tenant)
    changed = [made(n, department="outlet") for n in range(100)]
    second = run_of("r2", changed, day=2)
    second_no = ledger.open_run(second).run_no
    tenant.interfere = lambda request, _: httpx.Response(500) if request.method == "POST" else None
    options = DeliveryOptions(policy=QUICK, concurrency=8, give_up_after_s=0.05)
    load(ledger, second, changed, tenant, options)
    tenant.interfere = lambda *_: None
    names = [each.external_id for each in changed]
    doubtful = {name for name, each in ledger.find(names).items() if each.run_no == second_no}
    tenant.there[min(doubtful)]["department"] = "outlet"
    found = look(ledger, tenant, changed, second)
    assert doubtful
    assert {each.external_id for each in found.findings} == doubtful - {min(doubtful)}
    assert {each.state for each in found.findings} == {State.IN_DOUBT}
    assert {name for name, each in ledger.find(names).items() if each.state is State.CONFIRMED} == {
        min(doubtful)
    }


def test_what_is_missing_is_sent_again_for_the_run_that_delivered_it(
    delivered: tuple[SqlLedger, Tenant],
) -> None:
    """Whichever run asks: one that passed it by as unchanged counts on it too, and still does."""
    ledger, tenant = delivered
    again = run_of("r2", SOME, day=2)
    load(ledger, again, SOME, tenant)
    del tenant.there["T000003"]
    tenant.interfere = lambda request, _: httpx.Response(422) if request.method == "POST" else None
    assert look_and_resend(ledger, tenant, again)[0].missing == 1
    assert (ledger.status("r1").missing, ledger.status("r2").unchanged) == (1, 100)
    tenant.interfere = lambda *_: None
    look_and_resend(ledger, tenant, again)
    assert "T000003" in tenant.there
    assert (ledger.status("r1").delivered, ledger.status("r2").unchanged) == (100, 100)
    assert look(ledger, tenant).confirmed == 100


def test_a_repeat_that_another_run_asked_for_and_was_cut_off_is_taken_up(
    delivered: tuple[SqlLedger, Tenant],
) -> None:
    ledger, tenant = delivered
    again = run_of("r2", SOME, day=2)
    load(ledger, again, SOME, tenant)
    del tenant.there["T000003"]
    row = ledger.find(["T000003"])["T000003"]
    ledger.record([row._replace(state=State.SENDING, before=State.MISSING)])
    assert look_and_resend(ledger, tenant, again)[0].missing == 1
    assert "T000003" in tenant.there
    assert ledger.status("r1").delivered == 100


def test_a_batch_that_was_taken_proves_nothing_of_what_is_missing(ledger: SqlLedger) -> None:
    tenant = Tenant()
    options = DeliveryOptions(endpoint=endpoint_named("batch"), batch_size=5, policy=QUICK)
    sent = [{"external_id": each.external_id, "status": "success"} for each in SOME]

    def answer(request: httpx.Request, _: object) -> httpx.Response | None:
        if "/batches/" in request.url.path:
            return httpx.Response(200, json={"data": {"status": "success", "items": sent}})
        return None

    tenant.interfere = answer
    tenant.after = lambda *_: httpx.Response(200, json={"message": "ok", "batch_id": "b1"})
    load(ledger, RUN, SOME, tenant, options)
    del tenant.there["T000003"]
    look_and_resend(ledger, tenant, options=options)
    assert "T000003" in tenant.there
    assert ledger.status("r1").delivered == 100
