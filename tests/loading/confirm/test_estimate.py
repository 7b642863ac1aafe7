from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.loading.confirm.estimate import share_interval


@given(st.integers(1, 10_000), st.data())
def test_the_share_lies_within(sample: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, sample))
    interval = share_interval(hits, sample, population=10**9)
    assert 0 <= interval.low <= hits / sample <= interval.high <= 1


@pytest.mark.parametrize(
    ("hits", "sample", "low", "high"),
    [
        (10, 100, 0.05522914, 0.17436566),
        (1, 4, 0.04558726, 0.69935816),
        (3, 4, 0.30064184, 0.95441274),
        (0, 4, 0.0, 0.48989084),
        (4, 4, 0.51010916, 1.0),
        (1, 1, 0.20654931, 1.0),
    ],
)
def test_wilson_for_known_cases(hits: int, sample: int, low: float, high: float) -> None:
    assert share_interval(hits, sample, 10**6) == pytest.approx((low, high), abs=1e-7)


def test_no_hits_still_leave_an_upper_bound() -> None:
    interval = share_interval(0, 1000, 10**6)
    assert interval.low == 0
    assert interval.high == pytest.approx(0.00383, abs=1e-4)
    assert f"{interval.low:.2%} to {interval.high:.2%}" == "0.00% to 0.38%"


def test_everything_looked_at_is_exact_and_nothing_says_nothing() -> None:
    assert share_interval(1, 4, 4).low == share_interval(1, 4, 4).high == 0.25
    assert (share_interval(0, 0, 4).low, share_interval(0, 0, 4).high) == (0, 1)
