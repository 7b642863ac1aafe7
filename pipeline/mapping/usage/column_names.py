"""Which columns a mapping uses, by table, and what is wrong with their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pipeline.core.errors import did_you_mean
from pipeline.core.header_names import usable_name
from pipeline.mapping.functions.rule_conditions import DERIVED
from pipeline.mapping.language.source_map import Found, Place
from pipeline.mapping.language.spec import SET_ELSEWHERE, Check, MappingSpec
from pipeline.mapping.language.yaml_text import quoted
from pipeline.mapping.layout.nested_lists import outer_column
from pipeline.mapping.usage import visitor as walk
from pipeline.mapping.usage.used_columns import HEADER_PREFIX, column_mentions, key_cells
from pipeline.mapping.usage.visitor import Scope

_TABLES: dict[Scope, tuple[str, ...]] = {
    Scope.TRANSACTION: ("headers",),
    Scope.LINE: ("items", "headers"),
    Scope.PAYMENT: ("payments", "headers"),
}
_NESTED = ("items.", "payments.")
UNMAPPED = "unmapped_column"
_LIST_IN = ("source", "nested")


def tables_of(spec: MappingSpec, scope: Scope) -> tuple[str, ...]:
    """The tables in which a scope finds its columns, nearest first."""
    return _TABLES[scope] if spec.source.layout == "tables" else ("lines",)


@dataclass(frozen=True)
class Use:
    """A column that a mapping mentions.

    Attributes:
        place: Where it is mentioned.
        name: The column.
        tables: The tables in which it may be, nearest first.
        formula: Whether it is mentioned in SQL.
    """

    place: Place
    name: str
    tables: tuple[str, ...]
    formula: bool = False


def uses(spec: MappingSpec) -> Iterator[Use]:
    """Every mention of a source column."""
    yield from _in_source(spec)
    for mention in column_mentions(spec):
        yield Use(mention.place, mention.name, tables_of(spec, mention.scope), mention.formula)
    yield from (Use(("columns", name), name, _tables(spec)) for name in spec.columns)


def _in_source(spec: MappingSpec) -> Iterator[Use]:
    source = spec.source
    if source.layout != "tables":
        yield from _in_key(spec, ("source", "key"), source.key, "lines")
    if source.records:
        yield Use(("source", "records", "column"), source.records.column, ("lines",))
    if source.nested:
        for part in ("items", "payments"):
            if name := getattr(source.nested, part):
                yield Use(("source", "nested", part), name, ("lines",))
    for table, described in source.tables.items():
        if source.layout == "tables":
            yield from _in_key(spec, ("source", "tables", table, "key"), described.key, table)


def _in_key(spec: MappingSpec, place: Place, key: Sequence[str], table: str) -> Iterator[Use]:
    for i, name in enumerate(key):
        yield from (Use((*place, i), cell, (table,)) for cell in key_cells(spec, [name]))


def used_columns(spec: MappingSpec) -> dict[str, frozenset[str]]:
    """The columns that a mapping uses, by table.

    With the layout `tables`, an item or payment may also mention a column of its transaction: such a name
    is listed under both tables, since only the source can tell. What is only under `columns` is not used.
    """
    found: dict[str, set[str]] = {table: set() for table in _tables(spec)}
    for use in uses(spec):
        if use.place[0] != "columns":
            for table in use.tables:
                found.setdefault(table, set()).add(use.name)
                if use.place[:2] == _LIST_IN:
                    found[table].add(outer_column(use.name, ()))
    return {table: frozenset(names) for table, names in found.items()}


def _tables(spec: MappingSpec) -> tuple[str, ...]:
    return tuple(spec.source.tables) if spec.source.layout == "tables" else ("lines",)


def severity_of(spec: MappingSpec, code: str) -> str | None:
    """What `checks` says that a code does; None where it does what is usual."""
    check = spec.checks.get(code)
    return check.severity if isinstance(check, Check) else check


def unmapped_columns(spec: MappingSpec, columns: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The columns of a source that a mapping neither uses nor lists under `ignore`, by table.

    Args:
        spec: The mapping; `ignore` may hold shell patterns, as `Billing *`.
        columns: The source's columns by table.

    Returns:
        Only tables that have such columns, these in the source's order; none where the mapping turns the
        code `unmapped_column` off.
    """
    if severity_of(spec, UNMAPPED) == "off":
        return {}
    used = used_columns(spec)
    found = {}
    for table, names in columns.items():
        left = [name for name in names if name not in used.get(table, ()) and not _ignored(spec, name)]
        if left:
            found[table] = tuple(left)
    return found


def _ignored(spec: MappingSpec, name: str) -> bool:
    if spec.source.nested and name.startswith(_NESTED):
        return True
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in spec.source.ignore)


@dataclass(frozen=True)
class Names:
    """The names of a mapping beside the columns of a source.

    Attributes:
        spec: The mapping.
        columns: The source's columns by table; None where they are not known.
    """

    spec: MappingSpec
    columns: Mapping[str, Sequence[str]] | None

    def unknown(self) -> Iterator[tuple[Use, list[str], str]]:
        """Columns that are not in the source, the names to choose from, and whose they are."""
        if self.columns is None:
            return
        told: set[tuple[Place, str]] = set()
        for use in uses(self.spec):
            known = [name for table in use.tables for name in self.columns.get(table, ())]
            name = outer_column(use.name, known) if use.place[:2] == _LIST_IN else use.name
            if self._is_known(name, known) or (use.place, use.name) in told:
                continue
            told.add((use.place, use.name))
            there = [table for table in use.tables if table in self.columns]
            whose = f"the table {there[0]}" if self.spec.source.layout == "tables" and there else "the source"
            yield use, [*known, *self.spec.define], whose

    def with_unknown(self) -> dict[str, list[str]]:
        """The source's columns, as if those that are not in it were: what else is wrong shows then."""
        found = {table: list(names) for table, names in (self.columns or {}).items()}
        for use in uses(self.spec):
            if not any(use.name in found.get(table, ()) for table in use.tables):
                found.setdefault(use.tables[0], []).append(use.name)
        return found

    def there(self) -> set[str]:
        """The columns of the source that the mapping uses."""
        columns = {name for names in (self.columns or {}).values() for name in names}
        return columns & {use.name for use in uses(self.spec)}

    def _is_known(self, name: str, known: Sequence[str]) -> bool:
        if name in known or not known or name in self.spec.source.optional or name != usable_name(name):
            return True
        prefix = next((prefix for prefix in _NESTED if name.startswith(prefix)), None)
        members = [column for column in known if prefix and column.startswith(prefix)]
        return self.spec.source.layout == "nested" and prefix is not None and not members

    def shadowing(self) -> Iterator[tuple[Place, str]]:
        """Definitions that have the name of a column."""
        columns = {name for names in (self.columns or {}).values() for name in names}
        yield from ((("define", name), name) for name in self.spec.define if name in columns)


def name_problems(names: Names) -> Iterator[Found]:
    """Names that are no column, no definition or, in a rule, no mapped field."""
    unknown = list(names.unknown())
    missing = list(dict.fromkeys(use.name for use, _, _ in unknown))
    there = names.there()
    if missing and not there:
        yield Found(("source",), _another_file(missing))
        unknown = []
    for use, known, whose in unknown:
        hint = did_you_mean(use.name, known) if len(missing) > len(there) else _instead(use, known)
        yield Found(use.place, f"there is no column '{use.name}' in {whose}{hint}", use.name)
    for place, name in names.shadowing():
        message = f"'{name}' is a column of the source as well; give the definition another name"
        yield Found(place, message)
    yield from _read_otherwise(names.spec)
    yield from _unknown_in_rules(names.spec)


def _another_file(missing: Sequence[str]) -> str:
    listed = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
    return (
        f"no column that the mapping uses is in the source ({listed}); is it another export? Under `csv`, "
        "`skip_lines` leaves out what stands above the header, `header: false` is for a file without one, "
        "and `delimiter` says what is between the cells"
    )


_SHOWN = 5


def _instead(use: Use, known: Sequence[str]) -> str:
    """What may have been meant where most columns are there: another one, or no column at all."""
    near = did_you_mean(use.name, known)
    if use.formula and (not near or use.name.isupper()):  # such as status = "VOID"
        return f"; a text stands in single quotes: '{use.name}'"
    if near:
        return near
    if use.place[0] in ("source", "columns") or use.place[-1] == "template":
        return ""
    return f"; write {{constant: {quoted(use.name)}}} for what is the same on every row"


def _read_otherwise(spec: MappingSpec) -> Iterator[Found]:
    """Names under which no reader gives a column, and no value can be defined."""
    for use in uses(spec):
        name = usable_name(use.name)
        if name != use.name:
            yield Found(use.place, f"a column '{use.name}' is read as '{name}'; write that", use.name)
    for name in spec.define:
        if name != usable_name(name) or name.startswith(HEADER_PREFIX):
            message = f"'{name}' cannot be defined; give it a name that begins with a letter"
            yield Found(("define", name), message)


def _unknown_in_rules(spec: MappingSpec) -> Iterator[Found]:
    elsewhere = [field for field, section in SET_ELSEWHERE.items() if getattr(spec, section)]
    fields = [*spec.transaction, *elsewhere, *DERIVED]
    for i, rule in enumerate(spec.rules):
        for name in walk.names_in(rule.when):
            if name not in fields:
                near = did_you_mean(name, fields) or f"; there are {', '.join(fields)}"
                yield Found(("rules", i, "when"), f"'{name}' is not a mapped field{near}", name)
