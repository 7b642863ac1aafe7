from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.loading.confirm.same_sale import (
    decimal_of,
    every_item_has_an_id,
    has_same_contents,
    is_same_sale,
    is_void,
)
from tests.loading.confirm.sale import SENT, THERE


def test_another_spelling_settles_a_doubt() -> None:
    found = {**THERE, "currency": "aud", "profile_id": None, "tender": "Cash"}
    sent = json.dumps({**SENT, "currency": "AUD", "tender": "cash"}).encode()
    assert is_same_sale(sent, found)
    assert not is_same_sale(sent, {**found, "total": 12.51})
    assert not is_same_sale(sent, {**found, "items": THERE["items"][:1]})


def test_items_are_compared_by_their_ids() -> None:
    first, second = THERE["items"]
    unnamed = {name: value for name, value in second.items() if name != "external_id"} | {"quantity": 3}
    for items, same in (
        ([second, first], True),
        ([first, second | {"quantity": 3}], False),
        ([first, second | {"price_sell": 1.26}], False),
        ([first, second | {"external_id": "3"}], False),
        ([first, unnamed], True),  # which one it is, is not known
        ([first, first | {"quantity": 3}], True),
        ([first, {"external_id": second["external_id"]}], True),  # what is not there is not compared
        ([first, 5], False),
        ("ab", False),
    ):
        assert is_same_sale(json.dumps(SENT).encode(), {**THERE, "items": items}) is same, items


def test_an_item_that_was_sent_without_an_id_cannot_be_paired() -> None:
    first, second = THERE["items"]
    sent = {**SENT, "items": [SENT["items"][0], {"quantity": 1}]}
    assert is_same_sale(json.dumps(sent).encode(), {**THERE, "items": [first, second | {"quantity": 3}]})


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ({"tender": "cash", "receipt_ref": "R1", "currency": "aud", "location_id": 9}, True),
        ({"tender": "card", "receipt_ref": "R1"}, False),
        ({"receipt_ref": "R1"}, False),  # what the answer does not hold proves nothing
        ({"tender": "cash", "receipt_ref": None}, False),
    ],
)
def test_a_version_is_known_by_all_its_fields(found: dict[str, Any], same: bool) -> None:
    sent = {**SENT, "tender": "cash", "receipt_ref": "R1", "currency": "AUD", "location_id": "S1"}
    assert has_same_contents(json.dumps(sent).encode(), THERE | found) is same


@pytest.mark.parametrize(
    ("sent", "found", "same"),
    [
        ({"a": 1, "b": 2}, {"b": "2.0", "a": 1, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": 1}, "a", False),
        ("a", {"a": 1}, False),
        ([1, 2], ["1", 2.0], True),
        ([1, 2], [1, 3], False),
        ([1, 2], [1], False),
        ([1, 2], "12", False),
        ("12", [1, 2], False),
        (True, "1", True),
        (1, True, True),
        (False, "0", True),
        (False, None, True),
        (True, "False", False),
        (True, None, False),
        ("", None, False),
    ],
)
def test_a_value_is_the_same_however_deep_it_lies_and_however_it_is_spelled(
    sent: object, found: object, same: bool
) -> None:
    body = json.dumps({**SENT, "custom": sent}).encode()
    assert has_same_contents(body, {**THERE, "custom": found}) is same


@pytest.mark.parametrize(
    ("value", "void"),
    [(True, True), (1, True), ("1", True), (False, False), ("0", False), ("False", False), (None, False)],
)
def test_void_is_read_however_it_is_written(value: object, void: bool) -> None:
    assert is_void({"is_void": value}) is void


def test_an_item_without_an_id_is_added_each_time() -> None:
    assert every_item_has_an_id(json.dumps(SENT).encode())
    assert every_item_has_an_id(b'{"total": 1}')
    for odd in ({"quantity": 1}, {"external_id": None}, {"external_id": ""}):
        assert not every_item_has_an_id(json.dumps({"items": [SENT["items"][0], odd]}).encode())


@pytest.mark.parametrize("odd", [None, True, "", "NaN", "sNaN", "Infinity", "1e9999999999999999999999"])
def test_what_is_no_finite_number_is_none(odd: object) -> None:
    assert decimal_of(odd) is None
