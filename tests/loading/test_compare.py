from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.loading.client import Answered, Unknown
from pipeline.loading.compare import differences, transaction_of

SENT: dict[str, Any] = {
    "external_id": "T1",
    "total": 12.5,
    "profile_id": "a@x.de",
    "items": [
        {"external_id": "1", "quantity": 1, "price_sell": 10.0},
        {"external_id": "2", "quantity": 2, "price_sell": 1.25},
    ],
}
THERE: dict[str, Any] = {
    "id": 7,
    "total": "12.50",
    "is_void": False,
    "profile_id": "0b7b",
    "items": [
        {"external_id": "2", "quantity": 2, "price_sell": 1.25},
        {"external_id": "1", "quantity": "1", "price_sell": "10.0000"},
    ],
}


def compare(sent: dict[str, Any], found: dict[str, Any]) -> tuple[str, ...]:
    return differences(json.dumps(sent).encode(), found)


def test_the_same_in_other_words_agrees() -> None:
    assert compare(SENT, THERE) == ()


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
        ({"items": [THERE["items"][0], {**THERE["items"][1], "quantity": 3}]}, "items"),
        ({"items": [THERE["items"][0], {**THERE["items"][1], "external_id": "9"}]}, "items"),
    ],
)
def test_what_differs_is_named(found: dict[str, Any], about: str) -> None:
    assert compare(SENT, THERE | found) == (about,)


def test_a_guest_sale_may_have_been_claimed() -> None:
    assert compare({**SENT, "profile_id": None}, THERE) == ()


def test_items_are_not_compared_where_the_answer_has_none() -> None:
    assert compare(SENT, {name: value for name, value in THERE.items() if name != "items"}) == ()


def test_items_without_ids_are_compared_by_number() -> None:
    plain = [{"quantity": 1}, {"quantity": 2}]
    assert compare({**SENT, "items": plain}, THERE) == ()
    assert compare({**SENT, "items": plain[:1]}, THERE) == ("items",)


def test_the_transaction_is_found_with_and_without_an_envelope() -> None:
    assert transaction_of(Answered(200, b'{"data": {"id": 1}}'), "A") == {"id": 1}
    assert transaction_of(Answered(200, b'{"id": 1}'), "A") == {"id": 1}
    for nothing in (
        Answered(404, b'{"message": "No."}'),
        Answered(200, b"x"),
        Answered(200, b"[]"),
        Unknown(""),
    ):
        assert transaction_of(nothing, "A") is None
