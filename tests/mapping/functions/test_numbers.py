"""Texts as decimals, integers and booleans."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mapping.functions.numbers import (
    amount_text,
    booleans,
    decimal_text,
    decimals,
    integers,
    money,
    whole,
)
from pipeline.mapping.language.value_spec import Boolean, Number


def read(cell: str, **options: object) -> Decimal | None:
    number = Number.model_validate(options)
    found = pl.DataFrame({"x": [cell]}).select(money(decimals(pl.col("x"), number))).item()
    assert found is None or isinstance(found, Decimal)
    return found


@pytest.mark.parametrize(
    ("cell", "options", "expected"),
    [
        ("12.5", {}, "12.5"),
        ("+5", {}, "5"),
        ("-0.10", {}, "-0.1"),
        (".5", {}, "0.5"),
        ("1E+05", {}, "100000"),
        ("(12.50)", {"parentheses": True}, "-12.5"),
        ("(-10.00)", {"parentheses": True}, None),
        ("(+10.00)", {"parentheses": True}, None),
        ("(12.50", {"parentheses": True}, None),
        ("12.50)", {"parentheses": True}, None),
        ("()", {"parentheses": True}, None),
        ("-12.00-", {"trailing_minus": True}, None),
        ("(12.00-)", {"parentheses": True, "trailing_minus": True}, None),
        ("($12.50)", {"parentheses": True, "currency": ["$"]}, "-12.5"),
        ("$(12.50)", {"parentheses": True, "currency": ["$"]}, "-12.5"),
        ("$-12.50", {"currency": ["$"]}, "-12.5"),
        ("-$12.50", {"currency": ["$"]}, "-12.5"),
        ("12.50 EUR", {"currency": ["EUR"]}, "12.5"),
        ("1$2", {"currency": ["$"]}, None),
        ("12EUR50", {"currency": ["EUR"]}, None),
        ("1,5", {}, None),
        ("1 000", {}, None),
        ("", {}, None),
        ("-", {}, None),
        ("abc", {}, None),
        ("1.2.3", {}, None),
        ("0x10", {}, None),
        ("NaN", {}, None),
        ("inf", {}, None),
        ("99999999999.9999", {}, "99999999999.9999"),
        ("999999999999", {}, None),
        ("$8.00", {"currency": ["$"]}, "8"),
        ("-$7.00", {"currency": ["$"]}, "-7"),
        ("$-7.00", {"currency": ["$"]}, "-7"),
        ("- $7", {"currency": ["$"]}, "-7"),
        ("EUR 3,20", {"currency": ["EUR"], "decimal": ","}, "3.2"),
        ("€3", {"currency": ["$"]}, None),
        ("($33.62)", {"currency": ["$"], "parentheses": True}, "-33.62"),
        ("(33.62)", {}, None),
        ("12.00-", {"trailing_minus": True}, "-12"),
        ("12.00-", {}, None),
        ("$1,149.00", {"currency": ["$"], "thousands": ","}, "1149"),
        ("1,14.00", {"thousands": ","}, None),
        ("1,00,000.00", {"thousands": ","}, "100000"),
        ("1.149,50", {"decimal": ",", "thousands": "."}, "1149.5"),
        ("1149,50", {"decimal": ",", "thousands": "."}, "1149.5"),
        ("1.5", {"decimal": ",", "thousands": "."}, None),
        ("1.5", {"decimal": ","}, None),
        ("1 149,5", {"decimal": ",", "thousands": " '"}, "1149.5"),
        ("1'149,5", {"decimal": ",", "thousands": " '"}, "1149.5"),
        ("1999", {"minor_units": 2}, "19.99"),
        ("-5", {"minor_units": 2}, "-0.05"),
        ("12.5%", {"percent": True}, "0.125"),
        ("12.5", {"percent": True}, "0.125"),
        ("12.5%", {}, None),
        (" 12.5 % ", {"percent": True}, "0.125"),
        ("1250", {"percent": True, "minor_units": 2}, "0.125"),
        ("12.00 -", {"trailing_minus": True}, "-12"),
        ("(12.00)", {"parentheses": True, "trailing_minus": True}, "-12"),
        ("12.00-", {"parentheses": True, "trailing_minus": True}, "-12"),
        ("12.00", {"parentheses": True, "trailing_minus": True}, "12"),
        (" 7 $ ", {"currency": ["$"]}, "7"),
    ],
)
def test_notations(cell: str, options: dict[str, object], expected: str | None) -> None:
    assert read(cell, **options) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("1.00005", "1.0001"), ("-1.00005", "-1.0001"), ("1.00004999", "1"), ("0.00015", "0.0002")],
)
def test_money_is_rounded_half_away_from_zero(cell: str, expected: str) -> None:
    assert read(cell) == Decimal(expected)


@given(st.decimals(min_value=-(10**10), max_value=10**10, places=4))
def test_every_amount_of_four_places_survives(amount: Decimal) -> None:
    assert read(f"{amount:f}") == amount


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2", 2),
        ("+2", 2),
        ("2.0", 2),
        ("-3.000", -3),
        ("1.5", None),
        ("two", None),
        ("", None),
        (None, None),
        ("99999999999999999999", None),
        ("1e1", 10),
    ],
)
def test_integers(cell: str | None, expected: int | None) -> None:
    found = pl.DataFrame({"x": [cell, "7"]}).select(integers(pl.col("x"))).to_series()
    assert found.to_list() == [expected, 7]


def test_whole_refuses_fractions() -> None:
    values = pl.DataFrame({"x": [Decimal("2.00"), Decimal("2.50"), None]})
    assert values.select(whole(pl.col("x"))).to_series().to_list() == [2, None, None]


def test_booleans_ignore_letter_case_and_refuse_other_words() -> None:
    cells = pl.DataFrame({"x": ["Yes", "n", "TRUE", "0", "maybe", None]})
    found = cells.select(booleans(pl.col("x"), Boolean())).to_series()
    assert found.to_list() == [True, False, True, False, None, None]
    own = cells.select(booleans(pl.col("x"), Boolean(true=("Maybe",), false=("YES",)))).to_series()
    assert own.to_list() == [False, None, None, None, True, None]


@pytest.mark.parametrize(
    ("value", "plain", "amount"),
    [
        ("10", "10", "10.00"),
        ("1.5", "1.5", "1.50"),
        ("-0.125", "-0.125", "-0.125"),
        ("100.0001", "100.0001", "100.0001"),
    ],
)
def test_decimals_as_text(value: str, plain: str, amount: str) -> None:
    cells = pl.DataFrame({"x": [Decimal(value)]}, schema={"x": pl.Decimal(15, 4)})
    assert cells.select(decimal_text(pl.col("x"))).item() == plain
    assert cells.select(amount_text(pl.col("x"))).item() == amount


@pytest.mark.parametrize(
    ("dtype", "text"), [(pl.Decimal(15, 0), "100"), (pl.Decimal(15, 2), "100"), (pl.Int64(), "100")]
)
def test_zeros_before_the_point_stay(dtype: pl.DataType, text: str) -> None:
    assert pl.select(decimal_text(pl.lit(100, dtype))).item() == text
