"""A sale as it was sent, and as Omneo has it: the same, spelled otherwise."""

from __future__ import annotations

from typing import Any

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
