from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from pipeline.report.charts import (
    Chart,
    guests,
    loyalty,
    returns,
    time_of_day,
    timeline,
    weekday,
    worth,
    years,
)
from pipeline.report.render import templates


def rows(unit: str, labels: list[str]) -> list[dict[str, Any]]:
    one, no = {"transactions": 1, "total": "1.00"}, {"transactions": 0, "total": "0.00"}
    return [
        {unit: label, "currency": "AUD", "accepted": one, "dropped": no, "rejected": no} for label in labels
    ]


def drawn(chart: Chart, width: int = 360) -> ElementTree.Element:
    module: Any = templates(autoescape=True).get_template("chart.svg.j2").module
    return ElementTree.fromstring(module.drawing(chart, width).strip())


def test_a_chart_is_svg_with_words_and_values_as_titles() -> None:
    series = {"accepted": [1200, 0], "rejected": [3, 0]}
    root = drawn(Chart('Say "<hi>"', "It is said.", ["a<b", "c"], series, {"a<b": "A"}))
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'Say "<hi>"'
    assert [desc.text for desc in root.iter("desc")] == ["It is said."]
    assert [title.text for title in root.iter("title")] == ["a<b: 1,200 accepted", "a<b: 3 rejected"]
    assert [text.text for text in root.findall("text[@class='x']")] == ["A"]
    bars = {rect.get("class"): float(rect.get("height", "")) for rect in root.iter("rect")}
    assert bars["accepted"] == pytest.approx(bars["rejected"] * 400, rel=0.2)


def test_no_bar_leaves_the_drawing() -> None:
    root = drawn(Chart("t", "w", [str(n) for n in range(240)], {"accepted": [*range(240)]}), 740)
    for rect in root.iter("rect"):
        x, y, width, height = (float(rect.get(side, "")) for side in ("x", "y", "width", "height"))
        assert 0 <= x < x + width <= 740
        assert 0 <= y < y + height <= 200


@pytest.mark.parametrize("highest", [0, 1, 7, 999, 1001, 123_456_789])
def test_the_axis_has_few_round_ticks_above_the_highest_bar(highest: int) -> None:
    chart = Chart("t", "w", ["a"], {"accepted": [highest]})
    assert 2 <= len(chart.ticks) <= 5
    assert chart.ticks[-1] >= highest
    shown = [text.text or "" for text in drawn(chart).findall("text[@class='y']")]
    assert [float(text.replace("k", "e3").replace("M", "e6")) for text in shown] == chart.ticks


def test_a_month_without_sales_is_an_empty_place() -> None:
    values = {
        "by_day": rows("day", ["2023-01-05", "2023-04-07"]),
        "by_month": rows("month", ["2023-01", "2023-04"]),
    }
    chart = timeline(values)
    assert chart is not None
    assert list(zip(chart.labels, chart.totals, strict=True)) == [
        ("2023-01", 1), ("2023-02", 0), ("2023-03", 0), ("2023-04", 1),
    ]  # fmt: skip
    assert "2 without any" in chart.text


def test_a_short_time_is_drawn_by_day_and_nothing_by_nothing() -> None:
    days = rows("day", ["2023-01-31", "2023-02-02"])
    chart = timeline({"by_day": days, "by_month": []})
    assert chart is not None
    assert chart.labels == ["2023-01-31", "2023-02-01", "2023-02-02"]
    assert timeline({"by_day": rows("day", [None]), "by_month": []}) is None  # type: ignore[list-item]


def test_an_impossible_date_does_not_press_the_others_together() -> None:
    rejected = rows("day", ["2099-01-01"])[0]
    rejected |= {"accepted": rejected["dropped"], "rejected": {"transactions": 8, "total": "8.00"}}
    chart = timeline({"by_day": [*rows("day", ["2023-01-01", "2023-01-03"]), rejected], "by_month": []})
    assert chart is not None
    assert chart.labels[-1] == "2023-01-03"
    assert "8 before or after are not shown" in chart.text
    only = timeline({"by_day": [rejected], "by_month": []})
    assert only is not None
    assert list(only.totals) == [8]


def test_accepted_wrong_dates_do_not_make_an_endless_chart() -> None:
    days = [str(date(1, 1, 1)), str(date(2023, 1, 1)), str(date(2023, 1, 1) + timedelta(days=99))]
    chart = timeline({"by_day": rows("day", days), "by_month": rows("month", ["0001-01", "2023-01"])})
    assert chart is not None
    assert len(chart.labels) == 240


def test_days_that_no_calendar_has_are_only_counted() -> None:
    odd = ["+53939-05-24", "-0249-10-06", "0000-01-01"]
    chart = timeline({"by_day": rows("day", ["2023-01-01", *odd]), "by_month": []})
    assert chart is not None
    assert chart.labels == ["2023-01-01"]
    assert "3 before or after" in chart.text
    assert timeline({"by_day": rows("day", odd), "by_month": []}) is None


def test_the_clock_adds_up_over_weekdays_and_hours() -> None:
    clock = [
        {"weekday": 1, "hour": 9, "transactions": 5},
        {"weekday": 2, "hour": 9, "transactions": 7},
        {"weekday": 2, "hour": 23, "transactions": 1},
    ]
    assert time_of_day(clock).totals[9] == 12
    assert list(weekday(clock).totals) == [5, 8, 0, 0, 0, 0, 0]
    assert "Most 09:00 (12)" in time_of_day(clock).text
    assert time_of_day([]).text == "No transactions."


def by_month(month: str, total: str, transactions: int = 10, **others: Any) -> dict[str, Any]:
    accepted = {"transactions": transactions, "total": total, "guests": 4, "returns": 1, "returned": "-2.00"}
    no = {"transactions": 0, "total": "0.00"}
    return {"month": month, "currency": "AUD", "accepted": accepted | others, "dropped": no, "rejected": no}


def of_months(*months: dict[str, Any]) -> dict[str, Any]:
    days = [row | {"day": f"{row['month']}-15"} for row in months]
    transactions = sum(row["accepted"]["transactions"] for row in months)
    return {
        "by_day": days,
        "by_month": months,
        "by_currency": [{"currency": "AUD", "accepted": {"transactions": transactions}}],
        "transactions": {"accepted": transactions},
    }


def test_worth_may_be_below_zero_and_no_bar_leaves_the_drawing() -> None:
    (chart,) = worth(of_months(by_month("2024-01", "120.50"), by_month("2024-04", "-30.25")))
    assert chart.title == "Worth by month, in AUD"
    assert "Most 2024-01 (AUD 120.50)" in chart.text
    assert (chart.ticks[0], chart.ticks[-1]) == (-50, 150)
    bars = [*drawn(chart).iter("rect")]
    zero = next(
        float(path.get("d", "").split()[1].split("H")[0])
        for path in drawn(chart).iter("path")
        if path.get("class") == "zero"
    )
    above, below = ((float(bar.get("y", "")), float(bar.get("height", ""))) for bar in bars)
    assert above[0] + above[1] == pytest.approx(zero, abs=0.2)
    assert below[0] == pytest.approx(zero, abs=0.2)
    assert below[0] + below[1] <= 200


def test_a_year_stands_beside_the_one_before() -> None:
    months = [
        by_month(f"{year}-{month:02}", total)
        for year, total in ((2023, "100"), (2024, "110"))
        for month in (1, 2, 3)
    ]
    chart = years(of_months(*months, by_month("2024-04", "900")))
    assert chart is not None
    assert chart.title == "2024 beside 2023"
    assert "In the 3 months that both have: 2024 AUD 330.00, 10.0% more than 2023 AUD 300.00." in chart.text
    assert len([*drawn(chart).iter("rect")]) == 7
    assert years(of_months(by_month("2023-01", "1"), by_month("2024-01", "2"))) is None


def test_a_few_sales_far_from_all_others_do_not_stretch_the_time() -> None:
    months = [by_month(f"2024-{month:02}", "1", 100) for month in range(1, 13)]
    chart = timeline(of_months(by_month("2019-05", "1", 2), *months, by_month("2031-01", "1", 3)))
    assert chart is not None
    assert (chart.labels[0], chart.labels[-1]) == ("2024-01", "2024-12")
    assert "5 before or after are not shown" in chart.text
    gap = timeline(of_months(by_month("2023-01", "1", 90), *months))
    assert gap is not None
    assert gap.labels[0] == "2023-01", "a part of the export that is far off is not hidden"
    night = timeline(of_months(by_month("2023-12", "1", 1), *months, by_month("2025-01", "1", 200)))
    assert night is not None
    assert night.labels[0] == "2024-01", "one sale of the night before is no month"


def test_returns_guests_and_customers_are_numbers_and_words() -> None:
    values = of_months(by_month("2024-01", "5"), by_month("2024-04", "5"))
    back, without = returns(values), guests(values)
    assert back is not None
    assert without is not None
    assert back.text.startswith("2 returns, worth AUD -4.00, 10.0% of the accepted transactions.")
    assert [*without.totals] == [40, 0, 0, 40]
    older = of_months(by_month("2024-01", "5", guests=None, returns=None))
    assert returns(older) is guests(older) is None
    known = [{"sales": 1, "customers": 30}, {"sales": 4, "customers": 10}]
    few = loyalty({"number": 40, "estimated": False, "by_sales": known})
    many = loyalty({"number": 4000, "estimated": True, "by_sales": known})
    assert few is not None
    assert many is not None
    assert few.text == "40 customers, 1.8 sales each."
    assert many.text == "About 4,000 customers, 1.8 sales each, by a sample of 40."
    assert [*many.totals] == [3000, 0, 1000, 0, 0]
    assert loyalty({"number": 0, "estimated": False, "by_sales": []}) is None
