"""Sales that are shipped or delivered, and what payments say of them, run unedited."""

from pathlib import Path

import pytest

from tests.workflows.test_scaffold_evidence import DAYS, csv_of, draft_of, imported

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("paid", "shipped", "delivered", "cancelled"),
    [
        ("Paid", "Shipped", "Delivered", "Cancelled"),
        ("Bezahlt", "Versendet", "Ausgeliefert", "Storniert"),
        ("Payée", "Expédiée", "Livrée", "Annulée"),
        ("Pagado", "Enviado", "Entregado", "Cancelado"),
    ],
)
def test_shipped_sales_are_complete_and_marked(
    tmp_path: Path, paid: str, shipped: str, delivered: str, cancelled: str
) -> None:
    words = (paid, shipped, delivered, cancelled)
    rows = [(n, DAYS[n % 28], 5, words[n % 4]) for n in range(40)]
    file = csv_of(tmp_path / "a.csv", "Order No,Date,Total,Status", rows)
    text, _ = draft_of(file)
    assert "# unsure: 10, 10, 10 sales; nothing says whether sales are paid that are" in text
    assert imported(tmp_path, file) == (30, 150)


def test_what_was_paid_shows_that_shipped_sales_are_complete(tmp_path: Path) -> None:
    words = ["delivered"] * 16 + ["shipped", "processing", "canceled"]
    states = [words[n % 19] for n in range(57)]
    orders = [(f"o{n}", state, DAYS[n % 28]) for n, state in enumerate(states)]
    csv_of(tmp_path / "orders.csv", "order_id,order_status,order_date", orders)
    lines = [(f"o{n}", m, f"p{m}", 10 * m) for n in range(57) for m in (1, 2)]
    csv_of(tmp_path / "items.csv", "order_id,order_item_id,product_id,price", lines)
    paid = [(f"o{n}", "card", 30) for n, state in enumerate(states) if state != "canceled"]
    csv_of(tmp_path / "payments.csv", "order_id,payment_type,payment_value", paid)
    text, _ = draft_of(tmp_path)
    assert "complete: [delivered, processing, shipped]  # 48, 3, 3 sales; 51 of 51 sales are paid" in text
    assert imported(tmp_path, tmp_path) == (54, 1620)


def test_shipped_sales_that_are_not_paid_are_open(tmp_path: Path) -> None:
    words = [("Shipped", "Unpaid"), ("Delivered", "Paid"), ("Delivered", "Paid")]
    rows = [(n, DAYS[n % 28], 5, *words[n % 3]) for n in range(30)]
    file = csv_of(tmp_path / "a.csv", "Order No,Date,Total,Order status,Payment status", rows)
    text, _ = draft_of(file)
    assert "order_open" in text
    assert imported(tmp_path, file) == (20, 100)


def test_where_most_sales_are_not_paid_yet_a_person_is_asked(tmp_path: Path) -> None:
    rows = [
        (n, DAYS[n % 28], 5, *(("paid", DAYS[n % 28]) if n % 4 == 0 else ("pending", ""))) for n in range(40)
    ]
    text, _ = draft_of(csv_of(tmp_path / "a.csv", "Name,Created at,Total,Financial Status,Paid at", rows))
    assert "what do pending (30) mean?" in text
