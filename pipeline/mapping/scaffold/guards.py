"""Cells that an export protects from spreadsheets, which would take zeros off: `="000123"` or `'000123`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Final

import polars as pl

from pipeline.mapping.scaffold.samples import Sample
from pipeline.mapping.scaffold.vocabulary.cells import MOSTLY, share, values

_NUMBER: Final = r"""^(?:="[^"]*"|'[+-]?\d[\d.,]*)$"""
_SOME: Final = 0.05
"""From this share on they are no accident: some exports protect only numbers with leading zeros."""
_TEXT: Final = r"^'[^']+$"
_GUARD: Final = r"""^(?:="([^"]*)"|'(.*))$"""


def unguarded(kinds: Sequence[Sample]) -> list[Sample]:
    """The samples without what protects cells; their columns get new names, since a draft defines them."""
    texts = [(name, cells) for kind in kinds for name, cells in _texts(kind).items()]
    guarded = dict.fromkeys(name for name, cells in texts if _is_guarded(values(cells)))
    taken = {name for kind in kinds for name in kind.rows.columns}
    # A name that differs only by signs has the same meaning.
    new = {old: next(name for n in count(1) if (name := old + "_" * n) not in taken) for old in guarded}
    return [_without_guards(kind, new) for kind in kinds]


def _texts(sample: Sample) -> dict[str, pl.Series]:
    return {cells.name: cells for cells in sample.cells.iter_columns() if cells.dtype == pl.String}


def _is_guarded(filled: pl.Series) -> bool:
    return share(filled, _NUMBER) > _SOME or share(filled, _TEXT) > MOSTLY


def _without_guards(sample: Sample, new: dict[str, str]) -> Sample:
    found = {old: new[old] for old in _texts(sample) if old in new}
    trimmed = [pl.col(old).str.strip_chars() for old in found]
    plain = [
        pl.coalesce(cells.str.extract(_GUARD, 1), cells.str.extract(_GUARD, 2), cells) for cells in trimmed
    ]
    rows = sample.rows.with_columns(plain).rename(found)
    return replace(sample, rows=rows, guarded={name: old for old, name in found.items()})
