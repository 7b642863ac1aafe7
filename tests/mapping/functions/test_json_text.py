"""JSON text that polars expressions build."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest

from pipeline.mapping.functions import json_text


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (7, pl.Int64(), "7"),
        (True, pl.Boolean(), "true"),
        (Decimal("1.50"), pl.Decimal(15, 4), "1.5"),
        ('a "b" é', pl.String(), '"a \\"b\\" é"'),
        (datetime(2024, 1, 2, 3, 4, 5), pl.Datetime("us"), '"2024-01-02 03:04:05"'),
        (None, pl.String(), None),
        (None, pl.Int64(), None),
        (None, pl.Datetime("us"), None),
    ],
)
def test_single_values(value: object, dtype: pl.DataType, text: str | None) -> None:
    assert pl.select(json_text.scalar(pl.lit(value, dtype), dtype)).item() == text


@pytest.mark.parametrize(
    ("cells", "text"), [(["a", "b"], '["a","b"]'), (["a"], '["a"]'), ([], None), (None, None)]
)
def test_lists_of_texts(cells: list[str] | None, text: str | None) -> None:
    rows = pl.DataFrame({"x": [cells]}, schema={"x": pl.List(pl.String)})
    assert rows.select(json_text.texts(pl.col("x"))).item() == text


@pytest.mark.parametrize(
    ("one", "other", "members", "entries"),
    [
        ("1", "2", '{"a":1,"b \\"q\\"":2}', "[1,2]"),
        (None, "2", '{"b \\"q\\"":2}', "[2]"),
        (None, None, None, None),
    ],
)
def test_members_and_entries_that_are_null_are_left_out(
    one: str | None, other: str | None, members: str | None, entries: str | None
) -> None:
    values = [pl.lit(one, pl.String), pl.lit(other, pl.String)]
    assert pl.select(json_text.members(dict(zip(["a", 'b "q"'], values, strict=True)))).item() == members
    assert pl.select(json_text.entries(values)).item() == entries
    assert pl.select(json_text.inner(pl.lit("[1,[2]]"))).item() == "1,[2]"
