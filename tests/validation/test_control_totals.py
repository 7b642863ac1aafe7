from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.errors import SourceError
from pipeline.core.model import TX
from pipeline.validation.control_totals import (
    ControlTotals,
    Sums,
    compare_totals,
    read_control_totals,
    sums_by_key,
)
from tests.validation.frames import headers


def control(tmp_path: Path, text: str) -> ControlTotals:
    path = tmp_path / "control.csv"
    path.write_text(text, encoding="utf-8")
    return read_control_totals(path)


def test_a_sample_says_nothing_of_what_it_does_not_state(tmp_path: Path) -> None:
    found = headers({"location_id": "ST1"}, {"location_id": "ST2"})
    control(tmp_path, "store,count\nST1,1\nST3,4\n")
    stated = {
        is_sample: read_control_totals(tmp_path / "control.csv", is_sample=is_sample)
        for is_sample in (True, False)
    }
    parts = [sums_by_key(found, outcomes("accepted", "accepted"), ["store"])]

    sample = compare_totals(stated[True], parts)
    assert [(row.key["store"], row.agrees) for row in sample] == [("ST1", True), ("ST3", False)]
    assert [row.key["store"] for row in compare_totals(stated[False], parts)] == ["ST1", "ST3", "ST2"]


def outcomes(*words: str) -> pl.DataFrame:
    return pl.DataFrame({TX: range(len(words)), "outcome": words}, schema_overrides={TX: pl.UInt32})


@pytest.mark.parametrize(
    "text",
    [
        "day,store,count,sum\n2024-07-01,ST1,3,12.50\n",
        "\ufeffTotal;Location_ID;Date;Count\r\n12.50;ST1;2024-07-01;3\r\n\r\n",
        'sum\tstore\tcount\tday\n"12.50"\tST1\t3\t2024-07-01',
    ],
)
def test_columns_come_in_any_order_and_under_either_name(tmp_path: Path, text: str) -> None:
    read = control(tmp_path, text)
    assert read.by == ("day", "store")
    assert read.expected == {("2024-07-01", "ST1"): Sums(3, Decimal("12.50"))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither count nor sum"),
        ("day,store\n2024-07-01,ST1\n", "neither count nor sum"),
        ("dya,count\n", ":1: 'dya' is not a column of control totals; did you mean 'day'"),
        ("day,date,count\n", "two columns for day"),
        ("day,count\n", "hold no rows"),
        ("day,count\n01/07/2024,3\n", r":2: '01/07/2024' is not a day; 2024-12-31 was expected"),
        ("day,count\n\n2024-07-01,3.5\n", ":3: count '3.5' is not a whole number"),
        ("day,sum\n2024-07-01,1 000\n", ":2: sum '1 000' is not an amount"),
        ("day,sum\n2024-07-01,nan\n", "is not an amount"),
        ("day,sum\n2024-07-01,1,000\n", ":2: 2 cells were expected, and there are 3"),
        ("day,sum\n2024-07-01,1\n2024-07-01,2\n", ":3: 2024-07-01 occurs twice"),
        ("sum\n1\n2\n", ":3: the grand total occurs twice"),
        ("day,sum,count\n2024-07-01\n", ":2: 3 cells were expected, and there is 1"),
        ("sum\n1,2\n", ":2: 1 cell was expected, and there are 2"),
        (" Dya ,count\n", "' Dya ' is not a column of control totals; did you mean 'day'"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        control(tmp_path, text)


def test_commas_between_thousands_are_read(tmp_path: Path) -> None:
    path = tmp_path / "control.csv"
    path.write_text("store;count;sum\nS1;1,234;-9,431.20\n", encoding="utf-8-sig")
    assert read_control_totals(path).expected == {("S1",): Sums(1234, Decimal("-9431.20"))}
    path.write_text("store;count;sum\nS1;12,34;1\n")
    with pytest.raises(SourceError, match="count '12,34' is not a whole number"):
        read_control_totals(path)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_control_totals(tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="cannot be read"):
        read_control_totals(tmp_path / "binary")


def test_what_was_read_staged_dropped_and_rejected_stands_beside_it(tmp_path: Path) -> None:
    day = {"transacted_at|local": datetime(2024, 7, 1, 23, 59)}
    unit = headers(day, day, day, {**day, "location_id": "ST2", "total": None}, {"location_id": None})
    words = outcomes("accepted", "dropped", "rejected", "rejected", "accepted")
    read = control(tmp_path, "day,store,count,sum\n2024-07-01,ST1,4,40\n2024-07-02,ST1,1,9.99\n")
    part = sums_by_key(unit, words, read.by)
    lines = compare_totals(read, [part, part])
    assert [tuple(line.key.values()) for line in lines] == [
        ("2024-07-01", "ST1"),
        ("2024-07-02", "ST1"),
        ("2024-03-01", ""),
        ("2024-07-01", "ST2"),
    ]
    assert (lines[0].read, lines[0].staged) == (Sums(6, Decimal(60)), Sums(2, Decimal(20)))
    assert (lines[0].dropped, lines[0].rejected) == (Sums(2, Decimal(20)), Sums(2, Decimal(20)))
    assert lines[0].difference == Sums(2, Decimal(20))
    assert lines[1].difference == Sums(-1, Decimal("-9.99"))
    assert lines[3].read == Sums(2, Decimal(0))
    assert not any(line.agrees for line in lines)


def test_what_is_not_stated_cannot_differ(tmp_path: Path) -> None:
    read = control(tmp_path, "currency,count\nAUD,2\n")
    (line,) = compare_totals(read, [sums_by_key(headers({}, {}), outcomes("accepted", "accepted"), read.by)])
    assert line.agrees
    assert line.difference == Sums(0, None)


def test_a_blank_cell_states_nothing(tmp_path: Path) -> None:
    read = control(tmp_path, "store,count,sum\n ST1 ,, 7.50 \nST2, 2 ,\n ,1,\n")
    assert read.expected == {
        ("ST1",): Sums(None, Decimal("7.50")),
        ("ST2",): Sums(2, None),
        ("",): Sums(1, None),
    }
    assert (read.counts, read.sums, read.is_sample) == (True, True, False)
    assert not control(tmp_path, "store,sum\nST1,1\n").counts


def test_keys_that_are_not_stated_are_listed_in_their_order(tmp_path: Path) -> None:
    read = control(tmp_path, "store,count\nB,1\n")
    found = headers(*({"location_id": name} for name in "DACB"))
    rows = compare_totals(read, [sums_by_key(found, outcomes(*["accepted"] * 4), read.by)])
    assert [(row.key["store"], row.expected) for row in rows] == [
        ("B", Sums(1, None)),
        *((name, Sums(0, None)) for name in "ACD"),
    ]


def test_sales_without_a_total_are_counted(tmp_path: Path) -> None:
    read = control(tmp_path, "count,sum\n1,0\n")
    (row,) = compare_totals(read, [sums_by_key(headers({}, drop=["total"]), outcomes("accepted"), read.by)])
    assert row.read == Sums(1, Decimal(0))
    assert row.agrees


def test_one_grand_total(tmp_path: Path) -> None:
    read = control(tmp_path, "count,sum\n3,30.00\n")
    (line,) = compare_totals(read, [sums_by_key(headers({}, {}), outcomes("accepted", "dropped"), read.by)])
    assert (line.key, line.difference) == ({}, Sums(-1, Decimal(-10)))
    (empty,) = compare_totals(read, [])
    assert empty.difference == Sums(-3, Decimal(-30))


def test_a_dimension_that_the_mapping_does_not_give_is_blank(tmp_path: Path) -> None:
    read = control(tmp_path, "store,count\nST1,1\n")
    lines = compare_totals(
        read, [sums_by_key(headers({}, drop=["location_id"]), outcomes("accepted"), read.by)]
    )
    assert [line.key["store"] for line in lines] == ["ST1", ""]
