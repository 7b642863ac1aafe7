"""Requests at the common pace: one attempt through the throttle, or as many as the policy allows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from tenacity import RetryCallState

from pipeline.core.clock import Clock, SystemClock
from pipeline.core.errors import StoppedByApi
from pipeline.core.events import Emit, Notice
from pipeline.core.model import RequestCounts
from pipeline.core.settings import Connection
from pipeline.loading.http.answers import Meaning, ReplyVerdict, judge, stopped
from pipeline.loading.http.client import Answered, CallSender, Client, Reply, Unsent
from pipeline.loading.http.endpoints import ApiRequest
from pipeline.loading.http.interface import httpx
from pipeline.loading.http.retry_policy import Health, RetryPolicy, retrying, verdict_of
from pipeline.loading.http.throttle import Throttle, pace_hint
from pipeline.loading.loading_events import Retried, Throttled

DENIED: Final = frozenset({403, 405})
"""The statuses of what a token may not do, and of what cannot be asked for at all."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the traffic.

    Attributes:
        concurrency: Requests in flight at most.
        rate_per_min: Requests a minute at most; None follows the server's own limits only.
        give_up_after_s: How long an outage may last.
        timeout_s: For connecting, and for each pause within an answer.
        window_s: Length of the window that the server's own limit is for; a minute is inferred.
        policy: When a request is repeated.
    """

    concurrency: int = 64
    rate_per_min: float | None = None
    give_up_after_s: float = 600.0
    timeout_s: float = 30.0
    window_s: float = 60.0
    policy: RetryPolicy = field(default_factory=RetryPolicy)


_ALONE: Final = 8
"""Requests that fail at the same time and may still be to blame themselves; more are an outage."""

Conclude = Callable[[ReplyVerdict, Reply], Awaitable[None]]


async def _nothing(verdict: ReplyVerdict, reply: Reply) -> None:
    """Conclude nothing."""


class Waiting:
    """Tasks that wait for a while; meanwhile others may have their places.

    Args:
        clock: Time.
        changed: Is set when one begins to wait.

    Attributes:
        count: How many.
    """

    def __init__(self, clock: Clock, changed: asyncio.Event) -> None:
        self._clock = clock
        self._changed = changed
        self.count = 0

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        self.count += 1
        self._changed.set()
        try:
            await self._clock.sleep(seconds)
        finally:
            self.count -= 1


_NOTED_AFTER_S: Final = 8.0
"""Shorter failures are everyday."""
_LONG_WAIT_S: Final = 5.0
"""Shorter waits for the limit pass before a person wonders."""


class PacedClient:
    """Sends calls at one pace for all, and keeps the common view of the API's health.

    Args:
        sender: Sends one request.
        base_url: For messages.
        limits: Bounds.
        clock: Time.
        emit: Gets the events of throttling and repeats.
    """

    def __init__(
        self,
        sender: CallSender,
        base_url: str,
        limits: Limits,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._sender = sender
        self._base_url = base_url
        self._policy = limits.policy
        self._limits = limits
        self._clock = clock
        self._emit = emit
        self.throttle = Throttle(
            clock,
            concurrency=limits.concurrency,
            cap_per_min=limits.rate_per_min,
            window_s=limits.window_s,
            throttled=self._note_throttled,
            policy=limits.policy,
        )
        self.health = Health(clock, limits.give_up_after_s)
        self.requests = RequestCounts()
        self._has_answered = False  # as the API documents
        self._outage_noted = False
        self._wait_noted_until = float("-inf")
        self.failing = 0  # tasks that had a failure and try again
        self.changed = asyncio.Event()  # set whenever a place came free or a task began to wait
        self.backing_off = Waiting(clock, self.changed)  # those of the failing that wait
        self.pausing = Waiting(clock, self.changed)  # tasks between two questions

    async def once(
        self,
        request: ApiRequest,
        conclude: Conclude = _nothing,
        *,
        before: Callable[[], None] = lambda: None,
        or_denied: bool = False,
    ) -> ReplyVerdict:
        """Make one attempt.

        Args:
            request: What to send.
            conclude: Gets verdict and reply; the place among those in flight stays taken until it is through.
            before: Is called when the request is about to leave.
            or_denied: See `ask`.
        """
        await self.throttle.enter()
        try:
            before()
            started = self._clock.monotonic()
            self.requests.sent += 1
            reply = await self._sender.send(request.call)
            verdict = self._judge(request, reply)
            if verdict.meaning is Meaning.FATAL and not (or_denied and verdict.status in DENIED):
                # The next request would get the same answer.
                self.throttle.shut()
            self._learn(request, verdict, reply, self._clock.monotonic() - started)
            await conclude(verdict, reply)
        finally:
            self.throttle.leave()
            self.changed.set()
        return verdict

    async def persist(
        self,
        attempt: Callable[[], Awaitable[ReplyVerdict]],
        name: str,
        probe: Callable[[], ApiRequest | None] = lambda: None,
    ) -> ReplyVerdict:
        """Repeat an attempt as the policy says; a transient verdict in the end means it gave up.

        Args:
            attempt: Makes one attempt.
            name: Whose attempt, for the log.
            probe: Gives what to ask between attempts: an answer shows that it is no outage, but this request.
        """
        first = await attempt()
        # Nearly all requests end here; tenacity itself takes a tenth of the time of a request.
        if not first.again:
            return first
        # tenacity makes the first attempt itself, so it gets the one that was made already.
        made = [first]

        async def again() -> ReplyVerdict:
            return made.pop() if made else await attempt()

        async def before_sleep(state: RetryCallState) -> None:
            verdict = verdict_of(state)
            self.requests.retried += 1
            wait = state.upcoming_sleep
            self._emit(Retried(name, state.attempt_number, verdict.status, round(wait, 3)))
            self._note_outage(verdict)
            may_be_payload = verdict.meaning is Meaning.TRANSIENT and state.attempt_number > 1
            question = probe() if may_be_payload and self._are_few_failing else None
            if question is not None:
                asked = await self.once(question)
                if asked.meaning is Meaning.FATAL:
                    raise self.error(asked)

        self.failing += 1
        try:
            return await retrying(self._policy, self.health, before_sleep, self.backing_off.sleep)(again)
        finally:
            self.failing -= 1

    async def ask(
        self,
        request: ApiRequest,
        name: str,
        *,
        or_denied: bool = False,
        most_errors: int | None = None,
        stopping: Collection[int | None] | None = None,
    ) -> tuple[ReplyVerdict, Reply]:
        """Look something up, with repeats; a transient verdict means that this question alone gets no answer.

        Args:
            request: What to ask.
            name: What it is called in events.
            or_denied: A 403 or 405 is an answer: the token may be good for other things.
            most_errors: After how many server errors there is no answer to this question; None waits for an
                outage to end.
            stopping: Statuses of an answer that say that nothing can be asked or sent; None for all that are
                fatal, but for those that `or_denied` lets pass.

        Raises:
            StoppedByApi: The token was refused, or there was no answer for too long.
        """
        replies: list[Reply] = []
        errors = 0

        async def keep(_: ReplyVerdict, reply: Reply) -> None:
            replies.append(reply)

        async def attempt() -> ReplyVerdict:
            nonlocal errors
            verdict = await self.once(request, keep, or_denied=or_denied)
            if verdict.meaning is Meaning.TRANSIENT and verdict.status is not None:
                errors += 1
                if errors == most_errors:
                    return replace(verdict, meaning=Meaning.UNCLEAR)
            return verdict

        verdict = await self.persist(attempt, name)
        passes = or_denied and verdict.status in DENIED
        stops = not passes if stopping is None else verdict.status in stopping
        if self.gave_up(verdict) or (verdict.meaning is Meaning.FATAL and stops):
            raise self.error(verdict)
        return verdict, replies[-1]

    def _note_throttled(self, wait_s: float, per_min: float) -> None:
        """Report a 429; a long wait also in words, once, since nothing else moves on a terminal."""
        self._emit(Throttled(round(wait_s, 3), per_min if math.isfinite(per_min) else None))
        now = self._clock.monotonic()
        if wait_s >= _LONG_WAIT_S and now >= self._wait_noted_until:
            self._wait_noted_until = now + wait_s
            self._emit(Notice("throttled", f"Omneo's limit is used up for now: waiting {wait_s:,.0f} s"))

    def _note_outage(self, verdict: ReplyVerdict) -> None:
        """Say once that there is an outage, for those who wait at a terminal."""
        seconds = self.health.outage_s()
        if self._outage_noted or verdict.meaning is not Meaning.TRANSIENT or seconds < _NOTED_AFTER_S:
            return
        self._outage_noted = True
        how = f"answers {verdict.status}" if verdict.status else "does not answer"
        patience = f"{self._limits.give_up_after_s:.0f} s (--give-up-after)"
        self._emit(
            Notice("outage", f"{self._base_url} {how} for {seconds:.0f} s now; tried for up to {patience}")
        )

    def gave_up(self, verdict: ReplyVerdict) -> bool:
        """Whether a transient verdict was the last because the outage is too long."""
        return verdict.again and self.health.given_up(verdict.retry_after_s or 0.0)

    def error(self, verdict: ReplyVerdict) -> StoppedByApi:
        """The error for a verdict after which nothing can be sent."""
        if not verdict.again:
            return stopped(verdict, self._base_url)
        if variable := self.health.unresolved:
            return StoppedByApi(
                f"{self._base_url} cannot be reached: the name of a host has no address.",
                hint=f"Check {variable}, or this machine's network, then `load` goes on.",
            )
        last = f"{verdict.status or ''} {verdict.message}".strip()
        asked = f" It asks to wait {verdict.retry_after_s:.0f} s more." if verdict.retry_after_s else ""
        return StoppedByApi(
            f"Omneo took nothing for {self.health.outage_s():.0f} s "
            f"(last: {last}), and --give-up-after is {self._limits.give_up_after_s:.0f} s.{asked}",
            hint="Nothing is lost: `load` goes on where it was.",
        )

    def _judge(self, request: ApiRequest, reply: Reply) -> ReplyVerdict:
        verdict = judge(reply, self._clock.time(), request.expected, request.external_id)
        if verdict.message or verdict.fields:
            verdict = verdict.without(request.personal())
        if verdict.meaning is Meaning.UNCLEAR and request.is_question and self._has_answered:
            # The API answered as documented before, so this is an outage, such as a maintenance page.
            return replace(verdict, meaning=Meaning.TRANSIENT)
        self._has_answered |= verdict.meaning in (Meaning.TAKEN, Meaning.REFUSED)
        return verdict

    @property
    def _are_few_failing(self) -> bool:
        """Whether it may be those that fail. Many at once are an outage, even if queries still work."""
        return self.failing <= _ALONE

    def _learn(self, request: ApiRequest, verdict: ReplyVerdict, reply: Reply, latency_s: float) -> None:
        # Queries may work while writes fail, so in an outage a good answer to a query proves nothing.
        is_evidence = verdict.again or self._are_few_failing or not request.is_question
        if is_evidence and verdict.meaning is not Meaning.UNCLEAR:
            unresolved = reply.unresolved if isinstance(reply, Unsent) else ""
            self.health.saw(verdict, unresolved, to_question=request.is_question)
        if verdict.meaning is Meaning.THROTTLED:
            self.requests.throttled += 1
        elif verdict.again:
            self.requests.errors += 1
        headers = reply.headers if isinstance(reply, Answered) else {}
        self.throttle.answered(pace_hint(verdict, headers, latency_s))


@asynccontextmanager
async def connected(
    connection: Connection,
    limits: Limits,
    emit: Emit,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[PacedClient]:
    """A tenant that can be asked and sent to; its connections are closed at the end.

    Args:
        connection: The tenant.
        limits: Bounds of the traffic.
        emit: Gets the events of throttling and repeats.
        transport: Takes the place of the network in tests.
        clock: Takes the place of the system's clocks in tests.
    """
    async with Client(connection, transport, timeout_s=limits.timeout_s) as client:
        yield PacedClient(client, connection.base_url, limits, clock or SystemClock(), emit)
