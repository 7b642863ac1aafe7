"""What a value and its steps must hold before they can be compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import polars as pl

from pipeline.core.errors import did_you_mean
from pipeline.core.text.wording import agree, count
from pipeline.mapping.functions.datetimes import DATE_PARTS, EPOCHS, NAMED_FORMATS, SPREADSHEET_DAYS
from pipeline.mapping.functions.formulas import template_columns
from pipeline.mapping.functions.zones import SEVERAL_ZONES, unknown_zone, zone_name
from pipeline.mapping.language.draft_marks import still_open
from pipeline.mapping.language.forms import Frozen
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.source_map import Issue, Location
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import (
    BooleanStep,
    ConstantValue,
    DateTime,
    DateTimeStep,
    LineNumberValue,
    LookupValue,
    Number,
    NumberStep,
    OpenValue,
    ReplaceStep,
    TemplateValue,
)
from pipeline.mapping.usage.visitor import LocatedValue, Scope

# Offsets go up to 14 hours, that of the Line Islands.
_OFFSET: Final = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")


def value_issues(spec: MappingSpec, located: LocatedValue) -> Iterator[Issue]:
    """What is wrong with a value itself and its steps, not with the values inside it."""
    location = located.location
    match located.value:
        case TemplateValue(template=template):
            try:
                template_columns(template)
            except FormulaError as error:
                yield Issue((*location, "template"), str(error))
        case LookupValue() as value:
            yield from _lookup_issues(spec, location, value)
        case OpenValue(open=missing):
            names = [step for step in location if isinstance(step, str)]
            yield Issue(location, still_open(names[-1], missing))
        case LineNumberValue() if located.scope is not Scope.LINE:
            yield Issue(location, "`line_number` counts lines; it is for `items` only")
        case _:
            pass
    for i, step in enumerate(() if isinstance(located.value, str) else located.value.then):
        if not isinstance(step, str):
            yield from _step_issues((*location, "then", i), step)


def column_issues(spec: MappingSpec) -> Iterator[Issue]:
    """What is wrong with the section `columns` and the numbers of the source."""
    for name, kind in spec.columns.items():
        if not isinstance(kind, str):
            yield from _step_issues(("columns", name), kind)
    yield from _number_issues(("source", "number"), spec.source.number)


def _lookup_issues(spec: MappingSpec, location: Location, value: LookupValue) -> Iterator[Issue]:
    table = spec.lookups.get(value.lookup)
    if table is None:
        names = tuple(spec.lookups)
        near = did_you_mean(value.lookup, names) or f"; there are {', '.join(names) or 'none'}"
        yield Issue((*location, "lookup"), f"'{value.lookup}' is not among `lookups`{near}")
        return
    given = len(value.key) if isinstance(value.key, tuple) else 1
    if given != len(table.key):
        here = f"here {agree(given, 'is')} {count(given, 'value')} for it"
        message = f"the table '{value.lookup}' has a key of {len(table.key)}, {here}"
        yield Issue((*location, "key"), message)


def _step_issues(location: Location, step: Frozen) -> Iterator[Issue]:
    match step:
        case ReplaceStep(replace=replace):
            try:
                pl.Series([""]).str.replace_all(replace.pattern, replace.with_)
            except pl.exceptions.PolarsError as error:
                why = str(error).split("error: ")[-1].strip().splitlines()[0]
                message = f"this is not a regular expression in Rust's syntax: {why}"
                yield Issue((*location, "replace", "pattern"), message)
        case NumberStep(number=number):
            yield from _number_issues((*location, "number"), number)
        case DateTimeStep(datetime=datetime):
            yield from _datetime_issues((*location, "datetime"), datetime)
        case BooleanStep(boolean=words):
            false = {word.casefold() for word in words.false}
            for word in words.true:
                if word.casefold() in false:
                    yield Issue((*location, "boolean"), f"'{word}' means both true and false")
        case _:
            pass


def _number_issues(location: Location, number: Number) -> Iterator[Issue]:
    if number.decimal in number.thousands:
        message = f"'{number.decimal}' cannot be both the decimal mark and a mark between thousands"
        yield Issue(location, message)


def _datetime_issues(location: Location, datetime: DateTime) -> Iterator[Issue]:
    yield from _abbreviation_issues(location, datetime)
    for i, form in enumerate(datetime.formats):
        if form not in NAMED_FORMATS and not form.startswith(f"{SPREADSHEET_DAYS} "):
            yield from _format_issues((*location, "formats", i), form)
    zone = datetime.timezone
    if isinstance(zone, ConstantValue) and (problem := unknown_zone(str(zone.constant))):
        yield Issue((*location, "timezone", "constant"), problem)
    if isinstance(zone, str) and zone_name(zone):
        yield Issue((*location, "timezone"), f"'{zone}' would be a column; write {{constant: {zone}}}")
    if zone is not None and (epochs := [form for form in datetime.formats if form in EPOCHS]):
        message = (
            f"`{epochs[0]}` counts from 1970 in UTC, so a `timezone` beside it says nothing; leave it out, "
            "or read the other formats in a value of their own (first_of); days of a spreadsheet are "
            "spreadsheet_days"
        )
        yield Issue((*location, "timezone"), message)


def _abbreviation_issues(location: Location, datetime: DateTime) -> Iterator[Issue]:
    reads = [i for i, form in enumerate(datetime.formats) if "%Z" in form]
    if reads and datetime.abbreviations is None:
        means = "; ".join(
            f"{name} is {', '.join(f'{offset} ({where})' for offset, where in zones.items())}"
            for name, zones in SEVERAL_ZONES.items()
        )
        message = (
            "%Z reads abbreviations of zones, and some mean several zones; say what those mean that occur, "
            f"beside `formats`, as in `abbreviations: {{EST: -05:00, CST: -06:00}}`: {means}. "
            "Where none of them occurs, write `abbreviations: {}`"
        )
        yield Issue((*location, "formats", reads[0]), message)
    for name, offset in (datetime.abbreviations or {}).items():
        if not _OFFSET.fullmatch(offset):
            message = f"'{offset}' is not an offset from UTC, as in {name}: -05:00"
            yield Issue((*location, "abbreviations", name), message)
    if datetime.abbreviations and not reads:
        yield Issue((*location, "abbreviations"), "no format reads abbreviations; that is %Z at its end")


def _format_issues(location: Location, form: str) -> Iterator[Issue]:
    letters = {part.lstrip("-_0")[:1] for part in form.replace("%%", "").split("%")[1:]}
    missing = [part for part, any_of in DATE_PARTS.items() if letters.isdisjoint(any_of)]
    if not letters:
        near = did_you_mean(form, NAMED_FORMATS) or "; write one as %d/%m/%Y %H:%M:%S, or iso"
        yield Issue(location, f"'{form}' is not a date format{near}")
    elif missing:
        message = f"'{form}' has no {' and no '.join(missing)}; a date needs year, month and day"
        yield Issue(location, message)
    if letters & {"I", "l"} and letters.isdisjoint("pP"):
        message = f"'{form}' has hours of 12 (%I) without %p for AM and PM; hours of 24 are %H"
        yield Issue(location, message)
