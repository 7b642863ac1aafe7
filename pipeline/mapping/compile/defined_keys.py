"""Keys with definitions in them, such as a receipt number with its day.

The key is needed before rows are grouped into transactions, so such a definition may only use the cells of
its own row.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipeline.core.model import SOURCE, TX
from pipeline.mapping.compile.column_plan import ColumnPlan, Frames
from pipeline.mapping.compile.context import CompileContext
from pipeline.mapping.compile.typed_expression import as_written
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.usage.used_columns import NOTHING_USED, key_cells
from pipeline.mapping.usage.visitor import Scope


class DefinedKeys:
    """Computes the definitions in a table's key.

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
        self._plan = ColumnPlan(available, ids=cells)
        context = CompileContext(spec, self._plan, {}, NOTHING_USED)
        self._texts = [as_written(context.column(name)).value.alias(name) for name in self._names]

    def added(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with a column for each of these definitions."""
        if not self._names:
            return rows
        # The plan expects transactions. Each row stands for one, and their numbers do not matter here.
        numbered = rows.with_columns(pl.lit(0, pl.UInt32).alias(name) for name in (TX, SOURCE))
        frames: Frames = {Scope.TRANSACTION: self._plan.start(Scope.TRANSACTION, numbered, self._nulls)}
        for operation in self._plan.operations:
            operation.run(frames, [])  # A row without a key is rejected with a message of its own.
        return rows.with_columns(frames[Scope.TRANSACTION].select(self._texts))

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows as they are in the source."""
        return rows.drop(self._names, strict=False)
