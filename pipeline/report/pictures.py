"""Which pictures the page shows, from the report's values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from markupsafe import Markup

from pipeline.report.charts import bar_chart

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
OUTCOMES: Final = ("accepted", "dropped", "rejected")
_PLAIN_DAY: Final = re.compile(r"(?!0000)\d{4}-\d\d-\d\d")
MOST_DAYS: Final = 62
"""A longer time is drawn by month."""
MOST_MONTHS: Final = 240
"""A longer time, surely a wrong date, is drawn from its newest months."""


@dataclass(frozen=True)
class Picture:
    """A picture in words, numbers and drawings.

    Attributes:
        title: What it shows.
        text: What there is to see, in a sentence.
        labels: One a bar.
        values: One a bar, all series added up.
        wide: The drawing for a wide page or paper.
        narrow: The drawing for a phone.
    """

    title: str
    text: str
    labels: Sequence[str]
    values: Sequence[int]
    wide: Markup
    narrow: Markup


def timeline(values: Mapping[str, Any]) -> Picture | None:
    """Transactions by day or month, stacked by outcome; a day or month without sales stays empty.

    It spans the accepted transactions, so that one impossible date does not press all others together; where
    nothing was accepted, it spans all. None where no transaction has a date.
    """
    dated = [row for row in values["by_day"] if row["day"]]
    days = _dates(row for row in dated if row["accepted"]["transactions"]) or _dates(dated)
    if not days:
        return None
    if (max(days) - min(days)).days < MOST_DAYS:
        unit, rows, labels = "day", dated, _days(min(days), max(days))
    else:
        unit, rows, labels = "month", values["by_month"], _months(min(days), max(days))[-MOST_MONTHS:]
    numbers, outside = _stacked(rows, unit, labels)
    note = f" {outside:,} before or after are not shown." if outside else ""
    return _picture(f"Transactions by {unit}", labels, numbers, (740, 360), note=note)


def _stacked(
    rows: Sequence[Mapping[str, Any]], unit: str, labels: Sequence[str]
) -> tuple[dict[str, list[int]], int]:
    """By outcome one number a label, and how many transactions have a date that is no label."""
    numbers = {outcome: [0] * len(labels) for outcome in OUTCOMES}
    place = {label: position for position, label in enumerate(labels)}
    outside = 0
    for row in rows:
        for outcome in OUTCOMES:
            many = row[outcome]["transactions"]
            if row[unit] in place:
                numbers[outcome][place[row[unit]]] += many
            elif row[unit] is not None:
                outside += many
    return numbers, outside


def time_of_day(clock: Sequence[Mapping[str, int]]) -> Picture:
    """Accepted transactions by hour of local time."""
    labels = [f"{hour:02}:00" for hour in range(24)]
    numbers = {"accepted": [_sum(clock, "hour", hour) for hour in range(24)]}
    shown = {labels[hour]: str(hour) for hour in range(0, 24, 3)}
    return _picture("Time of day", labels, numbers, (360, 360), shown)


def weekday(clock: Sequence[Mapping[str, int]]) -> Picture:
    """Accepted transactions by weekday of local time."""
    numbers = {"accepted": [_sum(clock, "weekday", day) for day in range(1, 8)]}
    return _picture("Weekday", WEEKDAYS, numbers, (360, 360), {name: name[:3] for name in WEEKDAYS})


def _sum(clock: Sequence[Mapping[str, int]], column: str, value: int) -> int:
    return sum(row["transactions"] for row in clock if row[column] == value)


def _picture(
    title: str,
    labels: Sequence[str],
    numbers: Mapping[str, Sequence[int]],
    widths: tuple[int, int],
    shown: Mapping[str, str] | None = None,
    note: str = "",
) -> Picture:
    totals = [sum(column) for column in zip(*numbers.values(), strict=True)]
    text = _in_words(labels, totals) + note
    wide, narrow = (
        bar_chart(
            labels,
            numbers,
            text=f"{title}. {text}",
            shown=shown or _some(labels, width // 60),
            width=width,
            height=200,
        )
        for width in widths
    )
    return Picture(title, text, labels, totals, wide, narrow if widths[0] != widths[1] else wide)


def _in_words(labels: Sequence[str], totals: Sequence[int]) -> str:
    most, least = max(totals, default=0), min(totals, default=0)
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
    """The days that a calendar has: a wrong unit makes years such as 53935, which are written otherwise."""
    return [date.fromisoformat(row["day"]) for row in rows if _PLAIN_DAY.fullmatch(row["day"])]


def _days(first: date, last: date) -> list[str]:
    return [str(first + timedelta(days=n)) for n in range((last - first).days + 1)]


def _months(first: date, last: date) -> list[str]:
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    months = (divmod(first.year * 12 + first.month - 1 + n, 12) for n in range(count))
    return [f"{year:04}-{month + 1:02}" for year, month in months]


def _some(labels: Sequence[str], most: int) -> dict[str, str]:
    """At most `most` labels to write: every January where there are many months, else every n-th."""
    januaries = [label for label in labels if len(label) == 7 and label.endswith("-01")]
    if len(labels) > 24 and januaries:
        step = -(-len(januaries) // most)
        return {label: label[:4] for label in januaries[::step]}
    return {label: label for label in labels[:: -(-len(labels) // most) or 1]}
