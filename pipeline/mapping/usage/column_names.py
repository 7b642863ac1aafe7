"""The column names in a mapping beside the columns of the source: which are used, unknown or unmapped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from pipeline.core.errors import did_you_mean
from pipeline.core.text.header_names import usable_name
from pipeline.mapping.functions.rule_conditions import DERIVED
from pipeline.mapping.language.source_map import Issue, Location
from pipeline.mapping.language.spec import SET_ELSEWHERE, Check, MappingSpec
from pipeline.mapping.language.value_spec import VALUES
from pipeline.mapping.language.yaml_text import quoted
from pipeline.mapping.usage.used_columns import HEADER_PREFIX, column_mentions, key_cells
from pipeline.mapping.usage.visitor import Scope, names_in_sql

SourceColumns = Mapping[str, Sequence[str]]
"""The source's columns by table: `lines` for a single input, else `headers`, `items` and `payments`."""

UNMAPPED: Final = "unmapped_column"
_TABLES: Final = {
    Scope.TRANSACTION: ("headers",),
    Scope.LINE: ("items", "headers"),
    Scope.PAYMENT: ("payments", "headers"),
}
"""For layout `tables`, the tables in which a scope finds its columns, nearest first."""
_NESTED: Final = ("items.", "payments.")
_LIST_IN: Final = ("source", "nested")
_LISTED_AT_MOST: Final = 5
"""How many missing columns a message lists: enough to recognise another export, and readable."""


@dataclass(frozen=True)
class Use:
    """A source column that a mapping names.

    Attributes:
        location: Where it is named.
        name: The column.
        tables: The tables in which it may be, nearest first.
        in_sql: Whether it is named in SQL.
    """

    location: Location
    name: str
    tables: tuple[str, ...]
    in_sql: bool = False

    def source_column(self, known: Sequence[str] = ()) -> str:
        """The column of the source: for a list inside an object, the column with the object."""
        return outer_column(self.name, known) if self.location[:2] == _LIST_IN else self.name


def outer_column(column: str, columns: Sequence[str]) -> str:
    """The source's column that holds the list `column`: itself, or what stands before a dot."""
    return column if column in columns else column.partition(".")[0]


def uses(spec: MappingSpec) -> Iterator[Use]:
    """Every place where a mapping names a source column."""
    source, in_tables = spec.source, spec.source.layout == "tables"
    keys: list[tuple[Location, tuple[str, ...], str]] = [(("source", "key"), source.key, "lines")]
    every: tuple[str, ...] = ("lines",)
    if in_tables:
        keys = [
            (("source", "tables", str(name), "key"), table.key, str(name))
            for name, table in source.tables.items()
        ]
        every = tuple(str(name) for name in source.tables)
    for location, key, table in keys:
        for i, name in enumerate(key):
            yield from (Use((*location, i), cell, (table,)) for cell in key_cells(spec, [name]))
    if source.records:
        yield Use(("source", "records", "column"), source.records.column, ("lines",))
    if source.nested:
        for part in ("items", "payments"):
            if column := getattr(source.nested, part):
                yield Use((*_LIST_IN, part), column, ("lines",))
    for mention in column_mentions(spec):
        if mention.name in source.added_columns:
            continue
        tables = _TABLES.get(mention.scope, every) if in_tables else ("lines",)
        yield Use(mention.location, mention.name, tables, mention.in_sql)
    yield from (Use(("columns", name), name, every) for name in spec.columns)


@lru_cache(maxsize=4)
def used_by_table(spec: MappingSpec) -> dict[str, frozenset[str]]:
    """The source columns that a mapping uses, by table.

    With layout `tables`, an item or payment may also use a column of its transaction. Only the source can
    tell which one is meant, so such a name is listed under both tables. A name that is only under `columns`
    is not used.
    """
    tables = spec.source.tables if spec.source.layout == "tables" else ("lines",)
    found: dict[str, set[str]] = {str(table): set() for table in tables}
    for use in uses(spec):
        if use.location[0] != "columns":
            for table in use.tables:
                found.setdefault(table, set()).update((use.name, use.source_column()))
    return {table: frozenset(names) for table, names in found.items()}


# ── Unmapped columns ────────────────────────────────────────────────────────────────────────────────


def severity_of(spec: MappingSpec, code: str) -> str | None:
    """The severity that `checks` gives to a code; None for the usual one."""
    check = spec.checks.get(code)
    return check.severity if isinstance(check, Check) else check


def unmapped_columns(spec: MappingSpec, columns: SourceColumns) -> dict[str, tuple[str, ...]]:
    """The source columns that a mapping neither uses nor lists under `ignore`, by table.

    Args:
        spec: The mapping; `ignore` may hold shell patterns, as `Billing *`.
        columns: The source's columns by table.

    Returns:
        Only tables with such columns, in the source's order; empty where the mapping turns the code
        `unmapped_column` off.
    """
    if severity_of(spec, UNMAPPED) == "off":
        return {}

    def is_ignored(name: str) -> bool:
        if spec.source.nested and name.startswith(_NESTED):
            return True
        return any(name == pattern or fnmatchcase(name, pattern) for pattern in spec.source.ignore)

    used, found = used_by_table(spec), {}
    for table, names in columns.items():
        left = tuple(name for name in names if name not in used.get(table, ()) and not is_ignored(name))
        if left:
            found[table] = left
    return found


# ── Unknown names ───────────────────────────────────────────────────────────────────────────────────


def with_unknown(spec: MappingSpec, columns: SourceColumns) -> dict[str, list[str]]:
    """The source's columns together with those that the mapping uses and the source lacks."""
    found = {table: list(names) for table, names in columns.items()}
    for use in uses(spec):
        if not any(use.name in found.get(table, ()) for table in use.tables):
            found.setdefault(use.tables[0], []).append(use.name)
    return found


def name_issues(spec: MappingSpec, columns: SourceColumns | None) -> Iterator[Issue]:
    """Names that are not a column, a definition or, in a rule, a mapped field.

    Args:
        spec: The mapping.
        columns: The source's columns by table; None where they are not known.
    """
    all_uses = list(uses(spec))
    if columns is not None:
        yield from _unknown_columns(spec, all_uses, columns)
        present = {name for names in columns.values() for name in names}
        for name in spec.define:
            if name in present:
                message = f"'{name}' is a column of the source as well; give the definition another name"
                yield Issue(("define", name), message)
        for name in spec.source.added_columns & present:
            message = f"'{name}' is a column of the source already; choose another name"
            yield Issue(("source", "rows", "number_equal"), message)
    for use in all_uses:
        name = usable_name(use.name)
        # Readers change such names, so no column has this one.
        if name != use.name:
            yield Issue(use.location, f"a column '{use.name}' is read as '{name}'; write that", use.name)
    for name in spec.define:
        if name != usable_name(name) or name.startswith(HEADER_PREFIX):
            message = f"'{name}' cannot be defined; give it a name that begins with a letter"
            yield Issue(("define", name), message)
    yield from _unknown_in_rules(spec)


def _unknown_in_rules(spec: MappingSpec) -> Iterator[Issue]:
    elsewhere = [field for field, section in SET_ELSEWHERE.items() if getattr(spec, section)]
    fields = [*spec.transaction, *elsewhere, *DERIVED]
    for i, rule in enumerate(spec.rules):
        for name in names_in_sql(rule.when):
            if name not in fields:
                near = did_you_mean(name, fields) or f"; there are {', '.join(fields)}"
                yield Issue(("rules", i, "when"), f"'{name}' is not a mapped field{near}", name)


def _unknown_columns(spec: MappingSpec, all_uses: Sequence[Use], columns: SourceColumns) -> Iterator[Issue]:
    unknown: dict[tuple[Location, str], tuple[Use, list[str]]] = {}
    for use in all_uses:
        known = [name for table in use.tables for name in columns.get(table, ())]
        if not _is_known(spec, use.source_column(known), known):
            unknown.setdefault((use.location, use.name), (use, known))
    missing = list(dict.fromkeys(use.name for use, _ in unknown.values()))
    present = {name for names in columns.values() for name in names} & {use.name for use in all_uses}
    if missing and not present:
        more = ", …" if len(missing) > _LISTED_AT_MOST else ""
        listed = ", ".join(missing[:_LISTED_AT_MOST]) + more
        yield Issue(
            ("source",),
            f"no column that the mapping uses is in the source ({listed}); is it another export? "
            "Under `csv`, `skip_lines` leaves out what stands above the header, `header: false` is for a "
            "file without one, and `delimiter` says what is between the cells; under `excel`, `header_row` "
            "is the row of a workbook that has the names",
        )
        return
    for use, known in unknown.values():
        tables = [table for table in use.tables if table in columns]
        whose = f"the table {tables[0]}" if spec.source.layout == "tables" and tables else "the source"
        known = [*known, *spec.define]
        # Where most columns are missing it is another export, and suggesting constants would mislead.
        hint = did_you_mean(use.name, known) if len(missing) > len(present) else _instead(use, known)
        yield Issue(use.location, f"there is no column '{use.name}' in {whose}{hint}", use.name)


def _is_known(spec: MappingSpec, name: str, known: Sequence[str]) -> bool:
    if name in known or not known or name in spec.source.optional or name != usable_name(name):
        return True
    prefix = next((prefix for prefix in _NESTED if name.startswith(prefix)), None)
    # The members of JSON objects are not known from the header.
    has_members = any(prefix and column.startswith(prefix) for column in known)
    return spec.source.layout == "nested" and prefix is not None and not has_members


_CALL: Final = re.compile(r"(\w+)\((.*)\)")


def _as_value(name: str, known: Sequence[str]) -> str:
    """What is written as a column's name and looks like a formula, as a value; empty for other names."""
    if (call := _CALL.fullmatch(name)) and call[1].lower() in VALUES and call[2] in known:
        return f"{{{call[1].lower()}: {call[2]}}}"
    parts = re.split(r"\s*[-+*/]\s*", name)
    is_sum = len(parts) > 1 and all(part in known or part.isdigit() for part in parts)
    return f"{{sql: {quoted(name)}}}" if call or is_sum else ""


def _instead(use: Use, known: Sequence[str]) -> str:
    """What may have been meant: another column, or no column at all."""
    if not use.in_sql and (formula := _as_value(use.name, known)):
        return f"; a formula is no column: write {formula}"
    near = did_you_mean(use.name, known)
    if use.in_sql and (not near or use.name.isupper()):  # such as status = "VOID"
        return f"; a text stands in single quotes: '{use.name}'"
    if near:
        return near
    if use.location[0] in ("source", "columns") or use.location[-1] == "template":
        return ""
    return f"; write {{constant: {quoted(use.name)}}} for what is the same on every row"
