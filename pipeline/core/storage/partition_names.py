"""The numbers of partitions, and what their files are called."""

from __future__ import annotations

from typing import Final

PLACES: Final = 1_000_000
"""Most partitions of one input split: a terabyte where each has 1 MB, the least."""


def partition_name(number: int) -> str:
    """The name of a partition in files; names sort as numbers do, up to 100,000 splits."""
    split, place = divmod(number, PLACES)
    return f"{split:05d}_{place:06d}" if place else f"{split:05d}"
