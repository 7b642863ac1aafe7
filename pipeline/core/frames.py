"""The frames that stages pass on: problems of rows, and reasons of outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl

from pipeline.core.model import LINE, MONEY_PRECISION, MONEY_SCALE, SOURCE, TX, Kind
from pipeline.core.text.privacy import MARKS, is_personal_field

MONEY: Final = pl.Decimal(MONEY_PRECISION, MONEY_SCALE)
"""The type of money in a field of Omneo."""
SUM: Final = pl.Decimal(38, MONEY_SCALE)
"""The type of a sum of money, which may have more digits."""
_TYPES: Final[Mapping[Kind, pl.DataType]] = {
    Kind.DECIMAL: MONEY,
    Kind.INTEGER: pl.Int64(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.DATETIME: pl.Datetime("us"),
}


def type_of(kind: Kind) -> pl.DataType:
    """The type of the column of a field; lists and objects are JSON texts."""
    return _TYPES.get(kind, pl.String())


PROBLEMS: Final[dict[str, pl.DataType]] = {
    TX: pl.UInt32(),
    "code": pl.String(),
    "field": pl.String(),
    "value": pl.String(),
    "message": pl.String(),
    SOURCE: pl.UInt32(),
    LINE: pl.Int64(),
    "raw": pl.String(),
    "severity": pl.String(),
}
"""One row a problem.

TX is null where the problem belongs to no transaction. SOURCE and LINE are those of the row with the problem.
`field`, `value` (the cell) and `raw` (the row's text) may be null. `severity` overrules the mapping's policy;
null leaves the decision to it.
"""

NO_PROBLEMS: Final = pl.DataFrame(schema=PROBLEMS)

QUARANTINE: Final = ("outcome", "code", "field", "value", "message", "source", "line", "external_id", "raw")
"""Columns of `quarantine.csv`, its parts and the lists in its form, in order: one row a reason."""

REASONS: Final[dict[str, pl.DataType]] = {
    **{name: kind for name, kind in PROBLEMS.items() if name != "severity"},
    "outcome": pl.String(),
}
"""One row a reason: a problem, and what it does, as a value of `pipeline.core.codes.Outcome`."""


def problems_at(
    rows: pl.DataFrame,
    code: str | pl.Expr,
    message: str | pl.Expr,
    *,
    field: str | None = None,
    value: pl.Expr | None = None,
    raw: pl.Expr | None = None,
    severity: str | None = None,
) -> pl.DataFrame:
    """One problem for each of `rows`, which have TX, SOURCE and LINE.

    Args:
        rows: The rows that have the problem.
        code: The problem's code; one for all, or an expression over the rows.
        message: A sentence for people; one for all, or an expression over the rows.
        field: The field or column with the problem.
        value: The cell, as an expression over the rows.
        raw: The row's text, as an expression over the rows.
        severity: What the problem does whatever the policy says.
    """
    if rows.is_empty():
        return NO_PROBLEMS
    columns = {
        TX: pl.col(TX),
        "code": pl.lit(code) if isinstance(code, str) else code,
        "field": pl.lit(field),
        "value": pl.lit(None) if value is None else value,
        "message": pl.lit(message) if isinstance(message, str) else message,
        SOURCE: pl.col(SOURCE),
        LINE: pl.col(LINE),
        "raw": pl.lit(None) if raw is None else raw,
        "severity": pl.lit(severity),
    }
    # In one piece: on columns in several pieces, `format` of polars 2.1 can panic.
    rows = rows.rechunk()
    return rows.select_seq(columns[name].cast(kind).alias(name) for name, kind in PROBLEMS.items())


def collect_together(
    frames: Mapping[str, pl.LazyFrame], engine: Literal["in-memory", "streaming"] = "in-memory"
) -> dict[str, pl.DataFrame]:
    """Collect frames in one query, each under its name.

    What they share is computed once, and so is the start of a query, which takes longer than a small table.
    """
    return dict(zip(frames, pl.collect_all(frames.values(), engine=engine), strict=True))


def in_message(value: pl.Expr, field: str) -> pl.Expr:
    """A value within a problem's message, marked where its field is personal, so that it can be masked."""
    if not is_personal_field(field):
        return value
    return pl.format(f"{MARKS[0]}{{}}{MARKS[1]}", without_marks(value))


def without_marks(text: pl.Expr) -> pl.Expr:
    """A text without the marks of personal values."""
    return text.str.replace_all(f"[{MARKS[0]}{MARKS[1]}]", "")
