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


def unsure_sentence(number: int) -> str:
    """How many values are marked, in words."""
    return f"{count(number, 'value', 'is')} marked unsure"


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
