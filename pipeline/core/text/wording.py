"""Numbers with their nouns and verbs, so that no message says "1 rows are"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_VERBS: Final = {"is": "are", "was": "were", "has": "have", "does": "do"}
_CONSONANT_Y: Final = re.compile(r"(?<![aeiou])y$")
_HISSES: Final = ("s", "x", "ch", "sh")
_MOST_NAMED: Final = 3
"""Names that a sentence lists; it counts the others."""


def count(number: int, noun: str, verb: str = "") -> str:
    """`1 row`, `2,000 rows`, `2 copies`; with a verb `1 row was`, `2,000 rows were`.

    Args:
        number: How many.
        noun: In the singular; of several words the last is the noun.
        verb: In the singular.
    """
    return " ".join(filter(None, (f"{number:,}", noun if number == 1 else plural(noun), agree(number, verb))))


def part(number: int, whole: int, noun: str, verb: str = "") -> str:
    """`1 of 3 rows`, `1 of 1 row`; with a verb `1 of 3 rows was`, `2 of 3 rows were`."""
    return f"{number:,} of {count(whole, noun)} {agree(number, verb)}".rstrip()


def first_of(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def between(low: float, high: float, digits: int = 0) -> str:
    """Two shares as percentages, or one where both are written alike."""
    ends = f"{low:.{digits}%}", f"{high:.{digits}%}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def agree(number: int, verb: str) -> str:
    """A verb in the form that goes with a number: `is` or `are`, `differs` or `differ`."""
    return verb if number == 1 else _VERBS.get(verb, verb.removesuffix("s"))


def plural(noun: str) -> str:
    """`row` becomes `rows`, `copy` `copies`, `batch` `batches`."""
    if noun.endswith(_HISSES):
        return f"{noun}es"
    changed = _CONSONANT_Y.sub("ies", noun)
    return changed if changed != noun else f"{noun}s"
