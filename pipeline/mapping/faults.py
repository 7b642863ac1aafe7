"""What is wrong with a mapping beyond its form: told with its place in the mapping, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
