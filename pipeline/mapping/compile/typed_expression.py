"""A value compiled to a polars expression with its type, and the conversions between types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from typing import Final, Literal

import polars as pl

from pipeline.mapping.functions import json_text
from pipeline.mapping.functions.formulas import in_words
from pipeline.mapping.functions.numbers import EXACT, WORKING, booleans, decimal_text, decimals
from pipeline.mapping.language.forms import Scalar
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.value_spec import (
    Boolean,
    Number,
)

BLANK_TEXT: Final = pl.lit(None, dtype=pl.String)


@dataclass(frozen=True)
class TypedExpression:
    """A compiled value.

    Attributes:
        value: The expression over the frame of its scope; null where it is blank or invalid.
        dtype: Its type.
        raw: The text that the value was read from. A raw text beside a null value means invalid. None where
            the value was never a text that can be invalid.
        parsed_time: The struct of type `datetimes.PARSED_TIME` behind a date and time.
        json: Whether the value is the JSON text of a list or an object.
        is_cell: The value is a cell of the source, and `raw` its text as written.
        expected: What `raw` should have been, where the type does not say it.
    """

    value: pl.Expr
    dtype: pl.DataType
    raw: pl.Expr | None = None
    parsed_time: pl.Expr | None = None
    json: Literal["", "list", "object"] = ""
    is_cell: bool = False
    expected: str = ""

    @property
    def raw_or_blank(self) -> pl.Expr:
        """The raw text; a blank where there is none."""
        return BLANK_TEXT if self.raw is None else self.raw

    @property
    def invalid(self) -> pl.Expr | None:
        """The raw text where it is invalid, else null; None where the value cannot be invalid."""
        return None if self.raw is None else pl.when(self.value.is_null()).then(self.raw)

    @property
    def expectation(self) -> str:
        """What the raw text should have been, for a message."""
        if self.expected or self.dtype == pl.String:
            return self.expected or "a value that the mapping can read"
        return "a whole number" if self.dtype.is_integer() else in_words(self.dtype)


UNKNOWN: Final = TypedExpression(BLANK_TEXT, pl.String())
"""Stands in for a value that has an issue, so that the rest of the mapping can be compiled."""


def literal(value: Scalar, *, keep_blanks: bool = False) -> TypedExpression:
    """A constant of the mapping; outer blanks of a text are removed unless they are to be kept.

    Raises:
        FormulaError: A number has more digits than can be computed with.
    """
    dtype: pl.DataType
    if isinstance(value, int | Decimal) and not -(1 << 63) <= value < 1 << 63:
        raise FormulaError(f"{value} is too large for a number; a text stands in quotes")
    match value:
        case bool():
            dtype = pl.Boolean()
        case int():
            dtype = pl.Int64()
        case Decimal():
            dtype = WORKING
        case _:
            dtype, value = pl.String(), value if keep_blanks else value.strip()
    return TypedExpression(pl.lit(value, dtype=dtype), dtype)


def as_written(typed: TypedExpression) -> TypedExpression:
    """The value as the source writes it: 1.00 stays 1.00, even if `columns` makes it a number."""
    if typed.is_cell and typed.raw is not None:
        return TypedExpression(typed.raw, pl.String())
    return as_text(typed)


def as_text(typed: TypedExpression) -> TypedExpression:
    """The value as a text that people would write."""
    if typed.dtype == pl.String:
        return typed
    if isinstance(typed.dtype, pl.Decimal):
        text = decimal_text(typed.value)
    elif typed.dtype.is_temporal():
        text = typed.value.dt.strftime(json_text.DATETIME_FORMAT)
    else:
        text = typed.value.cast(pl.String)
    return TypedExpression(text, pl.String(), typed.raw, expected=typed.expectation)


def as_number(typed: TypedExpression, number: Number) -> TypedExpression:
    """The value as a decimal; a text is read in the notation `number`."""
    if isinstance(typed.dtype, pl.Decimal):
        return typed
    if typed.dtype.is_integer():
        return TypedExpression(typed.value.cast(WORKING), WORKING, typed.raw)
    return read_number(typed, number)


def as_json(typed: TypedExpression) -> pl.Expr:
    """The value as JSON text."""
    return typed.value if typed.json else json_text.scalar(typed.value, typed.dtype)


def read_number(typed: TypedExpression, number: Number) -> TypedExpression:
    """Read a text as a decimal with 12 places.

    Raises:
        FormulaError: The value is not a text.
    """
    if typed.dtype != pl.String:
        raise FormulaError(
            f"a text was expected to read a number from, and this is {in_words(typed.dtype)} already"
        )
    return TypedExpression(decimals(typed.value, number), EXACT, first_text(typed.raw, typed.value))


def read_boolean(typed: TypedExpression, words: Boolean) -> TypedExpression:
    """Read a text as true or false; a boolean stays as it is."""
    if typed.dtype == pl.Boolean:
        return typed
    text = as_text(typed)
    return TypedExpression(booleans(text.value, words), pl.Boolean(), first_text(typed.raw, text.value))


def first_text(raw: pl.Expr | None, text: pl.Expr) -> pl.Expr:
    """The raw text behind a text, otherwise that text."""
    return text if raw is None else pl.coalesce(raw, text)


def alike(values: Sequence[TypedExpression], number: Number) -> list[TypedExpression]:
    """Convert values to one type: their common one, otherwise numbers, otherwise texts.

    Raises:
        FormulaError: Lists or objects are mixed with other values.
    """
    if any(value.json for value in values):
        if len({value.json for value in values}) > 1:
            raise FormulaError("lists, objects and plain values cannot stand in for each other")
        return list(values)
    if len({value.dtype for value in values}) == 1:
        return list(values)
    if all(value.dtype.is_numeric() for value in values):
        numbers = (as_number(value, number) for value in values)
        return [replace(each, value=each.value.cast(WORKING), dtype=WORKING) for each in numbers]
    return [as_written(value) for value in values]


def choose(conditions: Sequence[pl.Expr], values: Sequence[TypedExpression]) -> TypedExpression:
    """For each row, the value that belongs to the first condition that is true."""

    def chosen(parts: Iterable[pl.Expr]) -> pl.Expr:
        pairs = [*zip(conditions, parts, strict=True)]
        # Built from the last pair to the first, so that the first condition that is true decides.
        return reduce(
            lambda rest, pair: pl.when(pair[0]).then(pair[1]).otherwise(rest), reversed(pairs), pl.lit(None)
        )

    raw = parsed_time = None
    if any(value.raw is not None for value in values):
        raw = chosen(value.raw_or_blank for value in values)
    if all(value.parsed_time is not None for value in values):
        parsed_time = chosen(value.parsed_time for value in values if value.parsed_time is not None)
    is_cell = all(value.is_cell for value in values)
    value = chosen(value.value for value in values)
    return replace(values[0], value=value, raw=raw, parsed_time=parsed_time, is_cell=is_cell)


def invalid_like(other: TypedExpression, text: pl.Expr) -> TypedExpression:
    """An invalid value of the same type as another, read from a text."""
    null = pl.lit(None, dtype=other.dtype)
    parsed_time = None if other.parsed_time is None else pl.lit(None)
    return replace(other, value=null, raw=text, parsed_time=parsed_time, is_cell=False)


def first_invalid(members: Iterable[TypedExpression]) -> pl.Expr | None:
    """The first invalid text among several values; None where none of them can be invalid."""
    texts = [text for member in members if (text := member.invalid) is not None]
    return pl.coalesce(texts) if texts else None


def expected_of_any(members: Iterable[TypedExpression]) -> str:
    """What the members of a list that can be invalid should have been, each expectation once."""
    return " or ".join(dict.fromkeys(each.expectation for each in members if each.raw is not None))


def expected_of_each(members: Mapping[str, TypedExpression]) -> str:
    """What the members of an object that can be invalid should have been, by name."""
    return ", ".join(
        f"{each.expectation} for `{name}`" for name, each in members.items() if each.raw is not None
    )
