from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from pipeline.validation.anomalies.missing_days import easter_sunday
from pipeline.validation.anomalies.sale_times import at_night, clock_shifted, days_missing
from tests.validation.anomalies.shop import MONDAY, SOURCES, Sale, ordinary, sale, unit


@pytest.mark.parametrize(
    "sunday",
    [
        *(date(1818, 3, 22), date(1943, 4, 25), date(2008, 3, 23), date(2011, 4, 24), date(2038, 4, 25)),
        # Where the tables of the church move Easter to a week earlier than the moon has it.
        *(date(1609, 4, 19), date(1954, 4, 18), date(1981, 4, 19), date(2049, 4, 18), date(2076, 4, 19)),
        *(date(1900, 4, 15), date(2000, 4, 23), date(2024, 3, 31), date(2285, 3, 22)),
    ],
    ids=str,
)
def test_easter(sunday: date) -> None:
    assert easter_sunday(sunday.year) == sunday


def daily(store: str, counts: dict[int, int]) -> list[Sale]:
    """Sales of a store, so many on each day from the first Monday on."""
    noon = datetime(MONDAY.year, MONDAY.month, MONDAY.day, 12)
    return [
        sale(10_000 + n, noon + timedelta(days=day, seconds=n), store, 2_000 + n, None)
        for day, count in counts.items()
        for n in range(count)
    ]


def missing(*sales: Sale) -> tuple[str, ...]:
    """The evidence of days without sales."""
    return tuple(line for each in days_missing(unit([*sales]), SOURCES) for line in each.evidence)


def test_a_store_that_opens_once_a_week_is_looked_at() -> None:
    mondays = daily("Market", {day: 20 for day in range(0, 70, 7) if day != 28} | {69: 20})
    closed_long_ago = daily("Old", {-700: 1})
    assert missing(*ordinary(closed_on=()), *mondays, *closed_long_ago) == (
        "Market, Monday 2024-04-29: no sales; about 20 are usual",
    )


def test_a_wrong_date_long_before_does_not_keep_a_store_from_being_looked_at() -> None:
    summer = {day: 30 for day in range(60) if day != 30}
    found = missing(*ordinary(closed_on=()), *daily("Kiosk", {59 - 619: 1} | summer))
    assert found == ("Kiosk, Wednesday 2024-05-01: no sales; about 30 are usual",)


def test_sales_without_a_store_have_no_days_of_their_own() -> None:
    nowhere = [
        {**each, "location_id": None} for each in daily("", {day: 30 for day in range(70) if day != 30})
    ]
    assert missing(*ordinary(closed_on=()), *nowhere) == ()


def test_a_store_whose_day_is_hours_later_is_named_once() -> None:
    shops = [{**each, "location_id": f"S{n % 3}"} for n, each in enumerate(ordinary())]
    late = [
        {
            **each,
            "location_id": "Perth",
            "transacted_at|local": each["transacted_at|local"] + timedelta(hours=6),
        }
        for each in ordinary(seed=2, a_day=10)
    ]
    observed = unit([*shops, *late])
    assert [line for each in clock_shifted(observed, SOURCES) for line in each.evidence] == [
        "Perth: the middle of its day is about 19:00, elsewhere about 13:00"
    ]
    assert [*at_night(observed, SOURCES)] == []
    assert [*clock_shifted(unit(shops), SOURCES)] == []


@pytest.mark.parametrize(("share", "anomalies"), [(19, 0), (20, 1)])
def test_a_tenth_of_the_sales_at_night_is_many_where_a_shop_is_closed_by_day(
    share: int, anomalies: int
) -> None:
    hours = [1] * share + [22] * (200 - share)
    sales = [
        sale(n, datetime(2024, 4, 1, hour) + timedelta(days=n % 50), "Bar", 2_000 + n, None)
        for n, hour in enumerate(hours)
    ]
    assert len([*at_night(unit(sales), SOURCES)]) == anomalies
