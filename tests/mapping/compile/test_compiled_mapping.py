"""How a compiled mapping turns rows into fields: lines set apart, charges, ids, allocations."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.core.model import LINE
from tests.mapping.mapping_cases import mapped_of, problem_rows

LINES = """
source: {layout: lines, key: [id]}
columns: {qty: integer, price: decimal}
transaction: {external_id: id, currency: cur}
items: {external_id: line, name: title, quantity: qty, price_sell: price, price_current: price}
"""


def test_lines_that_any_condition_sets_apart_are_no_items() -> None:
    spec = (
        LINES
        + """
lines: {skip: ["kind = 'tax'", "kind = 'note'"], discount: "kind = 'off'", discount_amount: price}
"""
    )
    mapped = mapped_of(
        spec,
        """
        id,line,title,qty,price,kind,cur,fee
        1,1,Mug,2,10,sale,AUD,
        1,2,GST,1,2,tax,AUD,
        1,3,,,,note,AUD,
        1,4,Off,1,3,off,AUD,
        2,5,Cup,1,4,sale,AUD,
        """,
    )
    assert mapped.items["name"].to_list() == ["Mug", "Cup"]
    assert mapped.items["price_sell"].to_list() == [Decimal("8.5"), 4]
    assert mapped.headers["items_total"].to_list() == [17, 4]
    assert mapped.headers["items_count"].to_list() == [1, 1]
    assert mapped.headers["lines_set_apart"].to_list() == ["GST (line 3): 2; no name (line 4): ?", None]
    assert mapped.headers["set_apart_total"].to_list() == [2, None]


def test_three_lines_that_are_set_apart_are_shown_with_the_start_of_their_name() -> None:
    rows = "\n".join(f"1,{n},{'x' * 39}{n}z,1,1,tax,AUD," for n in range(1, 5))
    spec = LINES + "lines: {skip: [\"kind = 'tax'\"]}\n"
    mapped = mapped_of(spec, f"id,line,title,qty,price,kind,cur,fee\n{rows}\n")
    shown = "; ".join(f"{'x' * 39}{n} (line {n + 1}): 1" for n in range(1, 4))
    assert mapped.headers["lines_set_apart"].to_list() == [shown]
    assert mapped.headers["set_apart_total"].to_list() == [4]


def test_an_amount_of_the_whole_sale_becomes_an_item_behind_the_others() -> None:
    spec = LINES + "charges: [{name: Freight, amount: fee}]\n"
    mapped = mapped_of(
        spec,
        """
        id,line,title,qty,price,kind,cur,fee
        1,1,Mug,1,10,,AUD,5.5
        1,2,Cup,1,10,,AUD,5.5
        2,3,Mug,1,10,,AUD,0
        3,4,Mug,1,10,,AUD,-2
        4,5,Mug,1,10,,AUD,
        """,
    )
    assert mapped.items.select("external_id", "name", "quantity", "price_sell").rows() == [
        ("1", "Mug", 1, 10), ("2", "Cup", 1, 10), ("1-freight", "Freight", 1, Decimal("5.5")),
        ("3", "Mug", 1, 10), ("4", "Mug", 1, 10), ("3-freight", "Freight", -1, 2), ("5", "Mug", 1, 10),
    ]  # fmt: skip
    assert mapped.headers["items_total"].to_list() == [Decimal("25.5"), 10, 8, 10]
    without = spec.replace("external_id: line, ", "")
    assert (
        "external_id"
        not in mapped_of(without, "id,line,title,qty,price,fee,cur\n1,1,Mug,1,9,2,AUD\n").items.columns
    )


@pytest.mark.parametrize("layout", ["lines", "first_row"])
def test_ids_are_looked_at_in_the_rows_themselves(layout: str) -> None:
    spec = LINES.replace("layout: lines", f"layout: {layout}")
    mapped = mapped_of(
        spec,
        "id,line,title,qty,price,cur\n\u200b1,7,Mug,1,1,AUD\n1.23E+12,8,Cup,1,1,AUD\n3,9E+14,Cup,1,1,AUD\n",
    )
    found = {row for row in problem_rows(mapped.problems, "code", "field", LINE) if row[0] != "field_invalid"}
    assert {(code, line) for code, _, line in found} == {
        ("invisible_characters", 2), ("id_rounded", 3), ("id_rounded", 4),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("currency", "prices"), [("JPY", [100, 199]), ("AUD", [Decimal("99.67"), Decimal("199.33")])]
)
def test_a_reward_is_spread_in_what_the_currency_has(currency: str, prices: list[object]) -> None:
    spec = LINES + "reward: {amount: fee}\n"
    mapped = mapped_of(
        spec, f"id,line,title,qty,price,cur,fee\n1,1,Mug,1,100,{currency},1\n1,2,Cup,1,200,{currency},1\n"
    )
    assert mapped.items["price_sell"].to_list() == prices
    assert mapped.problems.is_empty()


def test_a_reward_that_no_item_can_take_is_reported_with_its_amount() -> None:
    spec = LINES + "reward: {amount: fee}\n"
    mapped = mapped_of(spec, "id,line,title,qty,price,cur,fee\n1,1,Mug,1,0,AUD,1.50\n2,2,Mug,1,5,AUD,\n")
    assert problem_rows(mapped.problems, "code", "field", "value", LINE) == [
        ("field_invalid", "reward", "1.5", 2)
    ]


def test_void_lines_count_nothing_in_the_sum_of_items() -> None:
    spec = LINES.replace(
        "items: {", "items: {is_void: {column: kind, then: [{boolean: {true: [v], false: [n]}}]}, "
    )
    mapped = mapped_of(
        spec,
        "id,line,title,qty,price,kind,cur\n1,1,Mug,1,10,n,AUD\n1,2,Mug,1,7,v,AUD\n1,3,Mug,1,5,,AUD\n2,4,Mug,,5,n,AUD\n",
    )
    assert mapped.headers.select("items_total", "items_count").rows() == [(15, 3), (None, 1)]


def test_a_sale_without_items_has_none() -> None:
    spec = LINES + "lines: {skip: [\"kind = 'tax'\"]}\n"
    mapped = mapped_of(spec, "id,line,title,qty,price,kind,cur\n1,1,GST,1,10,tax,AUD\n2,2,Mug,1,10,,AUD\n")
    assert mapped.headers.select("items_total", "items_count").rows() == [(None, 0), (10, 1)]
