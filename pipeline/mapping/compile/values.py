"""One function for each kind of value: it compiles the value to a typed expression.

`VALUE_COMPILERS` says which function belongs to which kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline.mapping.compile.column_plan import Aggregate, parsed_time_of, raw_of
from pipeline.mapping.compile.typed_expression import (
    UNKNOWN,
    TypedExpression,
    alike,
    as_json,
    as_number,
    as_text,
    as_written,
    choose,
    expected_of_any,
    expected_of_each,
    first_invalid,
    invalid_like,
    literal,
)
from pipeline.mapping.functions import json_text
from pipeline.mapping.functions.cell_cleaning import nonblank
from pipeline.mapping.functions.datetimes import DATETIME
from pipeline.mapping.functions.formulas import in_words, template_parts
from pipeline.mapping.functions.lookup_tables import SEPARATOR
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.value_spec import (
    CaseValue,
    ColumnValue,
    ConstantValue,
    CountValue,
    DistinctValue,
    FirstOfValue,
    FirstValue,
    LastValue,
    LineNumberValue,
    ListValue,
    LookupValue,
    MaxValue,
    MinValue,
    ObjectValue,
    SplitAllStep,
    SqlValue,
    SumValue,
    TemplateValue,
)
from pipeline.mapping.usage.visitor import ORIGIN, Scope

if TYPE_CHECKING:
    from pipeline.mapping.compile.context import CompileContext


def _column(value: str | ColumnValue, context: CompileContext) -> TypedExpression:
    return context.column(value if isinstance(value, str) else value.column)


def _constant(value: ConstantValue, _context: CompileContext) -> TypedExpression:
    return literal(value.constant)


def _template(value: TemplateValue, context: CompileContext) -> TypedExpression:
    parts = [
        as_written(context.column(part)) if is_column else literal(part, keep_blanks=True)
        for part, is_column in template_parts(value.template)
    ]
    text = pl.concat_str(part.value for part in parts)
    return TypedExpression(text, pl.String(), first_invalid(parts), expected=expected_of_any(parts))


def _sql(value: SqlValue, context: CompileContext) -> TypedExpression:
    formula = context.formula(value.sql, "sql")
    expression, dtype, failed = formula.value, formula.dtype, formula.failed
    if dtype.is_float():
        raise FormulaError(
            f"the formula '{value.sql}' gives a binary floating-point number, which is not exact; "
            "declare its columns as `decimal` under `columns`"
        )
    if dtype == pl.String:
        return TypedExpression(nonblank(expression.str.strip_chars()), dtype, failed)
    if dtype.is_integer():
        return TypedExpression(expression.cast(pl.Int64, strict=False), pl.Int64(), failed)
    if dtype in (pl.Date, pl.Datetime):
        return TypedExpression(expression.cast(DATETIME), DATETIME, failed)
    if dtype == pl.Boolean or dtype.is_decimal() or dtype == pl.Null:
        return TypedExpression(expression, dtype, failed)
    raise FormulaError(
        f"the formula '{value.sql}' gives {in_words(dtype)}; a text, number, date or boolean was expected"
    )


def _first_of(value: FirstOfValue, context: CompileContext) -> TypedExpression:
    compiled = [context.compile(choice, "first_of", i) for i, choice in enumerate(value.first_of)]
    choices = alike(compiled, context.number)
    # An invalid value is not blank: it is reported, and the next one is not taken.
    given = [
        each.value.is_not_null() if each.raw is None else each.value.is_not_null() | each.raw.is_not_null()
        for each in choices
    ]
    return choose(given, choices)


def _case(value: CaseValue, context: CompileContext) -> TypedExpression:
    branches = [context.compile(branch.value, "case", i, "value") for i, branch in enumerate(value.case)]
    if value.else_ is not None:
        branches.append(context.compile(value.else_, "else"))
    results = alike(branches, context.number)
    conditions: list[pl.Expr] = []
    values: list[TypedExpression] = []
    for i, (branch, result) in enumerate(zip(value.case, results, strict=False)):
        formula = context.decide(branch.when, "case", i, "when")
        if formula.failed is not None:
            # It is not known whether this branch is the right one, so the value is invalid.
            conditions.append(formula.failed.is_not_null())
            values.append(invalid_like(result, formula.failed))
        conditions.append(formula.value.fill_null(value=False))
        values.append(result)
    if value.else_ is not None:
        conditions.append(pl.lit(value=True))
        values.append(results[-1])
    return choose(conditions, values)


def _lookup(value: LookupValue, context: CompileContext) -> TypedExpression:
    table = context.tables.get(value.lookup)
    # A table that cannot be read is reported by `lookup_tables.load_tables`.
    if table is None:
        context.issues.met += 1
        return UNKNOWN
    if isinstance(value.key, tuple):
        keys = [context.compile(part, "key", i) for i, part in enumerate(value.key)]
    else:
        keys = [context.compile(value.key, "key")]
    column = table.column(value.value)
    name = context.fresh("lookup")
    key = pl.concat_str((as_text(each).value for each in keys), separator=SEPARATOR)
    context.plan.derive(context.scope, f"{name}|key", key)
    context.plan.lookups.append((value.lookup, context.scope, f"{name}|key"))
    key = pl.col(f"{name}|key")
    rows = pl.int_range(table.keys.len(), dtype=pl.UInt32, eager=True)
    row = key.replace_strict(table.keys, rows, default=None, return_dtype=pl.UInt32)
    # polars cannot replace by an empty table.
    context.plan.derive(context.scope, name, row if rows.len() else pl.lit(None, dtype=pl.UInt32))
    if value.missing == "reject":
        context.check(
            "lookup_missing",
            f"This key is not in the look-up table '{value.lookup}'.",
            key.is_not_null() & pl.col(name).is_null(),
            key.str.replace_all(SEPARATOR, ", "),
        )
    return TypedExpression(pl.lit(column).gather(pl.col(name)), pl.String())


# ── Over the lines of a transaction ─────────────────────────────────────────────────────────────────


CHOOSING: Final = (FirstValue, LastValue, MinValue, MaxValue)
"""Values that are one of the lines' values."""


def _sum(value: SumValue, context: CompileContext) -> TypedExpression:
    lines = context.at(Scope.LINE)
    number = lines.compile(value.sum, "sum")
    if not number.dtype.is_numeric():
        number = as_number(number, lines.number)
    uncounted = [each for each in (lines.void_line(), lines.left_out(value.lines)) if each is not None]
    if uncounted:
        # A line that does not count is 0, even where its amount is invalid.
        none = pl.any_horizontal(uncounted)
        amount = pl.when(none).then(pl.lit(0).cast(number.dtype)).otherwise(number.value)
        raw = None if number.raw is None else pl.when(~none).then(number.raw)
        number = replace(number, value=amount, raw=raw)
    # A sum of nothing would be 0; without any amount it is blank.
    return _aggregated(number, lambda values: pl.when(values.count() > 0).then(values.sum()), context, "sum")


def _chosen(
    value: FirstValue | LastValue | MinValue | MaxValue,
    context: CompileContext,
    *,
    how: Callable[[pl.Expr], pl.Expr],
) -> TypedExpression:
    kind = ORIGIN[type(value)]
    line = context.at(Scope.LINE).compile(getattr(value, kind), kind)
    return line if context.of_each_line else _aggregated(line, how, context, kind)


def _aggregated(
    line: TypedExpression, how: Callable[[pl.Expr], pl.Expr], context: CompileContext, kind: str
) -> TypedExpression:
    """A value of the lines, brought to one per transaction."""
    name = context.fresh(kind)
    kept = context.at(Scope.LINE).keep(name, replace(line, raw=line.invalid))
    raw = None if kept.raw is None else raw_of(name)
    parsed_time = None if kept.parsed_time is None else parsed_time_of(name)
    context.plan.aggregate(
        Aggregate(
            name, name, how, line.dtype, invalid=raw, parsed_time=parsed_time, can_overflow=kind == "sum"
        )
    )
    result = TypedExpression(
        pl.col(name),
        line.dtype,
        pl.col(raw_of(name)),
        None if parsed_time is None else pl.col(parsed_time),
        json=line.json,
    )
    return result if context.scope is Scope.TRANSACTION else context.broadcast(name, f"{name}|all", result)


def _count(value: CountValue, context: CompileContext) -> TypedExpression:
    lines, name = context.at(Scope.LINE), context.fresh("count")
    counted, left_out = lines.condition(value.count, "count"), lines.left_out(value.lines)
    lines.plan.derive(Scope.LINE, name, counted if left_out is None else counted & ~left_out)
    context.plan.aggregate(Aggregate(name, name, pl.Expr.sum, pl.Int64()))
    if context.scope is Scope.TRANSACTION:
        return TypedExpression(pl.col(name).fill_null(0), pl.Int64())
    return context.broadcast(name, f"{name}|all", TypedExpression(pl.col(name), pl.Int64()))


def _distinct(value: DistinctValue, context: CompileContext) -> TypedExpression:
    lines = context.at(Scope.LINE)
    line = lines.compile(value.distinct, "distinct")
    steps = () if isinstance(value.distinct, str) else value.distinct.then
    of_texts = any(isinstance(step, SplitAllStep) for step in steps)
    if line.json and not of_texts:
        raise FormulaError(f"a text, number or date of each line was expected here, not a {line.json} of it")
    member = json_text.inner(line.value) if of_texts else json_text.scalar(as_text(line).value, pl.String())
    left_out = lines.left_out(value.lines)
    if left_out is not None:
        member = pl.when(~left_out).then(member)
    found = _aggregated(
        TypedExpression(member, pl.String()),
        lambda members: members.drop_nulls().unique(maintain_order=True).str.join(","),
        context,
        "distinct",
    )
    listed = json_text.entries([found.value])
    if of_texts:  # Different lists may have the same members.
        texts = listed.str.json_decode(pl.List(pl.String)).list.unique(maintain_order=True)
        listed = json_text.texts(texts)
    return replace(found, value=listed, json="list")


def _line_number(value: LineNumberValue, context: CompileContext) -> TypedExpression:
    content: list[str] = []
    if value.line_number == "content":
        content = sorted(context.used.line & context.plan.available[Scope.LINE])
        for column in content:
            context.plan.load(Scope.LINE, column)
    name = context.fresh("number")
    context.plan.number_lines(name, content)
    return TypedExpression(pl.col(name), pl.Int64())


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────


def _list(value: ListValue, context: CompileContext) -> TypedExpression:
    members = [context.compile(member, "list", i) for i, member in enumerate(value.list)]
    entries = [
        json_text.inner(member.value) if member.json == "list" else as_json(member) for member in members
    ]
    return TypedExpression(
        json_text.entries(entries),
        pl.String(),
        first_invalid(members),
        json="list",
        expected=expected_of_any(members),
    )


def _object(value: ObjectValue, context: CompileContext) -> TypedExpression:
    members = {name: context.compile(member, "object", name) for name, member in value.object.items()}
    text = json_text.members({name: as_json(member) for name, member in members.items()})
    found = [
        members[name].value.is_not_null()
        for name, member in value.object.items()
        if not isinstance(member, ConstantValue)
    ]
    if found:
        # Constants alone say nothing, such as the reason of a discount without its amount.
        text = pl.when(pl.any_horizontal(found)).then(text)
    return TypedExpression(
        text,
        pl.String(),
        first_invalid(members.values()),
        json="object",
        expected=expected_of_each(members),
    )


VALUE_COMPILERS: Final[dict[type, Callable[[Any, CompileContext], TypedExpression]]] = {
    str: _column,
    ColumnValue: _column,
    ConstantValue: _constant,
    TemplateValue: _template,
    SqlValue: _sql,
    FirstOfValue: _first_of,
    LookupValue: _lookup,
    CaseValue: _case,
    SumValue: _sum,
    CountValue: _count,
    DistinctValue: _distinct,
    FirstValue: partial(_chosen, how=lambda values: values.first(ignore_nulls=True)),
    LastValue: partial(_chosen, how=lambda values: values.last(ignore_nulls=True)),
    MinValue: partial(_chosen, how=pl.Expr.min),
    MaxValue: partial(_chosen, how=pl.Expr.max),
    LineNumberValue: _line_number,
    ListValue: _list,
    ObjectValue: _object,
}
