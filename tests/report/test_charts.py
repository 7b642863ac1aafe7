from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from pipeline.report.charts import Chart, time_of_day, timeline, weekday
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
