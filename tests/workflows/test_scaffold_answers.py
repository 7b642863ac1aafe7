"""What the file itself answers, and what it leaves open all the same."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.mapping.language.value_spec import OpenValue
from tests.workflows.test_scaffold_evidence import DAYS, csv_of, draft_of, imported, is_open

pytestmark = pytest.mark.slow


def test_blank_columns_are_filled_from_a_look_up_table(tmp_path: Path) -> None:
    sales = [(f"S{n}", DAYS[n], f"P{n % 4}", 2, "") for n in range(20)]
    csv_of(tmp_path / "orders.csv", "Order ID,Order Date,Product ID,Quantity,Unit Price", sales)
    goods = [(f"P{n}", n + 5, n + 1) for n in range(4)]
    csv_of(tmp_path / "products.csv", "Product ID,Unit Price,Price per 100g", goods)
    text, _ = draft_of(tmp_path)
    assert "worth 260.00" in text
    assert "value: Unit Price" in text


@pytest.mark.parametrize("table", [False, True])
def test_a_discount_comes_off_a_price_that_is_the_same_with_any(tmp_path: Path, table: bool) -> None:
    rows = [(n, DAYS[n % 28], f"P{n % 8}", 1, (n % 8 + 1) * 10, (n % 5 + 1) / 20) for n in range(80)]
    price = "list_price" if table else "unit_price"
    file = csv_of(tmp_path / "a.csv", f"order_id,order_date,product_id,quantity,{price},discount", rows)
    assert imported(tmp_path, file) == (80, sum(price - price * off for *_, price, off in rows))


def test_rows_of_a_bank_account_are_no_sales(tmp_path: Path) -> None:
    texts = ("CHECK LEE", "DEPOSIT", "WIRE", "ACH", "LOAN")
    rows = [(n, DAYS[n % 28], f"{texts[n % 5]} {chr(65 + n % 26)}", n + 1) for n in range(60)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "id,date,description,amount", rows))
    assert is_open(spec, "total", "whether these rows are sales")


def test_a_blank_number_is_not_that_of_another_day(tmp_path: Path) -> None:
    rows = [(DAYS[n], f"N{n}" if n < 10 else "", "" if n < 10 else f"F{n}", "Tea", 2, 5) for n in range(20)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "Date,Receipt No,Invoice No,Item,Quantity,Price", rows))
    assert is_open(spec, "external_id", "have different dates")


def test_what_came_back_is_asked_for_in_other_languages(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], "Tee", 1, 5, "Nein" if n % 4 else "Ja") for n in range(20)]
    text, _ = draft_of(csv_of(tmp_path / "a.csv", "Bestell-Nr,Datum,Artikel,Menge,Preis,Retoure", rows))
    assert "do 5 sales count of which `Retoure` is Ja?" in text


def times(number: int) -> list[str]:
    """Times to the second, of which no two are the same."""
    first = datetime(2024, 3, 1, 9, 0, 7)
    return [str(first + timedelta(minutes=37 * n, seconds=n % 53)) for n in range(number)]


def test_rows_of_one_second_are_a_sale_where_no_column_numbers_the_sales(tmp_path: Path) -> None:
    when = times(30)
    rows = [
        (when[n], f"Shop {n % 2}", f"P{n % 5}", m + 1, 5, 5 * (m + 1))
        for n in range(30)
        for m in range(n % 3 + 1)
    ]
    file = csv_of(tmp_path / "a.csv", "timestamp,store,product,quantity,unit_price,total", rows)
    assert imported(tmp_path, file) == (30, sum(total for *_, total in rows))


def test_rows_of_one_second_that_are_of_several_customers_are_open(tmp_path: Path) -> None:
    when = times(4)
    rows = [(when[n // 30], f"C{n % 12}", f"P{n % 5}", 1, 5) for n in range(120)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "created_at,customer_id,product,quantity,price", rows))
    assert isinstance(spec.transaction["external_id"], OpenValue)


@pytest.mark.parametrize(("customers", "sales"), [(12, 60), (60, 0)])
def test_rows_of_a_customer_and_day_are_sales_where_customers_come_again(
    tmp_path: Path, customers: int, sales: int
) -> None:
    rows = [(f"C{n % customers}", DAYS[n // 6], 1 + n % 3, 5, 5 + n % 3 * 5) for n in range(60)]
    file = csv_of(tmp_path / "a.csv", "customer_id,purchase_date,quantity,unit_price,total_amount", rows)
    _, spec = draft_of(file)
    assert isinstance(spec.transaction["external_id"], OpenValue) == (not sales)


def test_rows_with_a_time_and_a_total_are_sales_though_some_are_equal(tmp_path: Path) -> None:
    rows = [(f"{when[:16]}:00", 5 + n % 7) for n, when in enumerate(times(40))]
    file = csv_of(tmp_path / "a.csv", "datetime,total", [*rows, rows[3], rows[3]])
    assert imported(tmp_path, file) == (42, sum(total for _, total in [*rows, rows[3], rows[3]]))


@pytest.mark.parametrize(
    ("column", "words", "asked"),
    [
        ("direction", ("in", "out"), "`direction` is out"),
        ("Transaction Type", ("Sale", "Void"), "`Transaction Type` is Void"),
        ("type", ("Income", "Expense"), "`type` is Expense"),
    ],
)
def test_rows_that_may_be_no_sales_are_asked_for(
    tmp_path: Path, column: str, words: tuple[str, str], asked: str
) -> None:
    rows = [(n, DAYS[n % 28], words[n % 4 == 0], 5 + n) for n in range(40)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", f"transaction_id,date,{column},amount", rows))
    assert is_open(spec, "total", asked)


def test_visits_of_a_shop_are_left_out(tmp_path: Path) -> None:
    kinds = ("view", "cart", "view", "purchase")
    rows = [(when, kinds[n % 4], f"P{n % 9}", 5) for n, when in enumerate(times(80))]
    file = csv_of(tmp_path / "a.csv", "event_time,event_type,product_id,price", rows)
    assert imported(tmp_path, file) == (20, 100)


@pytest.mark.parametrize("total", [False, True])
def test_discounts_with_a_percent_sign_come_off(tmp_path: Path, total: bool) -> None:
    lines = [(n, f"P{n % 6}", 1 + n % 4, (10, 25, 40)[n % 3], (0, 5, 10, 20)[n % 4]) for n in range(96)]
    paid = [Decimal(pieces * price * (100 - off)) / 100 for _, _, pieces, price, off in lines]
    rows = [
        (n, DAYS[n % 28], name, pieces, price, f"{off}%", *([pieces * price, worth] if total else []))
        for (n, name, pieces, price, off), worth in zip(lines, paid, strict=True)
    ]
    header = "Order ID,Order Date,Product,Quantity,Unit Price,Discount"
    file = csv_of(tmp_path / "a.csv", header + ",Total Price,Final Price" * total, rows)
    assert imported(tmp_path, file) == (96, sum(paid))


def test_a_price_of_a_line_is_known_by_what_its_kind_of_goods_costs(tmp_path: Path) -> None:
    each = {"Shoes": 60, "Books": 15, "Toys": 35, "Bags": 41, "Hats": 22}
    kinds = [*each]
    rows = [(n, DAYS[n % 28], kinds[n % 5], n % 4 + 1, each[kinds[n % 5]] * (n % 4 + 1)) for n in range(200)]
    file = csv_of(tmp_path / "a.csv", "invoice_no,invoice_date,category,quantity,price", rows)
    assert imported(tmp_path, file) == (200, sum(price for *_, price in rows))


def test_pieces_that_came_back_are_asked_for(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], "Tea", 3, 10, n % 4 == 0) for n in range(20)]
    header = "Order ID,Order Date,Item,Quantity,Unit Price,Returned Qty"
    _, spec = draft_of(csv_of(tmp_path / "a.csv", header, [(*row[:-1], int(row[-1])) for row in rows]))
    assert is_open(spec, "total", "`Returned Qty` of 5 lines")


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("payment_id,created_at,amount_cents", "`amount_cents` is in hundredths"),
        ("invoice_no,date,total,supplier", "purchases from `supplier`"),
    ],
)
def test_amounts_that_may_be_others_are_asked_for(tmp_path: Path, header: str, asked: str) -> None:
    rows = [(n, DAYS[n], 1999 + n, f"S{n % 4}")[: header.count(",") + 1] for n in range(20)]
    assert is_open(draft_of(csv_of(tmp_path / "a.csv", header, rows))[1], "total", asked)


def test_whole_amounts_beside_ids_of_an_api_may_be_cents(tmp_path: Path) -> None:
    names = "id,Created (UTC),Amount,Currency,Status"
    rows = [(f"ch_1AbC2dEf3{n:04}", DAYS[n], 1999 + n, "cad", "succeeded") for n in range(20)]
    asked = "`Amount` is in hundredths"
    assert is_open(draft_of(csv_of(tmp_path / "a.csv", names, rows))[1], "total", asked)
    written = [(key, day, f"{amount / 100:.2f}", *rest) for key, day, amount, *rest in rows]
    assert not is_open(draft_of(csv_of(tmp_path / "b.csv", names, written))[1], "total", asked)


def test_sums_of_quarters_of_an_hour_are_no_sales(tmp_path: Path) -> None:
    first = datetime(2024, 3, 1, 9)
    rows = [(first + timedelta(minutes=15 * n), 5 + n) for n in range(60)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "timestamp,sales", rows))
    assert isinstance(spec.transaction["external_id"], OpenValue)


def test_the_name_of_the_total_says_its_currency(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], 5 + n, ("EUR", "PLN")[n % 2]) for n in range(20)]
    text, _ = draft_of(csv_of(tmp_path / "a.csv", "payment_id,payment_date,amount_usd,currency", rows))
    assert "currency: {constant: USD}  # `amount_usd` says it" in text
