"""Values of a row's own cells, which are needed before rows are grouped into transactions.

These are definitions in a key, such as a receipt number with its day, and conditions on rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from pipeline.core.model import LOST, SOURCE, TX
from pipeline.mapping.compile.column_plan import ColumnPlan, Frames
from pipeline.mapping.compile.context import CompileContext
from pipeline.mapping.compile.typed_expression import as_written
from pipeline.mapping.language.mapping_errors import Issues
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.usage.used_columns import NOTHING_USED, column_mentions, id_columns, key_cells
from pipeline.mapping.usage.visitor import Scope

_SKIPPED: Final = "__skipped"


class _OwnCells:
    """Computes values over rows, each of which stands for a transaction; their numbers do not matter here.

    Args:
        spec: The mapping.
        cells: The columns that values may use.
        ids: Those of them that ids are made of.
        issues: Receives what is wrong with the values.

    Attributes:
        context: Compiles values over these columns.
    """

    def __init__(
        self, spec: MappingSpec, cells: frozenset[str], ids: frozenset[str], issues: Issues | None = None
    ) -> None:
        available = dict.fromkeys(Scope, frozenset[str]()) | {Scope.TRANSACTION: cells}
        plan = ColumnPlan(available, ids=ids)
        self._nulls = spec.source.nulls
        self.context = CompileContext(spec, plan, {}, NOTHING_USED, issues=issues or Issues())

    def compute(self, rows: pl.DataFrame, values: Iterable[pl.Expr]) -> pl.DataFrame:
        """A column for each value; null where it cannot be computed."""
        numbered = rows.with_columns(pl.lit(0, pl.UInt32).alias(name) for name in (TX, SOURCE))
        plan = self.context.plan
        frames: Frames = {Scope.TRANSACTION: plan.start(Scope.TRANSACTION, numbered, self._nulls)}
        for operation in plan.operations:
            # Problems are dropped: a row whose key is missing is rejected with a message of its own.
            operation.run(frames, [])
        return frames[Scope.TRANSACTION].select(values)


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
        cells = frozenset(key_cells(spec, key))
        self._own = _OwnCells(spec, cells, ids=cells)
        column = self._own.context.column
        self._texts = [as_written(column(name)).value.alias(name) for name in self._names]

    def added(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with a column for each of these definitions."""
        return rows.with_columns(self._own.compute(rows, self._texts)) if self._names else rows

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows as they are in the source."""
        return rows.drop(self._names, strict=False)


class SkippedRows:
    """Finds the rows that the mapping leaves out.

    Args:
        spec: The mapping.
        issues: Receives what is wrong with the conditions.
    """

    def __init__(self, spec: MappingSpec, issues: Issues | None = None) -> None:
        self._conditions: list[pl.Expr] = []
        if not spec.source.rows.skip:
            return
        cells = frozenset(each.name for each in column_mentions(spec) if each.scope is Scope.ROW)
        self._own = _OwnCells(spec, cells, id_columns(spec), issues)
        skip = self._own.context.inside("source", "rows", "skip")
        self._conditions = [skip.inside(i).condition(sql) for i, sql in enumerate(spec.source.rows.skip)]

    def marked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, marked where they are to be left out; as they are where the mapping leaves none out.

        Rows that could not be read are never left out, and neither are those whose cells do not decide it.
        """
        if not self._conditions:
            return rows
        meets = pl.any_horizontal(self._conditions).alias(_SKIPPED)
        marked = rows.with_columns(self._own.compute(rows, [meets]))
        if LOST in rows.columns:
            marked = marked.with_columns(pl.col(_SKIPPED) & pl.col(LOST).is_null())
        return marked

    def left_out(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """The rows without those that were marked, and how many these were."""
        if not self._conditions:
            return rows, 0
        is_skipped = rows[_SKIPPED].fill_null(value=False)
        return rows.filter(~is_skipped).drop(_SKIPPED), int(is_skipped.sum())
