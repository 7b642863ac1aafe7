"""Ids and what is odd about them: unseen characters, lost digits, one id for two items, numbers as ids."""

from __future__ import annotations

import pytest

from pipeline.core.model import LINE, TX
from tests.mapping.mapping_cases import mapped_of, problem_rows, shaped_of

LINES = """
source: {layout: lines, key: [id]}
columns: {qty: integer, price: decimal}
define: {line: {line_number: file}}
transaction: {external_id: id, receipt_ref: id, location_id: shop, total: {sum: {sql: "qty * price"}}}
profile: [{value: card, handle: card}]
items: {external_id: {template: "{id}-{line}"}, name: what, sku: sku, quantity: qty, price_sell: price}
"""
COLUMNS = "id,shop,card,sku,what,qty,price"

UNSEEN = [
    "\ufeff",
    "\u200b",
    "\u200e",
    "\u200f",
    "\u00ad",
    "\u2060",
    "\u202a",
    "\u202e",
    "\xa0",
    "\0",
    "\u3164",
]


@pytest.mark.slow
@pytest.mark.parametrize("unseen", UNSEEN)
@pytest.mark.parametrize("form", ["{0}{1}", "{1}{0}", "{0}{0}{1} {0}"])
def test_what_nobody_sees_at_the_end_of_an_id_makes_no_other_sale(unseen: str, form: str) -> None:
    odd = [form.format(unseen, cell) for cell in ("1001", "S1", "C9", "K7")]
    mapped = mapped_of(LINES, f"{COLUMNS}\n1001,S1,C9,K1,Mug,1,8\n{','.join(odd)},Cup,1,9\n")
    assert mapped.headers.select("external_id", "receipt_ref", "location_id", "profile_id").rows() == [
        ("1001", "1001", "S1", "C9")
    ]
    assert mapped.items.select("external_id", "sku").rows() == [("1001-1", "K1"), ("1001-2", "K7")]
    found = mapped.problems.select("code", "field", LINE).rows()
    assert sorted(found) == [("invisible_characters", name, 3) for name in ("card", "id", "shop", "sku")]
    assert f"U+{ord(unseen):04X}" in mapped.problems["message"][0]


def test_what_nobody_sees_within_an_id_is_kept_and_named() -> None:
    mapped = mapped_of(LINES, f"{COLUMNS}\n10\u200b01,S1,,K1,Mug,1,8\n")
    assert mapped.headers["external_id"].to_list() == ["10\u200b01"]
    (problem,) = mapped.problems.select("code", "message").rows()
    assert problem == ("invisible_characters", "U+200B within `id` cannot be seen; it was kept.")


def test_a_sale_is_reported_once_for_each_column_with_its_first_row() -> None:
    mapped = mapped_of(
        LINES, f"{COLUMNS}\n1,S1,,K1\u200b,Mug,1,8\n1,S1,,\u200bK2,Cup,1,8\n2,S1,,K3\u200b,Mug,1,8\n"
    )
    assert problem_rows(mapped.problems, "code", "field", LINE) == [
        ("invisible_characters", "sku", 2),
        ("invisible_characters", "sku", 4),
    ]
    assert mapped.problems["message"][0] == "U+200B at an end of `sku` cannot be seen; it was left out."
    both = mapped_of(LINES, f"{COLUMNS}\n1,S1,,\u200bK\u200e1\u200b,Mug,1,8\n")
    assert both.problems["message"].to_list() == ["U+200E within `sku` cannot be seen; it was kept."]


def test_a_key_that_has_lost_digits_is_seen_behind_what_is_not() -> None:
    mapped = mapped_of(LINES, f"{COLUMNS}\n\u200b1.23E+12,S1,,K1,Mug,1,8\n1.23E+12,S1,,K2,Cup,1,8\n")
    assert (
        problem_rows(mapped.problems, "code", "field", "value", LINE).count(
            ("id_rounded", "id", "1.23E+12", 2)
        )
        == 1
    )


def test_names_keep_what_they_have_and_ids_of_plain_text_are_no_news() -> None:
    mapped = mapped_of(LINES, f"{COLUMNS}\n 1001 ,Café,C9,K 1,Mug\u200f,1,8\n")
    assert mapped.headers.select("external_id", "location_id").row(0) == ("1001", "Café")
    assert mapped.items["name"].to_list() == ["Mug\u200f"]
    assert mapped.problems.is_empty()


def test_ids_within_lists_are_looked_at_too() -> None:
    spec = """
    source: {layout: nested, key: [id], nested: {items: lines}}
    transaction: {external_id: id}
    items: {name: items.name, sku: items.sku}
    """
    mapped = mapped_of(spec, 'id,lines\n1,"[{""name"": ""Mug"", ""sku"": ""\ufeffK1""}]"\n')
    assert mapped.items["sku"].to_list() == ["K1"]
    assert problem_rows(mapped.problems, "code", "field") == [("invisible_characters", "items.sku")]


@pytest.mark.parametrize("unseen", ["\u200b", "\u00ad"])
def test_an_address_has_no_characters_that_nobody_sees(unseen: str) -> None:
    spec = LINES.replace("{value: card, handle: card}", "{value: card, handle: email}")
    mapped = mapped_of(spec, f"{COLUMNS}\n1,S1,ann{unseen}@shop.com,K1,Mug,1,8\n")
    assert mapped.headers.select("profile_id", "profile_id|raw").row(0) == (None, f"ann{unseen}@shop.com")


# ── Ids that a spreadsheet shortened ────────────────────────────────────────────────────────────────

ROUNDED = ["1.23E+12", "2.30E+18", "2E+18", "1.51591562544199E+18", "2,30E+18", "4.00638e+12", "-1.5E+015",
           "1.234567890123456e15", "2.5e19", "1.2345678901E10"]  # fmt: skip
WHOLE = ["1234567890123456.0", "9007199254740991.00", "9007199254740992.5", "000000001234567890.0",
         "", "2300000000000000001", "12E10", "E+12", "1.23E12", "A1.2E+10", "2E18", "1.23E-05",
         "10:2E+1"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("cell", ROUNDED)
@pytest.mark.parametrize("column", ["id", "card", "line"])
def test_an_id_that_lost_digits_is_reported(cell: str, column: str) -> None:
    spec = LINES.replace("define: {line: {line_number: file}}\n", "")
    row = {
        "id": "1",
        "shop": "S",
        "card": "C",
        "sku": "K",
        "what": "Mug",
        "qty": "1",
        "price": "2",
        "line": "7",
    }
    row |= {column: f'"{cell}"'}
    mapped = mapped_of(spec, f"{','.join(row)}\n{','.join(row.values())}\n")
    assert {*mapped.problems["code"]} == {"id_rounded"}
    assert cell in mapped.problems["message"][0]


@pytest.mark.parametrize("cell", WHOLE)
def test_other_ids_are_not_taken_for_shortened_ones(cell: str) -> None:
    mapped = mapped_of(LINES, f'{COLUMNS}\n"R{cell}",S,"{cell}",K,Mug,1,2\n')
    assert mapped.problems.is_empty()


def test_an_address_with_a_plus_in_it_is_none() -> None:
    spec = LINES.replace("{value: card, handle: card}", "{value: card, handle: email}")
    text = f"{COLUMNS}\n1,S,ann1e+12@shop.com,K,Mug,1,2\n2,S,1e+12@shop.com,K,Mug,1,2\n"
    assert mapped_of(spec, text).problems.is_empty()


def test_a_shortened_part_of_an_id_is_reported_with_its_sale() -> None:
    spec = LINES.replace("external_id: id,", 'external_id: {template: "{shop}-{card}"},')
    mapped = mapped_of(spec, f"{COLUMNS}\n1,S,2.30E+18,K,Mug,1,2\n2,S,C,K,Mug,1,2\n")
    assert {*mapped.problems.select(TX, "code", "field").rows()} == {
        (0, "id_rounded", "external_id"),
        (0, "id_rounded", "profile_id"),
    }


BINARY = ["9007199254740992.0", "12345678901234568.0", "12345678901234568,00", "-12345678901234568."]


@pytest.mark.parametrize("cell", BINARY)
@pytest.mark.parametrize("column", ["id", "card", "sku"])
def test_an_id_that_a_column_of_floats_has_rounded_is_reported(cell: str, column: str) -> None:
    spec = LINES.replace(
        '{template: "{id}-{line}"}', '{column: sku, then: [{replace: {pattern: "[.,]0*$", with: ""}}]}'
    )
    row = {"id": "1", "shop": "S", "card": "C", "sku": "K", "what": "Mug", "qty": "1", "price": "2"}
    row |= {column: f'"{cell}"'}
    mapped = mapped_of(spec, f"{','.join(row)}\n{','.join(row.values())}\n")
    assert problem_rows(mapped.problems, "code", "field", "value") == [("id_rounded", column, cell)]
    assert cell in mapped.problems["message"][0]


def test_a_line_number_behind_a_long_id_is_no_place_of_a_number() -> None:
    spec = LINES.replace("external_id: id,", 'external_id: {template: "{id}.{qty}"},')
    assert mapped_of(spec, f"{COLUMNS}\n12345678901234568,S,C,K,Mug,0,2\n").problems.is_empty()


# ── Two items with one id ───────────────────────────────────────────────────────────────────────────

OWN = LINES.replace('{template: "{id}-{line}"}', "sku")


def test_one_id_of_two_items_is_found_where_every_item_has_an_id() -> None:
    mapped = mapped_of(OWN, f"{COLUMNS}\n1,S,,K1,Mug,1,2\n1,S,,K1,Cup,1,2\n")
    assert problem_rows(mapped.problems) == [("item_external_id_conflict", 3)]


def test_two_items_of_a_sale_with_one_id_are_reported_where_the_second_is() -> None:
    skus = ["1,S,,K1", "1,S,,K2", "1,S,,K1", "2,S,,K1", "2,S,,", "2,S,,"]
    text = "\n".join([COLUMNS, *(f"{sku},Mug {at},1,2" for at, sku in enumerate(skus))])
    mapped = mapped_of(OWN, text)
    assert mapped.problems.select(TX, "code", "field", "value", LINE).rows() == [
        (0, "item_external_id_conflict", "items.external_id", "K1", 4)
    ]
    assert "line 2" in mapped.problems["message"][0]


def test_ids_of_other_sales_and_blank_ones_are_no_conflict() -> None:
    text = f"{COLUMNS}\n1,S,,K1,Mug,1,2\n2,S,,K1,Cup,1,2\n3,S,,,Jug,1,2\n3,S,,,Pot,1,2\n"
    assert mapped_of(OWN, text).problems.is_empty()


# ── Numbers as ids, and numbers that are equal ──────────────────────────────────────────────────────

WRITTEN = """
source: {layout: lines, key: [id]}
transaction:
  external_id: {template: "{id}/{no}"}
  receipt_ref: no
  total: {sum: {column: no}}
profile: [{value: no, handle: card}]
items: {external_id: {template: "{id}-{no}"}, name: no}
"""


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["1", "1.0", "1.00", "01", "+1", "1E+1", "x"])
@pytest.mark.parametrize("kind", ["decimal", "integer", "{number: {}}"])
def test_an_id_does_not_change_when_its_column_is_declared(cell: str, kind: str) -> None:
    text = f"id,no\nA,{cell}\n"
    plain = mapped_of(WRITTEN.replace("total: {sum: {column: no}}", ""), text)
    declared = mapped_of(f"columns: {{no: {kind}}}\n{WRITTEN}", text)
    names = ["external_id", "receipt_ref", "profile_id"]
    assert declared.headers.select(names).equals(plain.headers.select(names))
    assert declared.items.select("external_id", "name").equals(plain.items.select("external_id", "name"))


def test_numbers_that_are_equal_do_not_contradict_each_other() -> None:
    spec = """
    source: {layout: lines, key: [id], number: {decimal: ","}}
    columns: {total: decimal, paid: {number: {}}, tag: boolean}
    transaction: {external_id: id, total: total, rounding: paid, order_number: tag}
    """
    rows = (
        'id,total,paid,tag,what\n1,"12,00",5,yes,a\n1,12,5.00,yes,b\n2,"12,00",5,yes,a\n2,"12,01",5,yes,b\n'
    )
    shaped = shaped_of(spec, rows)
    assert problem_rows(shaped.problems, "code", "field", LINE) == [("header_conflict", "total", 5)]


def test_a_row_that_differs_only_in_how_a_number_is_written_is_a_repeat() -> None:
    spec = """
    source: {layout: lines, key: [id]}
    columns: {price: decimal}
    transaction: {external_id: id, total: {sum: price}}
    items: {name: what, price_sell: price, sku: sku}
    """
    rows = "id,what,sku,price\n1,Mug,K1,12.00\n1,Mug,K1,12\n1,Mug,\ufeffK1,12\n1,Mug,K1,x\n1,Mug,K1,12.01\n"
    shaped = shaped_of(spec, rows)
    assert shaped.lines[LINE].to_list() == [2, 5, 6]
    assert problem_rows(shaped.problems) == [("duplicate_row", 3), ("duplicate_row", 4)]
