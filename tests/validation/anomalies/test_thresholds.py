"""From which number on a detector speaks, with sums made by hand: one sale less, and it is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipeline.core.findings import Anomaly
from pipeline.validation.anomalies.customers import busy_customers
from pipeline.validation.anomalies.observations import Counts, Observations, merge_observations
from pipeline.validation.anomalies.repeated_sales import twice
from pipeline.validation.anomalies.sale_times import at_midnight, at_night, day_and_month
from pipeline.validation.anomalies.sale_totals import far_totals, totals_and_items
from pipeline.validation.anomalies.stores import currency_mix, stores_that_may_be_typos
from tests.validation.anomalies.shop import SOURCES

Detector = Callable[[Observations, Sequence[str]], Iterator[Anomaly]]


def observed(counts: Counts | None = None, **tables: list[tuple[Any, ...]]) -> Observations:
    """Observations with these rows in some of their tables."""
    nothing = merge_observations([])
    frames: dict[str, Any] = {
        name: pl.DataFrame(rows, schema=getattr(nothing, name).schema, orient="row")
        for name, rows in tables.items()
    }
    return replace(nothing, counts=counts or Counts(), **frames)


def evidence(detect: Detector, seen: Observations) -> list[str]:
    """All lines of evidence of a detector."""
    return [line for each in detect(seen, SOURCES) for line in each.evidence]


# ── Customers ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("transactions", "with_customer", "people", "least"),
    [
        (100, 100, [], 20),
        (300, 300, [], 30),
        (100, 100, [8], 40),
        (10_000, 1_000, [2, 2], 50),
        (10_000, 5_000, [], 150),
        (10_000, 1_000, [4, 6], 100),
    ],
)
def test_a_customer_is_too_busy_from_so_many_sales_on(
    transactions: int, with_customer: int, people: list[int], least: int
) -> None:
    counts = Counts(transactions=transactions, with_customer=with_customer)
    sample = list(enumerate(people))
    profiles = [(1, least - 1, 0, 3), (2, least, 1, 4), (3, least + 1, 0, 5)]
    assert evidence(busy_customers, observed(counts, people=sample, profiles=profiles)) == [
        f"{least + 1} sales ({(least + 1) / with_customer:.0%}), such as till-1.csv line 5",
        f"{least} sales ({least / with_customer:.0%}), such as till-2.csv line 4",
    ]


# ── Repeated sales ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("repeated", "transactions", "is_many"),
    [(20, 100, True), (19, 90, False), (40, 200, True), (39, 200, False)],
)
def test_rows_that_occur_twice(repeated: int, transactions: int, is_many: bool) -> None:
    counts = Counts(repeated=repeated, transactions=transactions)
    lines = [f"{repeated} of {transactions} transactions"]
    assert evidence(twice, observed(counts)) == (lines if is_many else [])


@pytest.mark.parametrize(
    ("whole_minute", "once", "pairs", "threes", "is_many"),
    [
        (50, 540, 30, 0, True),
        (50, 541, 30, 0, False),
        (51, 541, 30, 0, False),
        (51, 90, 30, 0, True),
        (51, 91, 30, 0, False),
        (50, 60, 20, 0, True),
        (50, 60, 19, 0, False),
        (50, 299, 30, 1, True),
        (50, 300, 30, 1, False),
    ],
)
def test_sales_that_are_alike(whole_minute: int, once: int, pairs: int, threes: int, is_many: bool) -> None:
    alike = [1] * once + [2] * pairs + [3] * threes
    repeats = [(n, times, 0, int(times == 2)) for n, times in enumerate(alike)]
    lines = [
        f"{pairs + 2 * threes} of {sum(alike)} sales looked at repeat another one",
        f"till-1.csv and till-2.csv: {pairs} in both",
        *([f"till-1.csv: {2 * threes} within it"] if threes else []),
    ]
    found = evidence(twice, observed(Counts(timed=100, whole_minute=whole_minute), repeats=repeats))
    assert found == (lines if is_many else [])


# ── Times ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sharp", "timed", "is_many"),
    [(20, 100, True), (19, 100, False), (50, 1_000, True), (49, 1_000, False)],
)
def test_sales_at_midnight(sharp: int, timed: int, is_many: bool) -> None:
    lines = [f"{sharp} sales ({sharp / timed:.0%}) at 00:00:00"]
    counts = Counts(at_midnight=sharp, timed=timed)
    assert evidence(at_midnight, observed(counts)) == (lines if is_many else [])


def by_hour(usual: int, **others: int) -> list[int]:
    """Sales of each hour; `h7` are those of 7:00 to 7:59."""
    return [others.get(f"h{hour}", usual) for hour in range(24)]


def quiet(first: int, last: int) -> dict[str, int]:
    return {f"h{hour}": 1 for hour in range(first, last + 1)}


@pytest.mark.parametrize(
    ("hours", "closed"),
    [
        (by_hour(5, **quiet(10, 13)), "10:00 to 13:59"),
        (by_hour(5, **quiet(10, 12)), ""),
        (by_hour(5, **quiet(7, 10)), "07:00 to 10:59"),
        (by_hour(5, **quiet(6, 9)), ""),
        (by_hour(5, **quiet(18, 21)), "18:00 to 21:59"),
        (by_hour(5, **quiet(19, 22)), ""),
        (by_hour(5, **quiet(18, 22)), "18:00 to 22:59"),
        (by_hour(5, h22=1, h23=1, h0=1, h1=1, **quiet(12, 14)), ""),
        (by_hour(6, **quiet(8, 10), **quiet(12, 16)), "12:00 to 16:59"),
        (by_hour(6, **quiet(7, 10), **quiet(12, 15)), "07:00 to 10:59"),
        # 100 sales are enough, 99 are not.
        (by_hour(5, h10=0, h11=0, h12=0, h13=0), "10:00 to 13:59"),
        (by_hour(5, h10=0, h11=0, h12=0, h13=0, h14=4), ""),
        # A quarter of the sales of an average hour, 2 of 192, is not quiet any more.
        (by_hour(9, h10=2, h11=2, h12=2, h13=2, h20=10, h21=10, h22=10, h23=10), ""),
        (by_hour(9, h10=2, h11=2, h12=2, h13=2, h20=11, h21=10, h22=10, h23=10), "10:00 to 13:59"),
    ],
)
def test_hours_in_which_hardly_anything_is_sold(hours: list[int], closed: str) -> None:
    seen = observed(hours=[("Bar", hour, sales) for hour, sales in enumerate(hours)])
    found = evidence(at_night, seen)
    assert found[:1] == ([f"hardly any sales from {closed}"] if closed else [])


def test_the_busiest_hours_of_the_night_are_named() -> None:
    hours = by_hour(5, h1=9, h3=8, h5=7, h6=20, **quiet(10, 14))
    seen = observed(hours=[(None, hour, sales) for hour, sales in enumerate(hours)])
    assert evidence(at_night, seen) == [
        "hardly any sales from 10:00 to 14:59",
        f"01:00 to 01:59: 9 sales ({9 / sum(hours):.0%})",
        f"03:00 to 03:59: 8 sales ({8 / sum(hours):.0%})",
        f"05:00 to 05:59: 7 sales ({7 / sum(hours):.0%})",
    ]


def test_stores_that_sell_at_night_are_named_where_others_sell_by_day() -> None:
    by_day = [("Shop", hour, 900) for hour in range(9, 18)]
    at_bars = [(name, hour, 12) for name in ("Bar B", "Bar A") for hour in (*range(5), *range(20, 24))]
    seen = observed(hours=[*by_day, *at_bars, (None, 3, 500)])
    assert evidence(at_night, seen) == [
        f"Bar {letter}: 60 sales (56%) from 00:00 to 05:59; hardly any sales from 05:00 to 19:59; "
        "the middle of its day is about 0:00, elsewhere about 13:00"
        for letter in "AB"
    ]


FIRST = date(2024, 1, 1)


@pytest.mark.parametrize(
    ("days", "sales", "is_swapped"),
    [
        ([0, 8, 10, 60], 100, True),
        ([0, 8, 10, 60], 99, False),
        ([1, 8, 10, 60], 100, False),
        ([0, 8, 60], 100, False),
        ([0, 8, 11, 60], 100, True),
        ([0, 8, 12, 60], 100, False),
    ],
)
def test_only_the_first_twelve_days_of_months(days: list[int], sales: int, is_swapped: bool) -> None:
    rows = [("S", FIRST + timedelta(days=day), 1) for day in days[1:]]
    seen = observed(days=[("S", FIRST + timedelta(days=days[0]), sales - len(rows)), *rows])
    lines = ["100 sales from 2024-01-01 to 2024-03-01, all on the 1st to the 12th"]
    assert evidence(day_and_month, seen) == (lines if is_swapped else [])


# ── Totals ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sales", "comparable", "is_many"),
    [(20, 100, True), (19, 100, False), (50, 1_000, True), (49, 1_000, False)],
)
def test_totals_that_differ_by_the_tax(sales: int, comparable: int, is_many: bool) -> None:
    part = f"{sales} sales ({sales / comparable:.0%})"
    for counts, line in (
        (Counts(below_by_tax=sales, comparable=comparable), f"{part}: total = items − tax"),
        (Counts(above_by_tax=sales, comparable=comparable), f"{part}: total = items + tax"),
        (Counts(off=sales, comparable=comparable), f"{part}: total = 0.909 × items"),
    ):
        found = evidence(totals_and_items, observed(counts, ratios=[(909, sales)]))
        assert found[:1] == ([line] if is_many else [])


LOWER, HIGHER = "as with a tax of 10%, or with 9% off all items", "as with a tax of 10%"


@pytest.mark.parametrize(
    ("ratios", "sales", "shown", "rest"),
    [
        ([(909, 60)], 60, "0.909", [LOWER]),
        ([(909, 59), (950, 41)], 0, "", []),
        ([(907, 1), (909, 58), (911, 1)], 60, "0.909", [LOWER]),
        ([(906, 1), (909, 58), (912, 1)], 0, "", []),
        ([(911, 70)], 70, "0.911", [LOWER]),
        ([(912, 70)], 0, "", []),
        ([(1_100, 70)], 70, "1.100", [HIGHER]),
        ([(1_102, 70)], 70, "1.102", [HIGHER]),
        ([(1_103, 70)], 0, "", []),
        ([(500, 70)], 70, "0.500", []),
        ([(498, 70)], 70, "0.498", []),
        ([(502, 70)], 70, "0.502", []),
        ([(497, 70)], 0, "", []),
        ([(800, 40), (909, 40)], 0, "", []),
        ([], 0, "", []),
    ],
)
def test_totals_that_are_the_same_part_of_their_items(
    ratios: list[tuple[int, int]], sales: int, shown: str, rest: list[str]
) -> None:
    found = evidence(totals_and_items, observed(Counts(off=100, comparable=1_000), ratios=ratios))
    assert found == (
        [f"{sales} sales ({sales / 1_000:.0%}): total = {shown} × items", *rest] if sales else []
    )


def test_of_ratios_as_frequent_as_each_other_the_largest_is_taken() -> None:
    counts = Counts(off=40, comparable=100)
    found = evidence(totals_and_items, observed(counts, ratios=[(833, 20), (835, 20)]))
    assert found[0] == "40 sales (40%): total = 0.835 × items"


@pytest.mark.parametrize(
    ("ratio", "rate"),
    [
        *((1_000 + 10 * rate, str(rate)) for rate in (5, 6, 7, 8, 9, 10, *range(12, 26), 27)),
        *((1_075, "7.5"), (1_083, "8.1")),
    ],
)
def test_every_rate_of_tax_is_known(ratio: int, rate: str) -> None:
    found = evidence(totals_and_items, observed(Counts(off=20, comparable=20), ratios=[(ratio, 20)]))
    assert found[1:] == [f"as with a tax of {rate}%"]


@pytest.mark.parametrize("rate", [11, 26])
def test_other_rates_are_not_taken_for_a_tax(rate: int) -> None:
    seen = observed(Counts(off=20, comparable=20), ratios=[(1_000 + 10 * rate, 20)])
    assert evidence(totals_and_items, seen) == []


@pytest.mark.parametrize(
    ("sizes", "total", "is_far"),
    [
        # A bin is a tenth of a decade: totals in bin 9 are below 10.
        ([(9, 100)], "200", False),
        ([(9, 100)], "200.01", True),
        ([(9, 100)], "-200.01", True),
        ([(9, 99)], "200.01", False),
        ([(9, 99), (19, 1)], "200.01", True),
        ([(9, 98), (19, 2)], "3162", False),
        ([(9, 98), (19, 2)], "3163", True),
        ([(9, 50), (19, 50)], "3162", False),
        ([(9, 50), (19, 50)], "3163", True),
        ([(9, 49), (19, 51)], "2001", True),
    ],
)
def test_a_total_that_is_far_outside(sizes: list[tuple[int, int]], total: str, is_far: bool) -> None:
    seen = observed(sizes=[(None, at, sales) for at, sales in sizes], largest=[(None, Decimal(total), 1, 7)])
    p99 = 100 if sizes[-1][0] == 19 and sizes[-1][1] > 1 else 10
    lines = [f"no store: {Decimal(total):,.2f} (till-2.csv line 7); 99% of its totals are below {p99:,.2f}"]
    assert evidence(far_totals, seen) == (lines if is_far else [])


@pytest.mark.parametrize(
    ("others", "at", "is_odd"),
    [(2, 23, True), (2, 22, False), (2, -5, True), (2, -4, False), (1, 23, False)],
)
def test_a_store_whose_totals_are_twenty_times_those_of_others(others: int, at: int, is_odd: bool) -> None:
    names = ["A", "B"][:others]
    seen = observed(sizes=[*((name, 9, 100) for name in names), ("C", at, 100)])
    below = 10 ** ((at + 1) / 10)
    lines = [f"C: half of the totals are below {below:,.2f}; elsewhere, below 10.00"]
    assert evidence(far_totals, seen) == (lines if is_odd else [])


def test_the_totals_that_are_furthest_outside_come_first() -> None:
    largest = [("S", Decimal(total), 0, 1) for total in (300, -500, 400)]
    found = evidence(far_totals, observed(sizes=[("S", 9, 100)], largest=largest))
    assert [line.split()[1] for line in found] == ["-500.00", "400.00", "300.00"]


# ── Stores ───────────────────────────────────────────────────────────────────────────────────────────


def stores_of(**sales: int) -> Observations:
    return observed(stores=[(name, number, 0, 1) for name, number in sales.items()])


@pytest.mark.parametrize(
    ("sales", "named"),
    [
        # A store with a single sale is odd where the median store has 20.
        ({"Carlton": 20, "Fitzroy": 20, "Perth": 1}, ["Perth"]),
        ({"Carlton": 30, "Fitzroy": 19, "Perth": 1}, []),
        ({"Carlton": 40, "Fitzroy": 40, "Perth": 2}, []),
        # A typo has at most a fiftieth of the sales of the store that was meant, which has 50 or more.
        ({"Carlton": 100, "Carlten": 2}, ["Carlten"]),
        ({"Carlton": 99, "Carlten": 2}, []),
        ({"Carlton": 50, "Fitzroy": 1, "Carlten": 1}, ["Carlten"]),
        ({"Carlton": 49, "Fitzroy": 1, "Carlten": 1}, []),
        # Another spelling of one name is odd whatever its share.
        ({"Carlton": 60, "CARLTON": 59}, ["CARLTON"]),
        ({"Carlton": 60, "CARLTON": 60}, ["CARLTON"]),
        ({"Carlton": 49, "CARLTON": 48}, []),
    ],
)
def test_stores_with_hardly_any_sales(sales: dict[str, int], named: list[str]) -> None:
    found = evidence(stores_that_may_be_typos, stores_of(**sales))
    assert [line.split("'")[1] for line in found] == named


def test_of_several_stores_that_may_be_meant_the_largest_is_named() -> None:
    found = evidence(stores_that_may_be_typos, stores_of(Carlton=500, Carltan=600, Carltin=600, Carlten=2))
    assert found == ["'Carlten': 2 sales (till-1.csv line 1); was 'Carltan' meant?"]


@pytest.mark.parametrize(("more", "is_mixed"), [(1, True), (0, False)])
def test_currencies_of_a_store_with_twenty_sales(more: int, is_mixed: bool) -> None:
    seen = observed(currencies=[("A", "AUD", 4), ("A", "NZD", 15 + more), ("B", "AUD", 90), ("C", None, 40)])
    lines = [f"A: NZD {15 + more}, AUD 4"]
    assert evidence(currency_mix, seen) == (lines if is_mixed else [])


def test_the_five_most_frequent_currencies_of_a_store_are_named() -> None:
    rows = [(None, code, 10 + n) for n, code in enumerate(["AUD", "NZD", "FJD", "USD", "EUR"])]
    assert evidence(currency_mix, observed(currencies=[*rows, (None, None, 9)])) == [
        "no store: EUR 14, USD 13, FJD 12, NZD 11, AUD 10"
    ]
    assert evidence(currency_mix, observed(currencies=[(None, None, 9), *rows[:1]])) == []
    assert evidence(currency_mix, observed(currencies=[("A", None, 99), ("A", "AUD", 1)])) == [
        "A: no currency 99, AUD 1"
    ]
    assert evidence(currency_mix, observed(currencies=[("A", None, 99), ("B", None, 99)])) == []
