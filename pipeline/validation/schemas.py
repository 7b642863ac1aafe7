"""Mapped frames are checked by pandera, with a schema built from the declared checks.

pandera takes about two milliseconds for each check of each frame. So one polars query first finds the checks
that any row fails. pandera gets only those, with the rows that fail one of them, and its failure cases become
problems. Where rows only fail what is usual, as sales without a customer do, pandera is not even imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

import polars as pl

from pipeline.core.frames import NO_PROBLEMS
from pipeline.validation.declared_checks import (
    TYPES,
    DeclaredCheck,
    completed,
    item_checks,
    problems_of,
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
    types = dict(columns)
    found = [
        each
        for each in checks
        if each.column in types and (each.severity or policy.severity(each.code) != "off")
    ]
    for each in found:
        if types[each.column] != (wanted := TYPES.get(each.column, types[each.column])):
            raise AssertionError(f"the mapping gives {each.column} as {types[each.column]}, not {wanted}")
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
    usual = [each for each in failed if each.is_usual]
    found = [problems_of(each, _failing(frame, [each])) for each in usual]
    if defects := [each for each in failed if not each.is_usual]:
        # Imported here, because pandera takes 0.1 s to import.
        from pipeline.validation.failure_cases import failure_cases

        found += failure_cases(_failing(frame, defects), defects)
    return pl.concat(found)


def _failing(frame: pl.DataFrame, checks: Sequence[DeclaredCheck]) -> pl.DataFrame:
    """The rows that fail one of these checks, in one piece, or `pl.format` of polars 2.1 may panic."""
    return frame.filter(pl.any_horizontal(~each.passes for each in checks)).rechunk()
