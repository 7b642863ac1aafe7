"""Reads decimals, integers and booleans from texts; a text that is none becomes null.

An amount is always a decimal. It never passes through a binary float.
"""

from __future__ import annotations

import re

import polars as pl

from pipeline.core.frames import MONEY
from pipeline.core.model import MONEY_SCALE
from pipeline.mapping.language.value_spec import Boolean, Number

WORKING = pl.Decimal(38, 6)
"""The type for formulas. polars adds up the decimal places of a product: more places would overflow."""

EXACT = pl.Decimal(38, 12)
"""The type in which texts are read and single values divided or multiplied."""
_USUAL = Number.model_construct()


def decimals(text: pl.Expr, number: Number) -> pl.Expr:
    """Read amounts with 12 decimal places; null where the text is not a number in that notation.

    `1E+05`, as spreadsheets write large numbers, is a number too.
    """
    if number == _USUAL:
        return text.cast(EXACT, strict=False)
    plain, negative = _plain_digits(text, number)
    value = plain.cast(EXACT, strict=False)
    if number.minor_units or number.percent:
        scale = 10**number.minor_units * (100 if number.percent else 1)
        value = (value * (pl.lit(1, EXACT) / scale)).cast(EXACT)
    return pl.when(negative).then(-value).otherwise(value).cast(EXACT) if negative is not None else value


def _plain_digits(text: pl.Expr, number: Number) -> tuple[pl.Expr, pl.Expr | None]:
    """The text in the notation `-1234.5`, and whether other marks than a leading minus make it negative."""
    marks: list[pl.Expr] = []
    for sign in number.currency:
        text = _without_currency(text, sign)
    text = text.str.strip_chars()
    if number.percent:
        text = text.str.strip_suffix("%").str.strip_chars()
    if number.parentheses:
        marks.append(text.str.starts_with("(") & text.str.ends_with(")"))
        text = pl.when(marks[-1]).then(text.str.slice(1, text.str.len_chars() - 2)).otherwise(text)
    if number.trailing_minus:
        marks.append(text.str.ends_with("-"))
        text = text.str.strip_suffix("-").str.strip_chars()
    text = text.str.replace(r"^([+-])\s+", "$1")
    if number.thousands:
        text = _without_thousands(text, number)
    if number.decimal != ".":
        # A point that is neither a thousands mark nor the decimal mark: this is not a number.
        text = pl.when(~text.str.contains(".", literal=True)).then(text.str.replace(",", "."))
    if not marks:
        return text, None
    # Two signs contradict each other, as in (-12.00) or (12.00-), so this is not a number.
    signs = pl.sum_horizontal(*marks, text.str.contains(r"^[+-]"))
    return pl.when(signs <= 1).then(text), pl.any_horizontal(marks)


def _without_currency(text: pl.Expr, sign: str) -> pl.Expr:
    """Remove a currency before or after the amount. Inside the amount it stays, so this is not a number."""
    word = re.escape(sign)
    text = text.str.replace(rf"^([-+(\s]*){word}", "${1}")
    return text.str.replace(rf"{word}([-)%\s]*)$", "${1}")


def _without_thousands(text: pl.Expr, number: Number) -> pl.Expr:
    """Remove thousands marks between groups of digits. Elsewhere they stay, so this is not a number."""
    marks = "".join(re.escape(mark) for mark in number.thousands)
    decimal = re.escape(number.decimal)
    grouped = rf"^[+-]?\d{{1,3}}(?:[{marks}]\d{{2,3}})*[{marks}]\d{{3}}(?:{decimal}\d*)?$"
    return pl.when(text.str.contains(grouped)).then(text.str.replace_all(f"[{marks}]", "")).otherwise(text)


def rounded(value: pl.Expr, places: int = MONEY_SCALE) -> pl.Expr:
    """Round half away from zero, as tills and people do (a cast would round half to even)."""
    return value.round(places, mode="half_away_from_zero")


def money(value: pl.Expr) -> pl.Expr:
    """A decimal or integer as money; null where it does not fit into 15 digits."""
    return rounded(value).cast(MONEY, strict=False)


def integers(text: pl.Expr) -> pl.Expr:
    """Read whole numbers: `2`, `+2` and `2.0` are 2; `1.5` and `two` are null."""
    return text.map_batches(_integers, return_dtype=pl.Int64, is_elementwise=True)


def _integers(text: pl.Series) -> pl.Series:
    plain = text.cast(pl.Int64, strict=False)
    if plain.null_count() == text.null_count():
        return plain
    # Few exports write 2.0, so only they pay for a second pass.
    table = pl.DataFrame({"plain": plain, "text": text})
    decimal = pl.col("text").cast(EXACT, strict=False)
    return table.select(pl.coalesce("plain", whole(decimal))).to_series()


def whole(value: pl.Expr) -> pl.Expr:
    """A decimal as an integer; null where it has a fraction."""
    return pl.when(value == value.round(0)).then(value.cast(pl.Int64, strict=False))


def booleans(text: pl.Expr, words: Boolean) -> pl.Expr:
    """Read words for true and false; other words are null."""
    known = {word.casefold(): True for word in words.true} | {word.casefold(): False for word in words.false}
    return text.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Boolean)


def decimal_text(value: pl.Expr) -> pl.Expr:
    """A decimal without trailing zeros, and without a point at the end."""
    text = value.cast(pl.String)
    return (
        pl.when(text.str.contains(".", literal=True))
        .then(text.str.strip_chars_end("0").str.strip_chars_end("."))
        .otherwise(text)
    )


def amount_text(value: pl.Expr) -> pl.Expr:
    """Money as a JSON number with at least two decimal places, such as `10.00` or `1.125`."""
    text = value.cast(MONEY, strict=False).cast(pl.String)
    return text.str.strip_suffix("0").str.strip_suffix("0")
