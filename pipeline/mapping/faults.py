"""What is wrong with a mapping beyond its form: told with its place in the mapping, all at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

FAILURES: Final = (Exception, pl.exceptions.PanicException)
"""What polars raises where a cell is at fault: errors of many kinds, and panics, which are no exceptions."""


def what_failed(error: BaseException) -> str:
    """What polars says about a failure, without the cells that it quotes: they may be personal."""
    line = str(error).strip().partition("\n")[0]
    said = re.split(r" for \d+ out of| in column|[\['\"]", line)[0].strip(" :(")
    return said or type(error).__name__


class FormulaError(ValueError):
    """A value that cannot be computed; the message says why and what was expected.

    Attributes:
        at: The character of the formula that is wrong, counted from 0; None where it is all of it.
    """

    def __init__(self, message: str, at: int | None = None) -> None:
        self.at = at
        super().__init__(message)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        place: Keys and list positions from the top of the mapping, as `("transaction", "total")`.
        message: What is wrong and what was expected.
    """

    place: tuple[str | int, ...]
    message: str


class CompileError(ValueError):
    """A mapping that cannot be computed over the columns there are.

    Attributes:
        faults: Everything that is wrong, in the order of the mapping.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{'.'.join(map(str, f.place))}: {f.message}" for f in self.faults))
