"""How fast to send: learned from what the server says, never faster than the caps.

`LearnedRate` and `Concurrency` are plain models without waiting, so a day of them can be simulated in a
second; `Throttle` is where requests wait. Omneo counts requests per API user by the minute and says so in
`X-RateLimit-Limit` and `X-RateLimit-Remaining` (inferred: the backend is Laravel, whose window starts
with the first request and lasts a minute). Nothing here relies on the kind of window.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pipeline.core.clock import Clock
from pipeline.loading.http.answers import Meaning, ReplyVerdict, count_of
from pipeline.loading.http.retry_policy import RetryPolicy

WINDOW_S: Final = 60.0
SHARE: Final = 0.985
"""Share of the limit that is aimed at: with the burst it stays below the limit in any minute."""
BURST: Final = 0.015
"""Share of a minute's requests that may be sent at once after a pause."""
CATCH_UP: Final = 0.1
"""The same where the server's window is known, whose `Remaining` bounds what is sent in it."""
_EVIDENCE: Final = 20
"""Requests between two refusals from which a limit may be guessed."""
_NOTHING: Final = 1e-9
_OUTAGE: Final = 8
"""Failures in a row that are an outage, and no longer about single transactions."""
_RECENT_S: Final = 5.0
"""A wait of so long ago still says what limits the pace: at 12 requests a minute there is one in 5 s."""
_LONGEST_OUTAGE_S: Final = 5.0
"""Pause of our own, at most, while a server only fails: its return should not be noticed late."""


@dataclass(frozen=True, slots=True)
class PaceHint:
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


def pace_hint(verdict: ReplyVerdict, headers: Mapping[str, str], latency_s: float) -> PaceHint:
    """Read the throttle headers of an answer; malformed ones count as absent."""
    return PaceHint(
        verdict.meaning,
        latency_s,
        count_of(headers.get("x-ratelimit-limit")) or None,  # 0 would be no limit, not nothing at all
        count_of(headers.get("x-ratelimit-remaining")),
        verdict.retry_after_s,
    )


class PaceLimit(NamedTuple):
    """What limits the pace.

    Attributes:
        text: For people; empty where it is neither Omneo nor an option.
        per_min: Requests a minute that it allows; None for no such bound.
    """

    text: str = ""
    per_min: float | None = None


class LearnedRate:
    """A token bucket whose rate is learned.

    The rate is the limit less what other clients of the same API user take, which shows in how fast
    `Remaining` falls. When nothing remains, sending pauses to the end of the server's window, as far as
    that is known; otherwise it goes on one at a time.

    Args:
        now: Seconds, monotonic.
        cap_per_min: Never faster than this; None for no cap.
        window_s: Length of the window that the server's limit is for.
        policy: How long to pause, at least, while the server only refuses or fails.
    """

    def __init__(
        self,
        now: float,
        cap_per_min: float | None = None,
        window_s: float = WINDOW_S,
        policy: RetryPolicy = RetryPolicy(),  # noqa: B008 (it is frozen)
    ) -> None:
        self._cap = cap_per_min
        self._window_s = window_s
        self._limit: float | None = None  # requests in a window
        self._others = 0.0  # of those, what other clients take
        self._own = 0.0  # and what this one takes
        self._sharers = 1
        self._tokens = 1.0
        self._filled_at = now
        self._blocked_until = now
        self._in_flight = 0
        self._window = _Window(window_s)
        self._guess = _Guess(now, window_s)
        self._limit_is_known = False  # whether the server said it; else it is guessed
        self._backoff = _Backoff(policy)
        self._measured: tuple[float, int] | None = None  # when, and what remained then
        self._answered = 0  # own answers since then

    @property
    def per_min(self) -> float:
        """Requests a minute aimed at; infinite while no limit is known."""
        limits = [] if self._cap is None else [self._cap]
        if self._limit is not None:
            # Never below 2%: the share of others is an estimate, and only what is sent can correct it.
            ours = max(SHARE * self._limit - max(0.0, self._foreign()), 0.02 * self._limit)
            limits.append(ours * 60.0 / self._window_s)
        return min(limits, default=math.inf) / self._sharers

    @property
    def limit(self) -> PaceLimit:
        """What makes requests wait for their turn."""
        if math.isinf(per_min := self.per_min):
            return PaceLimit("a pause after errors of Omneo")
        if self._limit is None or (self._cap is not None and self._cap / self._sharers <= per_min):
            return PaceLimit(f"--rate {self._cap:,.12g}/min", per_min)
        about = "" if self._limit_is_known else "about "
        return PaceLimit(
            f"Omneo's limit of {about}{self._limit * 60.0 / self._window_s:,.0f} a minute", per_min
        )

    def share(self, sharers: int) -> None:
        """Take an equal share of what so many workers, this one included, may send together."""
        self._sharers = sharers

    def _foreign(self) -> float:
        """What clients take that are not among the sharers, who all send about as much as this one."""
        return self._others - (self._sharers - 1) * self._own if self._window.fixed else self._others

    def wait_s(self, now: float) -> float:
        """Seconds until the next request may leave; 0 for at once."""
        if now < self._blocked_until:
            return self._blocked_until - now
        per_s = self.per_min / 60.0
        if math.isinf(per_s):
            return 0.0
        burst = CATCH_UP if self._cap is None and self._window.is_known else BURST
        self._tokens = min(
            max(1.0, burst * per_s * self._window_s), self._tokens + (now - self._filled_at) * per_s
        )
        self._filled_at = now
        missing = max(0.0, 1.0 - self._tokens)
        # Ignore rounding errors of floats: a coarse clock might never get past so short a wait.
        own_s = 0.0 if missing < _NOTHING else missing / per_s
        return max(own_s, self._window.wait_s(now, self._in_flight))

    def sent(self, now: float) -> None:
        """A request leaves."""
        self._tokens -= 1.0
        self._in_flight += 1
        self._guess.sent(now)

    def learn(self, now: float, hint: PaceHint) -> None:
        """An answer, or the lack of one, came back."""
        self._in_flight -= 1
        self._answered += 1
        if hint.limit is not None:
            self._limit_is_known = True
            if hint.limit != self._limit:
                self._limit, self._measured = float(hint.limit), None
            if hint.remaining is not None:
                self._learn_remaining(now, hint, hint.limit, hint.remaining)
        pause_s = self._backoff.pause_s(now, hint)
        if pause_s:
            self._blocked_until = max(self._blocked_until, now + pause_s)
        if hint.meaning is Meaning.THROTTLED:
            self._learn_refusal(now)
        elif not self._limit_is_known:
            self._limit = self._guess.grown(self._limit)

    def _learn_remaining(self, now: float, hint: PaceHint, limit: int, remaining: int) -> None:
        if self._window.learn(now, now - hint.latency_s, limit, remaining):
            self._measured = None
        if self._measured is None:
            self._measured, self._answered = (now, remaining), 0
            return
        since, then = self._measured
        span = now - since
        # In less than 1/30 of the window, or six requests, those in flight weigh more than those measured.
        if span < self._window_s * max(1 / 30, 6 / max(limit, 1)):
            return
        if self._window.fixed:
            # May be negative, like the noise of requests in flight: clipped at 0 it would add up.
            per_window = self._window_s / span
            theirs = ((then - remaining) - self._answered) * per_window
            # A moving average: one odd measurement moves it by a third, a new client is known after a few.
            self._others += 0.3 * (theirs - self._others)
            self._own += 0.3 * (self._answered * per_window - self._own)
        # No window shows how much others take, so their share is tried out: it falls slowly while enough
        # remains, and rises twice as fast once hardly anything does.
        elif remaining > 0.015 * limit + 1:
            self._others = max(0.0, self._others - 0.01 * limit)
        elif remaining <= 0.005 * limit:
            self._make_room(limit)
        self._measured, self._answered = (now, remaining), 0

    def _make_room(self, limit: float) -> None:
        """Where `Remaining` comes back bit by bit, all that shows of others is that little is left."""
        self._others = min(limit, max(0.0, self._others) + 0.02 * limit)

    def _learn_refusal(self, now: float) -> None:
        self._tokens = min(self._tokens, 1.0)
        self._measured = None
        if self._limit_is_known and self._limit is not None:
            if not self._window.fixed:
                self._make_room(self._limit)
            self._window.refused(self._blocked_until)
        else:
            self._limit = self._guess.refused(self._limit, now, self._blocked_until)


class _Backoff:
    """Pauses for all, which grow while a server does nothing but refuse or fail.

    What a server asks for may lengthen a pause and never shortens it: by `Retry-After: 0`, or a date in the
    past, we would ask again at once and for ever.

    Args:
        policy: Its waits.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._refusals = 0
        self._failures = 0
        self._last_at = -math.inf  # when an answer made for the last pause
        self._until = -math.inf

    def pause_s(self, now: float, hint: PaceHint) -> float:
        """Seconds to pause for after an answer, from now on; 0 for none."""
        sent_at = now - hint.latency_s
        if hint.meaning not in (Meaning.THROTTLED, Meaning.TRANSIENT):
            if sent_at >= self._last_at:
                self._refusals = self._failures = 0
            return 0.0
        asked_s, longest_s = 0.0, math.inf
        if hint.meaning is Meaning.THROTTLED:
            asked_s = hint.retry_after_s or 0.0
        else:
            longest_s = _LONGEST_OUTAGE_S
            self._failures += 1
            if self._failures < _OUTAGE:
                return 0.0
        if sent_at < self._until:  # sent before the last pause, like the one that caused it
            return asked_s
        self._refusals += 1
        # With jitter, so that several loaders do not come back in step.
        pause_s = max(asked_s, self._policy.wait_s(self._refusals, longest_s))
        self._last_at, self._until = now, now + pause_s
        return pause_s


class _Window:
    """What remains of the server's current window, and when it ends, as far as that shows.

    Where `Remaining` does not come back in leaps, the limit is not counted by fixed windows: then only
    the last word counts, and no end is known.

    Attributes:
        fixed: Whether the limit seems to be counted by fixed windows.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._remaining: int | None = None
        self._ends: float | None = None
        self.fixed = True

    @property
    def is_known(self) -> bool:
        """Whether it is known how much of a window remains, and when that ends."""
        return self._remaining is not None and self._ends is not None

    def wait_s(self, now: float, in_flight: int) -> float:
        """Seconds to wait because nothing remains."""
        if self._remaining is None or self._remaining > in_flight:
            return 0.0
        if self._ends is not None:
            return max(0.0, self._ends - now)
        # One request at a time, at the pace: each answer says how much remains now.
        return 0.05 if in_flight else 0.0

    def learn(self, now: float, sent_at: float, limit: int, remaining: int) -> bool:
        """Take note of an answer; returns whether a new window has begun with it."""
        over = self._ends is not None and sent_at >= self._ends
        leap = self._remaining is not None and remaining > self._remaining + limit / 2
        first = self._remaining is None and remaining >= limit - 1
        if first or leap or (over and remaining >= limit / 2):
            self._ends, self._remaining, self.fixed = now + self._window_s, remaining, True
            return True
        if over:
            self._ends, self.fixed = None, False
        self._remaining = min(self._remaining or 0, remaining) if self.is_known else remaining
        return False

    def refused(self, until: float) -> None:
        """The server said when it will take requests again."""
        self._remaining, self._ends = 0, until


class _Guess:
    """The limit of a server that only refuses: what it took since its last refusal is what it allows."""

    def __init__(self, now: float, window_s: float) -> None:
        self._window_s = window_s
        self._since = now
        self._sent = 0
        self._good = 0

    def sent(self, now: float) -> None:
        if self._sent == 0:
            self._since = max(self._since, now)
        self._sent += 1

    def refused(self, limit: float | None, now: float, until: float) -> float | None:
        """The limit by a refusal that holds until then; None while too little was sent to guess one."""
        sent, elapsed = self._sent, max(until - self._since, 0.001)
        if sent == 0:  # The refused requests were sent before the last refusal, so they say nothing new.
            return limit
        guessed = max(1.0, (sent - 1) / elapsed * self._window_s)
        self._sent, self._since, self._good = 0, until, 0
        # Other clients may have used the limit up. Then the pause that was asked for is enough.
        if sent <= _EVIDENCE:
            return None if limit is None else max(1.0, 0.95 * limit)
        # A refusal shows that the limit was too high, so it falls by 5% at least.
        return guessed if limit is None else max(1.0, min(guessed, 0.95 * limit))

    def grown(self, limit: float | None) -> float | None:
        """The limit after one more answer: it is tried a little higher, but seldom."""
        self._good += 1
        # Each try that is too high costs a refusal and its pause, so at most one try in 300 answers.
        if limit is None or self._good < 300:
            return limit
        self._good = 0
        return 1.02 * limit + 1


class Concurrency:
    """How many requests may be in flight: raised while latency holds, halved on trouble.

    Args:
        cap: Never more than this.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._limit = 1.0  # the first answer may say how narrow the limit is
        self._starting = True
        self._cut_at = -math.inf
        # Six decades of seconds: the best latency of the last minute, so that a slower server is accepted.
        self._best: deque[tuple[float, float]] = deque(maxlen=6)  # (decade of seconds, least latency)

    @property
    def limit(self) -> int:
        """Requests in flight at most."""
        return int(self._limit)

    @property
    def reason(self) -> str:
        """What bounds the requests in flight."""
        if self._limit < self._cap:
            return "the time that Omneo takes to answer"
        return f"--concurrency {self._cap}"

    def learn(self, now: float, hint: PaceHint) -> None:
        """An answer, or the lack of one, came back."""
        if hint.meaning in (Meaning.TAKEN, Meaning.REFUSED):
            self._adapt(now, hint.latency_s)
        elif now - self._cut_at >= max(1.0, hint.latency_s):
            self._limit, self._cut_at, self._starting = max(1.0, self._limit / 2), now, False

    def _adapt(self, now: float, latency_s: float) -> None:
        best = self._best_latency(now, latency_s)
        # 0.25 s above the best is no sign of trouble on a connection around the world.
        if latency_s <= 2 * best + 0.25:
            self._limit += 1.0 if self._starting else 1.0 / self._limit
        else:
            self._starting = False
            # Four times as fast down as up: a queue at the server grows faster than it drains.
            self._limit -= 4.0 / self._limit
        self._limit = min(float(self._cap), max(1.0, self._limit))

    def _best_latency(self, now: float, latency_s: float) -> float:
        decade = now // 10
        if self._best and self._best[-1][0] == decade:
            if latency_s < self._best[-1][1]:
                self._best[-1] = (decade, latency_s)
        else:
            self._best.append((decade, latency_s))
        return min(latency for _, latency in self._best)


class Throttle:
    """Where requests wait for their turn: first come, first served, by one pace for all.

    Args:
        clock: Its monotonic side.
        concurrency: Requests in flight at most.
        cap_per_min: Requests a minute at most; None for no cap.
        window_s: Length of the window that the server's limit is for.
        throttled: Gets the pause in seconds and the new pace when the server answers 429.
        policy: See `LearnedRate`.
    """

    def __init__(
        self,
        clock: Clock,
        concurrency: int,
        cap_per_min: float | None = None,
        window_s: float = WINDOW_S,
        throttled: Callable[[float, float], None] | None = None,
        policy: RetryPolicy = RetryPolicy(),  # noqa: B008
    ) -> None:
        self._clock = clock
        self.rate = LearnedRate(clock.monotonic(), cap_per_min, window_s, policy)
        self.concurrency = Concurrency(concurrency)
        self._throttled = throttled
        self._in_flight = 0
        self._is_shut = False
        self._queueing = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self._paced_at = self._full_at = -math.inf  # when a request last waited for the rate, or for a place

    async def enter(self) -> None:
        """Wait until a request may leave, and count it as in flight."""
        if self._queueing or self._must_wait():
            self._queueing += 1
            try:
                async with self._turn:
                    await self._wait()
            finally:
                self._queueing -= 1
        self._in_flight += 1
        self.rate.sent(self._clock.monotonic())

    def answered(self, hint: PaceHint) -> None:
        """Learn from an answer. The place stays taken until `leave`."""
        now = self._clock.monotonic()
        self.rate.learn(now, hint)
        self.concurrency.learn(now, hint)
        if hint.meaning is Meaning.THROTTLED and self._throttled is not None:
            self._throttled(self.rate.wait_s(now), self.rate.per_min)

    def shut(self) -> None:
        """Let no more requests out; tasks that wait must be cancelled."""
        self._is_shut = True

    def leave(self) -> None:
        """Give the place to the next."""
        self._in_flight -= 1
        self._freed.set()

    @property
    def limit(self) -> PaceLimit:
        """What limited the pace in the last seconds."""
        since = self._clock.monotonic() - _RECENT_S
        if self._paced_at >= since:
            return self.rate.limit
        return PaceLimit(self.concurrency.reason) if self._full_at >= since else PaceLimit()

    @property
    def _is_full(self) -> bool:
        return self._is_shut or self._in_flight >= self.concurrency.limit

    def _must_wait(self) -> bool:
        return self._is_full or self.rate.wait_s(self._clock.monotonic()) > 0

    async def _wait(self) -> None:
        while self._must_wait():
            if self._is_full:
                self._full_at = self._clock.monotonic()
                self._freed.clear()
                await self._freed.wait()
            else:
                self._paced_at = self._clock.monotonic()
                # Sleep a second at most: an answer may change the pace meanwhile.
                await self._clock.sleep(min(1.0, self.rate.wait_s(self._clock.monotonic())))
