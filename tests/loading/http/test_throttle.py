from __future__ import annotations

import asyncio
import math
import sys

import pytest

from pipeline.core.clock import FakeClock
from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.http.throttle import Concurrency, LearnedRate, PaceHint, Throttle, pace_hint
from tests.loading.http.throttled import (
    ByTheClock,
    FromFirstRequest,
    Requester,
    ServerThrottle,
    Sliding,
    TokenBucket,
    share_refused,
    share_used,
    simulate,
)

pytestmark = pytest.mark.slow

HALF_AN_HOUR = 1800.0
FIXED = [FromFirstRequest, ByTheClock]
ANY = [*FIXED, Sliding, TokenBucket]
TAKEN = PaceHint(Meaning.TAKEN, 0.1)


@pytest.mark.parametrize("limit", [10, 100, 1000])
@pytest.mark.parametrize("server", FIXED)
def test_alone_it_keeps_the_limit_without_a_refusal(server: type[ServerThrottle], limit: int) -> None:
    clients = [Requester()]
    simulate(clients, server(), lambda _: limit, HALF_AN_HOUR)
    assert share_used(clients, lambda _: limit, 0, HALF_AN_HOUR) > 0.97
    assert share_refused(clients) == 0


@pytest.mark.parametrize("server", ANY)
def test_it_does_not_need_to_know_the_kind_of_window(server: type[ServerThrottle]) -> None:
    clients = [Requester()]
    simulate(clients, server(), lambda _: 300, HALF_AN_HOUR)
    assert share_used(clients, lambda _: 300, 0, HALF_AN_HOUR) > 0.97
    assert share_refused(clients) < 0.005


@pytest.mark.parametrize("server", FIXED)
@pytest.mark.parametrize("after", [250, 2000])
def test_it_follows_a_limit_that_changes_half_way(server: type[ServerThrottle], after: int) -> None:
    def limit(now: float) -> int:
        return 1000 if now < 917 else after

    clients = [Requester()]
    simulate(clients, server(), limit, HALF_AN_HOUR)
    # The minute of the change itself is the server's: what was sent before counts against the new limit.
    assert share_used(clients, limit, 0, 900) > 0.97
    assert share_used(clients, limit, 990, HALF_AN_HOUR) > 0.97
    assert share_refused(clients) < 0.005


@pytest.mark.parametrize("server", FIXED)
@pytest.mark.parametrize("theirs", [0.1, 0.3, 0.6])
def test_another_client_gets_its_share(server: type[ServerThrottle], theirs: float) -> None:
    ours, other = Requester(), Requester(cap_per_min=600 * theirs, start=217)
    simulate([ours, other], server(), lambda _: 600, HALF_AN_HOUR)
    assert share_used([ours, other], lambda _: 600, 0, HALF_AN_HOUR) > 0.97
    assert ours.refused / ours.sent < 0.005
    assert other.refused / other.sent < 0.01


@pytest.mark.parametrize("server", FIXED)
@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_busy_machine_missed_is_made_up_for(server: type[ServerThrottle], workers: int) -> None:
    clients = [Requester(sharers=workers, stall_every_s=17 + n, stall_s=1.5) for n in range(workers)]
    simulate(clients, server(), lambda _: 600, HALF_AN_HOUR)
    assert share_used(clients, lambda _: 600, 0, HALF_AN_HOUR) > 0.97
    assert share_refused(clients) < 0.005


@pytest.mark.parametrize("server", ANY)
@pytest.mark.parametrize("workers", [2, 5])
def test_workers_that_know_of_each_other_share_evenly(server: type[ServerThrottle], workers: int) -> None:
    clients = [Requester(sharers=workers, start=2 * n) for n in range(workers)]
    simulate(clients, server(), lambda _: 600, HALF_AN_HOUR)
    assert share_used(clients, lambda _: 600, 0, HALF_AN_HOUR) > 0.95
    assert share_refused(clients) < 0.01
    sent = [len(client.taken_at) for client in clients]
    assert max(sent) < 1.2 * min(sent)


@pytest.mark.parametrize("server", FIXED)
def test_workers_leave_others_their_part(server: type[ServerThrottle]) -> None:
    clients = [Requester(sharers=2), Requester(sharers=2)]
    other = Requester(cap_per_min=180)
    simulate([*clients, other], server(), lambda _: 600, HALF_AN_HOUR)
    assert share_used([*clients, other], lambda _: 600, 0, HALF_AN_HOUR) > 0.95
    assert share_refused([*clients, other]) < 0.01
    assert share_used(clients, lambda _: 600, 0, HALF_AN_HOUR) > 0.65


@pytest.mark.parametrize("server", FIXED)
def test_two_greedy_loaders_keep_the_limit_together(server: type[ServerThrottle]) -> None:
    clients = [Requester(), Requester(start=100)]
    simulate(clients, server(), lambda _: 600, HALF_AN_HOUR)
    assert share_used(clients, lambda _: 600, 0, HALF_AN_HOUR) > 0.97
    assert share_refused(clients) < 0.005
    assert 0.2 < len(clients[1].taken_at) / len(clients[0].taken_at) < 5


@pytest.mark.parametrize("server", [Sliding, TokenBucket])
def test_two_greedy_loaders_get_on_with_other_kinds_of_windows(server: type[ServerThrottle]) -> None:
    clients = [Requester(), Requester(start=100)]
    simulate(clients, server(), lambda _: 600, HALF_AN_HOUR)
    assert share_used(clients, lambda _: 600, 0, HALF_AN_HOUR) > 0.93
    assert share_refused(clients) < 0.03


@pytest.mark.parametrize("server", FIXED)
def test_refusals_alone_teach_it_the_limit(server: type[ServerThrottle]) -> None:
    clients = [Requester()]
    simulate(clients, server(), lambda _: 600, HALF_AN_HOUR, headers=False)
    assert share_used(clients, lambda _: 600, 0, HALF_AN_HOUR) > 0.95
    assert share_refused(clients) < 0.005


def test_a_cap_is_never_passed() -> None:
    clients = [Requester(cap_per_min=120)]
    simulate(clients, FromFirstRequest(), lambda _: 1000, 600)
    assert share_used(clients, lambda _: 120, 0, 600) > 0.97
    taken = clients[0].taken_at
    assert all(late - early >= 59.4 for early, late in zip(taken, taken[121:], strict=False))


def test_a_day_of_load_keeps_the_pace_and_no_memory() -> None:
    limit = 90
    clients = [Requester()]
    simulate(clients, FromFirstRequest(), lambda _: limit, 86_400)
    for hour in range(24):
        assert share_used(clients, lambda _: limit, hour * 3600, hour * 3600 + 3600) > 0.97
    assert share_refused(clients) == 0
    rate, concurrency = LearnedRate(0.0), Concurrency(8)
    sizes = []
    for now in range(1, 86_401):
        rate.sent(now)
        rate.learn(now, PaceHint(Meaning.TAKEN, 0.1, limit, limit - now % limit))
        concurrency.learn(now, TAKEN)
        if now in (3600, 86_400):
            sizes.append(len(concurrency._best) + sys.getsizeof(rate.__dict__))
    assert sizes[0] == sizes[1]


def test_a_window_of_another_length_is_a_setting() -> None:
    rate = LearnedRate(0.0, window_s=1.0)
    rate.sent(0.0)
    rate.learn(0.1, PaceHint(Meaning.TAKEN, 0.1, 100, 99))
    assert rate.per_min == pytest.approx(0.985 * 6000)


def test_without_a_limit_there_is_no_waiting() -> None:
    rate = LearnedRate(0.0)
    for now in range(100):
        rate.sent(now)
        rate.learn(now, TAKEN)
    assert rate.per_min == math.inf
    assert rate.wait_s(100.0) == 0


def test_retry_after_holds_everything_back() -> None:
    rate = LearnedRate(0.0)
    rate.sent(0.0)
    rate.learn(0.0, PaceHint(Meaning.THROTTLED, 0.1, 100, 0, retry_after_s=30))
    assert rate.wait_s(1.0) == 29
    assert rate.wait_s(30.5) < 1


def test_an_early_refusal_is_a_pause_and_teaches_no_limit() -> None:
    rate = LearnedRate(0.0)
    for now in (0.0, 5.2, 10.4):
        assert rate.wait_s(now) == 0
        rate.sent(now)
        rate.learn(now + 0.1, PaceHint(Meaning.THROTTLED, 0.1, retry_after_s=5))
        assert rate.wait_s(now + 0.1) == pytest.approx(5)
    assert math.isinf(rate.per_min)


@pytest.mark.parametrize("value", ["many", "", "-3", "1e3", "٣"])
def test_malformed_headers_count_as_absent(value: str) -> None:
    hint = pace_hint(
        ReplyVerdict(Meaning.TAKEN, 200), {"x-ratelimit-limit": value, "x-ratelimit-remaining": value}, 0.1
    )
    rate = LearnedRate(0.0)
    rate.sent(0.0)
    rate.learn(0.1, hint)


def test_what_limits_the_pace_is_said() -> None:
    rate = LearnedRate(0.0)
    assert rate.limit.per_min is None
    rate.learn(0.1, PaceHint(Meaning.TAKEN, 0.1, limit=1_000, remaining=999))
    assert (rate.limit.text, rate.limit.per_min) == ("Omneo's limit of 1,000 a minute", pytest.approx(985))
    capped = LearnedRate(0.0, cap_per_min=600)
    assert capped.limit == ("--rate 600/min", 600)
    capped.learn(0.1, PaceHint(Meaning.TAKEN, 0.1, limit=500, remaining=499))
    assert capped.limit.text == "Omneo's limit of 500 a minute"


def test_a_place_among_those_in_flight_limits_the_pace_too() -> None:
    async def scene() -> list[str]:
        throttle = Throttle(FakeClock(), concurrency=1)
        said = [throttle.limit.text]
        await throttle.enter()
        waiting = asyncio.create_task(throttle.enter())
        await asyncio.sleep(0)
        said.append(throttle.limit.text)
        throttle.leave()
        await waiting
        return said

    assert asyncio.run(scene()) == ["", "--concurrency 1"]


def test_concurrency_rises_while_latency_holds_and_falls_on_trouble() -> None:
    concurrency = Concurrency(64)
    assert concurrency.limit == 1
    for n in range(200):
        concurrency.learn(n / 100, TAKEN)
    assert concurrency.limit == 64
    concurrency.learn(10.0, PaceHint(Meaning.TRANSIENT, 0.1))
    assert concurrency.limit == 32
    concurrency.learn(10.1, PaceHint(Meaning.TRANSIENT, 0.1))  # one of the same salvo
    assert concurrency.limit == 32
    for n in range(20):
        concurrency.learn(12.0 + 2 * n, PaceHint(Meaning.TRANSIENT, 0.1))
    assert concurrency.limit == 1


def test_concurrency_backs_off_when_answers_become_slow() -> None:
    concurrency = Concurrency(64)
    for n in range(200):
        concurrency.learn(n / 100, TAKEN)
    for n in range(2000):
        concurrency.learn(2 + n / 100, PaceHint(Meaning.TAKEN, 2.0))
    assert concurrency.limit < 40


def test_the_gate_lets_in_as_many_as_allowed_first_come_first_served() -> None:
    entered: list[int] = []

    async def main() -> None:
        clock = FakeClock()
        throttle = Throttle(clock, concurrency=2)

        async def one(number: int) -> None:
            await throttle.enter()
            entered.append(number)
            await clock.sleep(1.0)
            throttle.answered(PaceHint(Meaning.TAKEN, 1.0))
            throttle.leave()

        await asyncio.gather(*map(one, range(7)))
        # One, then two at a time: the first answer raises the limit.
        assert clock.now == 4.0

    asyncio.run(main())
    assert entered == list(range(7))


def test_nobody_overtakes_those_who_wait() -> None:
    entered: list[str] = []

    async def main() -> None:
        throttle = Throttle(FakeClock(), concurrency=1)
        await throttle.enter()

        async def one(name: str) -> None:
            await throttle.enter()
            entered.append(name)
            throttle.answered(TAKEN)
            throttle.leave()

        waiting = [asyncio.create_task(one(name)) for name in ("first", "second")]
        await asyncio.sleep(0)
        throttle.answered(TAKEN)
        throttle.leave()
        while len(entered) < 2:
            late = asyncio.create_task(one("late"))
            await asyncio.sleep(0)
            waiting.append(late)
        await asyncio.gather(*waiting)

    asyncio.run(main())
    assert entered[:2] == ["first", "second"]


def test_a_gate_that_was_shut_lets_nobody_in() -> None:
    async def main() -> None:
        throttle = Throttle(FakeClock(), concurrency=4)
        await throttle.enter()
        throttle.shut()
        waiting = asyncio.create_task(throttle.enter())
        throttle.answered(TAKEN)
        throttle.leave()
        done, _ = await asyncio.wait({waiting}, timeout=0.01)
        assert not done
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(main())


def test_someone_who_gives_up_waiting_takes_no_place() -> None:
    async def main() -> None:
        throttle = Throttle(FakeClock(), concurrency=1)
        await throttle.enter()
        waiting = asyncio.create_task(throttle.enter())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        throttle.answered(TAKEN)
        throttle.leave()
        await asyncio.wait_for(throttle.enter(), 1)

    asyncio.run(main())
