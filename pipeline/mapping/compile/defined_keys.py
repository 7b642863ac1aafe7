"""Keys that are made of definitions, such as a receipt number with its day.

A key is needed before transactions are found, so such a definition may use the cells of its own row only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from pipeline.core.model import SOURCE, TX
from pipeline.mapping.compile.column_plan import Frames, Plan
from pipeline.mapping.compile.typed_expression import as_written
from pipeline.mapping.compile.values import Bench
from pipeline.mapping.language.spec import LookupValue, MappingSpec
from pipeline.mapping.usage.used_columns import NOTHING_USED, columns_of, key_cells, values_of
from pipeline.mapping.usage.visitor import Scope


def unusable(spec: MappingSpec, name: str) -> str:
    """Why a definition cannot be part of a key; empty where it can."""
    value = spec.define[name]
    if columns_of(spec, value, Scope.LINE) is None:
        return "it uses other rows, and before the key is known it is not known which rows belong together"
    if any(isinstance(site.value, LookupValue) for site in values_of(spec, value, Scope.LINE)):
        return "it looks something up, and keys are made of the row's own cells"
    return ""


class DefinedKeys:
    """Computes the parts of a table's key that are definitions.

    Args:
        spec: The mapping.
        key: The key of the table.

    Raises:
        FormulaError: A definition cannot be computed from these columns.
    """

    def __init__(self, spec: MappingSpec, key: Sequence[str]) -> None:
        self._names = [name for name in key if name in spec.define]
        self._nulls = spec.source.nulls
        cells = frozenset(key_cells(spec, key))
        available = dict.fromkeys(Scope, frozenset[str]()) | {Scope.TRANSACTION: cells}
        self._plan = Plan(available, ids=cells)
        self._texts = list(self._compiled(Bench(spec, self._plan, {}, NOTHING_USED)))

    def _compiled(self, bench: Bench) -> Iterator[pl.Expr]:
        for name in self._names:
            yield as_written(bench.column(name)).value.alias(name)

    def added(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with a column for each of these definitions."""
        if not self._names:
            return rows
        place = {TX: pl.UInt32, SOURCE: pl.UInt32}
        numbered = rows.with_columns(pl.lit(0, kind).alias(name) for name, kind in place.items())
        frames: Frames = {Scope.TRANSACTION: self._plan.start(Scope.TRANSACTION, numbered, self._nulls)}
        for step in self._plan.steps:
            step.run(frames, [])  # a row without a key is rejected, and says so
        return rows.with_columns(frames[Scope.TRANSACTION].select(self._texts))

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows as they are in the source."""
        return rows.drop(self._names, strict=False)
