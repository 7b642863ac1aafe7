"""Which rows fail declared checks: pandera validates them, and its failure cases become problems.

Importing pandera takes a tenth of a second, so import this module late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.config import ValidationDepth, config_context
from pandera.constants import CHECK_OUTPUT_KEY
from pandera.errors import SchemaErrorReason, SchemaErrors

from pipeline.validation.declared_checks import TYPES, DeclaredCheck, problems_of


def failure_cases(rows: pl.DataFrame, checks: Sequence[DeclaredCheck]) -> Iterator[pl.DataFrame]:
    """Validate rows with pandera; one frame of problems for each check.

    Args:
        rows: With all columns that the checks use.
        checks: Some of them fail.

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
            yield problems_of(check, rows.filter(~error.check_output[CHECK_OUTPUT_KEY]).rechunk())


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
