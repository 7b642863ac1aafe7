"""The page about all codes, `docs/codes.md`, made from the codes themselves.

`python -m pipeline.validation.codes` writes it to stdout.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from pipeline.core.model import CODES, Code, Outcome
from pipeline.validation.policy import DEFAULT_TOLERANCES, FIRM

_HEAD = """\
# Codes

What `prepare` finds in the data, under names that stay. Made by `python -m pipeline.validation.codes`.

Every transaction is accepted, dropped or rejected, exactly once. A status that drops wins, and nothing else
is judged then. Otherwise any rejection rejects, and every violation is told. Otherwise a sale (a positive
total, not void) that is paid less than its total is dropped as `partially_paid`.

A mapping may treat a code otherwise, under `checks`:

```yaml
checks:
  guest: reject                      # reject, warn or off
  total_mismatch: {tolerance: 0.05}  # the largest difference that is still fine
```

Codes marked "always" reject whatever the mapping says: such a transaction cannot be sent, or not twice
without harm. A malformed customer id, currency or time zone that only warns is left out of what is sent, so
a malformed customer id makes a guest sale.
"""
_TOLERANCE_NOTES = {
    "total_mismatch": ", or the smallest amount of the currency (1 in JPY, 0.001 in KWD),",
    "partially_paid": ", or the sale's own `rounding` where that is more,",
}
_SECTIONS = {
    Outcome.DROPPED: "Dropped: expected, and no defect",
    Outcome.REJECTED: "Rejected: cannot be sent as it is",
    Outcome.WARNING: "Warnings: sent, but look at them",
}


def page() -> str:
    """The page as Markdown."""
    return _HEAD + "".join(_section(outcome, title) for outcome, title in _SECTIONS.items())


def _section(outcome: Outcome, title: str) -> str:
    rows = [_row(code) for code in CODES.values() if code.outcome is outcome]
    return "\n".join(["", f"## {title}", "", "| code | what | what to do |", "|---|---|---|", *rows, ""])


def _row(code: Code) -> str:
    return f"| `{code.name}` | {'; '.join([code.title, *_notes(code)])} | {code.fix} |"


def _notes(code: Code) -> Iterator[str]:
    if code.name in FIRM:
        yield "always"
    if code.name in DEFAULT_TOLERANCES:
        tolerance = f"{DEFAULT_TOLERANCES[code.name]}{_TOLERANCE_NOTES.get(code.name, '')}"
        yield f"tolerance {tolerance} unless the mapping sets one"


if __name__ == "__main__":
    sys.stdout.write(page())
