"""Whether rows are sales at all, which rows and files are, and what amounts that repeat are of."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.workflows.test_scaffold_evidence import DAYS, csv_of, draft_of, imported, is_open

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("loan_id,date,amount", "whether these are sales, since their number is `loan_id`"),
        ("id,data,receita,despesa", "`despesa` names something else"),
        ("transaction_id,date,amount,is_fraud", "`is_fraud` names something else"),
        ("id,date,amount", "no name says so"),
    ],
)
def test_records_with_an_amount_are_not_taken_for_sales(tmp_path: Path, header: str, said: str) -> None:
    rows = [(n, DAYS[n], 5 + n, n % 2) for n in range(24)]
    file = csv_of(tmp_path / "a.csv", header, [row[: header.count(",") + 1] for row in rows])
    _, spec = draft_of(file)
    assert is_open(spec, "total", said)


def test_a_number_of_orders_says_that_rows_are_sales(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], 5 + n, 1) for n in range(24)]
    file = csv_of(tmp_path / "a.csv", "id_pedido,data,valor,outras_despesas", rows)
    assert imported(tmp_path, file) == (24, sum(row[2] for row in rows))


def test_a_file_of_staff_does_not_stop_a_draft(tmp_path: Path) -> None:
    csv_of(tmp_path / "staff.csv", "EMPLOYEE_ID,HIRE_DATE,PHONE", [(n, DAYS[n], f"5{n}") for n in range(9)])
    rows = [(f"R{n // 2}", DAYS[n // 2], f"P{n % 5}", 2, 5) for n in range(40)]
    csv_of(tmp_path / "orders.csv", "Order ID,Order Date,Product,Quantity,Price", rows)
    assert imported(tmp_path, tmp_path) == (20, 400)


def test_attempts_without_a_number_are_no_lines_of_the_payment_above(tmp_path: Path) -> None:
    paid = [(f"ch_{n}", f"{DAYS[n]} 10:{n:02}:07", 5, "Paid") for n in range(9)]
    failed = [("", f"{DAYS[n]} 11:{n:02}:09", 5, "requires_payment_method") for n in range(9)]
    rows = [row for pair in zip(paid, failed, strict=True) for row in pair]
    file = csv_of(tmp_path / "a.csv", "Payment ID,Created,Amount,Status", rows)
    text, _ = draft_of(file)
    assert "# unsure: 9 rows without `Payment ID` are requires_payment_method by `Status`" in text
    assert imported(tmp_path, file) == (9, 45)


def test_a_discount_comes_off_the_price_of_a_table_of_products(tmp_path: Path) -> None:
    goods = [(f"P{n}", f"Tea {n}", 100 + n) for n in range(5)]
    csv_of(tmp_path / "products.csv", "product_id,product_name,price", goods)
    rows = [(n, DAYS[n % 28], f"P{n % 5}", 2, (n % 3) * 10) for n in range(40)]
    csv_of(tmp_path / "orders.csv", "order_id,order_date,product_id,quantity,discount_pct", rows)
    worth = Decimal(sum((100 + n % 5) * 2 * (100 - n % 3 * 10) for n in range(40))) / 100
    assert imported(tmp_path, tmp_path) == (40, worth)


def test_lines_may_call_the_number_of_a_table_by_a_shorter_name(tmp_path: Path) -> None:
    goods = [(100 + n, f"Tea {n}", n + 1) for n in range(5)]
    csv_of(tmp_path / "menu.csv", "menu_item_id,item_name,price", goods)
    rows = [(n, n // 2, f"{DAYS[n // 2]} 10:00", 100 + n % 5, 1) for n in range(40)]
    csv_of(tmp_path / "lines.csv", "line_id,order_id,order_date,item_id,quantity", rows)
    assert imported(tmp_path, tmp_path) == (20, sum(n % 5 + 1 for n in range(40)))


def test_revenue_that_all_rows_of_a_sale_have_may_be_that_of_each_row(tmp_path: Path) -> None:
    rows = [(n // 2, DAYS[n // 2], f"P{n}", 5 + n // 2) for n in range(40)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "order_id,order_date,product_id,revenue", rows))
    assert is_open(spec, "total", "is that of a sale (290.00) or of each of its rows (580.00)")


def test_tax_beside_an_amount_of_sales_is_asked_for(tmp_path: Path) -> None:
    rows = [(f"S{n // 2}", DAYS[n // 2], f"P{n}", 1, 50 + n, 50 + n, (50 + n) * 0.08) for n in range(40)]
    names = "OrderNumber,OrderDate,ProductKey,Quantity,UnitPrice,SalesAmount,TaxAmt"
    _, spec = draft_of(csv_of(tmp_path / "a.csv", names, rows))
    assert is_open(spec, "total", "whether `SalesAmount` holds `TaxAmt`")


def test_what_was_paid_back_is_asked_for(tmp_path: Path) -> None:
    rows = [(f"ch_{n}", DAYS[n], 5, 5 if n == 3 else 0, "Paid") for n in range(24)]
    file = csv_of(tmp_path / "a.csv", "Payment ID,Created,Amount,Amount Refunded,Status", rows)
    _, spec = draft_of(file)
    assert is_open(spec, "total", "whether `Amount Refunded` of 1 sale (5.00) comes off the total")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("partially_refunded", "`Refunded Amount` of 1 sale (3.00) is not taken off the total"),
        ("refunded", ""),
    ],
)
def test_a_status_that_says_refunded_settles_what_was_paid_back(
    tmp_path: Path, status: str, said: str
) -> None:
    rows = [(f"#{n}", DAYS[n], 5, 3 if n == 3 else 0, status if n == 3 else "paid") for n in range(24)]
    file = csv_of(tmp_path / "a.csv", "Order Name,Created at,Total,Refunded Amount,Financial Status", rows)
    text, spec = draft_of(file)
    assert not is_open(spec, "total", "whether")
    assert said in text
    assert bool(said) == ("is not taken off" in text)


def test_a_way_of_shipping_is_no_amount(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], n % 3 + 1, 5 + n) for n in range(24)]
    file = csv_of(tmp_path / "a.csv", "IdPedido,FechaPedido,FormaEnvio,MontoVenta", rows)
    assert imported(tmp_path, file) == (24, sum(row[3] for row in rows))


@pytest.mark.parametrize("total", ["Total_Cost", "Total_Revenue"])
def test_what_a_sale_cost_in_all_is_its_total_where_no_other_amount_is(tmp_path: Path, total: str) -> None:
    rows = [(n, f"{DAYS[n]} 10:0{n % 9}", f"C{n}", 3, "Cash", 7 + n, 14 + n) for n in range(24)]
    names = "Transaction_ID,Date,Customer_Name,Total_Items,Payment_Method,Total_Cost,Total_Revenue"
    last = names.split(",").index(total)
    file = csv_of(
        tmp_path / "a.csv", names.partition(f",{total}")[0] + f",{total}", [r[: last + 1] for r in rows]
    )
    assert imported(tmp_path, file) == (24, sum(row[last] for row in rows))


def test_rows_with_pieces_of_a_product_are_sales_though_no_customer_comes_again(tmp_path: Path) -> None:
    rows = [(n, f"Anna {n}", f"Tea {n % 5}", 1 + n % 3, 5, DAYS[n % 24]) for n in range(48)]
    file = csv_of(tmp_path / "a.csv", "id_cliente,nome,prodotto,quantita,prezzo_unitario,data_acquisto", rows)
    assert imported(tmp_path, file) == (48, sum(row[3] * 5 for row in rows))
