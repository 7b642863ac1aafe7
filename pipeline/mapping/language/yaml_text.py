"""Texts written as YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

# Far less than YAML allows without quotes, but all of it is surely a text.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.]*(?: [A-Za-z0-9_.]+)*")


def quoted(text: str) -> str:
    """A text as YAML, in quotes where it needs them."""
    bare = _PLAIN.fullmatch(text) and text not in ("true", "false", "null")
    return text if bare else json.dumps(text, ensure_ascii=False)


def listed(words: Sequence[str]) -> str:
    """Texts as a YAML list."""
    return f"[{', '.join(map(quoted, words))}]"


def in_single_quotes(text: str) -> str:
    """A text in single quotes: for SQL and patterns, whose double quotes and backslashes stay."""
    return "'" + text.replace("'", "''") + "'"
