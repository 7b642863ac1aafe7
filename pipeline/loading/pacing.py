"""How fast to send: learned from what the server says, never faster than the caps.

`Rate` and `Concurrency` are plain models without waiting, so a day of them can be simulated in a second;
`Gate` is where requests wait. Omneo counts requests per API user by the minute and says so in
`X-RateLimit-Limit` and `X-RateLimit-Remaining` (inferred: the backend is Laravel, whose window starts
with the first request and lasts a minute). Nothing here relies on the kind of window.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.loading.clock import Clock
from pipeline.loading.retry import Meaning, Verdict

WINDOW_S: Final = 60.0
SHARE: Final = 0.985
"""Share of the limit that is aimed at: with the burst it stays below the limit in any minute."""
BURST: Final = 0.01
"""Share of a minute's requests that may be sent at once after a pause."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What an answer says about the pace.

    Attributes:
        meaning: What it means for the transaction; None for an answer that is not about one.
        latency_s: From sending to the whole answer.
        limit: Requests a minute that the server allows this API user; None where it does not say.
        remaining: Requests left in the server's current window, for all clients of this API user.
        retry_after_s: As asked.
    """

    meaning: Meaning
    latency_s: float
    limit: int | None = None
    remaining: int | None = None
    retry_after_s: float | None = None


def hint(verdict: Verdict, headers: Mapping[str, str], latency_s: float) -> Hint:
    """Read the throttle headers of an answer; malformed ones count as absent."""
    return Hint(
        verdict.meaning,
        latency_s,
        _count(headers.get("x-ratelimit-limit")),
        _count(headers.get("x-ratelimit-remaining")),
        verdict.retry_after_s,
    )


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


class Rate:
    """A token bucket whose rate is learned.

    The rate is the limit less what other clients of the same API user take, which shows in how fast
    `Remaining` falls. When nothing remains, sending pauses to the end of the server's window, as far as
    that is known; otherwise it goes on one at a time.

    Args:
        now: Seconds, monotonic.
        cap_per_min: Never faster than this; None for no cap.
    """

    def __init__(self, now: float, cap_per_min: float | None = None) -> None:
        self._cap = cap_per_min
        self._limit: float | None = None
        self._told = False  # whether the limit is the server's word, or a guess from its refusals
        self._others = 0.0  # requests a minute by other clients
        self._tokens = 1.0
        self._filled_at = now
        self._blocked_until = now
        self._in_flight = 0
        self._peak_in_flight = 0
        self._lowest: int | None = None  # least `Remaining` seen in the server's current window
        self._window_end: float | None = None
        self._measure_from: tuple[float, int] | None = None  # when, and `Remaining` then
        self._answered = 0  # own answers since then
        self._recent: deque[tuple[float, int]] = deque()  # requests sent, by second, for the guess
        self._grown_at = now

    @property
    def per_min(self) -> float:
        """Requests a minute aimed at; infinite while no limit is known."""
        limits = [] if self._cap is None else [self._cap]
        if self._limit is not None:
            limits.append(max(SHARE * self._limit - self._others, 0.02 * self._limit))
        return min(limits, default=math.inf)

    def wait_s(self, now: float) -> float:
        """Seconds until the next request may leave; 0 for at once."""
        if now < self._blocked_until:
            return self._blocked_until - now
        rate = self.per_min / WINDOW_S
        if math.isinf(rate):
            return 0.0
        self._fill(now, rate)
        bucket = max(0.0, (1.0 - self._tokens) / rate)
        return max(bucket, self._exhausted_s(now))

    def sent(self, now: float) -> None:
        """A request leaves."""
        self._tokens -= 1.0
        self._in_flight += 1
        self._peak_in_flight = max(self._peak_in_flight, self._in_flight)
        second = int(now)
        if self._recent and self._recent[-1][0] == second:
            self._recent[-1] = (second, self._recent[-1][1] + 1)
        else:
            self._recent.append((second, 1))
            while self._recent[0][0] < now - WINDOW_S:
                self._recent.popleft()

    def learn(self, now: float, told: Hint) -> None:
        """An answer, or the lack of one, came back."""
        self._in_flight -= 1
        self._answered += 1
        if told.limit is not None:
            self._learn_limit(float(told.limit))
        if told.remaining is not None and self._limit is not None:
            self._learn_remaining(now, told.remaining)
        if told.meaning is Meaning.THROTTLED:
            self._learn_refusal(now, told)
        elif not self._told and self._limit is not None and now - self._grown_at >= WINDOW_S:
            self._limit, self._grown_at = self._limit * 1.02 + 1, now

    def _fill(self, now: float, rate: float) -> None:
        burst = max(1.0, BURST * rate * WINDOW_S)
        self._tokens = min(burst, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now

    def _exhausted_s(self, now: float) -> float:
        if self._window_end is not None and now >= self._window_end:
            self._lowest, self._window_end = None, self._window_end + WINDOW_S
        if self._lowest is None or self._lowest > self._in_flight:
            return 0.0
        if self._window_end is not None:
            return self._window_end - now
        return 0.05 if self._in_flight else 0.0

    def _learn_limit(self, limit: float) -> None:
        if limit != self._limit:
            self._measure_from = None
        self._limit, self._told = limit, True

    def _learn_remaining(self, now: float, remaining: int) -> None:
        limit = self._limit or 0.0
        jump = max(self._peak_in_flight + 2, 0.1 * limit)
        if self._lowest is not None and remaining > self._lowest + jump:
            self._window_end = now + WINDOW_S
            self._lowest = None
            self._measure_from = None
            self._peak_in_flight = self._in_flight
        self._lowest = remaining if self._lowest is None else min(self._lowest, remaining)
        self._measure_others(now, limit)

    def _measure_others(self, now: float, limit: float) -> None:
        lowest = self._lowest or 0
        if self._measure_from is None:
            self._measure_from, self._answered = (now, lowest), 0
            return
        since, then = self._measure_from
        span = now - since
        if span < max(2.0, 6 * WINDOW_S / limit if limit else 0.0):
            return
        theirs = max(0.0, (then - lowest) - self._answered) * WINDOW_S / span
        self._others += 0.3 * (theirs - self._others)
        self._measure_from, self._answered = (now, lowest), 0

    def _learn_refusal(self, now: float, told: Hint) -> None:
        wait = told.retry_after_s if told.retry_after_s is not None else 1.0
        self._blocked_until = max(self._blocked_until, now + wait)
        self._tokens = min(self._tokens, 1.0)
        if self._told:
            self._lowest, self._window_end = 0, self._blocked_until
            self._measure_from = None
        elif now - self._grown_at > 1.0 or self._limit is None:
            self._limit = max(1.0, float(sum(count for _, count in self._recent)) - 1)
            self._grown_at = self._blocked_until


class Concurrency:
    """How many requests may be in flight: raised while latency holds, halved on trouble.

    Args:
        cap: Never more than this.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._limit = float(min(4, cap))
        self._starting = True
        self._cut_at = -math.inf
        self._best: deque[tuple[float, float]] = deque(maxlen=6)  # (decade of seconds, least latency)

    @property
    def limit(self) -> int:
        """Requests in flight at most."""
        return int(self._limit)

    def learn(self, now: float, told: Hint) -> None:
        """An answer, or the lack of one, came back."""
        if told.meaning in (Meaning.TAKEN, Meaning.REFUSED):
            self._adapt(now, told.latency_s)
        elif now - self._cut_at >= max(1.0, told.latency_s):
            self._limit, self._cut_at, self._starting = max(1.0, self._limit / 2), now, False

    def _adapt(self, now: float, latency_s: float) -> None:
        best = self._best_latency(now, latency_s)
        # A quarter of a second more than the best is no sign of trouble on a line over the world.
        if latency_s <= 2 * best + 0.25:
            self._limit += 1.0 if self._starting else 1.0 / self._limit
        else:
            self._starting = False
            self._limit -= 0.5 / self._limit
        self._limit = min(float(self._cap), max(1.0, self._limit))

    def _best_latency(self, now: float, latency_s: float) -> float:
        decade = now // 10
        if self._best and self._best[-1][0] == decade:
            if latency_s < self._best[-1][1]:
                self._best[-1] = (decade, latency_s)
        else:
            self._best.append((decade, latency_s))
        return min(latency for _, latency in self._best)


class Gate:
    """Where requests wait for their turn: first come, first served, by one pace for all.

    Args:
        clock: Its monotonic side.
        concurrency: Requests in flight at most.
        cap_per_min: Requests a minute at most; None for no cap.
        throttled: Is told the pause in seconds and the new pace when the server says 429.
    """

    def __init__(
        self,
        clock: Clock,
        concurrency: int,
        cap_per_min: float | None = None,
        throttled: Callable[[float, float], None] | None = None,
    ) -> None:
        self._clock = clock
        self.rate = Rate(clock.monotonic(), cap_per_min)
        self.concurrency = Concurrency(concurrency)
        self._throttled = throttled
        self._in_flight = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    async def enter(self) -> None:
        """Wait until a request may leave, and count it as in flight."""
        if self._turn.locked() or self._must_wait():
            async with self._turn:
                await self._wait()
        self._in_flight += 1
        self.rate.sent(self._clock.monotonic())

    def answered(self, told: Hint) -> None:
        """Learn from an answer. The place stays taken until `leave`."""
        now = self._clock.monotonic()
        self.rate.learn(now, told)
        self.concurrency.learn(now, told)
        if told.meaning is Meaning.THROTTLED and self._throttled is not None:
            self._throttled(self.rate.wait_s(now), self.rate.per_min)

    def leave(self) -> None:
        """Give the place to the next."""
        self._in_flight -= 1
        self._freed.set()

    def _must_wait(self) -> bool:
        full = self._in_flight >= self.concurrency.limit
        return full or self.rate.wait_s(self._clock.monotonic()) > 0

    async def _wait(self) -> None:
        while self._must_wait():
            if self._in_flight >= self.concurrency.limit:
                self._freed.clear()
                await self._freed.wait()
            else:
                # Short naps: an answer may change the pace meanwhile.
                await self._clock.sleep(min(1.0, self.rate.wait_s(self._clock.monotonic())))
