from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import KEY
from pipeline.staging.partitions.cutting import cut
from pipeline.staging.partitions.hashes import repeated

KEYS = st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=12)


def frame(keys: list[int | None], first: int) -> pl.DataFrame:
    return pl.DataFrame(
        {KEY: keys, "row": range(first, first + len(keys))}, schema={KEY: pl.UInt64, "row": pl.Int64}
    )


@pytest.mark.slow
@given(st.lists(KEYS, max_size=6), st.integers(1, 200))
def test_pieces_keep_every_row_in_order_and_never_part_neighbours(
    parts: list[list[int | None]], partition_bytes: int
) -> None:
    frames, first = [], 0
    for keys in parts:
        frames.append(frame(keys, first))
        first += len(keys)
    found = list(cut(frames, partition_bytes))
    assert [row for piece in found for row in piece["row"]] == list(range(first))
    assert all(piece.height for piece in found)
    for one, two in pairwise(found):
        assert one[KEY][-1] is None or one[KEY][-1] != two[KEY][0]
    homes = [set(piece[KEY].drop_nulls()) for piece in found]
    again = {key for home in homes for key in home if sum(key in other for other in homes) > 1}
    assert set(repeated([piece[KEY].unique() for piece in found])) == again


def test_files_with_other_columns_share_a_piece() -> None:
    first = frame([1], 0).with_columns(a=pl.lit("x"))
    (piece,) = cut([first, frame([2], 1).with_columns(b=pl.lit("y"))], 1 << 20)
    assert piece.select("a", "b").rows() == [("x", None), (None, "y")]


@pytest.mark.parametrize(
    ("small_first", "heights"),
    [(True, [99, 100, 400, 400, 400, 400, 201]), (False, [399, 400, 400, 400, 400, 1])],
)
def test_the_first_two_pieces_are_a_quarter_as_large(small_first: bool, heights: list[int]) -> None:
    # 16 bytes a row; the last transaction of a piece waits for the next.
    frames = [frame(list(range(at, at + 100)), at) for at in range(0, 2_000, 100)]
    assert [piece.height for piece in cut(frames, 6_400, small_first=small_first)] == heights


def test_large_frames_are_cut_into_pieces_of_a_megabyte_at_least() -> None:
    large = frame(list(range(200_000)), 0)
    assert [piece.height for piece in cut([large], 1)] == [65_535, 65_536, 65_536, 3_392, 1]
    assert [piece.height for piece in cut([large], 2 << 20, small_first=False)] == [131_071, 68_929]


@pytest.mark.parametrize(
    ("keys", "heights"), [([7, 7, 7], [3]), ([1, 7, 7], [1, 2]), ([1, 7, None], [3]), ([None, 7], [1, 1])]
)
def test_the_rows_of_the_last_transaction_wait(keys: list[int | None], heights: list[int]) -> None:
    assert [piece.height for piece in cut([frame(keys, 0)], 1)] == heights


def test_pieces_are_at_most_a_quarter_too_large() -> None:
    large = pl.select(pl.int_range(1_000_000, dtype=pl.UInt64).alias(KEY))
    pieces = list(cut([large] * 3, 12_000_000, small_first=False))
    assert max(piece.estimated_size() for piece in pieces) <= 15_000_000
