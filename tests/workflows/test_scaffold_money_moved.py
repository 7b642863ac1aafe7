"""Exports of accounts into which payments go: what is no sale, run unedited."""

from pathlib import Path

import pytest

from pipeline.mapping.language.value_spec import OpenValue
from tests.workflows.test_scaffold_evidence import DAYS, csv_of, draft_of, imported

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "sale", "refund", "moved"),
    [
        ("Type", "Express Checkout Payment", "Payment Refund", ["General Withdrawal", "Account Hold"]),
        ("Type", "charge", "refund", ["payout", "stripe_fee", "reserve_transaction", "adjustment"]),
        ("Event", "Sale", "Return", ["Bank deposit", "Currency Conversion", "Dispute"]),
        ("Typ", "Zahlung", "Rückzahlung", ["Auszahlung", "Gebühr", "Währungsumrechnung"]),
        ("Type", "Paiement", "Remboursement", ["Virement", "Frais"]),
        ("Concepto", "Venta", "Devolución", ["Retiro", "Comisión"]),
        ("Tipo", "Venda", "Estorno", ["Saque", "Taxa"]),
        ("Tipo", "Pagamento", "Rimborso", ["Bonifico", "Prelievo"]),
        ("Booked as", "Payment", "Refund", ["Payout", "Fee"]),
    ],
)
def test_movements_of_money_are_no_sales(
    tmp_path: Path, name: str, sale: str, refund: str, moved: list[str]
) -> None:
    rows: list[tuple[object, ...]] = [(f"T{n:03}", DAYS[n % 28], sale, 20, -1, 19) for n in range(30)]
    rows += [(f"R{n:03}", DAYS[n], refund, -5, 0, -5) for n in range(3)]
    rows += [(f"M{n:03}", DAYS[n], moved[n % len(moved)], -100, 0, -100) for n in range(8)]
    file = csv_of(tmp_path / "a.csv", f"Transaction ID,Date,{name},Gross,Fee,Net", rows)
    text, _ = draft_of(file)
    assert f"# unsure: 8 sales: by `{name}` they move money" in text
    assert imported(tmp_path, file) == (33, 585)


def test_a_type_that_nothing_is_known_of_is_open(tmp_path: Path) -> None:
    words = ["Payment"] * 8 + ["Payout", "Zork"]
    rows = [(f"T{n:03}", DAYS[n % 28], words[n % 10], 20) for n in range(30)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "Transaction ID,Date,Type,Amount", rows))
    assert spec.completion is not None
    assert isinstance(spec.completion.status, OpenValue)
    assert "are Zork (3) of `Type` sales?" in spec.completion.status.open


def test_payments_that_were_sent_are_no_sales(tmp_path: Path) -> None:
    words = ["Website Payment"] * 6 + ["Subscription Payment", "Withdrawal"]
    rows = [(f"T{n:03}", DAYS[n % 28], words[n % 8], "Completed", 20 if n % 8 < 6 else -7) for n in range(32)]
    file = csv_of(tmp_path / "a.csv", "Transaction ID,Date,Type,Status,Gross", rows)
    assert imported(tmp_path, file) == (24, 480)


def test_an_export_of_payouts_alone_is_open(tmp_path: Path) -> None:
    rows = [(f"T{n:03}", DAYS[n % 28], "Payout", 20 + n) for n in range(30)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "Transaction ID,Date,Type,Amount", rows))
    assert isinstance(spec.transaction["external_id"], OpenValue)


def test_ways_to_pay_are_no_movements_of_money(tmp_path: Path) -> None:
    words = ["Bank transfer", "Card", "Invoice"]
    rows = [(f"T{n:03}", DAYS[n % 28], words[n % 3], 20) for n in range(30)]
    file = csv_of(tmp_path / "a.csv", "Order No,Date,Payment type,Total", rows)
    assert imported(tmp_path, file) == (30, 600)


def test_currencies_in_lower_case_are_read(tmp_path: Path) -> None:
    rows = [(f"T{n:03}", DAYS[n % 28], 20, ["usd", "eur"][n % 2]) for n in range(30)]
    file = csv_of(tmp_path / "a.csv", "Transaction ID,Date,Amount,Currency", rows)
    text, _ = draft_of(file)
    assert "currency: {column: Currency, then: [upper]}" in text
    assert imported(tmp_path, file) == (30, 600)


def test_rows_that_move_money_for_an_order_are_left_out_of_it(tmp_path: Path) -> None:
    sold = [(DAYS[n], "Order", f"o{n}", 1, 10, 2, 12) for n in range(20)]
    fees = [
        (DAYS[n + 1], kind, f"o{n}", "", "", "", -1) for n in range(20) for kind in ("Shipping label", "Hold")
    ]
    paid = [(DAYS[9], "Payout", "", "", "", "", -50), (DAYS[21], "Refund", "o3", "", "", "", -12)]
    names = "Transaction date,Type,Order number,Quantity,Item subtotal,Shipping and handling,Gross amount"
    file = csv_of(tmp_path / "a.csv", names, sorted([*sold, *fees, *paid]))
    text, spec = draft_of(file)
    assert spec.source.key == ("Type", "Order number")
    assert "# unsure: by `Type` 41 rows move money and sell nothing" in text
    assert imported(tmp_path, file) == (21, 20 * 12 - 12)
    other = csv_of(
        tmp_path / "b.csv", names, sorted([*sold, *fees, (DAYS[9], "Sundry", "o1", "", "", "", -9)])
    )
    assert "{open: " in draft_of(other)[0]
