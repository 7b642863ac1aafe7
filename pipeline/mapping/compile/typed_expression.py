"""A compiled value, and what can be made of it: text, number, JSON, one of several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from typing import Literal

import polars as pl

from pipeline.mapping.functions import json_text as jsontext
from pipeline.mapping.functions.formulas import in_words
from pipeline.mapping.functions.numbers import WORKING, booleans, decimal_text, decimals
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.spec import Boolean, Number, Scalar

NOTHING = pl.lit(None, dtype=pl.String)
"""A blank text."""


@dataclass(frozen=True)
class Computed:
    """A value, compiled.

    Attributes:
        value: The expression over its scope's frame; null where it is blank or invalid.
        dtype: Its type.
        raw: The text that the value was read from; there and the value null means invalid. None where
            the value was never a text that could fail.
        moment: The struct of `datetimes.MOMENTS` that a date and time was taken from.
        json: Where the value is JSON text, of what.
        is_cell: The value is a cell of the source, and `raw` its text as it is written.
        expected: What `raw` had to be, where the type does not say it.
    """

    value: pl.Expr
    dtype: pl.DataType
    raw: pl.Expr | None = None
    moment: pl.Expr | None = None
    json: Literal["", "list", "object"] = ""
    is_cell: bool = False
    expected: str = ""


def as_written(computed: Computed) -> Computed:
    """The value as the source writes it: 1.00 stays 1.00, whatever `columns` says that it is."""
    if computed.is_cell and computed.raw is not None:
        return Computed(computed.raw, pl.String())
    return as_text(computed)


def as_text(computed: Computed) -> Computed:
    """The value as people write it."""
    if computed.dtype == pl.String:
        return computed
    if isinstance(computed.dtype, pl.Decimal):
        text = decimal_text(computed.value)
    elif computed.dtype.is_temporal():
        text = computed.value.dt.strftime(jsontext.DATETIME_FORMAT)
    else:
        text = computed.value.cast(pl.String)
    return Computed(text, pl.String(), computed.raw, expected=expectation(computed))


def as_number(computed: Computed, number: Number) -> Computed:
    """The value as a decimal."""
    if isinstance(computed.dtype, pl.Decimal):
        return computed
    if computed.dtype.is_integer():
        return Computed(computed.value.cast(WORKING), WORKING, computed.raw)
    return read_number(computed, number)


def as_json(computed: Computed) -> pl.Expr:
    """The value as JSON text."""
    return computed.value if computed.json else jsontext.scalar(computed.value, computed.dtype)


def invalid(computed: Computed) -> pl.Expr | None:
    """The text that could not be read, where that is so; None where it cannot be."""
    if computed.raw is None:
        return None
    return pl.when(computed.value.is_null()).then(computed.raw)


def expectation(computed: Computed) -> str:
    """What a text had to be so that the value could be read from it, for people."""
    if computed.expected or computed.dtype == pl.String:
        return computed.expected or "a value that the mapping can read"
    return "a whole number" if computed.dtype.is_integer() else in_words(computed.dtype)


def unread(like: Computed, text: pl.Expr) -> Computed:
    """A value of the type of another that could not be read from a text."""
    moment = None if like.moment is None else pl.lit(None)
    return replace(like, value=pl.lit(None, dtype=like.dtype), raw=text, moment=moment, is_cell=False)


def alike(values: Sequence[Computed], number: Number) -> list[Computed]:
    """Bring values to one type: as they are, as numbers, or else as texts."""
    if any(value.json for value in values):
        if len({value.json for value in values}) > 1:
            raise FormulaError("lists, objects and plain values cannot stand in for each other")
        return list(values)
    if len({value.dtype for value in values}) == 1:
        return list(values)
    if all(value.dtype.is_numeric() for value in values):
        return [
            replace(n, value=n.value.cast(WORKING), dtype=WORKING)
            for n in (as_number(v, number) for v in values)
        ]
    return [as_written(value) for value in values]


def read_number(computed: Computed, number: Number) -> Computed:
    """A text as a decimal of 12 places.

    Raises:
        FormulaError: The value is no text any more.
    """
    if computed.dtype != pl.String:
        raise FormulaError(
            f"a text was expected to read a number from, and this is {in_words(computed.dtype)} already"
        )
    dtype = pl.Decimal(38, 12)
    return Computed(decimals(computed.value, number), dtype, first_text(computed.raw, computed.value))


def read_boolean(computed: Computed, words: Boolean) -> Computed:
    """A text as yes or no; what is that already stays."""
    if computed.dtype == pl.Boolean:
        return computed
    text = as_text(computed)
    return Computed(booleans(text.value, words), pl.Boolean(), first_text(computed.raw, text.value))


def first_text(raw: pl.Expr | None, text: pl.Expr) -> pl.Expr:
    """The raw text that a text was made from, else that text itself."""
    return text if raw is None else pl.coalesce(raw, text)


def literal(value: Scalar, *, keep_blanks: bool = False) -> Computed:
    """A constant of the mapping; a text without outer blanks, unless they are to be kept."""
    dtype: pl.DataType
    match value:
        case bool():
            dtype = pl.Boolean()
        case int():
            dtype = pl.Int64()
        case Decimal():
            dtype = WORKING
        case _:
            dtype, value = pl.String(), value if keep_blanks else value.strip()
    return Computed(pl.lit(value, dtype=dtype), dtype)


def chosen(conditions: Sequence[pl.Expr], values: Sequence[Computed]) -> Computed:
    """For each row the value of the first condition that holds."""

    def choose(parts: Iterable[pl.Expr]) -> pl.Expr:
        pairs = [*zip(conditions, parts, strict=True)]
        return reduce(
            lambda rest, pair: pl.when(pair[0]).then(pair[1]).otherwise(rest), reversed(pairs), pl.lit(None)
        )

    raw = moment = None
    if any(value.raw is not None for value in values):
        raw = choose(NOTHING if value.raw is None else value.raw for value in values)
    if all(value.moment is not None for value in values):
        moment = choose(value.moment for value in values if value.moment is not None)
    is_cell = all(value.is_cell for value in values)
    chosen_value = choose(value.value for value in values)
    return replace(values[0], value=chosen_value, raw=raw, moment=moment, is_cell=is_cell)


def expectations(members: Mapping[str, Computed]) -> str:
    """What the members of an object had to be, for people."""
    fallible = {name: expectation(each) for name, each in members.items() if each.raw is not None}
    return ", ".join(f"{expected} for `{name}`" for name, expected in fallible.items())


def all_raws(members: Iterable[Computed]) -> pl.Expr | None:
    """The first text among several values that could not be read; None where none of them can fail."""
    raws = [raw for member in members if (raw := invalid(member)) is not None]
    return pl.coalesce(raws) if raws else None
