"""Formulas become polars expressions that no cell can stop.

polars computes the SQL, but for what it would fail on: casts and parses of texts are computed one by one,
each as a column in which a cell that does not fit is null. Which cell that was is followed through the
formula, and it only counts where the value depends on it: an x is no issue in
`CASE WHEN q <> 'x' THEN CAST(q AS INTEGER) END`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl
from sqlglot import exp

from pipeline.mapping.functions.formulas import CompiledFormula, Keep, TypeOf, in_words
from pipeline.mapping.functions.numbers import booleans
from pipeline.mapping.functions.sql import Node, name_of, written
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.value_spec import Boolean

_DATETIME: Final = pl.Datetime("us")
_PARSES: Final = ("DATE", "STRPTIME", "TIMESTAMP")
_ANY_TIME: Final = pl.datetime(2024, 1, 1, time_zone="UTC")
_LENGTH_AT: Final = {"SUBSTR": 2, "LPAD": 1, "RPAD": 1}
"""Functions that fail on a negative length, and the position of that argument."""
_OVERFLOWING: Final[dict[type[Node], Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    exp.Add: lambda left, right: left + right,
    exp.Sub: lambda left, right: left - right,
    exp.Mul: lambda left, right: left * right,
}
_BOUNDS: Final[dict[pl.DataType, tuple[float, float]]] = {
    pl.Int64(): (-(2.0**63), 2.0**63),
    pl.Int32(): (-(2.0**31) - 1, 2.0**31),
    pl.UInt32(): (-1, 2.0**32),
}
"""The limits, exclusive, of the whole numbers that formulas compute with."""
_ANSWERS_BLANKS: Final = (exp.Case, exp.And, exp.Or, exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ)
_ANSWERING: Final = ("COALESCE", "IFNULL", "GREATEST", "LEAST", "NULLIF", "CONCAT_WS")
"""Functions that may have a value though an operand is null."""


def _read_datetime(text: pl.Expr) -> pl.Expr:
    plain = text.str.strip_chars().str.replace("T", " ")
    forms = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    return pl.coalesce(plain.str.to_datetime(form, strict=False, time_unit="us") for form in forms)


_FROM_TEXT: Final[dict[pl.DataType, Callable[[pl.Expr], pl.Expr]]] = {
    pl.Date(): lambda text: _read_datetime(text).dt.date(),
    _DATETIME: _read_datetime,
    pl.Time(): lambda text: text.str.strip_chars().str.to_time("%H:%M:%S", strict=False),
    pl.Boolean(): lambda text: booleans(text.str.strip_chars(), Boolean()),
}
"""How a text is read where polars' own cast cannot do it."""


@dataclass
class SqlCompiler:
    """Compiles one formula; see `formulas.compile_formula`."""

    text: str
    tree: Node
    type_of: TypeOf
    keep: Keep
    failed: dict[str, pl.Expr] = field(default_factory=dict)

    def compiled(self) -> CompiledFormula:
        """Compile the formula."""
        tree = self._safe(self.tree.copy())
        value, failed = self._expression(tree), self._failure(tree)
        dtype = self._type(value)
        if failed is not None and self._may_hide(tree):
            # A null that was replaced by another value must not hide the cell that could not be read.
            failed = pl.col(self.keep(failed))
            value = pl.when(failed.is_null()).then(value)
        return CompiledFormula(value, dtype, failed)

    # ── Parts that can fail become columns of their own ─────────────────────────────────────────────

    def _safe(self, tree: Node) -> Node:
        """The formula with columns in place of casts and parses, and without divisions by 0."""
        # In reverse, because operands must be compiled before the nodes that use them.
        for node in reversed([*tree.walk()]):
            safe = self._replacement(node)
            if node is tree:
                tree = safe
            elif safe is not node:
                node.replace(safe)
        return tree

    def _replacement(self, node: Node) -> Node:
        match node:
            case exp.Cast(this=exp.Literal(is_string=True)):
                return self._checked(node)
            case exp.Cast():
                return self._column(node.this, self._cast(node), lenient=isinstance(node, exp.TryCast))
            case exp.Anonymous() if name_of(node) in _PARSES and node.expressions:
                return self._column(node.expressions[0], self._parse(node))
            case exp.Is(expression=exp.Boolean()):
                # `x IS NOT TRUE` also holds where x is blank, as in any SQL; polars gives a blank there.
                return exp.NullSafeEQ(this=node.this, expression=node.expression)
            case exp.If() if not isinstance(node.parent, exp.Case):
                branch = exp.If(this=node.this, true=node.args["true"])
                return exp.Case(ifs=[branch], default=node.args.get("false"))
            case exp.Div() | exp.Mod():
                node.set("expression", _unless_zero(node.expression))
            case exp.Anonymous() if name_of(node) in ("DIV", "MOD") and len(node.expressions) == 2:
                node.set("expressions", [node.expressions[0], _unless_zero(node.expressions[1])])
            case exp.Substring() if node.args.get("length"):
                node.set("length", _not_negative(node.args["length"]))
            case exp.Anonymous() if name_of(node) in _LENGTH_AT:
                at, given = _LENGTH_AT[name_of(node)], node.expressions
                node.set("expressions", [_not_negative(n) if i == at else n for i, n in enumerate(given)])
            case _:
                pass
        return node

    def _checked(self, cast: exp.Cast) -> Node:
        """Check a text in the formula itself, such as DATE '2024-12-31', once and for all."""
        wanted = self._wanted(cast)
        value = self._read(self._expression(cast.this), pl.String(), wanted)
        if not isinstance(cast, exp.TryCast) and pl.select(value).item() is None:
            raise FormulaError(f"{self._formula}: '{cast.this.this}' is not {in_words(wanted)}")
        return self._column(cast.this, value, lenient=True)

    def _column(self, operand: Node, value: pl.Expr, *, lenient: bool = False) -> Node:
        """A column that is null where the operand cannot be read; `failed` keeps its text."""
        self._type(value)
        name = self.keep(value)
        if not lenient:
            given, before = self._expression(operand), self._failure(operand)
            unread = given.is_not_null() & pl.col(name).is_null()
            failed = _first([before, pl.when(unread).then(given.cast(pl.String, strict=False))])
            if failed is not None:
                self.failed[name] = failed
        return exp.column(exp.to_identifier(name))

    def _cast(self, cast: exp.Cast) -> pl.Expr:
        operand = self._expression(cast.this)
        return self._read(operand, self._type(operand), self._wanted(cast))

    def _read(self, operand: pl.Expr, given: pl.DataType, wanted: pl.DataType) -> pl.Expr:
        if given == pl.String and wanted in _FROM_TEXT:
            return _FROM_TEXT[wanted](operand)
        if given.is_numeric() and wanted.is_temporal():
            raise FormulaError(
                f"{self._formula} makes {in_words(wanted)} of a number; say under `columns` how it is to be "
                "read, as {datetime: {formats: [epoch_s]}}"
            )
        value = operand.cast(wanted, strict=False)
        return pl.when(value.is_finite()).then(value) if wanted.is_float() else value

    def _wanted(self, cast: exp.Cast) -> pl.DataType:
        """The type that is cast to; all whole numbers have 64 bits, so that products do not overflow."""
        try:
            dtype = pl.select(pl.sql_expr(f"TRY_CAST(NULL AS {written(cast.to)})")).to_series().dtype
        except pl.exceptions.PolarsError as error:
            raise FormulaError(f"{self._formula} casts to an unknown type: {_first_line(error)}") from None
        return pl.Int64() if dtype.is_integer() else dtype

    def _parse(self, call: exp.Anonymous) -> pl.Expr:
        name, (given, *forms) = name_of(call), call.expressions
        operand = self._expression(given)
        dtype, wanted = self._type(operand), pl.Date() if name == "DATE" else _DATETIME
        if not forms and name != "STRPTIME":
            return self._read(operand, dtype, wanted)
        if len(forms) != 1 or not forms[0].is_string:
            raise FormulaError(f"{self._formula}: {name} needs a text and its format, as in '%d/%m/%Y'")
        if dtype != pl.String:
            raise FormulaError(f"{self._formula}: {name} reads texts, and this is {in_words(dtype)}")
        form = str(forms[0].this)
        read = operand.str.to_datetime(form, strict=False, time_unit="us", ambiguous="null")
        try:
            # An unknown letter is only refused when a time is written by it; `%#z` is for reading alone.
            pl.select(_ANY_TIME.dt.strftime(form.replace("%#z", "%z")))
            sample = pl.select(pl.lit("2024").str.to_datetime(form, strict=False)).to_series().dtype
        except pl.exceptions.PolarsError as error:
            raise FormulaError(f"{self._formula}: '{form}' is no format: {_first_line(error)}") from None
        if isinstance(sample, pl.Datetime) and sample.time_zone:
            read = read.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return read.cast(wanted)

    # ── Which cell failed ───────────────────────────────────────────────────────────────────────────

    def _failure(self, node: Node) -> pl.Expr | None:
        """The text of a cell that cannot be read, where the value of `node` depends on it."""
        match node:
            case exp.Column():
                return self.failed.get(node.name)
            case exp.Case():
                return self._failure_of_case(node)
            case exp.And() | exp.Or():
                return self._failure_of_sides(node)
            case exp.Anonymous() if name_of(node) in ("COALESCE", "IFNULL"):
                return self._failure_of_choices(node.expressions)
            case _:
                return _first([*map(self._failure, node.iter_expressions()), self._overflow(node)])

    def _failure_of_case(self, node: exp.Case) -> pl.Expr | None:
        """The failure of the branch that is taken, or of a condition that is tested before it."""
        other = node.args.get("default")
        rest = None if other is None else self._failure(other)
        # Built from the last branch to the first, so each one holds the failures of those after it.
        for branch in reversed(node.args["ifs"]):
            holds = branch.this
            if node.this is not None:
                holds = exp.EQ(this=node.this.copy(), expression=branch.this.copy())
            taken = self._failure(branch.args["true"])
            if taken is not None or rest is not None:
                rest = pl.when(self._expression(holds)).then(taken).otherwise(rest)
            rest = _first([self._failure(holds), rest])
        return rest

    def _failure_of_sides(self, node: exp.And | exp.Or) -> pl.Expr | None:
        """No failure where one side decides alone, as `q <> '' AND CAST(q AS INTEGER) > 0` for a blank q."""
        sides = [node.this, node.expression]
        failed = _first([self._failure(side) for side in sides])
        if failed is None:
            return None
        decides = pl.lit(isinstance(node, exp.Or))
        decided = [(self._expression(side) == decides).fill_null(value=False) for side in sides]
        return pl.when(~pl.any_horizontal(decided)).then(failed)

    def _failure_of_choices(self, choices: Sequence[Node]) -> pl.Expr | None:
        """The failure of the first choice that is not blank, or of one before it."""
        rest: pl.Expr | None = None
        # Built from the last choice to the first, so each one holds the failures of those after it.
        for choice in reversed(choices):
            if rest is not None:
                rest = pl.when(self._expression(choice).is_null()).then(rest)
            rest = _first([self._failure(choice), rest])
        return rest

    def _overflow(self, node: Node) -> pl.Expr | None:
        """Where whole numbers become too large: polars would wrap around silently."""
        combine = _OVERFLOWING.get(type(node))
        if combine is None or node.find(exp.Column) is None:
            return None
        dtype = self._type(self._expression(node))
        if not dtype.is_integer():
            return None
        left, right = (self._expression(side).cast(pl.Float64) for side in (node.this, node.expression))
        about = combine(left, right)
        low, high = _BOUNDS.get(dtype, _BOUNDS[pl.Int64()])
        return pl.when(~((about > low) & (about < high))).then(about.cast(pl.String))

    def _may_hide(self, tree: Node) -> bool:
        """Whether the formula may have a value though a part of it failed."""
        return any(
            isinstance(node, _ANSWERS_BLANKS)
            or name_of(node) in _ANSWERING
            or self._overflow(node) is not None
            for node in tree.walk()
        )

    # ── polars ──────────────────────────────────────────────────────────────────────────────────────

    def _expression(self, node: Node) -> pl.Expr:
        try:
            return pl.sql_expr(written(node))
        except pl.exceptions.PolarsError as error:
            raise FormulaError(f"{self._formula} is not SQL that can be used: {_first_line(error)}") from None

    def _type(self, expression: pl.Expr) -> pl.DataType:
        try:
            return self.type_of(expression)
        except FormulaError as error:
            names = [column.name for column in self.tree.find_all(exp.Column)]
            texts = [f"`{name}`" for name in dict.fromkeys(names) if self.type_of(pl.col(name)) == pl.String]
            hint = f"; text unless `columns` says otherwise: {', '.join(texts)}" if texts else ""
            raise FormulaError(f"{self._formula} does not work: {error}{hint}") from None

    @property
    def _formula(self) -> str:
        return f"the formula '{self.text}'"


def _unless_zero(divisor: Node) -> Node:
    """The divisor, null where it is 0: one such row would fail the whole frame."""
    if isinstance(divisor, exp.Literal) and str(divisor.this).strip("0."):
        return divisor
    zero = exp.Literal.number(0)
    return exp.Anonymous(this="NULLIF", expressions=[divisor.copy(), zero])


def _not_negative(length: Node) -> Node:
    if isinstance(length, exp.Literal):
        return length
    return exp.Anonymous(this="GREATEST", expressions=[length.copy(), exp.Literal.number(0)])


def _first(parts: Sequence[pl.Expr | None]) -> pl.Expr | None:
    there = [part for part in parts if part is not None]
    return pl.coalesce(there) if len(there) > 1 else there[0] if there else None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
