"""What is wrong with a mapping beyond its form, all at once, each problem at its place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.core.errors import Problem
from pipeline.mapping.compile.compiler import CompiledMapping, examine
from pipeline.mapping.language import spec as s
from pipeline.mapping.language.load import LoadedMapping
from pipeline.mapping.language.source_map import Found
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.usage import visitor as walk
from pipeline.mapping.usage.column_names import UNMAPPED, severity_of, unmapped_columns
from pipeline.mapping.usage.used_columns import keys_of

Columns = Mapping[str, Sequence[str]]
"""Column names by table: `lines` for a single input, else `headers`, `items` and `payments`."""


def check_mapping(
    loaded: LoadedMapping, columns: Columns | None = None, sources: Sequence[str] | None = None
) -> list[Problem]:
    """Find what would keep a mapping from working, by compiling it.

    Args:
        loaded: A mapping that is right in form.
        columns: The source's columns by table, where they are known: then names are checked against them.
        sources: The files given on the command line, for look-up tables among them; None where not known.

    Returns:
        All problems in the order of the file; empty where the mapping can be used.
    """
    return compiled_and_checked(loaded, columns, sources)[1]


def compiled_and_checked(
    loaded: LoadedMapping, columns: Columns | None, sources: Sequence[str] | None
) -> tuple[CompiledMapping, list[Problem]]:
    """Compile a mapping, and say what keeps it from working: the same arguments as `check_mapping`.

    Returns:
        The compiled mapping, which can be used where there is no problem; and the problems.
    """
    compiled, found = examine(loaded.spec, columns, directory=loaded.path.parent, sources=sources)
    if severity_of(loaded.spec, UNMAPPED) == "reject":
        found += _unmapped(loaded.spec, columns or {})
    return compiled, sorted({loaded.document.problem(problem) for problem in found})


def mapping_notices(loaded: LoadedMapping, columns: Columns | None = None) -> list[Problem]:
    """Find what a person should know though the mapping works: the same arguments as `check_mapping`.

    Returns:
        Notices in the order of the file: parts that are never used, columns that are not mapped, and items
        without an id.
    """
    found = list(_unused(loaded.spec))
    if severity_of(loaded.spec, UNMAPPED) != "reject":
        found += _unmapped(loaded.spec, columns or {})
    return sorted(loaded.document.problem(notice) for notice in found)


def _unmapped(spec: MappingSpec, columns: Columns) -> Iterator[Found]:
    """Columns that are not used: a notice, or a problem where the mapping rejects them."""
    for table, names in unmapped_columns(spec, columns).items():
        where = f" of {table}" if len(columns) > 1 else ""
        listed = ", ".join(names)
        yield Found(("source",), f"not mapped{where}: {listed}; map them or list them in `ignore`")


def _unused(spec: MappingSpec) -> Iterator[Found]:
    mentioned = {mention.name for root in walk.all_roots(spec) for mention in walk.mentions(root)}
    mentioned |= {name for formula in walk.conditions(spec) for name in walk.names_in(formula.sql)}
    mentioned |= {*keys_of(spec)}
    for name in spec.define:
        if name not in mentioned:
            yield Found(("define", name), f"`{name}` is defined and never used")
    looked_up = {
        site.value.lookup
        for root in walk.all_roots(spec)
        for site in walk.deep(root)
        if isinstance(site.value, s.LookupValue)
    }
    for name in spec.lookups:
        if name not in looked_up:
            yield Found(("lookups", name), f"the table `{name}` is never used")
    if spec.items and "external_id" not in spec.items:
        message = "items have no `external_id`; sent twice, they would be there twice"
        yield Found(("items",), message)
