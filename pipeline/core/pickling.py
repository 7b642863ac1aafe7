"""Frames are pickled in one piece, wherever that happens.

polars puts a frame of several pieces together while it pickles it, in its own threads, and holds Python's
lock meanwhile. If one of those threads runs a function of ours that waits for the lock, neither goes on,
ever. Put together beforehand, which is done without the lock, there is nothing left to wait for.

Import this module where frames are pickled, or handed to something that pickles them.
"""

from __future__ import annotations

import copyreg
from typing import Any

import polars as pl


def _in_one_piece(frame: pl.DataFrame | pl.Series) -> Any:
    return frame.rechunk().__reduce_ex__(2)


copyreg.pickle(pl.DataFrame, _in_one_piece)
copyreg.pickle(pl.Series, _in_one_piece)
