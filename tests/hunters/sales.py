"""Sales as they happened, and what Omneo must receive of each: plain Python, nothing of the product."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

ZONE = "Australia/Melbourne"
ODD = [
    "",
    "é",
    "😀",
    'a "quoted" word',
    "a, b; c",
    "a\tb",
    "line\nbreak",
    "line\r\nbreak",
    "=1+1",
    "Ⅷ",
    "עברית",
]
ODD += [
    "back\\slash",
    "'",
    "NULL",
    "007",
    "1.20E+05",
    "a|b",
    "<b>",
    "{x}",
    "%s",
    "\u00a0wide\u00a0",
    "#no comment",
]


@dataclass(frozen=True)
class Item:
    """One line of a sale; the token stands in its title."""

    token: str
    line: int
    odd: str
    sku: str
    quantity: int
    price: Decimal

    @property
    def title(self) -> str:
        return f"{self.token} {self.odd}."


@dataclass(frozen=True)
class SalePayment:
    """One tender; the token stands in its name."""

    token: str
    amount: Decimal

    @property
    def tender(self) -> str:
        return f"CARD {self.token}"


@dataclass(frozen=True)
class Sale:
    """One transaction; the token stands in its note."""

    token: str
    shop: str
    receipt: str
    sold: datetime
    email: str
    odd: str
    items: tuple[Item, ...]
    payments: tuple[SalePayment, ...]

    @property
    def key(self) -> str:
        return f"{self.shop}-{self.receipt}"

    @property
    def note(self) -> str:
        return f"{self.token} {self.odd}."

    @property
    def total(self) -> Decimal:
        return sum((item.quantity * item.price for item in self.items), Decimal(0))

    @property
    def tokens(self) -> set[str]:
        return {self.token, *(each.token for each in (*self.items, *self.payments))}


def payload(sale: Sale, *, has_items: bool, items_have_ids: bool) -> dict[str, Any]:
    """What must be sent, items by title and payments by tender, since neither order is promised."""
    moment = sale.sold.replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
    body: dict[str, Any] = {
        "external_id": sale.key,
        "receipt_ref": sale.receipt,
        "total": sale.total,
        "transacted_at": f"{moment:%Y-%m-%d %H:%M:%S}",
        "timezone": ZONE,
        "currency": "AUD",
        "location_id": sale.shop,
        "meta": {"note": sale.note},
        "payments": sorted(({each.tender: each.amount} for each in sale.payments), key=str),
    }
    if sale.email:
        body |= {"profile_id": sale.email, "profile_id_handle": "email"}
    if has_items:
        own = [_item(sale, each, items_have_ids) for each in sale.items]
        body["items"] = sorted(own, key=lambda item: item["name"])
    return body


def _item(sale: Sale, item: Item, with_id: bool) -> dict[str, Any]:
    price = {"price_current": item.price, "price_sell": item.price}
    sent = {"name": item.title, "sku": item.sku, "quantity": Decimal(item.quantity)} | price
    return sent | ({"external_id": f"{sale.key}-{item.line}"} if with_id else {})


@st.composite
def some_sales(draw: st.DrawFn, *, several_payments: bool, most: int = 9) -> list[Sale]:
    """Sales of different keys, each of one to four items, with a token of its own in each of their parts."""
    sales: list[Sale] = []
    for at in range(draw(st.integers(1, most))):
        # A blank email is a guest; minutes go up, so that no two are at one time.
        items = tuple(
            Item(
                f"I{at:02}x{line}Z",
                line,
                draw(st.sampled_from(ODD)),
                draw(st.sampled_from(["MUG", "0012", "A-1/b", "ÄPFEL"])),
                draw(st.sampled_from([1, 1, 2, 3, -1, 10])),
                draw(st.decimals(min_value="0.01", max_value="2500", places=2)),
            )
            for line in range(1, draw(st.integers(1, 4)) + 1)
        )
        total = sum((item.quantity * item.price for item in items), Decimal(0))
        first = draw(st.sampled_from([total, Decimal("1.00")])) if several_payments else total
        amounts = [first] if first == total else [first, total - first]
        sales.append(
            Sale(
                f"H{at:02}Z",
                draw(st.sampled_from(["S1", "Nord & Süd", "007"])),
                draw(st.sampled_from(["{:03}", "A/{}", "{}é"])).format(at),
                datetime(2024, 1, 5, 10, at, 30),
                draw(st.sampled_from(["", "a.b@example.com", "ö@example.org"])),
                draw(st.sampled_from(ODD)),
                items,
                tuple(SalePayment(f"P{at:02}x{number}Z", amount) for number, amount in enumerate(amounts)),
            )
        )
    return sales
