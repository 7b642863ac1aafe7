"""The sentences in the package's code: what a page may quote."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.command import REPOSITORY


@cache
def sentences() -> tuple[str, ...]:
    """Every text in the code of the package; what is filled in is `…`."""
    return tuple(
        text for path in (REPOSITORY / "pipeline").rglob("*.py") for text in _texts(path.read_text())
    )


def _texts(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
