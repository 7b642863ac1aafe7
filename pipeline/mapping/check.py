"""What is wrong with a mapping beyond its form, all at once, each problem at its place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.errors import Problem, did_you_mean
from pipeline.mapping import spec as s
from pipeline.mapping import walk
from pipeline.mapping.check_formulas import broken_formulas, unknown_names
from pipeline.mapping.check_sections import SECTION_CHECKS
from pipeline.mapping.check_values import VALUE_CHECKS
from pipeline.mapping.columns import keys_of
from pipeline.mapping.document import Found
from pipeline.mapping.load import LoadedMapping
from pipeline.mapping.names import UNMAPPED, Names, severity_of, unmapped_columns
from pipeline.mapping.spec import MappingSpec

Columns = Mapping[str, Sequence[str]]
"""Column names by table: `lines` for a single input, else `headers`, `items` and `payments`."""


def check_mapping(loaded: LoadedMapping, columns: Columns | None = None) -> list[Problem]:
    """Find what would keep a mapping from working.

    Args:
        loaded: A mapping that is right in form.
        columns: The source's columns by table, where they are known: then names are checked against them.

    Returns:
        All problems in the order of the file; empty where the mapping can be used.
    """
    found = [problem for check in (*SECTION_CHECKS, *VALUE_CHECKS) for problem in check(loaded.spec)]
    found += broken_formulas(loaded.spec)
    places = {problem.place for problem in found}
    found += (name for name in unknown_names(Names(loaded.spec, columns)) if name.place not in places)
    found += _missing_tables(loaded)
    if severity_of(loaded.spec, UNMAPPED) == "reject":
        found += _unmapped(loaded.spec, columns or {})
    return sorted({loaded.document.problem(problem) for problem in found})


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


def _missing_tables(loaded: LoadedMapping) -> Iterator[Found]:
    """Look-up tables beside the mapping that are not there, or not under its directory."""
    root = loaded.path.parent.resolve()
    for name, table in loaded.spec.lookups.items():
        if table.from_ == "source":
            continue
        file = (root / table.file).resolve()
        if not file.is_relative_to(root):
            message = f"'{table.file}' is not under the mapping's own directory; put the table beside it"
            yield Found(("lookups", name, "file"), message)
        elif not file.is_file():
            near = did_you_mean(table.file, [p.name for p in root.glob("*.*")])
            message = f"there is no file '{table.file}' beside the mapping{near}"
            yield Found(("lookups", name, "file"), message)


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
