"""The JSON Schema of a mapping, for editors that complete and check YAML while it is written."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Dialect, Worksheet
from pipeline.mapping.language.forms import Frozen
from pipeline.mapping.language.spec import MappingSpec

FIELD_NOTES = {
    "transaction": {name: field.note for name, field in TRANSACTION_FIELDS.items()},
    "items": {name: field.note for name, field in ITEM_FIELDS.items()},
}
"""What Omneo's fields mean, by section of the mapping."""

_ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def mapping_schema() -> dict[str, Any]:
    """The schema (JSON Schema 2020-12). Each key is described by the docstring of its class."""
    schema = MappingSpec.model_json_schema()
    parts = {kind.__name__: kind for kind in _parts()}
    _describe(schema, MappingSpec)
    for name, part in schema["$defs"].items():
        _describe(part, parts[name])
    for section, notes in FIELD_NOTES.items():
        values = schema["properties"][section].pop("additionalProperties")
        names = schema["properties"][section].pop("propertyNames")["enum"]
        properties = {name: {"description": notes[name], **values} for name in names}
        schema["properties"][section] |= {"properties": properties, "additionalProperties": False}
    value = schema["$defs"]["SumValue"]["properties"]["sum"]
    step = schema["$defs"]["SumValue"]["properties"]["then"]["items"]
    shared = {"Value": {"oneOf": value["oneOf"]}, "Step": {"oneOf": step["oneOf"]}}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A mapping of omneo-import"}
    shortened: dict[str, Any] = _with_references(schema, shared)
    shortened["$defs"] |= {name: _with_references(part, shared, but=name) for name, part in shared.items()}
    return head | shortened


def schema_text() -> str:
    """The schema as it is written to `mappings/schema.json`."""
    return json.dumps(mapping_schema(), indent=1, ensure_ascii=False) + "\n"


def summary_of(part: type) -> str:
    """What a part of a mapping is: its docstring up to the list of its attributes."""
    text = inspect.getdoc(part) or ""
    return " ".join(text.split("Attributes:")[0].split())


def notes_of(part: type) -> dict[str, str]:
    """What each key of a part means, by the attribute's name in the model, from its docstring."""
    notes: dict[str, str] = {}
    names: list[str] = []
    for line in (inspect.getdoc(part) or "").partition("Attributes:")[2].splitlines():
        entry = _ENTRY.match(line[4:])
        if entry:
            names = entry[1].split(", ")
            notes |= dict.fromkeys(names, entry[2])
        elif line.strip():
            notes |= {name: f"{notes[name]} {line.strip()}" for name in names}
    return {name: re.sub(r"\bNone\b", "`null`", note) for name, note in notes.items()}


def _parts() -> Iterator[type]:
    def below(kind: type) -> Iterator[type]:
        yield kind
        children: list[type] = kind.__subclasses__()
        for child in children:
            yield from below(child)

    yield from below(Frozen)
    yield Dialect
    yield Worksheet


def _with_references(schema: Any, shared: Mapping[str, Any], *, but: str = "") -> Any:
    """Replace the unions that occur everywhere by references, which keeps the schema readable."""
    if isinstance(schema, list):
        return [_with_references(member, shared) for member in schema]
    if not isinstance(schema, dict):
        return schema
    for name, part in shared.items():
        if name != but and schema.get("oneOf") == part["oneOf"]:
            rest = {key: value for key, value in schema.items() if key not in ("oneOf", "discriminator")}
            return {"$ref": f"#/$defs/{name}", **rest}
    return {key: _with_references(value, shared) for key, value in schema.items()}


def _describe(schema: dict[str, Any], part: type) -> None:
    """Add descriptions from a docstring to a part of the schema, and drop titles that repeat the keys."""
    schema["description"] = summary_of(part)
    schema.pop("title", None)
    notes = notes_of(part)
    fields = part.model_fields if issubclass(part, Frozen) else {}
    names = {field.alias or name: name for name, field in fields.items()}
    for key, property_ in schema.get("properties", {}).items():
        property_.pop("title", None)
        if note := notes.get(names.get(key, key)):
            property_["description"] = note
