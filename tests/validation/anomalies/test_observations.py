"""The sums over the sales of a partition, number by number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipeline.core.frames import REASONS
from pipeline.core.model import LINE, SOURCE, TX
from pipeline.validation.anomalies.observations import (
    Counts,
    Observations,
    estimated_people,
    merge_observations,
    observe,
)
from tests.validation.anomalies.test_thresholds import observed
from tests.validation.frames import headers, items

LOCAL = "transacted_at|local"


def seen(
    *sales: dict[str, Any],
    outcomes: Sequence[str] = (),
    codes: Sequence[tuple[int, str, int | None]] = (),
    lines: pl.DataFrame | None = None,
    drop: Sequence[str] = (),
) -> Observations:
    """What is observed in these sales, which are accepted unless `outcomes` says otherwise.

    Args:
        sales: What differs from a clean sale.
        outcomes: The outcome of each sale.
        codes: Reasons: the sale, the code and the file.
        lines: The items; by default one a sale.
        drop: Columns that the mapping does not give.
    """
    found = pl.DataFrame(
        {TX: range(len(sales)), "outcome": outcomes or ["accepted"] * len(sales)},
        schema_overrides={TX: pl.UInt32},
    )
    blank = {**dict.fromkeys(REASONS), "outcome": "warning"}
    reasons = pl.DataFrame(
        [{**blank, TX: tx, "code": code, SOURCE: source} for tx, code, source in codes], schema=REASONS
    )
    own = items(*[{} for _ in sales]) if lines is None else lines
    return observe(headers(*sales, drop=drop), own, found, reasons)


def rows(frame: pl.DataFrame, *columns: str) -> list[tuple[object, ...]]:
    return sorted(frame.select(columns or pl.all()).rows(), key=str)


NOON, MIDNIGHT = datetime(2024, 3, 1, 12), datetime(2024, 3, 1)


def test_hours_and_days_are_those_of_the_till() -> None:
    found = seen(
        {LOCAL: NOON},
        {LOCAL: MIDNIGHT},
        {LOCAL: datetime(2024, 3, 2, 12, 34)},
        {LOCAL: datetime(2024, 3, 2, 12, 34, 1), "location_id": "B"},
        {LOCAL: datetime(2024, 3, 2, 0, 0, 1), "location_id": None},
        {LOCAL: None},
    )
    assert rows(found.hours) == rows(
        pl.DataFrame({"s": ["ST1", "B", None], "h": [12, 12, 0], "n": [2, 1, 1]})
    )
    assert rows(found.days) == sorted(
        [
            ("ST1", date(2024, 3, 1), 2),
            ("ST1", date(2024, 3, 2), 1),
            ("B", date(2024, 3, 2), 1),
            (None, date(2024, 3, 2), 1),
        ],
        key=str,
    )
    counts = found.counts
    assert (counts.timed, counts.at_midnight, counts.whole_minute, counts.transactions) == (5, 1, 3, 6)
    assert rows(found.stores) == [("B", 1, 0, 32), ("ST1", 4, 0, 2)]


def test_customers_are_counted_by_accepted_sales() -> None:
    ann, bob = {"profile_id": "ann"}, {"profile_id": "bob"}
    sales = ({**ann, SOURCE: 1}, bob, ann, {**bob, "is_void": True}, bob, {"profile_id": None}, bob)
    words = ["accepted", "accepted", "accepted", "accepted", "rejected", "accepted", "dropped"]
    found = seen(*sales, outcomes=words)
    assert found.counts.with_customer == 3
    assert rows(found.people, "sales") == [(1,), (2,)]
    assert rows(found.profiles, "sales", SOURCE, LINE) == [(1, 0, 12), (2, 0, 22)]
    assert set(found.people["person"]) == set(found.profiles["person"])
    assert found.people["person"].to_list() == seen(*sales, outcomes=words).people["person"].to_list()


def test_the_most_frequent_customers_are_kept() -> None:
    people = [f"p{n}" for n in range(202)] + ["p7"]
    found = seen(*({"profile_id": name} for name in people))
    assert (found.profiles.height, found.people.height) == (200, 202)
    assert found.profiles["sales"].max() == 2


def test_totals_and_their_sizes() -> None:
    totals = ["10", "-12.58", "0", None, "99.99", "100"]
    found = seen(*({"total": total and Decimal(total)} for total in totals))
    assert rows(found.sizes) == [("ST1", 10, 2), ("ST1", 19, 1), ("ST1", 20, 1)]
    assert found.largest.rows() == [
        ("ST1", Decimal("100.0000"), 0, 52),
        ("ST1", Decimal("99.9900"), 0, 42),
        ("ST1", Decimal("-12.5800"), 0, 12),
    ]


def test_of_totals_that_are_as_large_the_first_are_kept() -> None:
    sales = [
        {"total": Decimal(5), SOURCE: n % 2, "location_id": name} for name in (None, "A") for n in range(5)
    ]
    assert seen(*sales).largest.select("store", SOURCE, LINE).rows() == [
        (None, 0, 2), (None, 0, 22), (None, 0, 42), ("A", 0, 52), ("A", 0, 72), ("A", 0, 92),
    ]  # fmt: skip


def test_currencies_of_stores() -> None:
    found = seen({}, {"currency": "NZD"}, {"currency": None}, {"location_id": None}, {SOURCE: 1})
    assert rows(found.currencies) == [
        ("ST1", "AUD", 2), ("ST1", "NZD", 1), ("ST1", None, 1), (None, "AUD", 1),
    ]  # fmt: skip
    assert rows(found.stores) == [("ST1", 4, 0, 2)]


def test_sales_that_are_alike_but_for_their_id() -> None:
    other = (
        {LOCAL: datetime(2024, 3, 1, 12, 0, 1)},
        {"location_id": "B"},
        {"profile_id": None},
        {"items_count": 2},
    )
    found = seen(
        {SOURCE: 3}, {SOURCE: 1}, {SOURCE: 2}, {LOCAL: MIDNIGHT}, {LOCAL: MIDNIGHT}, {"total": None}, *other
    )
    assert rows(found.repeats, "alike", "first", "last") == [(1, 0, 0)] * 4 + [(3, 1, 3)]


def test_a_sample_of_sales_and_customers_is_kept() -> None:
    sales = [{LOCAL: datetime(2024, 3, 1, 1 + n // 3600, n // 60 % 60, n % 60)} for n in range(5_000 + 2)]
    parts = [seen(*sales[:-1]), seen(*sales[-1:])]
    assert parts[0].repeats.height == 5_000
    whole = merge_observations(parts).repeats
    assert whole.height == 5_000
    assert set(whole["sale"]) == set(sorted({*parts[0].repeats["sale"], *parts[1].repeats["sale"]})[:5_000])


@pytest.mark.parametrize(("sample", "people"), [(0, 0), (4_999, 4_999), (5_000, 9_998)])
def test_customers_are_estimated_from_the_sample(sample: int, people: int) -> None:
    hashes = [(2**63 - n, 1) for n in range(sample)]
    assert estimated_people(observed(people=hashes)) == people


@pytest.mark.parametrize(
    ("total", "items_total", "count", "off"),
    [
        ("10.01", "10", 1, 0),
        ("10.0101", "10", 1, 1),
        ("9.98", "10", 2, 0),
        ("9.97", "10", 2, 1),
        (None, "10", 1, None),
        ("10", None, 1, None),
        ("10", "0", 0, None),
        ("10", "0", 1, 1),
    ],
)
def test_totals_that_differ_from_their_items(
    total: str | None, items_total: str | None, count: int, off: int | None
) -> None:
    sale = {"total": total and Decimal(total), "items_total": items_total and Decimal(items_total)}
    found = seen({**sale, "items_count": count})
    assert (found.counts.comparable, found.counts.off) == (int(off is not None), off or 0)
    ratios = (
        [(round(1000 * Decimal(total) / Decimal(items_total)), 1)]
        if off and total and items_total != "0"
        else []
    )
    assert found.ratios.rows() == ratios


@pytest.mark.parametrize(
    ("total", "taxes", "quantity", "below", "above"),
    [
        ("9", ["1"], 1, 1, 0),
        ("11", ["1"], 1, 0, 1),
        ("8.99", ["1"], 1, 1, 0),
        ("8.98", ["1"], 1, 0, 0),
        ("9.01", ["1"], 1, 1, 0),
        ("8", ["1"], 2, 1, 0),
        ("9", ["1"], 2, 1, 0),
        ("7", ["1"], 2, 0, 0),
        ("8", ["1", "1"], 1, 1, 0),
        ("9", [None], 1, 0, 0),
        ("9", ["0"], 1, 0, 0),
        ("9.98", ["0"], 1, 0, 0),
        ("9", ["-1"], 1, 0, 1),
    ],
)
def test_totals_that_differ_by_just_the_tax(
    total: str, taxes: list[str | None], quantity: int, below: int, above: int
) -> None:
    lines = items(*({TX: 0, "price_tax": tax and Decimal(tax), "quantity": quantity} for tax in taxes))
    found = seen({"total": Decimal(total)}, {}, lines=lines).counts
    assert (found.below_by_tax, found.above_by_tax) == (below, above)


def test_dates_by_their_format() -> None:
    form = "transacted_at|format"
    found = seen(
        {form: "iso", LOCAL: datetime(2024, 3, 12)},
        {form: "iso", LOCAL: datetime(2024, 3, 13)},
        {form: "%d", LOCAL: datetime(2024, 3, 1)},
        {form: "%d", LOCAL: None},
        {form: None},
    )
    assert rows(found.formats) == [
        ("%d", 1, 1, date(2024, 3, 1), date(2024, 3, 1)),
        ("iso", 2, 1, date(2024, 3, 12), date(2024, 3, 13)),
    ]


def test_copies_by_their_files() -> None:
    codes = [
        (0, "duplicate_row", 1),
        (0, "duplicate_row", 1),
        (1, "duplicate_row", 0),
        (1, "older_version", None),
    ]
    found = seen({}, {}, {}, codes=[*codes, (2, "guest", 0), (2, "duplicate_row", None)])
    assert rows(found.copies) == [(0, 0, 1, 1), (1, 0, 1, 2)]
    assert found.counts.repeated == 3
    assert merge_observations([found, found]).copies.sort("copy").rows() == [(0, 0, 2, 2), (1, 0, 2, 4)]


def test_what_the_mapping_does_not_give_is_not_counted() -> None:
    gone = ["location_id", LOCAL, "items_total", "items_count", "profile_id", "currency", "is_void"]
    found = seen({}, {}, drop=[*gone, "transacted_at|format"])
    assert found.counts == Counts(transactions=2)
    assert [found.hours.height, found.days.height, found.repeats.height, found.stores.height] == [0] * 4
    assert found.largest["store"].to_list() == [None, None]
