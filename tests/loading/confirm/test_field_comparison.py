from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS
from pipeline.loading.confirm.field_comparison import Comparison, compare_fields
from tests.loading.confirm.sale import SENT, THERE

UUID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
EVERY_FIELD: dict[str, Any] = {
    "external_id": "T1",
    "total": -12.5,
    "transacted_at": "2024-03-01 10:00:00",
    "timezone": "Australia/Sydney",
    "receipt_ref": "0017",
    "profile_id": UUID,
    "profile_id_handle": "",
    "location_id": "S1",
    "staff_id": "42",
    "currency": "AUD",
    "total_original": 15,
    "rounding": -0.02,
    "margin": 3.1,
    "tender": "cash",
    "payments": [{"tender": "cash", "amount": 10.0}, {"tender": "card", "amount": 2.5}],
    "tags": ["vip"],
    "systems": ["pos"],
    "is_void": True,
    "redemption_id": 5,
    "order_id": "O1",
    "external_order_id": "X1",
    "order_number": "1007",
    "linked_receipt_ref": "0016",
    "receipt_is_email": True,
    "receipt_email": "Ann@Example.com",
    "deliver_at": "2024-03-02 10:00:00",
    "meta": {"till": 3, "notes": {"gift": "yes"}},
    "custom_fields": [{"namespace": "n", "handle": "h", "type": "string", "value": "v"}],
    "currency_value": {"from": "NZD", "to": "AUD", "rate": 0.92},
    "items": [
        {
            "external_id": "1",
            "name": "Shirt",
            "quantity": -1,
            "price_current": 12.5,
            "price_sell": 12.5,
            "price_original": 15,
            "price_margin": 3.1,
            "price_tax": 1.14,
            "discounts": [{"amount": 2.5, "reason_desc": "Sale"}],
            "sku": "SH-1",
            "product_variant_id": "9",
            "product_variant_sku": "SH-1-M",
            "variant_external_id": "V1",
            "product_variant": {"sku": "SH-1-M", "title": "Shirt", "price": 15},
            "department": "Men",
            "is_void": True,
            "meta": {"size": "M"},
        }
    ],
}


def compare(sent: dict[str, Any], found: dict[str, Any], **how: bool) -> Comparison:
    answer = json.loads(json.dumps(found), parse_float=Decimal)
    return compare_fields(json.dumps(sent).encode(), answer, **how)


def test_the_same_in_other_words_agrees() -> None:
    assert compare(SENT, THERE) == Comparison()


@pytest.mark.parametrize(
    ("found", "about"),
    [
        ({"total": 12.49}, "total"),
        ({"total": None}, "total"),
        ({"is_void": True}, "is_void"),
        ({"profile_id": None}, "profile_id"),
        ({"items": []}, "items"),
        ({"items": None}, "items"),
        ({"items": THERE["items"][:1]}, "items"),
        ({"items": [*THERE["items"], THERE["items"][0]]}, "items"),
        ({"items": [THERE["items"][0], {**THERE["items"][1], "quantity": 3}]}, "items.quantity"),
        ({"items": [THERE["items"][0], {**THERE["items"][1], "external_id": "9"}]}, "items"),
    ],
)
def test_what_differs_is_named(found: dict[str, Any], about: str) -> None:
    assert compare(SENT, THERE | found).fields == (about,)


def test_a_difference_says_where_it_is_and_what_is_there() -> None:
    (difference,) = compare(
        SENT, THERE | {"items": [{**THERE["items"][0], "price_sell": 9}, THERE["items"][1]]}
    ).differences
    assert (difference.path, difference.field, difference.found) == (
        "items.1.price_sell",
        "items.price_sell",
        9,
    )


def test_every_field_of_the_model_is_here() -> None:
    assert EVERY_FIELD.keys() == TRANSACTION_FIELDS.keys() | {"items"}
    assert EVERY_FIELD["items"][0].keys() == ITEM_FIELDS.keys()


def test_a_transaction_that_comes_back_as_it_was_sent_agrees() -> None:
    assert compare(EVERY_FIELD, EVERY_FIELD) == Comparison()


HEADER = sorted(EVERY_FIELD.keys() - {"external_id", "items", "profile_id_handle", "location_id"})
IN_ITEM = sorted(EVERY_FIELD["items"][0].keys() - {"external_id"})
OTHER: dict[type, Any] = {str: "2001-01-01 01:01:01", int: 99, float: 99.9, bool: False}


def other(value: Any) -> Any:
    """Another value of the same form."""
    if isinstance(value, list):
        return [other(value[0]), *value[1:]]
    if isinstance(value, dict):
        name = max(value)
        return value | {name: other(value[name])}
    return UUID.replace("1", "2") if value == UUID else OTHER[type(value)]


@pytest.mark.parametrize("name", HEADER)
@pytest.mark.parametrize("in_list", [False, True])
def test_another_value_of_any_field_differs(name: str, in_list: bool) -> None:
    found = EVERY_FIELD | {name: other(EVERY_FIELD[name])}
    assert compare(EVERY_FIELD, found, in_list=in_list).fields == (name,)


@pytest.mark.parametrize("name", IN_ITEM)
def test_another_value_of_any_field_of_an_item_differs(name: str) -> None:
    item = EVERY_FIELD["items"][0]
    found = EVERY_FIELD | {"items": [item | {name: other(item[name])}]}
    assert compare(EVERY_FIELD, found).fields == (f"items.{name}",)
    # Items without ids cannot be told apart, so that is all that can be said.
    without = {key: value for key, value in item.items() if key != "external_id"}
    found = EVERY_FIELD | {"items": [without | {name: other(item[name])}]}
    assert compare(EVERY_FIELD | {"items": [without]}, found).fields == ("items",)


@pytest.mark.parametrize("name", [*HEADER, "location_id", "items"])
@pytest.mark.parametrize("in_list", [False, True])
def test_a_field_that_the_answer_does_not_have_is_lacking(name: str, in_list: bool) -> None:
    found = {key: value for key, value in EVERY_FIELD.items() if key != name}
    assert compare(EVERY_FIELD, found, in_list=in_list) == Comparison(lacking=frozenset({name}))


@pytest.mark.parametrize("name", IN_ITEM)
@pytest.mark.parametrize("is_null", [False, True])
def test_a_field_of_an_item_that_the_answer_does_not_have_is_lacking(name: str, is_null: bool) -> None:
    item = {key: value for key, value in EVERY_FIELD["items"][0].items() if key != name}
    found = EVERY_FIELD | {"items": [item | ({name: None} if is_null else {})]}
    lacking = {f"items.{name}"}
    if name in ("product_variant_sku",):
        lacking = set()  # the variant itself shows it
    assert compare(EVERY_FIELD, found) == Comparison(lacking=frozenset(lacking))


@pytest.mark.parametrize("name", ["total", "profile_id", "items"])
def test_a_list_may_leave_empty_what_a_transaction_of_its_own_must_have(name: str) -> None:
    found = EVERY_FIELD | {name: None}
    assert compare(EVERY_FIELD, found).fields == (name,)
    assert compare(EVERY_FIELD, found, in_list=True) == Comparison(lacking=frozenset({name}))


@pytest.mark.parametrize(
    ("name", "sent", "found"),
    [
        ("total", 10, "10.000"),
        ("total", 0.1, 0.10),
        ("quantity_like", 1, "1.0"),
        ("transacted_at", "2024-03-01 10:00:00", "2024-03-01T10:00:00.000000Z"),
        ("transacted_at", "2024-03-01 10:00:00", "2024-03-01T21:00:00+11:00"),
        ("receipt_ref", "R1", " R1 "),
        ("receipt_email", "Ann@X.com", "ann@x.com"),
        ("external_order_id", "17", 17),
        ("currency", "AUD", {"id": 3, "code": "AUD"}),
        (
            "tags",
            ["VIP Customer", "new"],
            [{"handle": "new"}, {"handle": "vip-customer"}, {"handle": "more"}],
        ),
        ("payments", ["cash"], [{"tender": "Cash", "amount": 5}]),
        ("meta", {"a": 1, "b": {}}, {"b": [], "a": "1", "c": 2}),
        ("receipt_is_email", True, 1),
    ],
)
def test_another_spelling_of_the_same_value_agrees(name: str, sent: object, found: object) -> None:
    assert compare({"total": 1, name: sent}, {"total": 1, name: found}) == Comparison()


@pytest.mark.parametrize(
    ("name", "sent", "found"),
    [
        ("receipt_ref", "0017", 17),  # the zeros are a part of it
        ("receipt_ref", "r1", "R1"),
        ("transacted_at", "2024-03-01 10:00:00", "2024-03-01 21:00:00"),
        ("transacted_at", "2024-03-01 10:00:00", "yesterday"),
        ("tags", ["vip"], [{"handle": "new"}]),
        ("payments", ["cash"], ["cash", "card"]),
        ("meta", {"a": 1}, {"a": 2}),
        ("total", 1, "NaN"),
        ("total", 1, True),
        ("payments", [{"amount": 1}], [{"amount": True}]),
    ],
)
def test_what_only_looks_like_the_same_value_differs(name: str, sent: object, found: object) -> None:
    assert compare({"total": 1, name: sent}, {"total": 1, name: found}).fields == (name,)


def test_a_reference_is_compared_with_what_it_was_resolved_to() -> None:
    sent = {"total": 1, "location_id": "S1"}
    assert compare(sent, {"total": 1, "location_id": 9}) == Comparison()
    assert (
        compare(sent, {"total": 1, "location_id": 9, "location": {"id": 9, "external_id": "S1"}})
        == Comparison()
    )
    other_store = {"total": 1, "location_id": 9, "location": {"id": 9, "external_id": "S2", "name": "S2"}}
    assert compare(sent, other_store).fields == ("location_id",)


def test_a_customer_is_compared_where_the_answer_shows_who_it_is() -> None:
    sent = {"total": 1, "profile_id": "Ann@x.com", "profile_id_handle": "email"}
    for found in (
        {"profile_id": UUID},
        {"profile_id": "ann@x.com"},
        {"profile_id": UUID, "profile": {"email": "ann@X.com"}},
    ):
        assert compare(sent, {"total": 1} | found) == Comparison()
    assert compare(sent, {"total": 1, "profile_id": UUID, "profile": {"email": "b@x.com"}}).fields == (
        "profile_id",
    )


def test_a_guest_sale_may_have_been_claimed() -> None:
    assert compare({**SENT, "profile_id": None}, THERE) == Comparison()


def test_items_without_ids_are_compared_in_any_order() -> None:
    plain = [{"quantity": 1}, {"quantity": 2}]
    assert compare({**SENT, "items": plain}, THERE) == Comparison()
    assert compare({**SENT, "items": plain[:1]}, THERE).fields == ("items",)
    assert compare({**SENT, "items": [{"quantity": 1}, {"quantity": 3}]}, THERE).fields == ("items",)


def test_a_number_may_be_given_back_for_an_items_id() -> None:
    sent = {"total": 1, "items": [{"external_id": "7", "quantity": 1}]}
    assert compare(sent, sent | {"items": [{"external_id": 7, "quantity": 1}]}) == Comparison()
    assert compare(sent, sent | {"items": [{"external_id": [7], "quantity": 1}]}).fields == ("items",)


@pytest.mark.parametrize(
    ("value", "void"), [(True, True), (1, True), ("1", True), (False, False), ("0", False)]
)
def test_what_was_voided_is_expected_to_be_void(value: object, void: bool) -> None:
    assert compare(SENT, {**THERE, "is_void": value}, void=void) == Comparison()
    assert compare(SENT, {**THERE, "is_void": value}, void=not void).fields == ("is_void",)
