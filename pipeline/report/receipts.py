"""A sale as its customer knows it: what a receipt shows, from the request body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pipeline.report.formatting import grouped
from pipeline.report.summary import decimal_text

MOST_ITEMS: Final = 12
"""Items that are shown."""


@dataclass(frozen=True)
class ReceiptLine:
    """An item: its name, pieces and price for one, as texts; empty where it has none."""

    name: str
    pieces: str
    price: str


@dataclass(frozen=True)
class Receipt:
    """What a receipt shows, all as text; empty where the sale has none.

    Attributes:
        store: Its store.
        time: Local time; UTC where `is_local` is False.
        is_local: Whether the time is local.
        zone: The time zone.
        number: The number of the receipt, or else the id of the sale.
        lines: Its first items.
        more_lines: How many items are not shown.
        total: What was paid in all.
        currency: Its currency.
        paid_by: The tenders, with their amounts where those are sent.
        customer: Whose it is.
        is_void: Whether the sale is void.
        rows: The source rows: file, line and cells by column.
        more_rows: How many rows are not shown.
        columns: The columns of the rows.
    """

    store: str
    time: str
    is_local: bool
    zone: str
    number: str
    lines: Sequence[ReceiptLine]
    more_lines: int
    total: str
    currency: str
    paid_by: str
    customer: str
    is_void: bool
    rows: Sequence[Mapping[str, Any]]
    more_rows: int
    columns: Sequence[str]


def receipt_of(sample: Mapping[str, Any]) -> Receipt:
    """The receipt of a sample of the view, masked as that is."""
    body = sample["body"]
    items = body.get("items")
    items = [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    return Receipt(
        store=_text(body, "location_id"),
        time=sample["local"] or _text(body, "transacted_at"),
        is_local=sample["local"] is not None,
        zone=_text(body, "timezone"),
        number=_text(body, "receipt_ref", "external_id"),
        lines=[_line(item) for item in items[:MOST_ITEMS]],
        more_lines=max(0, len(items) - MOST_ITEMS),
        total=_amount(body.get("total")),
        currency=_text(body, "currency"),
        paid_by=_tenders(body.get("payments")),
        customer=_text(body, "profile_id"),
        is_void=bool(body.get("is_void")),
        rows=sample["rows"],
        more_rows=sample["more_rows"],
        columns=[*dict.fromkeys(name for row in sample["rows"] for name in row["cells"])],
    )


def _line(item: Mapping[str, Any]) -> ReceiptLine:
    price = item.get("price_sell", item.get("price_current"))
    return ReceiptLine(_text(item, "name", "sku"), _text(item, "quantity"), _amount(price))


def _text(values: Mapping[str, Any], *names: str) -> str:
    """The first of several values that is there; empty where none is."""
    return next((str(values[name]) for name in names if values.get(name) is not None), "")


def _amount(value: Any) -> str:
    """An amount with its cents; anything but a number stays as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return grouped(decimal_text(Decimal(str(value))))
    return "" if value is None else str(value)


def _tenders(payments: Any) -> str:
    """`CASH 10.00, VISA`, from `["VISA"]` or `[{"CASH": 10.0}]`."""
    each = payments if isinstance(payments, list) else [payments] if payments else []
    return ", ".join(
        ", ".join(f"{name} {_amount(amount)}" for name, amount in one.items())
        if isinstance(one, Mapping)
        else str(one)
        for one in each
    )
