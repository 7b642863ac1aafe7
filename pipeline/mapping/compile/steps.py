"""The steps of a value (`then`): each is a function from its spec and the value so far to the value after.

Which function belongs to which kind of step is looked up by type, in `STEP_OPS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import did_you_mean
from pipeline.mapping.compile.typed_expression import (
    Computed,
    alike,
    all_raws,
    as_number,
    as_text,
    first_text,
    literal,
    read_boolean,
    read_number,
)
from pipeline.mapping.functions import json_text as jsontext
from pipeline.mapping.functions.cell_cleaning import nonblank
from pipeline.mapping.functions.datetimes import MOMENT, check_format, moments
from pipeline.mapping.functions.formulas import in_words
from pipeline.mapping.functions.numbers import WORKING, integers, rounded
from pipeline.mapping.functions.zones import zone_name, zone_names
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.spec import (
    BlankStep,
    Boolean,
    BooleanStep,
    ColumnKind,
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
    Value,
)

if TYPE_CHECKING:
    from pipeline.mapping.compile.values import Bench


def _integer(computed: Computed) -> Computed:
    return Computed(integers(computed.value), pl.Int64(), computed.value)


def _working(cell: Computed, number: Number) -> Computed:
    if number == Number():
        return Computed(cell.value.cast(WORKING, strict=False), WORKING, cell.value)
    read = read_number(cell, number)
    return replace(read, value=rounded(read.value, 6).cast(WORKING), dtype=WORKING)


def typed_cell(kind: ColumnKind, cell: Computed, bench: Bench) -> Computed:
    """A cell as what `columns` says it is."""
    match kind:
        case "integer":
            return _integer(cell)
        case "decimal":
            return _working(cell, bench.spec.source.number)
        case "boolean":
            return read_boolean(cell, Boolean())
        case NumberStep():
            return _working(cell, kind.number)
        case BooleanStep():
            return read_boolean(cell, kind.boolean)
        case DateTimeStep():
            return _moment(cell, kind.datetime, bench)


def apply_step(step: Step, computed: Computed, bench: Bench) -> Computed:
    """Compile a step over the value so far."""
    if isinstance(step, str):
        if step in ("negate", "abs"):
            return _arithmetic(as_number(computed, bench.number), NUMBER_WORDS[step])
        return _text(computed, TEXT_WORDS[step])
    return STEP_OPS[type(step)](step, computed, bench)


def _text(computed: Computed, change: Callable[[pl.Expr], pl.Expr]) -> Computed:
    """Change a text; what is empty after it is blank."""
    text = as_text(computed)
    return replace(text, value=nonblank(change(text.value)))


def _arithmetic(number: Computed, change: Callable[[pl.Expr], pl.Expr]) -> Computed:
    return Computed(change(number.value).cast(number.dtype), number.dtype, number.raw)


TEXT_WORDS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "trim": lambda text: text.str.strip_chars(),
    "upper": lambda text: text.str.to_uppercase(),
    "lower": lambda text: text.str.to_lowercase(),
    "title": lambda text: text.str.to_titlecase(),
    "digits": lambda text: text.str.replace_all(r"[^0-9]", ""),
    "squeeze": lambda text: text.str.replace_all(r"\s+", " ").str.strip_chars(),
    "unguard": lambda text: text.str.strip_prefix("'"),
}
NUMBER_WORDS: dict[str, Callable[[pl.Expr], pl.Expr]] = {"negate": lambda n: -n, "abs": lambda n: n.abs()}


def _replace(step: ReplaceStep, computed: Computed, _bench: Bench) -> Computed:
    return _text(computed, lambda text: text.str.replace_all(step.replace.pattern, step.replace.with_))


def _pad(step: PadStep, computed: Computed, _bench: Bench) -> Computed:
    return _text(computed, lambda text: text.str.pad_start(step.pad.width, step.pad.fill))


def _slice(step: SliceStep, computed: Computed, _bench: Bench) -> Computed:
    return _text(computed, lambda text: text.str.slice(step.slice.start, step.slice.length).str.strip_chars())


def _split(step: SplitStep, computed: Computed, _bench: Bench) -> Computed:
    def part(text: pl.Expr) -> pl.Expr:
        parts = text.str.split(step.split.by)
        return parts.list.get(step.split.index, null_on_oob=True).str.strip_chars()

    return _text(computed, part)


def _split_all(step: SplitAllStep, computed: Computed, _bench: Bench) -> Computed:
    entry = pl.element().str.strip_chars()
    parts = as_text(computed).value.str.split(step.list_by).list.eval(entry.filter(entry != ""))
    return Computed(jsontext.texts(parts), pl.String(), json="list")


def _map(step: MapStep, computed: Computed, bench: Bench) -> Computed:
    options, text = step.map, as_text(computed)
    results = alike([literal(new) for new in options.values.values()], bench.number)
    if options.default is not None:
        *results, default = alike([*results, literal(options.default)], bench.number)
    elif options.other == "keep":
        results = [as_text(result) for result in results]
    key = text.value
    known = [*options.values]
    if options.ignore_case:
        key, known = key.str.to_lowercase(), [word.lower() for word in known]
    dtype = results[0].dtype if results else pl.String()
    new = (
        pl.select(pl.concat_list(result.value for result in results)).item()
        if results
        else pl.Series([], dtype=dtype)
    )
    found = key.replace_strict(pl.Series(known, dtype=pl.String), new, default=None, return_dtype=dtype)
    there = text.value.is_not_null()
    if options.default is not None:
        return Computed(pl.when(there).then(pl.coalesce(found, default.value)), dtype, text.raw)
    if options.other == "keep":
        return Computed(pl.coalesce(found, text.value), dtype, text.raw)
    if options.other == "reject":
        raw = first_text(text.raw, text.value)
        return Computed(found, dtype, raw, expected="a word that the mapping's `map` names")
    return Computed(found, dtype, text.raw)


def _number_step(step: NumberStep, computed: Computed, _bench: Bench) -> Computed:
    return read_number(computed, step.number)


def _datetime_step(step: DateTimeStep, computed: Computed, bench: Bench) -> Computed:
    return _moment(computed, step.datetime, bench)


def _moment(computed: Computed, spec: DateTime, bench: Bench) -> Computed:
    for form in spec.formats:
        check_format(form)
    if computed.dtype != pl.String:
        raise FormulaError(
            f"a text was expected to read a date from, and this is {in_words(computed.dtype)} already"
        )
    # Times without an offset are in the transaction's zone, unless the step says otherwise.
    zone_value, zone_bench = spec.timezone, bench
    if zone_value is None:
        zone_value = bench.spec.transaction.get("timezone")
        zone_bench = replace(bench, site=None, place=("transaction", "timezone"))
    moment = moments(computed.value, spec, _zone(zone_value, zone_bench))
    name = bench.fresh("moment")
    bench.plan.derive(bench.scope, name, moment)
    moment = pl.col(name)
    raw = first_text(computed.raw, computed.value)
    return Computed(moment.struct.field("utc"), MOMENT, raw, moment)


def _zone(value: Value | None, bench: Bench) -> str | pl.Expr | None:
    if value is None:
        return None
    if isinstance(value, ConstantValue) and not value.then:
        name = zone_name(str(value.constant))
        if name is None:
            near = did_you_mean(str(value.constant), zone_names()) or "; write it as Europe/London"
            raise FormulaError(f"'{value.constant}' is not a time zone{near}")
        return name
    return as_text(bench.compile(value)).value


def _boolean_step(step: BooleanStep, computed: Computed, _bench: Bench) -> Computed:
    return read_boolean(computed, step.boolean)


def _default(step: DefaultStep, computed: Computed, bench: Bench) -> Computed:
    if computed.json:
        raise FormulaError("a list or object has no default")
    value, default = alike([computed, literal(step.default)], bench.number)
    filled = pl.coalesce(value.value, default.value)
    if value.raw is not None:
        # What is there but cannot be read is not blank.
        filled = pl.when(value.raw.is_null() | value.value.is_not_null()).then(filled)
    return replace(value, value=filled, moment=None, is_cell=False)


def _round(step: RoundStep, computed: Computed, bench: Bench) -> Computed:
    return _arithmetic(as_number(computed, bench.number), lambda number: rounded(number, step.round))


def _divide(step: DivideStep, computed: Computed, bench: Bench) -> Computed:
    number, by = as_number(computed, bench.number), as_number(bench.compile(step.divide_by), bench.number)
    divisor = pl.when(by.value != 0).then(by.value)
    return _combined(number, by, number.value.cast(EXACT) / divisor.cast(EXACT))


def _multiply(step: MultiplyStep, computed: Computed, bench: Bench) -> Computed:
    number, by = as_number(computed, bench.number), as_number(bench.compile(step.multiply_by), bench.number)
    return _combined(number, by, number.value.cast(EXACT) * by.value.cast(EXACT))


EXACT = pl.Decimal(38, 12)


def _combined(left: Computed, right: Computed, result: pl.Expr) -> Computed:
    return Computed(result.cast(EXACT), EXACT, all_raws((left, right)))


def _blank_if(step: BlankStep, computed: Computed, _bench: Bench) -> Computed:
    text = as_text(computed)
    return replace(text, value=pl.when(~text.value.is_in(step.blank_if)).then(text.value))


STEP_OPS: dict[type, Callable[[Any, Computed, Bench], Computed]] = {
    ReplaceStep: _replace,
    PadStep: _pad,
    SliceStep: _slice,
    SplitStep: _split,
    SplitAllStep: _split_all,
    MapStep: _map,
    NumberStep: _number_step,
    DateTimeStep: _datetime_step,
    BooleanStep: _boolean_step,
    DefaultStep: _default,
    RoundStep: _round,
    DivideStep: _divide,
    MultiplyStep: _multiply,
    BlankStep: _blank_if,
}
"""How each kind of step is compiled; steps without options are in `TEXT_WORDS` and `NUMBER_WORDS`."""
