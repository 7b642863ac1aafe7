"""Anomalies of the time of sales: a wrong zone, missing times, missing days, day and month swapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import MAXYEAR, date, timedelta
from typing import Final

import polars as pl

from pipeline.core.findings import Anomaly
from pipeline.validation.anomalies.evidence import share, shown
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


def at_night(observed: Observations, _sources: Sequence[str]) -> Iterator[Anomaly]:
    """Sales at night where the shop is closed by day: everywhere, or in some stores."""
    everywhere = [0] * 24
    by_store: dict[str, list[int]] = {}
    for store, hour, sales in observed.hours.select("store", "hour", "sales").iter_rows():
        everywhere[hour] += sales
        if store is not None:
            by_store.setdefault(store, [0] * 24)[hour] += sales
    if _quiet_by_day(everywhere):
        busiest = sorted(_NIGHT, key=lambda hour: -everywhere[hour])[:3]
        lines = [
            f"{hour:02}:00 to {hour:02}:59: {share(everywhere[hour], sum(everywhere))}" for hour in busiest
        ]
        yield _night_anomaly("Many sales are", [_quiet_line(everywhere), *lines])
        return
    lines = []
    for store, counts in sorted(by_store.items()):
        if _quiet_by_day(counts):
            at_night = sum(counts[hour] for hour in _NIGHT)
            lines.append(
                f"{store}: {share(at_night, sum(counts))} from 00:00 to 05:59; {_quiet_line(counts)}"
            )
    if lines:
        yield _night_anomaly("Some stores have many sales", lines)


def _night_anomaly(start: str, lines: Sequence[str]) -> Anomaly:
    message = (
        f"{start} at night in local time, and hardly any by day: most likely the time zone is wrong. "
        "If these are bars or bakeries, all is well."
    )
    return Anomaly("sales_at_night", "Sales at night", message, shown(lines))


def _quiet_by_day(counts: Sequence[int]) -> bool:
    """Whether the shop is closed around midday or in the evening, and sells at night."""
    first, length = _closed(counts)
    total = sum(counts)
    if total < _SALES_FOR_HOURS or length < _CLOSED_HOURS:
        return False
    middle = (first + length / 2) % 24
    return sum(counts[hour] for hour in _NIGHT) >= _NIGHT_SHARE * total and 9 <= middle < 21


def _closed(counts: Sequence[int]) -> tuple[int, int]:
    """First hour and number of the longest run of quiet hours around the clock."""
    quiet = [count < _CLOSED_SHARE * sum(counts) / 24 for count in counts]
    best = (0, 0)
    for first in range(24):
        length = next((n for n in range(24) if not quiet[(first + n) % 24]), 24)
        best = max(best, (first, length), key=lambda run: run[1])
    return best


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
        yield Anomaly(
            "dates_at_midnight",
            "Sales at exactly midnight",
            "Many sales are at 00:00:00 sharp: the date has no time of day, or the mapping leaves it out.",
            (f"{share(counts.at_midnight, counts.timed)} at 00:00:00",),
        )


# With so many expected, a day without any occurs by chance once in 500 million days.
_SALES_A_DAY: Final = 20
# A weekday is compared with itself four weeks to either side.
_WEEKS_AROUND: Final = 9
_CLOSED_DATES: Final = ((12, 25), (12, 26), (1, 1))
# Good Friday, Easter Sunday and Monday, in days from Easter Sunday.
_CLOSED_AT_EASTER: Final = (-2, 0, 1)
# A date without sales in two years is a local holiday.
_CLOSED_YEARS: Final = 2


def days_missing(observed: Observations, _sources: Sequence[str]) -> Iterator[Anomaly]:
    """Days on which nothing was sold though the same weekday always sells, everywhere or in one store."""
    lines = [
        f"{store}, {_missing_line(*gap)}" if store else _missing_line(*gap)
        for store, *gap in missing_days(observed).rows()
    ]
    if lines:
        yield Anomaly(
            "days_without_sales",
            "Days without sales",
            "On some days there are no sales where there always are: a file or a day may be missing from the "
            "export. If the shops were closed, all is well.",
            shown(lines),
        )


def missing_days(observed: Observations) -> pl.DataFrame:
    """Days on which nothing was sold though the same weekday always sells.

    Returns:
        One row a store and days in a row: `store`, `first`, `last`, how many `days`, and what is `usual`
        (sales a day). Those that are missing everywhere come first, with the store "", and are not repeated
        for each store.
    """
    everywhere = observed.days.group_by("day").agg(pl.col("sales").sum()).with_columns(store=pl.lit(""))
    missing = _missing(everywhere)
    named = _missing(_busy(observed.days.drop_nulls("store"))).join(missing, on="day", how="anti")
    return pl.concat([_in_a_row(missing), _in_a_row(named)])


def _busy(days: pl.DataFrame) -> pl.DataFrame:
    """Stores with enough sales a day for a day without any to say something."""
    span = (pl.col("day").max() - pl.col("day").min()).dt.total_days().over("store") + 1
    # A store that is closed on most weekdays still counts: hence a seventh.
    return days.filter(pl.col("sales").sum().over("store") / span >= _SALES_A_DAY / 7)


def _missing(days: pl.DataFrame) -> pl.DataFrame:
    """Days without sales on which there should be some, in order.

    Returns:
        One row a day: `store`, `day`, `usual` (sales), and `gap`, which is the same for days between which
        nothing was sold.
    """
    schema = pl.Schema({"store": pl.String(), "day": pl.Date(), "usual": pl.Float64(), "gap": pl.Int64()})
    found = [pl.DataFrame(schema=schema)]
    for (store,), sales in days.partition_by("store", as_dict=True).items():
        calendar = pl.DataFrame({"day": pl.date_range(*_span(sales), eager=True)})
        weeks = calendar.join(sales, on="day", how="left", maintain_order="left").with_columns(
            pl.col("sales").fill_null(0), pl.col("day").dt.weekday().alias("weekday")
        )
        # The middle one of the weeks around: a weekly closing day, a season or one busy day change nothing.
        middle = pl.col("sales").rolling_median(_WEEKS_AROUND, min_samples=1, center=True)
        weeks = weeks.with_columns(
            middle.over("weekday").alias("usual"),
            (pl.col("sales") > 0).cum_sum().cast(pl.Int64).alias("gap"),
            pl.lit(store).alias("store"),
        )
        odd = (pl.col("sales") == 0) & (pl.col("usual") >= _SALES_A_DAY)
        found.append(weeks.filter(odd & ~_holiday(weeks["day"])).select(schema.names()))
    return _unless_yearly(pl.concat(found)).sort("store", "day")


def _in_a_row(missing: pl.DataFrame) -> pl.DataFrame:
    """One row a store and gap: `store`, its `first` and `last` day, how many `days`, and what is `usual`."""
    together = missing.group_by("store", "gap", maintain_order=True).agg(
        pl.col("day").min().alias("first"),
        pl.col("day").max().alias("last"),
        pl.len().alias("days"),
        pl.col("usual").mean(),
    )
    return together.drop("gap").sort("first", "store")


def _missing_line(first: date, last: date, days: int, usual: float) -> str:
    if days == 1:
        return f"{first:%A %Y-%m-%d}: no sales; about {usual:.0f} are usual"
    return f"{first} to {last}: no sales on {days} days on which about {usual:.0f} are usual"


def _span(sales: pl.DataFrame) -> tuple[date, date]:
    first, last = sales.select(pl.col("day").min().alias("first"), pl.col("day").max().alias("last")).row(0)
    return first, last


def _holiday(days: pl.Series) -> pl.Series:
    """Whether shops are closed on a day in much of the world."""
    # Years far outside are misread dates; the calendar of Easter begins in 1583.
    years = [year for year in days.dt.year().unique() if 1583 <= year <= MAXYEAR]
    easter = [_easter(year) + timedelta(days=n) for year in years for n in _CLOSED_AT_EASTER]
    dates = [date(year, month, day) for year in years for month, day in _CLOSED_DATES]
    return days.is_in([*easter, *dates])


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar, as Jones and Meeus give it."""
    century, rest = divmod(year, 100)
    golden = year % 19
    epact = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    late = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)


def _unless_yearly(missing: pl.DataFrame) -> pl.DataFrame:
    """Leave out dates on which a store is closed every year."""
    date_of_year = pl.struct("store", pl.col("day").dt.month(), pl.col("day").dt.day().alias("number"))
    return missing.filter(pl.len().over(date_of_year) < _CLOSED_YEARS)


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
        yield Anomaly(
            "day_month_swapped",
            "Only the first twelve days of each month",
            "No sale is after the 12th of any month: day and month have most likely changed places in the "
            "mapping's date format.",
            (f"{days['sales'].sum():,} sales from {first} to {last}, all on the 1st to the 12th",),
        )
