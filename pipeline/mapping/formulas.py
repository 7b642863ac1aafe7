"""SQL formulas and templates of a mapping: which columns they use, and their polars expressions."""

from __future__ import annotations

import json
import re
from functools import cache
from io import StringIO
from typing import Any

import polars as pl

from pipeline.mapping.faults import FormulaError

_ACROSS_ROWS = {"Agg", "Over", "Len", "Range", "Rolling", "Gather"}
"""Nodes of polars' expression tree that look at other rows than their own."""
_TEXTS = {"Literal", "Column"}
"""Nodes that hold the mapping's own words."""

_DIVISIONS = {"Div", "Rem"}
_NOTHING = {"Literal": {"Scalar": {"Null": "Null"}}}
_ZERO = {"Literal": {"Dyn": {"Int": 0}}}

_TRUTH = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | \bIS\s+(?P<not>NOT\s+)?(?P<which>TRUE|FALSE)\b""", re.X | re.I
)
"""Quoted words, which are left alone, and tests for true and false."""

_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@cache
def sql_expression(text: str) -> pl.Expr:
    """Parse a formula; what is divided by 0 is null.

    Raises:
        FormulaError: It is no SQL that polars knows, or it looks at other rows than its own (sums and
            the like): over a bucket of rows such a thing would mean nothing.
    """
    try:
        expression = pl.sql_expr(_TRUTH.sub(_truth_of_blanks, text))
        tree = json.loads(expression.meta.serialize(format="json"))
        if expression.meta.has_multiple_outputs():
            raise FormulaError(
                f"the formula '{text}' gives several columns, since `*` and names from `^` to `$` stand for "
                "many; one value was expected"
            )
    except pl.exceptions.PolarsError as error:
        raise FormulaError(
            f"the formula '{text}' is not SQL that can be used: {_first_line(error)}{_likely_cause(text)}"
        ) from None
    if _holds(tree, _ACROSS_ROWS):
        raise FormulaError(
            f"the formula '{text}' looks at other rows; use sum, count, first, last, min or max of the "
            "mapping for what concerns all lines of a transaction"
        )
    if not _holds(tree, _DIVISIONS):
        return expression
    return pl.Expr.deserialize(StringIO(json.dumps(_dividing_safely(tree))), format="json")


def sql_columns(text: str) -> tuple[str, ...]:
    """The names of the columns that a formula uses, each once, in order.

    Raises:
        FormulaError: As for `sql_expression`.
    """
    return tuple(dict.fromkeys(sql_expression(text).meta.root_names()))


def template_parts(text: str) -> tuple[tuple[str, bool], ...]:
    """Cut a template into parts: (text, False) for literal text, (name, True) for a column.

    Raises:
        FormulaError: A brace is alone, or a name is empty.
    """
    parts: list[tuple[str, bool]] = []
    literal, end = "", 0
    for match in _TEMPLATE.finditer(text):
        literal, end = literal + text[end : match.start()], match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][0]
        elif match[1] and match[1].strip():
            parts += [(literal, False), (match[1].strip(), True)]
            literal = ""
        else:
            raise FormulaError(
                f"the template '{text}' has a '{match[0]}' without a column's name in it; "
                "{name} was expected, and {{ for a brace that is text"
            )
    parts.append((literal + text[end:], False))
    return tuple(part for part in parts if part[0])


def template_columns(text: str) -> tuple[str, ...]:
    """The names of the columns in a template, each once, in order.

    Raises:
        FormulaError: As for `template_parts`.
    """
    return tuple(dict.fromkeys(name for name, is_column in template_parts(text) if is_column))


def _holds(tree: object, nodes: set[str]) -> bool:
    if isinstance(tree, dict):
        inner = {key: value for key, value in tree.items() if key not in _TEXTS}
        return any(key in nodes or _holds(value, nodes) for key, value in inner.items())
    if isinstance(tree, list):
        return any(_holds(member, nodes) for member in tree)
    return isinstance(tree, str) and tree in nodes


def _dividing_safely(tree: Any) -> Any:
    """Make divisors null where they are 0: one such row would fail all that are computed with it."""
    if isinstance(tree, list):
        return [_dividing_safely(member) for member in tree]
    if not isinstance(tree, dict):
        return tree
    tree = {key: _dividing_safely(value) for key, value in tree.items()}
    match tree:
        case {"Function": {"input": [left, right], "function": {"Sql": {"Binary": "Div" | "Rem"}}} as node}:
            unequal = {"BinaryExpr": {"left": right, "op": "NotEq", "right": _ZERO}}
            safe = {"Ternary": {"predicate": unequal, "truthy": right, "falsy": _NOTHING}}
            return {"Function": {**node, "input": [left, safe]}}
    return tree


def _truth_of_blanks(match: re.Match[str]) -> str:
    """`x IS NOT TRUE` also holds where x is blank, as in any SQL; polars 2.1 gives a blank there."""
    if match["which"] is None:
        return match[0]
    return f"IS {'' if match['not'] else 'NOT '}DISTINCT FROM {match['which']}"


def _likely_cause(text: str) -> str:
    """What keeps most formulas from being parsed, where it is plain to see."""
    without_texts = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    for opening, closing in ("()", "[]"):
        if without_texts.count(opening) != without_texts.count(closing):
            return f"; every {opening} needs its {closing}"
    if "'" in without_texts or '"' in without_texts:
        return "; a quote is not closed"
    return ""


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
