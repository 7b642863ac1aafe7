"""What is wrong with a mapping beyond its form: told with its place in the mapping, all at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from pipeline.mapping.language.source_map import Found, Place

FAILURES: Final = (Exception, pl.exceptions.PanicException)
"""What polars raises where a cell is at fault: errors of many kinds, and panics, which are no exceptions."""


def what_failed(error: BaseException) -> str:
    """What polars says about a failure, without the cells that it quotes: they may be personal."""
    line = str(error).strip().partition("\n")[0]
    said = re.split(r" for \d+ out of| in column|[\[\"]|(?<!\w)'", line)[0].strip(" :(")
    return said or type(error).__name__


class FormulaError(ValueError):
    """A value that cannot be computed; the message says why and what was expected.

    Attributes:
        at: The character of the formula that is wrong, counted from 0; None where it is all of it.
        text: The formula, where it is one.
        inside: Where in the value it is: keys and list positions.
    """

    def __init__(self, message: str, at: int | None = None, inside: Place = ()) -> None:
        self.at = at
        self.text = ""
        self.inside = inside
        super().__init__(message)


@dataclass
class Faults:
    """Everything that is wrong with a mapping, gathered while it is compiled.

    Attributes:
        found: What is wrong, each thing with its place.
        broken: Columns and definitions that cannot be used; what uses them is not at fault.
        met: How often something was at fault, or met something that is.
    """

    found: list[Found] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    met: int = 0

    def add(self, *found: Found) -> None:
        """Note what is wrong."""
        self.found += found
        self.met += len(found)

    def meet(self, name: str) -> None:
        """Use a name; where it is broken, that is noted already."""
        self.met += name in self.broken

    def around(self, place: Place) -> bool:
        """Whether something is wrong at, in or around a place."""
        return any(here[: len(place)] == place or place[: len(here)] == here for here in self._places)

    @property
    def _places(self) -> list[Place]:
        return [found.place for found in self.found]


class CompileError(ValueError):
    """A mapping that cannot be computed over the columns there are.

    Attributes:
        faults: Everything that is wrong.
    """

    def __init__(self, faults: Sequence[Found]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{'.'.join(map(str, f.place))}: {f.message}" for f in self.faults))
