"""The mapping language's operations: each is a function from a spec value to a polars expression.

Which function belongs to which kind of value or step is looked up by type, in `VALUE_OPS` and `STEP_OPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import reduce
from typing import Any, Literal

import polars as pl

from pipeline.errors import did_you_mean
from pipeline.mapping import jsontext
from pipeline.mapping.cells import nonblank
from pipeline.mapping.columns import HEADER_PREFIX, Used, columns_of
from pipeline.mapping.datetimes import MOMENT, check_format, moments
from pipeline.mapping.faults import FormulaError
from pipeline.mapping.formulas import sql_columns, sql_expression, template_parts
from pipeline.mapping.lookups import SEPARATOR, Table
from pipeline.mapping.numbers import WORKING, booleans, decimal_text, decimals, integers, rounded
from pipeline.mapping.plan import Aggregate, Check, Plan
from pipeline.mapping.spec import (
    BlankStep,
    Boolean,
    BooleanStep,
    CaseValue,
    ColumnKind,
    ColumnValue,
    ConstantValue,
    CountValue,
    DateTime,
    DateTimeStep,
    DefaultStep,
    DivideStep,
    FirstOfValue,
    FirstValue,
    LastValue,
    LineNumberValue,
    ListValue,
    LookupValue,
    MappingSpec,
    MapStep,
    MaxValue,
    MinValue,
    MultiplyStep,
    Number,
    NumberStep,
    ObjectValue,
    PadStep,
    ReplaceStep,
    RoundStep,
    Scalar,
    SliceStep,
    SplitAllStep,
    SplitStep,
    SqlValue,
    Step,
    SumValue,
    TemplateValue,
    Value,
)
from pipeline.mapping.walk import Scope
from pipeline.mapping.zones import zone_name, zone_names

NOTHING = pl.lit(None, dtype=pl.String)


@dataclass(frozen=True)
class Computed:
    """A value, compiled.

    Attributes:
        value: The expression over its scope's frame; null where it is blank or invalid.
        dtype: Its type.
        raw: The text that the value was read from; there and the value null means invalid. None where
            the value was never a text that could fail.
        moment: The struct of `datetimes.MOMENTS` that a date and time was taken from.
        json: Where the value is JSON text, of what.
    """

    value: pl.Expr
    dtype: pl.DataType
    raw: pl.Expr | None = None
    moment: pl.Expr | None = None
    json: Literal["", "list", "object"] = ""


@dataclass
class Bench:
    """Where values are compiled: the mapping, and what the plan has so far.

    Attributes:
        spec: The mapping.
        plan: Grows with each value.
        tables: The look-up tables.
        used: The columns that the mapping uses.
        scope: Whose cells a bare name means.
        target: The field that is being compiled, for problems.
        items_only: Problems on lines that are no items do not matter.
    """

    spec: MappingSpec
    plan: Plan
    tables: Mapping[str, Table]
    used: Used
    scope: Scope = Scope.TRANSACTION
    target: str = ""
    items_only: bool = False
    _names: dict[tuple[Scope, str], Computed] = field(default_factory=dict)
    _defining: tuple[str, ...] = ()

    def at(self, scope: Scope) -> Bench:
        """The same bench for values over other rows."""
        return self if scope is self.scope else replace(self, scope=scope, items_only=False)

    def compile(self, value: Value) -> Computed:
        """Compile a value and its steps.

        Raises:
            FormulaError: It cannot be computed from the columns there are.
        """
        computed = VALUE_OPS[type(value)](value, self)
        for step in getattr(value, "then", ()):
            computed = apply_step(step, computed, self)
        return computed

    def condition(self, sql: str) -> pl.Expr:
        """Compile a condition; what is neither true nor false is false."""
        computed = _sql(SqlValue(sql=sql), self)
        if computed.dtype != pl.Boolean:
            raise FormulaError(
                f"the formula '{sql}' gives {computed.dtype}; a condition was expected, as in status = 'PAID'"
            )
        return computed.value.fill_null(value=False)

    def column(self, name: str) -> Computed:
        """A column of the source or a definition, as it is seen from this bench's rows."""
        key = (self.scope, name)
        if key not in self._names:
            self._names[key] = self._found(name)
        return self._names[key]

    def keep(self, name: str, computed: Computed) -> Computed:
        """Make a value a column of its frame, so that it is computed once and formulas can name it."""
        plan, scope = self.plan, self.scope
        moment = raw = None
        if computed.moment is not None:
            plan.derive(scope, f"{name}|moment", computed.moment)
            moment = pl.col(f"{name}|moment")
        if computed.raw is not None:
            plan.derive(scope, f"{name}|raw", computed.raw)
            raw = pl.col(f"{name}|raw")
        plan.derive(scope, name, computed.value)
        return replace(computed, value=pl.col(name), raw=raw, moment=moment)

    def check(self, code: str, message: str, where: pl.Expr, value: pl.Expr) -> None:
        """Tell a problem wherever a condition holds."""
        self.plan.checks.append(
            Check(self.scope, code, self.target, message, where, value, items_only=self.items_only)
        )

    def fresh(self, what: str) -> str:
        """A new column's name."""
        return f"__{what}_{next(self.plan.numbers)}"

    def _found(self, name: str) -> Computed:
        if name in self.spec.define:
            return self._defined(name)
        available, scope = self.plan.available, self.scope
        is_headers = name in available[Scope.TRANSACTION]
        if scope is not Scope.TRANSACTION:
            headers_name = name.removeprefix(HEADER_PREFIX)
            if name != headers_name and headers_name in available[Scope.TRANSACTION]:
                return self._from_transaction(headers_name, name)
            # Only the first row has the header's cells.
            if self.spec.source.layout == "first_row" and is_headers and name in self.used.transaction:
                return self._from_transaction(name, name)
        if name in available[scope]:
            return self._cell(name)
        if is_headers and scope is not Scope.TRANSACTION:
            return self._from_transaction(name, name)
        known = sorted({*available[scope], *available[Scope.TRANSACTION], *self.spec.define})
        near = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise FormulaError(f"there is no column '{name}'{near}")

    def _cell(self, name: str) -> Computed:
        self.plan.load(self.scope, name)
        cell = Computed(pl.col(name), pl.String())
        kind = self.spec.columns.get(name)
        if kind is None:
            return cell
        typed = _typed(kind, cell, self)
        return self.keep(name, replace(typed, raw=cell.value))

    def _defined(self, name: str) -> Computed:
        if name in self._defining:
            raise FormulaError(f"the definition '{name}' uses itself")
        value = self.spec.define[name]
        inside = replace(self, _defining=(*self._defining, name))
        if self.scope is not Scope.TRANSACTION:
            columns = columns_of(self.spec, value, self.scope)
            one_row_each = self.spec.source.layout in ("lines", "first_row")
            # What depends only on cells that are alike on all lines is computed once a transaction.
            if one_row_each and columns is not None and columns <= self.used.transaction:
                return self._from_transaction(name, name)
        return self.keep(name, inside.compile(value))

    def _from_transaction(self, name: str, as_name: str) -> Computed:
        computed = self.at(Scope.TRANSACTION).column(name)
        return self.spread(name, as_name, computed)

    def spread(self, name: str, as_name: str, computed: Computed) -> Computed:
        """Put a column of the transactions, with all that belongs to it, on the rows of this bench."""
        parts: dict[str, pl.Expr | None] = {
            "|raw": computed.raw,
            "|moment": computed.moment,
            "": computed.value,
        }
        there = {}
        for suffix, part in parts.items():
            if part is not None:
                self.plan.broadcast(self.scope, name + suffix, as_name + suffix)
                there[suffix] = pl.col(as_name + suffix)
        return replace(computed, value=there[""], raw=there.get("|raw"), moment=there.get("|moment"))


# ── Types ───────────────────────────────────────────────────────────────────────────────────────────


def as_text(computed: Computed) -> Computed:
    """The value as people write it."""
    if computed.dtype == pl.String:
        return computed
    if isinstance(computed.dtype, pl.Decimal):
        text = decimal_text(computed.value)
    elif computed.dtype.is_temporal():
        text = computed.value.dt.strftime(jsontext.DATETIME_FORMAT)
    else:
        text = computed.value.cast(pl.String)
    return Computed(text, pl.String(), computed.raw)


def as_number(computed: Computed, bench: Bench) -> Computed:
    """The value as a decimal."""
    if isinstance(computed.dtype, pl.Decimal):
        return computed
    if computed.dtype.is_integer():
        return Computed(computed.value.cast(WORKING), WORKING, computed.raw)
    return _number(computed, bench.spec.source.number)


def as_json(computed: Computed) -> pl.Expr:
    """The value as JSON text."""
    return computed.value if computed.json else jsontext.scalar(computed.value, computed.dtype)


def invalid(computed: Computed) -> pl.Expr | None:
    """The text that could not be read, where that is so; None where it cannot be."""
    if computed.raw is None:
        return None
    return pl.when(computed.value.is_null()).then(computed.raw)


def alike(values: Sequence[Computed], bench: Bench) -> list[Computed]:
    """Bring values to one type: as they are, as numbers, or else as texts."""
    if any(value.json for value in values):
        if len({value.json for value in values}) > 1:
            raise FormulaError("lists, objects and plain values cannot stand in for each other")
        return list(values)
    if len({value.dtype for value in values}) == 1:
        return list(values)
    if all(value.dtype.is_numeric() for value in values):
        return [
            replace(n, value=n.value.cast(WORKING), dtype=WORKING)
            for n in (as_number(v, bench) for v in values)
        ]
    return [as_text(value) for value in values]


def _number(computed: Computed, number: Number) -> Computed:
    if computed.dtype != pl.String:
        raise FormulaError(f"a text was expected to read a number from, and this is {computed.dtype} already")
    dtype = pl.Decimal(38, 12)
    return Computed(decimals(computed.value, number), dtype, _first_text(computed.raw, computed.value))


def _boolean(computed: Computed, words: Boolean) -> Computed:
    text = as_text(computed)
    return Computed(booleans(text.value, words), pl.Boolean(), _first_text(computed.raw, text.value))


def _integer(computed: Computed) -> Computed:
    return Computed(integers(computed.value), pl.Int64(), computed.value)


def _working(cell: Computed, number: Number) -> Computed:
    if number == Number():
        return Computed(cell.value.cast(WORKING, strict=False), WORKING, cell.value)
    read = _number(cell, number)
    return replace(read, value=rounded(read.value, 6).cast(WORKING), dtype=WORKING)


def _typed(kind: ColumnKind, cell: Computed, bench: Bench) -> Computed:
    """A cell as what `columns` says it is."""
    match kind:
        case "integer":
            return _integer(cell)
        case "decimal":
            return _working(cell, bench.spec.source.number)
        case "boolean":
            return _boolean(cell, Boolean())
        case NumberStep():
            return _working(cell, kind.number)
        case BooleanStep():
            return _boolean(cell, kind.boolean)
        case DateTimeStep():
            return _moment(cell, kind.datetime, bench)


def _first_text(raw: pl.Expr | None, text: pl.Expr) -> pl.Expr:
    return text if raw is None else pl.coalesce(raw, text)


# ── Values ──────────────────────────────────────────────────────────────────────────────────────────


def _bare(name: str, bench: Bench) -> Computed:
    return bench.column(name)


def _column(value: ColumnValue, bench: Bench) -> Computed:
    return bench.column(value.column)


def _constant(value: ConstantValue, _bench: Bench) -> Computed:
    return literal(value.constant)


def literal(value: Scalar) -> Computed:
    """A constant of the mapping."""
    dtype: pl.DataType
    match value:
        case bool():
            dtype = pl.Boolean()
        case int():
            dtype = pl.Int64()
        case Decimal():
            dtype = WORKING
        case _:
            dtype, value = pl.String(), value.strip()
    return Computed(pl.lit(value, dtype=dtype), dtype)


def _template(value: TemplateValue, bench: Bench) -> Computed:
    parts: list[pl.Expr] = []
    raws: list[pl.Expr] = []
    for text, is_column in template_parts(value.template):
        if not is_column:
            parts.append(pl.lit(text))
            continue
        part = as_text(bench.column(text))
        parts.append(part.value)
        if (raw := invalid(part)) is not None:
            raws.append(raw)
    return Computed(pl.concat_str(parts), pl.String(), pl.coalesce(raws) if raws else None)


def _sql(value: SqlValue, bench: Bench) -> Computed:
    expression = sql_expression(value.sql)
    columns = [bench.column(name) for name in sql_columns(value.sql)]
    try:
        dtype = bench.plan.type_of(bench.scope, expression)
    except FormulaError as error:
        raise FormulaError(
            f"the formula '{value.sql}' does not work: {error}; "
            "cells are texts unless `columns` says otherwise"
        ) from None
    raws = [raw for column in columns if (raw := invalid(column)) is not None]
    text = pl.coalesce(raws) if raws else None
    if dtype.is_float():
        raise FormulaError(
            f"the formula '{value.sql}' gives a binary floating-point number, which is not exact; "
            "declare its columns as `decimal` under `columns`"
        )
    if dtype == pl.String:
        return Computed(nonblank(expression.str.strip_chars()), dtype, text)
    if dtype.is_integer():
        return Computed(expression.cast(pl.Int64), pl.Int64(), text)
    if dtype.is_temporal():
        return Computed(expression.cast(MOMENT), MOMENT, text)
    return Computed(expression, dtype, text)


def _first_of(value: FirstOfValue, bench: Bench) -> Computed:
    found = alike([bench.compile(choice) for choice in value.first_of], bench)
    # An invalid value is not blank: it must be told, not stepped over.
    given = [
        v.value.is_not_null() if v.raw is None else v.value.is_not_null() | v.raw.is_not_null() for v in found
    ]
    return _chosen(given, found)


def _case(value: CaseValue, bench: Bench) -> Computed:
    branches = [bench.compile(branch.value) for branch in value.case]
    if value.else_ is not None:
        branches.append(bench.compile(value.else_))
    conditions = [bench.condition(branch.when) for branch in value.case]
    otherwise = [pl.lit(value=True)] if value.else_ is not None else []
    return _chosen([*conditions, *otherwise], alike(branches, bench))


def _chosen(conditions: Sequence[pl.Expr], values: Sequence[Computed]) -> Computed:
    """For each row the value of the first condition that holds."""

    def choose(parts: Iterable[pl.Expr]) -> pl.Expr:
        pairs = [*zip(conditions, parts, strict=True)]
        return reduce(
            lambda rest, pair: pl.when(pair[0]).then(pair[1]).otherwise(rest), reversed(pairs), NONE
        )

    raw = moment = None
    if any(value.raw is not None for value in values):
        raw = choose(NOTHING if value.raw is None else value.raw for value in values)
    if all(value.moment is not None for value in values):
        moment = choose(value.moment for value in values if value.moment is not None)
    return replace(values[0], value=choose(value.value for value in values), raw=raw, moment=moment)


NONE = pl.lit(None)


def _lookup(value: LookupValue, bench: Bench) -> Computed:
    table = bench.tables.get(value.lookup)
    if table is None:
        raise FormulaError(
            f"there is no look-up table '{value.lookup}'{did_you_mean(value.lookup, [*bench.tables])}"
        )
    keys = value.key if isinstance(value.key, tuple) else (value.key,)
    parts = [as_text(bench.compile(key)).value for key in keys]
    key = pl.concat_str(parts, separator=SEPARATOR)
    column = table.column(value.value)
    at = bench.fresh("lookup")
    rows = pl.int_range(table.keys.len(), dtype=pl.UInt32, eager=True)
    bench.plan.derive(bench.scope, f"{at}|key", key)
    key = pl.col(f"{at}|key")
    bench.plan.derive(
        bench.scope,
        at,
        key.replace_strict(table.keys, rows, default=None, return_dtype=pl.UInt32)
        if rows.len()
        else pl.lit(None, dtype=pl.UInt32),
    )
    if value.missing == "reject":
        bench.check(
            "lookup_missing",
            f"This key is not in the look-up table '{value.lookup}'.",
            key.is_not_null() & pl.col(at).is_null(),
            key.str.replace_all(SEPARATOR, ", ", literal=True),
        )
    return Computed(pl.lit(column).gather(pl.col(at)), pl.String())


def _aggregated(value: Value, how: Callable[[pl.Expr], pl.Expr], bench: Bench, kind: str) -> Computed:
    """A value over the transaction's lines, brought to one a transaction."""
    lines = bench.at(Scope.LINE)
    inner = lines.compile(value)
    if kind == "sum" and not inner.dtype.is_numeric():
        inner = as_number(inner, lines)
    name = bench.fresh(kind)
    kept = lines.keep(name, replace(inner, raw=invalid(inner)))
    raw = None if kept.raw is None else f"{name}|raw"
    source = None if kept.moment is None else f"{name}|moment"
    bench.plan.aggregate(Aggregate(name, name, how, raw, inner.dtype, source))
    moment = None if source is None else pl.col(source)
    result = Computed(pl.col(name), inner.dtype, pl.col(f"{name}|raw"), moment, inner.json)
    return result if bench.scope is Scope.TRANSACTION else bench.spread(name, name + "|all", result)


def _sum(value: SumValue, bench: Bench) -> Computed:
    return _aggregated(value.sum, _sum_of, bench, "sum")


def _sum_of(values: pl.Expr) -> pl.Expr:
    return pl.when(values.count() > 0).then(values.sum())


def _count(value: CountValue, bench: Bench) -> Computed:
    lines, name = bench.at(Scope.LINE), bench.fresh("count")
    lines.plan.derive(Scope.LINE, name, lines.condition(value.count))
    bench.plan.aggregate(Aggregate(name, name, pl.Expr.sum, None, pl.Int64()))
    result = Computed(pl.col(name).fill_null(0), pl.Int64())
    if bench.scope is Scope.TRANSACTION:
        return result
    return bench.spread(name, name + "|all", replace(result, value=pl.col(name)))


def _first(value: FirstValue, bench: Bench) -> Computed:
    return _aggregated(value.first, lambda values: values.first(ignore_nulls=True), bench, "first")


def _last(value: LastValue, bench: Bench) -> Computed:
    return _aggregated(value.last, lambda values: values.last(ignore_nulls=True), bench, "last")


def _min(value: MinValue, bench: Bench) -> Computed:
    return _aggregated(value.min, pl.Expr.min, bench, "min")


def _max(value: MaxValue, bench: Bench) -> Computed:
    return _aggregated(value.max, pl.Expr.max, bench, "max")


def _line_number(value: LineNumberValue, bench: Bench) -> Computed:
    if bench.scope is not Scope.LINE:
        raise FormulaError("`line_number` counts lines; it is for `items` only")
    content: list[str] = []
    if value.line_number == "content":
        content = sorted(bench.used.line & bench.plan.available[Scope.LINE])
        for name in content:
            bench.plan.load(Scope.LINE, name)
    name = bench.fresh("number")
    bench.plan.number_lines(name, content)
    return Computed(pl.col(name), pl.Int64())


def _list(value: ListValue, bench: Bench) -> Computed:
    members = [bench.compile(member) for member in value.list]
    parts = [jsontext.inner(m.value) if m.json == "list" else as_json(m) for m in members]
    return Computed(jsontext.entries(parts), pl.String(), _all_raws(members), json="list")


def _object(value: ObjectValue, bench: Bench) -> Computed:
    members = {name: bench.compile(member) for name, member in value.object.items()}
    text = jsontext.members({name: as_json(member) for name, member in members.items()})
    found = [
        members[name].value.is_not_null()
        for name, member in value.object.items()
        if not isinstance(member, ConstantValue)
    ]
    if found:
        # A reason without its amount says nothing.
        text = pl.when(pl.any_horizontal(found)).then(text)
    return Computed(text, pl.String(), _all_raws(members.values()), json="object")


def _all_raws(members: Iterable[Computed]) -> pl.Expr | None:
    raws = [raw for member in members if (raw := invalid(member)) is not None]
    return pl.coalesce(raws) if raws else None


VALUE_OPS: dict[type, Callable[[Any, Bench], Computed]] = {
    str: _bare,
    ColumnValue: _column,
    ConstantValue: _constant,
    TemplateValue: _template,
    SqlValue: _sql,
    FirstOfValue: _first_of,
    LookupValue: _lookup,
    CaseValue: _case,
    SumValue: _sum,
    CountValue: _count,
    FirstValue: _first,
    LastValue: _last,
    MinValue: _min,
    MaxValue: _max,
    LineNumberValue: _line_number,
    ListValue: _list,
    ObjectValue: _object,
}
"""How each kind of value is compiled."""


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────────


def apply_step(step: Step, computed: Computed, bench: Bench) -> Computed:
    """Compile a step over the value so far."""
    if isinstance(step, str):
        if step in ("negate", "abs"):
            return _arithmetic(as_number(computed, bench), NUMBER_WORDS[step])
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
    results = alike([literal(new) for new in options.values.values()], bench)
    if options.default is not None:
        *results, default = alike([*results, literal(options.default)], bench)
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
        return Computed(found, dtype, _first_text(text.raw, text.value))
    return Computed(found, dtype, text.raw)


def _number_step(step: NumberStep, computed: Computed, _bench: Bench) -> Computed:
    return _number(computed, step.number)


def _datetime_step(step: DateTimeStep, computed: Computed, bench: Bench) -> Computed:
    return _moment(computed, step.datetime, bench)


def _moment(computed: Computed, spec: DateTime, bench: Bench) -> Computed:
    for form in spec.formats:
        check_format(form)
    if computed.dtype != pl.String:
        raise FormulaError(f"a text was expected to read a date from, and this is {computed.dtype} already")
    # Times without an offset are in the transaction's zone, unless the step says otherwise.
    zone_value = spec.timezone if spec.timezone is not None else bench.spec.transaction.get("timezone")
    moment = moments(computed.value, spec, _zone(zone_value, bench))
    name = bench.fresh("moment")
    bench.plan.derive(bench.scope, name, moment)
    moment = pl.col(name)
    raw = _first_text(computed.raw, computed.value)
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
    return _boolean(computed, step.boolean)


def _default(step: DefaultStep, computed: Computed, bench: Bench) -> Computed:
    if computed.json:
        raise FormulaError("a list or object has no default")
    value, default = alike([computed, literal(step.default)], bench)
    filled = pl.coalesce(value.value, default.value)
    if value.raw is not None:
        # What is there but cannot be read is not blank.
        filled = pl.when(value.raw.is_null() | value.value.is_not_null()).then(filled)
    return replace(value, value=filled, moment=None)


def _round(step: RoundStep, computed: Computed, bench: Bench) -> Computed:
    return _arithmetic(as_number(computed, bench), lambda number: rounded(number, step.round))


def _divide(step: DivideStep, computed: Computed, bench: Bench) -> Computed:
    number, by = as_number(computed, bench), as_number(bench.compile(step.divide_by), bench)
    divisor = pl.when(by.value != 0).then(by.value)
    return _combined(number, by, number.value.cast(EXACT) / divisor.cast(EXACT))


def _multiply(step: MultiplyStep, computed: Computed, bench: Bench) -> Computed:
    number, by = as_number(computed, bench), as_number(bench.compile(step.multiply_by), bench)
    return _combined(number, by, number.value.cast(EXACT) * by.value.cast(EXACT))


EXACT = pl.Decimal(38, 12)


def _combined(left: Computed, right: Computed, result: pl.Expr) -> Computed:
    raws = [raw for raw in (invalid(left), invalid(right)) if raw is not None]
    return Computed(result.cast(EXACT), EXACT, pl.coalesce(raws) if raws else None)


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
