"""The conditions of a mapping's own rules, over mapped transactions."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from pipeline.core.frames import MONEY
from pipeline.mapping.functions.rule_conditions import compile_rule
from pipeline.mapping.language.mapping_errors import FormulaError


def breaks(when: str, *totals: str, receipt: str = "7") -> list[bool | None]:
    """Whether sales with these totals break a rule."""
    rows = pl.DataFrame(
        {"total": [Decimal(total) for total in totals], "receipt_ref": receipt, "paid": Decimal(1)},
        schema={"total": MONEY, "receipt_ref": pl.String, "paid": MONEY},
    )
    rule = compile_rule(when)
    for column in rule.first:
        rows = rows.with_columns(column)
    return rows.select(rule.when).to_series().to_list()


def test_a_sale_breaks_a_rule_whose_condition_holds() -> None:
    assert breaks("total < paid", "0.99", "1", "2") == [True, False, False]


@pytest.mark.parametrize(("receipt", "expected"), [("7", True), ("4", False), ("x", True)])
def test_a_sale_of_which_a_condition_cannot_be_computed_breaks_the_rule(receipt: str, expected: bool) -> None:
    when = "COALESCE(CAST(receipt_ref AS INTEGER), 0) + CAST(receipt_ref AS INTEGER) > 10"
    assert breaks(when, "1", receipt=receipt) == [expected]


def test_a_rule_is_a_condition() -> None:
    with pytest.raises(FormulaError, match="a condition was expected, as in total < 0; the formula 'total'"):
        compile_rule("total")
