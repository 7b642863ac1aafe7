"""Time as the stage sees it: one seam, so that a day of load can be tested in a second."""

from __future__ import annotations

import asyncio
import heapq
import time
from typing import Protocol


class Clock(Protocol):
    """What the stage asks of time."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back, whatever happens to the machine's clock."""

    def time(self) -> float:
        """Seconds since 1970, as the machine's clock has it; only for dates that a server names."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def time(self) -> float:
        """See `Clock`."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        await asyncio.sleep(seconds)


class FakeClock:
    """A clock that stands still until all tasks sleep, then jumps to the first that wakes.

    Give every sleeper the same instance. Waiting for anything but `sleep` (a socket, a thread) is not
    seen by it, so it suits code whose only waits are sleeps.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self.now = 0.0
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self._jumping: asyncio.Task[None] | None = None

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self.now

    def time(self) -> float:
        """Seconds since 1970."""
        return self._start + self.now

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has jumped past `seconds` from now."""
        self.slept.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        # The count decides between equal times, since futures cannot be compared.
        heapq.heappush(self._sleepers, (self.now + max(0.0, seconds), self._count, future))
        if self._jumping is None or self._jumping.done():
            self._jumping = asyncio.create_task(self._jump())
        await future

    async def _jump(self) -> None:
        while self._sleepers:
            # Let all tasks run that can: one may need several turns of the loop to reach its next sleep.
            for _ in range(20):
                await asyncio.sleep(0)
            wake, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self.now = max(self.now, wake)
                future.set_result(None)
