"""Visits every value and formula of a mapping, with its location in the file and the names it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from pipeline.mapping.functions.formulas import sql_columns, template_columns
from pipeline.mapping.language.forms import NamesColumns
from pipeline.mapping.language.held import Held, held_by
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.source_map import Location
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import VALUES, AggregateValue, Value


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


# ── Inside of a value ───────────────────────────────────────────────────────────────────────────────


def walk(located: LocatedValue) -> Iterator[LocatedValue]:
    """The value and all values inside it, outer ones first."""
    yield located
    for inner in children(located):
        yield from walk(inner)


def children(located: LocatedValue) -> Iterator[LocatedValue]:
    """The values directly inside a value: those it is made of, then those in its steps."""
    return (
        LocatedValue((*located.location, *each.steps), each.held, _scope_in(located, each))
        for each in _held_by(located.value)
        if each.names is None
    )


def _held_by(value: Value) -> Iterator[Held]:
    return iter(()) if isinstance(value, str) else held_by(value)


def _scope_in(located: LocatedValue, held: Held) -> Scope:
    of_lines = isinstance(located.value, AggregateValue) and held.steps[0] != "then"
    return Scope.LINE if of_lines else located.scope


def mentions(located: LocatedValue) -> Iterator[Mention]:
    """The names that a value and the values inside it use."""
    for inner in walk(located):
        yield from own_mentions(inner)


def own_mentions(located: LocatedValue) -> Iterator[Mention]:
    """The names that a value itself uses, without those of the values inside it."""
    if isinstance(located.value, str):
        yield Mention(located.location, located.value, located.scope)
    for each in _held_by(located.value):
        if each.names is not None:
            location, scope = (*located.location, *each.steps), _scope_in(located, each)
            for name in _NAMES_IN[each.names](each.held):
                yield Mention(location, name, scope, in_sql=each.names is NamesColumns.SQL)


def plain_names(value: Value) -> tuple[str, ...]:
    """The columns that a value names outside of SQL: itself, or in its template."""
    mentioned = own_mentions(LocatedValue((), value, Scope.LINE))
    return tuple(mention.name for mention in mentioned if not mention.in_sql)


def names_in_sql(sql: str) -> tuple[str, ...]:
    """The columns in a formula; none where it cannot be parsed."""
    return _names(sql_columns, sql)


def _names_in_template(template: str) -> tuple[str, ...]:
    return _names(template_columns, template)


def _names(find: Callable[[str], tuple[str, ...]], text: str) -> tuple[str, ...]:
    try:
        return find(text)
    except FormulaError:
        # The compiler reports it.
        return ()


_NAMES_IN: Final[dict[NamesColumns, Callable[[str], tuple[str, ...]]]] = {
    NamesColumns.ITSELF: lambda name: (name,),
    NamesColumns.TEMPLATE: _names_in_template,
    NamesColumns.SQL: names_in_sql,
}


# ── All of a mapping ────────────────────────────────────────────────────────────────────────────────


_SCOPES: Final = {
    "source": Scope.ROW,
    "define": Scope.LINE,  # as a line sees them
    "lines": Scope.LINE,
    "items": Scope.LINE,
    "rules": Scope.MAPPED,
}
"""Whose columns are used in each section; payments are a case of their own, and all others use the sale's."""
_FOLLOWED: Final = ("define", "columns")
"""Sections whose values count where their names are used."""


def payment_scope(spec: MappingSpec) -> Scope:
    """Whose columns the values under `payments` use."""
    return Scope.PAYMENT if spec.source.has_payment_rows else Scope.TRANSACTION


@lru_cache(maxsize=4)
def roots(spec: MappingSpec) -> tuple[LocatedValue, ...]:
    """The outermost values of all sections except `define`, in the order of the sections."""
    return tuple(_values_of(spec, lambda section: section not in _FOLLOWED))


@lru_cache(maxsize=4)
def all_roots(spec: MappingSpec) -> tuple[LocatedValue, ...]:
    """The outermost values of all sections; definitions come first, as a line sees them."""
    return (*_values_of(spec, lambda section: section == "define"), *roots(spec))


def _values_of(spec: MappingSpec, is_meant: Callable[[object], bool]) -> Iterator[LocatedValue]:
    for each in held_by(spec):
        if each.names is None and is_meant(each.steps[0]):
            yield LocatedValue(each.steps, each.held, _scope_of(spec, each))


@lru_cache(maxsize=4)
def conditions(spec: MappingSpec) -> tuple[LocatedFormula, ...]:
    """The conditions in SQL that are not part of a value."""
    return tuple(
        LocatedFormula(each.steps, each.held, _scope_of(spec, each))
        for each in held_by(spec)
        if each.names is NamesColumns.SQL
    )


def _scope_of(spec: MappingSpec, held: Held) -> Scope:
    section = str(held.steps[0])
    return payment_scope(spec) if section == "payments" else _SCOPES.get(section, Scope.TRANSACTION)
