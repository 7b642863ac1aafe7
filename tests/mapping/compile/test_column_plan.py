"""The operations of a plan, over frames made by hand."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import polars as pl
import pytest

from pipeline.core.model import LINE, SOURCE, TX
from pipeline.mapping.compile.column_plan import (
    Aggregate,
    NumberLines,
    RowCheck,
    join_by_transaction,
    parsed_time_of,
    raw_of,
    with_columns,
)
from pipeline.mapping.usage.visitor import Scope


def placed(**columns: object) -> pl.DataFrame:
    """Rows with their transaction (`tx`) and place."""
    rows = pl.DataFrame(columns, strict=False)
    tx = pl.col("tx") if "tx" in rows.columns else pl.int_range(pl.len())
    place = pl.lit(0, pl.UInt32).alias(SOURCE), pl.int_range(2, pl.len() + 2).alias(LINE)
    return rows.select(tx.cast(pl.UInt32).alias(TX), *place, pl.exclude("tx"))


def frames_of(lines: pl.DataFrame, transactions: int) -> dict[Scope, pl.DataFrame]:
    return {Scope.LINE: lines, Scope.TRANSACTION: placed(tx=[*range(transactions)])}


def summed(values: list[int | Decimal | None], dtype: pl.DataType) -> tuple[object, list[tuple[str, str]]]:
    """The sum of one transaction's lines, and the problems."""
    frames = frames_of(placed(tx=[0] * len(values)).with_columns(pl.Series("x", values, dtype)), 1)
    problems: list[pl.DataFrame] = []
    Aggregate("all", "x", pl.Expr.sum, dtype, can_overflow=True).run(frames, problems)
    said = [row for each in problems for row in each.select("code", "message").rows()]
    return frames[Scope.TRANSACTION]["all"].item(), said


BIG = 10**31
TOO_LARGE = [("field_invalid", "The sum over the lines is too large to be computed.")]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([2**61] * 3, pl.Int64(), 3 * 2**61),
        ([2**62] * 2, pl.Int64(), None),
        ([-(2**62)] * 3, pl.Int64(), None),
        ([2**62, 2**62, -(2**62)], pl.Int64(), 2**62),
        ([Decimal(5 * BIG)] * 3, pl.Decimal(38, 6), None),
        ([Decimal(-5 * BIG)] * 3, pl.Decimal(38, 6), None),
        ([Decimal(3 * BIG)] * 3, pl.Decimal(38, 6), Decimal(9 * BIG)),
        ([None, None], pl.Int64(), 0),
        ([], pl.Int64(), None),
    ],
)
def test_a_sum_that_is_too_large_is_no_sum(
    values: list[int | Decimal | None], dtype: pl.DataType, expected: object
) -> None:
    assert summed(values, dtype) == (expected, TOO_LARGE if values and expected is None else [])


@pytest.mark.parametrize("transactions", [3, 4])
def test_one_value_that_cannot_be_read_makes_the_result_invalid(transactions: int) -> None:
    lines = placed(
        tx=[0, 0, 1, 1, 1, 2], x=[1, 2, 3, None, None, 5], bad=[None, None, None, "first", "second", None]
    )
    frames = frames_of(lines, transactions)
    Aggregate("all", "x", pl.Expr.sum, pl.Int64(), invalid="bad").run(frames, [])
    blank = [None] * (transactions - 3)
    assert frames[Scope.TRANSACTION]["all"].to_list() == [3, None, 5, *blank]
    assert frames[Scope.TRANSACTION][raw_of("all")].to_list() == [None, "first", None, *blank]


def test_where_all_values_can_be_read_no_text_is_kept() -> None:
    frames = frames_of(placed(tx=[0, 1], x=[1, 2], bad=pl.Series([None, None], dtype=pl.String)), 2)
    Aggregate("all", "x", pl.Expr.max, pl.Int64(), invalid="bad").run(frames, [])
    assert frames[Scope.TRANSACTION][raw_of("all")].to_list() == [None, None]
    assert frames[Scope.TRANSACTION]["all"].to_list() == [1, 2]


@pytest.mark.parametrize(("how", "expected"), [(pl.Expr.min, ["a", "d"]), (pl.Expr.max, ["b", "d"])])
def test_the_parsed_time_is_that_of_the_line_whose_value_is_taken(
    how: Callable[[pl.Expr], pl.Expr], expected: list[str]
) -> None:
    lines = placed(tx=[0, 0, 0, 1], x=[1, 2, 2, 4], at=["a", "b", "c", "d"])
    frames = frames_of(lines, 2)
    Aggregate("x1", "x", how, pl.Int64(), parsed_time="at").run(frames, [])
    assert frames[Scope.TRANSACTION][parsed_time_of("x1")].to_list() == expected


@pytest.mark.parametrize(
    ("content", "numbers"), [((), [1, 2, 3, 1, 2]), (("a",), [3, 1, 2, 2, 1]), (("b", "a"), [2, 3, 1, 2, 1])]
)
def test_lines_are_numbered_in_the_order_of_the_file_or_of_their_cells(
    content: tuple[str, ...], numbers: list[int]
) -> None:
    lines = placed(tx=[0, 0, 0, 1, 1], a=["z", "x", "x", "y", "x"], b=["2", "3", "1", "1", "1"])
    frames = frames_of(lines, 2)
    NumberLines("n", content).run(frames, [])
    assert frames[Scope.LINE]["n"].to_list() == numbers
    assert frames[Scope.LINE].drop("n").equals(lines)


def test_transactions_without_a_row_are_blank() -> None:
    headers = placed(tx=[0, 1, 2])
    some = pl.DataFrame({TX: [0, 2], "x": ["a", "b"]}, schema_overrides={TX: pl.UInt32})
    assert join_by_transaction(headers, some)["x"].to_list() == ["a", None, "b"]
    every = pl.DataFrame({TX: [0, 1, 2], "x": ["a", "b", "c"]}, schema_overrides={TX: pl.UInt32})
    assert join_by_transaction(headers, every)["x"].to_list() == ["a", "b", "c"]


def test_rows_that_cannot_be_computed_are_named_and_the_others_are_computed() -> None:
    rows = placed(x=["1", "odd", "3", None, "5"], y=["a", "b", None, "d", "e"])
    number = pl.col("x").cast(pl.Int64, strict=True)
    joined = pl.concat_str(number.cast(pl.String), pl.col("y"), pl.col("__none").fill_null("!"))
    problems: list[pl.DataFrame] = []
    rows = rows.with_columns(pl.lit(None, pl.String).alias("__none"))
    found = with_columns(rows, {"n": number, "both|raw": joined, "__own": number, "one": pl.lit(7)}, problems)
    assert found["n"].to_list() == [1, None, 3, None, 5]
    assert found["both|raw"].to_list() == ["1a!", None, None, None, "5e!"]
    assert found["one"].to_list() == [7] * 5
    said = pl.concat(problems)
    assert said.select("code", "field", "value", LINE).rows() == [
        ("field_invalid", "n", "odd", 3),
        ("field_invalid", "both", "odd, b", 3),
        ("field_invalid", None, "odd", 3),
    ]
    assert said["message"].str.starts_with("This cannot be computed from `x`").all()
    assert said["message"][1].startswith("This cannot be computed from `x`, `y`: ")
    assert not said["message"].str.contains("odd").any()


def test_an_expression_that_is_wrong_itself_goes_on() -> None:
    with pytest.raises(pl.exceptions.PolarsError):
        with_columns(placed(x=["1", "2"]), {"n": pl.col("nowhere")}, [])


def test_a_check_looks_only_at_rows_that_can_be_computed() -> None:
    rows = placed(x=["1", "odd", "30", "40"])
    where = pl.col("x").cast(pl.Int64, strict=True) > 9
    check = RowCheck(Scope.LINE, "big", "total", "Too big.", where, pl.col("x"))
    assert check.problems(rows).select("code", "field", "value", LINE).rows() == [
        ("big", "total", "30", 4),
        ("big", "total", "40", 5),
    ]
    assert check.problems(rows.filter(pl.col("x") != "odd")).height == 2
