from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.loading.ledger.entries import DeliveryProgress
from pipeline.loading.ledger.watermark import Watermark


@given(st.permutations(range(12)), st.sets(st.integers(0, 11)), st.integers(0, 12))
def test_it_stands_at_the_first_position_that_is_not_settled(
    order: list[int], unchanged: set[int], settled: int
) -> None:
    watermark = Watermark(DeliveryProgress(1, 0, 20, watermark=5, unchanged=2))
    for position in order[:settled]:
        watermark.settle(5 + position, unchanged=position in unchanged)
    done = set(order[:settled])
    first = next(position for position in range(13) if position not in done)
    passed = len(unchanged & set(range(first)))
    assert watermark.progress() == DeliveryProgress(1, 0, 20, watermark=5 + first, unchanged=2 + passed)
    assert watermark.done == 5 + settled
