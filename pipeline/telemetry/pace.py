"""How fast a stage is and when it will be done, as lines that fit where they are shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pipeline.core.events import Progress, StageStarted
from pipeline.report.formatting import duration

WINDOW_S: Final = 60.0
"""The rate is that of the last minute: over less it would fall to 0 while a server makes us wait."""
_RECENT_S: Final = 10.0
"""The last seconds count if they were faster: after a slow start the minute's rate is too low at first."""
_FIRST_S: Final = 30.0
"""For so long a known limit predicts better than the measured rate: a resume begins with queries."""
_SETTLED_S: Final = 2.0
"""After so long the time before the first transaction, for connecting and the like, is left out."""
_NO_TIME: Final = 1e-9


class _Point(NamedTuple):
    at: float
    done: int


@dataclass
class Pace:
    """The rate of a stage and its time left. What was done before it was seen counts for neither.

    Attributes:
        started: The stage.
        at: When it was first seen, in seconds of any clock that only increases.
        sent: What was sent before that.
        last: Its last progress.
    """

    started: StageStarted
    at: float
    sent: int = 0
    last: Progress = field(init=False)
    _done: deque[_Point] = field(default_factory=deque)
    _sent: deque[_Point] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.last = Progress(self.started.stage, self.started.done)
        self._done.append(_Point(self.at, self.started.done))
        self._sent.append(_Point(self.at, self.sent))

    def see(self, progress: Progress, now: float) -> None:
        """Take note of progress."""
        self.last = progress
        for points, done in ((self._done, progress.done), (self._sent, progress.sent or 0)):
            if len(points) == 1 and done == points[0].done and now - self.at < _FIRST_S:
                # The load still connects, or asks what became of the last one: that time does not count.
                points[0] = _Point(now, done)
            else:
                _add(points, _Point(now, done))

    @property
    def per_s(self) -> float | None:
        """What was done a second lately, what Omneo has already left out; None until that is known."""
        return _rate(self._sent) or _rate(self._done)

    @property
    def left_s(self) -> float | None:
        """Seconds until all is done at this rate; None where that is not known."""
        per_s = self.per_s
        if not per_s or self.started.total is None:
            return None
        left, most_per_s = max(self.started.total - self.last.done, 0), self.last.most_per_s or per_s
        # What was sent in a burst will not last.
        return left / (most_per_s if self._is_new else min(per_s, most_per_s))

    @property
    def _is_new(self) -> bool:
        return self._done[-1].at - self.at < _FIRST_S

    def line(self, width: int | None = None, notes: Sequence[str] = ()) -> str:
        """Count, notes, rate, time left and what limits the pace, as many of them as fit."""
        last, total, per_s, left_s = self.last, self.started.total, self.per_s, self.left_s
        of = "" if total is None else f" of {total:,}"
        parts = [(0, f"{last.done:,}{of}"), (5, f" {self.started.unit}")]
        if last.in_doubt:
            notes = [f"{last.in_doubt:,} in doubt", *notes]
        parts += [(3, f", {note}") for note in notes]
        # At the start a pace of 0 means nothing, so it is not shown.
        if per_s or (per_s is not None and not self._is_new):
            parts.append((2, f", {per_s:,.1f}/s" if per_s < 10 else f", {per_s:,.0f}/s"))
        if left_s is not None and last.done < (total or 0):
            parts.append((1, f", {duration(left_s)} left"))
        if last.limit:
            parts.append((4, f", {last.limit}"))
        return fitted(parts, width)


def fitted(parts: Sequence[tuple[int, str]], width: int | None) -> str:
    """The parts one after another; where they are too long, those of the lowest ranks that have room."""
    left, chosen = width, set()
    for place, (rank, text) in sorted(enumerate(parts), key=lambda each: each[1][0]):
        if left is None or rank == 0 or len(text) <= left:
            chosen.add(place)
            left = None if left is None else left - len(text)
    return "".join(text for place, (_, text) in enumerate(parts) if place in chosen)


def _add(points: deque[_Point], point: _Point) -> None:
    """Keep a point a second, and the last one before the window."""
    if len(points) > 2 and points[-1].at - points[-2].at < 1:
        points.pop()
    points.append(point)
    while len(points) > 2 and point.at - points[1].at >= WINDOW_S:
        points.popleft()


def _rate(points: deque[_Point]) -> float | None:
    """The faster of the rates of the whole window and of the last seconds."""
    first, last = points[0], points[-1]
    if len(points) > 2 and last.at - points[1].at >= _SETTLED_S:
        first = points[1]
    recent = next((each for each in reversed(points) if last.at - each.at >= _RECENT_S), first)
    rates = [
        (last.done - since.done) / (last.at - since.at)
        for since in (first, recent)
        if last.at - since.at > _NO_TIME
    ]
    return max(rates, default=None)
