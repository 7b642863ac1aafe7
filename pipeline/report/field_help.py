"""What helps where Omneo has a field with another value, or does not keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NARROW_QUEUE: Final = frozenset(
    {"order_number", "order_id", "external_order_id", "custom_fields", "currency_value"}
    | {"items.meta", "items.department"}
)
"""Fields that the reference of the queue does not list, and that of the batch does."""
_OF_DIFFERING: Final[Mapping[str, str]] = {
    "copies": "Omneo has it several times: void the copies in CX Manager, and send with --endpoint queue, "
    "which updates what is there.",
    "items": "Items that are there twice have no external_id: give them one in the mapping. Items that a "
    "correction left out stay there unless it replaces them.",
    "is_void": "Somebody has voided it in Omneo, or a void has not come through: ask who, or void again.",
    "profile_id": "Omneo does not know the customer, so the sale is a guest's: enrol them, then correct it.",
    "location_id": "Omneo has it in another store: compare the store's external id with the mapping.",
    "currency": "Omneo writes the currency in another way, or converts it: ask which is configured.",
    "transacted_at": "The time is another one: compare the mapping's timezone with the tenant's.",
}
_OF_ANY: Final = "Somebody has changed it in Omneo, or an earlier version is there."
_NOT_KEPT: Final = "not kept: ask Omneo whether the tenant keeps it, or leave it out of the mapping."
_NOT_KEPT_BY_QUEUE: Final = (
    "not kept: the reference of --endpoint queue does not list it, that of --endpoint batch does."
)


def help_for(differing: Mapping[str, int], not_kept: Mapping[str, int]) -> str:
    """What to do about fields, a sentence or two for each kind; empty where all agree.

    Args:
        differing: Transactions by the name of a field with another value.
        not_kept: Transactions by the name of a field without a value.
    """
    by_help: dict[str, list[str]] = {}
    for name in differing:
        by_help.setdefault(_OF_DIFFERING.get(name, _OF_ANY), []).append(name)
    if narrow := [name for name in not_kept if name in _NARROW_QUEUE]:
        by_help[_NOT_KEPT_BY_QUEUE] = narrow
    if others := [name for name in not_kept if name not in _NARROW_QUEUE]:
        by_help[_NOT_KEPT] = others
    return " ".join(f"{', '.join(sorted(names))}: {text}" for text, names in by_help.items())
