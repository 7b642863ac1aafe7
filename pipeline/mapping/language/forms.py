"""What all parts of the mapping language are built of, and how pydantic tells the forms of a part apart."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, TypeAlias, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Tag, WithJsonSchema


class Frozen(BaseModel):
    """Base of all parts of a mapping: immutable; an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        coerce_numbers_to_str=True,
        # Otherwise pydantic builds each part on its own, and again inside every part that holds it. For the
        # same reason a part that is a default is made by `model_construct`.
        defer_build=True,
    )


def _as_written(raw: object) -> object:
    """Turn YAML's `true` and `false` back into words where a word is expected."""
    return str(raw).lower() if isinstance(raw, bool) else raw


Text: TypeAlias = Annotated[
    str, BeforeValidator(_as_written), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
"""A word as the file has it. In YAML it needs no quotes even where it looks like a number or a boolean."""

Scalar: TypeAlias = str | int | Decimal | bool


class NamesColumns(Enum):
    """How a text names columns and definitions; a field with this note is found wherever it is."""

    ITSELF = "itself"
    TEMPLATE = "template"
    SQL = "sql"


ColumnName: TypeAlias = Annotated[str, NamesColumns.ITSELF]
Template: TypeAlias = Annotated[str, NamesColumns.TEMPLATE]
Sql: TypeAlias = Annotated[str, NamesColumns.SQL]


def form_tag(raw: object) -> str:
    """Which form a part has: an object, a list or a plain value."""
    if isinstance(raw, Mapping | Frozen):
        return "|object"
    return "|list" if isinstance(raw, list | tuple) else "|plain"


def either(form: str, other: str) -> Discriminator:
    """Chooses the member of a union of two that is tagged with a form, for parts of that form."""
    return Discriminator(lambda raw: form if form_tag(raw) == form else other)


# Pydantic puts the tag of a union's member into the location of an error. These marks, and the one of forms,
# distinguish a tag from a key of the file.
VALUE_TAG, STEP_TAG = "=", ">"


def tagged_types(union: object) -> dict[str, Any]:
    """The members of a tagged union by their tags."""
    hint = get_args(union)[0] if get_origin(union) is Annotated else union
    members = [get_args(member) for member in get_args(hint) if get_origin(member) is Annotated]
    return {note.tag: kind for kind, *notes in members for note in notes if isinstance(note, Tag)}


def keyed_types(union: object) -> dict[str, type[Frozen]]:
    """The objects of a tagged union by the key that distinguishes them in the file."""
    members = tagged_types(union).items()
    return {tag[1:]: kind for tag, kind in members if isinstance(kind, type) and issubclass(kind, Frozen)}


def only_key_tag(raw: object, known: Mapping[str, type[Frozen]], mark: str, bare: str) -> str | None:
    """The tag for pydantic: that of the known key which the object has, or that of a `bare` word."""
    if isinstance(raw, str):
        return mark + bare
    if isinstance(raw, Mapping):
        return next((mark + key for key in known if key in raw), None)
    return next((mark + key for key, kind in known.items() if isinstance(raw, kind)), None)
