"""Values with their type, their text, and what the text should have been."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest

from pipeline.mapping.compile.typed_expression import (
    TypedExpression,
    alike,
    as_json,
    as_number,
    as_text,
    as_written,
    choose,
    expected_of_any,
    expected_of_each,
    first_invalid,
    first_text,
    invalid_like,
    literal,
    read_boolean,
    read_number,
)
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.value_spec import Boolean, Number

NUMBER = Number()
TEXT = TypedExpression(pl.lit("1,5"), pl.String(), pl.lit("raw"), is_cell=True)
WHOLE = TypedExpression(pl.lit(7, pl.Int64), pl.Int64(), pl.lit("7.0"), is_cell=True)
AMOUNT = TypedExpression(pl.lit(Decimal("1.50")), pl.Decimal(38, 6), pl.lit("1.50"))
MOMENT = TypedExpression(pl.lit(datetime(2024, 1, 2, 3, 4, 5)), pl.Datetime("us"), None, pl.lit("parsed"))
TRUE = TypedExpression(pl.lit(value=True), pl.Boolean())
LISTED = TypedExpression(pl.lit("[1]"), pl.String(), json="list")
OBJECT = TypedExpression(pl.lit("{}"), pl.String(), json="object")
UNREAD = TypedExpression(pl.lit(None, pl.Int64), pl.Int64(), pl.lit("odd"))


def of(expression: pl.Expr | None) -> object:
    return None if expression is None else pl.select(expression).item()


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0])
def test_numbers_of_64_bits_can_be_constants(number: int) -> None:
    assert of(literal(number).value) == number


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, Decimal(2**63), 10**30])
def test_larger_ones_cannot(number: int | Decimal) -> None:
    with pytest.raises(FormulaError, match="is too large for a number; a text stands in quotes"):
        literal(number)


def test_constants_have_the_type_that_they_are_written_in() -> None:
    assert [literal(each).dtype for each in (True, 1, Decimal("1.5"), "x")] == [
        pl.Boolean(), pl.Int64(), pl.Decimal(38, 6), pl.String(),
    ]  # fmt: skip
    assert (of(literal(" x ").value), of(literal(" x ", keep_blanks=True).value)) == ("x", " x ")


@pytest.mark.parametrize(
    ("typed", "text", "written", "json"),
    [
        (TEXT, "1,5", "raw", '"1,5"'),
        (WHOLE, "7", "7.0", "7"),
        (AMOUNT, "1.5", "1.5", "1.5"),
        (MOMENT, "2024-01-02 03:04:05", "2024-01-02 03:04:05", '"2024-01-02 03:04:05"'),
        (TRUE, "true", "true", "true"),
        (LISTED, "[1]", "[1]", "[1]"),
    ],
)
def test_values_as_text_as_written_and_as_json(
    typed: TypedExpression, text: str, written: str, json: str
) -> None:
    assert of(as_text(typed).value) == text
    assert of(as_written(typed).value) == written
    assert of(as_json(typed)) == json
    assert as_text(typed).dtype == pl.String


@pytest.mark.parametrize(
    ("typed", "expectation"),
    [
        (TEXT, "a value that the mapping can read"),
        (WHOLE, "a whole number"),
        (AMOUNT, "a number"),
        (MOMENT, "a date and time"),
        (TypedExpression(pl.lit("x"), pl.String(), expected="a word"), "a word"),
        (TypedExpression(pl.lit(1), pl.Int64(), expected="a word"), "a word"),
    ],
)
def test_what_a_text_should_have_been(typed: TypedExpression, expectation: str) -> None:
    assert typed.expectation == expectation
    if typed.dtype != pl.String:
        assert as_text(typed).expectation == expectation


def test_values_as_numbers() -> None:
    assert [of(as_number(each, Number(decimal=",")).value) for each in (TEXT, WHOLE, AMOUNT)] == [
        Decimal("1.5"), 7, Decimal("1.5"),
    ]  # fmt: skip
    assert of(read_number(TEXT, NUMBER).invalid) == "raw"
    assert of(read_number(LISTED, NUMBER).raw) == "[1]"
    for typed in (WHOLE, TRUE):
        with pytest.raises(FormulaError, match="a text was expected to read a number from, and this is"):
            read_number(typed, NUMBER)


def test_values_as_yes_or_no() -> None:
    assert read_boolean(TRUE, Boolean()) is TRUE
    read = read_boolean(WHOLE, Boolean(true=("7",), false=()))
    assert (of(read.value), of(read.raw)) == (True, "7.0")
    assert of(first_text(pl.lit(None, pl.String), pl.lit("x"))) == "x"


def test_values_that_stand_in_for_each_other_have_one_type() -> None:
    assert alike([WHOLE, WHOLE], NUMBER) == [WHOLE, WHOLE]
    assert [each.dtype for each in alike([WHOLE, AMOUNT], NUMBER)] == [pl.Decimal(38, 6)] * 2
    assert [of(each.value) for each in alike([WHOLE, AMOUNT, TEXT], NUMBER)] == ["7.0", "1.5", "raw"]
    assert [each.dtype for each in alike([WHOLE, TRUE], NUMBER)] == [pl.String()] * 2
    assert alike([LISTED, LISTED], NUMBER) == [LISTED, LISTED]
    for mixed in ([LISTED, TEXT], [LISTED, OBJECT], [TEXT, OBJECT]):
        with pytest.raises(FormulaError, match="cannot stand in for each other"):
            alike(mixed, NUMBER)


@pytest.mark.parametrize(
    ("conditions", "value", "raw"),
    [((True, True), 7, "7.0"), ((False, True), None, "odd"), ((False, False), None, None)],
)
def test_the_first_condition_that_is_true_decides(
    conditions: tuple[bool, bool], value: int | None, raw: str | None
) -> None:
    chosen = choose([pl.lit(each) for each in conditions], [WHOLE, UNREAD])
    assert (of(chosen.value), of(chosen.raw), chosen.is_cell) == (value, raw, False)
    assert chosen.parsed_time is None


def test_a_choice_among_cells_is_a_cell_and_among_moments_has_their_parsed_time() -> None:
    first, second = pl.lit(value=False), pl.lit(value=True)
    assert choose([first, second], [WHOLE, WHOLE]).is_cell
    assert of(choose([first, second], [MOMENT, MOMENT]).parsed_time) == "parsed"
    assert choose([first, second], [MOMENT, MOMENT]).raw is None
    assert of(choose([first, second], [TRUE, TEXT]).raw) == "raw"
    assert of(choose([second, first], [TRUE, TEXT]).raw) is None


def test_an_invalid_value_keeps_its_text() -> None:
    found = invalid_like(MOMENT, pl.lit("soon"))
    assert (of(found.value), of(found.raw), of(found.parsed_time), found.is_cell) == (
        None,
        "soon",
        None,
        False,
    )
    assert not invalid_like(WHOLE, pl.lit("x")).is_cell
    assert invalid_like(WHOLE, pl.lit("x")).parsed_time is None
    assert (WHOLE.invalid is None, of(WHOLE.invalid), of(UNREAD.invalid), TRUE.invalid) == (
        False,
        None,
        "odd",
        None,
    )
    assert (of(WHOLE.raw_or_blank), of(TRUE.raw_or_blank)) == ("7.0", None)


def test_members_that_cannot_be_read_are_named_by_what_was_expected() -> None:
    assert of(first_invalid([TRUE, WHOLE, UNREAD])) == "odd"
    assert first_invalid([TRUE, MOMENT]) is None
    assert expected_of_any([WHOLE, UNREAD, TRUE, AMOUNT]) == "a whole number or a number"
    assert (
        expected_of_each({"a": WHOLE, "b": TRUE, "c": AMOUNT}) == "a whole number for `a`, a number for `c`"
    )
