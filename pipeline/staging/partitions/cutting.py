"""Raw rows, cut into chunks that hold whole transactions wherever a file keeps a transaction's rows together.

Nearly every export does, so nearly every row is mapped straight from the reader, without a detour over
disk. Keys that turn up in more than one chunk all the same (overlapping exports, shuffled files) are found
by comparing the chunks' keys, and only those go through buckets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import polars as pl

from pipeline.core.model import KEY

_SMALLER: Final = 2
"""Chunks that are smaller: one for each of the workers that wait for the first."""


def chunks(frames: Iterable[pl.DataFrame], chunk_bytes: int) -> Iterator[pl.DataFrame]:
    """Cut rows into chunks of about `chunk_bytes`, never between adjacent rows with the same KEY.

    The first ones are smaller, so that work on them begins while the next are read. The same frames always
    give the same chunks. Rows keep their order; no chunk is empty. Columns that one frame has and another has
    not are null where they are missing.
    """
    waiting: list[pl.DataFrame] = []
    size = given = 0
    for frame in frames:
        if frame.is_empty():
            continue
        waiting.append(frame)
        size += int(frame.estimated_size())
        if size >= (chunk_bytes if given >= _SMALLER else chunk_bytes // 4):
            chunk, tail = _cut(_joined(waiting))
            waiting, size = [tail] if tail.height else [], int(tail.estimated_size())
            if chunk.height:
                given += 1
                yield chunk
    if waiting:
        yield _joined(waiting)


def _joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="diagonal", rechunk=True)


def _cut(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What can be mapped now, and the last transaction, whose next rows may be in the next frame."""
    last = rows[KEY][-1]
    if last is None:
        return rows, rows.clear()
    others = (rows[KEY] != last).fill_null(value=True).arg_true()
    end = int(others[-1]) + 1 if len(others) else 0
    return rows[:end], rows[end:]
