"""The context in which values are compiled: the mapping, its plan, and the location in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import polars as pl

from pipeline.core.text.header_names import usable_name
from pipeline.mapping.compile.column_plan import ColumnPlan, RowCheck, parsed_time_of, raw_of
from pipeline.mapping.compile.steps import apply_step, typed_cell
from pipeline.mapping.compile.typed_expression import UNKNOWN, TypedExpression, read_boolean
from pipeline.mapping.compile.value_rules import value_issues
from pipeline.mapping.compile.values import VALUE_COMPILERS
from pipeline.mapping.functions.formulas import CompiledFormula, compile_formula, in_words, parse_formula
from pipeline.mapping.functions.lookup_tables import LookupRows
from pipeline.mapping.language.mapping_errors import FormulaError, Issues
from pipeline.mapping.language.source_map import Issue, Key, Location
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import Boolean, LineChoice, Number, Value
from pipeline.mapping.usage import visitor
from pipeline.mapping.usage.used_columns import HEADER_PREFIX, UsedColumns, columns_of
from pipeline.mapping.usage.visitor import LocatedValue, Scope

SET_APART = "__set_apart"
"""The column of the lines that is true for those that `lines: {skip: ...}` sets apart from items."""
_VOID = "__void"
"""The column of the lines that is true for void ones."""


@dataclass
class CompileContext:
    """Where values are compiled.

    Attributes:
        spec: The mapping.
        plan: What has to be computed; it grows with each value.
        tables: The look-up tables.
        used: The columns that the mapping uses.
        issues: What is wrong with the mapping so far.
        location: The part of the mapping that is being compiled.
        scope: Whose cells a bare name means.
        target: The field that is being compiled, for messages.
        items_only: Problems on lines that are not items do not matter.
        of_each_line: An aggregate that chooses one of the lines' values gives the value of each line.
    """

    spec: MappingSpec
    plan: ColumnPlan
    tables: Mapping[str, LookupRows]
    used: UsedColumns
    issues: Issues = field(default_factory=Issues)
    location: Location = ()
    scope: Scope = Scope.TRANSACTION
    target: str = ""
    items_only: bool = False
    of_each_line: bool = False
    columns: dict[tuple[Scope, str], TypedExpression] = field(default_factory=dict)
    _defining: tuple[str, ...] = ()

    @property
    def number(self) -> Number:
        """How numbers are written where a value does not say it."""
        return self.spec.source.number

    def at(self, scope: Scope) -> CompileContext:
        """The same context for values over other rows."""
        return self if scope is self.scope else replace(self, scope=scope, items_only=False)

    def inside(self, *step: Key) -> CompileContext:
        """The same context for a part of the mapping inside this one."""
        return replace(self, location=(*self.location, *step))

    def compile(self, value: Value, *step: Key) -> TypedExpression:
        """Compile a value and its steps. Issues are noted, and a blank stands in for a value that has one.

        Args:
            value: The value.
            step: Where it is written, starting from this context's location.
        """
        here = self.inside(*step)
        located = LocatedValue(here.location, value, self.scope)
        met = self.issues.met
        self.issues.add(*value_issues(self.spec, located))
        if self.issues.met > met:
            # The value cannot be compiled, but what is wrong with the values inside it should show as well.
            for inner in visitor.children(located):
                replace(self.at(inner.scope), location=inner.location).compile(inner.value)
            return UNKNOWN
        try:
            typed = VALUE_COMPILERS[type(value)](value, here)
            for i, change in enumerate(() if isinstance(value, str) else value.then):
                here = replace(here, location=(*located.location, "then", i))
                typed = apply_step(change, typed, here)
        except FormulaError as error:
            # An error that only follows from an issue inside the value is not reported.
            if self.issues.met == met:
                here.note(error)
            return UNKNOWN
        return typed

    def note(self, error: FormulaError) -> None:
        """Record an error as an issue at this location."""
        location = (*self.location, *error.inside)
        self.issues.add(Issue(location, str(error), text=error.text, at=error.at))

    # ── Formulas ────────────────────────────────────────────────────────────────────────────────────

    def formula(self, sql: str, *step: Key) -> CompiledFormula:
        """Compile SQL over the cells of this context's rows.

        Args:
            sql: The formula.
            step: Where it is written, starting from this context's location.

        Raises:
            FormulaError: The formula cannot be used on these columns.
        """
        failed: dict[str, pl.Expr] = {}
        try:
            for name, at in parse_formula(sql).columns.items():
                try:
                    text = self.column(name).invalid
                except FormulaError as error:
                    raise FormulaError(str(error), at) from None
                failed |= {} if text is None else {name: text}
            return compile_formula(sql, partial(self.plan.type_of, self.scope), self._keep_formula, failed)
        except FormulaError as error:
            error.inside, error.text = step, sql
            raise

    def decide(self, sql: str, *step: Key) -> CompiledFormula:
        """Compile a condition; note what is wrong with it, and use false in its place."""
        met = self.issues.met
        try:
            compiled = self.formula(sql, *step)
            if compiled.dtype != pl.Boolean:
                given = in_words(compiled.dtype)
                error = FormulaError(f"a condition was expected, as in status = 'PAID'; this gives {given}")
                error.inside, error.text = step, sql
                raise error
        except FormulaError as error:
            if self.issues.met == met:
                self.note(error)
            return CompiledFormula(pl.lit(value=False), pl.Boolean(), None)
        return compiled

    def condition(self, sql: str, *step: Key) -> pl.Expr:
        """Compile a condition that is never null; a cell that keeps it from being decided is reported."""
        compiled = self.decide(sql, *step)
        if compiled.failed is not None:
            message = f"The condition {sql} cannot be decided with this."
            self.check("field_invalid", message, compiled.failed.is_not_null(), compiled.failed)
        return compiled.value.fill_null(value=False)

    def _keep_formula(self, expression: pl.Expr) -> str:
        name = self.fresh("sql")
        self.plan.derive(self.scope, name, expression)
        return name

    # ── Columns ─────────────────────────────────────────────────────────────────────────────────────

    def fresh(self, what: str) -> str:
        """The name of a new column."""
        return f"__{what}_{next(self.plan.numbers)}"

    def keep(self, name: str, typed: TypedExpression) -> TypedExpression:
        """Make a value a column of its frame, so that it is computed once and formulas can name it."""
        raw = parsed_time = None
        if typed.parsed_time is not None:
            self.plan.derive(self.scope, parsed_time_of(name), typed.parsed_time)
            parsed_time = pl.col(parsed_time_of(name))
        if typed.raw is not None:
            self.plan.derive(self.scope, raw_of(name), typed.raw)
            raw = pl.col(raw_of(name))
        self.plan.derive(self.scope, name, typed.value)
        return replace(typed, value=pl.col(name), raw=raw, parsed_time=parsed_time)

    def check(self, code: str, message: str, where: pl.Expr, value: pl.Expr) -> None:
        """Report a problem for each row that meets a condition."""
        check = RowCheck(
            self.scope,
            code,
            self.target,
            message=message,
            where=where,
            value=value,
            items_only=self.items_only,
        )
        self.plan.checks.append(check)

    def column(self, name: str) -> TypedExpression:
        """A column of the source or a definition, as this context's rows see it.

        Raises:
            FormulaError: There is no such column.
        """
        # For each line, a definition over the lines is another value than for the transaction; a cell is not.
        apart = self.of_each_line and name in self.spec.define
        key = (self.scope, f"__each|{name}" if apart else name)
        if key not in self.columns:
            # A name that cannot be used is reported by `usage.column_names`.
            if name != usable_name(name):
                self.issues.broken.add(name)
            self.columns[key] = UNKNOWN if name in self.issues.broken else self._find(name)
        self.issues.meet(name)
        return self.columns[key]

    def _find(self, name: str) -> TypedExpression:
        if name in self.spec.define:
            return self._defined(name)
        own, transaction = self.plan.available[self.scope], self.plan.available[Scope.TRANSACTION]
        if self.scope is not Scope.TRANSACTION:
            headers_name = name.removeprefix(HEADER_PREFIX)
            if name != headers_name and headers_name in transaction:
                return self._from_transaction(headers_name, name)
            # In this layout only the first row has the header's cells.
            if (
                self.spec.source.layout == "first_row"
                and name in transaction
                and name in self.used.transaction
            ):
                return self._from_transaction(name, name)
        if name in own:
            return self._cell(name)
        if name in transaction:
            return self._from_transaction(name, name)
        # Seldom shown: `column_names` looks at all names first, and says what may have been meant.
        raise FormulaError(f"there is no column '{name}'")

    def _cell(self, name: str) -> TypedExpression:
        self.plan.load(self.scope, name)
        cell = TypedExpression(pl.col(name), pl.String())
        kind = self.spec.columns.get(name)
        if kind is None or name in self.issues.broken:
            return cell
        here = replace(self, location=("columns", name))
        met, typed = self.issues.met, cell
        try:
            typed = typed_cell(kind, cell, here)
        except FormulaError as error:
            here.note(error)
        if self.issues.met > met:
            self.issues.broken.add(name)
            return cell
        if typed is cell:  # A column that is split is text, and so are its parts.
            return cell
        return self.keep(name, replace(typed, raw=cell.value, is_cell=True))

    def _defined(self, name: str) -> TypedExpression:
        # A definition that uses itself is reported by `section_rules`.
        if name in self._defining:
            self.issues.met += 1
            return UNKNOWN
        value = self.spec.define[name]
        if self.scope is not Scope.TRANSACTION and self.spec.source.layout in ("lines", "first_row"):
            columns = columns_of(self.spec, value, self.scope)
            # A value that depends only on cells that are equal on all lines is computed once per transaction.
            if columns is not None and columns <= self.used.transaction:
                return self._from_transaction(name, name)
        here = replace(self, location=("define", name), target=name, _defining=(*self._defining, name))
        met = self.issues.met
        typed = here.compile(value)
        if self.issues.met > met:
            self.issues.broken.add(name)
        return self.keep(self.fresh(name) if self.of_each_line else name, typed)

    def _from_transaction(self, name: str, as_name: str) -> TypedExpression:
        return self.broadcast(name, as_name, self.at(Scope.TRANSACTION).column(name))

    def broadcast(self, name: str, as_name: str, typed: TypedExpression) -> TypedExpression:
        """Put a transaction's column, with its raw text and parsed time, on the rows of this context."""

        def brought(part: pl.Expr | None, named: Callable[[str], str]) -> pl.Expr | None:
            if part is None:
                return None
            self.plan.broadcast(self.scope, named(name), named(as_name))
            return pl.col(named(as_name))

        raw, parsed_time = brought(typed.raw, raw_of), brought(typed.parsed_time, parsed_time_of)
        self.plan.broadcast(self.scope, name, as_name)
        return replace(typed, value=pl.col(as_name), raw=raw, parsed_time=parsed_time)

    def left_out(self, counted: LineChoice) -> pl.Expr | None:
        """Whether a line does not count, never null; None where each line counts.

        Raises:
            FormulaError: Only lines that are set apart count, and the mapping sets none apart; or which lines
                these are depends on this value.
        """
        conditions = self.spec.lines.skip
        if counted == "all":
            return None
        if SET_APART in self._defining:
            raise FormulaError("this decides which lines are left out, so it has to say `lines: all`")
        if not conditions:
            if counted == "skipped":
                raise FormulaError("no line is left out: there is no `skip` in the section `lines`")
            return None
        apart = self.set_apart()
        return ~apart if counted == "skipped" else apart

    def set_apart(self) -> pl.Expr:
        """Whether `lines: {skip: ...}` sets a line apart, never null."""
        key = (Scope.LINE, SET_APART)
        if key not in self.columns:
            lines = replace(
                self.at(Scope.LINE),
                location=("lines",),
                target="lines",
                items_only=False,
                _defining=(*self._defining, SET_APART),
            )
            found = [lines.condition(sql, "skip", i) for i, sql in enumerate(self.spec.lines.skip)]
            lines.plan.derive(Scope.LINE, SET_APART, pl.any_horizontal(found))
            self.columns[key] = TypedExpression(pl.col(SET_APART), pl.Boolean())
        return self.columns[key].value

    def void_line(self) -> pl.Expr | None:
        """Whether a line is void, never null; None where the mapping does not say it."""
        value = self.spec.items.get("is_void")
        if value is None or _VOID in self._defining:  # `is_void` may itself use a sum, without void lines
            return None
        key = (Scope.LINE, _VOID)
        if key not in self.columns:
            lines = replace(
                self.at(Scope.LINE), location=("items", "is_void"), _defining=(*self._defining, _VOID)
            )
            void = read_boolean(lines.compile(value), Boolean())
            lines.plan.derive(Scope.LINE, _VOID, void.value.fill_null(value=False))
            self.columns[key] = TypedExpression(pl.col(_VOID), pl.Boolean())
        return self.columns[key].value
