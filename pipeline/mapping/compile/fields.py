"""Compiled values become the fields of a transaction or item: typed, with the text before the cast."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from pipeline.core.model import Field, Kind
from pipeline.mapping.compile.steps import apply_step
from pipeline.mapping.compile.typed_expression import (
    NOTHING,
    Computed,
    as_json,
    as_number,
    as_text,
    as_written,
    expectation,
    invalid,
)
from pipeline.mapping.compile.values import Bench
from pipeline.mapping.functions import json_text as jsontext
from pipeline.mapping.functions.datetimes import MOMENT
from pipeline.mapping.functions.formulas import in_words
from pipeline.mapping.functions.numbers import booleans, decimal_text, integers, money, whole
from pipeline.mapping.functions.zones import zone_name
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.spec import Boolean, DateTime, DateTimeStep
from pipeline.mapping.usage.used_columns import date_formats

Columns = dict[str, pl.Expr]
"""Columns of the mapped frame, by name."""


def field_columns(field: Field, computed: Computed, bench: Bench) -> Columns:
    """The columns of a field: itself, and `<field>|raw` where its kind can fail.

    Raises:
        FormulaError: The value can never be of the field's kind.
    """
    return _KINDS[field.kind](field, computed, bench)


def _string(field: Field, computed: Computed, bench: Bench) -> Columns:
    if computed.json:
        raise FormulaError(f"a {computed.json} was given; `{field.name}` holds a text")
    text = as_written(computed)
    if field.name == "timezone":
        name = text.value.map_batches(_zone_names, return_dtype=pl.String, is_elementwise=True)
        return {"timezone": name, "timezone|raw": text.value}
    _tell_invalid(field, text, bench)
    return {field.name: text.value}


def _zone_names(written: pl.Series) -> pl.Series:
    known = {text: zone_name(text) for text in written.unique().drop_nulls()}
    return written.replace_strict(known, default=None, return_dtype=pl.String)


def _tell_invalid(field: Field, computed: Computed, bench: Bench) -> None:
    """Kinds without a `|raw` column tell right here what could not be read."""
    raw = invalid(computed)
    if raw is not None:
        message = f"This could not be read: {expectation(computed)} was expected."
        bench.check(field.invalid, message, raw.is_not_null(), raw)


def _decimal(field: Field, computed: Computed, bench: Bench) -> Columns:
    _refuse(field, computed, pl.Boolean(), MOMENT)
    number = as_number(computed, bench.number)
    if field.name == "total":
        number = bench.keep(bench.fresh("total"), number)
        exact = money(number.value).cast(pl.Decimal(38, 12))
        message = "This has more than four decimal places; it was rounded."
        differs = (exact != number.value.cast(pl.Decimal(38, 12))).fill_null(value=False)
        bench.check("total_rounded", message, differs, decimal_text(number.value))
    return {field.name: money(number.value), f"{field.name}|raw": _raw(number)}


def _integer(field: Field, computed: Computed, _bench: Bench) -> Columns:
    _refuse(field, computed, pl.Boolean(), MOMENT)
    if computed.dtype == pl.String:
        raw = computed.value if computed.raw is None else pl.coalesce(computed.raw, computed.value)
        return {field.name: integers(computed.value), f"{field.name}|raw": raw}
    if computed.dtype.is_integer():
        return {field.name: computed.value.cast(pl.Int64), f"{field.name}|raw": _raw(computed)}
    text = decimal_text(computed.value)
    raw = text if computed.raw is None else pl.coalesce(computed.raw, text)
    return {field.name: whole(computed.value), f"{field.name}|raw": raw}


def _boolean(field: Field, computed: Computed, _bench: Bench) -> Columns:
    if computed.dtype == pl.Boolean:
        return {field.name: computed.value, f"{field.name}|raw": _raw(computed)}
    text = as_text(computed)
    return {field.name: booleans(text.value, Boolean()), f"{field.name}|raw": text.value}


def _datetime(field: Field, computed: Computed, bench: Bench) -> Columns:
    if computed.dtype == pl.String:
        computed = apply_step(DateTimeStep(datetime=DateTime(formats=("iso",))), computed, bench)
    if not computed.dtype.is_temporal():
        raise FormulaError(f"`{field.name}` holds a date and time, and this is {in_words(computed.dtype)}")
    columns = {field.name: computed.value.cast(MOMENT), f"{field.name}|raw": _raw(computed)}
    if field.name != "transacted_at":
        return columns
    false = pl.lit(value=False)
    local, ambiguous, nonexistent = computed.value.cast(MOMENT), false, false
    if computed.moment is not None:
        local, ambiguous, unknown = (
            computed.moment.struct.field(name) for name in ("local", "ambiguous", "unknown_zone")
        )
        nonexistent = local.is_not_null() & computed.value.is_null() & ~ambiguous & ~unknown
    if len(date_formats(bench.spec)) > 1 and computed.moment is not None:
        columns["transacted_at|format"] = computed.moment.struct.field("format")
    return columns | {
        "transacted_at|local": local,
        "transacted_at|ambiguous": ambiguous.fill_null(value=False),
        "transacted_at|nonexistent": nonexistent.fill_null(value=False),
    }


def _json(field: Field, computed: Computed, bench: Bench) -> Columns:
    if field.kind is Kind.OBJECT and computed.json != "object":
        raise FormulaError(f"`{field.name}` holds an object, as in {{object: {{name: column}}}}")
    if field.kind is Kind.OBJECTS and not computed.json:
        raise FormulaError(f"`{field.name}` holds objects, as in {{list: [{{object: {{name: column}}}}]}}")
    _tell_invalid(field, computed, bench)
    if field.kind is Kind.OBJECT or computed.json == "list":
        return {field.name: computed.value}
    return {field.name: jsontext.entries([as_json(computed)])}


def _raw(computed: Computed) -> pl.Expr:
    return NOTHING if computed.raw is None else computed.raw


def _refuse(field: Field, computed: Computed, *dtypes: pl.DataType) -> None:
    if computed.json or computed.dtype in dtypes:
        raise FormulaError(
            f"`{field.name}` holds a {field.kind}, and this is {computed.json or in_words(computed.dtype)}"
        )


_KINDS: dict[Kind, Callable[[Field, Computed, Bench], Columns]] = {
    Kind.STRING: _string,
    Kind.DECIMAL: _decimal,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.DATETIME: _datetime,
    Kind.STRINGS: _json,
    Kind.OBJECT: _json,
    Kind.OBJECTS: _json,
}
