"""Casts compiled values to the fields of a transaction or item, and keeps the raw text beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

from pipeline.core.model import Field, Kind
from pipeline.mapping.compile.context import CompileContext
from pipeline.mapping.compile.steps import read_datetime
from pipeline.mapping.compile.typed_expression import (
    TypedExpression,
    as_json,
    as_number,
    as_text,
    as_written,
    first_text,
)
from pipeline.mapping.functions import json_text
from pipeline.mapping.functions.datetimes import DATETIME
from pipeline.mapping.functions.formulas import in_words
from pipeline.mapping.functions.numbers import EXACT, booleans, decimal_text, integers, money, whole
from pipeline.mapping.functions.zones import zone_name
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.value_spec import Boolean, DateTime
from pipeline.mapping.usage.used_columns import date_formats

FieldColumns = dict[str, pl.Expr]
"""Columns of the mapped frame, by name."""


def field_columns(field: Field, typed: TypedExpression, context: CompileContext) -> FieldColumns:
    """The columns of a field: itself, and `<field>|raw` where its kind can be invalid.

    Raises:
        FormulaError: The value can never be of the field's kind.
    """
    return _KINDS[field.kind](field, typed, context)


def _string(field: Field, typed: TypedExpression, context: CompileContext) -> FieldColumns:
    if typed.json:
        raise FormulaError(f"a {typed.json} was given; `{field.name}` holds a text")
    text = as_written(typed)
    if field.name == "timezone":
        name = text.value.map_batches(_zone_names, return_dtype=pl.String, is_elementwise=True)
        return {"timezone": name, "timezone|raw": text.value}
    _report_invalid(field, text, context)
    return {field.name: text.value}


def _zone_names(written: pl.Series) -> pl.Series:
    known = {text: zone_name(text) for text in written.unique().drop_nulls()}
    return written.replace_strict(known, default=None, return_dtype=pl.String)


def _report_invalid(field: Field, typed: TypedExpression, context: CompileContext) -> None:
    """Report invalid values of a kind that has no `|raw` column for validation to look at."""
    text = typed.invalid
    if text is not None:
        message = f"This could not be read: {typed.expectation} was expected."
        context.check(field.invalid, message, text.is_not_null(), text)


def report_too_large(number: TypedExpression, code: str, context: CompileContext) -> None:
    """Report amounts that do not fit into money and have no raw text of their own."""
    is_lost = number.value.is_not_null() & money(number.value).is_null() & number.raw_or_blank.is_null()
    message = "This amount has more than 11 digits before the decimal mark."
    context.check(code, message, is_lost, decimal_text(number.value))


def _decimal(field: Field, typed: TypedExpression, context: CompileContext) -> FieldColumns:
    _refuse_other_kinds(field, typed)
    number = as_number(typed, context.number)
    if field.name == "total":
        number = context.keep(context.fresh("total"), number)
        rounding = money(number.value).cast(EXACT) != number.value.cast(EXACT)
        message = "This has more than four decimal places; it was rounded."
        context.check("total_rounded", message, rounding.fill_null(value=False), decimal_text(number.value))
    # Validation reports a cell itself, by its raw text.
    if not number.is_cell:
        report_too_large(number, field.invalid, context)
    return {field.name: money(number.value), f"{field.name}|raw": number.raw_or_blank}


def _integer(field: Field, typed: TypedExpression, _context: CompileContext) -> FieldColumns:
    _refuse_other_kinds(field, typed)
    if typed.dtype == pl.String:
        number, raw = integers(typed.value), first_text(typed.raw, typed.value)
    elif typed.dtype.is_integer():
        number, raw = typed.value.cast(pl.Int64), typed.raw_or_blank
    else:
        number, raw = whole(typed.value), first_text(typed.raw, decimal_text(typed.value))
    return {field.name: number, f"{field.name}|raw": raw}


def _boolean(field: Field, typed: TypedExpression, _context: CompileContext) -> FieldColumns:
    if typed.dtype == pl.Boolean:
        return {field.name: typed.value, f"{field.name}|raw": typed.raw_or_blank}
    text = as_text(typed).value
    return {field.name: booleans(text, Boolean()), f"{field.name}|raw": text}


def _datetime(field: Field, typed: TypedExpression, context: CompileContext) -> FieldColumns:
    if typed.dtype == pl.String:
        typed = read_datetime(typed, DateTime(formats=("iso",)), context)
    if not typed.dtype.is_temporal():
        raise FormulaError(f"`{field.name}` holds a date and time, and this is {in_words(typed.dtype)}")
    columns = {field.name: typed.value.cast(DATETIME), f"{field.name}|raw": typed.raw_or_blank}
    if field.name != "transacted_at":
        return columns
    false = pl.lit(value=False)
    local, ambiguous, nonexistent = typed.value.cast(DATETIME), false, false
    if typed.parsed_time is not None:
        local, ambiguous, unknown = (
            typed.parsed_time.struct.field(name) for name in ("local", "ambiguous", "unknown_zone")
        )
        # Where none of the other two reasons holds, a change of clocks skipped this local time.
        nonexistent = local.is_not_null() & typed.value.is_null() & ~ambiguous & ~unknown
        # With a single format it is clear which one was used.
        if len(date_formats(context.spec)) > 1:
            columns["transacted_at|format"] = typed.parsed_time.struct.field("format")
    return columns | {
        "transacted_at|local": local,
        "transacted_at|ambiguous": ambiguous.fill_null(value=False),
        "transacted_at|nonexistent": nonexistent.fill_null(value=False),
    }


def _json(field: Field, typed: TypedExpression, context: CompileContext) -> FieldColumns:
    if field.kind is Kind.OBJECT and typed.json != "object":
        raise FormulaError(f"`{field.name}` holds an object, as in {{object: {{name: column}}}}")
    if field.kind is Kind.OBJECTS and not typed.json:
        raise FormulaError(f"`{field.name}` holds objects, as in {{list: [{{object: {{name: column}}}}]}}")
    _report_invalid(field, typed, context)
    if field.kind is Kind.OBJECT or typed.json == "list":
        return {field.name: typed.value}
    return {field.name: json_text.entries([as_json(typed)])}


def _refuse_other_kinds(field: Field, typed: TypedExpression) -> None:
    """Refuse what can never be a number."""
    if typed.json or typed.dtype in (pl.Boolean(), DATETIME):
        given = typed.json or in_words(typed.dtype)
        raise FormulaError(f"`{field.name}` holds a {field.kind}, and this is {given}")


_KINDS: Final[dict[Kind, Callable[[Field, TypedExpression, CompileContext], FieldColumns]]] = {
    Kind.STRING: _string,
    Kind.DECIMAL: _decimal,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.DATETIME: _datetime,
    Kind.STRINGS: _json,
    Kind.OBJECT: _json,
    Kind.OBJECTS: _json,
}
