from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from pipeline.core.findings import Occurrence, RootCause
from pipeline.core.frames import REASONS
from pipeline.core.model import LINE, SOURCE, TX
from pipeline.validation.root_causes import (
    EXAMPLE_CHARACTERS,
    MOST_SHAPES,
    group_reasons,
    likely_fix,
    merge_groups,
    root_causes,
)

SOURCES = ["a.csv", "b.csv"]


def reasons(*rows: dict[str, Any]) -> pl.DataFrame:
    blank = {**dict.fromkeys(REASONS), "outcome": "rejected", "message": "…", SOURCE: 0}
    return pl.DataFrame([{**blank, TX: n, LINE: n + 2, **row} for n, row in enumerate(rows)], schema=REASONS)


def date(value: str, **more: Any) -> dict[str, Any]:
    return {"code": "transacted_at_invalid", "field": "transacted_at", "value": value, **more}


def grouped(*frames: pl.DataFrame) -> list[RootCause]:
    return root_causes(merge_groups([group_reasons(frame) for frame in frames]), SOURCES)


def test_ten_thousand_rejections_from_one_date_format_read_as_one_problem() -> None:
    days = [f"{1 + n % 28}.{1 + n % 12}.2024 {n % 24:02}:30" for n in range(10_000)]
    half = [reasons(*map(date, days[start::2])) for start in (0, 1)]
    (cause,) = grouped(*half)
    assert (cause.transactions, cause.shape) == (10_000, "9.9.9 9:9")
    assert cause.examples[0] == Occurrence("1.1.2024 00:30", "…", "a.csv", 2)
    assert [each.value for each in cause.examples[1:]] == ["2.2.2024 01:30", "3.3.2024 02:30"]
    assert cause.title == "Not a date"
    assert cause.fix == 'These are dates of the form "%d.%m.%Y %H:%M": add it to `formats`.'


def test_different_faults_stay_apart_rejections_first_and_the_most_frequent_first() -> None:
    found = grouped(
        reasons(
            {"code": "draft", "field": "status", "value": "PARKED", "outcome": "dropped"},
            {"code": "draft", "field": "status", "value": "PARKED", "outcome": "dropped"},
            {"code": "draft", "field": "status", "value": "DRAFT", "outcome": "dropped"},
            date("N/A"),
            date("31/02/2021"),
            date("30/02/2021"),
            *[{"code": "guest", "outcome": "warning"}] * 9,
        )
    )
    assert [(c.outcome, c.code, c.shape, c.transactions) for c in found] == [
        ("rejected", "transacted_at_invalid", "9/9/9", 2),
        ("rejected", "transacted_at_invalid", "a/a", 1),
        ("dropped", "draft", "PARKED", 2),
        ("dropped", "draft", "DRAFT", 1),
        ("warning", "guest", None, 9),
    ]


def test_a_transaction_counts_once_a_cause_and_a_row_without_one_for_itself() -> None:
    quantity = {"code": "quantity_invalid", "field": "quantity", "value": "two", TX: 0}
    lost = {"code": "malformed_row", TX: None}
    found = grouped(reasons(quantity, quantity, lost, lost))
    assert {cause.code: cause.transactions for cause in found} == {"quantity_invalid": 1, "malformed_row": 2}


def test_the_example_is_the_first_by_file_and_line_over_all_units() -> None:
    later = {**date("2"), SOURCE: 1, LINE: 1}
    first = {**date("1"), LINE: 9}
    (cause,) = grouped(reasons(later), reasons(first))
    assert [(each.value, each.source, each.line) for each in cause.examples] == [
        ("1", "a.csv", 9),
        ("2", "b.csv", 1),
    ]


def test_examples_differ_by_cell_or_else_by_place_and_are_cut() -> None:
    again = [date("1", **{LINE: 90 + n}) for n in range(5)]
    (cause,) = grouped(reasons(date("1"), date("2"), *again))
    assert [each.line for each in cause.examples] == [2, 3]
    blank = {"code": "total_missing", "field": "total"}
    (cause,) = grouped(reasons(blank, blank), reasons(blank, blank, blank))
    assert [(each.value, each.line) for each in cause.examples] == [(None, 2), (None, 2), (None, 3)]
    (cause,) = grouped(reasons(date("x" * 10_000)))
    assert cause.examples[0].value == "x" * EXAMPLE_CHARACTERS + "…"


def test_cells_of_ever_other_shape_are_put_together() -> None:
    shapes = [date("-" * n + "x") for n in range(1, 40)]
    found = grouped(reasons(*shapes, date("x"), date("y")))
    assert len(found) == MOST_SHAPES
    assert {cause.shape for cause in found} > {"a", None}
    assert sum(cause.transactions for cause in found) == 41


def test_amounts_that_differ_are_one_cause() -> None:
    mismatch = {"code": "total_mismatch", "field": "total"}
    (cause,) = grouped(reasons({**mismatch, "value": "1.00"}, {**mismatch, "value": "N/A 2"}))
    assert (cause.transactions, cause.shape) == (2, None)


def test_however_many_shapes_there_are_every_transaction_is_counted() -> None:
    shapes = [date("-" * (n % 300) + "x") for n in range(1000)]
    groups = [group_reasons(reasons(*shapes[start::3])) for start in range(3)]
    assert max(each.height for each in groups) <= 100
    assert sum(cause.transactions for cause in root_causes(merge_groups(groups), SOURCES)) == 1000
    step = merge_groups([merge_groups(groups[:1]), merge_groups(groups[1:])])
    assert sum(cause.transactions for cause in root_causes(step, SOURCES)) == 1000


def test_a_rule_of_the_mapping_is_named_by_its_message() -> None:
    (cause,) = grouped(reasons({"code": "staff_missing", "message": "Nobody sold it"}))
    assert (cause.title, cause.fix) == ("Nobody sold it", "Look at the rule of that name in the mapping.")


def test_a_mix_of_addresses_and_cards_has_the_usual_advice() -> None:
    usual = likely_fix("profile_invalid", "profile_id", [])
    assert likely_fix("profile_invalid", "profile_id", ["17850", "a@b"]) == usual
    assert likely_fix("total_invalid", "nothing_of_omneo", ["1,5"]) == likely_fix("total_invalid", None, [])
    blanks = ["n/a", "na", "#n/a", "null", "none", "nil", "nan", "-", "--", "?", "unknown"]
    assert "words for a blank cell" in likely_fix("total_invalid", "total", blanks)


def test_a_cause_has_three_examples_and_its_fix_is_of_twenty() -> None:
    cells = [f"{1 + n}.1.2024" for n in range(20)]
    (cause,) = grouped(reasons(*map(date, [*cells, "1.1.2124"])))
    assert [each.value for each in cause.examples] == cells[:3]
    assert "%d.%m.%Y" in cause.fix
    (cause,) = grouped(reasons(*map(date, [*cells[:19], "1.1.2124"])))
    assert "%d.%m.%Y" not in cause.fix


def test_a_shape_is_that_of_the_first_eighty_characters() -> None:
    assert [cause.shape for cause in grouped(reasons(date("-" * 79 + "5x"), date("-" * 79 + "7-")))] == [
        "-" * 79 + "9"
    ]


@pytest.mark.parametrize(
    ("code", "field"), [("currency_invalid", "currency"), ("lookup_missing", "sku"), ("draft", "status")]
)
def test_some_causes_are_told_apart_by_the_cell_itself(code: str, field: str) -> None:
    long = "x" * 300
    found = grouped(
        reasons(
            *({"code": code, "field": field, "value": cell} for cell in ("A", "A", "B", long, f"{long}y"))
        )
    )
    assert [(cause.shape, cause.transactions) for cause in found] == [
        ("A", 2),
        ("B", 1),
        (long, 1),
        (f"{long}…", 1),
    ]


def test_causes_as_frequent_as_each_other_are_sorted_by_code_field_and_shape() -> None:
    found = grouped(
        reasons(
            {"code": "total_invalid", "field": "total", "value": "x"},
            {"code": "price_invalid", "field": "price_sell", "value": "-"},
            {"code": "price_invalid", "field": "price_sell", "value": "x"},
            {"code": "price_invalid", "field": "price_current", "value": "x"},
        )
    )
    assert [(cause.code, cause.field, cause.shape) for cause in found] == [
        ("price_invalid", "price_current", "a"),
        ("price_invalid", "price_sell", "-"),
        ("price_invalid", "price_sell", "a"),
        ("total_invalid", "total", "a"),
    ]


@pytest.mark.parametrize("shapes", [7, 9])
def test_the_rarest_shapes_are_put_together(shapes: int) -> None:
    cells = ["-" * n + "x" for n in range(shapes) for _ in range(shapes - n)]
    found = grouped(reasons(*map(date, cells)))
    kept = [("-" * n + "a", shapes - n) for n in range(7)]
    rest = [(None, 3)] if shapes > 8 else []
    assert [(cause.shape, cause.transactions) for cause in found] == [*kept, *rest]


def test_nothing_has_no_causes() -> None:
    assert grouped(reasons()) == []
    assert grouped() == []


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (["2024-12-31 23:59:59"], "%Y-%m-%d %H:%M:%S"),
        (["2024-12-31T23:59:59"], "%Y-%m-%dT%H:%M:%S"),
        (["2024-12-31"], "%Y-%m-%d"),
        (["12/31/2024 11:59 PM", "1/2/2024 1:05 AM"], "%m/%d/%Y %I:%M %p"),
        (["1/2/2024 10:00", "2/13/2024 9:00"], "%m/%d/%Y %H:%M"),
        (["31.12.2024"], "%d.%m.%Y"),
        (["31/12/24 10:00"], "%d/%m/%y %H:%M"),
        (["20241231"], "%Y%m%d"),
        (["31-Dec-2024 10:00"], "%d-%b-%Y %H:%M"),
    ],
)
def test_the_format_that_reads_all_dates_is_named(values: list[str], form: str) -> None:
    assert f'"{form}"' in likely_fix("transacted_at_invalid", "transacted_at", values)


@pytest.mark.parametrize(
    ("code", "field", "values", "words"),
    [
        ("total_invalid", "total", ["1.234,56", "12,5"], "a decimal comma"),
        ("total_invalid", "total", ["1,234.56", "12,345"], "marks between thousands"),
        ("price_invalid", "price_sell", ["(33.62)", "($1.00)"], "parentheses"),
        ("price_invalid", "price_sell", ["12.00-"], "minus at the end"),
        ("price_invalid", "price_sell", ["$8.00", "-$7.00"], "currency's sign"),
        ("price_invalid", "price_sell", ["8.00 EUR"], "currency's sign"),
        ("field_invalid", "margin", ["12%"], "percentages"),
        ("quantity_invalid", "quantity", ["1.250", "0.5"], "weighed goods"),
        ("quantity_invalid", "quantity", ["two"], "weighed goods need a rule"),
        ("currency_invalid", "currency", ["aud"], "`upper`"),
        ("currency_invalid", "currency", ["$"], '"$": AUD'),
        ("field_invalid", "status", ["HELD"], "the status 'HELD'"),
        ("profile_invalid", "profile_id", ["17850"], "`handle`"),
        ("profile_invalid", "profile_id", ["a@b"], "guest sales"),
        ("transacted_at_invalid", "transacted_at", ["31/02/2021 10:00:00"], "right date format"),
        ("transacted_at_nonexistent", "transacted_at", ["03/10/2021 02:30:00"], "nonexistent: shift"),
        ("total_invalid", "total", ["N/A", "null"], '`source: {nulls: ["N/A", "null"]}`'),
        (
            "total_invalid",
            "total",
            ["1\u202f234,50", "1\u00a0234,50"],
            r'{decimal: ",", thousands: "\u00a0\u202f',
        ),
        (
            "total_invalid",
            "total",
            ["1\u202f234.50"],
            r'no-break spaces between thousands: `number: {thousands: "\u00a0',
        ),
        (
            "transacted_at_invalid",
            "transacted_at",
            ["45581", "45581.75"],
            "add `spreadsheet_days` to `formats`",
        ),
        ("transacted_at_invalid", "transacted_at", ["1718000000"], "add `epoch_s` to `formats`"),
        ("transacted_at_invalid", "transacted_at", ["1718000000123"], "add `epoch_ms` to `formats`"),
        ("profile_placeholder", "profile_id", ["guest", "N/A "], "these are guest sales"),
        ("draft", "status", ["PARKED"], "Nothing to do"),
        ("transacted_at_missing", "transacted_at", [], "Fill the date"),
        ("my_rule", None, [], "the rule of that name"),
        ("total_invalid", "total", [], "how amounts are written"),
        ("total_invalid", "total", [" N/A ", "-"], '`source: {nulls: ["-", "N/A"]}`'),
        ("total_invalid", "total", [" 12,5 "], "a decimal comma"),
        ("total_invalid", "total", ["12,5", "12.5-"], "how amounts are written"),
        ("field_invalid", "status", ["A", "B"], "what statuses such as 'A', 'B' mean"),
        ("field_invalid", "status", ["A", "B", "C", "D"], "what statuses such as 'A', 'B', 'C' mean"),
        ("field_invalid", None, ["x"], ""),
        ("quantity_invalid", "quantity", [" 1,5 "], "weighed goods"),
        ("quantity_invalid", "quantity", ["1.5", "2-"], "weighed goods need a rule"),
        ("quantity_invalid", "quantity", ["2-"], "minus at the end"),
        ("currency_invalid", "currency", [" Aud ", "usd"], "`upper`"),
        ("currency_invalid", "currency", ["aud", "$"], '"aud": AUD'),
        ("profile_invalid", "profile_id", ["guest", "no card"], '`source: {nulls: ["guest", "no card"]}`'),
        ("profile_invalid", "profile_id", ["guest", "17850"], "`handle`"),
        ("field_invalid", "staff_id", ["guest"], ""),
        ("transacted_at_invalid", "transacted_at", [" 31.12.2024 "], '"%d.%m.%Y"'),
        ("transacted_at_invalid", "transacted_at", ["01.01.1980", "31.12.2100"], '"%d.%m.%Y"'),
        ("transacted_at_invalid", "transacted_at", ["31.12.1979"], "right date format"),
        ("transacted_at_invalid", "transacted_at", ["01.01.2101"], "right date format"),
        ("transacted_at_invalid", "transacted_at", ["31.12.2024", "soon"], "right date format"),
        ("transacted_at_invalid", "transacted_at", ["45581", "1718000000"], "right date format"),
    ],
)
def test_the_likely_fix(code: str, field: str | None, values: list[str], words: str) -> None:
    assert words in likely_fix(code, field, values)
