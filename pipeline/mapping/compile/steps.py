"""One function for each kind of step (`then`): it changes the value so far.

`STEP_COMPILERS` says which function belongs to which kind with options; `TEXT_STEPS` and `NUMBER_STEPS` hold
the steps that are one word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline.mapping.compile.typed_expression import (
    TypedExpression,
    alike,
    as_number,
    as_text,
    first_invalid,
    first_text,
    literal,
    read_boolean,
    read_number,
)
from pipeline.mapping.functions import json_text
from pipeline.mapping.functions.cell_cleaning import nonblank
from pipeline.mapping.functions.datetimes import DATETIME, check_format, parse_times
from pipeline.mapping.functions.formulas import in_words
from pipeline.mapping.functions.numbers import EXACT, WORKING, integers, rounded
from pipeline.mapping.functions.zones import unknown_zone, zone_name
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.spec import ColumnKind, SplitKind
from pipeline.mapping.language.value_spec import (
    BlankStep,
    Boolean,
    BooleanStep,
    ConstantValue,
    DateTime,
    DateTimeStep,
    DefaultStep,
    DivideStep,
    MapStep,
    MultiplyStep,
    Number,
    NumberStep,
    PadStep,
    ReplaceStep,
    RoundStep,
    SliceStep,
    SplitAllStep,
    SplitStep,
    Step,
)

if TYPE_CHECKING:
    from pipeline.mapping.compile.context import CompileContext


def typed_cell(kind: ColumnKind, cell: TypedExpression, context: CompileContext) -> TypedExpression:
    """A cell with the type that `columns` gives it."""
    match kind:
        case "integer":
            return TypedExpression(integers(cell.value), pl.Int64(), cell.value)
        case "decimal":
            return _decimal_cell(cell, context.number)
        case "boolean":
            return read_boolean(cell, Boolean())
        case NumberStep():
            return _decimal_cell(cell, kind.number)
        case BooleanStep():
            return read_boolean(cell, kind.boolean)
        case DateTimeStep():
            return read_datetime(cell, kind.datetime, context)
        case SplitKind():
            return cell


def _decimal_cell(cell: TypedExpression, number: Number) -> TypedExpression:
    # polars itself reads the usual notation.
    if number == Number():
        return TypedExpression(cell.value.cast(WORKING, strict=False), WORKING, cell.value)
    read = read_number(cell, number)
    return replace(read, value=rounded(read.value, WORKING.scale).cast(WORKING), dtype=WORKING)


def apply_step(step: Step, typed: TypedExpression, context: CompileContext) -> TypedExpression:
    """Compile a step over the value so far; `context` is located at the step."""
    if not isinstance(step, str):
        return STEP_COMPILERS[type(step)](step, typed, context)
    if step in NUMBER_STEPS:
        return _change_number(as_number(typed, context.number), NUMBER_STEPS[step])
    return _change_text(typed, TEXT_STEPS[step])


def _change_text(typed: TypedExpression, change: Callable[[pl.Expr], pl.Expr]) -> TypedExpression:
    """Change a text; an empty result is blank, and not invalid."""
    text = as_text(typed)
    return replace(text, value=nonblank(change(text.value)), raw=text.invalid)


def _change_number(number: TypedExpression, change: Callable[[pl.Expr], pl.Expr]) -> TypedExpression:
    return TypedExpression(change(number.value).cast(number.dtype), number.dtype, number.raw)


TEXT_STEPS: Final[dict[str, Callable[[pl.Expr], pl.Expr]]] = {
    "trim": lambda text: text.str.strip_chars(),
    "upper": lambda text: text.str.to_uppercase(),
    "lower": lambda text: text.str.to_lowercase(),
    "title": lambda text: text.str.to_titlecase(),
    "digits": lambda text: text.str.replace_all(r"[^0-9]", ""),
    "squeeze": lambda text: text.str.replace_all(r"\s+", " ").str.strip_chars(),
    "unguard": lambda text: text.str.replace(r'(?s)^="(.*)"$', "${1}").str.strip_prefix("'"),
}
NUMBER_STEPS: Final[dict[str, Callable[[pl.Expr], pl.Expr]]] = {"negate": lambda n: -n, "abs": pl.Expr.abs}


# ── Texts ───────────────────────────────────────────────────────────────────────────────────────────


def _replace(step: ReplaceStep, typed: TypedExpression, _context: CompileContext) -> TypedExpression:
    return _change_text(typed, lambda text: text.str.replace_all(step.replace.pattern, step.replace.with_))


def _pad(step: PadStep, typed: TypedExpression, _context: CompileContext) -> TypedExpression:
    return _change_text(typed, lambda text: text.str.pad_start(step.pad.width, step.pad.fill))


def _slice(step: SliceStep, typed: TypedExpression, _context: CompileContext) -> TypedExpression:
    start, length = step.slice.start, step.slice.length
    return _change_text(typed, lambda text: text.str.slice(start, length).str.strip_chars())


def _split(step: SplitStep, typed: TypedExpression, _context: CompileContext) -> TypedExpression:
    by, index, most = step.split.by, step.split.index, step.split.parts
    if most is not None and not 0 <= index < most:
        raise FormulaError(f"with `parts: {most}` the index was expected to be 0 to {most - 1}, not {index}")

    # Cells are trimmed, which takes blanks of `by` off a cell whose first or last part is blank.
    mark = by.strip()
    before, after = by.split(mark) if mark else ("", "")

    def part(text: pl.Expr) -> pl.Expr:
        text = pl.concat_str(pl.lit(before), text, pl.lit(after))
        if most is None:
            found = text.str.split(by).list.get(index, null_on_oob=True)
        else:
            found = text.str.splitn(by, most).struct.field(f"field_{index}")
        return found.str.strip_chars()

    return _change_text(typed, part)


def _split_all(step: SplitAllStep, typed: TypedExpression, _context: CompileContext) -> TypedExpression:
    entry = pl.element().str.strip_chars()
    parts = as_text(typed).value.str.split(step.list_by).list.eval(entry.filter(entry != ""))
    return TypedExpression(json_text.texts(parts), pl.String(), json="list")


def _blank_if(step: BlankStep, typed: TypedExpression, _context: CompileContext) -> TypedExpression:
    text = as_text(typed)
    kept = text.value.replace(dict.fromkeys(step.blank_if))
    return replace(text, value=kept, raw=text.invalid)


def _map(step: MapStep, typed: TypedExpression, context: CompileContext) -> TypedExpression:
    options, text = step.map, as_text(typed)
    results = alike([literal(new) for new in options.values.values()], context.number)
    if options.default is not None:
        *results, default = alike([*results, literal(options.default)], context.number)
    elif options.other == "keep":
        results = [as_text(result) for result in results]
    key, known = text.value, [*options.values]
    if options.ignore_case:
        key, known = key.str.to_lowercase(), [word.lower() for word in known]
    dtype = results[0].dtype if results else pl.String()
    new = pl.Series([], dtype=dtype)
    if results:
        new = pl.select(pl.concat_list(result.value for result in results)).item()
    found = key.replace_strict(pl.Series(known, dtype=pl.String), new, default=None, return_dtype=dtype)
    if options.default is not None:
        found = pl.when(text.value.is_not_null()).then(pl.coalesce(found, default.value))
    elif options.other == "keep":
        found = pl.coalesce(found, text.value)
    elif options.other == "reject":
        raw = first_text(text.raw, text.value)
        return TypedExpression(found, dtype, raw, expected="a word that the mapping's `map` names")
    return TypedExpression(found, dtype, text.invalid)


# ── Other types ─────────────────────────────────────────────────────────────────────────────────────


def _number(step: NumberStep, typed: TypedExpression, _context: CompileContext) -> TypedExpression:
    return read_number(typed, step.number)


def _boolean(step: BooleanStep, typed: TypedExpression, _context: CompileContext) -> TypedExpression:
    return read_boolean(typed, step.boolean)


def _datetime(step: DateTimeStep, typed: TypedExpression, context: CompileContext) -> TypedExpression:
    return read_datetime(typed, step.datetime, context)


def read_datetime(typed: TypedExpression, spec: DateTime, context: CompileContext) -> TypedExpression:
    """Read a text as a date and time.

    Raises:
        FormulaError: A format or the zone cannot be used, or the value is not a text.
    """
    for form in spec.formats:
        check_format(form)
    if typed.dtype != pl.String:
        raise FormulaError(
            f"a text was expected to read a date from, and this is {in_words(typed.dtype)} already"
        )
    parsed = parse_times(typed.value, spec, _zone(spec, context))
    name = context.fresh("parsed_time")
    context.plan.derive(context.scope, name, parsed)
    raw = first_text(typed.raw, typed.value)
    return TypedExpression(pl.col(name).struct.field("utc"), DATETIME, raw, pl.col(name))


def _zone(spec: DateTime, context: CompileContext) -> str | pl.Expr | None:
    """The zone of times without an offset: that of the step, otherwise that of the transaction."""
    zone, here = spec.timezone, context.inside("datetime", "timezone")
    if zone is None:
        zone = context.spec.transaction.get("timezone")
        here = replace(context, location=("transaction", "timezone"))
    if zone is None:
        return None
    if not isinstance(zone, ConstantValue) or zone.then:
        return as_text(here.compile(zone)).value
    if wrong := unknown_zone(str(zone.constant)):
        raise FormulaError(wrong)
    return zone_name(str(zone.constant))


def _default(step: DefaultStep, typed: TypedExpression, context: CompileContext) -> TypedExpression:
    if typed.json:
        raise FormulaError("a list or object cannot have a default")
    value, default = alike([typed, literal(step.default)], context.number)
    filled = pl.coalesce(value.value, default.value)
    if value.raw is not None:
        # An invalid value is not blank.
        filled = pl.when(value.raw.is_null() | value.value.is_not_null()).then(filled)
    return replace(value, value=filled, parsed_time=None, is_cell=False)


def _round(step: RoundStep, typed: TypedExpression, context: CompileContext) -> TypedExpression:
    return _change_number(as_number(typed, context.number), lambda number: rounded(number, step.round))


def _divide(step: DivideStep, typed: TypedExpression, context: CompileContext) -> TypedExpression:
    number = as_number(typed, context.number)
    by = as_number(context.compile(step.divide_by, "divide_by"), context.number)
    # One division by 0 would fail the whole frame.
    divisor = pl.when(by.value != 0).then(by.value)
    quotient = number.value.cast(EXACT) / divisor
    return TypedExpression(quotient, EXACT, first_invalid((number, by)))


def _multiply(step: MultiplyStep, typed: TypedExpression, context: CompileContext) -> TypedExpression:
    number = as_number(typed, context.number)
    by = as_number(context.compile(step.multiply_by, "multiply_by"), context.number)
    product = number.value.cast(EXACT) * by.value
    return TypedExpression(product, EXACT, first_invalid((number, by)))


STEP_COMPILERS: Final[dict[type, Callable[[Any, TypedExpression, CompileContext], TypedExpression]]] = {
    ReplaceStep: _replace,
    PadStep: _pad,
    SliceStep: _slice,
    SplitStep: _split,
    SplitAllStep: _split_all,
    BlankStep: _blank_if,
    MapStep: _map,
    NumberStep: _number,
    DateTimeStep: _datetime,
    BooleanStep: _boolean,
    DefaultStep: _default,
    RoundStep: _round,
    DivideStep: _divide,
    MultiplyStep: _multiply,
}
