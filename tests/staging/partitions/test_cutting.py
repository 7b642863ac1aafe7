from itertools import pairwise

import polars as pl
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
