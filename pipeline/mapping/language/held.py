"""Finds the values and the names of columns in a part of a mapping, by the types of its fields.

So no list says which class holds which: a new field of type `Value`, `ColumnName`, `Template` or `Sql` is
found wherever it stands, also in a list, in an object, or in a part of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from inspect import get_annotations
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, Union, get_args, get_origin

from pipeline.mapping.language.forms import Frozen, NamesColumns
from pipeline.mapping.language.source_map import Location
from pipeline.mapping.language.value_spec import VALUES, Value


class Held(NamedTuple):
    """A value, or a text that names columns, in a part of a mapping.

    Attributes:
        steps: Where it is written, starting from the part.
        held: The value or text.
        names: How a text names columns; None for a value.
    """

    steps: Location
    held: Any
    names: NamesColumns | None


_Find: TypeAlias = Callable[[Any, Location], Iterator[Held]]
_VALUE: Final = get_args(Value)[0]


def held_by(part: Frozen) -> Iterator[Held]:
    """What a part holds in the order of its fields, the steps of a value last; not what its values hold."""
    return _in_part(part, ())


def _in_part(part: Frozen, steps: Location) -> Iterator[Held]:
    for key, name, find in _fields(type(part)):
        content = getattr(part, name)
        if content is not None:
            yield from find(content, (*steps, key))


@cache
def _fields(kind: type[Frozen]) -> tuple[tuple[str, str, _Find], ...]:
    """The fields of a class that hold something: their key in the file, their name, and how it is found.

    Those that it inherits come last, so that the steps of a value do.
    """
    classes = [each for each in kind.__mro__ if issubclass(each, Frozen) and each is not Frozen]
    finds = {name: find for each in classes for name, find in _own_fields(each).items()}
    return tuple((kind.model_fields[name].alias or name, name, find) for name, find in finds.items())


@cache
def _own_fields(kind: type[Frozen]) -> dict[str, _Find]:
    # Not by `get_type_hints`, which evaluates those of pydantic too and takes ten times as long.
    types = get_annotations(kind, eval_str=True)
    return {name: find for name, hint in types.items() if (find := _find_in(hint)) is not None}


def _find_in(hint: Any) -> _Find | None:
    """How something is found in a field of a type; None where the type holds nothing."""
    hint, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    names = next((note for note in notes if isinstance(note, NamesColumns)), None)
    if names is not None or hint is _VALUE:
        return partial(_itself, names)
    kind, members = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return _find_in_any(members)
    if kind in (tuple, dict):
        inner = _find_in(members[0 if kind is tuple else 1])
        return inner and partial(_in_tuple if kind is tuple else _in_dict, inner)
    is_part = isinstance(hint, type) and issubclass(hint, Frozen)
    return _in_part if is_part and _fields(hint) else None


def _find_in_any(alternatives: tuple[Any, ...]) -> _Find | None:
    finds = {kind: find for each in alternatives if (find := _find_in(each)) for kind in _kinds(each)}
    return partial(_in_any, finds) if finds else None


def _kinds(hint: Any) -> tuple[type, ...]:
    """The classes that the content of a field of a type may have."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return (str, *VALUES.values()) if plain is _VALUE else (get_origin(plain) or plain,)


def _itself(names: NamesColumns | None, content: Any, steps: Location) -> Iterator[Held]:
    yield Held(steps, content, names)


def _in_any(finds: dict[type, _Find], content: Any, steps: Location) -> Iterator[Held]:
    find = finds.get(type(content))
    return find(content, steps) if find else iter(())


def _in_tuple(find: _Find, content: tuple[Any, ...], steps: Location) -> Iterator[Held]:
    for position, member in enumerate(content):
        yield from find(member, (*steps, position))


def _in_dict(find: _Find, content: dict[str, Any], steps: Location) -> Iterator[Held]:
    for name, member in content.items():
        yield from find(member, (*steps, name))
