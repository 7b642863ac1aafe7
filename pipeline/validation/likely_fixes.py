"""What to do about a root cause, guessed from a sample of its cells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import compress
from typing import Final

import polars as pl

from pipeline.core.codes import CODES
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Kind
from pipeline.core.text.no_person import NO_PERSON
from pipeline.validation.message_text import SHOWN

_DATES: Final = (
    "%Y-%m-%d|%d/%m/%Y|%m/%d/%Y|%d.%m.%Y|%d-%m-%Y|%m-%d-%Y|%Y/%m/%d|%Y%m%d|%d/%m/%y|%m/%d/%y|"
    "%d %b %Y|%b %d, %Y|%d-%b-%Y|%d-%b-%y"
)
_TIMES: Final = (
    " %H:%M:%S| %H:%M|T%H:%M:%S|T%H:%M| %I:%M:%S %p| %I:%M %p| %I:%M%p| %H:%M:%S%.f|T%H:%M:%S%.fZ|"
)
# The usual ones first: the first format that reads all cells is suggested. The last time is none at all.
_DATE_FORMATS: Final = tuple(date + time for date in _DATES.split("|") for time in _TIMES.split("|"))
_BLANK_WORDS: Final = {"n/a", "na", "#n/a", "null", "none", "nil", "nan", "-", "--", "?", "unknown"}
# Day 26,000 is in 1971, and 72,999 in 2099.
_NUMBERED_DATES: Final = (
    (r"(?:2[6-9]|[3-6]\d|7[0-2])\d{3}(?:\.\d+)?", "days as spreadsheets count them", "spreadsheet_days"),
    (r"1\d{9}", "seconds since 1970", "epoch_s"),
    (r"1\d{12}", "milliseconds since 1970", "epoch_ms"),
)
_SIGN: Final = r"([A-Z]{3}|[^\w\s.,()+-]+)"
_WRITTEN: Final = r"\u00a0\u202f\u2009"
"""Blanks that do not break or are narrow, as YAML writes them."""
_BLANKS: Final = " " + _WRITTEN.encode().decode("unicode_escape")
_NUMBER_FORMS: Final = (
    (
        r"-?\d{1,3}([. '\u2019]\d{3})*,\d{1,4}|-?\d+,\d{1,4}",
        'a decimal comma: `number: {decimal: ",", thousands: ". "}`',
    ),
    (
        rf"-?\d{{1,3}}([{_BLANKS}]\d{{3}})*,\d{{1,4}}",
        rf'a decimal comma and no-break spaces: `number: {{decimal: ",", thousands: "{_WRITTEN}"}}`',
    ),
    (
        rf"-?\d{{1,3}}([{_BLANKS}]\d{{3}})+(\.\d+)?",
        rf'no-break spaces between thousands: `number: {{thousands: "{_WRITTEN}"}}`',
    ),
    (r"-?\d{1,3}(,\d{3})+(\.\d+)?", 'marks between thousands: `number: {thousands: ","}`'),
    (r"\(.*\d.*\)", "amounts in parentheses: `number: {parentheses: true}`"),
    (r"[\d.,]+-", "a minus at the end: `number: {trailing_minus: true}`"),
    (r"-?[\d.,]+ ?%", "percentages: `number: {percent: true}`"),
    (
        rf"[-+]?\s*{_SIGN}\s*-?[\d.,]+|-?[\d.,]+\s*{_SIGN}",
        "a currency's sign or letters: `number: {currency: [...]}`",
    ),
)


def likely_fix(code: str, field: str | None, values: Sequence[str]) -> str:
    """What to do about a cause, from a sample of its cells; the code's own advice where they show nothing."""
    usual = CODES[code].fix if code in CODES else "Look at the rule of that name in the mapping."
    if not values or not code.endswith("_invalid"):
        return usual
    if {value.strip().casefold() for value in values} <= _BLANK_WORDS or (
        code == "profile_invalid" and all(re.match(NO_PERSON, value) for value in values)
    ):
        words = json.dumps(sorted({value.strip() for value in values}), ensure_ascii=False)
        return f"These are words for a blank cell: `source: {{nulls: {words}}}`."
    if field == "status":
        return f"Say under `completion` what {_statuses(values)}."
    known = ITEM_FIELDS.get(field or "") or TRANSACTION_FIELDS.get(field or "")
    look = _LOOKS.get(code) or _KIND_LOOKS.get(known.kind if known else None)
    return (look(values) if look else None) or usual


def _statuses(values: Sequence[str]) -> str:
    quoted = [f"'{value[:SHOWN]}'" for value in values[:3]]
    if len(values) == 1:
        return f"the status {quoted[0]} means"
    return f"statuses such as {', '.join(quoted)} mean"


def _date_fix(values: Sequence[str]) -> str | None:
    cells = pl.Series("cell", values).str.strip_chars()
    reads_all = cells.to_frame().select(_dates_by_format()).row(0)
    if form := next(compress(_DATE_FORMATS, reads_all), None):
        return f'These are dates of the form "{form}": add it to `formats`.'
    for pattern, words, numbered in _NUMBERED_DATES:
        if all(re.fullmatch(pattern, cell) for cell in cells):
            return f"These are {words}: add `{numbered}` to `formats`."
    return None


@cache
def _dates_by_format() -> list[pl.Expr]:
    """Whether all cells are dates of each of `_DATE_FORMATS`; compiling these takes longer than testing."""
    years = (
        pl.col("cell").str.to_datetime(form, strict=False, exact=True, time_unit="us").dt.year().alias(form)
        for form in _DATE_FORMATS
    )
    # A format that gives other years reads the cells wrongly.
    return [year.is_between(1980, 2100).fill_null(value=False).all() for year in years]


def _number_fix(values: Sequence[str]) -> str | None:
    for pattern, words in _NUMBER_FORMS:
        if all(re.fullmatch(pattern, value.strip()) for value in values):
            return f"These have {words}."
    return None


def _quantity_fix(values: Sequence[str]) -> str | None:
    if all(re.fullmatch(r"-?\d+[.,]\d+", value.strip()) for value in values):
        return "These are parts of a whole, as of weighed goods: give `quantity` a rule, such as 1 a line."
    return _number_fix(values)


def _person_fix(values: Sequence[str]) -> str | None:
    if all("@" in value for value in values):
        return "Fix the addresses, or turn the code into a warning to import these as guest sales."
    if not any("@" in value for value in values):
        return "These are not email addresses: give cards and customer numbers a `handle` of their own."
    return None


def _currency_fix(values: Sequence[str]) -> str | None:
    if all(re.fullmatch(r"[A-Za-z]{3}", value.strip()) for value in values):
        return "Add the steps `trim` and `upper`."
    return f'Map them: `map: {{values: {{"{values[0][:SHOWN]}": AUD}}}}`, with the right three letters.'


_LOOKS: Final[dict[str, Callable[[Sequence[str]], str | None]]] = {
    "quantity_invalid": _quantity_fix,
    "profile_invalid": _person_fix,
    "currency_invalid": _currency_fix,
}
_KIND_LOOKS: Final[dict[Kind | None, Callable[[Sequence[str]], str | None]]] = {
    Kind.DATETIME: _date_fix,
    Kind.DECIMAL: _number_fix,
    Kind.INTEGER: _number_fix,
}
