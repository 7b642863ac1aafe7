"""The plan of a compiled mapping: in which order columns are added to a partition's frames.

Compiling a mapping writes the plan. Applying it runs the plan over the raw cells of one partition after the
other; each operation adds columns to one of the three frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import polars as pl

from pipeline.core.frames import problems_at
from pipeline.core.model import LINE, SOURCE, TX
from pipeline.mapping.functions.cell_cleaning import cleaned
from pipeline.mapping.functions.formulas import type_over
from pipeline.mapping.functions.polars_errors import POLARS_ERRORS, error_summary
from pipeline.mapping.usage.visitor import Scope

Frames = dict[Scope, pl.DataFrame]
"""The frames of one partition: transactions (row number = TX), lines and payments (both sorted by TX)."""

_ROW = {TX: pl.UInt32(), SOURCE: pl.UInt32(), LINE: pl.Int64()}
_APPROXIMATE = "__approximate"
"""A sum as a float, which cannot overflow."""


def raw_of(name: str) -> str:
    """The column with the text behind the column `name`; no source column can have this name."""
    return f"__raw|{name}"


def parsed_time_of(name: str) -> str:
    """The column with the parsed time behind the date and time in `name`."""
    return f"__parsed_time|{name}"


class Operation(Protocol):
    """Adds columns to a frame."""

    def run(self, frames: Frames, problems: list[pl.DataFrame]) -> None:
        """Replace a frame of `frames` by one with more columns.

        Args:
            frames: The frames.
            problems: Receives the problems of rows that cannot be computed.
        """


@dataclass
class Derive:
    """Columns that are computed row by row."""

    scope: Scope
    columns: dict[str, pl.Expr]

    def run(self, frames: Frames, problems: list[pl.DataFrame]) -> None:
        """Compute all of them in one pass."""
        frames[self.scope] = with_columns(frames[self.scope], self.columns, problems)


@dataclass(frozen=True)
class Broadcast:
    """A transaction's column on each of its lines or payments."""

    scope: Scope
    source: str
    name: str

    def run(self, frames: Frames, _problems: list[pl.DataFrame]) -> None:
        """Take the value at row number TX of the transactions."""
        rows = frames[self.scope]
        column = frames[Scope.TRANSACTION][self.source].gather(rows[TX])
        frames[self.scope] = rows.with_columns(column.alias(self.name))


@dataclass(frozen=True)
class Aggregate:
    """A column of the lines, reduced to one value per transaction.

    Attributes:
        name: The new column of the transactions.
        value: The column of the lines.
        how: The aggregation.
        dtype: The type of the result.
        invalid: A column of the lines with the text of invalid values. One of them makes the result invalid;
            the first is kept under `raw_of(name)`.
        parsed_time: A column of the lines with the parsed time behind `value`; that of the line with the
            resulting value is kept under `parsed_time_of(name)`.
        can_overflow: The result can be too large for its type, in which case polars wraps around silently.
    """

    name: str
    value: str
    how: Callable[[pl.Expr], pl.Expr]
    dtype: pl.DataType
    invalid: str | None = None
    parsed_time: str | None = None
    can_overflow: bool = False

    def run(self, frames: Frames, problems: list[pl.DataFrame]) -> None:
        """Group the lines, which are sorted by TX; a transaction without lines gets null."""
        lines, headers = frames[Scope.LINE], frames[Scope.TRANSACTION]
        value, raw = pl.col(self.value), raw_of(self.name)
        results = [self.how(value).cast(self.dtype).alias(self.name)]
        if self.parsed_time is not None:
            chosen = pl.col(self.parsed_time).filter(value == self.how(value)).first()
            results.append(chosen.alias(parsed_time_of(self.name)))
        invalid = self.invalid
        if invalid is not None and lines[invalid].null_count() == lines.height:
            invalid = None
        if invalid is not None:
            results.append(pl.col(invalid).first(ignore_nulls=True).alias(raw))
        may_overflow = self.can_overflow and self._may_overflow(lines[self.value])
        if may_overflow:
            results.append(value.cast(pl.Float64).sum().alias(_APPROXIMATE))
        found = lines.group_by(TX, maintain_order=True).agg(results)
        if may_overflow:
            too_large = pl.col(_APPROXIMATE).abs() >= self._limit
            rows = headers.select(*_ROW).join(found.filter(too_large).select(TX, _APPROXIMATE), on=TX)
            message = "The sum over the lines is too large to be computed."
            problems.append(problems_at(rows, "field_invalid", message, value=pl.col(_APPROXIMATE)))
            found = found.with_columns(pl.when(~too_large).then(self.name).alias(self.name)).drop(
                _APPROXIMATE
            )
        headers = join_by_transaction(headers, found)
        if invalid is not None:
            headers = headers.with_columns(pl.when(pl.col(raw).is_null()).then(self.name).alias(self.name))
        else:
            headers = headers.with_columns(pl.lit(None, dtype=pl.String).alias(raw))
        frames[Scope.TRANSACTION] = headers

    def _may_overflow(self, values: pl.Series) -> bool:
        """Whether any sum of these values could overflow; the largest value nearly always rules it out."""
        ends = (each for each in (values.min(), values.max()) if each is not None)
        return any(abs(float(str(each))) * values.len() >= self._limit for each in ends)

    @property
    def _limit(self) -> float:
        # A decimal has at most 38 digits, those after the point included; other sums are 64-bit integers.
        return 10.0 ** (38 - self.dtype.scale) if isinstance(self.dtype, pl.Decimal) else 2.0**63


def join_by_transaction(headers: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Add columns of a frame that is sorted by TX, with at most one row per transaction."""
    if found.height == headers.height:
        # Every transaction has a row, so both frames match row by row and need no join.
        return headers.hstack(found.drop(TX))
    return headers.join(found, on=TX, how="left", maintain_order="left")


@dataclass(frozen=True)
class NumberLines:
    """1, 2, 3… over each transaction's lines.

    Attributes:
        name: The new column.
        content: Cells to sort by first; empty for the order of the file. Lines that are equal in all of them
            may swap numbers, which makes no difference.
    """

    name: str
    content: tuple[str, ...]

    def run(self, frames: Frames, _problems: list[pl.DataFrame]) -> None:
        """Number the lines."""
        lines = frames[Scope.LINE]
        number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(TX).alias(self.name)
        if not self.content:
            frames[Scope.LINE] = lines.with_columns(number)
            return
        order = lines.select(TX, *self.content).with_row_index("at").sort(TX, *self.content, "at")
        frames[Scope.LINE] = lines.with_columns(order.with_columns(number).sort("at")[self.name])


@dataclass(frozen=True)
class RowCheck:
    """A problem that is reported for each row that meets a condition.

    Attributes:
        scope: Whose rows.
        code: The problem's code.
        field: The field concerned.
        message: The sentence in reports.
        where: The condition.
        value: What to show as the value.
        items_only: Only lines that are items count.
    """

    scope: Scope
    code: str
    field: str
    message: str
    where: pl.Expr
    value: pl.Expr
    items_only: bool = False

    def problems(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The problems among the rows of its frame."""
        try:
            odd = rows.filter(self.where)
        except POLARS_ERRORS:
            # What cannot be computed was reported when it became a column, so these problems are dropped.
            odd = rows.filter(_by_halves(rows, self.field, self.where, []))
        return problems_at(odd, self.code, self.message, field=self.field, value=self.value)


@dataclass
class ColumnPlan:
    """The operations so far, and the columns that each frame has after them.

    Attributes:
        available: The source's columns, by frame.
        ids: Columns that ids are made of; these are trimmed more thoroughly.
        raw: The source's columns that are used; they are trimmed before the first operation.
        schema: The columns of each frame after the last operation.
        operations: What is computed, in order.
        checks: Problems to look for after the last operation.
        lookups: For each use of a look-up table: its name, whose rows look something up, and the column with
            the keys.
        numbers: For the names of new columns.
    """

    available: Mapping[Scope, frozenset[str]]
    ids: frozenset[str] = frozenset()
    raw: dict[Scope, list[str]] = field(default_factory=lambda: {scope: [] for scope in Scope})
    schema: dict[Scope, dict[str, pl.DataType]] = field(
        default_factory=lambda: {scope: dict(_ROW) for scope in Scope}
    )
    operations: list[Operation] = field(default_factory=list)
    checks: list[RowCheck] = field(default_factory=list)
    lookups: list[tuple[str, Scope, str]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def load(self, scope: Scope, name: str) -> None:
        """Use a column of the source."""
        if name not in self.raw[scope]:
            self.raw[scope].append(name)
            self.schema[scope].setdefault(name, pl.String())

    def type_of(self, scope: Scope, expression: pl.Expr) -> pl.DataType:
        """The type that an expression has over a frame.

        Raises:
            FormulaError: polars cannot compute it from these columns.
        """
        return type_over(self.schema[scope], expression)

    def derive(self, scope: Scope, name: str, expression: pl.Expr) -> None:
        """Add a column that is computed row by row."""
        dtype = self.type_of(scope, expression)
        last = self.operations[-1] if self.operations else None
        # Columns that do not depend on each other are computed in one pass.
        if (
            isinstance(last, Derive)
            and last.scope is scope
            and last.columns.keys().isdisjoint([*expression.meta.root_names(), name])
        ):
            last.columns[name] = expression
        else:
            self.operations.append(Derive(scope, {name: expression}))
        self.schema[scope][name] = dtype

    def broadcast(self, scope: Scope, source: str, name: str) -> None:
        """Add a column of the transactions to their lines or payments."""
        self.operations.append(Broadcast(scope, source, name))
        self.schema[scope][name] = self.schema[Scope.TRANSACTION][source]

    def aggregate(self, operation: Aggregate) -> None:
        """Add a column that is computed from a transaction's lines."""
        self.operations.append(operation)
        name = operation.name
        self.schema[Scope.TRANSACTION] |= {name: operation.dtype, raw_of(name): pl.String()}
        if operation.parsed_time is not None:
            dtype = self.schema[Scope.LINE][operation.parsed_time]
            self.schema[Scope.TRANSACTION][parsed_time_of(name)] = dtype

    def number_lines(self, name: str, content: Sequence[str]) -> None:
        """Add a number to each line."""
        self.operations.append(NumberLines(name, tuple(content)))
        self.schema[Scope.LINE][name] = pl.Int64()

    def start(self, scope: Scope, rows: pl.DataFrame, nulls: Sequence[str]) -> pl.DataFrame:
        """The frame before the first operation: the used cells, trimmed; absent columns are blank."""
        wanted = [
            pl.col(name) if name in rows.columns else pl.lit(None, dtype=pl.String).alias(name)
            for name in self.raw[scope]
        ]
        row = [pl.col(name).cast(dtype) for name, dtype in _ROW.items()]
        return cleaned(rows.select_seq(*row, *wanted), self.raw[scope], nulls, self.ids)


# ── Rows that polars cannot compute ─────────────────────────────────────────────────────────────────


def with_columns(
    rows: pl.DataFrame, columns: Mapping[str, pl.Expr], problems: list[pl.DataFrame]
) -> pl.DataFrame:
    """Add columns; where a row cannot be computed its value is null, and `problems` receives a problem.

    One decimal that overflows fails a whole frame in polars, so the rows that fail are found by halving.
    """
    named = [expression.alias(name) for name, expression in columns.items()]
    try:
        # Without threads of its own, because several partitions already run at the same time.
        return rows.with_columns_seq(named)
    except POLARS_ERRORS:
        return rows.with_columns(
            _by_halves(rows, name, expression, problems).alias(name) for name, expression in columns.items()
        )


def _by_halves(rows: pl.DataFrame, name: str, expression: pl.Expr, problems: list[pl.DataFrame]) -> pl.Series:
    try:
        found = rows.select(expression)
        if found.height == rows.height:
            return found.to_series()
        # An expression of literals only gives one row, whatever the height of the frame.
        return rows.with_columns(expression)[found.columns[0]]
    except POLARS_ERRORS as error:
        # Without rows, an expression fails only if it is itself wrong; that error goes on.
        none = rows.clear().select(expression).to_series()
        if rows.height <= 1:
            problems.append(_not_computed(rows, name, expression, error))
            return none.clear(rows.height)
        half = rows.height // 2
        parts = (rows[:half], rows[half:])
        return pl.concat([_by_halves(part, name, expression, problems) for part in parts])


def _not_computed(rows: pl.DataFrame, name: str, expression: pl.Expr, error: BaseException) -> pl.DataFrame:
    roots = [root for root in dict.fromkeys(expression.meta.root_names()) if not root.startswith("__")]
    cells = rows.select(pl.col(root).cast(pl.String, strict=False) for root in roots if root in rows.columns)
    of = ", ".join(f"`{root}`" for root in cells.columns) or "this row"
    value = ", ".join(cell for cell in cells.row(0) if cell is not None) if cells.width else None
    field = name.removeprefix("=")
    return problems_at(
        rows,
        "field_invalid",
        f"This cannot be computed from {of}: {error_summary(error)}.",
        field=None if field.startswith("__") else field.removesuffix("|raw"),
        value=pl.lit(value),
    )
