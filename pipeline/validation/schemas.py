"""Mapped frames are checked by pandera, with a schema built from the declared checks.

pandera takes about two milliseconds for each check of each frame. So one polars query first finds the checks
that any row fails. pandera gets only those, with the rows that fail one of them, and its failure cases become
problems. Where all rows pass, which is usual, only the query runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import lru_cache

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.config import ValidationDepth, config_context
from pandera.constants import CHECK_OUTPUT_KEY
from pandera.errors import SchemaErrorReason, SchemaErrors

from pipeline.core.frames import NO_PROBLEMS, problems_at
from pipeline.validation.declared_checks import (
    TYPES,
    DeclaredCheck,
    completed,
    item_checks,
    transaction_checks,
)
from pipeline.validation.policy import Policy

_Columns = tuple[tuple[str, pl.DataType], ...]
"""Names and types of a frame's columns."""


def header_problems(
    headers: pl.DataFrame, policy: Policy, now: datetime, *, with_items: bool
) -> pl.DataFrame:
    """Check mapped headers.

    Args:
        headers: One row a transaction, as mapped; fields that the mapping does not give have no column.
        policy: Codes that are `off` are not checked.
        now: When the run started; a naive value is UTC.
        with_items: Whether the mapping gives items, so that a sale without any is a defect.

    Returns:
        One row for each row and check that it fails, as `PROBLEMS`.
    """
    checks = _header_checks(tuple(headers.schema.items()), policy, now)
    return _problems(headers, [each for each in checks if with_items or each.code != "items_missing"])


def item_problems(items: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Check mapped items; as `header_problems`, with the item's own line."""
    return _problems(items, _item_checks(tuple(items.schema.items()), policy))


# Cached, since building the expressions takes as long as checking a partition.
@lru_cache(maxsize=16)
def _header_checks(columns: _Columns, policy: Policy, now: datetime) -> Sequence[DeclaredCheck]:
    return _applicable(transaction_checks(policy, now), columns, policy)


@lru_cache(maxsize=16)
def _item_checks(columns: _Columns, policy: Policy) -> Sequence[DeclaredCheck]:
    return _applicable(item_checks(), columns, policy)


def _applicable(
    checks: Iterable[DeclaredCheck], columns: _Columns, policy: Policy
) -> Sequence[DeclaredCheck]:
    """The checks whose column is there and whose code is not off.

    Raises:
        AssertionError: A column has another type than its field.
    """
    names = {name for name, _ in columns}
    found = [
        each
        for each in checks
        if each.column in names and (each.severity or policy.severity(each.code) != "off")
    ]
    # Types are the same for all rows, so an empty frame shows them.
    types = pa.DataFrameSchema({each.column: _column(each.column, ()) for each in found})
    try:
        with _checking():
            types.validate(pl.DataFrame(schema=dict(columns)), lazy=True)
    except SchemaErrors as errors:
        raise AssertionError(f"the mapping's frames have other types: {errors}") from errors
    return found


def _problems(frame: pl.DataFrame, checks: Sequence[DeclaredCheck]) -> pl.DataFrame:
    """The rows that fail a check, once for each check that they fail."""
    if not checks:
        return NO_PROBLEMS
    frame = completed(frame)
    # Nulls are left out by `all` here, and counted as passed by pandera.
    passed = frame.select_seq(each.passes.all().alias(str(n)) for n, each in enumerate(checks)).row(0)
    failed = [each for each, is_passed in zip(checks, passed, strict=True) if not is_passed]
    if not failed:
        return NO_PROBLEMS
    # In one piece: `pl.format` of polars 2.1 panics on some columns that were filtered.
    rows = frame.filter(pl.any_horizontal(~each.passes for each in failed)).rechunk()
    return pl.concat(_failure_cases(rows, failed))


def _failure_cases(rows: pl.DataFrame, checks: Sequence[DeclaredCheck]) -> Iterator[pl.DataFrame]:
    """Validate rows with pandera; one frame of problems for each check.

    Raises:
        AssertionError: A check could not be computed.
    """
    by_column: dict[str, list[DeclaredCheck]] = {}
    for each in checks:
        by_column.setdefault(each.column, []).append(each)
    schema = pa.DataFrameSchema({name: _column(name, some) for name, some in by_column.items()})
    try:
        with _checking():
            schema.validate(rows, lazy=True)
    except SchemaErrors as errors:
        for error in errors.schema_errors:
            if error.reason_code is not SchemaErrorReason.DATAFRAME_CHECK:
                raise AssertionError(f"the mapping's frames cannot be checked: {error}") from error
            check = by_column[error.schema.name][error.check_index]
            yield problems_at(
                rows.filter(~error.check_output[CHECK_OUTPUT_KEY]).rechunk(),
                check.code,
                check.message,
                field=check.field,
                value=check.value,
                severity=check.severity,
            )


def _column(name: str, checks: Iterable[DeclaredCheck]) -> pa.Column:
    return pa.Column(TYPES.get(name), [_pandera_check(each) for each in checks], nullable=True)


def _pandera_check(check: DeclaredCheck) -> pa.Check:
    def passes(data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(check.passes)

    # One failure case is enough for the message of pandera: the rows are taken from the output of the check.
    return pa.Check(passes, name=check.code, description=check.expects, n_failure_cases=1)


def _checking() -> AbstractContextManager[None]:
    """A user's PANDERA_* variables must not switch the checks off."""
    return config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA)
