"""The SQL of formulas: what is allowed in them, and how it is written for polars.

A formula is parsed as PostgreSQL, checked against a list of what uses its own row only, and written again for
polars. Importing sqlglot takes a tenth of a second, so import this module late.
"""

from __future__ import annotations

import logging
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import SqlglotError
from sqlglot.parsers.postgres import PostgresParser

from pipeline.core.errors import did_you_mean
from pipeline.mapping.language.mapping_errors import FormulaError

Node = exp.Expr


class _Formulas(Postgres):
    """PostgreSQL whose functions keep the names that they are written with, since polars knows these."""

    class Parser(PostgresParser):
        FUNCTIONS: dict[str, object] = {}  # type: ignore[assignment,misc] # noqa: RUF012
        FUNCTION_PARSERS = {  # noqa: RUF012
            name: PostgresParser.FUNCTION_PARSERS[name]
            for name in ("CAST", "TRY_CAST", "EXTRACT", "POSITION", "SUBSTRING", "TRIM")
        }


_DIALECT: Final = _Formulas()
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # What it warns about is reported as an error below.


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS: Final = _words(
    """
    ABS ACOS ACOSD ASIN ASIND ATAN ATAN2 ATAN2D ATAND CBRT CEIL CEILING COS COSD COT COTD DEGREES DIV EXP
    FLOOR LN LOG LOG10 LOG1P LOG2 MOD PI POW POWER RADIANS ROUND SIGN SIN SIND SQRT TAN TAND TRUNC
    BIT_LENGTH CHAR_LENGTH CHARACTER_LENGTH CONCAT CONCAT_WS ENDS_WITH INITCAP LEFT LENGTH LOWER LPAD LTRIM
    NORMALIZE OCTET_LENGTH REGEXP_LIKE REGEXP_REPLACE REPLACE REVERSE RIGHT RPAD RTRIM SPLIT_PART STARTS_WITH
    STRPOS SUBSTR UPPER
    ARRAY_CONTAINS ARRAY_GET ARRAY_LENGTH ARRAY_TO_STRING STRING_TO_ARRAY
    COALESCE GREATEST IF IFNULL LEAST NULLIF
    DATE DATE_PART DAY DAYOFMONTH DAYOFWEEK DAYOFYEAR HOUR MINUTE MONTH NOW QUARTER SECOND STRFTIME
    STRPTIME TIMESTAMP WEEK YEAR
    """
)
"""Functions over one row that polars' SQL knows under these names."""

_SYNTAX: Final = ("CASE", "CAST", "EXTRACT", "POSITION", "SUBSTRING", "TRIM", "TRY_CAST")
"""Words that look like functions and have a grammar of their own."""

_ACROSS_ROWS: Final = _words(
    """
    APPROX_COUNT_DISTINCT APPROX_QUANTILE ARRAY_AGG AVG CORR COUNT COVAR COVAR_POP COVAR_SAMP CUME_DIST
    DENSE_RANK FIRST FIRST_VALUE LAG LAST LAST_VALUE LEAD MAX MEAN MEDIAN MIN NTH_VALUE NTILE PERCENT_RANK
    QUANTILE QUANTILE_CONT QUANTILE_DISC RANK ROW_NUMBER STDDEV STDDEV_POP STDDEV_SAMP STDEV STDEV_SAMP
    STRING_AGG SUM VAR VARIANCE VAR_POP VAR_SAMP
    """
)
"""Functions that give one value for many rows."""

_NODES: Final[tuple[type[Node], ...]] = (
    *(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Paren, exp.DPipe),
    *(exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ),
    *(exp.And, exp.Or, exp.Not, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape),
    *(exp.RegexpLike, exp.RegexpILike, exp.StartsWith),
    *(exp.Case, exp.If, exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam, exp.Anonymous),
    *(exp.Extract, exp.StrPosition, exp.Substring, exp.Trim, exp.Interval, exp.Var),
    *(exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null),
    *(exp.CurrentDate, exp.CurrentTimestamp),
)
"""The parts of syntax that are allowed in a formula."""


def parse(text: str) -> Node:
    """Parse a formula and check that it is one expression over the cells of its own row.

    Raises:
        FormulaError: It is not; the message says what is wrong, and `at` at which character where that is
            known.
    """
    tree = _parsed(text)
    for node in tree.walk():
        _check(node, text)
    return tree


def written(node: Node) -> str:
    """A part of a formula as SQL that polars reads; every name is in quotes."""
    return node.sql(_DIALECT, identify=True, comments=False)


def name_of(function: Node) -> str:
    """The name of a function in capitals; empty for other nodes."""
    return str(function.this).upper() if isinstance(function, exp.Anonymous) else ""


def columns_in(tree: Node) -> dict[str, int | None]:
    """The columns that a formula uses, in order, and the character at which each occurs first, from 0."""
    columns: dict[str, int | None] = {}
    for column in sorted(tree.find_all(exp.Column), key=lambda found: _at(found) or 0):
        columns.setdefault(column.name, _at(column))
    return columns


def _at(column: exp.Column) -> int | None:
    start = column.this.meta.get("start")
    return None if start is None else int(start)


def _parsed(text: str) -> Node:
    try:
        trees = sqlglot.parse(text, dialect=_DIALECT)
    except SqlglotError as error:
        raise _no_sql(text, error) from None
    except RecursionError:
        raise FormulaError(f"the formula '{text[:_SHOWN]}…' is nested too deep") from None
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Expr):
        raise FormulaError(f"the formula '{text}' is not SQL that can be used: one expression was expected")
    return tree


def _no_sql(text: str, error: SqlglotError) -> FormulaError:
    details = getattr(error, "errors", None) or [{}]
    said = str(details[0].get("description") or error).splitlines()[0]
    said = said.split(" missing for ")[0].replace("Required keyword: 'expression'", "something is")
    if said == "something is":
        said = "something is missing here"
    word, line = details[0].get("highlight") or "", details[0].get("line")
    # sqlglot's column is that of the last character of the word.
    at = (details[0].get("col") or 0) - len(word) if line == 1 else None
    beside = f" at '{word}'" if word else ""
    message = f"the formula '{text}' is not SQL that can be used: {said}{beside}{_likely_cause(text)}"
    return FormulaError(message, at)


def _likely_cause(text: str) -> str:
    """The most frequent reasons why a formula cannot be parsed, where one of them is certain."""
    plain = "".join(part for i, part in enumerate(text.replace('"', "'").split("'")) if i % 2 == 0)
    for opening, closing in ("()", "[]"):
        if plain.count(opening) != plain.count(closing):
            return f"; every {opening} needs its {closing}"
    return "; a quote is not closed" if (text.count("'") % 2 or text.count('"') % 2) else ""


def _check(node: Node, text: str) -> None:
    name = name_of(node)
    if name in _ACROSS_ROWS or isinstance(node, exp.Window):
        raise FormulaError(
            f"the formula '{text}' looks at other rows; use sum, count, first, last, min or max of the "
            "mapping for what concerns all lines of a transaction"
        )
    if isinstance(node, exp.Star):
        raise FormulaError(
            f"the formula '{text}' gives several columns, since `*` stands for many; one value was expected"
        )
    if name and name not in FUNCTIONS:
        near = did_you_mean(name, [*sorted(FUNCTIONS), *_SYNTAX])
        at = text.upper().find(name)
        raise FormulaError(f"the formula '{text}' uses {name}, which is not a function of formulas{near}", at)
    if isinstance(node, exp.Column) and node.args.get("table"):
        whole = ".".join(part.name for part in node.parts)
        raise FormulaError(
            f"the formula '{text}' names {whole}; "
            f'a name with a point in it stands in double quotes: "{whole}"',
            _at(node),
        )
    if isinstance(node, exp.Column) and node.name.startswith("^") and node.name.endswith("$"):
        raise FormulaError(
            f"the formula '{text}' gives several columns, since names from `^` to `$` stand for many; "
            "one value was expected"
        )
    if not isinstance(node, _NODES):
        what = type(node).__name__
        raise FormulaError(
            f"the formula '{text}' is not SQL that can be used: {what} is not part of formulas; "
            "they are made of columns, texts, numbers, operators, CASE and functions"
        )


_SHOWN = 80
