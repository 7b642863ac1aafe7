"""Days as a part of a key: one day is one text, in whatever forms an export writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Final

import polars as pl

from pipeline.mapping.scaffold.keys import Key
from pipeline.mapping.scaffold.samples import Sample
from pipeline.mapping.scaffold.vocabulary.cells import MOSTLY, share, values
from pipeline.mapping.scaffold.vocabulary.dates import ENGLISH_MONTHS, DateReading, read_dates, replaced

_DAY: Final = r"^\d{4}-\d{2}-\d{2}$"
_TOKENS: Final = {"%Y": r"(\d{4})", "%y": r"(\d{2})", "%m": r"(\d{2})", "%b": r"(\d{2})", "%d": r"(\d{2})"}
_MONTHS: Final = tuple(
    (rf"(?i){month}\p{{L}}*", f"{number:02}") for number, month in enumerate(ENGLISH_MONTHS.split("|"), 1)
)
_TWO_DIGITS: Final = (r"\b(\d)\b", "0${1}")


def days_in_one_form(
    sample: Sample, rows: pl.DataFrame, key: Key, dates: Sequence[str]
) -> tuple[Sample | None, str]:
    """The sample with the days of its sales in one form, where a key needs that.

    Args:
        sample: A file with sales.
        rows: Those of its rows that are sales.
        key: What may identify a sale.
        dates: Its columns with dates, the likeliest for the sale first.

    Returns:
        None where they need not or cannot be changed; in the second case also what that means for the key.
    """
    name = next((name for name in dates[:1] if rows.schema[name] == pl.String), "")
    found = read_dates(values(rows[name])) if name else None
    several = int(rows.select(pl.struct(key.columns).n_unique()).item()) < rows.height
    if found is None or len(found.formats) < 2 or not (several or key.doubt or name in key.columns):
        return None, ""
    plain = _with_plain_days(sample, name, found)
    return plain, f"`{name}` has several forms" if plain is None and name in key.columns else ""


def _with_plain_days(sample: Sample, name: str, found: DateReading) -> Sample | None:
    """The sample with the days of a column as `2024-12-31`; the column has a new name, as drafts define it.

    None where they cannot be written so: there is a time of day in them, day and month may change places, or
    they are protected from spreadsheets.
    """
    if found.either or name in sample.guarded:
        return None
    changes = [*found.changes, *(_MONTHS if any("%b" in form for form in found.formats) else ()), _TWO_DIGITS]
    for form in (form for form in found.formats if form != "%Y-%m-%d"):
        change = _year_first(form)
        if change is None:
            return None
        changes.append(change)
    days = replaced(sample.rows[name].str.strip_chars(), changes)
    if share(values(days), _DAY) < found.read * MOSTLY:
        return None
    new = next(f"{name}{'_' * n}" for n in count(1) if f"{name}{'_' * n}" not in sample.rows.columns)
    rows = sample.rows.with_columns(days.alias(new)).rename({name: f"__{new}"})
    return replace(sample, rows=rows, guarded={**sample.guarded, new: name}, days={new: tuple(changes)})


def _year_first(form: str) -> tuple[str, str] | None:
    """The change that writes a date of one form with the year first; None for forms with more than a day."""
    tokens: Sequence[str] = re.findall(r"%.", form)
    places = {token.lower().replace("b", "m"): f"${{{n}}}" for n, token in enumerate(tokens, 1)}
    if sorted(places) != ["%d", "%m", "%y"] or not all(token in _TOKENS for token in tokens):
        return None
    pattern = re.sub(r"%.|[^%]", lambda part: _TOKENS.get(part.group()) or re.escape(part.group()), form)
    century = "20" if "%y" in tokens else ""
    return f"^{pattern}$", f"{century}{places['%y']}-{places['%m']}-{places['%d']}"
