"""Cuts raw rows between transactions, in a file that keeps each transaction's rows together.

Nearly every export does, so nearly every row is mapped as it is read, and never written to disk before. Keys
that are in more than one partition all the same (overlapping exports, shuffled files) are found by comparing
the partitions' keys, and only their rows are partitioned by key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import polars as pl

from pipeline.core.model import KEY

SMALLER: Final = 2
"""Partitions that are smaller: one for each of the two workers, which wait until the first is read."""

_LEAST_BYTES: Final = 1 << 20
"""Smaller frames stay whole."""


def cut(
    frames: Iterable[pl.DataFrame], partition_bytes: int, *, small_first: bool = True
) -> Iterator[pl.DataFrame]:
    """Cut rows into pieces of about `partition_bytes`, never between adjacent rows with the same KEY.

    The first ones may be smaller, so that work on them begins while the next are read. The same frames always
    give the same pieces. Rows keep their order; no piece is empty. Columns that one frame has and another
    does not have are null where they are missing.
    """
    waiting: list[pl.DataFrame] = []
    size = given = 0
    # Joined from quarters, a piece is at most a quarter too large.
    for frame, own_size in _small(frames, partition_bytes // 4):
        waiting.append(frame)
        size += own_size
        if size >= (partition_bytes // 4 if small_first and given < SMALLER else partition_bytes):
            whole, tail = _without_last_transaction(_joined(waiting))
            waiting, size = [tail] if tail.height else [], int(tail.estimated_size())
            if whole.height:
                given += 1
                yield whole
    if waiting:
        yield _joined(waiting)


def _small(frames: Iterable[pl.DataFrame], most: int) -> Iterator[tuple[pl.DataFrame, int]]:
    """The rows in frames of not much more than `most` bytes, none of them empty, and how large each is."""
    most = max(most, _LEAST_BYTES)
    for frame in frames:
        if frame.height:
            size = int(frame.estimated_size())
            for piece in frame.iter_slices(max(1, frame.height * most // size)):
                yield piece, size * piece.height // frame.height


def _joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="diagonal", rechunk=True)


def _without_last_transaction(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows before the last transaction, and its own, of which the next frame may have more."""
    last = rows[KEY][-1]
    # Rows without a key belong to no transaction, so nothing has to be kept together.
    if last is None:
        return rows, rows.clear()
    others = (rows[KEY] != last).fill_null(value=True).arg_true()
    end = int(others[-1]) + 1 if len(others) else 0
    return rows[:end], rows[end:]
