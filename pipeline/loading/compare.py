"""What was sent beside what Omneo has: total, items, voids and profile."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pipeline.loading.client import Answered, Reply, parsed


def transaction_of(reply: Reply, external_id: str) -> Mapping[str, Any] | None:
    """The transaction in the answer to a look-up, with or without the envelope `data`; None without one.

    One with another external id is not the one that was asked for.
    """
    if not isinstance(reply, Answered) or reply.status != 200:
        return None
    said = parsed(reply.body, Decimal)
    inner = said.get("data", said) if isinstance(said, dict) else None
    if not isinstance(inner, dict) or str(inner.get("external_id", external_id)) != external_id:
        return None
    return inner


def differences(body: bytes, found: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the fields in which Omneo's transaction is not what was sent; empty where all agree.

    Amounts are compared as numbers. Items are compared where the answer has them: by number, and by
    external id, quantity and price where both sides have these. A guest sale may have gained a profile
    since: customers claim them. A profile that was sent must be there; its id is Omneo's own by then.
    """
    sent = parsed(body, Decimal)
    differing = []
    if not _same_number(sent.get("total"), found.get("total")):
        differing.append("total")
    if "items" in found and not _same_items(sent.get("items") or [], found["items"]):
        differing.append("items")
    if bool(sent.get("is_void")) != bool(found.get("is_void")):
        differing.append("is_void")
    if sent.get("profile_id") and not found.get("profile_id"):
        differing.append("profile_id")
    return tuple(differing)


def _same_items(sent: list[Mapping[str, Any]], there: object) -> bool:
    found = [each for each in there if isinstance(each, dict)] if isinstance(there, list) else []
    if len(sent) != len(found):
        return False
    by_id = {item.get("external_id"): item for item in found}
    if None in by_id or len(by_id) != len(found) or not all(item.get("external_id") for item in sent):
        return True
    return all(item["external_id"] in by_id and _same_item(item, by_id[item["external_id"]]) for item in sent)


def _same_item(sent: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    both = [name for name in ("quantity", "price_sell") if name in sent and name in found]
    return all(_same_number(sent[name], found[name]) for name in both)


def _same_number(one: Any, other: Any) -> bool:
    try:
        return Decimal(str(one)) == Decimal(str(other))
    except InvalidOperation:
        return bool(one == other)
