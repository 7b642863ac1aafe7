"""SQL formulas and templates."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from pipeline.mapping.faults import FormulaError
from pipeline.mapping.formulas import sql_columns, sql_expression, template_columns, template_parts


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("quantity * rrp", ("quantity", "rrp")),
        ('"Net Sales" - "Tax"', ("Net Sales", "Tax")),
        ("CASE WHEN a = 'b' THEN c ELSE a END", ("c", "a")),
        ("true", ()),
    ],
)
def test_columns_of_a_formula(sql: str, columns: tuple[str, ...]) -> None:
    assert sorted(sql_columns(sql)) == sorted(columns)


@pytest.mark.parametrize(
    "sql",
    [
        "SUM(a)",
        "a - SUM(a)",
        "COUNT(*)",
        "ROW_NUMBER() OVER ()",
        "LAG(a) OVER (ORDER BY b)",
        "MAX(a) OVER (PARTITION BY b)",
        "FIRST(a)",
        "MEDIAN(a)",
    ],
)
def test_formulas_over_other_rows_are_refused(sql: str) -> None:
    with pytest.raises(FormulaError, match="looks at other rows"):
        sql_expression(sql)


@pytest.mark.parametrize("sql", ["a ||", "", "SELECT 1", "nosuch(a)", "read_csv('/etc/passwd')", "*"])
def test_what_is_no_formula_is_refused(sql: str) -> None:
    with pytest.raises(FormulaError):
        sql_expression(sql)


def test_words_of_the_mapping_are_not_taken_for_functions() -> None:
    assert sql_columns("a = 'Agg' OR \"Len\" = 'Over'") == ("a", "Len")


def test_money_stays_decimal_and_dividing_by_nothing_gives_nothing() -> None:
    rows = pl.DataFrame(
        {"a": [Decimal("10.00"), Decimal("1.10"), None], "b": [Decimal(4), Decimal(0), Decimal(1)]}
    )
    assert rows.select(sql_expression("a / b").alias("x"))["x"].to_list() == [Decimal("2.5"), None, None]
    assert rows.select(sql_expression("a % b").alias("x"))["x"].to_list() == [Decimal(2), None, None]
    found = rows.select(sql_expression("a * 0.1").alias("x"))["x"]
    assert found.dtype == pl.Decimal
    assert found.to_list() == [Decimal("1.0"), Decimal("0.11"), None]
    nested = rows.select(sql_expression("CASE WHEN a > 5 THEN 1 / (b - b) ELSE a / (a / b) END").alias("x"))
    assert nested["x"].to_list() == [None, None, None]


def test_templates() -> None:
    assert template_parts("{store}-{ no }{{x}}") == (
        ("store", True),
        ("-", False),
        ("no", True),
        ("{x}", False),
    )
    assert template_columns("{a}{b}{a}") == ("a", "b")
    assert template_parts("plain") == (("plain", False),)


@pytest.mark.parametrize("text", ["{a", "a}", "{}", "{ }", "{a{b}}"])
def test_templates_with_a_lone_brace(text: str) -> None:
    with pytest.raises(FormulaError, match="brace"):
        template_parts(text)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a IS TRUE", [True, False, False]),
        ("a is not  true", [False, True, True]),
        ("a IS FALSE", [False, True, False]),
        ("a IS NOT FALSE", [True, False, True]),
        ("NOT a IS TRUE AND a IS NOT FALSE", [False, False, True]),
        ("CASE WHEN a THEN 'it IS TRUE' ELSE 'it''s not' END = 'it IS TRUE'", [True, False, False]),
    ],
)
def test_blanks_are_neither_true_nor_false(sql: str, expected: list[bool]) -> None:
    rows = pl.DataFrame({"a": [True, False, None]})
    assert rows.select(sql_expression(sql)).to_series().to_list() == expected
