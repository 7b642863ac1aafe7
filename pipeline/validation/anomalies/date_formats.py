"""Date formats of one column that contradict each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from pipeline.core.text.wording import count
from pipeline.validation.anomalies.observations import Observations

_FEWEST: Final = 2
"""Sales of each format: the days of a single sale overlap with no others, which means nothing."""
_PARTS: Final = {
    **dict.fromkeys("de", "d"),
    **dict.fromkeys("mbBh", "m"),
    **dict.fromkeys("yYCG", "y"),
    "D": "mdy",
    "x": "mdy",
    "F": "ymd",
}
"""strftime letters, and the parts of a date that they stand for, in order."""


@dataclass(frozen=True)
class Contradiction:
    """Two formats of one column that cannot well both be right.

    Attributes:
        sales: How many sales the rarer of them has.
        evidence: What was seen, a sentence.
    """

    sales: int
    evidence: str


def contradictions(observed: Observations) -> Iterator[Contradiction]:
    """Look at every two formats that were used.

    They contradict each other where they differ in which comes first, day or month; where one has only days
    up to the twelfth and the other only later ones, as in a file of which a spreadsheet turned the dates that
    it could read; and where no day of one lies within the days of the other.
    """
    used = observed.formats.sort("format").to_dicts()
    for one, other in combinations(used, 2):
        if why := _why(one, other):
            yield Contradiction(min(one["sales"], other["sales"]), f"{_seen(one)}; {_seen(other)}: {why}")


def _why(one: dict[str, Any], other: dict[str, Any]) -> str:
    orders = {_order(one["format"]), _order(other["format"])}
    if orders in ({"dmy", "mdy"}, {"ymd", "ydm"}):
        return "day and month stand in another order"
    if min(one["sales"], other["sales"]) < _FEWEST:
        return ""
    if {_half_of_month(one), _half_of_month(other)} == {"early", "late"}:
        return "one has only days up to the 12th and the other only later ones, as if days became months"
    if one["last"] < other["first"] or other["last"] < one["first"]:
        return "their days never overlap"
    return ""


def _order(form: str) -> str:
    """The parts of a date in the order in which a format has them, such as `dmy`."""
    letters = re.findall(r"%[-_0]?([A-Za-z])", form.replace("%%", ""))
    return "".join(_PARTS.get(letter, "") for letter in letters)


def _half_of_month(used: dict[str, Any]) -> str:
    return "early" if used["early"] == used["sales"] else "" if used["early"] else "late"


def _seen(used: dict[str, Any]) -> str:
    return f"{used['format']} in {count(used['sales'], 'sale')} from {used['first']} to {used['last']}"
