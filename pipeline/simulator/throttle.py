"""A throttle as Laravel's: so many requests in a window that begins with a token's first request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Verdict(NamedTuple):
    """What the throttle says about one request.

    Attributes:
        allowed: Whether it may pass.
        limit: Requests in a window.
        remaining: How many are left in this one.
        retry_after_s: Whole seconds until the window is over.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after_s: int


@dataclass
class _Window:
    ends_at: float
    used: int = 0


class Throttle:
    """Counts requests by token; refused ones do not count, and a new limit holds at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def ask(self, token: str, limit: int, window_s: float) -> Verdict:
        """Count a request, or refuse it."""
        now = self._clock()
        window = self._windows.get(token)
        if window is None or now >= window.ends_at or window.ends_at > now + window_s:
            window = self._windows[token] = _Window(now + window_s)
        allowed = window.used < limit
        window.used += allowed
        wait_s = max(1, math.ceil(window.ends_at - now))
        return Verdict(allowed, limit, max(0, limit - window.used), wait_s)

    def clear(self) -> None:
        """Forget what was counted."""
        self._windows.clear()
