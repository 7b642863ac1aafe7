"""A throttle as Laravel's: so many requests in a window that begins with a token's first request."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

_WINDOWS_MAX: Final = 100


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
class Window:
    """A stretch of time that requests are counted in.

    Attributes:
        began_at: By the throttle's clock.
        ends_at: The first request after it begins the next one.
        used: Requests that were let pass.
    """

    began_at: float
    ends_at: float
    used: int = 0


class Throttle:
    """Counts requests by token; refused ones do not count, and a new limit holds at once.

    Attributes:
        windows: The last ones of all tokens, oldest first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, Window] = {}
        self.windows: deque[Window] = deque(maxlen=_WINDOWS_MAX)

    def ask(self, token: str, limit: int, window_s: float) -> Verdict:
        """Count a request, or refuse it."""
        now = self._clock()
        window = self._windows.get(token)
        if window is None or now >= window.ends_at or window.ends_at > now + window_s:
            window = self._windows[token] = Window(now, now + window_s)
            self.windows.append(window)
        allowed = window.used < limit
        window.used += allowed
        wait_s = max(1, math.ceil(window.ends_at - now))
        return Verdict(allowed, limit, max(0, limit - window.used), wait_s)

    def clear(self) -> None:
        """Forget what was counted."""
        self._windows.clear()
        self.windows.clear()
