"""Against a real server that lies: nothing counts as delivered without a yes, and nothing is there twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import StoppedByApi
from pipeline.core.model import StagedTransaction
from pipeline.loading.confirm.confirm_run import confirm
from pipeline.loading.delivery.decisions import RetryRules
from pipeline.loading.delivery.delivery_options import DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.loading.http.retry_policy import RetryPolicy
from pipeline.loading.ledger.entries import State
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.delivery.lying import NO_YES, Lie, LyingTenant, lying_tenant
from tests.loading.tenant import batches_of, made, run_of

pytestmark = pytest.mark.slow

QUICK = RetryPolicy(attempts=3, first_wait_s=0.01, longest_wait_s=0.05)
SOME = [made(n) for n in range(10)]
FEW = SOME[:6]
RUN = run_of("r1", SOME)
REFUSED = Lie("refused", 422, b'{"message":"Invalid.","errors":{"total":["Bad."]}}')


@pytest.fixture(scope="module")
def running() -> Iterator[LyingTenant]:
    with lying_tenant() as tenant:
        yield tenant


@pytest.fixture
def tenant(running: LyingTenant) -> LyingTenant:
    running.choose = lambda *_: None
    running.local.reset()
    running.requests.clear()
    return running


@pytest.fixture
def ledger(tenant: LyingTenant, tmp_path: Path) -> Iterator[SqlLedger]:
    with SqlLedger(tmp_path / "ledger.db", tenant.connection.base_url) as opened:
        yield opened


def load(
    ledger: SqlLedger,
    tenant: LyingTenant,
    some: list[StagedTransaction] = SOME,
    *,
    endpoint: str = "queue",
    retry: bool = False,
    **more: object,
) -> DeliveryResult:
    options = DeliveryOptions(
        endpoint=ENDPOINTS[endpoint],
        policy=QUICK,
        concurrency=8,
        batch_size=5,
        give_up_after_s=2.0,
        **more,  # type: ignore[arg-type]
    )
    run = run_of("r1", some)
    rules = RetryRules() if retry else None
    return deliver(run, batches_of(some), tenant.connection, ledger, options, rules=rules)


def to_posts(lie: Lie) -> object:
    return lambda method, _: lie if method == "POST" else None


@pytest.mark.parametrize("lie", NO_YES, ids=lambda lie: lie.name)
@pytest.mark.parametrize("endpoint", ["queue", "queue-create", "update-create", "batch"])
def test_an_answer_that_is_no_yes_delivers_nothing(
    ledger: SqlLedger, tenant: LyingTenant, lie: Lie, endpoint: str
) -> None:
    tenant.choose = to_posts(lie)  # type: ignore[assignment]
    result = load(ledger, tenant, FEW, endpoint=endpoint)
    assert (result.status.delivered, result.status.in_doubt) == (0, 6)
    assert result.error is None
    assert not tenant.there()
    tenant.choose = lambda *_: None
    again = load(ledger, tenant, FEW, endpoint=endpoint)
    if endpoint == "queue-create":  # a second request could make a copy
        assert again.status.in_doubt == 6
        assert tenant.posts() == 6
    else:
        assert again.status.delivered == len(tenant.there()) == 6


@pytest.mark.parametrize("lie", NO_YES[::3], ids=lambda lie: lie.name)
@pytest.mark.parametrize("endpoint", ["queue", "queue-create", "update-create", "batch"])
def test_what_was_kept_without_a_yes_is_found_and_not_sent_again(
    ledger: SqlLedger, tenant: LyingTenant, lie: Lie, endpoint: str
) -> None:
    kept = Lie(lie.name, lie.status, lie.body, keeps=True)
    tenant.choose = to_posts(kept)  # type: ignore[assignment]
    result = load(ledger, tenant, FEW, endpoint=endpoint)
    assert result.status.delivered == len(tenant.there()) == 6
    assert tenant.posts() == (2 if endpoint == "batch" else 6)


@pytest.mark.parametrize("lie", NO_YES, ids=lambda lie: lie.name)
def test_a_look_up_that_is_no_answer_is_neither_absence_nor_presence(
    ledger: SqlLedger, tenant: LyingTenant, lie: Lie
) -> None:
    tenant.choose = lambda *_: lie
    result = load(ledger, tenant, FEW)
    assert (result.status.delivered, result.status.in_doubt) == (0, 6)
    assert tenant.posts() == 6  # never again, since it was not seen to be absent


def test_a_dropped_connection_makes_no_copy_of_items_without_ids(
    ledger: SqlLedger, tenant: LyingTenant
) -> None:
    plain = []
    for each in SOME:
        body = json.loads(each.body)
        del body["items"][0]["external_id"]
        plain.append(each._replace(body=json.dumps(body).encode()))
    for lie in (Lie("drop", keeps=True, drops=True), Lie("late", 504, keeps=True)):
        tenant.choose = to_posts(lie)  # type: ignore[assignment]
        assert load(ledger, tenant, plain).status.delivered == 10
        assert all(len(each["items"]) == 1 for each in tenant.there().values())


def test_what_was_lost_and_then_refused_is_looked_up(ledger: SqlLedger, tenant: LyingTenant) -> None:
    lost: set[int] = set()

    def first_lost_then_refused(method: str, _: str) -> Lie | None:
        if method != "POST":
            return None
        lost.add(len(lost))
        return Lie("lost", keeps=True, drops=True) if len(lost) <= 10 else REFUSED

    tenant.choose = first_lost_then_refused
    assert load(ledger, tenant, in_doubt="resend").status.delivered == 10
    assert len(tenant.there()) == 10


def test_a_refusal_after_a_doubt_is_one_where_omneo_has_nothing(
    ledger: SqlLedger, tenant: LyingTenant
) -> None:
    seen: list[str] = []

    def choose(method: str, _: str) -> Lie | None:
        seen.append(method)
        return None if method != "POST" else Lie("drop", drops=True) if seen.count("POST") <= 5 else REFUSED

    tenant.choose = choose
    result = load(ledger, tenant, SOME[:5], max_refused="off")
    assert (result.status.refused, result.status.delivered) == (5, 0)
    found = confirm(run_of("r1", SOME[:5]), batches_of(SOME[:5]), tenant.connection, ledger, patience_s=0)
    assert (found.expected, found.confirmed) == (5, 0)  # looked for all the same


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
@pytest.mark.parametrize("endpoint", ["queue", "batch"])
def test_a_load_that_is_refused_as_a_whole_stops(
    ledger: SqlLedger, tenant: LyingTenant, status: int, endpoint: str
) -> None:
    some = [made(n) for n in range(200)]
    tenant.choose = to_posts(Lie("no", status, b'{"message":"No."}'))  # type: ignore[assignment]
    result = load(ledger, tenant, some, endpoint=endpoint)
    assert isinstance(result.error, StoppedByApi)
    assert "mapping" in str(result.error)
    assert (result.status.refused, result.status.pending) == (0, 200)
    assert tenant.posts() < 200
    tenant.choose = lambda *_: None
    assert load(ledger, tenant, some, endpoint=endpoint).status.delivered == 200


def test_a_load_without_any_documented_answer_stops(ledger: SqlLedger, tenant: LyingTenant) -> None:
    some = [made(n) for n in range(300)]
    tenant.choose = to_posts(NO_YES[0])  # type: ignore[assignment]
    result = load(ledger, tenant, some)
    assert isinstance(result.error, StoppedByApi)
    assert result.status.delivered == 0
    assert tenant.posts() < 50 * 3 + 50  # each of the first is sent again, since it is not there


def refuse_all_but(good: set[int]) -> object:
    """Refuses the posts whose number, from 1, is not one of these."""
    posts: list[int] = []

    def choose(method: str, _: str) -> Lie | None:
        if method != "POST":
            return None
        posts.append(1)
        return None if len(posts) in good else REFUSED

    return choose


def test_refusals_count_once_another_answer_came(ledger: SqlLedger, tenant: LyingTenant) -> None:
    some = [made(n) for n in range(80)]
    tenant.choose = refuse_all_but({40, 60})  # type: ignore[assignment]
    result = load(ledger, tenant, some)
    assert result.error is None
    assert (result.status.refused, result.status.delivered) == (78, 2)


def test_later_on_many_in_a_row_stop_it_and_retry_is_exempt(ledger: SqlLedger, tenant: LyingTenant) -> None:
    some = [made(n) for n in range(400)]
    tenant.choose = refuse_all_but({1, 2})  # type: ignore[assignment]
    result = load(ledger, tenant, some)
    assert isinstance(result.error, StoppedByApi)
    assert 200 <= result.status.refused < 230
    assert result.status.pending == 400 - 2 - result.status.refused
    tenant.choose = to_posts(REFUSED)  # type: ignore[assignment]
    assert load(ledger, tenant, some, retry=True).error is None


@pytest.mark.parametrize("number", [1, 3, 10])
@pytest.mark.parametrize("status", [429, 503])
def test_a_throttle_without_end_on_writes_alone_ends_the_load(
    ledger: SqlLedger, tenant: LyingTenant, number: int, status: int
) -> None:
    """Look-ups still work, which says nothing of a limit for writes, such as one for the day."""
    lost = Lie("lost", 503, b"{}")
    throttled = Lie("throttled", 429, b'{"message":"Too Many Attempts."}', headers=((b"retry-after", b"0"),))
    first: set[int] = set()

    def choose(method: str, _: str) -> Lie | None:
        if method == "POST" and status == 503 and len(first) < number:
            first.add(len(first))
            return lost  # so that each is in doubt, and looked up before it goes again
        return throttled if method == "POST" else None

    tenant.choose = choose
    started = time.monotonic()
    result = load(ledger, tenant, SOME[:number])
    assert isinstance(result.error, StoppedByApi)
    assert "429" in result.error.message
    assert time.monotonic() - started < 20
    assert tenant.posts() < 300
    assert result.status.delivered == 0


ODD_IDS = [
    r'"\ud800"',
    r'"a\u0000b"',
    f'"{"x" * 100_000}"',
    "[1]",
    "{}",
    "9" * 5_000,
    "1e9999999999999999999",
]
ODD_FIELDS = [
    *[f'"id": {odd}' for odd in ODD_IDS],
    *[f'"id": 1, "total": {odd}' for odd in (*ODD_IDS, '"sNaN"', '"NaN"', '"1e999999999"', "[1]", "null")],
    *[f'"id": 1, "items": [{{"external_id": {odd}, "quantity": {odd}}}]' for odd in ODD_IDS],
    *[f'"id": 1, "items": {odd}' for odd in ('[1, null, "x"]', "null", '{"data": []}', '{"0": {}}', "7")],
]


@pytest.mark.parametrize("endpoint", ["queue", "update-create"])
@pytest.mark.parametrize("fields", ODD_FIELDS, ids=range(len(ODD_FIELDS)))
def test_odd_values_in_an_answer_end_no_load(
    ledger: SqlLedger, tenant: LyingTenant, fields: str, endpoint: str
) -> None:
    """In the answer to a look-up, since the one to the first request was lost, or to the request itself."""

    def choose(method: str, path: str) -> Lie | None:
        name = path.rsplit("/", 1)[1] if method == "GET" else SOME[0].external_id
        odd = Lie(
            "odd", body=f'{{"data": {{"external_id": "{name}", "total": 1, {fields}}}}}'.encode(), keeps=True
        )
        lost = Lie("lost", 503, b"{}", keeps=True)
        return odd if method == "GET" or endpoint == "update-create" else lost

    tenant.choose = choose
    result = load(ledger, tenant, SOME[:2], endpoint=endpoint)
    assert set(tenant.there()) == {each.external_id for each in SOME[:2]}
    assert result.error is None or isinstance(result.error, StoppedByApi)
    status = result.status
    assert status.delivered + status.in_doubt + status.failed + status.pending == 2


@pytest.mark.parametrize("odd", ODD_IDS, ids=range(len(ODD_IDS)))
def test_an_odd_id_of_a_batch_ends_no_load(ledger: SqlLedger, tenant: LyingTenant, odd: str) -> None:
    answer = Lie("odd", body=f'{{"message": "ok", "batch_id": {odd}}}'.encode(), keeps=True)
    tenant.choose = to_posts(answer)  # type: ignore[assignment]
    result = load(ledger, tenant, SOME[:4], endpoint="batch")
    assert result.error is None
    assert result.status.delivered == 4  # as a look-up of each shows


def test_fewer_than_the_breaker_counts_are_simply_refused(ledger: SqlLedger, tenant: LyingTenant) -> None:
    tenant.choose = to_posts(REFUSED)  # type: ignore[assignment]
    result = load(ledger, tenant)
    assert (result.error, result.status.refused) == (None, 10)


@pytest.mark.parametrize(("most", "stops"), [(5, True), ("off", False)])
def test_the_breaker_is_set_by_an_option(
    ledger: SqlLedger, tenant: LyingTenant, most: int | str, stops: bool
) -> None:
    some = [made(n) for n in range(80)]
    tenant.choose = to_posts(REFUSED)  # type: ignore[assignment]
    result = load(ledger, tenant, some, max_refused=most)
    assert (result.error is not None) is stops
    assert result.status.refused == (0 if stops else 80)


def test_few_are_about_to_leave_also_under_a_throttle(ledger: SqlLedger, tenant: LyingTenant) -> None:
    some = [made(n) for n in range(400)]
    most = 0

    def choose(method: str, _: str) -> None:
        nonlocal most
        with SqlLedger(Path(ledger.where), tenant.connection.base_url) as reader:
            most = max(most, reader.status("r1").in_doubt)

    tenant.choose = choose
    started = time.monotonic()
    load(ledger, tenant, some[:40], rate_per_min=1200)
    assert time.monotonic() - started > 0.5
    assert 0 < most <= 8


def test_states_of_a_cut_off_void_are_found_out(ledger: SqlLedger, tenant: LyingTenant) -> None:
    load(ledger, tenant)
    tenant.local.drain()
    records = ledger.find([each.external_id for each in SOME])
    ledger.record(
        [
            each._replace(state=State.VOIDING, before=State.DELIVERED, maybe_sent=True)
            for each in records.values()
        ]
    )
    assert ledger.status("r1").in_doubt == 10
    result = load(ledger, tenant)
    assert (result.status.delivered, result.status.voided) == (10, 0)
