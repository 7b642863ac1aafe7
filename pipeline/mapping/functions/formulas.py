"""SQL formulas and templates of a mapping: which columns they use, and what they compute.

A cell that cannot be read never raises: a compiled formula gives the text of that cell beside its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import polars as pl

from pipeline.mapping.language.mapping_errors import FormulaError

if TYPE_CHECKING:
    from sqlglot import exp

# Doubled braces come first, since they stand for the brace itself.
_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class ParsedFormula:
    """A parsed formula.

    Attributes:
        text: The formula as written in the mapping.
        tree: Its syntax tree.
        columns: The names that it uses, in order, and the character at which each occurs first, from 0.
    """

    text: str
    tree: exp.Expr
    columns: Mapping[str, int | None]


@dataclass(frozen=True)
class CompiledFormula:
    """A formula over a frame.

    Attributes:
        value: Its value; null where it is blank or depends on a cell that cannot be read.
        dtype: The value's type.
        failed: The text of the cell that cannot be read, else null. None where nothing in it can fail.
    """

    value: pl.Expr
    dtype: pl.DataType
    failed: pl.Expr | None


TypeOf = Callable[[pl.Expr], pl.DataType]
"""The type that an expression has over a frame; a FormulaError where polars cannot compute it."""
Keep = Callable[[pl.Expr], str]
"""Makes an expression a column of the frame, and gives that column's name."""


@cache
def parse_formula(text: str) -> ParsedFormula:
    """Parse a formula.

    Raises:
        FormulaError: It is not SQL that can be used, or it uses other rows (sums and the like), which would
            have no meaning over a partition of rows.
    """
    # Imported here, because sqlglot takes 0.1 s to import.
    from pipeline.mapping.functions import sql

    with _of(text):
        tree = sql.parse(text)
    return ParsedFormula(text, tree, sql.columns_in(tree))


def compile_formula(
    text: str, type_of: TypeOf, keep: Keep, failed: Mapping[str, pl.Expr] | None = None
) -> CompiledFormula:
    """Compile a formula.

    Args:
        text: The formula.
        type_of: Gives the type of an expression over the frame, including the columns that were kept.
        keep: Makes an expression a column of the frame.
        failed: For columns that were read from texts, the text where it cannot be read.

    Raises:
        FormulaError: As for `parse_formula`; or the formula does not work on columns of these types.
    """
    from pipeline.mapping.functions.sql_compiler import SqlCompiler

    tree = parse_formula(text).tree
    with _of(text):
        return SqlCompiler(text, tree, type_of, keep, dict(failed or {})).compiled()


def type_over(schema: Mapping[str, pl.DataType], expression: pl.Expr) -> pl.DataType:
    """The type that an expression has over a frame with this schema.

    Raises:
        FormulaError: polars cannot compute it from these columns.
    """
    # Some mistakes, such as comparing a text with a number, only show when something is computed.
    used = {name: schema[name] for name in expression.meta.root_names() if name in schema}
    try:
        return pl.DataFrame(schema=used).select(expression.alias("it")).dtypes[0]
    except pl.exceptions.PolarsError as error:
        raise FormulaError(str(error).strip().splitlines()[0]) from None


@contextmanager
def _of(text: str) -> Iterator[None]:
    try:
        yield
    except FormulaError as error:
        error.text = text
        raise


def sql_columns(text: str) -> tuple[str, ...]:
    """The names of the columns that a formula uses, each once, in order.

    Raises:
        FormulaError: As for `parse_formula`.
    """
    return tuple(parse_formula(text).columns)


_WORDS: Final[dict[type[pl.DataType], str]] = {
    pl.String: "text",
    pl.Boolean: "true or false",
    pl.Date: "a date",
    pl.Datetime: "a date and time",
    pl.Time: "a time without a date",
    pl.Duration: "a span of time",
    pl.Null: "nothing",
}


def in_words(dtype: pl.DataType) -> str:
    """A type in words, for messages."""
    return "a number" if dtype.is_numeric() else _WORDS.get(dtype.base_type(), "a list")


def template_parts(text: str) -> tuple[tuple[str, bool], ...]:
    """Split a template into parts: (text, False) for literal text, (name, True) for a column.

    Raises:
        FormulaError: A brace is alone, or a name is empty.
    """
    parts: list[tuple[str, bool]] = []
    literal, end = "", 0
    for match in _TEMPLATE.finditer(text):
        literal, end = literal + text[end : match.start()], match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][:1]
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
