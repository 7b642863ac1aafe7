"""Whether Omneo has the sale that was sent: what settles a doubt about a request without an answer.

It is the one that was sent where total and items say so. A query spells some fields in its own way, such
as a currency, and that must not make the sale go out again. What `confirm` reports to people is another
question, with a comparison of its own: `pipeline.loading.confirm.field_comparison`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pipeline.loading.http.strict_json import parsed

_RESOLVED: Final = frozenset(
    {
        "external_id",
        "profile_id",
        "profile_id_handle",
        "location_id",
        "staff_id",
        "currency",
        "currency_value",
    }
    | {"redemption_id", "order_id", "product_variant_id", "is_void", "delete_existing_items"}
    | {"transacted_at", "deliver_at", "timezone", "created_at", "updated_at"}
)
"""Fields that Omneo may give back as something else: its own ids, another spelling of a time, a currency."""


def is_same_sale(body: bytes, found: Mapping[str, Any]) -> bool:
    """Whether Omneo's transaction is the sale that was sent: total and items agree."""
    sent = parsed(body)
    return _same_number(sent.get("total"), found.get("total")) and (
        "items" not in found or _same_items(sent.get("items") or [], found["items"])
    )


def has_same_contents(body: bytes, found: Mapping[str, Any]) -> bool:
    """Whether Omneo has this very version of a sale of which it may have another one.

    Every field that was sent and that the answer holds is compared, but for those that Omneo resolves. A
    field that the answer does not hold proves nothing, so then it is another version.
    """
    sent = parsed(body)
    compared = {name: value for name, value in sent.items() if name not in _RESOLVED and name != "items"}
    return is_same_sale(body, found) and all(
        name in found and _same_value(value, found[name]) for name, value in compared.items()
    )


def is_void(found: Mapping[str, Any]) -> bool:
    """Whether Omneo's transaction is void."""
    return _is_true(found.get("is_void"))


def _is_true(value: Any) -> bool:
    return bool(value) and str(value).lower() not in ("0", "false")


def every_item_has_an_id(body: bytes) -> bool:
    """Whether a repeat of this body changes nothing in Omneo: an item without an id is added each time."""
    items = json.loads(body).get("items") or []
    return all(isinstance(item, dict) and item.get("external_id") not in (None, "") for item in items)


def _same_value(sent: Any, found: Any) -> bool:
    if isinstance(sent, dict) and isinstance(found, dict):
        return all(name in found and _same_value(value, found[name]) for name, value in sent.items())
    if isinstance(sent, list) and isinstance(found, list):
        return len(sent) == len(found) and all(map(_same_value, sent, found))
    if isinstance(sent, bool) or isinstance(found, bool):
        return _is_true(sent) == _is_true(found)
    return _same_number(sent, found)


def _same_items(sent: Sequence[Mapping[str, Any]], there: object) -> bool:
    found = [each for each in there if isinstance(each, dict)] if isinstance(there, list) else []
    if len(sent) != len(found):
        return False
    # As text, since the answer may have a number where a text was sent.
    by_id = {str(item.get("external_id") or ""): item for item in found}
    if "" in by_id or len(by_id) != len(found) or not all(item.get("external_id") for item in sent):
        # Without ids items cannot be paired; total and number of items agree, which settles the doubt.
        return True
    ids = [str(item["external_id"]) for item in sent]
    return all(name in by_id and _same_item(item, by_id[name]) for name, item in zip(ids, sent, strict=True))


def _same_item(sent: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    both = [name for name in ("quantity", "price_sell") if name in sent and name in found]
    return all(_same_number(sent[name], found[name]) for name in both)


def decimal_of(value: Any) -> Decimal | None:
    """The number that a value is, or spells; None where it is none."""
    try:
        # Through the text, because the binary value of a float such as 0.1 has more digits.
        number = Decimal(str(value))
    except InvalidOperation:  # also for None and for a truth value: their words are no numbers
        return None
    return number if number.is_finite() else None


def _same_number(one: Any, other: Any) -> bool:
    """Whether both are the same number, or the same text."""
    try:
        return Decimal(str(one)) == Decimal(str(other))
    except InvalidOperation:
        return bool(one == other)
