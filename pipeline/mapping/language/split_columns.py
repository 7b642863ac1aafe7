"""Columns that hold several values: the names of their parts become definitions."""

from __future__ import annotations

from dataclasses import replace

from pipeline.core.errors import MappingError
from pipeline.mapping.language.source_map import Issue, Location, YamlDocument
from pipeline.mapping.language.spec import MappingSpec, SplitKind
from pipeline.mapping.language.value_spec import ColumnValue, Split, SplitStep, Value


def with_parts_of_columns(spec: MappingSpec, document: YamlDocument) -> tuple[MappingSpec, YamlDocument]:
    """Define the names that `columns` splits columns into, before all other definitions.

    Args:
        spec: The mapping.
        document: Its file.

    Returns:
        The mapping, and the file in which the definitions stand where the names are.

    Raises:
        MappingError: A name is used for two things.
    """
    found: dict[str, Value] = {}
    places: dict[Location, Location] = {}
    issues = []
    for column, kind in spec.columns.items():
        if not isinstance(kind, SplitKind):
            continue
        into = kind.split.into
        for i, name in enumerate(into):
            here: Location = ("columns", column, "split", "into", i)
            if name in found or name in spec.define or name in spec.columns:
                issues.append(Issue(here, f"'{name}' has another meaning already; choose another name"))
            step = SplitStep(split=Split(by=kind.split.by, index=i, parts=len(into)))
            found[name] = ColumnValue(column=column, then=(step,))
            places["define", name] = here
    if issues:
        raise MappingError([document.problem(issue) for issue in issues])
    if not found:
        return spec, document
    # Without a section `define` of its own, the file has them where its columns are.
    places.setdefault(("define",), ("define",) if spec.define else ("columns",))
    positions = {**document.positions, **{name: document.positions[at] for name, at in places.items()}}
    defined = spec.model_copy(update={"define": {**found, **spec.define}})
    return defined, replace(document, positions=positions)
