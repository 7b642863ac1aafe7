"""The mapping language's values: each is compiled by a function from its spec to a polars expression.

Which function belongs to which kind of value is looked up by type, in `VALUE_OPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import polars as pl

from pipeline.core.errors import did_you_mean
from pipeline.core.header_names import usable_name
from pipeline.mapping.compile.column_plan import Aggregate, Check, Plan, moment_of, raw_of
from pipeline.mapping.compile.steps import apply_step, typed_cell
from pipeline.mapping.compile.typed_expression import (
    Computed,
    alike,
    all_raws,
    as_json,
    as_number,
    as_text,
    as_written,
    chosen,
    expectation,
    expectations,
    invalid,
    literal,
    read_boolean,
    unread,
)
from pipeline.mapping.compile.value_rules import value_problems
from pipeline.mapping.functions import json_text as jsontext
from pipeline.mapping.functions.cell_cleaning import nonblank
from pipeline.mapping.functions.datetimes import MOMENT
from pipeline.mapping.functions.formulas import (
    Compiled,
    compile_formula,
    in_words,
    parse_formula,
    template_parts,
)
from pipeline.mapping.functions.lookup_tables import SEPARATOR, Table
from pipeline.mapping.language.mapping_errors import Faults, FormulaError
from pipeline.mapping.language.source_map import Found, Place
from pipeline.mapping.language.spec import (
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
    SqlValue,
    SumValue,
    TemplateValue,
    Value,
)
from pipeline.mapping.usage import visitor as walk
from pipeline.mapping.usage.used_columns import HEADER_PREFIX, Used, columns_of
from pipeline.mapping.usage.visitor import Scope, Site

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
        faults: What is wrong with the mapping so far.
        place: The part of the mapping that is being compiled.
        site: The value that is being compiled; None between values.
    """

    spec: MappingSpec
    plan: Plan
    tables: Mapping[str, Table]
    used: Used
    scope: Scope = Scope.TRANSACTION
    target: str = ""
    items_only: bool = False
    of_each_line: bool = False
    faults: Faults = field(default_factory=Faults)
    place: Place = ()
    site: Site | None = None
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
        """Compile a value and its steps; what is wrong with it is noted, and a blank stands in for it."""
        site = replace(self._site_of(value), scope=self.scope)
        inside, met = replace(self, site=site), self.faults.met
        self.faults.add(*value_problems(self.spec, site))
        if self.faults.met > met:
            for inner in walk.within(site):
                replace(inside.at(inner.scope), site=site).compile(inner.value)
            return UNKNOWN
        try:
            return inside._computed(value)
        except FormulaError as error:
            if self.faults.met == met:  # else it only follows from what is wrong within
                inside.note(error)
            return UNKNOWN

    def _computed(self, value: Value) -> Computed:
        computed = VALUE_OPS[type(value)](value, self)
        for i, step in enumerate(getattr(value, "then", ())):
            try:
                computed = apply_step(step, computed, self)
            except FormulaError as error:
                error.inside = ("then", i, *error.inside)
                raise
        return computed

    def note(self, error: FormulaError) -> None:
        """Note what is wrong with the value, or the part, that is being compiled."""
        place = (*(self.site.place if self.site else self.place), *error.inside)
        if error.text:
            around = walk.formulas_in(self.site) if self.site else walk.conditions(self.spec)
            at = (f.place for f in around if f.sql == error.text and f.place[: len(place)] == place)
            place = next(at, place)
        self.faults.add(Found(place, str(error), text=error.text, at=error.at))

    def _site_of(self, value: Value) -> Site:
        """Where a value is written: within the one that is being compiled, or in this part of the mapping."""
        if self.site is not None:
            around = walk.deep(self.site)
        else:
            roots = (
                root for root in walk.all_roots(self.spec) if root.place[: len(self.place)] == self.place
            )
            around = (site for root in roots for site in walk.deep(root))
        here = self.site.place if self.site else self.place
        return next((site for site in around if site.value is value), Site(here, value, self.scope))

    def formula(self, sql: str, *, condition: bool = False) -> Compiled:
        """Compile SQL over the cells of this bench's rows.

        Raises:
            FormulaError: It cannot be used on these columns, or is no condition where one was expected.
        """
        failed: dict[str, pl.Expr] = {}
        met = self.faults.met
        for name, at in parse_formula(sql).columns.items():
            try:
                text = invalid(self.column(name))
            except FormulaError as error:
                located = FormulaError(str(error), at)
                located.text = sql
                raise located from None
            failed |= {} if text is None else {name: text}
        if self.faults.met > met:
            raise FormulaError(f"the formula '{sql}' uses what is at fault")
        compiled = compile_formula(sql, partial(self.plan.type_of, self.scope), self._kept, failed)
        if condition and compiled.dtype != pl.Boolean:
            wrong = FormulaError(
                f"a condition was expected, as in status = 'PAID'; this gives {in_words(compiled.dtype)}"
            )
            wrong.text = sql
            raise wrong
        return compiled

    def condition(self, sql: str) -> pl.Expr:
        """Compile a condition; what is neither true nor false is false, and told where a cell is to blame."""
        compiled = self.decided(sql)
        if compiled.failed is not None:
            message = f"The condition {sql} cannot be decided with this."
            self.check("field_invalid", message, compiled.failed.is_not_null(), compiled.failed)
        return compiled.value.fill_null(value=False)

    def decided(self, sql: str) -> Compiled:
        """Compile a condition; what is wrong with it is noted."""
        met = self.faults.met
        try:
            return self.formula(sql, condition=True)
        except FormulaError as error:
            if self.faults.met == met:
                self.note(error)
            return Compiled(pl.lit(value=False), pl.Boolean(), None)

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
            if name != usable_name(name):  # which is reported with the names
                self.faults.broken.add(name)
            self._names[key] = UNKNOWN if name in self.faults.broken else self._found(name)
        self.faults.meet(name)
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
            lines = replace(
                self.at(Scope.LINE), _defining=(*self._defining, _VOID), site=None, place=("items", "is_void")
            )
            void = read_boolean(lines.compile(value), Boolean())
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
        if kind is None or name in self.faults.broken:
            return cell
        here = replace(self, site=None, place=("columns", name))
        met = self.faults.met
        try:
            typed = typed_cell(kind, cell, here)
        except FormulaError as error:
            here.note(error)
        if self.faults.met > met:
            self.faults.broken.add(name)
            return cell
        return self.keep(name, replace(typed, raw=cell.value, is_cell=True))

    def _defined(self, name: str) -> Computed:
        if name in self._defining:  # which the rules of `define` report
            self.faults.met += 1
            return UNKNOWN
        value = self.spec.define[name]
        inside = replace(
            self, _defining=(*self._defining, name), site=None, place=("define", name), target=name
        )
        if self.scope is not Scope.TRANSACTION:
            columns = columns_of(self.spec, value, self.scope)
            one_row_each = self.spec.source.layout in ("lines", "first_row")
            # What depends only on cells that are alike on all lines is computed once a transaction.
            if one_row_each and columns is not None and columns <= self.used.transaction:
                return self._from_transaction(name, name)
        met = self.faults.met
        computed = inside.compile(value)
        if self.faults.met > met:
            self.faults.broken.add(name)
        return self.keep(self.fresh(name) if self.of_each_line else name, computed)

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


UNKNOWN: Final = Computed(pl.lit(None, dtype=pl.String), pl.String())
"""What stands in for a value that is at fault."""


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
    return Computed(
        pl.concat_str(part.value for part in parts), pl.String(), all_raws(parts), expected=_of_any(parts)
    )


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
        compiled = bench.decided(branch.when)
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
    if table is None:  # which is reported where the table is described
        bench.faults.met += 1
        return UNKNOWN
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
    raw, expected = all_raws(members), _of_any(members)
    return Computed(jsontext.entries(parts), pl.String(), raw, json="list", expected=expected)


def _of_any(members: list[Computed]) -> str:
    """What the members that can fail had to be, each thing once."""
    return " or ".join(dict.fromkeys(expectation(each) for each in members if each.raw is not None))


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
    raw, expected = all_raws(members.values()), expectations(members)
    return Computed(text, pl.String(), raw, json="object", expected=expected)


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
