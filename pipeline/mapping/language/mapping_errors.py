"""What is wrong with a mapping that is right in form; issues are collected, then reported together."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.mapping.language.source_map import Issue, Location


class FormulaError(ValueError):
    """A value that cannot be computed; the message says why and what was expected.

    Attributes:
        at: The character of the formula that is wrong, counted from 0; None where it is all of it.
        text: The formula, where it is one.
        inside: Which part of the value is wrong: keys and list positions.
    """

    def __init__(self, message: str, at: int | None = None, inside: Location = ()) -> None:
        self.at = at
        self.text = ""
        self.inside = inside
        super().__init__(message)


@dataclass
class Issues:
    """Everything that is wrong with a mapping, collected while it is compiled.

    Attributes:
        found: The issues.
        broken: Columns and definitions with an issue; a value that uses one gets no issue of its own.
        met: How many issues were found, or met again in a broken column or definition. Compare it before and
            after to know whether a part of the mapping has an issue.
    """

    found: list[Issue] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    met: int = 0

    def add(self, *found: Issue) -> None:
        """Record issues."""
        self.found += found
        self.met += len(found)

    def meet(self, name: str) -> None:
        """Use a column or definition, which may be broken."""
        self.met += name in self.broken

    def around(self, location: Location) -> bool:
        """Whether there is an issue at, inside or around a location."""
        return any(location[: len(issue.location)] == issue.location[: len(location)] for issue in self.found)
