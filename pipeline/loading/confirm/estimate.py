"""How sure a sample makes us."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

_CONFIDENCE: Final = 0.95
"""As messages and reports state it."""


class Interval(NamedTuple):
    """Where a share lies with a confidence of 95%; both bounds from 0 to 1."""

    low: float
    high: float


def share_interval(hits: int, sample: int, population: int) -> Interval:
    """Estimate the share of hits in a population from a random sample: Wilson's interval.

    It holds for no hits, too, where it gives about 3.8 / sample as the upper bound. When everything was
    looked at, the share is exact.
    """
    if sample == 0:
        return Interval(0.0, 1.0)
    share = hits / sample
    if sample >= population:
        return Interval(share, share)
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    weight = z * z / sample
    centre = (share + weight / 2) / (1 + weight)
    half = sqrt(weight * (share * (1 - share) + weight / 4)) / (1 + weight)
    # Where the share is 0 or 1 the bound is exact; rounding must not push it past.
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == sample else centre + half
    return Interval(low, high)
