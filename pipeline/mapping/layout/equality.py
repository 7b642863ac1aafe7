"""When cells are equal: numbers by value, ids without invisible characters, others by their text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipeline.mapping.functions.cell_cleaning import cleaned, trimmed
from pipeline.mapping.functions.numbers import decimal_text, decimals
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import Number, NumberStep
from pipeline.mapping.usage.used_columns import id_columns


@dataclass(frozen=True)
class Equality:
    """How the cells of a source are compared.

    Attributes:
        nulls: Words that mean an empty cell.
        ids: Columns that ids are made of.
        numbers: How numbers are written, for the columns that are declared as numbers.
    """

    nulls: tuple[str, ...]
    ids: frozenset[str]
    numbers: Mapping[str, Number]

    @classmethod
    def of(cls, spec: MappingSpec) -> Equality:
        """The comparison for a mapping's source."""
        numbers = {}
        for name, kind in spec.columns.items():
            match kind:
                case "integer":
                    numbers[name] = Number()
                case "decimal":
                    numbers[name] = spec.source.number
                case NumberStep(number=number):
                    numbers[name] = number
                case _:
                    pass
        return cls(spec.source.nulls, id_columns(spec), numbers)

    def form(self, name: str) -> pl.Expr:
        """The trimmed cell in the form that is equal for equal cells: 12 and 12.00 are one number."""
        text = trimmed(pl.col(name), self.nulls, is_id=name in self.ids)
        return self._by_value(text, name) if name in self.numbers else text

    def comparable(self, cells: pl.Series) -> pl.Series:
        """The cells in that form, but not trimmed unless they are ids."""
        name = cells.name
        if name in self.ids:
            cells = cleaned(cells.to_frame(), [name], (), [name])[name]
        if name in self.numbers:
            cells = cells.to_frame().select(self._by_value(pl.col(name), name))[name]
        return cells

    def _by_value(self, text: pl.Expr, name: str) -> pl.Expr:
        number = decimals(text.str.strip_chars(), self.numbers[name])
        return pl.coalesce(decimal_text(number), text)
