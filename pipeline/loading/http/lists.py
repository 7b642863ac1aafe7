"""Lists as Omneo answers with them: rows in an envelope `data`, in pages, with a total in `meta`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_list(answer: Any) -> bool:
    """Whether an answer is a list, with or without the envelope `data`."""
    return isinstance(answer.get("data") if isinstance(answer, dict) else answer, list)


def rows_of(answer: Any) -> list[Mapping[str, Any]]:
    """The rows of a list, with or without the envelope `data`; one object counts as a list of one."""
    data = answer.get("data", []) if isinstance(answer, dict) else answer
    rows = data if isinstance(data, list) else [data]
    return [row for row in rows if isinstance(row, dict)]


def total_of(answer: Any, otherwise: int) -> int:
    """How many rows all pages have together, as `meta.total` says; `otherwise` where it does not."""
    meta = answer.get("meta") if isinstance(answer, dict) else None
    total = meta.get("total") if isinstance(meta, dict) else None
    return int(total) if isinstance(total, int) else otherwise
