"""A plain Python loop over the rows, standard library only, without quarantine, lineage or report.

python csv_loop.py SOURCE.csv OUT.jsonl
"""

import csv
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

MELBOURNE = ZoneInfo("Australia/Melbourne")
TAKEN = ("COMPLETED", "REFUND", "VOID")


def item(row: dict[str, str], receipt_id: str) -> dict[str, object]:
    return {
        "name": row["description"],
        "quantity": int(row["quantity"]),
        "price_current": float(row["rrp"]),
        "price_sell": float(row["unit_price"]),
        "external_id": f"{receipt_id}-{row['line_no']}",
        "price_original": float(row["rrp"]),
        "price_tax": float(row["tax"]),
        "sku": row["sku"],
    }


def transaction(receipt_id: str, rows: list[dict[str, str]]) -> dict[str, object] | None:
    row = rows[0]
    total = Decimal(row["sale_total"])
    if row["status"] not in TAKEN or (row["status"] == "COMPLETED" and Decimal(row["tender_amount"]) < total):
        return None
    local = datetime.strptime(row["sale_datetime"], "%d/%m/%Y %H:%M:%S").replace(tzinfo=MELBOURNE)
    body: dict[str, object] = {
        "external_id": receipt_id,
        "total": float(total),
        "transacted_at": f"{local.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "timezone": "Australia/Melbourne",
        "receipt_ref": row["receipt_no"],
        "location_id": row["store_code"],
        "staff_id": row["staff_code"],
        "currency": "AUD",
        "total_original": float(sum(int(each["quantity"]) * Decimal(each["rrp"]) for each in rows)),
        "payments": [row["tender_type"]],
        "items": [item(each, receipt_id) for each in rows],
    }
    if row["customer_email"] or row["loyalty_card"]:
        body["profile_id"] = row["customer_email"] or row["loyalty_card"]
        body["profile_id_handle"] = "email" if row["customer_email"] else "loyalty-card"
    if row["status"] == "VOID":
        body["is_void"] = True
    return body


def main() -> None:
    source, out = sys.argv[1:]
    receipts: dict[str, list[dict[str, str]]] = {}
    with Path(source).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            receipts.setdefault(f"{row['store_code']}-{row['register']}-{row['receipt_no']}", []).append(row)
    bodies = [body for each, rows in receipts.items() if (body := transaction(each, rows)) is not None]
    bodies.sort(key=lambda body: (body["transacted_at"], body["external_id"]))
    with Path(out).open("w", encoding="utf-8") as file:
        for body in bodies:
            file.write(json.dumps(body, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
