"""What polars raises where a cell is the cause, and what may be said about it."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

POLARS_ERRORS: Final = (Exception, pl.exceptions.PanicException)
"""Errors of many kinds, and panics, which are not a subclass of `Exception`."""


def error_summary(error: BaseException) -> str:
    """What an error of polars says, without the cells that it quotes: they may be personal."""
    line = str(error).strip().partition("\n")[0]
    # Cells follow after these words, in brackets or in quotes.
    said = re.split(r" for \d+ out of| in column|[\[\"]|(?<!\w)'", line)[0].strip(" :(")
    return said or type(error).__name__
