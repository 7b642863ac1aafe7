from __future__ import annotations

import asyncio
import json
from email.utils import formatdate

import pytest

from pipeline.errors import StoppedByApi
from pipeline.loading.client import Answered, Unknown, Unsent, Untrusted
from pipeline.loading.clock import FakeClock
from pipeline.loading.retry import (
    Health,
    Meaning,
    RetryPolicy,
    Verdict,
    judge,
    retry_after_s,
    retrying,
    stopped,
)

NOW = 1_700_000_000.0
DOWN = Verdict(Meaning.TRANSIENT, 503, in_doubt=True)
SLOW_DOWN = Verdict(Meaning.THROTTLED, 429, retry_after_s=7.0)
OK = Verdict(Meaning.TAKEN, 200)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, Meaning.TAKEN),
        (201, Meaning.TAKEN),
        (302, Meaning.FATAL),
        (400, Meaning.REFUSED),
        (401, Meaning.FATAL),
        (403, Meaning.FATAL),
        (404, Meaning.FATAL),
        (405, Meaning.FATAL),
        (408, Meaning.TRANSIENT),
        (413, Meaning.REFUSED),
        (422, Meaning.REFUSED),
        (429, Meaning.THROTTLED),
        (500, Meaning.TRANSIENT),
        (503, Meaning.TRANSIENT),
    ],
)
def test_each_status_has_a_meaning(status: int, meaning: Meaning) -> None:
    assert judge(Answered(status), NOW).meaning is meaning


def test_a_404_to_a_look_up_is_an_answer() -> None:
    assert judge(Answered(404), NOW, lookup=True).meaning is Meaning.REFUSED


def test_only_a_request_that_may_have_arrived_leaves_a_doubt() -> None:
    replies = (Unsent("no route"), Unknown("reset"), Answered(500), Answered(429), Answered(422))
    assert [judge(reply, NOW).in_doubt for reply in replies] == [False, True, True, False, False]


def test_tls_failure_is_fatal() -> None:
    verdict = judge(Untrusted("self-signed"), NOW)
    assert verdict.meaning is Meaning.FATAL
    assert "TLS" in str(stopped(verdict, "https://api"))


def test_the_words_of_a_refusal_are_kept_by_field() -> None:
    body = b'{"message": "Invalid.", "errors": {"items.0.name": ["Required.", "Short."], "total": "Bad."}}'
    verdict = judge(Answered(422, body), NOW)
    assert verdict.fields == {"items.0.name": ("Required.", "Short."), "total": ("Bad.",)}
    assert verdict.words() == (
        '{"message": "Invalid.", "errors": {"items.0.name": ["Required.", "Short."], "total": ["Bad."]}}'
    )


@pytest.mark.parametrize(
    "body", [b"<html>Too large</html>", b"[1]", b"\xff\xfe", b"", b'{"errors": 5}', b"[", b'{"a":']
)
def test_any_body_of_an_error_can_be_read(body: bytes) -> None:
    for each in (body, body * 3000, body * 100_000):
        verdict = judge(Answered(413, each), NOW)
        assert verdict.meaning is Meaning.REFUSED
        assert len(verdict.words()) <= 1000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'["too", "big"]', '["too", "big"]'),
        (b'"no"', '"no"'),
        (b'{"errors": ["first", "second"]}', '{"errors": ["first", "second"]}'),
        (b'{"message": {"a": 1}}', '{"message": {"a": 1}}'),
        (b"  <html><head><title>Too\nlarge</title>", "a web page, 'Too large'"),
        (b"two\n  lines", "two lines"),
    ],
)
def test_words_of_any_other_form_are_kept_as_they_are(body: bytes, message: str) -> None:
    assert judge(Answered(400, body), NOW).message == message


def test_names_and_number_of_fields_are_bounded() -> None:
    errors = {f"{'x' * 500}\ud800{n}": [{"deep": ["er"]}] for n in range(500)}
    fields = judge(Answered(422, json.dumps({"errors": errors}).encode()), NOW).fields
    assert len(fields) <= 50
    assert all(len(name) <= 100 and name.isprintable() for name in fields)


@pytest.mark.parametrize("lookup", [True, False])
def test_a_page_is_no_answer_whatever_its_status_says(lookup: bool) -> None:
    verdict = judge(Answered(200, b"\r\n<!doctype html><title>Log in</title>"), NOW, lookup=lookup)
    assert (verdict.meaning, verdict.in_doubt) == (Meaning.TRANSIENT, True)
    assert verdict.message == "no answer of this API: a web page, 'Log in'"


@pytest.mark.parametrize("body", [b"", b"OK", b'{"data": "OK"}'])
def test_any_other_yes_is_a_yes(body: bytes) -> None:
    assert judge(Answered(200, body), NOW).meaning is Meaning.TAKEN


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0.0),
        # The server's clock is a day ahead of ours: its own Date tells the wait.
        (
            {
                "retry-after": formatdate(NOW + 86_430, usegmt=True),
                "date": formatdate(NOW + 86_400, usegmt=True),
            },
            30.0,
        ),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "٣"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, NOW) == seconds


def waits(
    verdicts: list[Verdict], policy: RetryPolicy, give_up_after_s: float = 600.0
) -> tuple[list[float], Verdict]:
    """The pauses between attempts that get these verdicts, and the last of them."""
    clock = FakeClock()
    health = Health(clock, give_up_after_s)
    left = iter(verdicts)

    async def attempt() -> Verdict:
        verdict = next(left)
        health.saw(verdict)
        return verdict

    async def before_sleep(state: object) -> None:
        pass

    async def main() -> Verdict:
        return await retrying(policy, health, before_sleep, clock.sleep)(attempt)

    last = asyncio.run(main())
    return clock.slept, last


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=3, first_wait_s=1, longest_wait_s=8, jitter=0)
    slept, last = waits([DOWN] * 6 + [OK], policy)
    assert slept == [1, 2, 4, 8, 8, 8]
    assert last is OK


def test_jitter_only_lengthens() -> None:
    slept, _ = waits([DOWN] * 20 + [OK], RetryPolicy(first_wait_s=1, longest_wait_s=1, jitter=0.5))
    assert all(1 <= wait <= 1.5 for wait in slept)
    assert len(set(slept)) > 10


def test_what_a_server_asks_for_lengthens_our_own_wait_and_never_shortens_it() -> None:
    policy = RetryPolicy(first_wait_s=1, longest_wait_s=16, jitter=0)
    asked = [7, 0, 0, None, 0.5, 40, 0, 3]
    refusals = [Verdict(Meaning.THROTTLED, 429, retry_after_s=each) for each in asked]
    slept, last = waits([*refusals, OK], policy)
    assert slept == [7, 2, 4, 8, 16, 40, 16, 16]
    assert last is OK


def test_an_outage_ends_after_the_time_given() -> None:
    policy = RetryPolicy(first_wait_s=1, longest_wait_s=10, jitter=0)
    slept, last = waits([DOWN] * 100, policy, give_up_after_s=100)
    assert last is DOWN
    assert 100 < sum(slept) <= 110


def test_a_pause_longer_than_the_patience_is_not_waited_for() -> None:
    slept, last = waits([Verdict(Meaning.THROTTLED, 429, retry_after_s=3600)], RetryPolicy(), 600)
    assert slept == []
    assert last.meaning is Meaning.THROTTLED


def test_one_that_fails_alone_is_given_up_after_its_attempts() -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    attempts = 0

    async def attempt() -> Verdict:
        nonlocal attempts
        attempts += 1
        health.saw(DOWN)
        health.saw(OK)  # others get through
        return DOWN

    async def before_sleep(state: object) -> None:
        pass

    async def main() -> Verdict:
        return await retrying(RetryPolicy(attempts=5), health, before_sleep, clock.sleep)(attempt)

    assert asyncio.run(main()) is DOWN
    assert attempts == 5


def test_being_throttled_is_no_failing() -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    left = iter([SLOW_DOWN] * 20 + [OK])

    async def attempt() -> Verdict:
        verdict = next(left)
        health.saw(verdict)
        health.saw(OK)
        return verdict

    async def before_sleep(state: object) -> None:
        pass

    async def main() -> Verdict:
        return await retrying(RetryPolicy(attempts=3), health, before_sleep, clock.sleep)(attempt)

    assert asyncio.run(main()) is OK


def test_what_failed_in_an_outage_may_fail_again_after_it() -> None:
    clock = FakeClock()
    health = Health(clock, 600)
    left = iter([DOWN] * 20 + [OK])
    made: list[Verdict] = []

    async def attempt() -> Verdict:
        made.append(next(left))
        health.saw(made[-1])
        if len(made) >= 18:  # the outage is over, and others get through
            health.saw(OK)
        return made[-1]

    async def before_sleep(state: object) -> None:
        pass

    async def main() -> Verdict:
        return await retrying(RetryPolicy(attempts=5), health, before_sleep, clock.sleep)(attempt)

    assert asyncio.run(main()) is OK
    assert len(made) == 21


def test_health_forgets_an_outage_that_is_over() -> None:
    clock = FakeClock()
    health = Health(clock, 10)
    health.saw(DOWN)
    clock.now = 11
    assert health.given_up()
    health.saw(Verdict(Meaning.REFUSED, 422))
    assert not health.given_up()
    assert health.outage_s() == 0


@pytest.mark.parametrize("status", [401, 403, 302, 404])
def test_a_fatal_answer_becomes_an_error_with_a_fix(status: int) -> None:
    headers = {"location": "https://elsewhere/"}
    error = stopped(judge(Answered(status, b'{"message": "Unauthenticated."}', headers), NOW), "https://api")
    assert isinstance(error, StoppedByApi)
    assert error.hint
    assert str(status) in error.message
    if status == 302:
        assert "https://elsewhere/" in error.message
