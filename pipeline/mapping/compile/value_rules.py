"""What a value and its steps must hold for the compiler; it asks before it compiles them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from pipeline.core.errors import did_you_mean
from pipeline.mapping.functions.datetimes import EPOCHS, NAMED_FORMATS
from pipeline.mapping.functions.formulas import template_columns
from pipeline.mapping.functions.zones import zone_name, zone_names
from pipeline.mapping.language import spec as s
from pipeline.mapping.language.draft_marks import still_open
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.source_map import Found, Place
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.usage.visitor import Scope, Site


def value_problems(spec: MappingSpec, site: Site) -> Iterator[Found]:
    """What is wrong with a value itself and its steps, not with those within it."""
    yield from _one_value(spec, site)
    if not isinstance(site.value, str):
        yield from _steps((*site.place, "then"), site.value.then)


def column_problems(spec: MappingSpec) -> Iterator[Found]:
    """What is wrong with what the mapping says of columns and of numbers."""
    for name, kind in spec.columns.items():
        if not isinstance(kind, str):
            yield from _step(("columns", name), kind)
    yield from _number(("source", "number"), spec.source.number)


def _one_value(spec: MappingSpec, site: Site) -> Iterator[Found]:
    match site.value:
        case s.TemplateValue(template=template):
            try:
                template_columns(template)
            except FormulaError as error:
                yield Found((*site.place, "template"), str(error))
        case s.LookupValue() as value:
            yield from _lookup(spec, site.place, value)
        case s.OpenValue(open=missing):
            names = [step for step in site.place if isinstance(step, str)]
            yield Found(site.place, still_open(names[-1], missing))
        case s.LineNumberValue() if site.scope is not Scope.LINE:
            yield Found(site.place, "`line_number` counts lines; it is for `items` only")
        case _:
            pass


def _lookup(spec: MappingSpec, place: Place, value: s.LookupValue) -> Iterator[Found]:
    table = spec.lookups.get(value.lookup)
    if table is None:
        names = tuple(spec.lookups)
        near = did_you_mean(value.lookup, names) or f"; there are {', '.join(names) or 'none'}"
        yield Found((*place, "lookup"), f"'{value.lookup}' is not among `lookups`{near}")
        return
    given = len(value.key) if isinstance(value.key, tuple) else 1
    if given != len(table.key):
        message = f"the table '{value.lookup}' has a key of {len(table.key)}, here are {given} values for it"
        yield Found((*place, "key"), message)


def _steps(place: Place, steps: Sequence[s.Step]) -> Iterator[Found]:
    for i, step in enumerate(steps):
        if not isinstance(step, str):
            yield from _step((*place, i), step)


def _step(place: Place, step: s.Frozen) -> Iterator[Found]:
    match step:
        case s.ReplaceStep(replace=replace):
            yield from _pattern((*place, "replace", "pattern"), replace)
        case s.NumberStep(number=number):
            yield from _number((*place, "number"), number)
        case s.DateTimeStep(datetime=datetime):
            yield from _datetime((*place, "datetime"), datetime)
        case s.BooleanStep(boolean=words):
            no = {word.casefold() for word in words.false}
            for word in words.true:
                if word.casefold() in no:
                    yield Found((*place, "boolean"), f"'{word}' means both true and false")
        case _:
            pass


def _pattern(place: Place, replace: s.Replace) -> Iterator[Found]:
    try:
        pl.Series([""]).str.replace_all(replace.pattern, replace.with_)
    except pl.exceptions.PolarsError as error:
        why = str(error).split("error: ")[-1].strip().splitlines()[0]
        yield Found(place, f"this is not a regular expression in Rust's syntax: {why}")


def _number(place: Place, number: s.Number) -> Iterator[Found]:
    if number.decimal in number.thousands:
        message = f"'{number.decimal}' cannot be both the decimal mark and a mark between thousands"
        yield Found(place, message)


DATE_PARTS = {"year": "YyGCDFcsvx+", "month": "mbBhDFcsvx+jUW", "day": "deDFcsvx+jaAuw"}
"""strftime letters (chrono's), any of which gives that part of a date."""


def _datetime(place: Place, datetime: s.DateTime) -> Iterator[Found]:
    for i, form in enumerate(datetime.formats):
        yield from _format((*place, "formats", i), form)
    zone = datetime.timezone
    if isinstance(zone, s.ConstantValue) and (problem := unknown_zone(str(zone.constant))):
        yield Found((*place, "timezone", "constant"), problem)
    if isinstance(zone, str) and zone_name(zone):
        yield Found((*place, "timezone"), f"'{zone}' would be a column; write {{constant: {zone}}}")
    if zone is not None and (counted := [form for form in datetime.formats if form in EPOCHS]):
        message = (
            f"`{counted[0]}` counts from 1970 in UTC, so a `timezone` beside it says nothing; leave it out, "
            "or read the other formats in a value of their own (first_of); days of a spreadsheet are "
            "spreadsheet_days"
        )
        yield Found((*place, "timezone"), message)


def _format(place: Place, form: str) -> Iterator[Found]:
    if form in NAMED_FORMATS:
        return
    letters = {part.lstrip("-_0")[:1] for part in form.replace("%%", "").split("%")[1:]}
    missing = [part for part, any_of in DATE_PARTS.items() if letters.isdisjoint(any_of)]
    if not letters:
        near = did_you_mean(form, NAMED_FORMATS)
        message = f"'{form}' is not a date format{near or '; write one as %d/%m/%Y %H:%M:%S, or iso'}"
        yield Found(place, message)
    elif missing:
        yield Found(place, f"'{form}' has no {' and no '.join(missing)}; a date needs year, month and day")
    if letters & {"I", "l"} and letters.isdisjoint("pP"):
        yield Found(place, f"'{form}' has hours of 12 (%I) without %p for AM and PM; hours of 24 are %H")


def unknown_zone(name: str) -> str:
    """What is wrong with the name of a time zone, or an empty text."""
    if zone_name(name):
        return ""
    return f"'{name}' is not a time zone{did_you_mean(name, zone_names()) or '; write it as Europe/London'}"
