"""Which source columns a mapping uses: those of transactions, of their lines, and of their payments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from pipeline.core.model import ITEM_FIELDS, PERSONS, TRANSACTION_FIELDS, Names
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import (
    AggregateValue,
    ConstantValue,
    DateTime,
    DateTimeStep,
    LineNumberValue,
    LookupValue,
    SqlValue,
    Value,
)
from pipeline.mapping.usage import visitor
from pipeline.mapping.usage.visitor import LocatedValue, Mention, Scope

HEADER_PREFIX: Final = "header."
"""In the value of a line or payment, `header.<column>` is a cell of its transaction's header row."""


@dataclass(frozen=True)
class UsedColumns:
    """The source columns that a mapping uses.

    Attributes:
        transaction: Columns of the transaction itself; its rows must agree in them.
        line: Columns of its lines, also where a transaction's value sums them up.
        payment: Columns of payment rows.
        key: Columns that a transaction uses only through definitions in its key. Its rows agree in the
            values of these definitions, and need not agree in the cells.
    """

    transaction: frozenset[str]
    line: frozenset[str]
    payment: frozenset[str]
    key: frozenset[str]


NOTHING_USED: Final = UsedColumns(frozenset(), frozenset(), frozenset(), frozenset())


@lru_cache(maxsize=4)
def columns_used(spec: MappingSpec) -> UsedColumns:
    """Find the source columns that a mapping uses."""
    found: dict[Scope, set[str]] = {scope: set() for scope in Scope}
    in_key = {(name, Scope.TRANSACTION) for name in spec.source.all_keys if name in spec.define}
    for mention in column_mentions(spec, in_key):
        found[mention.scope].add(mention.name)
    transaction, line, payment = (
        frozenset(found[scope]) for scope in (Scope.TRANSACTION, Scope.LINE, Scope.PAYMENT)
    )
    in_key_only = frozenset(key_cells(spec, [name for name, _ in in_key])) - transaction
    return UsedColumns(transaction, line, payment, in_key_only)


def column_mentions(spec: MappingSpec, known: Iterable[tuple[str, Scope]] = ()) -> Iterator[Mention]:
    """Every mention of a source column in a mapping's values and conditions.

    A name from `define` is followed to its columns, once for each scope in which it is used; so is the zone
    of a column that `columns` declares as a date. Names in `known` are not followed.
    """
    followed = set(known)
    conditions = (
        LocatedValue(each.location, SqlValue.model_construct(sql=each.sql), each.scope)
        for each in visitor.conditions(spec)
        if each.scope is not Scope.MAPPED
    )
    for root in (*visitor.roots(spec), *conditions):
        for located in _with_definitions(spec, root, followed):
            yield from _columns_in(spec, located)


@lru_cache(maxsize=4)
def id_columns(spec: MappingSpec) -> frozenset[str]:
    """The columns that keys, ids, receipt numbers, customers, products and locations are made of."""
    transaction = [
        value for name, value in spec.transaction.items() if TRANSACTION_FIELDS[name].names is Names.THING
    ]
    items = [value for name, value in spec.items.items() if ITEM_FIELDS[name].names is Names.THING]
    return _columns_behind(spec, transaction, [*spec.source.all_keys, *items])


@lru_cache(maxsize=4)
def own_id_columns(spec: MappingSpec) -> frozenset[str]:
    """The columns that the ids of sales, customers and items are made of."""
    transaction, items = (
        [values["external_id"]] if "external_id" in values else []
        for values in (spec.transaction, spec.items)
    )
    return _columns_behind(spec, transaction, items)


def _columns_behind(
    spec: MappingSpec, transaction: Iterable[Value], items: Iterable[Value]
) -> frozenset[str]:
    """The columns behind values of transactions, those of customers, and values of items."""
    values = [
        *((value, Scope.TRANSACTION) for value in (*(link.value for link in spec.profile), *transaction)),
        *((value, Scope.LINE) for value in items),
    ]
    return frozenset(
        mention.name
        for value, scope in values
        for located in values_of(spec, value, scope)
        for mention in _columns_in(spec, located)
    )


def lookup_columns(spec: MappingSpec, table: str) -> frozenset[str]:
    """The columns that a mapping takes from a look-up table, without those of its key."""
    values = (each.value for root in visitor.all_roots(spec) for each in visitor.walk(root))
    found = {each.value for each in values if isinstance(each, LookupValue) and each.lookup == table}
    return frozenset(found) - {*spec.lookups[table].key}


def key_cells(spec: MappingSpec, key: Iterable[str]) -> tuple[str, ...]:
    """The columns of the files that a key is made of."""
    found = (
        sorted(columns_of(spec, spec.define[name], Scope.LINE) or ()) if name in spec.define else [name]
        for name in key
    )
    names = dict.fromkeys(name for names in found for name in names)
    return tuple(name for name in names if name not in spec.source.added_columns)


# ── One value ───────────────────────────────────────────────────────────────────────────────────────


def values_of(spec: MappingSpec, value: Value, scope: Scope) -> list[LocatedValue]:
    """A value and all values that it is made of, also through definitions."""
    return list(_with_definitions(spec, LocatedValue((), value, scope), set()))


def transaction_columns(spec: MappingSpec, values: Iterable[Value]) -> frozenset[str]:
    """The columns that values of a transaction use, also through definitions."""
    return frozenset(
        mention.name
        for value in values
        for located in values_of(spec, value, Scope.TRANSACTION)
        for mention in visitor.own_mentions(located)
    )


@lru_cache(maxsize=4)
def staff_columns(spec: MappingSpec) -> frozenset[str]:
    """The columns that the number or name of the staff is made of."""
    return transaction_columns(spec, [spec.transaction["staff_id"]] if "staff_id" in spec.transaction else [])


@lru_cache(maxsize=4)
def personal_columns(spec: MappingSpec) -> frozenset[str]:
    """The columns that customers and other persons are made of, whatever they are called."""
    people = [link.value for link in spec.profile]
    people += [value for name, value in spec.transaction.items() if TRANSACTION_FIELDS[name].names in PERSONS]
    return transaction_columns(spec, people)


def columns_of(spec: MappingSpec, value: Value, scope: Scope) -> frozenset[str] | None:
    """The columns that a value uses; None where it uses cells of other rows than its own."""
    found = _mentioned(spec, value, scope)
    if found is None or any(mention.scope is not scope for mention in found):
        return None
    return frozenset(mention.name for mention in found)


def own_columns_of(spec: MappingSpec, value: Value, scope: Scope) -> frozenset[str] | None:
    """The columns of its own row that a value uses; None where it depends on other lines of the sale."""
    found = _mentioned(spec, value, scope)
    return None if found is None else frozenset(each.name for each in found if each.scope is scope)


def _mentioned(spec: MappingSpec, value: Value, scope: Scope) -> list[Mention] | None:
    """The columns that a value uses; None where it depends on other lines of the sale."""
    values = values_of(spec, value, scope)
    if any(isinstance(each.value, AggregateValue | LineNumberValue) for each in values):
        return None
    return [mention for each in values for mention in _columns_in(spec, each)]


def date_steps(spec: MappingSpec) -> list[DateTime]:
    """How the times of sales are read, also in columns and definitions behind them."""
    value = spec.transaction.get("transacted_at")
    found: list[DateTime] = []
    for located in values_of(spec, value, Scope.TRANSACTION) if value is not None else ():
        steps = () if isinstance(located.value, str) else located.value.then
        kinds = [spec.columns.get(mention.name) for mention in _columns_in(spec, located)]
        found += [step.datetime for step in (*steps, *kinds) if isinstance(step, DateTimeStep)]
    return found


def date_formats(spec: MappingSpec) -> frozenset[str]:
    """The formats in which the time of a sale may be written."""
    return frozenset(form for step in date_steps(spec) for form in step.formats)


def is_of_cells(spec: MappingSpec, value: Value, scope: Scope) -> bool:
    """Whether a value is present only where a source cell is: it has no constant to fall back on."""
    values = values_of(spec, value, scope)
    has_constant = any(isinstance(each.value, ConstantValue) for each in values)
    return not has_constant and any(True for each in values for _ in _columns_in(spec, each))


def _with_definitions(
    spec: MappingSpec, root: LocatedValue, followed: set[tuple[str, Scope]]
) -> Iterator[LocatedValue]:
    """A value, the values inside it, and those behind the names they use, unless already `followed`."""
    for located in visitor.walk(root):
        yield located
        for mention in _mentions(located):
            behind = _behind(spec, mention)
            if behind is not None and (mention.name, mention.scope) not in followed:
                followed.add((mention.name, mention.scope))
                yield from _with_definitions(spec, behind, followed)


def _behind(spec: MappingSpec, mention: Mention) -> LocatedValue | None:
    """The value behind a name: its definition, or the zone of a column that is a date."""
    name = mention.name
    if name in spec.define:
        return LocatedValue(("define", name), spec.define[name], mention.scope)
    match spec.columns.get(name):
        case DateTimeStep(datetime=how) if how.timezone is not None:
            return LocatedValue(("columns", name, "datetime", "timezone"), how.timezone, mention.scope)
        case _:
            return None


def _columns_in(spec: MappingSpec, located: LocatedValue) -> Iterator[Mention]:
    """The source columns that a value itself uses."""
    return (mention for mention in _mentions(located) if mention.name not in spec.define)


def _mentions(located: LocatedValue) -> Iterator[Mention]:
    """The names that a value itself uses; `header.<column>` of a line counts for its transaction."""
    for mention in visitor.own_mentions(located):
        if mention.scope is Scope.TRANSACTION or not mention.name.startswith(HEADER_PREFIX):
            yield mention
        else:
            name = mention.name.removeprefix(HEADER_PREFIX)
            yield replace(mention, name=name, scope=Scope.TRANSACTION)
