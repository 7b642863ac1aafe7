"""The rules that a mapping declares itself, over its transactions."""

from __future__ import annotations

import polars as pl

from pipeline.core.errors import CannotStart
from pipeline.core.frames import problems_at
from pipeline.core.model import TX
from pipeline.validation.policy import OwnRule


def own_problems(headers: pl.DataFrame, rule: OwnRule) -> pl.DataFrame:
    """The problems of the headers for which the condition of a rule holds.

    Raises:
        CannotStart: The condition cannot be computed, or does not give yes or no.
    """
    return problems_at(headers.filter(_holds(headers, rule)), rule.code, rule.message)


def _holds(headers: pl.DataFrame, rule: OwnRule) -> pl.Series:
    """Where the rule's condition holds; a condition that is null does not."""
    try:
        holds = _computed(headers, rule)
    except pl.exceptions.PolarsError:
        _can_be_computed(headers.clear(), rule)
        raise
    if holds.dtype != pl.Boolean:
        raise CannotStart(f"rules: {rule.code}: a condition was expected, but it gives {holds.dtype}.")
    return holds.fill_null(value=False)


def _computed(headers: pl.DataFrame, rule: OwnRule) -> pl.Series:
    for column in rule.first:
        headers = headers.with_columns(column)
    return headers.select(TX, rule.when.alias("holds"))["holds"]


def _can_be_computed(none: pl.DataFrame, rule: OwnRule) -> None:
    known = ", ".join(name for name in none.columns if "|" not in name and not name.startswith("__"))
    try:
        _computed(none, rule)
    except pl.exceptions.PolarsError as error:
        raise CannotStart(
            f"rules: {rule.code}: the condition cannot be computed: {error}",
            hint=f"Fields that it may use: {known}. A date is written DATE '2024-12-31'.",
        ) from None
