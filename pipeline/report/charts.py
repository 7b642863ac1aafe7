"""The charts of the page as labels and numbers; the template draws them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import cycle, pairwise
from math import ceil, floor
from typing import Any, Final

from pipeline.core.text.wording import count
from pipeline.report.formatting import grouped, share

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
OUTCOMES: Final = ("accepted", "dropped", "rejected")
MOST_DAYS: Final = 62
"""A longer time is drawn by month: bars by day would be too thin to point at."""
MOST_MONTHS: Final = 240
"""A longer time comes from a wrong date; only its newest months are drawn."""
MOST_CURRENCIES: Final = 3
"""Currencies that have a chart; the table by currency has all."""
MOST_TICKS: Final = 4
LABEL_WIDTH: Final = 60
"""Pixels that a label such as `2024-07` and the space around it take."""
_STRAYS: Final = 0.01
"""Share of the sales up to which some that are far from the others may be wrong dates."""
_MONTHS_APART: Final = 3
# Years from 0001 to 9999, which `date` knows. A wrong unit of time gives years such as +53935.
_CALENDAR_DAY: Final = re.compile(r"(?!0000)\d{4}-\d\d-\d\d")

Number = int | Decimal


@dataclass(frozen=True)
class Chart:
    """Bars, in numbers and in words.

    Attributes:
        title: What the chart shows.
        text: What there is to see, in a sentence.
        labels: One a bar, from left to right, all different.
        series: By name, one number a bar. Several are stacked from the bottom, or stand side by side.
        short_labels: What stands under the axis, by label; None for as many labels as fit.
        currency: Of the numbers; empty where they are whole numbers of something.
        noun: What is counted, where there is no currency.
        beside: Whether several series stand side by side.
        styles: The style of a series by its name; without an entry it is the name.
    """

    title: str
    text: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[Number]]
    short_labels: Mapping[str, str] | None = None
    currency: str = ""
    noun: str = "transactions"
    beside: bool = False
    styles: Mapping[str, str] = field(default_factory=dict)

    @property
    def totals(self) -> list[Number]:
        """One number a bar, all series added up."""
        return _totals(self.series)

    @property
    def ticks(self) -> list[int]:
        """Round values for the axis, from 0 or below to the first one that no bar exceeds; two to six."""
        heights = (
            [each for numbers in self.series.values() for each in numbers] if self.beside else self.totals
        )
        highest, lowest = max([0, *heights]), min([0, *heights])
        # Steps are 1, 2, 5, 10, 20, 50, and so on.
        step, factors = 1, cycle((2, 2.5, 2))
        while step * MOST_TICKS < highest - lowest:
            step = int(step * next(factors))
        below, above = -floor(lowest / step), ceil(highest / step)
        return [step * n for n in range(-below, max(above, 1 - below) + 1)]

    def axis_labels(self, width: int) -> Iterator[tuple[int, str]]:
        """The position of a bar and what stands under it, where there is room for it.

        Args:
            width: Of the drawing, in pixels.
        """
        shown = self.short_labels or _some(self.labels, width // LABEL_WIDTH)
        return ((n, shown[label]) for n, label in enumerate(self.labels) if label in shown)

    def written(self, number: Number) -> str:
        """A number of the chart for people."""
        if isinstance(number, Decimal):
            return _amount(self.currency, number)
        return f"{number:,}{self.sign}"

    @property
    def sign(self) -> str:
        """What stands behind its whole numbers: `%` for shares."""
        return "%" if self.noun == "percent" else ""


@dataclass(frozen=True)
class Axis:
    """The time that a run spans.

    Attributes:
        unit: `day` or `month`.
        labels: Every day or month, also those without sales, oldest first.
    """

    unit: str
    labels: Sequence[str]

    def place(self, period: str) -> str:
        """The label that a local day or month belongs to."""
        return period if self.unit == "day" else period[:7]


def axis_of(values: Mapping[str, Any]) -> Axis | None:
    """The time of the accepted transactions, so that one impossible date does not squeeze all others.

    Where nothing was accepted, it is that of all transactions; None where no transaction has a date.

    Args:
        values: The view; see `pipeline.report.view.view`.
    """
    dated = [row for row in values["by_day"] if row["day"]]
    days = _dates(row for row in dated if row["accepted"]["transactions"]) or _dates(dated)
    if not days:
        return None
    if (max(days) - min(days)).days < MOST_DAYS:
        return Axis("day", _days(min(days), max(days)))
    months = _months(min(days), max(days))[-MOST_MONTHS:]
    return Axis("month", _without_strays(months, _counts(values, "month", "transactions")))


def _without_strays(months: Sequence[str], found: Mapping[str, int]) -> Sequence[str]:
    """The months, without a few sales far before or after all others, which mostly have a wrong date."""
    total = sum(found.get(month, 0) for month in months)
    # Once for the start and once for the end.
    for _ in range(2):
        sold = [n for n, month in enumerate(months) if found.get(month)]
        gaps = [
            after
            for before, after in pairwise(sold)
            if after - before > _MONTHS_APART
            and sum(found.get(month, 0) for month in months[:after]) <= _STRAYS * total
        ]
        # Reversed, so that the second pass looks at the other end, and the result is in order again.
        months = months[max(gaps, default=0) :][::-1]
    # A first or last month with hardly any sales is a night of the next one, in another zone.
    for end in (-1, 0):
        if len(months) > 2 and 0 < found.get(months[end], 0) * len(months) <= _STRAYS * total:
            months = months[:-1] if end else months[1:]
    return months


def timeline(values: Mapping[str, Any]) -> Chart | None:
    """Transactions by day or month, stacked by outcome; a day or month without sales stays empty.

    Args:
        values: The view; see `axis_of`, which also says when it is None.
    """
    axis = axis_of(values)
    if axis is None:
        return None
    series: dict[str, list[Number]] = {outcome: [0] * len(axis.labels) for outcome in OUTCOMES}
    positions = {label: position for position, label in enumerate(axis.labels)}
    outside = 0
    for row in values[f"by_{axis.unit}"]:
        for outcome in OUTCOMES:
            transactions = row[outcome]["transactions"]
            if row[axis.unit] in positions:
                series[outcome][positions[row[axis.unit]]] += transactions
            elif row[axis.unit] is not None:
                outside += transactions
    note = f" {outside:,} before or after are not shown." if outside else ""
    words = _in_words(axis.labels, series) + note
    return Chart(f"Transactions by {axis.unit}", words, axis.labels, series)


def worth(values: Mapping[str, Any]) -> list[Chart]:
    """What the accepted transactions are worth by day or month, a chart for each of the main currencies."""
    axis = axis_of(values)
    if axis is None:
        return []
    charts = []
    for currency in main_currencies(values)[:MOST_CURRENCIES]:
        sums = _sums(values, axis.unit, currency, "total")
        numbers = [sums.get(label, Decimal()) for label in axis.labels]
        title = f"Worth by {axis.unit}" + (f", in {currency}" if currency else "")
        words = _in_words(axis.labels, {"accepted": numbers}, currency or "")
        charts.append(
            Chart(title, words, axis.labels, {"accepted": numbers}, currency=currency or "", noun="worth")
        )
    return charts


def main_currencies(values: Mapping[str, Any]) -> list[str | None]:
    """Currencies of accepted transactions, the one with the most first; None is "no currency"."""
    rows = [row for row in values["by_currency"] if row["accepted"]["transactions"]]
    return [row["currency"] for row in sorted(rows, key=lambda row: -row["accepted"]["transactions"])]


def years(values: Mapping[str, Any]) -> Chart | None:
    """The last year beside the one before, by month, in the main currency; None without two common months."""
    currencies = main_currencies(values)
    if not currencies:
        return None
    sums = _sums(values, "month", currencies[0], "total")
    months = {label for label in sums if _CALENDAR_DAY.fullmatch(f"{label}-01")}
    newest = max((int(label[:4]) for label in months), default=0)
    common = [month for month in range(1, 13) if {f"{newest - n:04}-{month:02}" for n in (0, 1)} <= months]
    # A single month says little: often it comes from one wrong date.
    if len(common) < 2:
        return None
    names = (str(newest - 1), str(newest))
    series: dict[str, Sequence[Number]] = {
        year: [sums.get(f"{year}-{month:02}", Decimal()) for month in range(1, 13)] for year in names
    }
    before, now = (sum((series[year][month - 1] for month in common), Decimal()) for year in names)
    more = "more" if now >= before else "less"
    change = f" {abs(now / before - 1):.1%} {more} than" if before > 0 else ""
    currency = currencies[0] or ""
    text = (
        f"In the {count(len(common), 'month')} that both have: "
        f"{names[1]} {_amount(currency, now)},{change}"
        f" {names[0]} {_amount(currency, before)}."
    )
    labels = dict(zip(MONTHS, MONTHS, strict=True))
    styles = {names[0]: "before", names[1]: "accepted"}
    return Chart(
        f"{names[1]} beside {names[0]}",
        text,
        MONTHS,
        series,
        labels,
        currency=currency,
        noun="worth",
        beside=True,
        styles=styles,
    )


def guests(values: Mapping[str, Any]) -> Chart | None:
    """The share of guest sales in percent, by day or month; None where they were not counted."""
    return _shares(values, "guests", "Share of guest sales", "guest sales")


def returns(values: Mapping[str, Any]) -> Chart | None:
    """Returns by day or month; None where there are none, or they were not counted."""
    axis, numbers = axis_of(values), [row["accepted"]["returns"] for row in values["by_month"]]
    if axis is None or None in numbers or not sum(numbers):
        return None
    found = _counts(values, axis.unit, "returns")
    series: dict[str, Sequence[Number]] = {"returns": [found.get(label, 0) for label in axis.labels]}
    sums = {
        currency: sum(_sums(values, axis.unit, currency, "returned").values(), Decimal())
        for currency in main_currencies(values)
    }
    amounts = " and ".join(_amount(currency or "", amount) for currency, amount in sums.items() if amount)
    text = f"{count(sum(numbers), 'return')}, worth {amounts}, " if amounts else ""
    text += f"{share(sum(numbers), values['transactions']['accepted'])} of the accepted transactions. "
    return Chart(
        f"Returns by {axis.unit}",
        text + _in_words(axis.labels, series),
        axis.labels,
        series,
        noun="returns",
        styles={"returns": "rejected"},
    )


# The last number stands for no limit.
_LOYALTY: Final = (("1", 1, 1), ("2", 2, 2), ("3 to 5", 3, 5), ("6 to 10", 6, 10), ("11 or more", 11, 10**9))


def loyalty(customers: Mapping[str, Any]) -> Chart | None:
    """Customers by their number of sales; None where there are none, or they were not counted."""
    known = {row["sales"]: row["customers"] for row in customers["by_sales"]}
    if not known:
        return None
    looked_at = sum(known.values())
    # The customers counted may be a sample; they stand for all.
    scale = customers["number"] / looked_at
    numbers = [
        round(scale * sum(many for sales, many in known.items() if least <= sales <= most))
        for _, least, most in _LOYALTY
    ]
    each = sum(sales * many for sales, many in known.items()) / looked_at
    about = "About " if customers["estimated"] else ""
    text = f"{about}{count(customers['number'], 'customer')}, {each:.1f} sales each"
    text += f", by a sample of {looked_at:,}." if customers["estimated"] else "."
    labels = [name for name, _, _ in _LOYALTY]
    series: dict[str, Sequence[Number]] = {"customers": numbers}
    styles = {"customers": "accepted"}
    shown = dict(zip(labels, ("1", "2", "3–5", "6–10", "11+"), strict=True))
    return Chart("Customers by their sales", text, labels, series, shown, noun="customers", styles=styles)


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


def _shares(values: Mapping[str, Any], name: str, title: str, noun: str) -> Chart | None:
    axis, numbers = axis_of(values), [row["accepted"][name] for row in values["by_month"]]
    if axis is None or None in numbers:
        return None
    if any(row["accepted"][name] is None for row in values[f"by_{axis.unit}"]):
        return None  # a run that an older version prepared
    found, of = _counts(values, axis.unit, name), _counts(values, axis.unit, "transactions")
    parts = [round(100 * found[label] / of[label]) if of.get(label) else 0 for label in axis.labels]
    whole = share(sum(numbers), values["transactions"]["accepted"])
    text = f"{whole} of the accepted transactions are {noun}."
    series: dict[str, Sequence[Number]] = {noun: parts}
    return Chart(
        f"{title} by {axis.unit}", text, axis.labels, series, noun="percent", styles={noun: "accepted"}
    )


def _counts(values: Mapping[str, Any], unit: str, name: str) -> dict[str, int]:
    """A number of the accepted transactions by day or month, over all currencies."""
    found: dict[str, int] = {}
    for row in values[f"by_{unit}"]:
        if row[unit] is not None:
            found[row[unit]] = found.get(row[unit], 0) + row["accepted"][name]
    return found


def _sums(values: Mapping[str, Any], unit: str, currency: str | None, name: str) -> dict[str, Decimal]:
    """An amount of the accepted transactions by day or month, in one currency."""
    return {
        row[unit]: Decimal(row["accepted"][name])
        for row in values[f"by_{unit}"]
        if row[unit] is not None and row["currency"] == currency and row["accepted"]["transactions"]
    }


def _amount(currency: str, amount: Number) -> str:
    return f"{currency} {grouped(f'{amount:.2f}')}".strip()


def _sum(clock: Sequence[Mapping[str, int]], column: str, value: int) -> int:
    return sum(row["transactions"] for row in clock if row[column] == value)


def _totals(series: Mapping[str, Sequence[Number]]) -> list[Number]:
    return [sum(column) for column in zip(*series.values(), strict=True)]


def _in_words(labels: Sequence[str], series: Mapping[str, Sequence[Number]], currency: str = "") -> str:
    def written(number: Number) -> str:
        return _amount(currency, number) if isinstance(number, Decimal) else f"{number:,}"

    totals = _totals(series)
    most, least = max(totals), min(totals)
    if not most and not least:
        return "No transactions."
    if len(totals) == 1:
        return f"All {labels[0]} ({written(most)})."
    if most == least:
        return f"{written(most)} each."
    empty = totals.count(0)
    low = f"{empty} without any" if empty else f"fewest {labels[totals.index(least)]} ({written(least)})"
    if currency or isinstance(most, Decimal):
        low = low.replace("fewest", "least")
    return f"Most {labels[totals.index(most)]} ({written(most)}), {low}."


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
