"""Sections of a mapping with a meaning of their own, and whole mappings of each layout."""

from __future__ import annotations

import json
import re
from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest

from pipeline.core.model import LINE, TX
from pipeline.mapping.layout.raw_transactions import build_transactions
from tests.mapping.mapping_cases import CompileError, compiled_of, mapped_of, problem_rows, spec_of, tables_of

D = Decimal
HEADERS = "source: {layout: headers, key: [id]}\ntransaction: {external_id: id}\n"


# ── Completion ──────────────────────────────────────────────────────────────────────────────────────


def outcomes(completion: str, cells: str, **extra: str) -> list[str | None]:
    rows = "id,status,paid,total\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells.split()))
    mapped = mapped_of(
        f"{HEADERS}columns: {{paid: decimal, total: decimal}}\ncompletion: {completion}\n", rows
    )
    return mapped.headers["status|outcome"].to_list()


def test_without_completion_every_sale_is_complete() -> None:
    headers = mapped_of(HEADERS, "id\n1\n").headers
    assert headers.select("status|raw", "status|outcome", "paid").rows() == [(None, "complete", None)]


def test_status_words_of_every_outcome() -> None:
    words = (
        "{status: status, complete: [ok], void: [v], draft: [d], partially_paid: [p],"
        " cancelled: [c], order_open: [o], excluded: [x]}"
    )
    assert outcomes(words, "OK,, V,, d,, p,, c,, o,, x,, z,, ,,") == [
        "complete",
        "void",
        "draft",
        "partially_paid",
        "cancelled",
        "order_open",
        "excluded",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("other", "expected"), [("reject", None), ("complete", "complete"), ("excluded", "excluded")]
)
def test_other_status_words(other: str, expected: str | None) -> None:
    found = outcomes(f"{{status: status, void: [v], other: {other}}}", "v,, z,, ,,")
    assert found == ["void", expected, expected]


def test_conditions_in_sql_beside_words() -> None:
    spec = (
        '{status: status, complete: [ok], cancelled: {status: [c], sql: "total = 0"},'
        " void: {sql: \"status = 'gone'\"}}"
    )
    found = outcomes(spec, "ok,1,1 c,1,1 ok,1,0 gone,1,1 gone,1,0 z,1,1 z,,")
    assert found == ["complete", "cancelled", "cancelled", "void", "cancelled", None, None]


def test_conditions_alone_leave_the_rest_complete() -> None:
    assert outcomes('{draft: {sql: "paid < total"}}', ",1,2 ,2,2 ,,2") == ["draft", "complete", "complete"]
    assert outcomes('{complete: {sql: "paid >= total"}}', ",1,2 ,2,2") == [None, "complete"]


def test_a_voided_sale_is_void_and_what_the_mapping_says_stays() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    transaction: {is_void: flag}
    completion: {status: status, void: [v], complete: [ok]}
    """
    headers = mapped_of(spec, "id,status,flag\n1,v,\n2,ok,yes\n3,ok,\n4,ok,no\n5,v,no\n").headers
    assert headers["is_void"].to_list() == [True, True, None, False, True]
    assert headers["is_void|raw"].to_list() == [None, "yes", None, "no", "no"]


# ── Profile ─────────────────────────────────────────────────────────────────────────────────────────


def test_profile_chain_and_the_form_of_ids() -> None:
    spec = HEADERS + (
        "profile:\n"
        "  - {value: {column: email, then: [lower]}, handle: email}\n"
        "  - {value: card, handle: loyalty-card}\n"
        "  - {value: uuid}\n"
    )
    uuid = "0E0b3c5a-8b1e-4f0e-9d3c-2f6f0a1b2c3d"
    headers = mapped_of(
        spec,
        f"id,email,card,uuid\n1,ANN@EXAMPLE.COM,C1,\n2,,C1,{uuid}\n3,,,{uuid}\n4,,,123\n5,nobody,C1,\n6,,,\n",
    ).headers
    assert headers.select("profile_id", "profile_id_handle", "profile_id|raw").rows() == [
        ("ann@example.com", "email", "ann@example.com"),
        ("C1", "loyalty-card", "C1"),
        (uuid, None, uuid),
        (None, None, "123"),
        (None, None, "nobody"),
        (None, None, None),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("email", "card", "person", "nobody"),
    [
        ("", "N/A", None, "N/A"),
        ("", "0", None, "0"),
        ("", "SIN CORREO", None, "SIN CORREO"),
        ("", "Walk-In", None, "Walk-In"),
        ("", "keine Karte", None, "keine Karte"),
        ("", "Consumidor final", None, "Consumidor final"),
        ("", "90000006", "90000006", None),
        ("", "anna.na", "anna.na", None),
        ("test@test.com", "", None, "test@test.com"),
        ("NoReply@shop.example", "C1", "C1", None),
        ("anna.na@example.com", "", "anna.na@example.com", None),
        ("noah@example.com", "", "noah@example.com", None),
        ("na@firma.example", "no card", "na@firma.example", None),
    ],
)
def test_a_word_in_place_of_a_customer_names_nobody(
    email: str, card: str, person: str | None, nobody: str | None
) -> None:
    spec = HEADERS + "profile:\n  - {value: email, handle: email}\n  - {value: card, handle: loyalty-card}\n"
    rows = f"id,email,card\n1,{email},{card}\n"
    columns = ("profile_id", "profile_id|no_person")
    assert mapped_of(spec, rows).headers.select(columns).row(0) == (person, nobody)
    off = mapped_of(f"{spec}checks: {{profile_placeholder: off}}\n", rows).headers
    assert off["profile_id"].to_list() == [email or card]


# ── Payments ────────────────────────────────────────────────────────────────────────────────────────

WIDE = """
source: {layout: headers, key: [id]}
transaction: {external_id: id}
payments:
  - {tender: {constant: CASH}, amount: cash}
  - {tender: card_type, amount: card}
"""


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("names", ['["CASH","V \\"1\\""]', '["CASH","V"]', None, None]),
        ("amounts", ['[{"CASH":10.00},{"V \\"1\\"":2.125}]', '[{"CASH":-3.00},{"V":0.00}]', None, None]),
    ],
)
def test_tenders_as_amount_columns(form: str, expected: list[str | None]) -> None:
    mapped = mapped_of(
        f"{WIDE}payments_form: {form}\n",
        'id,cash,card_type,card\n1,10,"V ""1""",2.125\n2,-3,V,0\n3,,V,\n4,0.00,,5\n',
    )
    assert mapped.headers["payments"].to_list() == expected
    assert mapped.headers["payments_total"].to_list() == [D("12.125"), D(-3), None, None]
    assert [json.loads(text) for text in expected if text]


def test_an_amount_that_cannot_be_read_is_reported() -> None:
    mapped = mapped_of(WIDE, "id,cash,card_type,card\n1,ten,V,2\n")
    assert problem_rows(mapped.problems, "code", "field", "value") == [("field_invalid", "payments", "ten")]


ROWS = """
source:
  layout: tables
  tables:
    headers: {inputs: [h.csv], key: [id]}
    payments: {inputs: [p.csv], key: [id]}
transaction: {external_id: id}
payments: [{tender: how, amount: amount}]
"""
PAYMENT_ROWS = {
    "headers": "id,total\n1,10\n2,5\n",
    "payments": "id,how,amount\n1,CASH,4\n1,CARD,6\n1,CASH,4\n1,GIFT,0\n1,,3\n9,CASH,1\n",
}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("names", '["CASH","CARD","GIFT"]'),
        ("amounts", '[{"CASH":4.00},{"CARD":6.00},{"CASH":4.00},{"GIFT":0.00}]'),
    ],
)
def test_payments_in_rows_of_their_own(form: str, expected: str) -> None:
    spec = ROWS.replace("layout: tables", "layout: tables\n  duplicates: keep") + f"payments_form: {form}\n"
    headers = mapped_of(spec, PAYMENT_ROWS).headers
    assert headers.select("external_id", "payments", "payments_total").rows() == [
        ("1", expected, D(14)),
        ("2", None, None),
        (None, '["CASH"]' if form == "names" else '[{"CASH":1.00}]', D(1)),
    ]


def test_payment_rows_see_their_transactions_cells() -> None:
    spec = ROWS.replace("tender: how", 'tender: {template: "{how} {header.id} {total}"}')
    assert mapped_of(spec, PAYMENT_ROWS).headers["payments"][0] == '["CASH 1 10","CARD 1 10","GIFT 1 10"]'


def test_amounts_need_an_amount() -> None:
    spec = spec_of(HEADERS + "payments: [{tender: id}]\npayments_form: amounts\n")
    with pytest.raises(CompileError, match="needs an `amount`"):
        compiled_of(spec, tables_of(spec, "id\n1\n"))


# ── Refunds ─────────────────────────────────────────────────────────────────────────────────────────


def test_refunds_written_with_positive_amounts_become_negative() -> None:
    spec = """
    source: {layout: lines, key: [id]}
    transaction: {total: total, total_original: total, rounding: rounding}
    completion: {paid: total}
    payments: [{tender: {constant: CASH}, amount: total}]
    payments_form: amounts
    refund: {when: "type = 'Refund'"}
    items: {name: what, quantity: qty, price_sell: price}
    """
    text = """
    id,type,total,rounding,what,qty,price
    1,Refund,5,0.01,a,2,2.5
    2,Refund,-5,-0.01,b,-1,5
    3,Sale,5,,c,1,5
    """
    mapped = mapped_of(spec, text)
    assert mapped.headers.select("total", "total_original", "rounding", "paid", "payments_total").rows() == [
        (D(-5), D(-5), D("-0.01"), D(-5), D(-5)),
        (D(-5), D(-5), D("0.01"), D(-5), D(-5)),
        (D(5), D(5), None, D(5), D(5)),
    ]
    assert mapped.headers["payments"].to_list() == ['[{"CASH":-5.00}]'] * 2 + ['[{"CASH":5.00}]']
    assert mapped.items["quantity"].to_list() == [-2, -1, 1]
    assert mapped.headers["items_total"].to_list() == [D(-5), D(-5), D(5)]

    only_total = mapped_of(spec.replace('"}', '", negate: [total]}'), text)
    assert only_total.items["quantity"].to_list() == [2, -1, 1]
    assert only_total.headers["total"].to_list() == [D(-5), D(-5), D(5)]


# ── Lines that are no items, discount lines, rewards ────────────────────────────────────────────────

FILTERED = """
source: {layout: lines, key: [id]}
columns: {qty: integer, price: decimal}
lookups: {}
transaction: {external_id: id, total: {sum: {sql: "qty * price"}}}
lines: {skip: ["sku = 'FRGHT'", "price IS NULL"]}
items: {name: what, quantity: qty, price_sell: price, price_tax: tax}
"""


def test_lines_that_are_no_items_still_count_in_sums() -> None:
    text = (
        "id,sku,what,qty,price,tax\n1,A,Shirt,1,10,\n1,FRGHT,Post,1,5,x\n1,,free text,,,\n2,FRGHT,Post,1,5,\n"
    )
    mapped = mapped_of(FILTERED, text)
    assert mapped.items.select(TX, "name").rows() == [(0, "Shirt")]
    assert mapped.headers.select("total", "items_total", "items_count").rows() == [
        (D(15), D(10), 1),
        (D(5), None, 0),
    ]
    assert mapped.problems.is_empty()


def test_sums_counts_and_lists_say_whether_skipped_lines_count() -> None:
    mapping = (
        FILTERED
        + """
define:
  kept: {sum: price, lines: kept}
  skipped: {sum: price, lines: skipped}
  lines_left: {count: "true", lines: kept}
"""
    )
    mapping = mapping.replace(
        "transaction: {",
        "transaction: {margin: kept, rounding: skipped, tags: {distinct: what, lines: kept}, "
        "meta: {object: {left: lines_left}}, ",
        1,
    )
    text = (
        "id,sku,what,qty,price,tax\n1,A,Shirt,1,10,\n1,A,Shirt,1,2,\n1,FRGHT,Post,1,5,\n2,FRGHT,Post,1,5,\n"
    )
    mapped = mapped_of(mapping, text)
    fields = ("margin", "rounding", "tags", "meta")
    assert mapped.headers.select(fields).rows() == [
        (D(12), D(5), '["Shirt"]', '{"left":2}'),
        (D(0), D(5), None, '{"left":0}'),
    ]
    shown = mapped.headers.select("lines_set_apart", "set_apart_total").rows()
    assert shown == [("Post (line 4): 5", D(5)), ("Post (line 5): 5", D(5))]


def test_a_list_over_lists_has_each_member_once() -> None:
    mapping = HEADERS.replace("headers", "lines").replace(
        "external_id: id", "external_id: id, tags: {distinct: {column: t, then: [{list_by: ';'}]}}"
    )
    mapped = mapped_of(mapping, 'id,t\n1,"a;b"\n1,"b;""c"\n1,\n2,\n')
    assert mapped.headers["tags"].to_list() == ['["a","b","\\"c"]', None]
    with pytest.raises(CompileError, match="not a list of it"):
        mapped_of(mapping.replace("{column: t, then: [{list_by: ';'}]}", "{list: [t]}"), "id,t\n1,a\n")


def test_what_decides_which_lines_are_skipped_cannot_depend_on_them() -> None:
    mapping = FILTERED.replace("lines: {", "define: {n: {count: 'true', lines: kept}}\nlines: {", 1)
    mapping = re.sub(r"skip: \[", 'skip: ["n > 1", ', mapping)
    with pytest.raises(CompileError, match="has to say `lines: all`"):
        mapped_of(mapping, "id,sku,what,qty,price,tax\n1,A,Shirt,1,10,\n")


def test_charges_become_items_behind_those_of_their_sale() -> None:
    mapping = """
source: {layout: lines, key: [id]}
columns: {post: decimal}
transaction: {external_id: id, total: total}
refund: {when: "kind = 'R'"}
items:
  external_id: {template: "{id}-{sku}"}
  name: sku
  quantity: qty
  price_current: price
  price_sell: price
charges: [{name: Postage & packing, amount: post}]
"""
    name, end = "Postage & packing", "postage-packing"
    text = (
        "id,kind,total,sku,qty,price,post\n1,S,7,A,1,5,2\n2,S,5,A,1,5,0\n3,R,7,A,1,5,2\n4,S,5,B,1,5,\n"
        "5,R,3,A,1,5,-2\n6,R,-3,A,-1,5,2\n"  # a fee that is kept back
    )
    mapped = mapped_of(mapping, text)
    assert mapped.items.select("external_id", "name", "quantity", "price_sell").rows() == [
        ("1-A", "A", 1, D(5)),
        ("1-postage-packing", "Postage & packing", 1, D(2)),
        ("2-A", "A", 1, D(5)),
        ("3-A", "A", -1, D(5)),
        ("3-postage-packing", "Postage & packing", -1, D(2)),
        ("4-B", "B", 1, D(5)),
        *[row for n in (5, 6) for row in ((f"{n}-A", "A", -1, D(5)), (f"{n}-{end}", name, 1, D(2)))],
    ]
    assert mapped.headers["items_total"].to_list() == [D(7), D(5), D(-7), D(5), D(-3), D(-3)]


def test_charges_have_ids_of_their_own() -> None:
    charges = "charges: [{name: 運費, amount: a}, {name: 送料, amount: b}]"
    mapping = """
source: {layout: lines, key: [id]}
transaction: {external_id: id, total: total}
items: {external_id: sku, name: sku, quantity: qty, price_current: price, price_sell: price}
"""
    mapped = mapped_of(mapping + charges, "id,total,sku,qty,price,a,b\n1,8,A,1,5,2,1\n")
    assert mapped.items["external_id"].to_list() == ["A", "1-運費", "1-送料"]
    for names in (("Ship", "ship!"), ("Ship", "!?")):
        both = ", ".join(f'{{name: "{name}", amount: a}}' for name in names)
        with pytest.raises(CompileError, match=r"charges.1.name: a charge's name is a part of its id"):
            mapped_of(f"{mapping}charges: [{both}]", "id,total,sku,qty,price,a\n1,8,A,1,5,2\n")


def test_a_part_of_a_cell_is_a_text_of_its_own() -> None:
    mapping = """
source: {layout: lines, key: [ref]}
columns: {ref: {split: {by: "-", into: [shop, no]}}, what: {split: {by: " / ", into: [size, colour]}}}
transaction: {external_id: {template: "{no}@{shop}"}, total: total}
items: {name: size, sku: size, quantity: qty, price_sell: price, meta: {object: {c: colour}}}
profile: [{value: no, handle: card}]
"""
    text = "ref,total,what,qty,price\nA-1,5,S / Red,1,5\nA-1,5,M /,1,5\nA,5,/ Red,1,5\n"
    mapped = mapped_of(mapping, text)
    assert mapped.headers.select("external_id", "profile_id").rows() == [("1@A", "1"), (None, None)]
    red = '{"c":"Red"}'
    parts = mapped.items.select("name", "sku", "meta").rows()
    assert parts == [("S", "S", red), ("M", "M", None), (None, None, red)]
    assert mapped.problems.is_empty()


def test_a_number_that_a_step_makes_blank_is_not_invalid() -> None:
    mapping = """
source: {layout: lines, key: [id]}
columns: {price: decimal, kind: integer}
transaction: {external_id: id, total: total}
items:
  name: id
  quantity: qty
  price_sell: price
  price_original: {column: price, then: [{blank_if: ["0"]}]}
  sku: {column: kind, then: [{map: {values: {"1": one}, other: blank}}]}
  department: {column: kind, then: [{slice: {start: 1}}]}
"""
    mapped = mapped_of(mapping, "id,total,qty,price,kind\n1,0,1,0.00,2\n2,5,1,5,1\n3,5,1,x,y\n")
    assert mapped.items.select("price_original", "sku").rows() == [(None, None), (D(5), "one"), (None, None)]
    assert mapped.items["price_original|raw"].to_list()[::2] == [None, "x"]
    assert sorted(mapped.problems.select("code", "value").rows()) == [("field_invalid", "y")] * 2


def test_an_amount_that_is_too_large_is_reported() -> None:
    mapping = """
source: {layout: lines, key: [id]}
columns: {fee: decimal, qty: integer}
transaction: {external_id: id, total: total, margin: {sql: "fee * qty"}}
items: {external_id: id, name: id, quantity: qty, price_current: total, price_sell: total}
charges: [{name: Fee, amount: fee}, {name: All, amount: {sql: "fee * qty"}}]
"""
    mapped = mapped_of(mapping, "id,total,qty,fee\n1,5,1,100000000000\n2,5,1000,100000000\n")
    problems = mapped.problems.select("field", "value").sort("field", "value").rows()
    assert problems == [("charges", "100000000000")] * 3 + [("margin", "100000000000")] * 2


DISCOUNTED = """
source: {layout: lines, key: [id]}
transaction: {external_id: id, total: total}
lines: {discount: "sku = 'OFF'", discount_amount: price, discount_reason: what}
items: {name: what, quantity: qty, price_sell: price}
"""
DISCOUNT_ROWS = """
id,total,sku,what,qty,price
1,200,A,Shirt,1,65
1,200,B,Coat,1,115
1,200,C,Cap,1,25
1,200,D,Shoe,1,45
1,200,OFF,Voucher,1,-50
2,9,A,Shirt,1,9
"""


def test_discount_lines_become_discounts_of_the_items() -> None:
    mapped = mapped_of(DISCOUNTED, DISCOUNT_ROWS)
    assert mapped.items["price_sell"].to_list() == [52, 92, 20, 36, 9]
    assert mapped.items["discounts"].to_list() == [
        '[{"amount":13.00,"reason_desc":"Voucher"}]',
        '[{"amount":23.00,"reason_desc":"Voucher"}]',
        '[{"amount":5.00,"reason_desc":"Voucher"}]',
        '[{"amount":9.00,"reason_desc":"Voucher"}]',
        None,
    ]
    assert mapped.headers["items_total"].to_list() == [200, 9]
    after = mapped_of(
        DISCOUNTED.replace("discount_reason", "discount_prices: after, discount_reason"), DISCOUNT_ROWS
    )
    assert after.items["price_sell"].to_list() == [65, 115, 25, 45, 9]
    assert after.items["discounts"].equals(mapped.items["discounts"])


REWARDED = """
source: {layout: lines, key: [id]}
columns: {off: decimal, own: decimal}
transaction: {external_id: id, total: total, redemption_id: redemption}
reward: {amount: off, reason: Birthday}
items:
  name: what
  quantity: qty
  price_sell: price
  discounts: {list: [{object: {amount: own, reason_desc: {constant: Sale}}}]}
"""


def test_a_reward_is_spread_and_listed_beside_the_items_own_discounts() -> None:
    mapped = mapped_of(
        REWARDED,
        "id,total,redemption,off,what,qty,price,own\n1,8,77,2.00,a,2,2.50,\n1,8,77,2.00,b,1,5.00,1.5\n2,5,,,c,1,5,\n",
    )
    assert mapped.items.select("price_sell", "discounts").rows() == [
        (D("2.00"), '[{"amount":1.00,"reason_desc":"Birthday"}]'),
        (D("4.00"), '[{"amount":1.5,"reason_desc":"Sale"},{"amount":1.00,"reason_desc":"Birthday"}]'),
        (D("5.00"), None),
    ]
    assert mapped.headers.select("redemption_id", "items_total").rows() == [(77, 8), (None, 5)]


def test_the_refund_of_a_rewarded_sale_is_the_sale_turned() -> None:
    header = "id,total,redemption,off,what,qty,price,own"
    sold = [("a", 65), ("b", 115), ("c", 25), ("d", 45)]
    for off in ("-50", "50"):
        rows = "".join(f"1,-200,77,{off},{what},-1,{price},\n" for what, price in sold)
        mapped = mapped_of(REWARDED, f"{header}\n{rows}")
        assert mapped.items["price_sell"].to_list() == [52, 92, 20, 36]
        taken = [json.loads(entries)[0]["amount"] for entries in mapped.items["discounts"]]
        assert taken == [-13, -23, -5, -9]
        assert mapped.headers.select("total", "items_total").row(0) == (-200, -200)
        assert mapped.problems.is_empty()


def test_shipments_of_one_order_are_transactions_that_share_it() -> None:
    spec = """
    source: {layout: lines, key: [order, shipment]}
    transaction:
      external_id: {template: "{order}/{shipment}"}
      order_id: omneo
      external_order_id: order
      total: total
    items: {name: what, quantity: qty, price_sell: price}
    """
    mapped = mapped_of(
        spec,
        "order,omneo,shipment,total,what,qty,price\n7,99,A,10,Cap,1,10\n7,99,B,5,Tie,1,5\n7,99,A,10,Pin,1,0\n",
    )
    fields = mapped.headers.select("external_id", "order_id", "external_order_id", "total", "items_total")
    assert fields.rows() == [("7/A", "99", "7", 10, 10), ("7/B", "99", "7", 5, 5)]


def test_a_reward_without_an_item_to_bear_it_is_reported() -> None:
    mapped = mapped_of(
        REWARDED, "id,total,redemption,off,what,qty,price,own\n1,0,77,2.50,a,1,0,\n2,0,77,x,a,1,0,\n"
    )
    assert problem_rows(mapped.problems, "code", "field", "value", LINE) == [
        ("field_invalid", "reward", "x", 3),
        ("field_invalid", "reward", "2.5", 2),
    ]


def test_spreading_needs_prices_and_quantities() -> None:
    spec = spec_of(REWARDED.replace("  price_sell: price\n", ""))
    rows = pl.DataFrame({name: ["1"] for name in ("id", "total", "redemption", "off", "what", "qty", "own")})
    with pytest.raises(CompileError, match="needs `quantity` and `price_sell`"):
        compiled_of(spec, {"lines": rows})


# ── Layouts, whole ──────────────────────────────────────────────────────────────────────────────────


def test_first_row_lends_header_cells_to_every_line() -> None:
    spec = """
    source: {layout: first_row, key: [Name]}
    define: {order: {template: "S-{Id}"}}
    transaction: {external_id: order, total: Total, currency: Currency}
    items:
      name: item
      external_id: {template: "{order}-{sku}"}
      sku: sku
      meta: {object: {currency: Currency}}
    """
    mapped = mapped_of(
        spec, "Name,Id,Total,Currency,item,sku\n#1,77,10,AUD,Shirt,A\n#1,,,,Cap,B\n#1,,,,Pin,\n"
    )
    assert mapped.headers.select("external_id", "total").rows() == [("S-77", D(10))]
    assert mapped.items.select("external_id", "sku", "meta").rows() == [
        ("S-77-A", "A", '{"currency":"AUD"}'),
        ("S-77-B", "B", '{"currency":"AUD"}'),
        (None, None, '{"currency":"AUD"}'),
    ]


def test_records_tell_a_cell_of_the_sale_from_the_same_cell_of_its_line() -> None:
    spec = """
    source:
      layout: records
      key: [no]
      records: {column: type, header: [Sale], item: [Line], payment: [Payment]}
    transaction: {external_id: no, total: total, total_original: {sum: total}}
    payments: [{tender: what, amount: paid}]
    items:
      name: what
      quantity: qty
      price_sell: {column: total, then: [{divide_by: qty}]}
      external_id: {template: "{no}-{header.user}-{sku}"}
    """
    mapped = mapped_of(
        spec,
        "no,type,total,what,qty,paid,user,sku\n"
        "1,Sale,10,,3,,ann,\n"
        ",Line,4,Shirt,2,,,A\n"
        ",Line,6,Cap,1,,,B\n"
        ",Payment,,Cash,,10,,\n",
    )
    assert mapped.headers.select(
        "total", "total_original", "payments", "payments_total", "items_total"
    ).rows() == [(10, 10, '["Cash"]', 10, 10)]
    assert mapped.items.select("external_id", "price_sell").rows() == [("1-ann-A", 2), ("1-ann-B", 6)]


def test_tables_lend_cells_of_the_header_to_the_items() -> None:
    spec = """
    source:
      layout: tables
      tables: {headers: {inputs: [h.csv], key: [id]}, items: {inputs: [i.csv], key: [order]}}
    transaction: {external_id: id, location_id: store, total: {sum: price}}
    items: {name: what, external_id: {template: "{store}/{order}/{n}"}, price_sell: price}
    """
    mapped = mapped_of(
        spec,
        {
            "headers": "id,store\n1,A\n2,B\n",
            "items": "order,n,what,price\n2,1,Cap,3\n1,1,Tie,4\n3,1,Lost,5\n",
        },
    )
    assert mapped.items.select("external_id", "name").rows() == [
        ("A/1/1", "Tie"),
        ("B/2/1", "Cap"),
        (None, "Lost"),
    ]
    assert mapped.headers.select("external_id", "total", "items_count").rows() == [
        ("1", D(4), 1),
        ("2", D(3), 1),
        (None, D(5), 1),
    ]


def test_a_bucket_whose_file_lacks_a_column_has_blanks_there() -> None:
    spec = spec_of(
        "source: {layout: lines, key: [id]}\ntransaction: {total: total}\nitems: {name: what, sku: sku}\n"
    )
    compiled = compiled_of(
        spec, {"lines": pl.DataFrame({"id": [""], "total": [""], "what": [""], "sku": [""]})}
    )
    mapped = compiled.apply(build_transactions(tables_of(spec, "id,total,what\n1,5,Cap\n"), spec))
    assert mapped.items.select("name", "sku").rows() == [("Cap", None)]


@pytest.mark.parametrize("spec", [FILTERED, DISCOUNTED, REWARDED, ROWS])
def test_a_bucket_without_rows_has_every_column(spec: str) -> None:
    parsed = spec_of(spec)
    names = ("id", "sku", "what", "qty", "price", "tax", "total", "redemption", "off", "own", "how", "amount")
    rows = pl.DataFrame({name: ["1"] for name in names})
    tables = {"headers": rows, "payments": rows} if parsed.source.tables else {"lines": rows}
    compiled = compiled_of(parsed, tables)
    empty = compiled.apply(build_transactions({}, parsed))
    assert empty.headers.is_empty()
    assert {"status|outcome", "paid", "payments_total", "items_total", "items_count"} <= {
        *empty.headers.columns
    }
    assert empty.headers.schema["items_total"] == pl.Decimal(38, 4)
    assert empty.headers.schema["items_count"] == pl.UInt32


def test_a_compiled_mapping_keeps_nothing_of_the_rows_it_saw() -> None:
    spec = spec_of(DISCOUNTED)
    tables = tables_of(spec, DISCOUNT_ROWS)
    compiled = compiled_of(spec, tables)
    first, second = (compiled.apply(build_transactions(tables, spec)) for _ in range(2))
    assert first.headers.equals(second.headers)
    assert first.items.equals(second.items)


def test_no_name_of_a_column_hides_what_is_computed_beside_another() -> None:
    spec = """
    source: {layout: lines, key: [id]}
    columns: {qty: integer, at: {datetime: {formats: [iso], timezone: {constant: UTC}}}}
    transaction: {total: {sum: qty}, transacted_at: {min: at}, receipt_ref: {first: "qty|raw"}}
    items: {name: "qty|raw", sku: "at|moment", quantity: qty, department: "=name", meta: {object: {i: "a|i"}}}
    """
    mapped = mapped_of(spec, "id,qty,qty|raw,at,at|moment,=name,a|i\n1,two,R,2021-01-01,M,N,I\n")
    assert mapped.items.select("name", "sku", "quantity", "quantity|raw", "department", "meta").row(0) == (
        "R", "M", None, "two", "N", '{"i":"I"}',
    )  # fmt: skip
    assert mapped.headers.select("total|raw", "receipt_ref").row(0) == ("two", "R")
    assert mapped.headers["transacted_at"].to_list() == [datetime(2021, 1, 1)]


# ── Refunds with change or exchange ─────────────────────────────────────────────────────────────────

CHANGE = """
source:
  layout: tables
  tables:
    headers: {inputs: [h.csv], key: [id]}
    payments: {inputs: [p.csv], key: [id]}
transaction: {external_id: id, total: total}
payments: [{tender: how, amount: amount}]
payments_form: amounts
refund: {when: "type = 'Refund'"}
"""
CHANGE_ROWS = {
    "headers": "id,type,total\n1,Refund,10\n2,Refund,-10\n3,Sale,10\n",
    "payments": """
    id,how,amount
    1,CASH,20
    1,CHANGE,-10
    2,CASH,-20
    2,CHANGE,10
    3,CASH,20
    3,CHANGE,-10
    """,
}


def test_the_change_of_a_refund_keeps_its_sign() -> None:
    mapped = mapped_of(CHANGE, CHANGE_ROWS)
    assert mapped.headers.select("total", "payments_total").rows() == [
        (D(-10), D(-10)),
        (D(-10), D(-10)),
        (D(10), D(10)),
    ]
    refund = '[{"CASH":-20.00},{"CHANGE":10.00}]'
    assert mapped.headers["payments"].to_list() == [refund, refund, '[{"CASH":20.00},{"CHANGE":-10.00}]']


def test_the_change_of_a_refund_keeps_its_sign_in_columns_too() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    transaction: {external_id: id}
    payments:
      - {tender: {constant: CASH}, amount: cash}
      - {tender: {constant: CHANGE}, amount: change}
    refund: {when: "type = 'Refund'"}
    """
    mapped = mapped_of(spec, "id,type,cash,change\n1,Refund,20,-10\n2,Refund,5,\n3,Refund,-20,10\n")
    assert mapped.headers["payments_total"].to_list() == [D(-10), D(-5), D(-10)]


def test_an_item_that_was_handed_out_in_a_refund_keeps_its_sign() -> None:
    spec = """
    source: {layout: lines, key: [id]}
    transaction: {total: total}
    refund: {when: "type = 'Refund'"}
    items: {name: what, quantity: qty, price_sell: price}
    """
    mapped = mapped_of(spec, "id,type,total,what,qty,price\n1,Refund,15,a,2,10\n1,Refund,15,b,-1,5\n")
    assert mapped.items["quantity"].to_list() == [-2, 1]
    assert mapped.headers.select("total", "items_total").row(0) == (D(-15), D(-15))


# ── Lines that are void ─────────────────────────────────────────────────────────────────────────────

VOIDED = """
source: {layout: lines, key: [id]}
columns: {qty: integer, price: decimal}
transaction: {external_id: id, total: {sum: {sql: "qty * price"}}, currency: currency}
reward: {amount: off}
items: {name: what, quantity: qty, price_sell: price, is_void: void}
"""
VOIDED_ROWS = """
id,currency,off,what,qty,price,void
1,AUD,10,a,1,30,no
1,AUD,10,b,1,70,yes
1,AUD,10,c,2,10,
2,AUD,,d,1,5,Y
3,AUD,,e,1,x,Y
3,AUD,,f,1,4,n
"""


def test_lines_that_are_void_count_neither_in_totals_nor_in_shares() -> None:
    mapped = mapped_of(VOIDED, VOIDED_ROWS)
    assert mapped.headers.select("total", "items_total", "items_count").rows() == [
        (D(50), D(40), 3),
        (D(0), D(0), 1),
        (D(4), D(4), 2),
    ]
    assert mapped.items["price_sell"].to_list() == [D(24), D(70), D(8), D(5), None, D(4)]
    assert mapped.items["discounts"].is_not_null().to_list() == [True, False, True, False, False, False]
    assert mapped.items["is_void"].to_list() == [False, True, None, True, True, False]


def test_a_discount_line_that_is_void_takes_nothing_off() -> None:
    spec = DISCOUNTED.replace("price_sell: price}", "price_sell: price, is_void: void}")
    mapped = mapped_of(spec, "id,total,sku,what,qty,price,void\n1,9,A,Shirt,1,9,n\n1,9,OFF,Voucher,1,-5,y\n")
    assert mapped.items.select("price_sell", "discounts").rows() == [(D(9), None)]


def test_shares_are_in_what_the_currency_of_the_sale_has() -> None:
    rows = [(1, "JPY", 100, "500"), (2, "KWD", "0.500", "5"), (3, "", 100, "500")]
    text = "id,currency,off,what,qty,price,void\n" + "".join(
        f"{at},{currency},{off},{what},1,{price},\n" for at, currency, off, price in rows for what in "abc"
    )
    found = mapped_of(VOIDED, text).items["discounts"]
    assert [json.loads(entries)[0]["amount"] for entries in found] == [
        *(34, 33, 33),
        *(0.167, 0.167, 0.166),
        *(33.34, 33.33, 33.33),
    ]


# ── Rows far apart ──────────────────────────────────────────────────────────────────────────────────

FAR_APART = """
source: {{layout: lines, key: [id]}}
{extra}
transaction: {{external_id: id, total: total, transacted_at: {at}}}
items: {{name: what}}
"""
FORMAT = '{datetime: {formats: ["%d/%m/%Y %H:%M"]}}'
FAR_APART_ROWS = """
id,total,what,sold
1,1,a,01/02/2024 10:00
1,1,b,01/02/2024 22:00
2,1,a,01/02/2024 10:00
2,1,b,01/02/2024 22:01
3,1,a,28/02/2024 10:00
3,1,b,01/03/2024 09:00
3,1,c,
4,1,a,30/04/2024 23:59
4,1,b,01/05/2024 00:01
5,1,a,x
"""


@pytest.mark.parametrize(
    ("at", "extra"),
    [
        (f"{{min: sold, then: [{FORMAT}]}}", ""),
        (f"{{max: {{column: sold, then: [{FORMAT}]}}}}", ""),
        (f"{{first: {{column: sold, then: [{FORMAT}]}}}}", ""),
        ("{last: sold}", f"columns: {{sold: {FORMAT}}}"),
        (f"{{column: time, then: [{FORMAT}]}}", "define: {time: {first: sold}}"),
        (f"{{first_of: [time, {{constant: x}}], then: [{FORMAT}]}}", "define: {time: {first: sold}}"),
    ],
)
def test_rows_of_a_sale_that_are_far_apart_are_reported(at: str, extra: str) -> None:
    mapped = mapped_of(FAR_APART.format(at=at, extra=extra), FAR_APART_ROWS)
    assert problem_rows(mapped.problems, "code", TX) == [("rows_far_apart", 1), ("rows_far_apart", 2)]


def test_the_time_of_a_sale_is_no_other_for_being_looked_at_on_each_line() -> None:
    at = f"{{min: sold, then: [{FORMAT}]}}"
    mapped = mapped_of(FAR_APART.format(at=at, extra="define: {time: {min: sold}}"), FAR_APART_ROWS)
    assert [str(at)[:10] for at in mapped.headers["transacted_at"]] == [
        *("2024-02-01", "2024-02-01", "2024-03-01", "2024-05-01", "None"),
    ]
