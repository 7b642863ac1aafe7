from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.core.clock import FakeClock
from pipeline.core.errors import SettingsError, StoppedByApi
from pipeline.core.events import Event, Progress, StageFinished, StageStarted
from pipeline.core.model import StagedTransaction
from pipeline.core.settings import Connection, Secret
from pipeline.loading.delivery.decisions import InDoubtRule, OnChange, RetryRules
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.loading.http.retry_policy import RetryPolicy
from pipeline.loading.ledger.entries import Record, RunStatus, State, content_hash
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.loading_events import Changed, Failed, Refused, Retried
from pipeline.testing import local_omneo
from tests.loading.tenant import CONNECTION, QUICK, Tenant, batches_of, load, made, run_of


def states(ledger: SqlLedger, transactions: list[StagedTransaction]) -> Counter[str]:
    found = ledger.find([each.external_id for each in transactions])
    return Counter(str(row.state) for row in found.values())


@pytest.mark.slow
def test_everything_arrives_once_with_the_exact_bytes_in_order(any_ledger: SqlLedger) -> None:
    some = [made(n) for n in range(300)]
    tenant = Tenant()
    one_at_a_time = DeliveryOptions(concurrency=1)
    result = load(any_ledger, run_of("r1", some), some, tenant, one_at_a_time)
    assert [request.content for request in tenant.requests] == [each.body for each in some]
    assert result.status.delivered == result.handled == 300
    assert result.status.pending == 0
    assert result.error is None
    assert states(any_ledger, some) == {"delivered": 300}


def test_a_second_load_sends_nothing(any_ledger: SqlLedger) -> None:
    some = [made(n) for n in range(50)]
    tenant = Tenant()
    load(any_ledger, run_of("r1", some), some, tenant)
    before = len(tenant.requests)
    again = load(any_ledger, run_of("r1", some), some, tenant)
    assert len(tenant.requests) == before
    assert again.status.delivered == 50


def test_another_run_sends_only_what_is_new_or_changed(ledger: SqlLedger) -> None:
    first = [made(n) for n in range(30)]
    second = [made(n) for n in range(10, 20)] + [made(n, tender="cash") for n in range(20, 40)]
    tenant = Tenant()
    events: list[Event] = []
    load(ledger, run_of("r1", first), first, tenant)
    result = load(ledger, run_of("r2", second, day=2), second, tenant, emit=events.append)
    assert result.status.unchanged == 10
    assert result.status.delivered == 20
    assert result.changes.sent == 10
    assert [e.external_id for e in events if isinstance(e, Changed)] == [f"T{n:06d}" for n in range(20, 30)]
    assert tenant.there["T000025"]["tender"] == "cash"
    assert ledger.status("r1").delivered == 30


def test_changes_can_be_held_and_sent_later(ledger: SqlLedger) -> None:
    first, second = [made(n) for n in range(20)], [made(n, tender="cash") for n in range(5)]
    second += [made(n) for n in range(5, 12)]
    tenant = Tenant()
    load(ledger, run_of("r1", first), first, tenant)
    hold = DeliveryOptions(on_change=OnChange.HOLD)
    held = load(ledger, run_of("r2", second, day=2), second, tenant, hold)
    assert (held.status.held, held.status.pending, held.status.unchanged) == (5, 5, 7)
    assert held.changes.held == 5
    assert "tender" not in tenant.there["T000001"]
    sent = load(ledger, run_of("r2", second, day=2), second, tenant)
    assert (sent.status.held, sent.status.pending) == (0, 0)
    assert (sent.status.delivered, sent.status.unchanged) == (5, 7)
    assert tenant.there["T000001"]["tender"] == "cash"
    assert sum(tenant.posts.values()) == 25


def test_changes_can_be_skipped(ledger: SqlLedger) -> None:
    first, second = [made(n) for n in range(5)], [made(n, tender="cash") for n in range(5)]
    tenant = Tenant()
    load(ledger, run_of("r1", first), first, tenant)
    result = load(
        ledger, run_of("r2", second, day=2), second, tenant, DeliveryOptions(on_change=OnChange.SKIP)
    )
    assert result.status.unchanged == result.changes.skipped == 5
    assert sum(tenant.posts.values()) == 5


def test_an_older_run_never_overwrites_a_newer_one(ledger: SqlLedger) -> None:
    old, new = [made(n) for n in range(5)], [made(n, tender="cash") for n in range(5)]
    tenant = Tenant()
    load(ledger, run_of("new", new, day=2), new, tenant)
    result = load(ledger, run_of("old", old, day=1), old, tenant)
    assert result.changes.superseded == result.status.unchanged == 5
    assert tenant.there["T000000"]["tender"] == "cash"


def test_a_create_only_endpoint_holds_changes(ledger: SqlLedger) -> None:
    first, second = [made(1)], [made(1, tender="cash")]
    tenant = Tenant()
    create = DeliveryOptions(endpoint=ENDPOINTS["queue-create"])
    load(ledger, run_of("r1", first), first, tenant, create)
    result = load(ledger, run_of("r2", second, day=2), second, tenant, create)
    assert result.status.held == 1
    assert sum(tenant.posts.values()) == 1


def refuse(
    *names: str, status: int = 422
) -> Callable[[httpx.Request, dict[str, Any]], httpx.Response | None]:
    def interfere(request: httpx.Request, body: dict[str, Any]) -> httpx.Response | None:
        if request.method == "POST" and body.get("external_id") in names:
            return httpx.Response(status, json={"message": "Invalid.", "errors": {"total": ["Too much."]}})
        return None

    return interfere


def test_a_refusal_is_for_good_and_keeps_the_servers_words(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(20)]
    tenant = Tenant(refuse("T000003", "T000007"))
    events: list[Event] = []
    result = load(ledger, run_of("r1", some), some, tenant, emit=events.append)
    assert (result.status.delivered, result.status.refused) == (18, 2)
    assert result.requests.retried == 0
    row = ledger.find(["T000003"])["T000003"]
    assert (row.state, row.status, row.attempts) == (State.REFUSED, 422, 1)
    assert json.loads(row.message or "") == {"message": "Invalid.", "errors": {"total": ["Too much."]}}
    refused = [e for e in events if isinstance(e, Refused)]
    assert {(e.external_id, e.status, e.about) for e in refused} == {
        ("T000003", 422, ("total",)),
        ("T000007", 422, ("total",)),
    }
    sent = len(tenant.requests)
    assert load(ledger, run_of("r1", some), some, tenant).status.refused == 2
    assert len(tenant.requests) == sent


def test_what_was_refused_is_not_sent_again_by_another_run_unless_it_changed(ledger: SqlLedger) -> None:
    tenant = Tenant(refuse("T000001"))
    first = [made(1)]
    load(ledger, run_of("r1", first), first, tenant)
    assert load(ledger, run_of("r2", first, day=2), first, tenant).status.refused == 1
    assert len(tenant.requests) == 1
    tenant.interfere = lambda *_: None
    fixed = [made(1, tender="cash")]
    assert load(ledger, run_of("r3", fixed, day=3), fixed, tenant).status.delivered == 1


def test_retry_sends_refused_and_failed_again_and_moves_the_counts(any_ledger: SqlLedger) -> None:
    some = [made(n) for n in range(20)]
    tenant = Tenant(refuse("T000003", "T000007"))
    load(any_ledger, run_of("r1", some), some, tenant)
    tenant.interfere = refuse("T000007")
    before = len(tenant.requests)
    result = load(any_ledger, run_of("r1", some), some, tenant, rules=RetryRules())
    assert len(tenant.requests) == before + 2
    assert (result.status.delivered, result.status.refused, result.status.pending) == (19, 1, 0)
    assert any_ledger.find(["T000003"])["T000003"].attempts == 2
    assert load(any_ledger, run_of("r1", some), some, tenant).status == result.status


def test_one_that_always_fails_delays_no_other_and_ends_as_failed(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(200)]
    tenant = Tenant(refuse("T000000", "T000050", status=500))
    events: list[Event] = []
    options = DeliveryOptions(policy=RetryPolicy(4, 0.01, 0.05), concurrency=4)
    result = load(ledger, run_of("r1", some), some, tenant, options, emit=events.append)
    assert (result.status.delivered, result.status.failed) == (198, 2)
    assert result.error is None
    row = ledger.find(["T000000"])["T000000"]
    assert (row.state, row.status, row.attempts) == (State.FAILED, 500, 4)
    assert {e.external_id for e in events if isinstance(e, Failed)} == {"T000000", "T000050"}
    assert len([e for e in events if isinstance(e, Retried)]) == result.requests.retried == 6


def test_the_last_one_failing_alone_is_no_outage(ledger: SqlLedger) -> None:
    # Nobody else gets through after its first failure: only a look-up can tell that the API is up.
    some = [made(1)]
    tenant = Tenant(refuse("T000001", status=500))
    result = load(ledger, run_of("r1", some), some, tenant)
    assert result.error is None
    assert result.status.failed == 1


def test_dropped_answers_are_looked_up_and_not_sent_again(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(100)]
    dropped: set[str] = set()

    def drop(request: httpx.Request, body: dict[str, Any]) -> None:
        if body["external_id"].endswith("0") and body["external_id"] not in dropped:
            dropped.add(body["external_id"])
            raise httpx.ReadError("reset", request=request)

    tenant = Tenant(after=drop)
    result = load(ledger, run_of("r1", some), some, tenant)
    assert result.status.delivered == len(tenant.there) == 100
    assert set(tenant.posts.values()) == {1}


def test_a_create_whose_answer_was_dropped_is_looked_up_first(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(10)]

    def drop(request: httpx.Request, body: dict[str, Any]) -> None:
        if body["external_id"] == "T000004":
            raise httpx.ReadError("reset", request=request)

    tenant = Tenant(after=drop)
    options = DeliveryOptions(endpoint=ENDPOINTS["queue-create"], policy=QUICK)
    result = load(ledger, run_of("r1", some), some, tenant, options)
    assert result.status.delivered == 10
    assert set(tenant.posts.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403, 302, 404])
def test_what_concerns_every_transaction_stops_at_once(ledger: SqlLedger, status: int) -> None:
    some = [made(n) for n in range(300)]
    calls = 0

    def deny(request: httpx.Request, body: dict[str, Any]) -> httpx.Response | None:
        nonlocal calls
        calls += 1
        return httpx.Response(status, headers={"location": "https://evil.test/"}) if calls > 100 else None

    tenant = Tenant(deny)
    result = load(ledger, run_of("r1", some), some, tenant)
    assert result.error is not None
    assert result.error.exit_code == 5
    assert len(tenant.requests) < 100 + 20
    # None of them is in doubt: they were not taken. Only behind a redirect may be something that took them.
    assert states(ledger, some)["sending"] <= (8 if status == 302 else 0)
    assert all(request.url.host == "api.acme.test" for request in tenant.requests)
    tenant.interfere = lambda *_: None
    again = load(ledger, run_of("r1", some), some, tenant)
    assert again.status.delivered == 300
    assert set(tenant.posts.values()) == {1}


def test_an_outage_past_the_limit_stops_and_goes_on_later(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(100)]
    tenant = Tenant(lambda *_: httpx.Response(503) if len(tenant.requests) > 40 else None)
    options = DeliveryOptions(policy=QUICK, give_up_after_s=0.1, concurrency=4)
    result = load(ledger, run_of("r1", some), some, tenant, options)
    assert result.error is not None
    assert result.error.exit_code == 5
    assert "--give-up-after" in str(result.error)
    assert result.status.failed == 0
    assert 30 < result.status.delivered <= 40
    tenant.interfere = lambda *_: None
    assert load(ledger, run_of("r1", some), some, tenant).status.delivered == 100
    assert len(tenant.there) == 100


def test_no_connection_leaves_nothing_in_doubt(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(20)]

    def unreachable(request: httpx.Request, body: dict[str, Any]) -> None:
        raise httpx.ConnectError("refused", request=request)

    options = DeliveryOptions(policy=QUICK, give_up_after_s=0.05)
    result = load(ledger, run_of("r1", some), some, Tenant(unreachable), options)
    assert result.error is not None
    assert states(ledger, some).keys() == {"pending"}


def test_throttling_pauses_and_loses_nothing(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(60)]
    calls = 0

    def throttle(request: httpx.Request, body: dict[str, Any]) -> httpx.Response | None:
        nonlocal calls
        calls += 1
        return httpx.Response(429, headers={"retry-after": "0"}) if calls % 20 == 0 else None

    tenant = Tenant(throttle)
    result = load(ledger, run_of("r1", some), some, tenant)
    assert result.status.delivered == 60
    assert result.requests.throttled >= 3
    assert set(tenant.posts.values()) == {1}


def test_no_more_are_in_flight_than_allowed(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(200)]
    tenant = Tenant(latency_s=0.005)
    load(ledger, run_of("r1", some), some, tenant, DeliveryOptions(concurrency=7))
    assert 4 <= tenant.most_in_flight <= 7


@pytest.mark.slow
def test_a_stop_finishes_what_is_in_flight(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(500)]
    stop = Stop()

    def ask(request: httpx.Request, body: dict[str, Any]) -> None:
        if body["external_id"] == "T000100":
            threading.Thread(target=stop.request).start()

    tenant = Tenant(ask, latency_s=0.01)
    result = load(ledger, run_of("r1", some), some, tenant, stop=stop)
    assert result.stopped
    assert result.error is None
    assert 100 <= len(tenant.requests) < 500
    assert result.status.delivered == len(tenant.requests)
    assert states(ledger, some)["sending"] == 0
    again = load(ledger, run_of("r1", some), some, tenant)
    assert again.status.delivered == 500
    assert set(tenant.posts.values()) == {1}


def test_a_second_stop_ends_at_once_and_leaves_a_doubt(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(50)]
    stop = Stop()

    def ask(request: httpx.Request, body: dict[str, Any]) -> None:
        if body["external_id"] == "T000020":
            tenant.latency_s = 30
            threading.Timer(0.1, stop.request).start()
            threading.Timer(0.2, stop.request).start()

    tenant = Tenant(ask)
    options = DeliveryOptions(grace_s=60, concurrency=4)
    result = load(ledger, run_of("r1", some), some, tenant, options, stop=stop)
    assert result.stopped
    assert result.seconds < 10
    assert 0 < states(ledger, some)["sending"] <= 4
    tenant.interfere, tenant.latency_s = lambda *_: None, 0
    assert load(ledger, run_of("r1", some), some, tenant).status.delivered == 50
    assert set(tenant.posts.values()) == {1}


def test_the_grace_ends(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(4)]
    stop = Stop()
    tenant = Tenant(latency_s=30)
    threading.Timer(0.2, stop.request).start()
    result = load(ledger, run_of("r1", some), some, tenant, DeliveryOptions(grace_s=0.1), stop=stop)
    assert result.seconds < 5
    assert states(ledger, some)["sending"] == 1  # the others had not left yet


def crash(ledger: SqlLedger, some: list[StagedTransaction], tenant: Tenant, after: int) -> None:
    """Have the process die, as far as the ledger can tell, after so many requests."""

    class Died(BaseException):
        pass

    dying: list[str] = []

    def die(request: httpx.Request, body: dict[str, Any]) -> None:
        if dying or sum(tenant.posts.values()) >= after:
            dying.append(body["external_id"])
            raise Died

    def dead(request: httpx.Request, body: dict[str, Any]) -> None:
        if dying:
            raise Died

    tenant.after, tenant.interfere = die, dead
    with pytest.raises(Died):
        load(ledger, run_of("r1", some), some, tenant)
    tenant.after = tenant.interfere = lambda *_: None


def test_after_a_crash_the_doubtful_are_looked_up(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(100)]
    tenant = Tenant()
    crash(ledger, some, tenant, after=50)
    assert states(ledger, some)["sending"] > 0
    result = load(ledger, run_of("r1", some), some, tenant)
    assert result.status.delivered == 100
    assert set(tenant.posts.values()) == {1}


def test_after_a_crash_the_doubtful_can_be_sent_again(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(100)]
    tenant = Tenant()
    crash(ledger, some, tenant, after=50)
    options = DeliveryOptions(in_doubt=InDoubtRule.RESEND, concurrency=8)
    result = load(ledger, run_of("r1", some), some, tenant, options)
    assert result.status.delivered == 100
    assert not any(request.method == "GET" for request in tenant.requests)
    assert sum(tenant.posts.values()) - 100 <= 8


def test_a_doubtful_one_with_other_contents_is_sent(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(10)]
    tenant = Tenant()
    crash(ledger, some, tenant, after=1)
    tenant.there["T000000"]["total"] = 99999
    assert load(ledger, run_of("r1", some), some, tenant).status.delivered == 10
    assert tenant.there["T000000"]["total"] == 1.0


def test_progress_is_reported_and_ends_at_the_total(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(300)]
    events: list[Event] = []
    load(ledger, run_of("r1", some), some, Tenant(latency_s=0.02), emit=events.append)
    assert events[0] == StageStarted("load", "transactions", 300)
    last = events[-1]
    assert isinstance(last, StageFinished)
    assert last.done == 300
    done = [e.done for e in events if isinstance(e, Progress)]
    assert done == sorted(done)
    assert done


def test_progress_says_what_was_done_before_what_was_sent_and_what_limits_it(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(80)]
    load(ledger, run_of("r1", some), some, Tenant(), DeliveryOptions(first=30))
    events: list[Event] = []
    options = DeliveryOptions(rate_per_min=6_000)
    load(ledger, run_of("r1", some), some, Tenant(), options, emit=events.append)
    assert events[0] == StageStarted("load", "transactions", 80, done=30)
    *_, last = (event for event in events if isinstance(event, Progress))
    assert (last.done, last.sent, last.in_doubt) == (80, 50, 0)
    assert (last.limit, last.most_per_s) == ("--rate 6,000/min", 100)


def test_a_ledger_that_fails_stops_the_load_and_nothing_is_lost(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(400)]
    tenant = Tenant()
    record, calls = ledger.record, 0

    def failing(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 10:
            raise SettingsError("The ledger cannot be written: database or disk is full.")
        record(*args)

    ledger.record = failing  # type: ignore[method-assign]
    result = load(ledger, run_of("r1", some), some, tenant)
    assert isinstance(result.error, SettingsError)
    assert 0 < result.status.delivered < 400
    ledger.record = record  # type: ignore[method-assign]
    again = load(ledger, run_of("r1", some), some, tenant)
    assert again.status.delivered == len(tenant.there) == 400
    assert set(tenant.posts.values()) == {1}


def test_an_error_while_reading_the_run_stops_it(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(200)]

    def batches(start: int) -> Any:
        yield some[:100]
        raise SettingsError("part-00001.parquet is gone.")

    tenant = Tenant()
    result = deliver(run_of("r1", some), batches, CONNECTION, ledger, transport=tenant.transport)
    assert str(result.error) == "part-00001.parquet is gone."
    assert load(ledger, run_of("r1", some), some, tenant).status.delivered == 200
    assert set(tenant.posts.values()) == {1}


def test_a_bug_is_raised(ledger: SqlLedger) -> None:
    def broken(request: httpx.Request, body: dict[str, Any]) -> None:
        raise ZeroDivisionError

    some = [made(1)]
    with pytest.raises(ZeroDivisionError):
        load(ledger, run_of("r1", some), some, Tenant(broken))


def test_the_resume_starts_at_the_watermark(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(300)]
    stop = Stop()
    tenant = Tenant(lambda *_: stop.request() if len(tenant.requests) == 150 else None)
    load(ledger, run_of("r1", some), some, tenant, stop=stop)
    asked: list[int] = []
    tenant.interfere = lambda *_: None

    def batches(start: int) -> Any:
        asked.append(start)
        return batches_of(some)(start)

    deliver(run_of("r1", some), batches, CONNECTION, ledger, transport=tenant.transport)
    assert asked
    assert asked[0] >= 140


def test_an_empty_run_is_done(ledger: SqlLedger) -> None:
    result = load(ledger, run_of("r1", []), [], Tenant())
    assert result.status.accepted == result.status.pending == 0


def test_the_token_is_in_no_event_and_no_error(ledger: SqlLedger, capfd: pytest.CaptureFixture[str]) -> None:
    some = [made(n) for n in range(20)]
    secret = "wrong-secret-token"
    events: list[Event] = []
    result = deliver(
        run_of("r1", some),
        batches_of(some),
        Connection("https://api.acme.test/api/v3", Secret(secret)),
        ledger,
        emit=events.append,
        transport=Tenant().transport,
    )
    assert result.error is not None
    texts = [str(result.error), repr(result), repr(events), repr(CONNECTION), *capfd.readouterr()]
    assert not any(secret in text for text in texts)
    assert not any(
        secret.encode() in row.hash + repr(row).encode() for row in ledger.find(["T000000"]).values()
    )


def test_an_update_that_was_cut_off_is_sent_again_though_an_older_version_is_there(
    ledger: SqlLedger,
) -> None:
    tenant = Tenant()
    first, second = [made(1)], [made(1, receipt_ref="R-1")]
    load(ledger, run_of("r1", first), first, tenant)
    row = ledger.find(["T000001"])["T000001"]
    ledger.open_run(run_of("r2", second, day=2))
    claimed = row._replace(state=State.SENDING, hash=content_hash(second[0].body), run_no=2)
    ledger.record([claimed])  # what a crash leaves between the claim and the request
    assert load(ledger, run_of("r2", second, day=2), second, tenant).status.delivered == 1
    assert tenant.there["T000001"]["receipt_ref"] == "R-1"


def test_one_that_failed_is_looked_up_by_the_next_run_before_it_is_created_again(ledger: SqlLedger) -> None:
    some = [made(1)]
    tenant = Tenant(after=lambda *_: httpx.Response(500))
    create = DeliveryOptions(endpoint=ENDPOINTS["queue-create"], policy=QUICK)
    tenant.there["T000001"] = json.loads(some[0].body)
    ledger.open_run(run_of("r1", some))
    row = Record("T000001", content_hash(some[0].body), State.FAILED, 1, 8, 500, maybe_sent=True)
    ledger.record([row])
    assert load(ledger, run_of("r2", some, day=2), some, tenant, create).status.delivered == 1
    assert sum(tenant.posts.values()) == 0


def test_tls_that_fails_in_mid_answer_makes_no_copy(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(3)]

    def fail(request: httpx.Request, body: dict[str, Any]) -> httpx.Response | None:
        if request.method == "POST" and sum(tenant.posts.values()) == 1:
            raise ssl.SSLError(1, "record layer failure")
        return None

    tenant = Tenant(after=fail)
    create = DeliveryOptions(endpoint=ENDPOINTS["queue-create"], policy=QUICK, concurrency=1)
    assert load(ledger, run_of("r1", some), some, tenant, create).status.delivered == 3
    assert set(tenant.posts.values()) == {1}


def test_a_look_up_that_tells_nothing_makes_no_copy(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(3)]

    def drop(request: httpx.Request, body: dict[str, Any]) -> httpx.Response | None:
        if request.method == "GET":
            return httpx.Response(400)
        if tenant.posts[body["external_id"]]:
            return None
        tenant.after_all(request, body)
        raise httpx.ReadError("reset", request=request)

    tenant = Tenant(drop)
    create = DeliveryOptions(endpoint=ENDPOINTS["queue-create"], policy=QUICK, concurrency=1)
    result = load(ledger, run_of("r1", some), some, tenant, create)
    assert result.error is None
    assert result.status.in_doubt == 3
    assert set(tenant.posts.values()) == {1}


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><title>Maintenance</title>", b"  <html></html>", b"\n<?xml version='1.0'?>"]
)
def test_a_page_instead_of_an_answer_delivers_nothing(ledger: SqlLedger, page: bytes) -> None:
    some = [made(n) for n in range(30)]
    tenant = Tenant(lambda *_: httpx.Response(200, content=page) if len(tenant.requests) > 10 else None)
    options = DeliveryOptions(policy=QUICK, give_up_after_s=0.1, concurrency=4)
    result = load(ledger, run_of("r1", some), some, tenant, options)
    assert result.error is not None
    assert "no answer of this API: a web page" in str(result.error)
    assert 0 < result.status.delivered == len(tenant.there) <= 10
    tenant.interfere = lambda *_: None
    assert load(ledger, run_of("r1", some), some, tenant).status.delivered == len(tenant.there) == 30


@pytest.mark.parametrize("limit", ["0", "9" * 5000, "-1", "1e9"])
def test_a_limit_that_is_none_holds_nothing_up(ledger: SqlLedger, limit: str) -> None:
    some = [made(n) for n in range(50)]
    headers = {"x-ratelimit-limit": limit, "x-ratelimit-remaining": limit}
    tenant = Tenant(after=lambda *_: httpx.Response(200, json={"data": "OK"}, headers=headers))
    assert load(ledger, run_of("r1", some), some, tenant).status.delivered == 50


def test_writing_may_be_away_while_looking_up_works(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(40)]
    tenant = Tenant(lambda request, _: httpx.Response(503) if request.method == "POST" else None)
    # Long enough for all to have failed once before one of them fails twice.
    policy = replace(QUICK, first_wait_s=0.1, longest_wait_s=0.1)
    options = DeliveryOptions(policy=policy, give_up_after_s=0.3, concurrency=16)
    result = load(ledger, run_of("r1", some), some, tenant, options)
    assert result.error is not None
    assert result.error.exit_code == 5
    assert result.status.failed == 0
    tenant.interfere = lambda *_: None
    load(ledger, run_of("r1", some), some, tenant)
    assert ledger.status("r1").delivered == len(tenant.there) == 40


def test_a_failing_listener_leaves_no_outcome_out(ledger: SqlLedger) -> None:
    some = [made(n) for n in range(60)]
    tenant = Tenant(
        lambda request, _: httpx.Response(422, json={"message": "no"}) if request.content else None
    )

    heard: list[object] = []

    def emit(event: object) -> None:
        if isinstance(event, Refused):
            heard.append(event)
            if len(heard) == 1:
                raise ZeroDivisionError

    run = run_of("r1", some)
    with pytest.raises(ZeroDivisionError):
        load(ledger, run, some, tenant, DeliveryOptions(max_refused="off"), emit=emit)
    passed = some[: ledger.progress(run).watermark]
    assert states(ledger, passed).keys() <= {"refused"}


def test_the_first_few_are_sent_and_the_rest_stays_pending(any_ledger: SqlLedger) -> None:
    some, tenant = [made(n) for n in range(250)], Tenant()
    for first, sent in ((7, 7), (120, 127), (1, 128), (500, 250)):
        options = DeliveryOptions(policy=QUICK, concurrency=8, first=first, part_size=50)
        result = load(any_ledger, run_of("r", some), some, tenant, options)
        assert (result.error, result.failed) == (None, 0)
        assert (result.status.delivered, result.status.pending) == (sent, 250 - sent)
        assert set(tenant.there) == {each.external_id for each in some[:sent]}
    assert set(tenant.posts.values()) == {1}


def test_a_batch_is_no_larger_than_the_first_few(tmp_path: Path) -> None:
    some = [made(n) for n in range(250)]
    options = DeliveryOptions(policy=QUICK, first=130, endpoint=ENDPOINTS["batch"])
    with local_omneo() as omneo, SqlLedger(tmp_path / "ledger.db", omneo.base_url) as ledger:
        connection = Connection(omneo.base_url, Secret(omneo.token))
        result = deliver(run_of("r", some), batches_of(some, 90), connection, ledger, options)
        assert (result.status.delivered, result.status.pending) == (130, 120)
        there = {each["external_id"] for each in omneo.transactions()}
    assert there == {each.external_id for each in some[:130]}


ONE_BATCH = DeliveryOptions(endpoint=ENDPOINTS["batch"], policy=QUICK, batch_size=300, concurrency=1)


def answering_batches(tenant: Tenant, status_of: Callable[[str], str]) -> None:
    """Have the tenant say of each item of a batch how it fared."""
    sent: list[str] = []

    def begin(_: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        sent[:] = [each["external_id"] for each in body["transactions"]]
        for name in sent:
            if status_of(name) == "failed":
                del tenant.there[name]
        return httpx.Response(200, json={"message": "ok", "batch_id": "b1"})

    def end(request: httpx.Request, _: dict[str, Any]) -> httpx.Response | None:
        if "/batches/" not in request.url.path:
            return None
        items = [{"external_id": name, "status": status_of(name)} for name in sent]
        return httpx.Response(200, json={"data": {"status": "partial", "items": items}})

    tenant.after, tenant.interfere = begin, end


@pytest.mark.slow
def test_many_refused_in_a_row_within_a_batch_stop_it_though_others_of_it_are_taken(
    ledger: SqlLedger,
) -> None:
    some = [made(n) for n in range(300)]
    tenant = Tenant()
    answering_batches(tenant, lambda name: "failed" if 10 <= int(name[1:]) < 250 else "success")
    result = load(ledger, run_of("r1", some), some, tenant, ONE_BATCH)
    assert isinstance(result.error, StoppedByApi)
    assert (result.status.refused, result.status.delivered) == (240, 60)


@pytest.mark.slow
def test_what_is_in_doubt_and_refused_in_a_batch_stays_in_doubt_where_nothing_more_can_be_asked(
    ledger: SqlLedger,
) -> None:
    some = [made(n) for n in range(60)]
    run = run_of("r1", some)
    no = ledger.open_run(run).run_no
    ledger.record([Record(each.external_id, content_hash(each.body), State.SENDING, no) for each in some])
    tenant = Tenant()
    answering_batches(tenant, lambda _: "failed")
    result = load(ledger, run, some, tenant, ONE_BATCH)
    assert isinstance(result.error, StoppedByApi)
    assert result.status.in_doubt > 0
    assert result.status.delivered == 0


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, State.DELIVERED])
@pytest.mark.parametrize("state", [State.SENDING, State.VOIDING, State.IN_DOUBT])
def test_the_doubt_about_a_forgotten_sale_ends_after_a_day_without_it(
    ledger: SqlLedger, state: State, before: State | None
) -> None:
    """It is never sent again, so no answer to it can come."""
    some, tenant, begun = [made(1)._replace(body=b"")], Tenant(), 1_700_000_000
    run = run_of("r1", some)
    no = ledger.open_run(run).run_no
    ledger.record([Record("T000001", b"1" * 16, state, no, before=before, at=begun)])

    def status_after(hours: int) -> RunStatus:
        return load(ledger, run, some, tenant, clock=FakeClock(begun + hours * 3600)).status

    assert status_after(1).in_doubt == 1
    assert status_after(20).in_doubt == 1
    ended = status_after(26)
    assert (ended.forgotten, ended.missing) == ((1, 0) if before is None else (0, 1))
    asked = len(tenant.requests)
    assert status_after(27) == ended
    assert len(tenant.requests) == asked
