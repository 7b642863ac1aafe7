"""What was sent beside what Omneo answers, field by field: what `confirm` reports to people.

Every field that was sent is compared by value with what the answer has for it: numbers as decimals, times as
instants, text without surrounding blanks, emails without letter case, items by their external id. Whether a
doubt is settled after a crash is another question; see `pipeline.loading.confirm.same_sale`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Kind
from pipeline.core.text.wording import count
from pipeline.loading.confirm.same_sale import decimal_of, is_void
from pipeline.loading.http.strict_json import parsed


class Kept(Enum):
    """How a field that was sent stands in an answer."""

    SAME = "same"  # also where the answer gives no way to tell, such as an id of Omneo's own
    DIFFERENT = "different"
    LACKING = "lacking"  # there is no value for it


@dataclass(frozen=True)
class Difference:
    """A field whose value in Omneo is another one.

    Attributes:
        path: Of the field in the body that was sent, such as `items.0.price_sell`.
        found: Omneo's value.
    """

    path: str
    found: Any

    @property
    def field(self) -> str:
        """The field without the item's place, such as `items.price_sell`."""
        return ".".join(part for part in self.path.split(".") if not part.isdecimal())


@dataclass(frozen=True)
class Comparison:
    """A transaction that was sent beside Omneo's.

    Attributes:
        differences: Fields with another value, in the order of the body; an item's after the header's.
        lacking: Names of fields that were sent and for which the answer has no value.
    """

    differences: tuple[Difference, ...] = ()
    lacking: frozenset[str] = frozenset()

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that differ, each once, in their order."""
        return tuple(dict.fromkeys(each.field for each in self.differences))


def compare_fields(
    body: bytes, found: Mapping[str, Any], *, void: bool = False, in_list: bool = False
) -> Comparison:
    """Compare a transaction with what was sent of it.

    A guest sale may have gained a customer since: customers claim them. A customer that was sent must be
    there; their id is Omneo's own by then, and is compared where the answer shows whose it is.

    Args:
        body: As it was staged.
        found: Omneo's transaction, its numbers as decimals.
        void: Whether it was sent as void since.
        in_list: Whether this is a row of a list, which may leave fields out: then an empty total, customer or
            list of items is lacking. A transaction of its own that has them empty differs.
    """
    sent = parsed(body)
    differences: list[Difference] = []
    lacking: set[str] = set()
    for name, value in sent.items():
        if name in _NOT_COMPARED or _is_equal(value, found.get(name)) or _is_empty(value):
            continue
        kept = _kept_in_header(name, value, sent, found)
        if kept is Kept.LACKING and name in _NEVER_EMPTY and name in found and not in_list:
            kept = Kept.DIFFERENT
        _note(name, kept, found.get(name), differences, lacking)
    if (void or _truth(sent.get("is_void"))) != is_void(found):
        if "is_void" in found and not (in_list and found["is_void"] is None):
            differences.append(Difference("is_void", found["is_void"]))
        else:
            lacking.add("is_void")
    _compare_items(sent.get("items") or [], found, differences, lacking, in_list=in_list)
    return Comparison(tuple(differences), frozenset(lacking))


_NOT_COMPARED: Final = frozenset({"external_id", "items", "is_void", "delete_existing_items"})
"""The key of the query, fields that are compared in their own way, and an instruction."""
_INSTRUCTIONS: Final = frozenset({"profile_id_handle"})
"""Says how another field is meant, so an answer need not have it."""
_NEVER_EMPTY: Final = frozenset({"total", "profile_id"})
"""A sale without these is another sale: one that is worth nothing, or a guest's."""
_OBJECTS: Final[Mapping[str, str]] = {
    "profile_id": "profile",
    "location_id": "location",
    "staff_id": "staff",
    "redemption_id": "redemption",
    "order_id": "order",
    "product_variant_id": "product_variant",
    "product_variant_sku": "product_variant",
    "variant_external_id": "product_variant",
}
"""Where an answer shows what a reference was resolved to."""
_NAMES: Final = ("id", "external_id", "handle", "identifier", "code", "sku", "email", "name")
"""The fields by which such an object may have been named."""
_BECOME_OTHER_IDS: Final = frozenset({"location_id", "profile_id"})
"""References to which Omneo gives its own id (documented), so another value alone proves nothing."""
_MAY_HAVE_MORE: Final = frozenset({"tags", "systems", "custom_fields"})
"""Lists to which a tenant's own automations add."""


def _note(path: str, kept: Kept, value: Any, differences: list[Difference], lacking: set[str]) -> None:
    if kept is Kept.DIFFERENT:
        differences.append(Difference(path, value))
    elif kept is Kept.LACKING:
        lacking.add(Difference(path, None).field)


def _kept_in_header(name: str, value: Any, sent: Mapping[str, Any], found: Mapping[str, Any]) -> Kept:
    if name in _INSTRUCTIONS and found.get(name) is None:
        return Kept.SAME
    if name == "profile_id":
        return _kept_customer(str(value), str(sent.get("profile_id_handle") or ""), found)
    return _kept(name, value, found, _kind_of(TRANSACTION_FIELDS, name))


def _kind_of(fields: Mapping[str, Any], name: str) -> Kind | None:
    known = fields.get(name)
    return known.kind if known else None


def _kept(name: str, value: Any, found: Mapping[str, Any], kind: Kind | None) -> Kept:
    """How a field of a header or an item stands in an answer."""
    if name in _OBJECTS:
        return _kept_reference(name, str(value), found)
    there = found.get(name)
    if there is None:
        return Kept.LACKING
    if kind in (Kind.STRINGS, Kind.PAYMENTS, Kind.OBJECTS):
        return _kept_in_any_order(value, there, may_have_more=name in _MAY_HAVE_MORE)
    if kind is Kind.DATETIME:
        instant = instant_of(there)
        return _either(_same_text(value, there) if instant is None else instant_of(value) == instant)
    if kind is Kind.STRING and isinstance(there, Mapping):
        return _either(any(_same_text(value, there.get(key)) for key in _NAMES))
    return _kept_value(value, there, as_text=kind is Kind.STRING)


def _either(same: bool) -> Kept:
    return Kept.SAME if same else Kept.DIFFERENT


def _kept_value(sent: Any, found: Any, *, as_text: bool = False) -> Kept:
    """How an answer kept a value; further members of an object do not matter."""
    if _is_empty(sent):
        return Kept.SAME
    if _is_empty(found):
        return Kept.LACKING
    if isinstance(sent, Mapping) and isinstance(found, Mapping):
        return _worst(_kept_value(value, found.get(name)) for name, value in sent.items())
    if isinstance(sent, list) and isinstance(found, list):
        if len(sent) != len(found):
            return Kept.DIFFERENT
        return _worst(map(_kept_value, sent, found))
    if isinstance(sent, Mapping | list) or isinstance(found, Mapping | list):
        return Kept.DIFFERENT
    if isinstance(sent, bool):
        return _either(sent == _truth(found))
    if as_text or isinstance(sent, str):
        return _either(_same_text(sent, found))
    return _either(decimal_of(sent) == decimal_of(found))


def _worst(each: Iterator[Kept]) -> Kept:
    found = set(each)
    return next((kept for kept in (Kept.DIFFERENT, Kept.LACKING) if kept in found), Kept.SAME)


def _kept_in_any_order(sent: Any, found: Any, *, may_have_more: bool) -> Kept:
    if not isinstance(found, list):
        # The form of the answer is not documented; that it holds something else is not known.
        return Kept.SAME if isinstance(found, Mapping) else Kept.DIFFERENT
    if not found:
        return Kept.LACKING
    if not may_have_more and len(found) != len(sent):
        return Kept.DIFFERENT
    return _either(_all_are_in(sent, found, _is_kept_entry))


def _is_kept_entry(sent: Any, found: Any) -> bool:
    """Whether an entry of a list is the one that was sent; a name may have become an object."""
    if isinstance(sent, str) and isinstance(found, Mapping):
        names = [_slug(found[key]) for key in (*_NAMES, "tender") if found.get(key) is not None]
        return _slug(sent) in names
    return _kept_value(sent, found) is not Kept.DIFFERENT


def _slug(text: Any) -> str:
    """A name as back-ends make handles of it."""
    return re.sub(r"[\W_]+", "-", str(text).casefold()).strip("-")


def _all_are_in(sent: Sequence[Any], found: Sequence[Any], same: Callable[[Any, Any], bool]) -> bool:
    """Whether each of those sent has its own match among those found."""
    left = list(found)
    for each in sent:
        at = next((n for n, other in enumerate(left) if same(each, other)), None)
        if at is None:
            return False
        del left[at]
    return True


def _kept_reference(name: str, sent: str, found: Mapping[str, Any]) -> Kept:
    there, shown = found.get(name), found.get(_OBJECTS[name])
    if there is not None and _same_text(sent, there):
        return Kept.SAME
    # An id of Omneo's own stands for what was named, and the object says by which names it goes.
    shown = shown if isinstance(shown, Mapping) else {}
    names = [shown[key] for key in _NAMES if shown.get(key)]
    if there is None:
        return Kept.SAME if any(_same_text(sent, each) for each in names) else Kept.LACKING
    if names and _same_text(there, shown.get("id")):
        return _either(any(_same_text(sent, each) for each in names))
    return Kept.SAME if name in _BECOME_OTHER_IDS else Kept.DIFFERENT


def _kept_customer(sent: str, handle: str, found: Mapping[str, Any]) -> Kept:
    there, shown = found.get("profile_id"), found.get("profile")
    if there in (None, ""):
        return Kept.LACKING
    if _same_text(sent, there):
        return Kept.SAME
    if isinstance(shown, Mapping) and handle == "email" and shown.get("email"):
        return _either(_same_text(sent, shown["email"]))
    comparable = (_is_uuid(sent) and _is_uuid(there)) or ("@" in sent and "@" in str(there))
    return _either(not comparable)


def _compare_items(
    sent: Sequence[Mapping[str, Any]],
    found: Mapping[str, Any],
    differences: list[Difference],
    lacking: set[str],
    *,
    in_list: bool,
) -> None:
    there = found.get("items")
    if "items" not in found or (in_list and not there):
        if sent:
            lacking.add("items")
        return
    items = [each for each in there if isinstance(each, Mapping)] if isinstance(there, list) else []
    if len(items) != len(sent):
        differences.append(Difference("items", count(len(items), "item")))
        return
    by_id = {str(item.get("external_id") or "").strip(): item for item in items}
    if "" in by_id or len(by_id) != len(items) or not all(item.get("external_id") for item in sent):
        if not _all_are_in(sent, items, _is_kept_item):
            differences.append(Difference("items", "other items"))
        return
    for place, item in enumerate(sent):
        other = by_id.get(str(item["external_id"]).strip())
        if other is None:
            differences.append(Difference(f"items.{place}", "no such item"))
            continue
        for name, kept in _kept_in_item(item, other):
            _note(f"items.{place}.{name}", kept, other.get(name), differences, lacking)


def _kept_in_item(sent: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, Kept]]:
    for name, value in sent.items():
        if name == "external_id" or _is_equal(value, found.get(name)) or _is_empty(value):
            continue
        yield name, _kept(name, value, found, _kind_of(ITEM_FIELDS, name))


def _is_kept_item(sent: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return all(kept is not Kept.DIFFERENT for _, kept in _kept_in_item(sent, found))


def _is_equal(sent: Any, found: Any) -> bool:
    """Whether two values are equal as they stand, as nearly all are: then no other comparison is needed."""
    # Python takes 1 and true for equal.
    if sent.__class__ is not found.__class__:
        return False
    if sent.__class__ is list:
        return len(sent) == len(found) and all(map(_is_equal, sent, found))
    return sent.__class__ is not dict and bool(sent == found)


def _is_empty(value: Any) -> bool:
    """Whether a value says nothing; PHP writes an empty object as an empty list."""
    return value is None or (isinstance(value, str | list | Mapping) and not value)


def _truth(value: Any) -> bool:
    return bool(value) and str(value).lower() not in ("0", "false")


def _same_text(one: Any, other: Any) -> bool:
    """Whether two texts are the same; an answer may have a number for a text."""
    texts = [str(each).strip() for each in (one, other)]
    if all("@" in text for text in texts):
        texts = [text.casefold() for text in texts]
    return texts[0] == texts[1]


def _is_uuid(value: Any) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def instant_of(value: Any) -> datetime | None:
    """The moment that a text means, to the second; UTC where it says no offset. None where it is no time."""
    try:
        time = datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    # Omneo's times have no fractions of a second.
    return time.astimezone(UTC).replace(microsecond=0)
