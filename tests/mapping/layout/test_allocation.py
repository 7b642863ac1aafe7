"""Amounts allocate over items, to the cent."""

from __future__ import annotations

import json
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import TX
from pipeline.mapping.layout.allocation import allocate

MONEY = pl.Decimal(15, 4)


def spread_over(
    items: list[tuple[int, int | None, str | None]],
    amounts: list[tuple[int, str, str | None, bool]],
    smallest: str = "0.01",
) -> list[tuple[Decimal | None, list[dict[str, object]]]]:
    """Price after, and entries, of each item; amounts in JSON as Decimal."""
    rows = pl.DataFrame(
        [(tx, quantity, price and Decimal(price)) for tx, quantity, price in items],
        schema={TX: pl.UInt32, "quantity": pl.Int64, "price_sell": MONEY},
        orient="row",
    )
    given_amounts = pl.DataFrame(
        [(tx, Decimal(amount), reason, off) for tx, amount, reason, off in amounts],
        schema={TX: pl.UInt32, "amount": MONEY, "reason": pl.String, "taken_off": pl.Boolean},
        orient="row",
    ).with_columns(smallest=pl.lit(Decimal(smallest)).cast(MONEY))
    found, _ = allocate(rows, given_amounts)
    return [
        (price, json.loads(f"[{entries or ''}]", parse_float=Decimal))
        for price, entries in found.select("price_sell", "entries").rows()
    ]


def shares(found: list[tuple[Decimal | None, list[dict[str, object]]]]) -> list[list[object]]:
    return [[entry["amount"] for entry in entries] for _, entries in found]


def test_the_documented_example() -> None:
    found = spread_over(
        [(0, 1, "65"), (0, 1, "115"), (0, 1, "25"), (0, 1, "45")], [(0, "50", "Reward", True)]
    )
    assert shares(found) == [[13], [23], [5], [9]]
    assert [price for price, _ in found] == [52, 92, 20, 36]
    assert found[0][1] == [{"amount": Decimal("13.00"), "reason_desc": "Reward"}]


def test_cents_that_are_left_go_to_the_largest_remainders() -> None:
    found = spread_over([(0, 1, "10"), (0, 1, "10"), (0, 1, "10")], [(0, "10", None, True)])
    assert shares(found) == [[Decimal("3.34")], [Decimal("3.33")], [Decimal("3.33")]]
    assert "reason_desc" not in found[0][1][0]
    uneven = spread_over([(0, 1, "1"), (0, 1, "2"), (0, 1, "4")], [(0, "1", None, True)])
    assert shares(uneven) == [[Decimal("0.14")], [Decimal("0.29")], [Decimal("0.57")]]


def test_quantities_count_and_the_price_is_for_one() -> None:
    found = spread_over([(0, 3, "10"), (0, 1, "10")], [(0, "8", "x", True)])
    assert shares(found) == [[6], [2]]
    assert [price for price, _ in found] == [8, 8]
    thirds = spread_over([(0, 3, "10")], [(0, "1", "x", True)])
    assert thirds[0][0] == Decimal("9.6667")


def test_what_is_off_already_is_only_listed() -> None:
    found = spread_over([(0, 1, "65"), (0, 1, "35")], [(0, "10", "x", False)])
    assert shares(found) == [[Decimal("6.5")], [Decimal("3.5")]]
    assert [price for price, _ in found] == [65, 35]


def test_several_amounts_and_transactions() -> None:
    items = [(0, 1, "10"), (1, 1, "5"), (0, 1, "30"), (2, 1, "7")]
    found = spread_over(items, [(0, "4", "a", True), (0, "2", "b", False), (1, "5", "c", True)])
    assert shares(found) == [[1, Decimal("0.5")], [5], [3, Decimal("1.5")], []]
    assert [price for price, _ in found] == [9, 0, 27, 7]
    assert [entry["reason_desc"] for entry in found[0][1]] == ["a", "b"]


def test_returned_items_bear_it_only_where_nothing_is_sold() -> None:
    exchange = spread_over([(0, 1, "10"), (0, -1, "10")], [(0, "2", "x", True)])
    assert shares(exchange) == [[2], []]
    refund = spread_over([(0, -1, "30"), (0, -2, "10")], [(0, "5", "x", True)])
    assert shares(refund) == [[-3], [-2]]
    assert [price for price, _ in refund] == [27, 9]
    uneven = spread_over([(0, -1, "1"), (0, -1, "2"), (0, -1, "4")], [(0, "1", None, True)])
    assert shares(uneven) == [[Decimal("-0.14")], [Decimal("-0.29")], [Decimal("-0.57")]]
    free_and_returned = spread_over([(0, 1, "0"), (0, -1, "10")], [(0, "2", "x", True)])
    assert shares(free_and_returned) == [[], [-2]]
    nearly_free = spread_over([(0, 1, "0.0001"), (0, -1, "10")], [(0, "2", "x", False)])
    assert shares(nearly_free) == [[2], []]
    two_sales = spread_over([(0, 1, "10"), (1, -1, "10")], [(0, "2", "x", True), (1, "3", "x", True)])
    assert shares(two_sales) == [[2], [-3]]


def test_entries_stand_in_the_order_of_the_amounts() -> None:
    found = spread_over([(0, 1, "1"), (0, 1, "2")], [(0, "2", "a", True), (0, "1", "b", True)])
    assert [[entry["reason_desc"] for entry in entries] for _, entries in found] == [["a", "b"], ["a", "b"]]


def test_void_items_get_nothing() -> None:
    items = pl.DataFrame(
        {
            TX: [0, 0, 0],
            "quantity": [1, 1, 1],
            "price_sell": ["10", "10", "10"],
            "is_void": [False, True, None],
        }
    )
    amounts = pl.DataFrame(
        {TX: [0], "amount": ["4"], "reason": ["x"], "taken_off": [True], "smallest": ["0.01"]}
    )
    found, _ = allocate(
        items.with_columns(pl.col("price_sell").cast(MONEY)),
        amounts.with_columns(pl.col("amount", "smallest").cast(MONEY)),
    )
    assert found["price_sell"].to_list() == [8, 10, 8]


@pytest.mark.parametrize(
    ("price", "amount", "is_left"),
    [
        ("10", "0.0001", False),
        ("0", "0.0001", True),
        (None, "1", True),
        ("0", "0", False),
        ("10", "0", False),
    ],
)
def test_amounts_that_no_item_can_take_are_given_back(price: str | None, amount: str, is_left: bool) -> None:
    rows = pl.DataFrame(
        {TX: [0], "quantity": [1], "price_sell": [price]}, schema_overrides={"price_sell": pl.String}
    )
    amounts = pl.DataFrame(
        {TX: [0], "amount": [amount], "reason": ["x"], "taken_off": [True], "smallest": ["0.0001"]}
    )
    _, left = allocate(
        rows.with_columns(pl.col("price_sell").cast(MONEY)),
        amounts.with_columns(pl.col("amount", "smallest").cast(MONEY)),
    )
    assert left["reason"].to_list() == ["x"] * is_left


@pytest.mark.parametrize("item", [(0, None, "10"), (0, 1, None), (0, 1, "0"), (0, 0, "5")])
def test_items_without_worth_get_nothing(item: tuple[int, int | None, str | None]) -> None:
    found = spread_over([item, (0, 1, "10")], [(0, "3", "x", True)])
    assert shares(found) == [[], [3]]
    assert shares(spread_over([item], [(0, "3", "x", True)])) == [[]]


def test_amounts_with_fractions_of_a_cent_are_spread_in_those() -> None:
    found = spread_over([(0, 1, "1"), (0, 1, "1")], [(0, "0.125", None, True)])
    assert shares(found) == [[Decimal("0.0625")], [Decimal("0.0625")]]


prices = st.decimals(min_value=0, max_value=99999, places=2).map(str)
baskets = st.lists(st.tuples(st.just(0), st.integers(1, 50), prices), min_size=1, max_size=12)


@pytest.mark.slow
@given(baskets, st.decimals(min_value=Decimal("0.01"), max_value=10**6, places=2))
def test_shares_add_up_to_the_cent_and_nobody_is_cut_by_more_than_one(
    items: list[tuple[int, int, str]], amount: Decimal
) -> None:
    worth = [quantity * Decimal(price) for _, quantity, price in items]
    found = shares(spread_over([*items], [(0, str(amount), None, True)]))
    if not any(worth):
        assert found == [[] for _ in items]
        return
    each = [sum(map(Decimal, map(str, share)), Decimal(0)) for share in found]
    assert sum(each) == amount
    for share, weight in zip(each, worth, strict=True):
        assert abs(share - amount * weight / sum(worth)) < Decimal("0.01")
        assert share == share.quantize(Decimal("0.01"))


@pytest.mark.parametrize(
    ("smallest", "amount", "expected"),
    [
        ("1", "100", ["34", "33", "33"]),
        ("0.001", "0.5", ["0.167", "0.167", "0.166"]),
        ("0.0001", "0.5", ["0.1667", "0.1667", "0.1666"]),
        ("0.01", "0.5", ["0.17", "0.17", "0.16"]),
        ("1", "100.50", ["33.5", "33.5", "33.5"]),
        ("1", "100.49", ["33.50", "33.50", "33.49"]),
        ("1", "0.0004", ["0.0002", "0.0001", "0.0001"]),
        ("0.01", "0.01", ["0.01"]),
    ],
)
def test_shares_are_in_what_the_currency_has(smallest: str, amount: str, expected: list[str]) -> None:
    found = spread_over([(0, 1, "500")] * 3, [(0, amount, None, True)], smallest)
    assert [share for each in shares(found) for share in each] == [Decimal(share) for share in expected]
