"""Which columns a mapping uses, by whose cells they are: the transaction's, its lines', its payments'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from pipeline.mapping.language.spec import (
    ConstantValue,
    DateTimeStep,
    LineNumberValue,
    MappingSpec,
    SqlValue,
    Value,
)
from pipeline.mapping.usage import visitor as walk
from pipeline.mapping.usage.visitor import Mention, Scope, Site

HEADER_PREFIX = "header."
"""`header.<column>` in a line's or payment's value is the cell of its transaction's header row."""


@dataclass(frozen=True)
class Used:
    """Columns of the source that a mapping uses.

    Attributes:
        transaction: Those of the transaction itself; its rows must agree in them.
        line: Those of its lines, also where a transaction's value sums them up.
        payment: Those of payment rows.
        key: Those that a transaction uses only through definitions that are part of its key: the rows agree
            in what these make of them, and need not agree in the cells.
    """

    transaction: frozenset[str]
    line: frozenset[str]
    payment: frozenset[str]
    key: frozenset[str]


NOTHING_USED: Final = Used(frozenset(), frozenset(), frozenset(), frozenset())
"""The columns of a mapping that has no values."""


def columns_used(spec: MappingSpec) -> Used:
    """Find the columns that a mapping uses."""
    found: dict[Scope, set[str]] = {scope: set() for scope in Scope}
    in_key = {(name, Scope.TRANSACTION) for name in keys_of(spec) if name in spec.define}
    for mention in column_mentions(spec, in_key):
        found[mention.scope].add(mention.name)
    transaction, line, payment = (
        frozenset(found[scope]) for scope in (Scope.TRANSACTION, Scope.LINE, Scope.PAYMENT)
    )
    in_key_only = frozenset(key_cells(spec, [name for name, _ in in_key])) - transaction
    return Used(transaction, line, payment, in_key_only)


def key_cells(spec: MappingSpec, key: Iterable[str]) -> tuple[str, ...]:
    """The columns of the source that a key is made of."""
    found = (
        sorted(columns_of(spec, spec.define[name], Scope.LINE) or ()) if name in spec.define else [name]
        for name in key
    )
    return tuple(dict.fromkeys(name for names in found for name in names))


def values_of(spec: MappingSpec, value: Value, scope: Scope) -> list[Site]:
    """A value, and all others that it is made of, through definitions."""
    return list(_stands_on(spec, Site((), value, scope), set()))


def columns_of(spec: MappingSpec, value: Value, scope: Scope) -> frozenset[str] | None:
    """The columns that one value uses; None where it looks at other cells than those of its own row."""
    found = _mentioned(spec, value, scope)
    if found is None or any(mention.scope is not scope for mention in found):
        return None
    return frozenset(mention.name for mention in found)


def own_columns_of(spec: MappingSpec, value: Value, scope: Scope) -> frozenset[str] | None:
    """The columns of its own row that a value uses; None where it depends on other lines of the sale."""
    found = _mentioned(spec, value, scope)
    return None if found is None else frozenset(each.name for each in found if each.scope is scope)


def _mentioned(spec: MappingSpec, value: Value, scope: Scope) -> list[Mention] | None:
    sites = values_of(spec, value, scope)
    if any(isinstance(site.value, (*walk.AGGREGATES, LineNumberValue)) for site in sites):
        return None
    return [mention for site in sites for mention in _columns_in(spec, site)]


ID_FIELDS: Final = (
    *("external_id", "receipt_ref", "location_id", "order_id", "external_order_id", "order_number"),
    "linked_receipt_ref",
)
"""Fields of a transaction that name something, as people write it down and systems look for it."""
ITEM_ID_FIELDS: Final = (
    *("external_id", "sku", "product_variant_id", "product_variant_sku", "variant_external_id"),
)
"""The same of an item."""


def keys_of(spec: MappingSpec) -> tuple[str, ...]:
    """What tells transactions apart, in all tables of the source."""
    return (*spec.source.key, *(name for table in spec.source.tables.values() for name in table.key))


def id_columns(spec: MappingSpec) -> frozenset[str]:
    """The columns that keys, ids, receipt numbers, customers, products and locations are made of."""
    ids = [
        *(Site(("source", "key"), name, Scope.LINE) for name in keys_of(spec)),
        *(Site(("profile",), link.value, Scope.TRANSACTION) for link in spec.profile),
        *(
            Site(("transaction", name), spec.transaction[name], Scope.TRANSACTION)
            for name in ID_FIELDS
            if name in spec.transaction
        ),
        *(
            Site(("items", name), spec.items[name], Scope.LINE)
            for name in ITEM_ID_FIELDS
            if name in spec.items
        ),
    ]
    return frozenset(
        mention.name
        for root in ids
        for site in _stands_on(spec, root, set())
        for mention in _columns_in(spec, site)
    )


def date_formats(spec: MappingSpec) -> frozenset[str]:
    """The formats in which the time of a sale may be written."""
    value = spec.transaction.get("transacted_at")
    found: set[str] = set()
    for site in values_of(spec, value, Scope.TRANSACTION) if value is not None else ():
        steps = () if isinstance(site.value, str) else site.value.then
        kinds = [spec.columns.get(mention.name) for mention in _columns_in(spec, site)]
        found |= {
            form
            for step in (*steps, *kinds)
            if isinstance(step, DateTimeStep)
            for form in step.datetime.formats
        }
    return frozenset(found)


def is_of_cells(spec: MappingSpec, value: Value, scope: Scope) -> bool:
    """Whether a value is there only where a cell of the source is: it has no constant to fall back on."""
    sites = values_of(spec, value, scope)
    has_constant = any(isinstance(site.value, ConstantValue) for site in sites)
    return not has_constant and any(mention for site in sites for mention in _columns_in(spec, site))


def column_mentions(spec: MappingSpec, without: Iterable[tuple[str, Scope]] = ()) -> Iterator[Mention]:
    """Every mention of a source's column in a mapping's values and formulas.

    Names from `define` are followed to their columns, once for each of the scopes in which they are used;
    so is the zone of a column that `columns` says is a date. Those in `without` are not followed.
    """
    followed = set(without)
    for root in (*walk.roots(spec), *_conditions(spec)):
        for site in _stands_on(spec, root, followed):
            yield from _columns_in(spec, site)


def _conditions(spec: MappingSpec) -> Iterator[Site]:
    """The conditions over source columns, as values that give them."""
    for formula in walk.conditions(spec):
        if formula.scope is not Scope.MAPPED:
            yield Site(formula.place, SqlValue.model_construct(sql=formula.sql), formula.scope)


def _stands_on(spec: MappingSpec, root: Site, followed: set[tuple[str, Scope]]) -> Iterator[Site]:
    """A value, those within it, and those of the names that they use and that were not followed before."""
    for site in walk.deep(root):
        yield site
        for mention in map(_meant, walk.mentions_here(site)):
            inner = _named(spec, mention)
            if inner is not None and (mention.name, mention.scope) not in followed:
                followed.add((mention.name, mention.scope))
                yield from _stands_on(spec, inner, followed)


def _meant(mention: Mention) -> Mention:
    """A line's `header.<column>` is a column of its transaction."""
    if mention.scope is Scope.TRANSACTION or not mention.name.startswith(HEADER_PREFIX):
        return mention
    return replace(mention, name=mention.name.removeprefix(HEADER_PREFIX), scope=Scope.TRANSACTION)


def _named(spec: MappingSpec, mention: Mention) -> Site | None:
    """What else must be looked at for a name: its definition, or its zone where it is a date."""
    if mention.name in spec.define:
        return Site(("define", mention.name), spec.define[mention.name], mention.scope)
    match spec.columns.get(mention.name):
        case DateTimeStep(datetime=how) if how.timezone is not None:
            return Site(("columns", mention.name, "datetime", "timezone"), how.timezone, mention.scope)
        case _:
            return None


def _columns_in(spec: MappingSpec, site: Site) -> Iterator[Mention]:
    return (mention for mention in map(_meant, walk.mentions_here(site)) if mention.name not in spec.define)
