"""Rules of a mapping's own, by themselves."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.core.errors import CannotStart
from pipeline.core.model import TX
from pipeline.validation.own_rules import own_problems
from pipeline.validation.policy import OwnRule
from tests.validation.frames import headers


def broken(when: pl.Expr, *first: pl.Expr) -> list[int]:
    """The sales that break a rule."""
    sales = headers({}, {"external_id": "7"}, {"external_id": None})
    return own_problems(sales, OwnRule("mine", when, "said", first=first))[TX].to_list()


def test_a_condition_may_use_columns_that_are_added_first_one_after_the_other() -> None:
    number = pl.col("external_id").cast(pl.Int64, strict=False).alias("__n")
    assert broken(pl.col("__twice") == 14, number, (pl.col("__n") * 2).alias("__twice")) == [1]


def test_a_condition_that_is_null_does_not_hold() -> None:
    assert broken(pl.col("external_id") != "R0") == [1]


def test_a_condition_that_only_some_cells_break_is_not_called_wrong() -> None:
    with pytest.raises(pl.exceptions.PolarsError):
        broken(pl.col("external_id").cast(pl.Int64) > 0)


def test_what_is_wrong_with_a_condition_is_said_with_the_fields_that_there_are() -> None:
    with pytest.raises(CannotStart, match="rules: mine: the condition cannot be computed") as error:
        broken(pl.col("nowhere") > 0)
    assert "external_id, total, transacted_at, timezone" in str(error.value.hint)
    assert "|" not in str(error.value.hint)
    assert "__" not in str(error.value.hint)
    with pytest.raises(CannotStart, match="a condition was expected, but it gives"):
        broken(pl.col("total"))
