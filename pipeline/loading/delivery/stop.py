"""Asking a load to stop, from a signal handler or another thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stop:
    """Once asked to stop, no new request starts and those in flight are finished; with `now` they are not.

    Safe to call from signal handlers and other threads, before, while and after a load runs.
    """

    def __init__(self) -> None:
        # Re-entrant: a signal handler may interrupt the very thread that holds it.
        self._lock = threading.RLock()
        self._watchers: list[Callable[[], None]] = []
        self.requested = False
        self.immediate = False

    def request(self) -> None:
        """Finish what is in flight; asked a second time, end at once."""
        self.immediate = self.immediate or self.requested
        self.requested = True
        self._notify()

    def now(self) -> None:
        """End at once: what is in flight stays in doubt."""
        self.requested = self.immediate = True
        self._notify()

    def watch(self, loop: asyncio.AbstractEventLoop, notice: Callable[[], None]) -> Callable[[], None]:
        """Have `notice` called in `loop` at each request; returns a function that ends the watching."""

        def notify() -> None:
            loop.call_soon_threadsafe(notice)

        with self._lock:
            self._watchers.append(notify)
        # The request may have come before this watcher was there.
        if self.requested:
            notify()

        def unwatch() -> None:
            with self._lock:
                self._watchers.remove(notify)

        return unwatch

    def _notify(self) -> None:
        with self._lock:
            for notify in self._watchers:
                notify()


async def until_stopped(work: Coroutine[Any, Any, T], stop: Stop) -> T | None:
    """Run something to its end, or until it is asked to stop: for questions, which may be left unanswered.

    Returns:
        What it gives; None where it was asked to stop before.
    """
    task = asyncio.create_task(work)

    def end() -> None:
        task.cancel()

    unwatch = stop.watch(asyncio.get_running_loop(), end)
    try:
        await asyncio.wait({task})
    finally:
        unwatch()
        task.cancel()
    return None if task.cancelled() else task.result()
