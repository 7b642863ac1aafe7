"""Made-up receipts in the layout of `pos_lines`, and files of them."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

COLUMNS = [
    *("receipt_no", "store_code", "register", "sale_datetime", "status", "customer_email", "loyalty_card"),
    *("staff_code", "sale_total", "tender_type", "tender_amount", "line_no", "sku", "description"),
    *("quantity", "rrp", "unit_price", "tax"),
]

Row = list[str]


def receipt(
    number: object, lines: int = 2, *, store: str = "S1", price: str = "2.50", **cells: str
) -> list[Row]:
    """The rows of one sale; `cells` overrides cells of all of them."""
    total = str(Decimal(price) * lines)
    head = {
        "receipt_no": f"R{number}",
        "store_code": store,
        "register": "1",
        "sale_datetime": "11/07/2024 01:39:36",
        "status": "COMPLETED",
        "customer_email": "ann@example.com",
        "staff_code": "E1",
        "sale_total": total,
        "tender_type": "CASH",
        "tender_amount": total,
        "sku": "SKU1",
        "quantity": "1",
        "rrp": "3.00",
        "unit_price": price,
        "tax": "0.20",
    }
    return [
        [
            (head | {"line_no": str(at), "description": f"Thing {number}/{at}"} | cells).get(c, "")
            for c in COLUMNS
        ]
        for at in range(1, lines + 1)
    ]


def write_export(path: Path, rows: Sequence[Row], *, newline: str = "\n") -> Path:
    """Write rows below the header line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator=newline).writerows([COLUMNS, *rows])
    return path


def export(path: Path, receipts: int, *, shuffled: bool = False) -> Path:
    """Write an export of so many good sales, at a minute's distance; one seed, so always the same."""
    rows = [
        row
        for n in range(receipts)
        for row in receipt(
            n, 1 + n % 3, sale_datetime=f"{1 + n // 1440 % 28:02}/07/2024 {n // 60 % 24:02}:{n % 60:02}:00"
        )
    ]
    if shuffled:
        random.Random(7).shuffle(rows)
    return write_export(path, rows)
