"""Decides which requests and jobs meet which fault, repeatably from a seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from random import Random

from pipeline.simulator.simulator_settings import Faults


class InjectedFault(StrEnum):
    """The fault of one request."""

    NONE = "none"
    ERROR = "error"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    SLOW = "slow"
    OUTAGE = "outage"


class FaultInjector:
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
        """Use other faults from now on. The delay before an outage counts from now."""
        self.faults = faults
        self._changed_at = self._clock()

    def forget(self) -> None:
        """Start again from the seed, with no job lost or doubled."""
        self._random.seed(self._seed)
        self._lost.clear()
        self._doubled.clear()

    def draw(self) -> InjectedFault:
        """Draw the fault of the next request."""
        if self._is_outage():
            return InjectedFault.OUTAGE
        faults = self.faults
        point = self._random.random()
        # The shares lie side by side between 0 and 1, so a request gets at most one fault.
        for share, fault in (
            (faults.error_share, InjectedFault.ERROR),
            (faults.reset_before_share, InjectedFault.RESET_BEFORE),
            (faults.reset_after_share, InjectedFault.RESET_AFTER),
            (faults.slow_share, InjectedFault.SLOW),
        ):
            if point < share:
                return fault
            point -= share
        return InjectedFault.NONE

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
        """Draw how many times a webhook is sent."""
        point = self._random.random() - self.faults.webhook_never_share
        if point < 0:
            return 0
        return 2 if point < self.faults.webhook_twice_share else 1

    def refuses(self, external_id: str) -> bool:
        """Whether this transaction is refused; the answer never changes."""
        return self._picks("refused", external_id, self.faults.refused_share)

    def loses(self, external_id: str) -> bool:
        """Whether this job vanishes; a job is lost once at most."""
        if external_id in self._lost or not self._picks("lost", external_id, self.faults.lost_share):
            return False
        self._lost.add(external_id)
        return True

    def doubles(self, external_id: str) -> bool:
        """Whether this job is processed twice; a job is doubled once at most."""
        if external_id in self._doubled or not self._picks("doubled", external_id, self.faults.doubled_share):
            return False
        self._doubled.add(external_id)
        return True

    def _picks(self, what: str, external_id: str, share: float) -> bool:
        if not share:
            return False
        # Not drawn at random: the same ids are picked in whatever order requests arrive.
        digest = blake2b(
            f"{self._seed} {what} {external_id}".encode(errors="surrogatepass"), digest_size=8
        ).digest()
        return int.from_bytes(digest, "big") < share * 2**64
