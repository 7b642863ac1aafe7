"""The throttle: its arithmetic with a clock of our own, its headers over the wire."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulator.middleware import RateLimiter


class ClockByHand:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_window_begins_with_the_first_request_and_refusals_do_not_count():
    clock = ClockByHand()
    limiter = RateLimiter(clock)
    assert [limiter.ask("a", 2, 60).allowed for _ in range(4)] == [True, True, False, False]
    clock.now += 59.5
    assert limiter.ask("a", 2, 60) == (False, 2, 0, 1)
    clock.now += 0.5
    assert limiter.ask("a", 2, 60) == (True, 2, 1, 60)


def test_windows_are_remembered():
    clock = ClockByHand()
    limiter = RateLimiter(clock)
    for _ in range(3):
        limiter.ask("a", 2, 60)
        clock.now += 40
    assert [(each.began_at, each.used) for each in limiter.windows] == [(1000, 2), (1080, 1)]
    limiter.clear()
    assert not limiter.windows


def test_tokens_do_not_share():
    limiter = RateLimiter(ClockByHand())
    assert [limiter.ask(token, 1, 60).allowed for token in "aab"] == [True, False, True]


def test_a_new_limit_holds_at_once():
    limiter = RateLimiter(ClockByHand())
    assert [limiter.ask("a", 5, 60).remaining for _ in range(3)] == [4, 3, 2]
    assert limiter.ask("a", 2, 60) == (False, 2, 0, 60)
    assert limiter.ask("a", 10, 60) == (True, 10, 6, 60)
    assert limiter.ask("a", 10, 1).retry_after_s == 1


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200), st.integers(1, 10))
def test_no_window_lets_more_than_the_limit_pass(pauses, limit):
    clock = ClockByHand()
    limiter = RateLimiter(clock)
    passed = []
    for pause in pauses:
        clock.now += pause
        if limiter.ask("a", limit, 10).allowed:
            passed.append(clock.now)
    start, count = passed[0], 0
    for moment in passed:
        if moment >= start + 10:
            start, count = moment, 0
        count += 1
        assert count <= limit


def test_every_answer_says_what_is_left(omneo, api, sale):
    omneo.set_faults(throttle_requests=5)
    answers = [
        api.get("/locations"),
        api.post("/transactions/queue", json=sale()),
        api.post("/transactions/queue", json={}),
        api.get("/transactions/external/none"),
        api.get("/nonsense"),
        api.get("/locations"),
    ]
    assert [each.status_code for each in answers] == [200, 200, 422, 404, 404, 429]
    assert {each.headers["X-RateLimit-Limit"] for each in answers} == {"5"}
    assert [each.headers["X-RateLimit-Remaining"] for each in answers] == ["4", "3", "2", "1", "0", "0"]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert all("Retry-After" not in each.headers for each in answers[:-1])


def test_retry_after_may_be_a_date(omneo, api):
    omneo.set_faults(throttle_requests=1, retry_after_date=True)
    api.get("/locations")
    until = parsedate_to_datetime(api.get("/locations").headers["Retry-After"])
    assert 0 < (until - datetime.now(UTC)).total_seconds() <= 61


def test_a_refused_request_takes_nothing(omneo, api, sale):
    omneo.set_faults(throttle_requests=1)
    assert [api.post("/transactions/queue", json=sale(f"S-{n}")).status_code for n in range(2)] == [200, 429]
    assert [each.external_id for each in omneo.arrivals()] == ["S-0"]


def test_without_a_throttle_there_are_no_headers(omneo, api):
    omneo.set_faults(throttle_requests=0)
    assert not [name for name in api.get("/locations").headers if name.startswith("x-ratelimit")]
