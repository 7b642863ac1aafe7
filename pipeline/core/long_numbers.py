"""Long numbers in JSON, of which parsers lose digits without a word."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

import polars as pl

EXACT_BELOW: Final = 1 << 53
"""All whole numbers below have a binary number of 64 bits of their own."""
_MAY_BE_LONG: Final = r"\d{16}\.\d|\d{20}|\d[eE]\+?\d\d"
"""Much faster to look for than a number that is no part of a text."""
_LONG: Final = r"(?:^|[:\[,])\s*-?(?:\d{16,}\.\d|\d{20}|\d+(?:\.\d+)?[eE]\+?\d\d)"
# A text that does not end is one token as well: to look for its end from each quote in it takes ages.
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?', re.DOTALL)
_INTEGER_DIGITS: Final = 19
"""Those that all integers of 64 bits have."""


def quote_long_numbers(texts: pl.Series) -> pl.Series:
    """Make texts of the numbers in JSON that a parser would round to a binary number.

    Integers are as they are written; others from 2**53 on have an exponent, such as `1.5E+18`, as in a
    spreadsheet. The values are the same, but where one is an id it shows that digits may be lost.
    """
    suspects = texts.str.contains(_MAY_BE_LONG).arg_true()
    suspects = suspects.filter(texts.gather(suspects).str.contains(_LONG))
    if suspects.is_empty():
        return texts
    quoted = [_TOKEN.sub(_quoted, text) for text in texts.gather(suspects)]
    return texts.clone().scatter(suspects, pl.Series(quoted, dtype=pl.String))


def _quoted(token: re.Match[str]) -> str:
    text = token[0]
    if text.startswith('"'):
        return text
    if text.removeprefix("-").isdigit():
        return f'"{text}"' if len(text) > _INTEGER_DIGITS else text
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text  # its exponent is beyond all numbers, which the parser refuses
    return f'"{with_exponent(text)}"' if value.copy_abs() >= EXACT_BELOW else text


def with_exponent(number: str) -> str:
    """A number of at least ten as spreadsheets shorten it: `1.5E+18`."""
    # `normalize` would round to 28 digits.
    digits, exponent = f"{Decimal(number):E}".split("E+")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return f"{digits}E+{exponent:0>2}"
