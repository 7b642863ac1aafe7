"""Says what pydantic finds wrong with a mapping in words that a newcomer can act on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.core.errors import Problem, did_you_mean
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Kind
from pipeline.mapping.language.forms import STEP_TAG, VALUE_TAG, tagged_types
from pipeline.mapping.language.source_map import Key, Location, YamlDocument
from pipeline.mapping.language.spec import SET_ELSEWHERE, MappingSpec
from pipeline.mapping.language.value_spec import (
    STEPS,
    VALUES,
    Word,
)
from pipeline.mapping.language.yaml_text import quoted

WORDS: tuple[str, ...] = get_args(Word)
"""The steps without options."""

_ORIGINS = ", ".join(name for name in VALUES if name != "open")  # `open` is for drafts.
_A_VALUE = f"a value is a column's name, or an object with one of {_ORIGINS}"


@dataclass(frozen=True)
class _FormError:
    """One of pydantic's errors, and the location in the file that it is about."""

    details: ErrorDetails
    location: Location

    @property
    def input(self) -> Any:
        return self.details["input"]

    @property
    def last(self) -> str:
        return str(self.details["loc"][-1]) if self.details["loc"] else ""

    @property
    def section(self) -> str:
        """The nearest key around the location, quoted for a sentence; `the mapping` at the top."""
        return _section(self.location)


def _section(location: Location) -> str:
    names = [step for step in location if isinstance(step, str)]
    return f"`{names[-1]}`" if names else "the mapping"


def problems_of(error: ValidationError, document: YamlDocument) -> list[Problem]:
    """Say every error of a validation in plain words, with its line and column.

    Several errors at one location, one for each type that is allowed there, become one problem.
    """
    problems: dict[tuple[Any, ...], Problem] = {}
    for details in error.errors(include_url=False):
        found = _FormError(details, document.location(details["loc"]))
        where = document.where_key if details["type"] in _ABOUT_KEYS else document.where
        problem = Problem(document.path, *where(found.location), _sentence(found))
        missing = found.last if details["type"] == "missing" else ""
        problems.setdefault((found.location, missing), problem)
    return list(problems.values())


_ABOUT_KEYS = ("extra_forbidden", "unexpected_keyword_argument", "unknown_name", "missing")


def _sentence(error: _FormError) -> str:
    kind = error.details["type"]
    if error.last in ("str", "int", "decimal", "bool") and kind != "literal_error":
        return f"a text, a number, true or false was expected, not {_shown(error.input)}"
    if kind in _SENTENCES:
        return _SENTENCES[kind](error)
    said = error.details["msg"].replace("Input should", "it should").replace("Value should", "it should")
    return f"{said[:1].lower()}{said[1:]}, not {_shown(error.input)}"


def _shown(raw: object) -> str:
    """A value of the file as a sentence names it."""
    if raw is None:
        return "nothing (leave the key out where no value is needed)"
    if isinstance(raw, Mapping):
        return f"an object with {', '.join(map(str, raw)) or 'no keys'}"
    if isinstance(raw, list):
        return "a list"
    return f"'{raw}'" if isinstance(raw, str) else _yaml(raw)


def _yaml(raw: object) -> str:
    return str(raw).lower() if isinstance(raw, bool) else str(raw)


# ── One sentence for each kind of error ─────────────────────────────────────────────────────────────

_EXAMPLES = {
    "mapping": "a name for the mapping, as in `mapping: my_shop`",
    "source": "how the files are laid out, as in `source: {key: [receipt_no]}`",
    "transaction": "Omneo's fields, as in `transaction: {external_id: receipt_no, total: total}`",
}


def _missing(error: _FormError) -> str:
    example = _EXAMPLES.get(error.last)
    what = f": {example}" if example and not error.location else ""
    return f"`{error.last}` is missing in {error.section}{what}"


def _unknown_key(error: _FormError) -> str:
    key, loc = error.last, error.details["loc"]
    tag = str(loc[-2]) if len(loc) > 1 else ""
    if tag.startswith(VALUE_TAG) and key in VALUES:
        return (
            f"a value has one origin, but here are both `{tag[1:]}` and `{key}`; "
            "write {first_of: [...]} for the first that is not blank"
        )
    if tag.startswith(VALUE_TAG) and (key in STEPS or key in WORDS):
        step = f"{{{key}: ...}}" if key in STEPS else key
        return f"`{key}` is a step; steps stand in `then`, as in then: [{step}]"
    if loc[-2:-1] == ("map",):
        return f"the words stand under `values`, as in map: {{values: {{{key}: ...}}}}"
    if tag.startswith(STEP_TAG) and key in STEPS:
        return f"`{tag[1:]}` and `{key}` are two steps; each stands in an object of its own, with `- ` before"
    if key != key.strip():
        return f"there is a no-break space or the like beside '{key.strip()}'; indent with plain blanks"
    known = known_keys(loc[:-1])
    near = did_you_mean(key, known) or f"; known are {', '.join(known)}"
    return f"'{key}' is not known in {_section(error.location[:-1])}{near}"


def _no_alternative(error: _FormError) -> str:
    chooser = str(error.details.get("ctx", {}).get("discriminator", ""))
    if chooser == "_value_tag()":
        if isinstance(error.input, Mapping) and _holds_names(error.location):
            names = ", ".join(error.input)
            return f"{error.section} holds names and values; write {{object: {{{names}: ...}}}}"
        return _no_value(error.input)
    if chooser == "_step_tag()":
        if not isinstance(error.input, Mapping) or not error.input:
            return f"a step was expected, not {_shown(error.input)}: {_all_steps()}"
        key = str(next(iter(error.input)))
        if key in WORDS:
            return f"the step `{key}` has no options; write it bare: {key}"
        return _unknown_step(key)
    return (
        f"what the column holds was expected, not {_shown(error.input)}: integer, decimal, boolean, "
        "or an object with number, datetime or boolean"
    )


def _holds_names(location: Location) -> bool:
    """Whether a field of Omneo's is here that is an object."""
    fields = {"transaction": TRANSACTION_FIELDS, "items": ITEM_FIELDS}.get(str(location[0]), {})
    return len(location) > 1 and str(location[1]) in fields and fields[str(location[1])].kind is Kind.OBJECT


def _no_value(raw: object) -> str:
    if isinstance(raw, list):
        return (
            "a list is not a value; write {first_of: [...]} for the first that is not blank, "
            "or {list: [...]} for a list"
        )
    if raw is None:
        return f"a value was expected, not {_shown(raw)}; {_A_VALUE}"
    if not isinstance(raw, Mapping):
        return (
            f"a bare {_yaml(raw)} is not a column; write {{constant: {_yaml(raw)}}} for a fixed value, "
            f'or "{_yaml(raw)}" in quotes for a column of that name'
        )
    keys = [str(key) for key in raw]
    if any(value is None for value in raw.values()):
        return f'a text with braces stands in quotes: write {{template: "{{{keys[0]}}}"}}'
    if keys == ["then"]:
        return f"`then` needs a value before it: add one of {_ORIGINS}"
    words = [key for key in keys if key != "then"]
    near = next((hint for key in words if (hint := _meant(key, VALUES))), f"; {_A_VALUE}")
    return f"'{words[0]}' does not make a value{near}" if words else f"an empty object is not a value{near}"


def _unknown_step(word: str) -> str:
    return f"'{word}' is not a step{_meant(word, [*WORDS, *STEPS]) or '; ' + _all_steps()}"


_SYNONYMS = {
    "template": ("concat", "concatenate", "format", "join"),
    "case": ("if", "when", "switch"),
    "first_of": ("coalesce", "fallback", "any_of"),
    "constant": ("const", "fixed", "literal", "text", "value"),
    "column": ("field", "from", "source", "header"),
    "sql": ("expr", "expression", "formula"),
    "lookup": ("vlookup", "table"),
    "trim": ("strip",),
    "replace": ("regex", "regexp", "sub"),
    "slice": ("substr", "substring", "left", "right", "mid"),
    "pad": ("lpad", "zfill"),
    "number": ("amount", "decimal", "float", "int", "integer", "money"),
    "datetime": ("date", "timestamp", "strptime"),
    "map": ("translate", "values"),
}
"""What values and steps are called in other tools."""


def _meant(word: str, known: Iterable[str]) -> str:
    """The known word that was meant, by its meaning or by its letters."""
    names = list(known)
    synonym = next((name for name in names if word.casefold() in _SYNONYMS.get(name, ())), None)
    return f"; did you mean '{synonym}'?" if synonym else did_you_mean(word, names)


def _all_steps() -> str:
    return f"steps are {', '.join(WORDS)} and, with options, {', '.join(STEPS)}"


def _not_listed(error: _FormError) -> str:
    word = str(error.input)
    if error.last == f"{STEP_TAG}word":
        return (
            f"the step `{word}` needs its options, as in {{{word}: ...}}"
            if word in STEPS
            else _unknown_step(word)
        )
    expected = str(error.details.get("ctx", {}).get("expected", ""))
    options = re.findall(r"'([^']*)'", expected)
    near = did_you_mean(word, options)
    if error.input is False and "off" in options:
        near = "; did you mean 'off'?"
    return f"{_shown(error.input)} is not one of {', '.join(options) or expected}{near}"


def _not_a_list(error: _FormError) -> str:
    if isinstance(error.input, Mapping):
        return f"a list was expected in {error.section}; put `- ` before each of its members"
    if error.input is None:
        return f"a list was expected, not {_shown(None)}"
    word = _yaml(error.input)
    plain = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", word)
    return f"a list was expected; write [{word if plain else repr(word)}]"


def _not_an_object(error: _FormError) -> str:
    said = f"{error.section} was expected to hold names and values, not {_shown(error.input)}"
    if isinstance(error.input, list) and error.input and isinstance(error.input[0], Mapping):
        return f"{said}; leave out the `- ` before its members"
    # A plain text is nearly always meant for the first key, if that key is required.
    part = _type_at(MappingSpec, error.details["loc"])
    is_model = isinstance(part, type) and issubclass(part, BaseModel)
    first = next(iter(part.model_fields.items()), None) if is_model else None
    if isinstance(error.input, str) and error.location and first and first[1].is_required():
        return f"{said}; write {{{first[1].alias or first[0]}: {quoted(error.input)}}}"
    return said


def _not_text(error: _FormError) -> str:
    if isinstance(error.input, bool):
        return f'a text was expected; write "{_yaml(error.input)}" in quotes'
    if isinstance(error.input, Mapping) and None in error.input.values():
        return 'a text was expected; one with braces stands in quotes, as in "{store}-{number}"'
    return f"a text was expected, not {_shown(error.input)}"


def _bad_name(error: _FormError) -> str:
    return (
        f"{_shown(error.input)} cannot be a name: lower-case letters, digits and underscores were expected, "
        "beginning with a letter"
    )


def _unknown_name(error: _FormError) -> str:
    name = str(error.input)
    if name in SET_ELSEWHERE and error.location[:1] == ("transaction",):
        return f"`{name}` is not set here but in the section `{SET_ELSEWHERE[name]}`"
    return error.details["msg"]


def _expects(what: str) -> Callable[[_FormError], str]:
    return lambda error: f"{what} was expected, not {_shown(error.input)}"


_SENTENCES: dict[str, Callable[[_FormError], str]] = {
    "missing": _missing,
    "extra_forbidden": _unknown_key,
    "unexpected_keyword_argument": _unknown_key,
    "union_tag_not_found": _no_alternative,
    "literal_error": _not_listed,
    "tuple_type": _not_a_list,
    "dict_type": _not_an_object,
    "model_type": _not_an_object,
    "model_attributes_type": _not_an_object,
    "dataclass_type": _not_an_object,
    "string_type": _not_text,
    "string_too_short": lambda _: "an empty text cannot be used here; leave it out or write something",
    "string_too_long": _expects("one character"),
    "string_pattern_mismatch": _bad_name,
    "too_short": lambda _: "at least one member was expected in this list",
    "unknown_name": _unknown_name,
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), _expects("a whole number")),
    **dict.fromkeys(("decimal_type", "decimal_parsing"), _expects("a number")),
    **dict.fromkeys(("bool_type", "bool_parsing"), _expects("true or false")),
}


# ── What the file could have held ───────────────────────────────────────────────────────────────────


def known_keys(loc: Sequence[Key]) -> list[str]:
    """The keys that the part of a mapping at pydantic's `loc` may hold, as written in the file."""
    return list(_keys(_type_at(MappingSpec, loc)))


def _type_at(hint: Any, loc: Sequence[Key]) -> Any:
    """The type of the part at `loc` inside a part of type `hint`."""
    for step in loc:
        alternatives = tagged_types(hint)
        if str(step) in alternatives:
            hint = alternatives[str(step)]
        elif get_origin(hint := _bare(hint)) in (dict, tuple):
            hint = get_args(hint)[1 if get_origin(hint) is dict else 0]
        else:
            hint = _keys(hint).get(str(step), hint)
    return _bare(hint)


def _bare(hint: Any) -> Any:
    """A type without annotations, `None`, and alternatives without keys or members."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        parts = [_bare(part) for part in get_args(hint)]
        return next((part for part in parts if _keys(part) or get_origin(part) in (dict, tuple)), hint)
    return hint


def _keys(hint: Any) -> dict[str, Any]:
    """The keys of an object's type as written in the file, and the type of each."""
    if not isinstance(hint, type) or get_origin(hint):
        return {}
    if issubclass(hint, BaseModel):
        types = get_type_hints(hint, include_extras=True)
        return {field.alias or name: types[name] for name, field in hint.model_fields.items()}
    return get_type_hints(hint, include_extras=True) if is_dataclass(hint) else {}
