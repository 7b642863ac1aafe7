"""What pydantic finds wrong with a mapping, in words that a newcomer can act on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from pipeline.core.errors import Problem, did_you_mean
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Kind
from pipeline.mapping.language.source_map import Document, Key, Place
from pipeline.mapping.language.spec import (
    SET_ELSEWHERE,
    STEP_TAG,
    STEPS,
    VALUE_TAG,
    VALUES,
    MappingSpec,
    Word,
)
from pipeline.mapping.language.yaml_text import quoted

WORDS: tuple[str, ...] = get_args(Word)
"""The steps without options."""

_ORIGINS = ", ".join(name for name in VALUES if name != "open")  # which drafts are for
_A_VALUE = f"a value is a column's name, or an object with one of {_ORIGINS}"


@dataclass(frozen=True)
class _Finding:
    """One of pydantic's errors, beside the place in the file that it is about."""

    error: ErrorDetails
    place: Place

    @property
    def input(self) -> Any:
        return self.error["input"]

    @property
    def last(self) -> str:
        return str(self.error["loc"][-1]) if self.error["loc"] else ""

    @property
    def section(self) -> str:
        """The nearest key around the place, quoted for a sentence; `the mapping` at the top."""
        names = [step for step in self.place if isinstance(step, str)]
        return f"`{names[-1]}`" if names else "the mapping"


def problems_of(error: ValidationError, document: Document) -> list[Problem]:
    """Say every error of a validation in plain words, at its line and column.

    Errors of several alternatives at one place (a text, a number…) are told once.
    """
    told: dict[tuple[Any, ...], Problem] = {}
    for details in error.errors(include_url=False):
        finding = _Finding(details, document.place(details["loc"]))
        missing = details["type"] == "missing"
        at_key = details["type"] in _ABOUT_KEYS
        line, column = (document.where_key if at_key else document.where)(finding.place)
        problem = Problem(document.path, line, column, _sentence(finding))
        told.setdefault((finding.place, finding.last if missing else ""), problem)
    return list(told.values())


_ABOUT_KEYS = ("extra_forbidden", "unexpected_keyword_argument", "unknown_name", "missing")


def _sentence(finding: _Finding) -> str:
    if finding.last in ("str", "int", "decimal", "bool") and finding.error["type"] != "literal_error":
        return f"a text, a number, true or false was expected, not {_shown(finding.input)}"
    return _SENTENCES.get(finding.error["type"], _other)(finding)


def _other(finding: _Finding) -> str:
    said = finding.error["msg"].replace("Input should", "it should").replace("Value should", "it should")
    return f"{said[:1].lower()}{said[1:]}, not {_shown(finding.input)}"


def _shown(raw: object) -> str:
    """A value of the file as a reader would name it."""
    if raw is None:
        return "nothing (leave the key out where no value is needed)"
    if isinstance(raw, Mapping):
        return f"an object with {', '.join(map(str, raw)) or 'no keys'}"
    if isinstance(raw, list):
        return "a list"
    return _yaml(raw) if not isinstance(raw, str) else f"'{raw}'"


def _yaml(raw: object) -> str:
    return str(raw).lower() if isinstance(raw, bool) else str(raw)


# ── One sentence a kind of error ─────────────────────────────────────────────────────────────────────

_EXAMPLES = {
    "mapping": "a name for the mapping, as in `mapping: my_shop`",
    "source": "how the files are laid out, as in `source: {key: [receipt_no]}`",
    "transaction": "Omneo's fields, as in `transaction: {external_id: receipt_no, total: total}`",
}


def _missing(finding: _Finding) -> str:
    example = _EXAMPLES.get(finding.last)
    what = f": {example}" if example and not finding.place else ""
    return f"`{finding.last}` is missing in {finding.section}{what}"


def _unknown_key(finding: _Finding) -> str:
    key, loc = finding.last, finding.error["loc"]
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
    place = _Finding(finding.error, finding.place[:-1]).section
    return f"'{key}' is not known in {place}{_near(key, known, 'known are')}"


def _near(word: str, known: Sequence[str], introduction: str) -> str:
    """The nearest known word, or where none is near, all of them."""
    return did_you_mean(word, known) or f"; {introduction} {', '.join(known)}"


def _no_alternative(finding: _Finding) -> str:
    chooser = str(finding.error.get("ctx", {}).get("discriminator", ""))
    if chooser == "_value_tag()" and isinstance(finding.input, Mapping) and _holds_names(finding.place):
        return (
            f"{finding.section} holds names and values; write {{object: {{{', '.join(finding.input)}: ...}}}}"
        )
    choose = {"_value_tag()": _no_value, "_step_tag()": _no_step}.get(chooser, _no_kind)
    return choose(finding.input)


def _holds_names(place: Place) -> bool:
    fields = {"transaction": TRANSACTION_FIELDS, "items": ITEM_FIELDS}.get(str(place[0]), {})
    return len(place) > 1 and str(place[1]) in fields and fields[str(place[1])].kind is Kind.OBJECT


def _no_value(raw: object) -> str:
    if isinstance(raw, Mapping):
        return _no_origin(raw)
    if isinstance(raw, list):
        return (
            "a list is no value; write {first_of: [...]} for the first that is not blank, "
            "or {list: [...]} for a list"
        )
    if raw is None:
        return f"a value was expected, not {_shown(raw)}; {_A_VALUE}"
    return (
        f"a bare {_yaml(raw)} is not a column; write {{constant: {_yaml(raw)}}} for a fixed value, "
        f'or "{_yaml(raw)}" in quotes for a column of that name'
    )


def _no_origin(raw: Mapping[Any, Any]) -> str:
    keys = [str(key) for key in raw]
    if any(value is None for value in raw.values()):
        return f'a text with braces stands in quotes: write {{template: "{{{keys[0]}}}"}}'
    if keys == ["then"]:
        return f"`then` needs a value before it: add one of {_ORIGINS}"
    words = [key for key in keys if key != "then"]
    near = next((hint for key in words if (hint := _meant(key, VALUES))), f"; {_A_VALUE}")
    return f"'{words[0]}' is no origin of a value{near}" if words else f"an empty object is no value{near}"


def _no_step(raw: object) -> str:
    if isinstance(raw, Mapping) and raw:
        key = str(next(iter(raw)))
        if key in WORDS:
            return f"the step `{key}` has no options; write it bare: {key}"
        return _unknown_step(key)
    return f"a step was expected, not {_shown(raw)}: {_all_steps()}"


def _unknown_step(word: str) -> str:
    return f"'{word}' is not a step{_meant(word, [*WORDS, *STEPS]) or '; ' + _all_steps()}"


_ELSEWHERE = {
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
    """The known word for what was written, by its sense or by its letters."""
    names = list(known)
    sense = next((name for name in names if word.casefold() in _ELSEWHERE.get(name, ())), None)
    return f"; did you mean '{sense}'?" if sense else did_you_mean(word, names)


def _all_steps() -> str:
    return f"steps are {', '.join(WORDS)} and, with options, {', '.join(STEPS)}"


def _no_kind(raw: object) -> str:
    return (
        f"what the column holds was expected, not {_shown(raw)}: integer, decimal, boolean, "
        "or an object with number, datetime or boolean"
    )


def _not_listed(finding: _Finding) -> str:
    word = str(finding.input)
    if finding.last == f"{STEP_TAG}word":
        if word in STEPS:
            return f"the step `{word}` needs its options, as in {{{word}: ...}}"
        return _unknown_step(word)
    expected = str(finding.error.get("ctx", {}).get("expected", ""))
    options = re.findall(r"'([^']*)'", expected)
    return (
        f"{_shown(finding.input)} is not one of {', '.join(options) or expected}{did_you_mean(word, options)}"
    )


def _not_a_list(finding: _Finding) -> str:
    if isinstance(finding.input, Mapping):
        return f"a list was expected in {finding.section}; put `- ` before each of its members"
    if finding.input is None:
        return f"a list was expected, not {_shown(None)}"
    word = _yaml(finding.input)
    plain = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", word)
    return f"a list was expected; write [{word if plain else repr(word)}]"


def _not_an_object(finding: _Finding) -> str:
    said = f"{finding.section} was expected to hold names and values, not {_shown(finding.input)}"
    # A plain text is nearly always what the first key should say, where that one must be there.
    part = _at(MappingSpec, finding.error["loc"])
    first = next(iter(part.model_fields.items()), None) if _is_model(part) else None
    if isinstance(finding.input, str) and finding.place and first and first[1].is_required():
        return f"{said}; write {{{first[1].alias or first[0]}: {quoted(finding.input)}}}"
    return said


def _is_model(part: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _not_text(finding: _Finding) -> str:
    if isinstance(finding.input, bool):
        return f'a text was expected; write "{_yaml(finding.input)}" in quotes'
    if isinstance(finding.input, Mapping) and None in finding.input.values():
        return 'a text was expected; one with braces stands in quotes, as in "{store}-{number}"'
    return f"a text was expected, not {_shown(finding.input)}"


def _bad_name(finding: _Finding) -> str:
    return (
        f"{_shown(finding.input)} is no name: lower-case letters, digits and underscores were expected, "
        "beginning with a letter"
    )


def _unknown_name(finding: _Finding) -> str:
    name = str(finding.input)
    if name in SET_ELSEWHERE and finding.place[:1] == ("transaction",):
        return f"`{name}` is not set here but in the section `{SET_ELSEWHERE[name]}`"
    return finding.error["msg"]


def _expects(what: str) -> Callable[[_Finding], str]:
    return lambda finding: f"{what} was expected, not {_shown(finding.input)}"


_SENTENCES: dict[str, Callable[[_Finding], str]] = {
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
    "string_too_short": lambda _: "an empty text is no value here; leave it out or write something",
    "string_too_long": _expects("one character"),
    "string_pattern_mismatch": _bad_name,
    "too_short": lambda _: "at least one member was expected in this list",
    "unknown_name": _unknown_name,
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), _expects("a whole number")),
    **dict.fromkeys(("decimal_type", "decimal_parsing"), _expects("a number")),
    **dict.fromkeys(("bool_type", "bool_parsing"), _expects("true or false")),
}


# ── What could have been written ─────────────────────────────────────────────────────────────────────


def known_keys(loc: Sequence[Key]) -> list[str]:
    """The keys that the part of a mapping at pydantic's `loc` may hold, as they are written in the file."""
    return list(_keys(_at(MappingSpec, loc)))


def _at(hint: Any, loc: Sequence[Key]) -> Any:
    """The type of what stands at `loc` under a part of type `hint`."""
    for step in loc:
        alternatives = _tagged(hint)
        if str(step) in alternatives:
            hint = alternatives[str(step)]
        elif get_origin(hint := _bare(hint)) in (dict, tuple):
            hint = get_args(hint)[1 if get_origin(hint) is dict else 0]
        else:
            hint = _keys(hint).get(str(step), hint)
    return _bare(hint)


def _tagged(hint: Any) -> dict[str, Any]:
    """The alternatives of a discriminated union, by tag."""
    union = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    members = [get_args(member) for member in get_args(union) if get_origin(member) is Annotated]
    return {note.tag: kind for kind, *notes in members for note in notes if isinstance(note, Tag)}


def _bare(hint: Any) -> Any:
    """A type without annotations, `None` and alternatives that hold nothing."""
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
