"""What keeps a mapping from working, and what a person should know though it works, with line and column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.core.errors import Problem
from pipeline.mapping.compile.compiled_mapping import CompiledMapping
from pipeline.mapping.compile.compiler import examine
from pipeline.mapping.functions.datetimes import may_have_offset
from pipeline.mapping.language.mapping_file import LoadedMapping
from pipeline.mapping.language.source_map import Issue
from pipeline.mapping.language.spec import MappingSpec, SplitKind
from pipeline.mapping.language.value_spec import LookupValue
from pipeline.mapping.usage import visitor
from pipeline.mapping.usage.column_names import UNMAPPED, SourceColumns, severity_of, unmapped_columns
from pipeline.mapping.usage.used_columns import date_steps


def check_mapping(
    loaded: LoadedMapping, columns: SourceColumns | None = None, sources: Sequence[str] | None = None
) -> list[Problem]:
    """Find what would keep a mapping from working, by compiling it.

    Args:
        loaded: A mapping that is right in form.
        columns: The source's columns by table, where they are known: names are checked against them.
        sources: The files on the command line, for look-up tables among them; None where not known.

    Returns:
        All problems in the order of the file; empty where the mapping can be used.
    """
    return compiled_and_checked(loaded, columns, sources)[1]


def compiled_and_checked(
    loaded: LoadedMapping, columns: SourceColumns | None, sources: Sequence[str] | None
) -> tuple[CompiledMapping, list[Problem]]:
    """Compile a mapping, and say what keeps it from working; arguments as for `check_mapping`.

    Returns:
        The compiled mapping, which can be used where there is no problem; and the problems.
    """
    compiled, issues = examine(loaded.spec, columns, directory=loaded.path.parent, sources=sources)
    if severity_of(loaded.spec, UNMAPPED) == "reject":
        issues += _unmapped(loaded.spec, columns or {})
    return compiled, sorted({loaded.document.problem(issue) for issue in issues})


def mapping_notices(loaded: LoadedMapping, columns: SourceColumns | None = None) -> list[Problem]:
    """Find what a person should know though the mapping works; arguments as for `check_mapping`.

    Returns:
        Notices in the order of the file: parts that are never used, columns that are not mapped, items
        without an id, and sales without a currency.
    """
    notices = [*_unused(loaded.spec), *_without_zone(loaded.spec)]
    if severity_of(loaded.spec, UNMAPPED) != "reject":
        notices += _unmapped(loaded.spec, columns or {})
    return sorted(loaded.document.problem(notice) for notice in notices)


def _without_zone(spec: MappingSpec) -> Iterator[Issue]:
    """Nothing says in which zone the times of sales are."""
    steps = date_steps(spec)
    forms = {form for step in steps if not step.timezone for form in step.formats}
    if "timezone" not in spec.transaction and not all(map(may_have_offset, forms)):
        message = (
            "times without an offset are taken as UTC; for another zone write "
            "`timezone: {constant: Europe/London}` beside `formats`"
        )
        yield Issue(("transaction", "transacted_at"), message)


def _unmapped(spec: MappingSpec, columns: SourceColumns) -> Iterator[Issue]:
    for table, names in unmapped_columns(spec, columns).items():
        where = f" of {table}" if len(columns) > 1 else ""
        listed = ", ".join(names)
        yield Issue(("source",), f"not mapped{where}: {listed}; map them or list them in `ignore`")


def _unused(spec: MappingSpec) -> Iterator[Issue]:
    values = [located for root in visitor.all_roots(spec) for located in visitor.walk(root)]
    mentioned = {mention.name for located in values for mention in visitor.own_mentions(located)}
    mentioned |= {name for each in visitor.conditions(spec) for name in visitor.names_in_sql(each.sql)}
    mentioned |= {*spec.source.all_keys}
    splits = (kind.split.into for kind in spec.columns.values() if isinstance(kind, SplitKind))
    # A column that is split need not have all of its parts used.
    mentioned |= {name for into in splits for name in into}
    for name in spec.define:
        if name not in mentioned:
            yield Issue(("define", name), f"`{name}` is defined and never used")
    looked_up = {located.value.lookup for located in values if isinstance(located.value, LookupValue)}
    for name in spec.lookups:
        if name not in looked_up:
            yield Issue(("lookups", name), f"the table `{name}` is never used")
    if "currency" not in spec.transaction:
        message = "no `currency`, so Omneo takes the tenant's own; say it: `currency: {constant: AUD}`"
        yield Issue(("transaction",), message)
    if spec.items and "external_id" not in spec.items:
        message = "items have no `external_id`; sent twice, they would be there twice"
        yield Issue(("items",), message)
