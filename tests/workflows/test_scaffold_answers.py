"""What the file itself answers, and what it leaves open all the same."""

from pathlib import Path

import pytest

from tests.workflows.test_scaffold_evidence import DAYS, csv_of, draft_of, imported, is_open
from tests.workflows.test_scaffold_kinds import LINES, WORTH

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "header",
    [
        "id_objednavky,datum_objednavky,nazev_polozky,mnozstvi,cena_za_kus",
        "Mã hoá đơn,Ngày bán,Tên sản phẩm,Số lượng,Đơn giá",
        "fis_no,tarih,urun_adi,adet,birim_fiyat",
        "ID Транзакции,Дата,Товар,Количество,Цена за единицу",
        "No. Faktur,Tanggal,Nama Barang,Jumlah,Harga Satuan",
        "transaction_id,transaction_date,product,unit_quantity,unit_price",
    ],
)
def test_headers_of_further_languages(tmp_path: Path, header: str) -> None:
    rows = [(n, day, name, pieces, price) for n, day, name, price, pieces in LINES]
    assert imported(tmp_path, csv_of(tmp_path / "a.csv", header, rows)) == (24, WORTH)


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
