"""Reads YAML into plain values, and maps every one of them to its line and column.

Plain words are read as in YAML 1.2: only `true` and `false` are booleans (`yes`, `no`, `on` and `off` stay
text). Numbers become `int` or `Decimal`, and only in the usual notation (`007`, `1e3` and `0x1F` stay text).
Keys are always text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from pipeline.core.errors import MappingError, Problem

Key: TypeAlias = str | int
Location: TypeAlias = tuple[Key, ...]
"""Where in a document: keys and 0-based list positions from the top, like pydantic's `loc`."""

# Far beyond any real mapping. The limits stop files that are not mappings, and aliases that multiply.
MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 100_000


@dataclass(frozen=True)
class Position:
    """Line and column of a part of the document, 1-based.

    Attributes:
        key: Line and column of its key; for a list member and the whole document, of the value.
        value: Line and column at which the value begins.
        block: The value is written over indented lines of its own, so an error should point at its key.
    """

    key: tuple[int, int]
    value: tuple[int, int]
    block: bool


@dataclass(frozen=True)
class Issue:
    """Something that is wrong in a document, before its line and column are looked up.

    Attributes:
        location: Keys and list positions from the top of the file.
        message: What is wrong and how to fix it.
        word: A word in the text at that location to point at.
        text: The text at that location; together with `at` it points at a character.
        at: The character, counted from 0.
    """

    location: Location
    message: str
    word: str = ""
    text: str = ""
    at: int | None = None


@dataclass(frozen=True)
class YamlDocument:
    """A YAML file as plain values.

    Attributes:
        path: The file.
        text: What is in it.
        data: Objects, lists, texts, `int`, `Decimal`, `bool` and None.
        positions: The line and column of each part.
    """

    path: Path
    text: str
    data: Any
    positions: Mapping[Location, Position]

    def location(self, loc: Sequence[Key]) -> Location:
        """The location in the file that `loc` means, without steps that are not keys of the file."""
        location: Location = ()
        for step in loc:
            if (*location, step) in self.positions:
                location = (*location, step)
        return location

    def where(self, loc: Sequence[Key]) -> tuple[int, int]:
        """Line and column of what `loc` names, or of the nearest part around it that exists."""
        position = self.positions[self.location(loc)]
        return position.key if position.block else position.value

    def where_key(self, loc: Sequence[Key]) -> tuple[int, int]:
        """Line and column of the key of what `loc` names."""
        return self.positions[self.location(loc)].key

    def problem(self, issue: Issue) -> Problem:
        """An issue with its line and column, pointing at its word or character where that is in the line."""
        line, column = self.where(issue.location)
        written = self.text.splitlines()[line - 1] if self.text else ""
        if issue.word:
            at = written.find(issue.word, column - 1)
            column = at + 1 if at >= 0 else column
        elif issue.at is not None:
            column = _character(written, column, issue.text, issue.at)
        return Problem(self.path, line, column, issue.message)


def _character(line: str, column: int, text: str, at: int) -> int:
    """The column of character `at` of a text that is written in a line, in any quotes, from `column` on."""
    for escaped in (
        str,
        lambda part: part.replace("'", "''"),
        lambda part: part.replace("\\", r"\\").replace('"', r"\""),
    ):
        begin = line.find(escaped(text), column - 1)
        if begin >= 0:
            return begin + len(escaped(text[:at])) + 1
    return column


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's plain words, and a limit on depth."""

    # Emptied, because by the YAML 1.1 of PyYAML `no` would be false and `010` would be 8.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=self.get_mark()
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_TAG = "tag:yaml.org,2002:"
for _kind, _pattern, _first in (
    ("null", r"^(?:~|null|)$", [*"~n", ""]),
    ("bool", r"^(?:true|false)$", [*"tf"]),
    ("int", r"^(?:0|-?[1-9][0-9]{0,36})$", [*"-0123456789"]),
    ("decimal", r"^-?(?:0|[1-9][0-9]{0,36})\.[0-9]{1,36}$", [*"-0123456789"]),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)

_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "null": lambda _text: None,
    _TAG + "bool": lambda text: text == "true",
    _TAG + "int": int,
    _TAG + "decimal": Decimal,
    _TAG + "str": str,
}

# What PyYAML says, and what a person who does not know the grammar of YAML can do about it. The first pattern
# that matches counts.
_PLAIN_WORDS = (
    (r"character '\\t'", "there is a tab here; YAML is indented with blanks only"),
    (
        r"character '([@`%])'",
        "a text cannot begin with this sign unless it stands in quotes; write '...' around it",
    ),
    (
        "mapping values are not allowed here",
        "there is a colon where none can be; put a text that holds ': ' in quotes, or fix the indentation",
    ),
    (
        "could not find expected ':'",
        "a key needs a colon and a blank after it, as in `total: sale_total`",
    ),
    ("unexpected end of stream", "the quote that is opened here is never closed"),
    (
        "while parsing a flow mapping",
        "the { that is opened here is not closed, or a comma is missing in it; "
        'a text that holds { or } stands in quotes, as in "{store}-{number}"',
    ),
    (
        "while parsing a flow sequence",
        "the [ that is opened here is not closed, or a comma is missing in it; "
        "a text with a # after a blank stands in quotes",
    ),
    (
        "while parsing a block (mapping|collection)",
        "this does not belong to the lines before it: indent it as they are, write `key: value`, "
        'and put a text that holds { } [ ] : or # in quotes, as in "{store}-{number}"',
    ),
    (
        "unknown escape character",
        "in double quotes a backslash begins an escape; write a pattern with backslashes in single quotes",
    ),
    ("<document start>", "this line is indented less than the lines before it"),
    ("while scanning an (alias|anchor)", "a text that begins with * or & stands in quotes"),
    ("found undefined alias", "a text that begins with * stands in quotes"),
    ("expected a single document", "a mapping is one document; take the line `---` out"),
)
_TYPOGRAPHIC = tuple("\u201c\u201d\u201e\u2018\u2019")
"""Quotes that word processors put in place of those that are typed."""
_QUOTE_THE_MARK = "a text that begins with ! stands in quotes"
_AT_THE_OPENING = re.compile("unexpected end|expected ',' or")


def parse(path: Path, text: str) -> YamlDocument:
    """Read YAML text.

    Args:
        path: The file it is from, for messages.
        text: The file's text.

    Raises:
        MappingError: The text is not YAML, has a key twice, is empty, too large or nested too deep.
    """
    if len(text) > MAX_CHARACTERS:
        raise _refused(path, (1, 1), f"the file is larger than {MAX_CHARACTERS} characters: is it a mapping?")
    node = _compose(path, text)
    if node is None:
        raise _refused(path, (1, 1), "the file is empty; a mapping was expected")
    reader = _Reader(path)
    data = reader.read(node, (), node.start_mark)
    if reader.problems:
        raise MappingError(reader.problems)
    return YamlDocument(path, text, data, reader.positions)


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        location = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise _refused(
            path, location, f"a character that cannot be in YAML (code {error.character}); take it out"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise _refused(path, _place_of(error), _plain(error)) from None


def _place_of(error: yaml.MarkedYAMLError) -> tuple[int, int]:
    unclosed = _AT_THE_OPENING.search(error.problem or "")
    mark = (error.context_mark if unclosed else None) or error.problem_mark or error.context_mark
    return _at(mark) if mark else (1, 1)


def _plain(error: yaml.MarkedYAMLError) -> str:
    said = f"{error.context or ''}: {error.problem or ''}"
    for pattern, words in _PLAIN_WORDS:
        if re.search(pattern, said):
            return words
    return error.problem or "this is not YAML"


def _refused(path: Path, location: tuple[int, int], message: str) -> MappingError:
    return MappingError([Problem(path, *location, message)])


def _at(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


class _Reader:
    """Turns nodes into plain values, and collects positions and problems on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.positions: dict[Location, Position] = {}
        self.problems: list[Problem] = []

    def read(self, node: yaml.Node, location: Location, key: Any) -> Any:
        """The plain value of a node at `location`; `key` is the mark of its key."""
        self.positions[location] = Position(_at(key), _at(node.start_mark), _is_block(node))
        if len(self.positions) > MAX_NODES or len(location) > MAX_DEPTH:
            raise _refused(self.path, _at(key), f"aliases make more than {MAX_NODES} values, or a circle")
        if node.tag not in (*_SCALARS, _TAG + "map", _TAG + "seq"):
            self._problem(node, f"the tag {node.tag} is not known; {_QUOTE_THE_MARK}")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._object(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.read(member, (*location, i), member.start_mark) for i, member in enumerate(node.value)
            ]
        if isinstance(node, yaml.ScalarNode) and not node.style and node.value[:1] in _TYPOGRAPHIC:
            self._problem(node, f"{node.value[0]} is no quote of YAML; write \" or ' around the text")
        return _SCALARS[node.tag](node.value)

    def _object(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, "a key is a plain text; a text that begins with { or [ stands in quotes")
            elif key.value in read:
                line, _ = self.positions[(*location, key.value)].key
                self._problem(key, f"'{key.value}' is there twice, first in line {line}; only one can count")
            else:
                read[key.value] = self.read(value, (*location, key.value), key.start_mark)
        return read

    def _problem(self, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(self.path, *_at(node.start_mark), message))


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style
