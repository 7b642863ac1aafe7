"""What a draft leaves to a person: values marked `# unsure`, and open values."""

from __future__ import annotations

import re

from pipeline.core.text.wording import count

_QUOTED_OR_UNSURE = re.compile(
    r"""'[^'\n]*'|"(?:\\.|[^"\\\n])*"|(?:^|(?<=\s))(\#\s*unsure\b)""", re.MULTILINE
)


def unsure_marks(text: str) -> int:
    """How many values of a mapping's text are still marked `# unsure`."""
    return sum(bool(mark) for mark in _QUOTED_OR_UNSURE.findall(text))


def unsure_sentence(text: str) -> str:
    """How many values of a mapping's text are marked, and in which lines; empty where none is."""
    lines = [text.count("\n", 0, mark.start(1)) + 1 for mark in _QUOTED_OR_UNSURE.finditer(text) if mark[1]]
    if not lines:
        return ""
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
