"""What is computed for a bucket, in order: columns of its transactions, lines and payments.

Compiling a mapping writes a plan; applying it runs the plan over the raw cells of one bucket after the
other. Each step adds columns to one of the three frames.
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
from pipeline.mapping.language.mapping_errors import FAILURES, FormulaError, what_failed
from pipeline.mapping.usage.visitor import Scope

Frames = dict[Scope, pl.DataFrame]
"""The frames of one bucket: transactions (row number = TX), lines and payments (both sorted by TX)."""

_PLACE = {TX: pl.UInt32(), SOURCE: pl.UInt32(), LINE: pl.Int64()}


_ABOUT = "__about"
"""The column of a sum as a float, which has no largest number to run over."""


class Step(Protocol):
    """Adds columns to a frame."""

    def run(self, frames: Frames, told: list[pl.DataFrame]) -> None:
        """Replace a frame of `frames` by one with more columns.

        Args:
            frames: The frames.
            told: Is added the problems of rows that cannot be computed.
        """


@dataclass
class Derive:
    """Columns computed row by row."""

    scope: Scope
    columns: dict[str, pl.Expr]

    def run(self, frames: Frames, told: list[pl.DataFrame]) -> None:
        """Compute them all at once."""
        frames[self.scope] = with_columns(frames[self.scope], self.columns, told)


def raw_of(name: str) -> str:
    """The column with the text from which the column `name` is read; no source has one of that name."""
    return f"__raw|{name}"


def moment_of(name: str) -> str:
    """The column with the local time, and what is odd about it, beside the date and time in `name`."""
    return f"__moment|{name}"


@dataclass(frozen=True)
class Broadcast:
    """A transaction's column on each of its lines or payments."""

    scope: Scope
    source: str
    name: str

    def run(self, frames: Frames, _told: list[pl.DataFrame]) -> None:
        """Look it up by TX, which is the transaction's row number."""
        rows = frames[self.scope]
        column = frames[Scope.TRANSACTION][self.source].gather(rows[TX])
        frames[self.scope] = rows.with_columns(column.alias(self.name))


@dataclass(frozen=True)
class Aggregate:
    """A column of lines, brought to one value a transaction.

    Attributes:
        name: The new column of the transactions.
        value: The column of the lines.
        how: The aggregation.
        invalid: A column of the lines with the text of values that could not be read; one of them makes
            the whole invalid, and the first of them is kept as `<name>|raw`.
        dtype: The type of the result.
        moment: A column of the lines with the struct that a date and time was taken from; that of the line
            with the resulting value is kept as `<name>|moment`.
        adds: It is a sum, which polars lets run over the largest number in silence.
    """

    name: str
    value: str
    how: Callable[[pl.Expr], pl.Expr]
    invalid: str | None
    dtype: pl.DataType
    moment: str | None = None
    adds: bool = False

    def run(self, frames: Frames, told: list[pl.DataFrame]) -> None:
        """Group the lines, which are sorted by TX; a transaction without lines has null."""
        lines, headers = frames[Scope.LINE], frames[Scope.TRANSACTION]
        results = [self.how(pl.col(self.value)).cast(self.dtype).alias(self.name)]
        if self.moment is not None:
            chosen = pl.col(self.value) == self.how(pl.col(self.value))
            results.append(pl.col(self.moment).filter(chosen).first().alias(moment_of(self.name)))
        broken = self.invalid is not None and lines[self.invalid].null_count() < lines.height
        if broken and self.invalid:
            results.append(pl.col(self.invalid).first(ignore_nulls=True).alias(raw_of(self.name)))
        may_run_over = self.adds and self._may_run_over(lines[self.value])
        if may_run_over:
            results.append(pl.col(self.value).cast(pl.Float64).sum().alias(_ABOUT))
        found = lines.group_by(TX, maintain_order=True).agg(results)
        if may_run_over:
            found = self._without_overrun(found, headers, told)
        if found.height == headers.height:
            headers = headers.hstack(found.drop(TX))
        else:
            headers = headers.join(found, on=TX, how="left", maintain_order="left")
        if broken:
            valid = pl.col(raw_of(self.name)).is_null()
            headers = headers.with_columns(pl.when(valid).then(self.name).alias(self.name))
        else:
            headers = headers.with_columns(pl.lit(None, dtype=pl.String).alias(raw_of(self.name)))
        frames[Scope.TRANSACTION] = headers

    def _may_run_over(self, values: pl.Series) -> bool:
        """Whether any sum of these could, which one look at the largest nearly always rules out."""
        largest = [abs(float(str(each))) for each in (values.min(), values.max()) if each is not None]
        return max(largest, default=0.0) * values.len() >= self._limit

    @property
    def _limit(self) -> float:
        return 10.0 ** (38 - self.dtype.scale) if isinstance(self.dtype, pl.Decimal) else 2.0**63

    def _without_overrun(
        self, found: pl.DataFrame, headers: pl.DataFrame, told: list[pl.DataFrame]
    ) -> pl.DataFrame:
        """The sums without those that ran over, which are told."""
        too_large = pl.col(_ABOUT).abs() >= self._limit
        rows = headers.select(*_PLACE).join(found.filter(too_large).select(TX, _ABOUT), on=TX)
        message = "The sum over the lines is too large to be computed."
        told.append(problems_at(rows, "field_invalid", message, value=pl.col(_ABOUT)))
        return found.with_columns(pl.when(~too_large).then(self.name).alias(self.name)).drop(_ABOUT)


@dataclass(frozen=True)
class NumberLines:
    """1, 2, 3… over each transaction's lines.

    Attributes:
        name: The new column.
        content: Cells to sort by first; empty for the order of the file. Lines that are alike in all of
            them may change places, which changes nothing but the order of equals.
    """

    name: str
    content: tuple[str, ...]

    def run(self, frames: Frames, _told: list[pl.DataFrame]) -> None:
        """Number them."""
        lines = frames[Scope.LINE]
        number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(TX).alias(self.name)
        if self.content:
            order = lines.select(TX, *self.content).with_row_index("at").sort(TX, *self.content, "at")
            numbers = order.with_columns(number).sort("at")[self.name]
            frames[Scope.LINE] = lines.with_columns(numbers)
        else:
            frames[Scope.LINE] = lines.with_columns(number)


@dataclass(frozen=True)
class Check:
    """A problem to be told wherever a condition holds.

    Attributes:
        scope: Whose rows.
        code: The problem's code.
        field: The field concerned.
        message: For people.
        where: The condition.
        value: What is there.
        items_only: Lines that are no items do not matter.
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
        except FAILURES:
            # A value that cannot be computed is told where it is a column.
            odd = rows.filter(_by_halves(rows, self.field, self.where, []))
        return problems_at(odd, self.code, self.message, field=self.field, value=self.value)


@dataclass
class Plan:
    """The steps so far, and the columns that each frame has after them.

    Attributes:
        available: The source's columns, by frame.
        raw: Those that are used; they are trimmed before the first step.
        schema: The columns of each frame after the last step.
        steps: What is computed, in order.
        checks: Problems to be looked for when all is computed.
        numbers: For names of columns that no mapping sees.
        ids: Columns that ids are made of; they are trimmed as such.
    """

    available: dict[Scope, frozenset[str]]
    raw: dict[Scope, list[str]] = field(default_factory=lambda: {scope: [] for scope in Scope})
    schema: dict[Scope, dict[str, pl.DataType]] = field(
        default_factory=lambda: {scope: dict(_PLACE) for scope in Scope}
    )
    steps: list[Step] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    ids: frozenset[str] = frozenset()

    def load(self, scope: Scope, name: str) -> None:
        """Use a column of the source."""
        if name not in self.raw[scope]:
            self.raw[scope].append(name)
            self.schema[scope].setdefault(name, pl.String())

    def type_of(self, scope: Scope, expression: pl.Expr) -> pl.DataType:
        """The type that an expression has over a frame.

        Raises:
            FormulaError: polars cannot compute it from such columns.
        """
        # Some mistakes, such as a text compared with a number, show only when something is computed.
        try:
            return pl.DataFrame(schema=self.schema[scope]).select(expression.alias("it")).dtypes[0]
        except pl.exceptions.PolarsError as error:
            raise FormulaError(str(error).strip().splitlines()[0]) from None

    def derive(self, scope: Scope, name: str, expression: pl.Expr) -> None:
        """Add a column that is computed row by row; together with the last ones where it can be."""
        dtype = self.type_of(scope, expression)
        last = self.steps[-1] if self.steps else None
        if (
            isinstance(last, Derive)
            and last.scope is scope
            and last.columns.keys().isdisjoint([*expression.meta.root_names(), name])
        ):
            last.columns[name] = expression
        else:
            self.steps.append(Derive(scope, {name: expression}))
        self.schema[scope][name] = dtype

    def broadcast(self, scope: Scope, source: str, name: str) -> None:
        """Add a column of the transactions to their lines or payments."""
        self.steps.append(Broadcast(scope, source, name))
        self.schema[scope][name] = self.schema[Scope.TRANSACTION][source]

    def aggregate(self, step: Aggregate) -> None:
        """Add a column that is computed from a transaction's lines."""
        self.steps.append(step)
        self.schema[Scope.TRANSACTION] |= {step.name: step.dtype, raw_of(step.name): pl.String()}
        if step.moment is not None:
            self.schema[Scope.TRANSACTION][moment_of(step.name)] = self.schema[Scope.LINE][step.moment]

    def number_lines(self, name: str, content: Sequence[str]) -> None:
        """Add a number to each line."""
        self.steps.append(NumberLines(name, tuple(content)))
        self.schema[Scope.LINE][name] = pl.Int64()

    def start(self, scope: Scope, rows: pl.DataFrame, nulls: Sequence[str]) -> pl.DataFrame:
        """The frame before the first step: the cells that are used, trimmed; absent columns are blank."""
        wanted = [
            pl.col(name) if name in rows.columns else pl.lit(None, dtype=pl.String).alias(name)
            for name in self.raw[scope]
        ]
        place = [pl.col(name).cast(dtype) for name, dtype in _PLACE.items()]
        return cleaned(rows.select_seq(*place, *wanted), self.raw[scope], nulls, self.ids)


def with_columns(
    rows: pl.DataFrame, columns: Mapping[str, pl.Expr], told: list[pl.DataFrame]
) -> pl.DataFrame:
    """Compute columns; where a row cannot be computed, its value is null, and that is told.

    A sum that overflows fails the whole frame in polars, so the rows that fail it are found by halving.
    """
    named = [expression.alias(name) for name, expression in columns.items()]
    try:
        return rows.with_columns_seq(named)  # one after the other, since units run side by side
    except FAILURES:
        return rows.with_columns(
            _by_halves(rows, name, expression, told).alias(name) for name, expression in columns.items()
        )


def _by_halves(rows: pl.DataFrame, name: str, expression: pl.Expr, told: list[pl.DataFrame]) -> pl.Series:
    try:
        found = rows.select(expression)
        # A literal has one row whatever the frame has.
        return (
            found.to_series()
            if found.height == rows.height
            else rows.with_columns(expression)[found.columns[0]]
        )
    except FAILURES as error:
        none = rows.clear().select(expression).to_series()  # fails where no row is to blame
        if rows.height <= 1:
            told.append(_not_computed(rows, name, expression, error))
            return none.clear(rows.height)
        half = rows.height // 2
        parts = [_by_halves(part, name, expression, told) for part in (rows[:half], rows[half:])]
        return pl.concat(parts)


def _not_computed(rows: pl.DataFrame, name: str, expression: pl.Expr, error: BaseException) -> pl.DataFrame:
    roots = [root for root in dict.fromkeys(expression.meta.root_names()) if not root.startswith("__")]
    cells = rows.select(pl.col(root).cast(pl.String, strict=False) for root in roots if root in rows.columns)
    of = ", ".join(f"`{root}`" for root in cells.columns) or "this row"
    value = ", ".join(cell for cell in cells.row(0) if cell is not None) if cells.width else None
    field = name.removeprefix("=")
    return problems_at(
        rows,
        "field_invalid",
        f"This cannot be computed from {of}: {what_failed(error)}.",
        field=None if field.startswith("__") else field.removesuffix("|raw"),
        value=pl.lit(value),
    )
