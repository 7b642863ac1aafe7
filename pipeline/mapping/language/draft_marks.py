"""What a draft leaves to a person: values marked `# unsure`, and open values."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.core.text.wording import count

# Quoted texts match first, so a mark inside one does not count.
_QUOTED_OR_UNSURE = re.compile(
    r"""'[^'\n]*'|"(?:\\.|[^"\\\n])*"|(?:^|(?<=\s))(\#\s*unsure\b)""", re.MULTILINE
)


def unsure_lines(text: str) -> list[int]:
    """The lines of a mapping's text in which a value is still marked `# unsure`, one for each value."""
    return [text.count("\n", 0, mark.start(1)) + 1 for mark in _QUOTED_OR_UNSURE.finditer(text) if mark[1]]


def unsure_sentence(lines: Sequence[int]) -> str:
    """How many values are marked, and in which lines; at least one."""
    return f"{count(len(lines), 'value', 'is')} marked unsure: line {', '.join(map(str, lines))}"


def open_values(text: str) -> int:
    """How many values of a draft's text are open."""
    return len(re.findall(r"\{open: ", text))


def still_open(name: str, missing: str) -> str:
    """What to say of an open value.

    Args:
        name: The field or key that is open.
        missing: What the draft says of it.
    """
    return f"`{name}` is open ({missing}): write the column that holds it, or another value, in place of this"
