"""The charts of the page as labels and numbers; the template draws them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle
from typing import Any, Final

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
OUTCOMES: Final = ("accepted", "dropped", "rejected")
MOST_DAYS: Final = 62
"""A longer time is drawn by month: bars by day would be too thin to point at."""
MOST_MONTHS: Final = 240
"""A longer time comes from a wrong date; only its newest months are drawn."""
MOST_TICKS: Final = 4
LABEL_WIDTH: Final = 60
"""Pixels that a label such as `2024-07` and the space around it take."""
# Years from 0001 to 9999, which `date` knows. A wrong unit of time gives years such as +53935.
_CALENDAR_DAY: Final = re.compile(r"(?!0000)\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Chart:
    """Stacked bars, in numbers and in words.

    Attributes:
        title: What the chart shows.
        text: What there is to see, in a sentence.
        labels: One a bar, from left to right, all different.
        series: By outcome, one number a bar; the first outcome is at the bottom.
        short_labels: What stands under the axis, by label; None for as many labels as fit.
    """

    title: str
    text: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[int]]
    short_labels: Mapping[str, str] | None = None

    @property
    def totals(self) -> list[int]:
        """One number a bar, all outcomes added up."""
        return _totals(self.series)

    @property
    def ticks(self) -> list[int]:
        """Round values for the axis, from 0 to the first one that no bar exceeds; two to five of them."""
        highest = max(self.totals, default=0)
        step, factors = 1, cycle((2, 2.5, 2))  # 1, 2, 5, 10, 20, 50, …
        while step * MOST_TICKS < highest:
            step = int(step * next(factors))
        return [step * n for n in range(-(-max(highest, 1) // step) + 1)]

    def axis_labels(self, width: int) -> Iterator[tuple[int, str]]:
        """The position of a bar and what stands under it, where there is room for it.

        Args:
            width: Of the drawing, in pixels.
        """
        shown = self.short_labels or _some(self.labels, width // LABEL_WIDTH)
        return ((n, shown[label]) for n, label in enumerate(self.labels) if label in shown)


def timeline(values: Mapping[str, Any]) -> Chart | None:
    """Transactions by day or month, stacked by outcome; a day or month without sales stays empty.

    It spans the accepted transactions, so that one impossible date does not squeeze all others; where
    nothing was accepted, it spans all transactions. None where no transaction has a date.

    Args:
        values: The view; see `pipeline.report.view.view`.
    """
    dated = [row for row in values["by_day"] if row["day"]]
    days = _dates(row for row in dated if row["accepted"]["transactions"]) or _dates(dated)
    if not days:
        return None
    if (max(days) - min(days)).days < MOST_DAYS:
        unit, rows, labels = "day", dated, _days(min(days), max(days))
    else:
        unit, rows, labels = "month", values["by_month"], _months(min(days), max(days))[-MOST_MONTHS:]
    series = {outcome: [0] * len(labels) for outcome in OUTCOMES}
    positions = {label: position for position, label in enumerate(labels)}
    outside = 0
    for row in rows:
        for outcome in OUTCOMES:
            transactions = row[outcome]["transactions"]
            if row[unit] in positions:
                series[outcome][positions[row[unit]]] += transactions
            elif row[unit] is not None:
                outside += transactions
    note = f" {outside:,} before or after are not shown." if outside else ""
    return Chart(f"Transactions by {unit}", _in_words(labels, series) + note, labels, series)


def time_of_day(clock: Sequence[Mapping[str, int]]) -> Chart:
    """Accepted transactions by hour of local time."""
    labels = [f"{hour:02}:00" for hour in range(24)]
    series = {"accepted": [_sum(clock, "hour", hour) for hour in range(24)]}
    every_third = {labels[hour]: str(hour) for hour in range(0, 24, 3)}
    return Chart("Time of day", _in_words(labels, series), labels, series, every_third)


def weekday(clock: Sequence[Mapping[str, int]]) -> Chart:
    """Accepted transactions by weekday of local time."""
    series = {"accepted": [_sum(clock, "weekday", day) for day in range(1, 8)]}
    return Chart(
        "Weekday", _in_words(WEEKDAYS, series), WEEKDAYS, series, {name: name[:3] for name in WEEKDAYS}
    )


def _sum(clock: Sequence[Mapping[str, int]], column: str, value: int) -> int:
    return sum(row["transactions"] for row in clock if row[column] == value)


def _totals(series: Mapping[str, Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*series.values(), strict=True)]


def _in_words(labels: Sequence[str], series: Mapping[str, Sequence[int]]) -> str:
    totals = _totals(series)
    most, least = max(totals), min(totals)
    if not most:
        return "No transactions."
    if len(totals) == 1:
        return f"All {labels[0]} ({most:,})."
    if most == least:
        return f"{most:,} each."
    empty = totals.count(0)
    low = f"{empty} without any" if empty else f"fewest {labels[totals.index(least)]} ({least:,})"
    return f"Most {labels[totals.index(most)]} ({most:,}), {low}."


def _dates(rows: Iterable[Mapping[str, Any]]) -> list[date]:
    return [date.fromisoformat(row["day"]) for row in rows if _CALENDAR_DAY.fullmatch(row["day"])]


def _days(first: date, last: date) -> list[str]:
    return [str(first + timedelta(days=n)) for n in range((last - first).days + 1)]


def _months(first: date, last: date) -> list[str]:
    number = (last.year - first.year) * 12 + last.month - first.month + 1
    months = (divmod(first.year * 12 + first.month - 1 + n, 12) for n in range(number))
    return [f"{year:04}-{month + 1:02}" for year, month in months]


def _some(labels: Sequence[str], most: int) -> dict[str, str]:
    """At most `most` labels: Januaries where there are more than two years of months, else every n-th."""
    januaries = [label for label in labels if len(label) == 7 and label.endswith("-01")]
    if len(labels) > 24 and januaries:
        return {label: label[:4] for label in januaries[:: -(-len(januaries) // most)]}
    return {label: label for label in labels[:: -(-len(labels) // most)]}
