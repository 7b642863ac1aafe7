"""Conditions on raw rows, decided before the rows are grouped into transactions."""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline.core.model import LOST, SOURCE, TX
from pipeline.mapping.compile.column_plan import ColumnPlan, Frames
from pipeline.mapping.compile.context import CompileContext
from pipeline.mapping.language.mapping_errors import Issues
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.usage.used_columns import NOTHING_USED, column_mentions, id_columns
from pipeline.mapping.usage.visitor import Scope

_SKIPPED: Final = "__skipped"


class SkippedRows:
    """Finds the rows that the mapping leaves out.

    Args:
        spec: The mapping.
        issues: Receives what is wrong with the conditions.
    """

    def __init__(self, spec: MappingSpec, issues: Issues | None = None) -> None:
        self._nulls = spec.source.nulls
        self._conditions: list[pl.Expr] = []
        if not spec.source.rows.skip:
            return
        cells = frozenset(each.name for each in column_mentions(spec) if each.scope is Scope.ROW)
        # As in keys of definitions, each row stands for a transaction.
        available = dict.fromkeys(Scope, frozenset[str]()) | {Scope.TRANSACTION: cells}
        self._plan = ColumnPlan(available, ids=id_columns(spec))
        context = CompileContext(spec, self._plan, {}, NOTHING_USED, issues=issues or Issues())
        skip = context.inside("source", "rows", "skip")
        self._conditions = [skip.inside(i).condition(sql) for i, sql in enumerate(spec.source.rows.skip)]

    def marked(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, marked where they are to be left out; as they are where the mapping leaves none out.

        Rows that could not be read are never left out, and neither are those whose cells do not decide it.
        """
        if not self._conditions:
            return rows
        numbered = rows.with_columns(pl.lit(0, pl.UInt32).alias(name) for name in (TX, SOURCE))
        frames: Frames = {Scope.TRANSACTION: self._plan.start(Scope.TRANSACTION, numbered, self._nulls)}
        for operation in self._plan.operations:
            operation.run(frames, [])
        meets = frames[Scope.TRANSACTION].select(pl.any_horizontal(self._conditions).alias(_SKIPPED))
        marked = rows.with_columns(meets)
        if LOST in rows.columns:
            marked = marked.with_columns(pl.col(_SKIPPED) & pl.col(LOST).is_null())
        return marked

    def left_out(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """The rows without those that were marked, and how many these were."""
        if not self._conditions:
            return rows, 0
        is_skipped = rows[_SKIPPED].fill_null(value=False)
        return rows.filter(~is_skipped).drop(_SKIPPED), int(is_skipped.sum())
