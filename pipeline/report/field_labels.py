"""Omneo's fields in words, for people who read a report and write no mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_LABELS: Final[Mapping[str, str]] = {
    "external_id": "Id of the sale",
    "total": "Total",
    "transacted_at": "Time of the sale",
    "timezone": "Time zone",
    "receipt_ref": "Receipt number",
    "profile_id": "Customer",
    "profile_id_handle": "Kind of customer id",
    "location_id": "Store",
    "staff_id": "Staff",
    "currency": "Currency",
    "total_original": "Total before discounts",
    "tender": "Paid with",
    "payments": "Payments",
    "is_void": "Void",
    "redemption_id": "Redemption",
    "order_id": "Order in Omneo",
    "external_order_id": "Id of the order",
    "order_number": "Order number",
    "linked_receipt_ref": "Receipt that is returned",
    "receipt_is_email": "Receipt by email",
    "receipt_email": "Address of the receipt",
    "deliver_at": "Delivery date",
    "meta": "Other values",
    "custom_fields": "Custom fields",
    "currency_value": "Conversion",
    "items": "Items",
    "copies": "More than one copy",
    "items.external_id": "Id of the line",
    "items.name": "Product",
    "items.quantity": "Pieces",
    "items.price_current": "List price",
    "items.price_sell": "Price paid",
    "items.price_original": "Recommended price",
    "items.price_margin": "Margin",
    "items.price_tax": "Tax",
    "items.sku": "Article number (SKU)",
    "items.product_variant_id": "Variant in Omneo",
    "items.product_variant_sku": "SKU of the variant",
    "items.variant_external_id": "Id of the variant",
    "items.product_variant": "Variant",
    "items.is_void": "Line is void",
}


def field_label(name: str, level: str = "transaction") -> str:
    """What a field is called in a report: its own words, or its name without underscores.

    Args:
        name: As in the API; a field of items may have `items.` before it.
        level: `item` where the name is one of items without that.
    """
    full = f"items.{name}" if level == "item" else name
    words = name.removeprefix("items.").replace("_", " ")
    return _LABELS.get(full, words[:1].upper() + words[1:])
