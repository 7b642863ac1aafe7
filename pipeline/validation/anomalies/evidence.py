"""How the evidence of an anomaly is worded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.core.model import LINE, SOURCE
from pipeline.core.text.wording import count

MOST_EVIDENCE: Final = 10
"""Lines of evidence for one anomaly: more would not change what to do about it."""


def shown(lines: Sequence[str]) -> tuple[str, ...]:
    """The first lines of evidence, and how many more there are."""
    more = len(lines) - MOST_EVIDENCE
    return (*lines[:MOST_EVIDENCE], *([f"and {more:,} more"] if more > 0 else []))


def place(row: dict[str, object], sources: Sequence[str]) -> str:
    """File and line of a row with SOURCE and LINE."""
    return f"{sources[int(str(row[SOURCE]))]} line {row[LINE]}"


def share(number: int, total: int) -> str:
    """A number of sales and what part of all they are."""
    return f"{count(number, 'sale')} ({number / total:.0%})"
