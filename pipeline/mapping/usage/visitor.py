"""Every value and formula of a mapping, with its place in the file and the columns it mentions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.mapping.functions.formulas import sql_columns, template_columns
from pipeline.mapping.language import spec as s
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.source_map import Place
from pipeline.mapping.language.spec import MappingSpec, Value


class Scope(StrEnum):
    """Whose columns a value may mention."""

    TRANSACTION = "transaction"
    LINE = "line"
    PAYMENT = "payment"
    MAPPED = "mapped"  # the transaction's fields after mapping: what `rules` see


@dataclass(frozen=True)
class Site:
    """A value at a place in the file.

    Attributes:
        place: Keys and list positions from the top.
        value: What is written there.
        scope: Whose columns it may mention.
    """

    place: Place
    value: Value
    scope: Scope

    def inner(self, step: Place, value: Value, scope: Scope | None = None) -> Site:
        """A value within this one."""
        return replace(self, place=self.place + step, value=value, scope=scope or self.scope)


@dataclass(frozen=True)
class Formula:
    """SQL at a place in the file."""

    place: Place
    sql: str
    scope: Scope
    condition: bool


ORIGIN: dict[type, str] = {kind: name for name, kind in s.VALUES.items()}
"""The key by which each kind of value is written."""


# ── Values within values ─────────────────────────────────────────────────────────────────────────────


def deep(site: Site) -> Iterator[Site]:
    """The value and all values within it, outer ones first."""
    yield site
    for inner in within(site):
        yield from deep(inner)


def within(site: Site) -> Iterator[Site]:
    """The values directly within a value."""
    value = site.value
    if isinstance(value, str):
        return
    yield from _operands(site)
    for i, step in enumerate(value.then):
        match step:
            case s.DivideStep():
                yield site.inner(("then", i, "divide_by"), step.divide_by)
            case s.MultiplyStep():
                yield site.inner(("then", i, "multiply_by"), step.multiply_by)
            case s.DateTimeStep(datetime=s.DateTime(timezone=zone)) if zone is not None:
                yield site.inner(("then", i, "datetime", "timezone"), zone)
            case _:
                pass


def _operands(site: Site) -> Iterator[Site]:
    match site.value:
        case s.FirstOfValue(first_of=values):
            yield from _list(site, "first_of", values)
        case s.ListValue(list=values):
            yield from _list(site, "list", values)
        case s.ObjectValue(object=members):
            yield from (site.inner(("object", name), value) for name, value in members.items())
        case s.LookupValue(key=tuple() as values):
            yield from _list(site, "key", values)
        case s.LookupValue(key=key) if not isinstance(key, tuple):
            yield site.inner(("key",), key)
        case s.CaseValue(case=branches, else_=other):
            yield from (site.inner(("case", i, "value"), branch.value) for i, branch in enumerate(branches))
            yield from (site.inner(("else",), value) for value in [other] if value is not None)
        case s.SumValue() | s.FirstValue() | s.LastValue() | s.MinValue() | s.MaxValue() as aggregate:
            name = ORIGIN[type(aggregate)]
            yield site.inner((name,), getattr(aggregate, name), Scope.LINE)
        case _:
            pass


def _list(site: Site, key: str, values: Iterable[Value]) -> Iterator[Site]:
    return (site.inner((key, i), value) for i, value in enumerate(values))


AGGREGATES = (s.SumValue, s.CountValue, s.FirstValue, s.LastValue, s.MinValue, s.MaxValue)
"""Values over the transaction's lines."""


def formulas_in(site: Site) -> Iterator[Formula]:
    """The SQL in a value itself, not in those within it."""
    match site.value:
        case s.SqlValue(sql=sql):
            yield Formula((*site.place, "sql"), sql, site.scope, condition=False)
        case s.CountValue(count=sql):
            yield Formula((*site.place, "count"), sql, Scope.LINE, condition=True)
        case s.CaseValue(case=branches):
            for i, branch in enumerate(branches):
                yield Formula((*site.place, "case", i, "when"), branch.when, site.scope, condition=True)
        case _:
            pass


def plain_names(value: Value) -> tuple[str, ...]:
    """The columns that a value names outside of SQL: itself, or in its template."""
    match value:
        case str():
            return (value,)
        case s.ColumnValue(column=name):
            return (name,)
        case s.TemplateValue(template=template):
            return _names(template_columns, template)
        case _:
            return ()


# ── All of a mapping ─────────────────────────────────────────────────────────────────────────────────


def roots(spec: MappingSpec) -> Iterator[Site]:
    """The outermost values of a mapping's sections, but for `define`, in the order of the sections."""
    payment = Scope.PAYMENT if has_payment_rows(spec) else Scope.TRANSACTION
    yield from _named("transaction", spec.transaction, Scope.TRANSACTION)
    if spec.completion:
        parts = {"status": spec.completion.status, "paid": spec.completion.paid}
        yield from _named("completion", parts, Scope.TRANSACTION)
    for i, link in enumerate(spec.profile):
        yield Site(("profile", i, "value"), link.value, Scope.TRANSACTION)
    for i, tender in enumerate(spec.payments):
        for name, value in (("tender", tender.tender), ("amount", tender.amount)):
            if value is not None:
                yield Site(("payments", i, name), value, payment)
    lines = {"discount_amount": spec.lines.discount_amount, "discount_reason": spec.lines.discount_reason}
    yield from _named("lines", lines, Scope.LINE)
    yield from _named("items", spec.items, Scope.LINE)
    if spec.reward:
        yield Site(("reward", "amount"), spec.reward.amount, Scope.TRANSACTION)


def _named(section: str, values: Mapping[str, Value | None], scope: Scope) -> Iterator[Site]:
    for name, value in values.items():
        if value is not None:
            yield Site((section, name), value, scope)


def conditions(spec: MappingSpec) -> Iterator[Formula]:
    """The SQL conditions of a mapping that stand outside of values."""
    for state in STATES:
        words = getattr(spec.completion, state, ())
        if isinstance(words, s.Condition) and words.sql:
            yield Formula(("completion", state, "sql"), words.sql, Scope.TRANSACTION, condition=True)
    for i, sql in enumerate(spec.lines.skip):
        yield Formula(("lines", "skip", i), sql, Scope.LINE, condition=True)
    if spec.lines.discount:
        yield Formula(("lines", "discount"), spec.lines.discount, Scope.LINE, condition=True)
    if spec.refund:
        yield Formula(("refund", "when"), spec.refund.when, Scope.TRANSACTION, condition=True)
    for i, rule in enumerate(spec.rules):
        yield Formula(("rules", i, "when"), rule.when, Scope.MAPPED, condition=True)


STATES = ("complete", "void", "draft", "partially_paid", "cancelled", "order_open", "excluded")
"""The states that `completion` tells apart."""


def has_payment_rows(spec: MappingSpec) -> bool:
    """Whether payments have rows of their own in the source."""
    source = spec.source
    return bool(
        (source.layout == "tables" and "payments" in source.tables)
        or (source.layout == "records" and source.records and source.records.payment)
        or (source.layout == "nested" and source.nested and source.nested.payments)
    )


def has_headers_on_lines(spec: MappingSpec) -> bool:
    """Whether a transaction's cells are on its lines, and there are no rows for it alone."""
    source = spec.source
    return source.layout in ("lines", "first_row") or (
        source.layout == "tables" and "headers" not in source.tables
    )


def all_roots(spec: MappingSpec) -> Iterator[Site]:
    """The outermost values of a mapping, definitions first (as seen from a line: they may be used there)."""
    yield from _named("define", spec.define, Scope.LINE)
    yield from roots(spec)


def formulas(spec: MappingSpec) -> Iterator[Formula]:
    """All SQL of a mapping."""
    for root in all_roots(spec):
        for site in deep(root):
            yield from formulas_in(site)
    yield from conditions(spec)


def names_in(sql: str) -> tuple[str, ...]:
    """The columns in a formula; none where it does not parse."""
    return _names(sql_columns, sql)


def _names(find: Callable[[str], tuple[str, ...]], text: str) -> tuple[str, ...]:
    try:
        return find(text)
    except FormulaError:
        return ()


@dataclass(frozen=True)
class Mention:
    """A name of a column or definition in a value or formula.

    Attributes:
        place: Where the text stands that names it.
        name: The name.
        scope: Whose column it is.
        formula: Whether it is named in SQL.
    """

    place: Place
    name: str
    scope: Scope
    formula: bool = False


def mentions_here(site: Site) -> Iterator[Mention]:
    """What a value itself names, not what those within it name."""
    key = ORIGIN.get(type(site.value))
    for name in plain_names(site.value):
        yield Mention((*site.place, key) if key else site.place, name, site.scope)
    for formula in formulas_in(site):
        for name in names_in(formula.sql):
            yield Mention(formula.place, name, formula.scope, formula=True)


def mentions(site: Site) -> Iterator[Mention]:
    """What a value and those within it name."""
    for inner in deep(site):
        yield from mentions_here(inner)
