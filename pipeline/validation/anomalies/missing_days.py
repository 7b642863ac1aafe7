"""Days on which a store sold nothing though it should have: what was expected, and the odds of chance.

The sales of a day spread around what is usual, in some stores more than in others. How much says how often
a day without any sale comes by chance; see docs/statistics.md. A run has thousands of days of stores, so a
gap counts only where chance alone is expected to bring one that is as unlikely to few runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, date, timedelta
from functools import lru_cache
from typing import Final

import polars as pl

from pipeline.validation.anomalies.observations import Observations

EVERYWHERE: Final = ""
"""The store of a gap that all stores have."""
_MOST_STORES: Final = 1_000
"""Only the largest stores are looked at: a wrong column mapped as the store may have a million values."""
# A weekday is compared with itself four weeks to either side, and not with fewer than three of it.
_WEEKS_AROUND: Final = 9
_FEWEST_WEEKS: Final = 3
# Of so many days in a row most are not within four weeks of a sale, so nothing is usual on them.
_APART: Final = timedelta(days=7 * _WEEKS_AROUND)
_CLOSED_DATES: Final = ((12, 25), (12, 26), (1, 1))
# Good Friday, Easter Sunday and Monday, in days from Easter Sunday.
_CLOSED_AT_EASTER: Final = (-2, 0, 1)
# A date without sales in two years is a local holiday.
_CLOSED_YEARS: Final = 2
_BUSY: Final = 20
"""Usual sales from which on no day is empty for want of customers, however often there is such a day."""
_CLOSED: Final = 0.1
"""Share of its usual days on which a store may be empty besides by chance: else it opens when it likes."""
SURE: Final = 0.05
"""Gaps that are expected by chance in a run, at most, among those that are surely missing: one in 20 runs."""
_PERHAPS: Final = 1.0
"""The same among those that are perhaps missing."""
_RARE: Final = 0.01
"""Also in a short run, such a gap must be rarer by chance than once in a hundred days."""
_LONGEST_ODDS: Final = 10**9


@dataclass(frozen=True)
class MissingDays:
    """Days without sales, and stores that sell too little to say.

    Attributes:
        gaps: One row a store and days in a row: `store` (`EVERYWHERE` for all, which come first and are not
            repeated for each), `first`, `last`, how many `days` on which sales are usual, what is `usual`
            (sales a day), `odds` (chance brings such a gap on one of so many days), and whether it is `sure`.
        unjudged: One row a store of which a day without sales says nothing: `store`, and its sales a day as
            `usual`; the largest first.
    """

    gaps: pl.DataFrame
    unjudged: pl.DataFrame


# Both the table of the report and the warning ask for it.
@lru_cache(maxsize=1)
def missing_days(observed: Observations) -> MissingDays:
    """Find the days on which nothing was sold though the same weekday always sells."""
    named = observed.days.drop_nulls("store")
    sizes = named.group_by("store").agg(pl.col("sales").sum())
    named = named.join(sizes.top_k(_MOST_STORES, by="sales"), on="store", how="semi")
    everywhere = (
        observed.days.group_by("day").agg(pl.col("sales").sum()).with_columns(store=pl.lit(EVERYWHERE))
    )
    days = _with_chance(_calendar(pl.concat([everywhere, named], how="diagonal")))
    chances = days.filter(pl.col("usual") > 0)["chance"]
    surely, perhaps = _bound(chances, SURE), _bound(chances, _PERHAPS)
    is_of_all = pl.col("store") == EVERYWHERE
    of_all = days.filter(is_of_all)
    gone = of_all.join(_gaps(of_all, surely, perhaps).filter("sure").select("run"), on="run", how="semi")
    of_stores = days.filter(~is_of_all).with_columns(
        pl.when(pl.col("day").is_in(gone.filter(pl.col("sales") == 0)["day"].implode()))
        .then(0.0)
        .otherwise("usual")
        .alias("usual")
    )
    found = [_gaps(each, surely, perhaps).drop("run").sort("first", "store") for each in (of_all, of_stores)]
    return MissingDays(pl.concat(found), _unjudged(days.filter(~is_of_all), perhaps))


def _calendar(days: pl.DataFrame) -> pl.DataFrame:
    """Every day of each store from its first to its last, but for long times without sales.

    Returns:
        One row a store and day, in order: `store`, `day`, `sales`, `usual` (0 or null where none are
        expected), and `run`, which is the same for days between which nothing was sold.
    """
    own = days.select("store", "day", "sales").sort("store", "day")
    following = pl.col("day").shift(-1).over("store")
    since = pl.col("day") - pl.col("day").shift(1)
    is_near = following - pl.col("day") <= _APART
    spans = own.with_columns(
        pl.when(is_near).then(following - timedelta(days=1)).otherwise("day").alias("until"),
        (since > _APART).cum_sum().fill_null(0).alias("season"),
        pl.int_range(pl.len()).alias("run"),
    )
    every = spans.with_columns(pl.date_ranges("day", "until").alias("each")).explode("each")
    every = every.with_columns(
        pl.when(pl.col("each") == pl.col("day")).then("sales").otherwise(0).alias("sales"),
        pl.col("each").alias("day"),
    )
    # The middle one of the weeks around: a weekly closing day, a season or one busy day change nothing.
    middle = pl.col("sales").rolling_median(_WEEKS_AROUND, min_samples=_FEWEST_WEEKS, center=True)
    usual = middle.over("store", "season", pl.col("day").dt.weekday())
    every = every.with_columns(pl.when(_holiday(every["day"])).then(0.0).otherwise(usual).alias("usual"))
    # Of empty days only: there are few of them among all.
    empty = every.with_row_index("at").filter((pl.col("sales") == 0) & (pl.col("usual") > 0))
    date_of_year = ("store", pl.col("day").dt.month(), pl.col("day").dt.day())
    yearly = empty.filter(pl.len().over(*date_of_year) >= _CLOSED_YEARS)["at"]
    usual_days = every["usual"].scatter(yearly, 0.0)
    return every.with_columns(usual_days).select("store", "day", "sales", "usual", "run")


def _with_chance(days: pl.DataFrame) -> pl.DataFrame:
    """Add `chance`: how likely it is that a day has no sales, where the store is open as usual.

    The variance of a store's days is `spread` times that of a Poisson distribution, at least once. Then the
    chance is spread ** (-usual / (spread - 1)), that of a negative binomial of that mean and variance.
    """
    usual, is_usual = pl.col("usual"), pl.col("usual") > 0
    # At least 1.001: at 1, a Poisson distribution, the formula below would divide by zero.
    spread = ((pl.col("sales") - usual) ** 2 / usual).filter(is_usual).mean().over("store").clip(1.001, None)
    return days.with_columns((-usual * spread.log() / (spread - 1)).exp().alias("chance"))


def _bound(chances: pl.Series, most: float) -> float:
    """The chance up to which a gap counts, so that at most `most` gaps of a run are expected to be chance.

    That number is the sum of all chances up to the bound, and the bound itself for every other day: there,
    several empty days in a row may be as unlikely.
    """
    ordered = pl.DataFrame({"chance": chances.sort()}).with_columns(
        pl.col("chance").cum_sum().alias("below"),
        (pl.len() - 1 - pl.int_range(pl.len())).alias("others"),
    )
    fits = ordered.filter(pl.col("below") + pl.col("chance") * pl.col("others") <= most)
    below, others = (0.0, len(chances)) if fits.is_empty() else fits.select("below", "others").row(-1)
    return min(_RARE, (most - float(below)) / max(1, int(others)))


def _gaps(days: pl.DataFrame, surely: float, perhaps: float) -> pl.DataFrame:
    """One row a gap that counts; see `MissingDays`, and its `run`."""
    is_usual = pl.col("usual") > 0
    is_empty = (pl.col("sales") == 0) & is_usual
    openings = (
        days.filter(is_usual)
        .group_by("store")
        .agg(pl.len().alias("all"), is_empty.sum().alias("empty"), pl.col("chance").sum().alias("expected"))
    )
    gaps = (
        days.filter(is_empty)
        .group_by("store", "run", maintain_order=True)
        .agg(
            pl.col("day").min().alias("first"),
            pl.col("day").max().alias("last"),
            pl.len().cast(pl.Int64).alias("days"),
            pl.col("usual").mean(),
            pl.col("chance").product(),
        )
        .filter(pl.col("chance") <= perhaps)
        .join(openings, on="store", maintain_order="left")
        .filter((pl.col("usual") >= _BUSY) | _is_regular(pl.col("days")))
    )
    odds = (1 / pl.col("chance")).clip(None, _LONGEST_ODDS).cast(pl.Int64)
    return gaps.with_columns(odds.alias("odds"), (pl.col("chance") <= surely).alias("sure")).drop(
        "chance", "all", "empty", "expected"
    )


def _is_regular(but: pl.Expr) -> pl.Expr:
    """Whether a store, apart from one gap of so many days, is empty hardly more often than by chance."""
    return pl.col("empty") - but <= pl.col("expected") + _CLOSED * pl.col("all")


def _unjudged(days: pl.DataFrame, bound: float) -> pl.DataFrame:
    """The stores of which a day without sales would not count."""
    is_usual = pl.col("usual") > 0
    of_stores = days.group_by("store").agg(
        pl.col("chance").filter(is_usual).median().fill_null(1.0),
        is_usual.sum().alias("all"),
        ((pl.col("sales") == 0) & is_usual).sum().alias("empty"),
        pl.col("chance").filter(is_usual).sum().alias("expected"),
        pl.col("sales").mean().alias("usual"),
    )
    irregular = (pl.col("usual") < _BUSY) & ~_is_regular(pl.lit(0))
    unjudged = of_stores.filter((pl.col("chance") > bound) | irregular)
    return unjudged.select("store", "usual").sort("usual", "store", descending=[True, False])


def _holiday(days: pl.Series) -> pl.Series:
    """Whether shops are closed on a day in much of the world."""
    # Years far outside are misread dates; the calendar of Easter begins in 1583.
    years = [year for year in days.dt.year().unique() if 1583 <= year <= MAXYEAR]
    easter = [easter_sunday(year) + timedelta(days=n) for year in years for n in _CLOSED_AT_EASTER]
    dates = [date(year, month, day) for year in years for month, day in _CLOSED_DATES]
    return days.is_in([*easter, *dates])


def easter_sunday(year: int) -> date:
    """Easter Sunday of the Gregorian calendar, as Jones and Meeus give it."""
    century, rest = divmod(year, 100)
    golden = year % 19
    epact = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    late = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)
