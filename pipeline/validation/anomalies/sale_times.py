"""Anomalies of the time of sales: a wrong zone, missing times, missing days, day and month swapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import polars as pl

from pipeline.core.day_middle import shifted_stores, usual_middle
from pipeline.core.findings import Anomaly, anomaly
from pipeline.core.text.wording import count
from pipeline.validation.anomalies.evidence import share, shown
from pipeline.validation.anomalies.missing_days import missing_days
from pipeline.validation.anomalies.observations import Observations

# Fewer do not show when a shop is open.
_SALES_FOR_HOURS: Final = 100
# Quiet hours in a row from which on a shop is taken to be closed.
_CLOSED_HOURS: Final = 4
# Share of the sales of an average hour: four such hours in a row do not occur by chance.
_CLOSED_SHARE: Final = 0.25
_NIGHT: Final = range(6)
# Share of all sales: a shop that is open until late has a few after midnight.
_NIGHT_SHARE: Final = 0.10


def clock_shifted(observed: Observations, _sources: Sequence[str]) -> Iterator[Anomaly]:
    """Stores whose day is hours before or after that of the others; `at_night` names those that sell then."""
    hours = _by_store(observed)
    lines = [
        f"{store}: {_middle_line(hour, hours)}"
        for store, hour in shifted_stores(hours).items()
        if not _quiet_by_day(hours[store])
    ]
    if lines:
        yield anomaly(
            "store_clock_shifted",
            "A store sells hours earlier or later than the others: most likely its time zone is wrong in the "
            "mapping, or its till's clock is. If it keeps such hours, as bars do, all is well.",
            shown(lines),
        )


def _middle_line(hour: int, hours: Mapping[str, Sequence[int]]) -> str:
    return f"the middle of its day is about {hour}:00, elsewhere about {usual_middle(hours)}:00"


def _by_store(observed: Observations) -> dict[str, list[int]]:
    """Sales of each of the 24 hours by store."""
    found: dict[str, list[int]] = {}
    for store, hour, sales in observed.hours.drop_nulls("store").select("store", "hour", "sales").iter_rows():
        found.setdefault(store, [0] * 24)[hour] += sales
    return found


def at_night(observed: Observations, _sources: Sequence[str]) -> Iterator[Anomaly]:
    """Sales at night where the shop is closed by day: everywhere, or in some stores."""
    everywhere = [0] * 24
    for hour, sales in observed.hours.select("hour", "sales").iter_rows():
        everywhere[hour] += sales
    if _quiet_by_day(everywhere):
        busiest = sorted(_NIGHT, key=lambda hour: -everywhere[hour])[:3]
        lines = [
            f"{hour:02}:00 to {hour:02}:59: {share(everywhere[hour], sum(everywhere))}" for hour in busiest
        ]
        yield _night_anomaly("Many sales are", [_quiet_line(everywhere), *lines])
        return
    hours = _by_store(observed)
    shifted = shifted_stores(hours)
    lines = []
    for store, counts in sorted(hours.items()):
        if _quiet_by_day(counts):
            at_night = sum(counts[hour] for hour in _NIGHT)
            line = f"{store}: {share(at_night, sum(counts))} from 00:00 to 05:59; {_quiet_line(counts)}"
            lines.append(f"{line}; {_middle_line(shifted[store], hours)}" if store in shifted else line)
    if lines:
        yield _night_anomaly("Some stores have many sales", lines)


def _night_anomaly(start: str, lines: Sequence[str]) -> Anomaly:
    message = (
        f"{start} at night in local time, and hardly any by day: most likely the time zone is wrong. "
        "If these are bars or bakeries, all is well."
    )
    return anomaly("sales_at_night", message, shown(lines))


def _quiet_by_day(counts: Sequence[int]) -> bool:
    """Whether the shop is closed around midday or in the evening, and sells at night."""
    total = sum(counts)
    if total < _SALES_FOR_HOURS:
        return False
    first, length = _closed(counts)
    if length < _CLOSED_HOURS:
        return False
    return sum(counts[hour] for hour in _NIGHT) >= _NIGHT_SHARE * total and 9 <= first + length / 2 < 21


def _closed(counts: Sequence[int]) -> tuple[int, int]:
    """First hour and number of the longest run of quiet hours around the clock."""
    least = _CLOSED_SHARE * sum(counts) / 24
    quiet = [count < least for count in counts]

    def length(first: int) -> int:
        # Some hour has as many sales as the average.
        return next(n for n in range(24) if not quiet[(first + n) % 24])

    longest = max(range(24), key=length)
    return longest, length(longest)


def _quiet_line(counts: Sequence[int]) -> str:
    first, length = _closed(counts)
    return f"hardly any sales from {first:02}:00 to {(first + length - 1) % 24:02}:59"


# By chance it is one sale in 1,440, where minutes are known.
_MIDNIGHT_SHARE: Final = 0.05
_MIDNIGHT_SALES: Final = 20


def at_midnight(observed: Observations, _sources: Sequence[str]) -> Iterator[Anomaly]:
    """Sales without a time of day."""
    counts = observed.counts
    if counts.at_midnight >= max(_MIDNIGHT_SALES, _MIDNIGHT_SHARE * counts.timed):
        yield anomaly(
            "dates_at_midnight",
            "Many sales are at 00:00:00 sharp: the date has no time of day, or the mapping leaves it out.",
            (f"{share(counts.at_midnight, counts.timed)} at 00:00:00",),
        )


def days_missing(observed: Observations, _sources: Sequence[str]) -> Iterator[Anomaly]:
    """Days on which nothing was sold though the same weekday always sells, everywhere or in one store."""
    gaps = missing_days(observed).gaps
    lines = [_missing_line(**gap) for gap in gaps.filter("sure").iter_rows(named=True)]
    if lines:
        yield anomaly(
            "days_without_sales",
            "On some days there are no sales where there always are: a file or a day may be missing from the "
            "export. If the shops were closed, all is well.",
            shown(lines),
        )


def _missing_line(store: str, first: date, last: date, days: int, usual: float, **_: object) -> str:
    where = f"{store}, " if store else ""
    if days == 1:
        return f"{where}{first:%A %Y-%m-%d}: no sales; about {usual:.0f} are usual"
    return f"{where}{first} to {last}: no sales on {days} days on which about {usual:.0f} are usual"


def _span(sales: pl.DataFrame) -> tuple[date, date]:
    first, last = sales.select(pl.col("day").min().alias("first"), pl.col("day").max().alias("last")).row(0)
    return first, last


_DAYS_SPANNED: Final = timedelta(days=60)
_SALES_FOR_MONTH_DAYS: Final = 100
# A business that bills on the first of each month has one day.
_MONTHS_TAKEN_FOR_DAYS: Final = 3


def day_and_month(observed: Observations, _sources: Sequence[str]) -> Iterator[Anomaly]:
    """Where day and month change places, only the first twelve days of a month are left."""
    days = observed.days.drop_nulls("day")
    if days["sales"].sum() < _SALES_FOR_MONTH_DAYS:
        return
    first, last = _span(days)
    numbers = days["day"].dt.day().unique()
    enough = last - first >= _DAYS_SPANNED and len(numbers) >= _MONTHS_TAKEN_FOR_DAYS
    if enough and (numbers <= 12).all():
        sales = count(int(days["sales"].sum()), "sale")
        yield anomaly(
            "day_month_swapped",
            "No sale is after the 12th of any month: day and month have most likely changed places in the "
            "mapping's date format.",
            (f"{sales} from {first} to {last}, all on the 1st to the 12th",),
        )


DETECTORS: Final = (clock_shifted, at_night, at_midnight, day_and_month, days_missing)
