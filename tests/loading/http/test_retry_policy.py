from __future__ import annotations

import asyncio

import pytest

from pipeline.core.clock import FakeClock
from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.http.retry_policy import Health, RetryPolicy, retrying

DOWN = ReplyVerdict(Meaning.TRANSIENT, 503, in_doubt=True)
SLOW_DOWN = ReplyVerdict(Meaning.THROTTLED, 429, retry_after_s=7.0)
OK = ReplyVerdict(Meaning.TAKEN, 200)


def waits(
    verdicts: list[ReplyVerdict], policy: RetryPolicy, give_up_after_s: float = 600.0
) -> tuple[list[float], ReplyVerdict]:
    """The pauses between attempts that get these verdicts, and the last of them."""
    clock = FakeClock()
    health = Health(clock, give_up_after_s)
    left = iter(verdicts)

    async def attempt() -> ReplyVerdict:
        verdict = next(left)
        health.saw(verdict)
        return verdict

    async def before_sleep(state: object) -> None:
        pass

    async def main() -> ReplyVerdict:
        return await retrying(policy, health, before_sleep, clock.sleep)(attempt)

    last = asyncio.run(main())
    return clock.slept, last


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=3, first_wait_s=1, longest_wait_s=8, jitter=0)
    slept, last = waits([DOWN] * 6 + [OK], policy)
    assert slept == [1, 2, 4, 8, 8, 8]
    assert last is OK


def test_jitter_only_lengthens() -> None:
    slept, _ = waits([DOWN] * 20 + [OK], RetryPolicy(first_wait_s=1, longest_wait_s=1))
    assert all(1 <= wait <= 1.5 for wait in slept)
    assert len(set(slept)) > 10


def test_by_default_half_a_second_becomes_half_a_minute() -> None:
    slept, last = waits([DOWN] * 9 + [OK], RetryPolicy(jitter=0))
    assert slept == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert last is OK


def test_what_a_server_asks_for_lengthens_our_own_wait_and_never_shortens_it() -> None:
    policy = RetryPolicy(first_wait_s=1, longest_wait_s=16, jitter=0)
    asked = [7, 0, 0, None, 0.5, 40, 0, 3]
    refusals = [ReplyVerdict(Meaning.THROTTLED, 429, retry_after_s=each) for each in asked]
    slept, last = waits([*refusals, OK], policy)
    assert slept == [7, 2, 4, 8, 16, 40, 16, 16]
    assert last is OK


def test_an_outage_ends_after_the_time_given() -> None:
    policy = RetryPolicy(first_wait_s=1, longest_wait_s=10, jitter=0)
    slept, last = waits([DOWN] * 100, policy, give_up_after_s=100)
    assert last is DOWN
    assert 100 < sum(slept) <= 110


def test_a_pause_longer_than_the_patience_is_not_waited_for() -> None:
    slept, last = waits([ReplyVerdict(Meaning.THROTTLED, 429, retry_after_s=3600)], RetryPolicy(), 600)
    assert slept == []
    assert last.meaning is Meaning.THROTTLED


def test_one_that_fails_alone_is_given_up_after_its_attempts() -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    attempts = 0

    async def attempt() -> ReplyVerdict:
        nonlocal attempts
        attempts += 1
        health.saw(DOWN)
        health.saw(OK)  # others get through
        return DOWN

    async def before_sleep(state: object) -> None:
        pass

    async def main() -> ReplyVerdict:
        return await retrying(RetryPolicy(), health, before_sleep, clock.sleep)(attempt)

    assert asyncio.run(main()) is DOWN
    assert attempts == 8


def test_being_throttled_is_no_failing() -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    left = iter([SLOW_DOWN] * 20 + [OK])

    async def attempt() -> ReplyVerdict:
        verdict = next(left)
        health.saw(verdict)
        health.saw(OK)
        return verdict

    async def before_sleep(state: object) -> None:
        pass

    async def main() -> ReplyVerdict:
        return await retrying(RetryPolicy(attempts=3), health, before_sleep, clock.sleep)(attempt)

    assert asyncio.run(main()) is OK


def test_what_failed_in_an_outage_may_fail_again_after_it() -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    left = iter([DOWN] * 20 + [OK])
    made: list[ReplyVerdict] = []

    async def attempt() -> ReplyVerdict:
        made.append(next(left))
        health.saw(made[-1])
        if len(made) >= 18:  # the outage is over, and others get through
            health.saw(OK)
        return made[-1]

    async def before_sleep(state: object) -> None:
        pass

    async def main() -> ReplyVerdict:
        return await retrying(RetryPolicy(attempts=5), health, before_sleep, clock.sleep)(attempt)

    assert asyncio.run(main()) is OK
    assert len(made) == 21


def test_failures_count_against_one_only_while_others_get_through() -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    attempts = 0

    async def attempt() -> ReplyVerdict:
        nonlocal attempts
        attempts += 1
        health.saw(DOWN)
        if attempts % 2:
            health.saw(OK)
        return DOWN

    async def before_sleep(state: object) -> None:
        pass

    async def main() -> ReplyVerdict:
        return await retrying(RetryPolicy(attempts=4), health, before_sleep, clock.sleep)(attempt)

    asyncio.run(main())
    # The first failure counts, then the third, the fifth and the seventh.
    assert attempts == 7


def test_an_outage_may_last_as_long_as_it_was_given() -> None:
    clock = FakeClock()
    health = Health(clock, 10)
    assert not health.given_up(11)  # nothing has failed
    health.saw(DOWN)
    clock.now = 4
    health.saw(DOWN)
    clock.now = 10
    assert not health.given_up()
    assert health.given_up(0.1)


NOT_RESOLVED = ReplyVerdict(Meaning.TRANSIENT, message="no such host")


def test_a_host_without_an_address_from_the_start_is_a_typing_error() -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    health.saw(NOT_RESOLVED, "OMNEO_TENANT")
    assert health.unresolved == "OMNEO_TENANT"
    clock.now = 5
    assert not health.given_up()
    assert health.given_up(0.1)


@pytest.mark.parametrize("answer", [DOWN, OK])
def test_a_host_that_had_an_address_may_lose_it_for_longer(answer: ReplyVerdict) -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    health.saw(answer)
    health.saw(NOT_RESOLVED, "OMNEO_TENANT")
    health.saw(NOT_RESOLVED, "OMNEO_TENANT")
    assert health.unresolved == ""
    assert not health.given_up(600)
    assert health.given_up(600.1)


def test_patience_shorter_than_for_a_name_stays_so() -> None:
    health = Health(FakeClock(), 2)
    health.saw(NOT_RESOLVED, "OMNEO_TENANT")
    assert health.given_up(2.1)


def test_an_answered_query_does_not_end_a_throttle_on_writes() -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    health.saw(DOWN)
    clock.now = 1
    health.saw(OK, to_question=True)
    assert health.outage_s() == 0
    clock.now = 0
    health.saw(SLOW_DOWN)
    clock.now = 5
    health.saw(OK, to_question=True)
    assert health.outage_s() == 5
    health.saw(OK)
    assert health.outage_s() == 0
    health.saw(SLOW_DOWN, to_question=True)
    clock.now = 9
    assert health.outage_s() == 4
    health.saw(OK, to_question=True)
    assert health.outage_s() == 0


def test_health_forgets_an_outage_that_is_over() -> None:
    clock = FakeClock()
    health = Health(clock, 10)
    health.saw(DOWN)
    clock.now = 11
    assert health.given_up()
    health.saw(ReplyVerdict(Meaning.REFUSED, 422))
    assert not health.given_up()
    assert health.outage_s() == 0
