"""Rows in order, without repeats, and numbered by their transaction."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.core.model import KEY, LINE, SOURCE, TX
from pipeline.mapping.layout.row_grouping import first_rows, in_source_order, numbered, split_duplicates
from pipeline.mapping.layout.row_keys import with_key
from pipeline.mapping.usage.used_columns import UsedColumns
from tests.mapping.mapping_cases import spec_of

SPEC = """
source: {layout: lines, key: [id]}
columns: {n: decimal}
transaction: {external_id: id}
items: {sku: a}
"""


def rows(keys: list[int | None], **cells: list[str | None]) -> pl.DataFrame:
    found = pl.DataFrame({KEY: keys, **cells}, schema_overrides={KEY: pl.UInt64})
    return found.with_columns(pl.lit(0, pl.UInt32).alias(SOURCE), pl.int_range(2, pl.len() + 2).alias(LINE))


@pytest.mark.parametrize(
    ("keys", "transactions", "order"),
    [
        ([], [], []),
        ([5, 5, 7, 7], [0, 0, 1, 1], [2, 3, 4, 5]),
        ([5, 5, 7, None, None, 9], [0, 0, 1, 2, 3, 4], [2, 3, 4, 5, 6, 7]),
        ([5, 7, 5, 7], [0, 0, 1, 1], [2, 4, 3, 5]),
        ([5, None, 7, None, 5], [0, 0, 1, 2, 3], [2, 6, 3, 4, 5]),
        ([None, 5, None, 5], [0, 1, 1, 2], [2, 3, 5, 4]),
        ([None], [0], [2]),
    ],
)
def test_transactions_are_numbered_as_they_appear(
    keys: list[int | None], transactions: list[int], order: list[int]
) -> None:
    found = numbered(rows(keys))
    assert found[TX].to_list() == transactions
    assert found[TX].dtype == pl.UInt32
    assert found[LINE].to_list() == order
    firsts = [line for n, line in enumerate(order) if n == 0 or transactions[n] != transactions[n - 1]]
    assert first_rows(found)[LINE].to_list() == firsts


@pytest.mark.parametrize(
    ("places", "ordered"),
    [
        ([(0, 2), (0, 3), (1, 2)], [(0, 2), (0, 3), (1, 2)]),
        ([(1, 2), (0, 9), (0, 3)], [(0, 3), (0, 9), (1, 2)]),
        ([(1, 2), (0, 2**40 - 1)], [(0, 2**40 - 1), (1, 2)]),
        ([(3, 5), (4, 2), (3, 6)], [(3, 5), (3, 6), (4, 2)]),
    ],
)
def test_rows_are_in_the_order_of_files_and_lines(
    places: list[tuple[int, int]], ordered: list[tuple[int, int]]
) -> None:
    frame = pl.DataFrame(places, schema={SOURCE: pl.UInt32, LINE: pl.Int64}, orient="row")
    assert in_source_order(frame).rows() == ordered


@pytest.mark.parametrize(
    ("keys", "a", "b", "n", "repeated"),
    [
        ([1, 1, 1], ["x", "x", "x"], ["y", "y", "y"], ["1", "1.0", "2"], [3]),
        ([1, 1], ["x", "y"], ["y", "x"], ["1", "1"], []),
        ([1, 2], ["x", "x"], ["y", "y"], ["1", "1"], []),
        ([None, None], ["x", "x"], ["y", "y"], ["1", "1"], []),
        ([1, 2, 1, 2, 1], [*"xzxzx"], [None] * 5, ["1"] * 5, [4, 5, 6]),
        ([1, 1], ["x", None], ["y", "y"], ["1", "1"], []),
        ([], [], [], [], []),
    ],
)
def test_rows_that_are_equal_in_every_cell_are_split_off(
    keys: list[int | None], a: list[str | None], b: list[str | None], n: list[str | None], repeated: list[int]
) -> None:
    cells = {name: pl.Series(values, dtype=pl.String) for name, values in (("a", a), ("b", b), ("n", n))}
    frame = rows(keys).with_columns(**cells)
    used = UsedColumns(
        transaction=frozenset({"b"}), line=frozenset({"a", "n"}), key=frozenset(), payment=frozenset()
    )
    kept, copies = split_duplicates(frame, used, spec_of(SPEC))
    assert copies[LINE].to_list() == repeated
    assert kept[LINE].to_list() == [line for line in frame[LINE] if line not in repeated]


def test_rows_that_lack_a_column_of_the_key_have_no_key() -> None:
    frame = rows([]).drop(KEY).with_columns(id=pl.lit(None, pl.String))
    frame = pl.concat([frame, rows([None]).drop(KEY).with_columns(id=pl.lit("7"))])
    assert with_key(frame, ["id"], spec_of(SPEC))[KEY].null_count() == 0
    assert with_key(frame, ["id", "shop"], spec_of(SPEC))[KEY].null_count() == 1
