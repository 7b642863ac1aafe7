"""Days without sales in tables of days that are written by hand: what is usual, and what is a holiday."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from pipeline.validation.anomalies.missing_days import MissingDays, easter_sunday, missing_days
from tests.validation.anomalies.test_thresholds import observed

MONDAY = date(2024, 1, 29)


def found(**stores: dict[date, int]) -> MissingDays:
    """What is missing where stores sold so much on these days."""
    return missing_days(
        observed(days=[(store, *sold) for store, days in stores.items() for sold in days.items()])
    )


def daily(sales: int, *without: date, first: date = MONDAY, days: int = 84) -> dict[date, int]:
    """The same sales on every day but some."""
    every = (first + timedelta(days=n) for n in range(days))
    return {day: sales for day in every if day not in without}


def gaps(missing: MissingDays, *columns: str) -> list[tuple[object, ...]]:
    return missing.gaps.select(columns or ("store", "first", "last", "days", "usual", "sure")).rows()


EASTER = date(2024, 3, 31)


@pytest.mark.parametrize(
    ("off", "is_gap"), [(-3, True), (-2, False), (-1, True), (0, False), (1, False), (2, True)]
)
def test_shops_may_be_closed_at_easter(off: int, is_gap: bool) -> None:
    day = EASTER + timedelta(days=off)
    assert gaps(found(A=daily(30, day))) == ([("", day, day, 1, 30.0, True)] if is_gap else [])


@pytest.mark.parametrize(
    ("day", "is_gap"),
    [
        *((date(2023, 12, 24), True), (date(2023, 12, 25), False), (date(2023, 12, 26), False)),
        *((date(2023, 12, 27), True), (date(2023, 12, 31), True), (date(2024, 1, 1), False)),
        *((date(2024, 1, 2), True), (date(2023, 11, 25), True), (date(2024, 2, 1), True)),
    ],
)
def test_shops_may_be_closed_over_the_new_year(day: date, is_gap: bool) -> None:
    sold = daily(30, day, first=date(2023, 11, 1), days=120)
    assert gaps(found(A=sold), "first") == ([(day,)] if is_gap else [])


@pytest.mark.parametrize("year", [1583, 1584, 9999])
def test_misread_years_have_holidays_too(year: int) -> None:
    easter = easter_sunday(year)
    assert gaps(found(A=daily(30, easter, first=easter - timedelta(days=42)))) == []
    missing = easter + timedelta(days=3)
    assert gaps(found(A=daily(30, missing, first=easter - timedelta(days=42))), "first") == [(missing,)]


def test_years_before_the_calendar_of_easter_have_none() -> None:
    day = date(1582, 4, 20)
    assert gaps(found(A=daily(30, day, first=day - timedelta(days=42))), "first") == [(day,)]


def test_what_is_usual_is_the_middle_of_nine_weeks() -> None:
    # Of the nine weeks around the day four have 100, four have 200 and one has none; the tenth has 200.
    sold = {MONDAY + timedelta(days=day): 100 if 28 <= day < 63 else 200 for day in range(119)}
    missing = MONDAY + timedelta(days=56)
    del sold[missing]
    assert gaps(found(A=sold), "first", "usual") == [(missing, 100.0)]


@pytest.mark.parametrize(("break_days", "is_gap"), [(62, False), (63, True)])
def test_nothing_is_usual_within_a_break_of_nine_weeks(break_days: int, is_gap: bool) -> None:
    before = daily(100, days=70)
    again = MONDAY + timedelta(days=70 + break_days)
    lost = [MONDAY + timedelta(days=65), again + timedelta(days=5)]
    del before[lost[0]]
    after = daily(100, lost[1], first=again, days=70)
    assert [first for (first,) in gaps(found(A=before | after), "first")] == (lost if is_gap else [])


def test_three_weeks_are_enough_to_say_what_is_usual() -> None:
    first = MONDAY + timedelta(days=160)
    lost = first + timedelta(days=7)
    three_weeks = daily(30, lost, first=first, days=21)
    assert gaps(found(A=three_weeks), "first") == gaps(found(A=daily(30) | three_weeks), "first") == [(lost,)]


def test_a_store_that_closed_for_good_misses_no_days() -> None:
    later = daily(30, first=MONDAY + timedelta(days=60), days=24)
    assert gaps(found(A=daily(30, days=42), B=later, C=daily(30))) == []


def test_a_date_without_sales_every_year_is_a_local_holiday() -> None:
    sundays = [MONDAY + timedelta(days=day) for day in range(6, 400, 7)]
    yearly = [date(2024, 2, 14), date(2025, 2, 14)]
    once = [date(2024, 2, 15), date(2024, 5, 6), date(2024, 6, 6), date(2025, 2, 4)]
    missing = found(A=daily(30, *sundays, *yearly, *once, days=400))
    assert gaps(missing, "first", "last", "days", "usual") == [(day, day, 1, 30.0) for day in once]


def test_the_odds_follow_from_how_much_the_sales_of_days_differ() -> None:
    lost = MONDAY + timedelta(days=43)
    sold = {day: 60 if (day - MONDAY).days // 7 % 5 == 1 else 30 for day in daily(30, lost)}
    missing = found(A=sold)
    assert gaps(missing, "first", "usual") == [(lost, 30.0)]
    # Two or three of twelve weeks have twice the sales, so the variance is about 7 times that of chance.
    assert 5_000 < missing.gaps["odds"][0] < 50_000


def test_two_days_in_a_row_are_surely_missing_where_one_is_not() -> None:
    lost = [MONDAY + timedelta(days=30), MONDAY + timedelta(days=31)]
    assert gaps(found(A=daily(6, lost[0])), "sure") == [(False,), (False,)]
    assert gaps(found(A=daily(6, *lost)), "first", "days", "sure") == [(lost[0], 2, True)]


def test_a_day_that_every_store_lost_is_not_a_gap_of_each_but_others_are() -> None:
    together = MONDAY + timedelta(days=30)
    for alone in (together - timedelta(days=1), together + timedelta(days=1)):
        missing = found(A=daily(30, together), B=daily(30, together, alone), C=daily(30, together))
        assert gaps(missing) == [("", together, together, 1, 90.0, True), ("B", alone, alone, 1, 30.0, True)]


def test_gaps_are_in_the_order_of_their_days_and_stores() -> None:
    one, other = MONDAY + timedelta(days=30), MONDAY + timedelta(days=40)
    missing = found(C=daily(30, other), B=daily(30, one), A=daily(30, other), D=daily(30))
    assert gaps(missing, "first", "store") == [(one, "B"), (other, "A"), (other, "C")]


def test_a_gap_that_is_perhaps_missing_everywhere_is_one_of_the_store_as_well() -> None:
    lost = MONDAY + timedelta(days=30)
    missing = found(A=daily(6, lost))
    assert gaps(missing, "store", "first", "sure") == [("", lost, False), ("A", lost, False)]
    assert gaps(found(A=daily(5, lost))) == []


def test_days_in_a_row_have_one_line_and_weekly_closing_days_are_not_counted() -> None:
    closed = [MONDAY + timedelta(days=day) for day in range(6, 84, 7)]
    lost = [MONDAY + timedelta(days=day) for day in (32, 33, 35, 36)]
    missing = found(A=daily(30, *closed, *lost), B=daily(30))
    assert gaps(missing) == [("A", lost[0], lost[-1], 4, 30.0, True)]
    assert missing.gaps["odds"].to_list() == [10**9]


def test_sales_without_a_store_count_for_all_stores_together() -> None:
    lost = MONDAY + timedelta(days=30)
    rows = [(None, day, 30) for day in daily(30, lost)] + [("A", day, 30) for day in daily(30)]
    missing = missing_days(observed(days=rows))
    assert gaps(missing) == []
    assert missing.unjudged.is_empty()


@pytest.mark.parametrize(("sales", "is_gap"), [(20, True), (19, False)])
def test_a_busy_store_misses_a_day_however_often_it_is_empty(sales: int, is_gap: bool) -> None:
    lost = [MONDAY + timedelta(days=n) for n in range(3, 80, 8)]
    missing = found(A=daily(sales, *lost), B=daily(500))
    assert [first for (first,) in gaps(missing, "first")] == (lost if is_gap else [])


@pytest.mark.parametrize(
    ("empty", "is_gap", "unjudged"), [(8, True, []), (9, True, ["A"]), (10, False, ["A"])]
)
def test_a_store_is_regular_that_is_empty_on_a_tenth_of_its_days(
    empty: int, is_gap: bool, unjudged: list[str]
) -> None:
    lost = [MONDAY + timedelta(days=n) for n in range(1, 1 + 8 * empty, 8)]
    missing = found(A=daily(15, *lost), B=daily(500))
    assert bool(gaps(missing)) is is_gap
    assert missing.unjudged["store"].to_list() == unjudged


def test_stores_of_which_a_lost_day_says_nothing_are_named_from_the_largest() -> None:
    missing = found(A=daily(3), B=daily(4), C=daily(4), D=daily(30), E=daily(2))
    assert missing.unjudged.rows() == [("B", 4.0), ("C", 4.0), ("A", 3.0), ("E", 2.0)]


@pytest.mark.parametrize(
    ("days", "others", "is_sure"), [(85, {}, True), (86, {}, False), (85, {"B": 1}, False)]
)
def test_a_gap_is_sure_where_chance_brings_one_to_few_runs(
    days: int, others: dict[str, int], is_sure: bool
) -> None:
    # On 73 days of one store and of all, chance empties 0.049 days on which eight sales are usual.
    monday = date(2024, 4, 8)
    sundays = [monday + timedelta(days=day) for day in range(6, days, 7)]
    lost = monday + timedelta(days=30)
    missing = found(
        A=daily(8, lost, *sundays, first=monday, days=days),
        **{name: daily(sales, *sundays, first=monday, days=days) for name, sales in others.items()},
    )
    assert missing.gaps.filter(store="A")["sure"].to_list() == ([] if is_sure and not others else [is_sure])
    assert missing.gaps.filter(store="")["sure"].to_list() == ([] if others else [is_sure])


def test_sales_without_a_store_have_no_row_of_their_own() -> None:
    lost = MONDAY + timedelta(days=30)
    rows = [(None, day, 30) for day in daily(30, lost)] + [("A", day, 30) for day in daily(30, lost)]
    missing = missing_days(observed(days=[*rows, (None, MONDAY, 1)]))
    assert gaps(missing, "store") == [("",)]
    assert missing_days(observed(days=[(None, day, 3) for day in daily(3)])).unjudged.is_empty()
