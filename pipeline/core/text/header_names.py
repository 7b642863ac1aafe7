"""Makes the names in a header usable as names of columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final


def usable_names(raw: Sequence[str]) -> tuple[list[str], list[str]]:
    """Make column names that a mapping can use, and say what was changed or looks wrong.

    An empty name becomes `column_<position>`, a name that occurs again gets `#2`, `#3`...; all others are
    made usable on their own, see `usable_name`.

    Returns:
        The names, unique and in order, and the notices.
    """
    names, notices = _usable_names(tuple(raw))
    return [*names], [*notices]


# Thousands of files may have the same header.
@lru_cache(maxsize=64)
def _usable_names(raw: tuple[str, ...]) -> tuple[list[str], list[str]]:
    names: list[str] = []
    notices: list[str] = []
    taken = set(raw)
    for position, original in enumerate(raw, 1):
        name = usable_name(original) or f"column_{position}"
        if name in names:
            name = _numbered(name, taken)
        taken.add(name)
        names.append(name)
        if name != original:
            notices.append(f"column {position} is named {original!r}; it is read as '{name}'")
        latin = as_latin(name)
        if latin != name and latin.isascii():
            notices.append(f"column '{name}' is not '{latin}': it holds {odd_letters(name)}")
    return names, notices


def usable_name(name: str) -> str:
    """A name as it is used from the header on; most stay as they are.

    Blanks around it are dropped, other blanks inside it become spaces, invisible characters and NULs go. A
    name that starts with two underscores, which the pipeline keeps for its own columns, gets `column` before
    it; so do `*` and names from `^` to `$`, which polars would take for patterns.
    """
    # A NUL would end the name where pyarrow passes it to polars.
    visible = (c for c in name if c != "\0" and unicodedata.category(c) != "Cf")
    cleaned = "".join(" " if c.isspace() else c for c in visible).strip()
    is_pattern = cleaned == "*" or (cleaned.startswith("^") and cleaned.endswith("$"))
    return f"column{cleaned}" if is_pattern or cleaned.startswith("__") else cleaned


def _numbered(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}#{number}" in taken:
        number += 1
    return f"{name}#{number}"


# Cyrillic and Greek letters drawn like Latin ones (Unicode's confusables.txt, the single-letter cases).
_LOOKALIKES: Final = str.maketrans(
    "АВЕЗІЈКМНОРСТУХаеіјорсухΑΒΕΖΗΙΚΜΝΟΡΤΥΧο",  # noqa: RUF001
    "ABE3IJKMHOPCTYXaeijopcyxABEZHIKMNOPTYXo",
)


def as_latin(name: str) -> str:
    """The name with Latin letters in place of Cyrillic and Greek ones that look like them."""
    return name.translate(_LOOKALIKES)


def odd_letters(name: str) -> str:
    """The letters of a name that only look like Latin ones, each with its proper name."""
    return ", ".join(_odd_letters(name))


def _odd_letters(name: str) -> Iterator[str]:
    for letter in dict.fromkeys(name):
        if as_latin(letter) != letter:
            yield f"{letter} ({unicodedata.name(letter).capitalize()})"
