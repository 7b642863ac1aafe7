from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from pipeline.report.charts import bar_chart
from pipeline.report.pictures import time_of_day, timeline, weekday


def rows(unit: str, labels: list[str]) -> list[dict[str, Any]]:
    one, no = {"transactions": 1, "total": "1.00"}, {"transactions": 0, "total": "0.00"}
    return [
        {unit: label, "currency": "AUD", "accepted": one, "dropped": no, "rejected": no} for label in labels
    ]


def test_a_bar_chart_is_clean_svg_with_values_as_titles() -> None:
    svg = bar_chart(
        ["a<b", "c"], {"accepted": [1200, 0], "rejected": [3, 0]}, text='Say "<hi>"', shown={"a<b": "A"}
    )
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'Say "<hi>"'
    assert [title.text for title in root.iter("title")] == ["a<b: 1,200 accepted", "a<b: 3 rejected"]
    assert [text.text for text in root.findall(".//g[@class='axis x']//text")] == ["A"]
    assert not {"style", "script", "desc"} & {element.tag for element in root.iter()}
    assert "style=" not in svg
    heights = [float(rect.get("height", "")) for rect in root.iter("rect")]
    assert heights[0] == pytest.approx(heights[1] * 400, rel=0.2)


@pytest.mark.parametrize("values", [[], [0], [1], [7], [999], [1001], [123_456_789]])
def test_the_axis_has_few_round_ticks_above_the_highest_bar(values: list[int]) -> None:
    svg = bar_chart([str(n) for n in range(len(values))], {"x": values}, text="t", shown={})
    ticks = [
        text.text or ""
        for text in ElementTree.fromstring(svg).findall(".//g[@class='axis y always_show']//text")
    ]
    if values:
        numbers = [float(tick.replace("k", "e3").replace("M", "e6")) for tick in ticks]
        assert 2 <= len(ticks) <= 5
        assert numbers[-1] >= max(values)


def test_a_month_without_sales_is_an_empty_place() -> None:
    values = {
        "by_day": rows("day", ["2023-01-05", "2023-04-07"]),
        "by_month": rows("month", ["2023-01", "2023-04"]),
    }
    picture = timeline(values)
    assert picture is not None
    assert list(zip(picture.labels, picture.values, strict=True)) == [
        ("2023-01", 1), ("2023-02", 0), ("2023-03", 0), ("2023-04", 1),
    ]  # fmt: skip
    assert "2 without any" in picture.text


def test_a_short_time_is_drawn_by_day_and_nothing_by_nothing() -> None:
    days = rows("day", ["2023-01-31", "2023-02-02"])
    picture = timeline({"by_day": days, "by_month": []})
    assert picture is not None
    assert picture.labels == ["2023-01-31", "2023-02-01", "2023-02-02"]
    assert timeline({"by_day": rows("day", [None]), "by_month": []}) is None  # type: ignore[list-item]


def test_an_impossible_date_does_not_press_the_others_together() -> None:
    rejected = rows("day", ["2099-01-01"])[0]
    rejected |= {"accepted": rejected["dropped"], "rejected": {"transactions": 8, "total": "8.00"}}
    picture = timeline({"by_day": [*rows("day", ["2023-01-01", "2023-01-03"]), rejected], "by_month": []})
    assert picture is not None
    assert picture.labels[-1] == "2023-01-03"
    assert "8 before or after are not shown" in picture.text
    only = timeline({"by_day": [rejected], "by_month": []})
    assert only is not None
    assert list(only.values) == [8]


def test_accepted_wrong_dates_do_not_make_an_endless_picture() -> None:
    days = [str(date(1, 1, 1)), str(date(2023, 1, 1)), str(date(2023, 1, 1) + timedelta(days=99))]
    picture = timeline({"by_day": rows("day", days), "by_month": rows("month", ["0001-01", "2023-01"])})
    assert picture is not None
    assert len(picture.labels) == 240


def test_days_that_no_calendar_has_are_only_counted() -> None:
    odd = ["+53939-05-24", "-0249-10-06", "0000-01-01"]
    picture = timeline({"by_day": rows("day", ["2023-01-01", *odd]), "by_month": []})
    assert picture is not None
    assert picture.labels == ["2023-01-01"]
    assert "3 before or after" in picture.text
    assert timeline({"by_day": rows("day", odd), "by_month": []}) is None


def test_the_clock_adds_up_over_weekdays_and_hours() -> None:
    clock = [
        {"weekday": 1, "hour": 9, "transactions": 5},
        {"weekday": 2, "hour": 9, "transactions": 7},
        {"weekday": 2, "hour": 23, "transactions": 1},
    ]
    assert time_of_day(clock).values[9] == 12
    assert list(weekday(clock).values) == [5, 8, 0, 0, 0, 0, 0]
    assert "Most 09:00 (12)" in time_of_day(clock).text
    assert time_of_day([]).text == "No transactions."
