"""The middle of a store's day, by which a shifted clock shows: a wrong time zone, or a wrong till."""

from __future__ import annotations

from cmath import exp, phase, pi
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import mul
from typing import Final

_CLOCK: Final = tuple(exp(2j * pi * (hour + 0.5) / 24) for hour in range(24))
"""The middle of each hour as a point on the clock's circle."""
_HOURS_OFF: Final = 3
"""Hours from which on the middle of a store's day differs: no opening hours move it as far."""
_TOGETHER: Final = 0.3
"""How close together sales must be, 0 to 1, for their day to have a middle: those of nine hours have 0.75."""
_BEYOND_CHANCE: Final = 20
"""Sales times closeness squared: n sales at any hour reach it in one of exp(20) stores (Rayleigh's test)."""


def usual_middle(hours: Mapping[str, Sequence[int]]) -> int | None:
    """The hour that is the middle of the day where most is sold; None where no store's day has a middle.

    Args:
        hours: By store, sales of each of the 24 hours.
    """
    by_hour = Counter[int]()
    for store, hour in _middles(hours).items():
        by_hour[hour] += sum(hours[store])
    return by_hour.most_common(1)[0][0] if by_hour else None


def shifted_stores(hours: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The stores whose day has another middle than usual, with its hour, in alphabetical order.

    Args:
        hours: As for `usual_middle`.
    """
    usual = usual_middle(hours)
    return {
        store: hour
        for store, hour in sorted(_middles(hours).items())
        if usual is not None and abs((hour - usual + 12) % 24 - 12) >= _HOURS_OFF
    }


def _middles(hours: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The middle of each store's day that has one."""
    # A hair before midnight is rounded to 24:00.
    return {store: int(_middle(each)) % 24 for store, each in hours.items() if _has_middle(each)}


def _has_middle(hours: Sequence[int]) -> bool:
    """Whether there are enough sales, and close enough together, for their day to have a middle."""
    sales = sum(hours)
    closeness = abs(_around(hours)) / sales if sales else 0
    return closeness >= _TOGETHER and sales * closeness**2 >= _BEYOND_CHANCE


def _middle(hours: Sequence[int]) -> float:
    """The middle of the day in hours: the mean on the clock's circle, on which 23:00 is near 1:00."""
    return phase(_around(hours)) % (2 * pi) * 24 / (2 * pi)


def _around(hours: Sequence[int]) -> complex:
    """The sum of all sales as points on the clock's circle."""
    return sum(map(mul, hours, _CLOCK), 0j)
