"""When two cells are equal: numbers by their value, ids without what cannot be seen, all else by its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipeline.mapping.functions.cell_cleaning import cleaned, trimmed
from pipeline.mapping.functions.numbers import decimal_text, decimals
from pipeline.mapping.language.spec import MappingSpec, Number, NumberStep
from pipeline.mapping.usage.used_columns import id_columns


@dataclass(frozen=True)
class Equality:
    """How the cells of a source are compared.

    Attributes:
        nulls: Words that mean an empty cell.
        ids: Columns that ids are made of.
        numbers: How numbers are written, by the columns that are declared to hold them.
    """

    nulls: tuple[str, ...]
    ids: frozenset[str]
    numbers: Mapping[str, Number]

    @classmethod
    def of(cls, spec: MappingSpec) -> Equality:
        """As a mapping has it."""
        return cls(spec.source.nulls, id_columns(spec), _numbers(spec))

    def form(self, name: str) -> pl.Expr:
        """A cell, trimmed, in the form in which it is equal to others: 12 and 12.00 are one number."""
        text = trimmed(pl.col(name), self.nulls, is_id=name in self.ids)
        return _by_value(text, self.numbers[name]) if name in self.numbers else text

    def comparable(self, cells: pl.Series) -> pl.Series:
        """Cells in the form in which they are equal to others; all but numbers and ids stay as they are."""
        name = cells.name
        if name in self.ids:
            cells = cleaned(cells.to_frame(), [name], (), [name])[name]
        if name in self.numbers:
            cells = cells.to_frame().select(_by_value(pl.col(name), self.numbers[name]))[name]
        return cells


def _numbers(spec: MappingSpec) -> dict[str, Number]:
    found = {}
    for name, kind in spec.columns.items():
        match kind:
            case "integer":
                found[name] = Number()
            case "decimal":
                found[name] = spec.source.number
            case NumberStep(number=number):
                found[name] = number
            case _:
                pass
    return found


def _by_value(text: pl.Expr, notation: Number) -> pl.Expr:
    return pl.coalesce(decimal_text(decimals(text.str.strip_chars(), notation)), text)
