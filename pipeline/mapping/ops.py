"""The mapping language's values: each is compiled by a function from its spec to a polars expression.

Which function belongs to which kind of value is looked up by type, in `VALUE_OPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import polars as pl

from pipeline.errors import did_you_mean
from pipeline.mapping import jsontext
from pipeline.mapping.cells import nonblank
from pipeline.mapping.columns import HEADER_PREFIX, Used, columns_of
from pipeline.mapping.computed import (
    Computed,
    alike,
    all_raws,
    as_json,
    as_number,
    as_text,
    as_written,
    chosen,
    invalid,
    literal,
    read_boolean,
    unread,
)
from pipeline.mapping.datetimes import MOMENT
from pipeline.mapping.faults import FormulaError
from pipeline.mapping.formulas import Compiled, compile_formula, in_words, parse_formula, template_parts
from pipeline.mapping.lookups import SEPARATOR, Table
from pipeline.mapping.marks import still_open
from pipeline.mapping.plan import Aggregate, Check, Plan, moment_of, raw_of
from pipeline.mapping.spec import (
    Boolean,
    CaseValue,
    ColumnValue,
    ConstantValue,
    CountValue,
    FirstOfValue,
    FirstValue,
    LastValue,
    LineNumberValue,
    ListValue,
    LookupValue,
    MappingSpec,
    MaxValue,
    MinValue,
    Number,
    ObjectValue,
    OpenValue,
    SqlValue,
    SumValue,
    TemplateValue,
    Value,
)
from pipeline.mapping.steps import apply_step, typed_cell
from pipeline.mapping.walk import Scope

_VOID = "__void"
"""The column of the lines that says which are void."""


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
        of_each_line: See `each_line`.
    """

    spec: MappingSpec
    plan: Plan
    tables: Mapping[str, Table]
    used: Used
    scope: Scope = Scope.TRANSACTION
    target: str = ""
    items_only: bool = False
    of_each_line: bool = False
    _names: dict[tuple[Scope, str], Computed] = field(default_factory=dict)
    _defining: tuple[str, ...] = ()

    @property
    def number(self) -> Number:
        """How numbers are written where a value does not say."""
        return self.spec.source.number

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

    def formula(self, sql: str, *, condition: bool = False) -> Compiled:
        """Compile SQL over the cells of this bench's rows.

        Raises:
            FormulaError: It cannot be used on these columns, or is no condition where one was expected.
        """
        failed: dict[str, pl.Expr] = {}
        for name, at in parse_formula(sql).columns.items():
            try:
                text = invalid(self.column(name))
            except FormulaError as error:
                raise FormulaError(str(error), at) from None
            failed |= {} if text is None else {name: text}
        compiled = compile_formula(sql, partial(self.plan.type_of, self.scope), self._kept, failed)
        if condition and compiled.dtype != pl.Boolean:
            raise FormulaError(
                f"the formula '{sql}' gives {in_words(compiled.dtype)}; "
                "a condition was expected, as in status = 'PAID'"
            )
        return compiled

    def condition(self, sql: str) -> pl.Expr:
        """Compile a condition; what is neither true nor false is false, and told where a cell is to blame."""
        compiled = self.formula(sql, condition=True)
        if compiled.failed is not None:
            message = f"The condition {sql} cannot be decided with this."
            self.check("field_invalid", message, compiled.failed.is_not_null(), compiled.failed)
        return compiled.value.fill_null(value=False)

    def _kept(self, expression: pl.Expr) -> str:
        name = self.fresh("sql")
        self.plan.derive(self.scope, name, expression)
        return name

    def column(self, name: str) -> Computed:
        """A column of the source or a definition, as it is seen from this bench's rows."""
        # A definition over the lines is something else on a bench of each line; a cell is the same.
        apart = self.of_each_line and name in self.spec.define
        key = (self.scope, f"__each|{name}" if apart else name)
        if key not in self._names:
            self._names[key] = self._found(name)
        return self._names[key]

    def keep(self, name: str, computed: Computed) -> Computed:
        """Make a value a column of its frame, so that it is computed once and formulas can name it."""
        plan, scope = self.plan, self.scope
        moment = raw = None
        if computed.moment is not None:
            plan.derive(scope, moment_of(name), computed.moment)
            moment = pl.col(moment_of(name))
        if computed.raw is not None:
            plan.derive(scope, raw_of(name), computed.raw)
            raw = pl.col(raw_of(name))
        plan.derive(scope, name, computed.value)
        return replace(computed, value=pl.col(name), raw=raw, moment=moment)

    def check(self, code: str, message: str, where: pl.Expr, value: pl.Expr) -> None:
        """Tell a problem wherever a condition holds."""
        self.plan.checks.append(
            Check(self.scope, code, self.target, message, where, value, items_only=self.items_only)
        )

    def void_line(self) -> pl.Expr | None:
        """Where a line is void, never null; None where the mapping does not say it, or not rightly."""
        value = self.spec.items.get("is_void")
        if value is None or _VOID in self._defining:  # what says that a line is void may itself be a sum
            return None
        key = (Scope.LINE, _VOID)
        if key not in self._names:
            lines = replace(self.at(Scope.LINE), _defining=(*self._defining, _VOID))
            try:
                void = read_boolean(lines.compile(value), Boolean())
            except FormulaError:  # reported where `items` are compiled
                return None
            lines.plan.derive(Scope.LINE, _VOID, void.value.fill_null(value=False))
            self._names[key] = Computed(pl.col(_VOID), pl.Boolean())
        return self._names[key].value

    def each_line(self) -> Bench:
        """A bench on which a value over the lines is the line's own: what is chosen from, not the choice."""
        return replace(self.at(Scope.LINE), of_each_line=True)

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
        typed = typed_cell(kind, cell, self)
        return self.keep(name, replace(typed, raw=cell.value, is_cell=True))

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
        return self.keep(self.fresh(name) if self.of_each_line else name, inside.compile(value))

    def _from_transaction(self, name: str, as_name: str) -> Computed:
        computed = self.at(Scope.TRANSACTION).column(name)
        return self.spread(name, as_name, computed)

    def spread(self, name: str, as_name: str, computed: Computed) -> Computed:
        """Put a column of the transactions, with all that belongs to it, on the rows of this bench."""

        def brought(part: pl.Expr | None, named: Callable[[str], str]) -> pl.Expr | None:
            if part is None:
                return None
            self.plan.broadcast(self.scope, named(name), named(as_name))
            return pl.col(named(as_name))

        raw, moment = brought(computed.raw, raw_of), brought(computed.moment, moment_of)
        self.plan.broadcast(self.scope, name, as_name)
        return replace(computed, value=pl.col(as_name), raw=raw, moment=moment)


# ── Values ──────────────────────────────────────────────────────────────────────────────────────────


def _bare(name: str, bench: Bench) -> Computed:
    return bench.column(name)


def _column(value: ColumnValue, bench: Bench) -> Computed:
    return bench.column(value.column)


def _constant(value: ConstantValue, _bench: Bench) -> Computed:
    return literal(value.constant)


def _template(value: TemplateValue, bench: Bench) -> Computed:
    parts = [
        as_written(bench.column(part)) if is_column else literal(part, keep_blanks=True)
        for part, is_column in template_parts(value.template)
    ]
    return Computed(pl.concat_str(part.value for part in parts), pl.String(), all_raws(parts))


def _sql(value: SqlValue, bench: Bench) -> Computed:
    compiled = bench.formula(value.sql)
    expression, dtype, text = compiled.value, compiled.dtype, compiled.failed
    if dtype.is_float():
        raise FormulaError(
            f"the formula '{value.sql}' gives a binary floating-point number, which is not exact; "
            "declare its columns as `decimal` under `columns`"
        )
    if dtype == pl.String:
        return Computed(nonblank(expression.str.strip_chars()), dtype, text)
    if dtype.is_integer():
        return Computed(expression.cast(pl.Int64, strict=False), pl.Int64(), text)
    if dtype in (pl.Date, pl.Datetime):
        return Computed(expression.cast(MOMENT), MOMENT, text)
    if dtype == pl.Boolean or dtype.is_decimal() or dtype == pl.Null:
        return Computed(expression, dtype, text)
    raise FormulaError(
        f"the formula '{value.sql}' gives {in_words(dtype)}; a text, number, date or boolean was expected"
    )


def _first_of(value: FirstOfValue, bench: Bench) -> Computed:
    found = alike([bench.compile(choice) for choice in value.first_of], bench.number)
    # An invalid value is not blank: it must be told, not stepped over.
    given = [
        v.value.is_not_null() if v.raw is None else v.value.is_not_null() | v.raw.is_not_null() for v in found
    ]
    return chosen(given, found)


def _case(value: CaseValue, bench: Bench) -> Computed:
    branches = [bench.compile(branch.value) for branch in value.case]
    if value.else_ is not None:
        branches.append(bench.compile(value.else_))
    found = alike(branches, bench.number)
    conditions: list[pl.Expr] = []
    values: list[Computed] = []
    for branch, result in zip(value.case, found, strict=False):
        compiled = bench.formula(branch.when, condition=True)
        if compiled.failed is not None:
            # Which branch it is cannot be known, so it is none.
            conditions.append(compiled.failed.is_not_null())
            values.append(unread(result, compiled.failed))
        conditions.append(compiled.value.fill_null(value=False))
        values.append(result)
    if value.else_ is not None:
        conditions.append(pl.lit(value=True))
        values.append(found[-1])
    return chosen(conditions, values)


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
    if bench.of_each_line and kind != "sum":
        return inner
    if kind == "sum":
        inner = inner if inner.dtype.is_numeric() else as_number(inner, lines.number)
        inner = _not_void(inner, lines)
    name = bench.fresh(kind)
    kept = lines.keep(name, replace(inner, raw=invalid(inner)))
    raw = None if kept.raw is None else raw_of(name)
    source = None if kept.moment is None else moment_of(name)
    bench.plan.aggregate(Aggregate(name, name, how, raw, inner.dtype, source, adds=kind == "sum"))
    moment = None if source is None else pl.col(source)
    result = Computed(pl.col(name), inner.dtype, pl.col(raw_of(name)), moment, inner.json)
    return result if bench.scope is Scope.TRANSACTION else bench.spread(name, name + "|all", result)


CHOOSING: Final = (FirstValue, LastValue, MinValue, MaxValue)
"""Values that are one of those of the transaction's lines."""


def _not_void(amount: Computed, lines: Bench) -> Computed:
    """The amount of a line; 0 where the line is void, whatever is written there."""
    void = lines.void_line()
    if void is None:
        return amount
    raw = None if amount.raw is None else pl.when(~void).then(amount.raw)
    value = pl.when(void).then(pl.lit(0).cast(amount.dtype)).otherwise(amount.value)
    return replace(amount, value=value, raw=raw)


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
    return Computed(jsontext.entries(parts), pl.String(), all_raws(members), json="list")


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
    return Computed(text, pl.String(), all_raws(members.values()), json="object")


def _open(value: OpenValue, bench: Bench) -> Computed:
    raise FormulaError(still_open(bench.target, value.open))


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
    OpenValue: _open,
}
"""How each kind of value is compiled."""
