"""Which request meets which fault, drawn from a seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from random import Random

from pipeline.simulator.simulator_settings import Faults


class Fate(StrEnum):
    """What happens to one request."""

    ANSWERED = "answered"
    ERROR = "error"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    SLOW = "slow"
    OUTAGE = "outage"


class Dice:
    """Draws faults; the same seed and the same order of requests give the same draws.

    Args:
        faults: What may happen.
        seed: Of the draws.
        clock: Seconds that only go forward.
    """

    def __init__(self, faults: Faults, seed: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seed = seed
        self._random = Random(seed)  # noqa: S311  (a rehearsal must be repeatable)
        self._lost: set[str] = set()
        self._doubled: set[str] = set()
        self.change(faults)

    def change(self, faults: Faults) -> None:
        """Other faults from now on; an outage's start counts from now."""
        self.faults = faults
        self._changed_at = self._clock()

    def forget(self) -> None:
        """Start again: the draws from the seed, and no job lost or doubled so far."""
        self._random.seed(self._seed)
        self._lost.clear()
        self._doubled.clear()

    def fate(self) -> Fate:
        """Draw what happens to a request."""
        if self._is_outage():
            return Fate.OUTAGE
        faults = self.faults
        point = self._random.random()
        for share, fate in (
            (faults.error_share, Fate.ERROR),
            (faults.reset_before_share, Fate.RESET_BEFORE),
            (faults.reset_after_share, Fate.RESET_AFTER),
            (faults.slow_share, Fate.SLOW),
        ):
            if point < share:
                return fate
            point -= share
        return Fate.ANSWERED

    def _is_outage(self) -> bool:
        since = self._clock() - self._changed_at - self.faults.outage_after_s
        return self.faults.outage or 0 <= since < self.faults.outage_for_s

    def latency_s(self) -> float:
        """Draw how long an answer takes."""
        return self._spread(self.faults.latency_s, self.faults.jitter_s)

    def job_delay_s(self) -> float:
        """Draw how long a job waits in the queue."""
        return self._spread(self.faults.job_delay_s, self.faults.job_jitter_s)

    def _spread(self, least: float, more: float) -> float:
        return least + self._random.random() * more if more else least

    def webhook_copies(self) -> int:
        """Draw how often a webhook is sent."""
        point = self._random.random() - self.faults.webhook_never_share
        if point < 0:
            return 0
        return 2 if point < self.faults.webhook_twice_share else 1

    def refuses(self, external_id: str) -> bool:
        """Whether this transaction is one of those refused, now and always."""
        return self._picks("refused", external_id, self.faults.refused_share)

    def loses(self, external_id: str) -> bool:
        """Whether this job vanishes; a job that was lost once is not lost again."""
        if external_id in self._lost or not self._picks("lost", external_id, self.faults.lost_share):
            return False
        self._lost.add(external_id)
        return True

    def doubles(self, external_id: str) -> bool:
        """Whether this job is worked off twice; one that was is not doubled again."""
        if external_id in self._doubled or not self._picks("doubled", external_id, self.faults.doubled_share):
            return False
        self._doubled.add(external_id)
        return True

    def _picks(self, what: str, external_id: str, share: float) -> bool:
        if not share:
            return False
        digest = blake2b(
            f"{self._seed} {what} {external_id}".encode(errors="surrogatepass"), digest_size=8
        ).digest()
        return int.from_bytes(digest, "big") < share * 2**64
