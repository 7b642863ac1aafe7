"""Clients of one throttled server, simulated: a day in a second, no sleeping and no sockets."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from pipeline.loading.http.retry_policy import Meaning
from pipeline.loading.http.throttle import Concurrency, LearnedRate, PaceHint


@dataclass(frozen=True)
class Said:
    allowed: bool
    remaining: int
    retry_after_s: float


class ServerThrottle(Protocol):
    def ask(self, now: float, limit: int) -> Said: ...


@dataclass
class FromFirstRequest:
    """Laravel's: a window of a minute begins with the first request after the last one."""

    ends: float = -1.0
    used: int = 0

    def ask(self, now: float, limit: int) -> Said:
        if now >= self.ends:
            self.ends, self.used = now + 60, 0
        allowed = self.used < limit
        self.used += allowed
        return Said(allowed, max(0, limit - self.used), max(1.0, -((now - self.ends) // 1)))


@dataclass
class ByTheClock:
    """Windows are the minutes of the clock."""

    minute: int = -1
    used: int = 0

    def ask(self, now: float, limit: int) -> Said:
        if int(now // 60) != self.minute:
            self.minute, self.used = int(now // 60), 0
        allowed = self.used < limit
        self.used += allowed
        return Said(allowed, max(0, limit - self.used), 60 - now % 60)


@dataclass
class Sliding:
    """So many in any sixty seconds."""

    taken: deque[float] = field(default_factory=deque)

    def ask(self, now: float, limit: int) -> Said:
        while self.taken and self.taken[0] <= now - 60:
            self.taken.popleft()
        allowed = len(self.taken) < limit
        if allowed:
            self.taken.append(now)
        wait = self.taken[0] + 60 - now if self.taken else 1.0
        return Said(allowed, max(0, limit - len(self.taken)), wait)


@dataclass
class TokenBucket:
    """A token bucket of a minute's size."""

    tokens: float = 0.0
    at: float = 0.0
    fresh: bool = True

    def ask(self, now: float, limit: int) -> Said:
        if self.fresh:
            self.tokens, self.at, self.fresh = limit, now, False
        self.tokens = min(limit, self.tokens + (now - self.at) * limit / 60)
        self.at = now
        allowed = self.tokens >= 1
        self.tokens -= allowed
        return Said(allowed, int(self.tokens), 60 / limit)


@dataclass
class Requester:
    """Sends as fast as its pace lets it, from `start` to `end`."""

    cap_per_min: float | None = None
    start: float = 0.0
    end: float = float("inf")
    latency_s: float = 0.15
    most_in_flight: int = 32
    sharers: int = 1
    stall_every_s: float = float("inf")  # its machine is busy with something else, now and then
    stall_s: float = 0.0
    sent: int = 0
    refused: int = 0
    taken_at: list[float] = field(default_factory=list)


def simulate(
    clients: list[Requester],
    server: ServerThrottle,
    limit: Callable[[float], int],
    seconds: float,
    *,
    headers: bool = True,
    seed: int = 1,
) -> None:
    """Let the clients send for so many seconds; what they got is noted in them."""
    dice = random.Random(seed)
    events: list[tuple[float, int, Iterator[float]]] = []
    number = count()

    def run(client: Requester) -> Iterator[float]:
        rate = LearnedRate(client.start, client.cap_per_min)
        rate.share(client.sharers)
        concurrency = Concurrency(client.most_in_flight)
        answers: list[tuple[float, int, PaceHint]] = []
        now, stalls = client.start, client.start + client.stall_every_s
        while now < min(client.end, seconds):
            while answers and answers[0][0] <= now:
                at, _, hint = heapq.heappop(answers)
                rate.learn(at, hint)
                concurrency.learn(at, hint)
            if now >= stalls:
                now, stalls = now + client.stall_s, stalls + client.stall_every_s
                yield now
                continue
            wait = rate.wait_s(now) if len(answers) < concurrency.limit else float("inf")
            if wait > 0:
                # A millisecond late, as sleeping is.
                due = now + min(wait, 1.0) + 0.001
                now = min([due, *(each[0] for each in answers[:1])])
                yield now
                continue
            rate.sent(now)
            there = server.ask(now, limit(now))
            client.sent += 1
            client.refused += not there.allowed
            if there.allowed:
                client.taken_at.append(now)
            latency = client.latency_s * dice.uniform(0.5, 2)
            meaning = Meaning.TAKEN if there.allowed else Meaning.THROTTLED
            hint = PaceHint(
                meaning,
                latency,
                limit(now) if headers else None,
                there.remaining if headers else None,
                None if there.allowed else there.retry_after_s,
            )
            heapq.heappush(answers, (now + latency, next(number), hint))

    for client in clients:
        heapq.heappush(events, (client.start, next(number), run(client)))
    while events:
        _, _, running = heapq.heappop(events)
        now = next(running, None)
        if now is not None:
            heapq.heappush(events, (now, next(number), running))


def share_used(clients: list[Requester], limit: Callable[[float], int], since: float, until: float) -> float:
    """Requests that were taken between two moments, as a share of what the limit allowed."""
    taken = sum(since <= at < until for client in clients for at in client.taken_at)
    allowed = sum(limit(second) / 60 for second in range(int(since), int(until)))
    return taken / allowed


def share_refused(clients: list[Requester]) -> float:
    return sum(client.refused for client in clients) / sum(client.sent for client in clients)
