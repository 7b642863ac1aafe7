"""The policy of sending again, as values of tenacity.

Only transient verdicts are retried; clock and sleep are passed in, so tests assert the waits and never sleep.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_result
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from pipeline.core.clock import Clock
from pipeline.loading.http.answers import Meaning, ReplyVerdict

_UNRESOLVED_S: Final = 5.0
"""How long a host may have no address: a name server may fail for a moment, a typing error does not pass."""


class Health:
    """Whether the API is up, as all requests together see it.

    Args:
        clock: Its monotonic side is used, so that clock jumps do not end a load.
        give_up_after_s: How long an outage may last.
    """

    def __init__(self, clock: Clock, give_up_after_s: float) -> None:
        self._clock = clock
        self._give_up_after_s = give_up_after_s
        self._failing_since: float | None = None
        self._unresolved = ""
        self._reached = False
        self._refuses_writes = False
        self.successes = 0

    def saw(self, verdict: ReplyVerdict, unresolved: str = "", *, to_question: bool = False) -> None:
        """Take note of an answer: anything that is not transient shows that the API is up.

        Queries may have a limit of their own, so they do not show that a throttle on writes has ended.

        Args:
            verdict: What it means.
            unresolved: See `client.Unsent`.
            to_question: Whether it answers a query.
        """
        self._unresolved = unresolved
        self._reached = self._reached or verdict.status is not None
        self._refuses_writes |= verdict.meaning is Meaning.THROTTLED and not to_question
        if verdict.again:
            if self._failing_since is None:
                self._failing_since = self._clock.monotonic()
            return
        self.successes += 1
        if not (to_question and self._refuses_writes):
            self._failing_since, self._refuses_writes = None, False

    def outage_s(self) -> float:
        """How long there has been nothing but failures."""
        return 0.0 if self._failing_since is None else self._clock.monotonic() - self._failing_since

    def given_up(self, wait_s: float = 0.0) -> bool:
        """Whether the outage will have lasted too long after waiting for `wait_s` more."""
        patience_s = min(self._give_up_after_s, _UNRESOLVED_S) if self.unresolved else self._give_up_after_s
        return self._failing_since is not None and self.outage_s() + wait_s > patience_s

    @property
    def unresolved(self) -> str:
        """The variable with a host that has had no address since the start; empty where there is none."""
        return "" if self._reached else self._unresolved


@dataclass(frozen=True)
class RetryPolicy:
    """When to send again.

    Attributes:
        attempts: Tries of one transaction between which others succeed; then it has failed.
        first_wait_s: Wait after the first failure; doubles each time.
        longest_wait_s: No wait of our own is longer. A server's `Retry-After` may be.
        jitter: Share by which a wait is lengthened at random, so that retries do not come in step.
    """

    attempts: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    jitter: float = 0.5

    def wait_s(self, failures: int, longest_s: float = math.inf) -> float:
        """Seconds to wait after so many failures in a row, 1 or more, with jitter.

        Before the jitter it is `longest_wait_s` or `longest_s` at most.
        """
        # The exponent is bounded: after hours of an outage the float would overflow.
        doubled = self.first_wait_s * 2.0 ** min(failures - 1, 30)
        lengthened = 1 + self.jitter * random.random()  # noqa: S311 (no secret)
        return min(doubled, self.longest_wait_s, longest_s) * lengthened


class wait_backing_off(wait_base):  # noqa: N801 (tenacity names its policies so)
    """Exponentially longer, with jitter; longer still where `Retry-After` asks for it, never shorter."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy

    def __call__(self, state: RetryCallState) -> float:
        """Seconds to wait after this attempt."""
        return max(self._policy.wait_s(state.attempt_number), verdict_of(state).retry_after_s or 0.0)


class stop_when_alone(stop_base):  # noqa: N801
    """Give up on one transaction after N failures during which other requests succeeded.

    Then the API is up, and the payload is the problem. Failures in an outage, where all fail, do not count.
    """

    def __init__(self, policy: RetryPolicy, health: Health) -> None:
        self._attempts = policy.attempts
        self._health = health
        self._before = health.successes
        self._alone = 1  # attempts; one failure is no outage yet

    def __call__(self, state: RetryCallState) -> bool:
        """Whether to stop after this attempt."""
        self._alone += state.attempt_number > 1 and self._health.successes > self._before
        self._before = self._health.successes
        # A 429 is about the pace, never about this transaction.
        return self._alone >= self._attempts and not _throttled(state)


class stop_after_outage(stop_base):  # noqa: N801
    """Stop once the outage is, or after the wait that was asked for will be, longer than allowed."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def __call__(self, state: RetryCallState) -> bool:
        """Whether to stop after this attempt."""
        return self._health.given_up(verdict_of(state).retry_after_s or 0.0)


def verdict_of(state: RetryCallState) -> ReplyVerdict:
    """The verdict of the attempt that tenacity asks about."""
    assert state.outcome is not None  # tenacity asks about attempts that were made
    verdict: ReplyVerdict = state.outcome.result()
    return verdict


def _throttled(state: RetryCallState) -> bool:
    return verdict_of(state).meaning is Meaning.THROTTLED


def retrying(
    policy: RetryPolicy,
    health: Health,
    before_sleep: Callable[[RetryCallState], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]],
) -> AsyncRetrying:
    """The policy for one transaction: call it with a function that makes an attempt.

    It returns the last verdict; a transient one means that the policy gave up.
    """
    return AsyncRetrying(
        retry=retry_if_result(lambda verdict: verdict.again),
        wait=wait_backing_off(policy),
        stop=stop_when_alone(policy, health) | stop_after_outage(health),
        sleep=sleep,
        before_sleep=before_sleep,
        retry_error_callback=verdict_of,
    )
