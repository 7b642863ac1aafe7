"""What a statistical warning is, and how its evidence is put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.core.model import LINE, SOURCE

MOST_EVIDENCE: Final = 10
"""Lines of evidence of one finding."""


@dataclass(frozen=True)
class Finding:
    """A statistical warning: not wrong in itself, but the mark of something that often is.

    Attributes:
        code: Stable name, such as `sales_at_night`.
        title: For people who do not code.
        message: What was seen and what it may mean, a sentence or two.
        evidence: Lines that show it; no customer's id is among them.
    """

    code: str
    title: str
    message: str
    evidence: tuple[str, ...] = ()


def shown(lines: Sequence[str]) -> tuple[str, ...]:
    """The first lines of evidence, and how many more there are."""
    more = len(lines) - MOST_EVIDENCE
    return (*lines[:MOST_EVIDENCE], *([f"and {more:,} more"] if more > 0 else []))


def place(row: dict[str, object], sources: Sequence[str]) -> str:
    """File and line of a row with SOURCE and LINE."""
    return f"{sources[int(str(row[SOURCE]))]} line {row[LINE]}"


def share(part: int, total: int) -> str:
    """A number of sales and what part of all they are."""
    return f"{part:,} sales ({part / total:.0%})"
