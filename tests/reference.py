"""What `mappings/pos_lines.yaml` must give, computed the slow and obvious way, row by row.

It shares nothing with the product: the standard library's csv, decimal and zoneinfo only.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Australia/Melbourne")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
DROPS = {"DRAFT": "draft", "PARKED": "draft", "LAYBY": "partially_paid"}
HEADER = [
    *("receipt_no", "store_code", "register", "sale_datetime", "status", "customer_email", "loyalty_card"),
    *("staff_code", "sale_total", "tender_type", "tender_amount"),
]


@dataclass
class Right:
    """What the reference found: bodies and reasons by external id, and the summary's counts."""

    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, set[str]] = field(default_factory=dict)
    first_lines: dict[str, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    ambiguous: int = 0
    guests: int = 0
    rows: int = 0
    malformed: list[int] = field(default_factory=list)
    duplicates: int = 0
    transactions: Counter[str] = field(default_factory=Counter)
    total: Decimal = Decimal(0)


def expected(path: Path, now: datetime, *more: Path) -> Right:
    """Judge files, of which the later ones were written later."""
    found = Right()
    receipts: dict[tuple[str, ...], dict[int, list[dict[str, str]]]] = {}
    lost: dict[tuple[str, ...], set[int]] = {}
    for number, file in enumerate([path, *more]):
        for line, cells, names in _rows(file):
            found.rows += 1
            key = (cells[1], cells[2], cells[0]) if len(cells) > 2 else ()
            if len(cells) != len(names):
                found.malformed.append(line)
                lost.setdefault(key, set()).add(number)
                continue
            found.first_lines.setdefault("-".join(key), line)
            row = dict(zip(names, cells, strict=True))
            receipts.setdefault(key, {}).setdefault(number, []).append(row)
    for key, files in receipts.items():
        _judge_files(key, files, lost.get(key, set()), now, found)
    return found


def _judge_files(
    key: tuple[str, ...],
    files: dict[int, list[dict[str, str]]],
    lost: set[int],
    now: datetime,
    found: Right,
) -> None:
    """Choose among the files that hold a receipt, then judge it."""
    later = {number: [row for n in files if n > number for row in files[n]] for number in files}
    older = {n for n in files if any(_shared(row, other) for row in files[n] for other in later[n])}
    changed = any(row not in later[n] for n in older for row in files[n])
    times = [when for rows in files.values() if (when := _when(rows[0]["sale_datetime"], now, set())[0])]
    apart = changed and max(times, default=now) - min(times, default=now) > timedelta(hours=12)
    left = set(files) if apart else set(files) - older
    codes = set()
    if len(left) > 1:
        together = [row for n in sorted(left) for row in files[n]]
        alone, every = _agrees(files[max(left)]), _agrees(together)
        if apart or alone == every:
            codes.add("in_several_files")
        elif alone:
            left = {max(left)}
    rows: list[dict[str, str]] = []
    for number in sorted(left):
        rows += [row for n, row in enumerate(files[number]) if row not in [*files[number][:n], *rows]]
    if lost - (set(files) - left):
        codes.add("row_lost")
    found.duplicates += sum(map(len, files.values())) - len(rows)
    _judge("-".join(key), rows, codes, now, found)


def _shared(row: dict[str, str], other: dict[str, str]) -> bool:
    return row == other or (row["line_no"].strip() == other["line_no"].strip() != "")


def _agrees(rows: list[dict[str, str]]) -> bool:
    distinct = [row for n, row in enumerate(rows) if row not in rows[:n]]
    total, quantities = _decimal(rows[0]["sale_total"]), [_integer(row["quantity"]) for row in distinct]
    if total is None or None in quantities or len({row["sale_total"] for row in rows}) > 1:
        return False
    worth = sum(Decimal(row["unit_price"]) * q for row, q in zip(distinct, quantities, strict=True) if q)
    return abs(total - worth) <= Decimal("0.05")


def _rows(path: Path) -> list[tuple[int, list[str], list[str]]]:
    reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
    names = next(reader)
    rows, line = [], reader.line_num + 1
    for cells in reader:
        if cells:
            rows.append((line, cells, names))
        line = reader.line_num + 1
    return rows


def _judge(
    external_id: str, rows: list[dict[str, str]], codes: set[str], now: datetime, found: Right
) -> None:
    head = rows[0]
    if code := DROPS.get(head["status"]):
        return _settle(external_id, "dropped", {code}, found)
    rejects = codes | _of_lines(rows)
    if any(row[name] != head[name] for row in rows for name in HEADER):
        rejects.add("header_conflict")
    when, ambiguous = _when(head["sale_datetime"], now, rejects)
    total = _decimal(head["sale_total"])
    if total is None:
        rejects.add("total_invalid" if head["sale_total"] else "total_missing")
    quantities = [_integer(row["quantity"]) for row in rows]
    if None in quantities:
        rejects.add("quantity_invalid")
    elif total is not None:
        worth = sum(Decimal(row["unit_price"]) * q for row, q in zip(rows, quantities, strict=True) if q)
        if abs(total - worth) > Decimal("0.05"):
            rejects.add("total_mismatch")
    if head["customer_email"] and not EMAIL.fullmatch(head["customer_email"]):
        rejects.add("profile_invalid")
    if rejects:
        return _settle(external_id, "rejected", rejects, found)
    assert total is not None
    assert when is not None
    paid = _decimal(head["tender_amount"])
    if head["status"] == "COMPLETED" and paid is not None and total - paid > Decimal("0.05"):
        return _settle(external_id, "dropped", {"partially_paid"}, found)
    found.ambiguous += ambiguous
    found.guests += not (head["customer_email"] or head["loyalty_card"])
    found.total += total
    found.transactions["accepted"] += 1
    found.bodies[external_id] = _body(external_id, rows, when, total)
    return None


def _of_lines(rows: list[dict[str, str]]) -> set[str]:
    return {"item_external_id_conflict"} if len({row["line_no"] for row in rows}) < len(rows) else set()


def _settle(external_id: str, outcome: str, codes: set[str], found: Right) -> None:
    found.transactions[outcome] += 1
    (found.dropped if outcome == "dropped" else found.rejected).update(codes)
    found.reasons[external_id] = codes


def _when(text: str, now: datetime, rejects: set[str]) -> tuple[datetime | None, bool]:
    if not text:
        rejects.add("transacted_at_missing")
        return None, False
    try:
        local = datetime.strptime(text, "%d/%m/%Y %H:%M:%S")
    except ValueError:
        rejects.add("transacted_at_invalid")
        return None, False
    first = local.replace(tzinfo=ZONE)
    utc = first.astimezone(UTC)
    if utc.astimezone(ZONE).replace(tzinfo=None) != local:
        rejects.add("transacted_at_nonexistent")
        return None, False
    if utc > now + timedelta(minutes=15):
        rejects.add("transacted_at_future")
    return utc, first.utcoffset() != first.replace(fold=1).utcoffset()


def _body(external_id: str, rows: list[dict[str, str]], when: datetime, total: Decimal) -> dict[str, Any]:
    head = rows[0]
    body: dict[str, Any] = {
        "external_id": external_id,
        "receipt_ref": head["receipt_no"],
        "transacted_at": when.strftime("%Y-%m-%d %H:%M:%S"),
        "timezone": "Australia/Melbourne",
        "location_id": head["store_code"],
        "staff_id": head["staff_code"],
        "currency": "AUD",
        "total": total,
        "total_original": sum((Decimal(row["quantity"]) * Decimal(row["rrp"]) for row in rows), Decimal(0)),
        "payments": [head["tender_type"]],
        "items": [
            {
                "external_id": f"{external_id}-{row['line_no']}",
                "name": row["description"],
                "sku": row["sku"],
                "quantity": int(row["quantity"]),
                "price_original": Decimal(row["rrp"]),
                "price_current": Decimal(row["rrp"]),
                "price_sell": Decimal(row["unit_price"]),
                "price_tax": Decimal(row["tax"]),
            }
            for row in rows
        ],
    }
    if head["status"] == "VOID":
        body["is_void"] = True
    if head["customer_email"]:
        body |= {"profile_id": head["customer_email"], "profile_id_handle": "email"}
    elif head["loyalty_card"]:
        body |= {"profile_id": head["loyalty_card"], "profile_id_handle": "loyalty-card"}
    return body


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
