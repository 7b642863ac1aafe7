"""Prevents a deadlock of polars: every frame is pickled in one chunk, wherever that happens.

Pickling a frame of several chunks, polars first joins them in its own threads and holds Python's interpreter
lock meanwhile. If one of those threads runs a Python function of ours, which needs the lock, both wait for
ever. Joined beforehand by `rechunk`, which releases the lock, a frame leaves nothing to join.

Frames are pickled where a partition's measurements go to disk, and by Dask, which pickles results itself: so
the remedy is registered for all pickling. Import this module in each such place.
"""

from __future__ import annotations

import copyreg
from typing import Any

import polars as pl


def _in_one_chunk(frame: pl.DataFrame | pl.Series) -> Any:
    return frame.rechunk().__reduce_ex__(2)


copyreg.pickle(pl.DataFrame, _in_one_chunk)
copyreg.pickle(pl.Series, _in_one_chunk)
