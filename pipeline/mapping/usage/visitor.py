"""Visits every value and formula of a mapping, with its location in the file and the names it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from pipeline.mapping.functions.formulas import sql_columns, template_columns
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.source_map import Location
from pipeline.mapping.language.spec import STATES, Condition, MappingSpec
from pipeline.mapping.language.value_spec import (
    VALUES,
    CaseValue,
    ColumnValue,
    CountValue,
    DateTime,
    DateTimeStep,
    DistinctValue,
    DivideStep,
    FirstOfValue,
    FirstValue,
    LastValue,
    ListValue,
    LookupValue,
    MaxValue,
    MinValue,
    MultiplyStep,
    ObjectValue,
    SqlValue,
    SumValue,
    TemplateValue,
    Value,
)


class Scope(StrEnum):
    """Whose columns a value may use."""

    TRANSACTION = "transaction"
    LINE = "line"
    PAYMENT = "payment"
    ROW = "row"  # a row of any table, before it belongs to a transaction
    MAPPED = "mapped"  # the transaction's fields after mapping, which `rules` use


@dataclass(frozen=True)
class LocatedValue:
    """A value and where it is written.

    Attributes:
        location: Keys and list positions from the top of the file.
        value: The value.
        scope: Whose columns it may use.
    """

    location: Location
    value: Value
    scope: Scope

    def inner(self, step: Location, value: Value, scope: Scope | None = None) -> LocatedValue:
        """A value inside this one."""
        return replace(self, location=self.location + step, value=value, scope=scope or self.scope)


@dataclass(frozen=True)
class LocatedFormula:
    """A formula in SQL and where it is written."""

    location: Location
    sql: str
    scope: Scope


@dataclass(frozen=True)
class Mention:
    """The name of a column or definition in a value or formula.

    Attributes:
        location: Where it is written.
        name: The name.
        scope: Whose column it is.
        in_sql: Whether it is named in SQL.
    """

    location: Location
    name: str
    scope: Scope
    in_sql: bool = False


ORIGIN: Final[dict[type, str]] = {kind: name for name, kind in VALUES.items()}
"""The key by which each kind of value is written."""
AGGREGATES: Final = (SumValue, CountValue, DistinctValue, FirstValue, LastValue, MinValue, MaxValue)
"""Values over the transaction's lines."""


# ── Inside of a value ───────────────────────────────────────────────────────────────────────────────


def walk(located: LocatedValue) -> Iterator[LocatedValue]:
    """The value and all values inside it, outer ones first."""
    yield located
    for inner in children(located):
        yield from walk(inner)


def children(located: LocatedValue) -> Iterator[LocatedValue]:
    """The values directly inside a value: those it is made of, then those in its steps."""
    yield from _operands(located)
    for i, step in enumerate(() if isinstance(located.value, str) else located.value.then):
        match step:
            case DivideStep():
                yield located.inner(("then", i, "divide_by"), step.divide_by)
            case MultiplyStep():
                yield located.inner(("then", i, "multiply_by"), step.multiply_by)
            case DateTimeStep(datetime=DateTime(timezone=zone)) if zone is not None:
                yield located.inner(("then", i, "datetime", "timezone"), zone)
            case _:
                pass


def _operands(located: LocatedValue) -> Iterator[LocatedValue]:
    def listed(key: str, values: Iterable[Value]) -> Iterator[LocatedValue]:
        return (located.inner((key, i), value) for i, value in enumerate(values))

    match located.value:
        case FirstOfValue(first_of=values):
            yield from listed("first_of", values)
        case ListValue(list=values):
            yield from listed("list", values)
        case ObjectValue(object=members):
            yield from (located.inner(("object", name), value) for name, value in members.items())
        case LookupValue(key=key):
            yield from listed("key", key) if isinstance(key, tuple) else [located.inner(("key",), key)]
        case CaseValue(case=branches, else_=other):
            for i, branch in enumerate(branches):
                yield located.inner(("case", i, "value"), branch.value)
            if other is not None:
                yield located.inner(("else",), other)
        case SumValue() | DistinctValue() | FirstValue() | LastValue() | MinValue() | MaxValue() as aggregate:
            name = ORIGIN[type(aggregate)]
            yield located.inner((name,), getattr(aggregate, name), Scope.LINE)
        case _:
            pass


def mentions(located: LocatedValue) -> Iterator[Mention]:
    """The names that a value and the values inside it use."""
    for inner in walk(located):
        yield from own_mentions(inner)


def own_mentions(located: LocatedValue) -> Iterator[Mention]:
    """The names that a value itself uses, without those of the values inside it."""
    key = ORIGIN.get(type(located.value))
    location = (*located.location, key) if key else located.location
    for name in plain_names(located.value):
        yield Mention(location, name, located.scope)
    for formula in _formulas_in(located):
        for name in names_in_sql(formula.sql):
            yield Mention(formula.location, name, formula.scope, in_sql=True)


def plain_names(value: Value) -> tuple[str, ...]:
    """The columns that a value names outside of SQL: itself, or in its template."""
    match value:
        case str():
            return (value,)
        case ColumnValue(column=name):
            return (name,)
        case TemplateValue(template=template):
            return _names(template_columns, template)
        case _:
            return ()


def names_in_sql(sql: str) -> tuple[str, ...]:
    """The columns in a formula; none where it cannot be parsed."""
    return _names(sql_columns, sql)


def _names(find: Callable[[str], tuple[str, ...]], text: str) -> tuple[str, ...]:
    try:
        return find(text)
    except FormulaError:
        # The compiler reports it.
        return ()


def _formulas_in(located: LocatedValue) -> Iterator[LocatedFormula]:
    match located.value:
        case SqlValue(sql=sql):
            yield LocatedFormula((*located.location, "sql"), sql, located.scope)
        case CountValue(count=sql):
            yield LocatedFormula((*located.location, "count"), sql, Scope.LINE)
        case CaseValue(case=branches):
            for i, branch in enumerate(branches):
                yield LocatedFormula((*located.location, "case", i, "when"), branch.when, located.scope)
        case _:
            pass


# ── All of a mapping ────────────────────────────────────────────────────────────────────────────────


def payment_scope(spec: MappingSpec) -> Scope:
    """Whose columns the values under `payments` use."""
    return Scope.PAYMENT if spec.source.has_payment_rows else Scope.TRANSACTION


def roots(spec: MappingSpec) -> Iterator[LocatedValue]:
    """The outermost values of all sections except `define`, in the order of the sections."""
    yield from _named("transaction", spec.transaction, Scope.TRANSACTION)
    if spec.completion:
        parts = {"status": spec.completion.status, "paid": spec.completion.paid}
        yield from _named("completion", parts, Scope.TRANSACTION)
    for i, link in enumerate(spec.profile):
        yield LocatedValue(("profile", i, "value"), link.value, Scope.TRANSACTION)
    for i, tender in enumerate(spec.payments):
        for name, value in (("tender", tender.tender), ("amount", tender.amount)):
            if value is not None:
                yield LocatedValue(("payments", i, name), value, payment_scope(spec))
    lines = {"discount_amount": spec.lines.discount_amount, "discount_reason": spec.lines.discount_reason}
    yield from _named("lines", lines, Scope.LINE)
    yield from _named("items", spec.items, Scope.LINE)
    for i, charge in enumerate(spec.charges):
        yield LocatedValue(("charges", i, "amount"), charge.amount, Scope.TRANSACTION)
    if spec.reward:
        yield LocatedValue(("reward", "amount"), spec.reward.amount, Scope.TRANSACTION)


def all_roots(spec: MappingSpec) -> Iterator[LocatedValue]:
    """The outermost values of all sections; definitions come first, as a line sees them."""
    yield from _named("define", spec.define, Scope.LINE)
    yield from roots(spec)


def _named(section: str, values: Mapping[str, Value | None], scope: Scope) -> Iterator[LocatedValue]:
    for name, value in values.items():
        if value is not None:
            yield LocatedValue((section, name), value, scope)


def conditions(spec: MappingSpec) -> Iterator[LocatedFormula]:
    """The conditions in SQL that are not part of a value."""
    for i, sql in enumerate(spec.source.rows.skip):
        yield LocatedFormula(("source", "rows", "skip", i), sql, Scope.ROW)
    for state in STATES:
        words = getattr(spec.completion, state, ())
        if isinstance(words, Condition) and words.sql:
            yield LocatedFormula(("completion", state, "sql"), words.sql, Scope.TRANSACTION)
    for i, sql in enumerate(spec.lines.skip):
        yield LocatedFormula(("lines", "skip", i), sql, Scope.LINE)
    if spec.lines.discount:
        yield LocatedFormula(("lines", "discount"), spec.lines.discount, Scope.LINE)
    if spec.refund:
        yield LocatedFormula(("refund", "when"), spec.refund.when, Scope.TRANSACTION)
    for i, rule in enumerate(spec.rules):
        yield LocatedFormula(("rules", i, "when"), rule.when, Scope.MAPPED)
