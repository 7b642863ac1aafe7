from __future__ import annotations

from typing import Any

from pipeline.report.heat_maps import MOST_STORES, stores_by_hour, stores_by_time

MONTHS = [f"2024-{month:02}" for month in range(1, 7)]


def values(periods: dict[str, Any], gaps: Any = (), gone: Any = (), days: Any = ()) -> dict[str, Any]:
    each = {"transactions": 9, "total": "1.00"}
    rows = [
        {"day": day, "month": day[:7], "currency": None, "accepted": each, "dropped": each, "rejected": each}
        for day in days or [f"{month}-01" for month in MONTHS]
    ]
    previous = {"gone_stores": gone} if gone else None
    return {"by_day": rows, "by_month": rows, "periods": periods, "gaps": gaps, "previous": previous}


def test_a_store_without_a_month_a_lost_day_and_a_lost_store_show() -> None:
    whole = {month: [40, 30] for month in MONTHS}
    late = {month: [10, 9] for month in MONTHS[2:]}
    holed = whole | {"2024-05": [41, 29]}
    del holed["2024-04"]
    gap = {"store": "Holed", "first": "2024-05-13", "last": "2024-05-13", "days": 1, "usual": 22}
    found = stores_by_time(values({"Whole": whole, "Late": late, "Holed": holed}, [gap], ["Gone"]))
    assert found is not None
    rows = dict(found.rows)
    assert [cell.sales for cell in rows["Late"]] == [None, None, 10, 10, 10, 10], "it was not open yet"
    assert [cell.sales for cell in rows["Gone"]] == [0] * 6
    assert [cell.sales for cell in rows["Holed"]] == [40, 40, 40, 0, 41, 40]
    assert [cell.missing for cell in rows["Holed"]] == [0, 0, 0, 0, 1, 0]
    assert {cell.level for cell in rows["Whole"]} == {4}
    assert found.text == (
        "Days are missing: Holed 2024-05-13 (about 22 a day are usual). No sales: Gone at all; Holed 2024-04."
    )


def test_a_short_time_is_shown_by_day_and_a_closing_day_once() -> None:
    days = [f"2024-03-{day:02}" for day in range(1, 15)]
    open_days = {day: [5, 1] for day in days if day not in ("2024-03-03", "2024-03-10")}
    lost = {day: sales for day, sales in open_days.items() if day != "2024-03-06"}
    found = stores_by_time(values({"A": open_days, "B": lost}, days=days))
    assert found is not None
    assert [*found.columns] == days
    assert found.text == "No sales: nowhere 2024-03-03, 2024-03-10; B 2024-03-06."


def test_no_store_misses_sales_on_a_last_day_that_has_only_begun() -> None:
    days = [f"2024-03-{day:02}" for day in range(1, 15)]
    whole = {day: [50, 1] for day in days[:-1]}
    found = stores_by_time(values({"A": whole, "B": whole, "Bar": whole | {days[-1]: [2, 1]}}, days=days))
    assert found is not None
    assert [cells[-1].sales for _, cells in found.rows] == [None, None, 2]
    assert found.text == "Every store has sales in every day from its first on."


def test_of_many_stores_those_with_holes_are_drawn() -> None:
    periods = {f"S{n:03}": {month: [1000 - n, 30] for month in MONTHS} for n in range(90)}
    del periods["S089"]["2024-03"]
    found = stores_by_time(values(periods))
    assert found is not None
    assert (len(found.rows), found.left_out) == (MOST_STORES, 90 - MOST_STORES)
    assert found.rows[-1][0] == "S089"
    assert stores_by_time(values({})) is None, "older versions kept nothing by store and month"


def test_sales_by_day_and_night_have_no_middle() -> None:
    found = stores_by_hour({"A": [40 + hour % 3 for hour in range(24)], "B": [40] * 24})
    assert found is not None
    assert found.text.startswith("Sales are too few, or spread over day and night")


def test_of_many_months_the_newest_are_drawn_and_the_sentence_is_about_all() -> None:
    months = [f"{2020 + n // 12}-{n % 12 + 1:02}" for n in range(48)]
    periods = {month: [9, 9] for month in months if month != "2020-06"}
    found = stores_by_time(values({"A": periods}, days=[f"{month}-02" for month in months]))
    assert found is not None
    assert [*found.columns] == months[-31:]
    assert len(found.rows[0][1]) == 31
    assert found.text == "No sales: nowhere 2020-06."


def test_a_store_whose_zone_is_wrong_is_named() -> None:
    usual = [0] * 9 + [10] * 9 + [0] * 6
    shifted = usual[11:] + usual[:11]
    found = stores_by_hour({"A": usual, "B": usual, "Perth": shifted, "Tiny": shifted[:1] + [0] * 23})
    assert found is not None
    assert found.text == "The middle of the day is about 13:00, but 2:00 in Perth: a time zone may be wrong."
    assert [name for name, _ in found.rows] == ["All stores", "A", "B", "Perth", "Tiny"]
    assert stores_by_hour({}) is None
    short = stores_by_hour({"A": usual})
    assert short is not None
    assert [*short.columns] == [str(hour) for hour in range(9, 18)], (
        "hours before and after the sales are cut"
    )
