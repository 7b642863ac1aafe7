"""Which columns a mapping uses, by whose cells they are: the transaction's, its lines', its payments'."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.mapping import walk
from pipeline.mapping.spec import DateTimeStep, LineNumberValue, MappingSpec, Value
from pipeline.mapping.walk import Scope, Site

HEADER_PREFIX = "header."
"""`header.<column>` in a line's or payment's value is the cell of its transaction's header row."""


@dataclass(frozen=True)
class Used:
    """Columns of the source that a mapping uses.

    Attributes:
        transaction: Those of the transaction itself; its rows must agree in them.
        line: Those of its lines, also where a transaction's value sums them up.
        payment: Those of payment rows.
    """

    transaction: frozenset[str]
    line: frozenset[str]
    payment: frozenset[str]


def columns_used(spec: MappingSpec) -> Used:
    """Find the columns that a mapping uses; names from `define` are followed to their columns."""
    found = _Columns(spec)
    for root in walk.roots(spec):
        found.add(root)
    for formula in walk.conditions(spec):
        found.add_names(walk.names_in(formula.sql), formula.scope)
    return Used(*(frozenset(found.columns[s]) for s in (Scope.TRANSACTION, Scope.LINE, Scope.PAYMENT)))


def columns_of(spec: MappingSpec, value: Value, scope: Scope) -> frozenset[str] | None:
    """The columns that one value uses; None where it looks at other cells than those of its own row."""
    found = _Columns(spec)
    found.add(Site((), value, scope))
    return None if found.other_rows else frozenset(found.columns[scope])


class _Columns:
    """Gathers columns by scope, following defined names."""

    def __init__(self, spec: MappingSpec) -> None:
        self.spec = spec
        self.columns: dict[Scope, set[str]] = {scope: set() for scope in Scope}
        self.other_rows = False
        self._followed: set[tuple[str, Scope]] = set()

    def add(self, root: Site) -> None:
        for site in walk.deep(root):
            self.other_rows |= isinstance(site.value, (*walk.AGGREGATES, LineNumberValue))
            self.add_names(walk.plain_names(site.value), site.scope)
            for formula in walk.formulas_in(site):
                self.add_names(walk.names_in(formula.sql), formula.scope)

    def add_names(self, names: Iterable[str], scope: Scope) -> None:
        for name in names:
            if (name, scope) in self._followed or scope is Scope.MAPPED:
                continue
            self._followed.add((name, scope))
            if name in self.spec.define:
                self.add(Site((), self.spec.define[name], scope))
            elif scope is not Scope.TRANSACTION and name.startswith(HEADER_PREFIX):
                self.other_rows = True
                self.add_names([name.removeprefix(HEADER_PREFIX)], Scope.TRANSACTION)
            else:
                self.columns[scope].add(name)
                self._zone_of(name, scope)

    def _zone_of(self, name: str, scope: Scope) -> None:
        """A column that `columns` says is a date may need another one for its zone."""
        kind = self.spec.columns.get(name)
        if isinstance(kind, DateTimeStep) and kind.datetime.timezone is not None:
            self.add(Site((), kind.datetime.timezone, scope))
