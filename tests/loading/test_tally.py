from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.loading.entries import KINDS, Counts, Progress
from pipeline.loading.tally import Tally

Order = st.permutations(range(12))


def counts(kinds: list[str]) -> Counts:
    return Counts(*(kinds.count(kind) for kind in KINDS))


@given(Order, st.lists(st.sampled_from(KINDS), min_size=12, max_size=12), st.integers(0, 12))
def test_in_any_order_the_counts_and_the_watermark_hold(order: list[int], kinds: list[str], cut: int) -> None:
    tally = Tally(Progress(1, 0, 12))
    for position in order[:cut]:
        tally.settle(position, kinds[position])
    done = set(order[:cut])
    watermark = next(position for position in range(13) if position not in done)
    progress = tally.progress()
    assert progress.watermark == watermark
    assert progress.below == counts(kinds[:watermark])
    assert progress.settled == counts([kinds[position] for position in done])


@given(Order, st.integers(0, 12), Order)
def test_a_restart_that_finds_again_what_was_ahead_counts_nothing_twice(
    first: list[int], cut: int, second: list[int]
) -> None:
    tally = Tally(Progress(1, 0, 12))
    for position in first[:cut]:
        tally.settle(position, "delivered")
    again = Tally(tally.progress())
    for position in second:
        if position >= tally.progress().watermark:
            again.settle(position, "delivered")
    assert again.progress().below == again.progress().settled == Counts(delivered=12)
    assert again.progress().watermark == again.done == 12


def test_one_that_was_settled_can_move() -> None:
    tally = Tally(Progress(1, 0, 3))
    for position, kind in enumerate(("refused", "delivered")):
        tally.settle(position, kind)
    tally.move(0, "refused", "delivered")
    assert tally.progress().below == tally.progress().settled == Counts(delivered=2)


def test_held_ones_are_not_done() -> None:
    tally = Tally(Progress(1, 0, 2))
    tally.settle(0, "held")
    tally.settle(1, "unchanged")
    assert tally.done == 1
    assert tally.progress().watermark == 2
