"""Kinds of exports: what a draft makes of each, run unedited."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.mapping.language.value_spec import OpenValue
from pipeline.workflows.scaffold import samples
from tests.workflows.test_scaffold_evidence import DAYS, csv_of, draft_of, imported, staged

pytestmark = pytest.mark.slow

GOODS = (("Tea", 3), ("Cup", 8), ("Pot", 25), ("Tray", 31))
Line = tuple[int, str, str, int, int]
LINES: Sequence[Line] = [
    (n, DAYS[n], *GOODS[(n + m) % 4], m + 1) for n in range(1, 25) for m in range(n % 3 + 1)
]
"""Number, day, product, price and quantity of each line of 24 sales."""
WORTH = sum(price * pieces for *_, price, pieces in LINES)


@pytest.mark.parametrize(
    "header",
    [
        "Bestell-Nr.;Bestelldatum;Artikel;Menge;Einzelpreis",
        "N° de commande;Date de commande;Désignation;Qté;Prix unitaire",
        "ID_Pedido;Fecha;Producto;Cantidad;Precio unitario",
        "Código da Venda;Data;Produto;Quantidade;Preço unitário",
        "Numero scontrino;Data;Descrizione;Quantità;Prezzo unitario",
        "Bonnummer;Datum;Omschrijving;Aantal;Stukprijs",
        "Numer paragonu;Data sprzedaży;Nazwa towaru;Ilość;Cena jednostkowa",
        "Kvittonummer;Datum;Artikel;Antal;Pris",
        "ordenID;fecha;producto;cantidad;precio",
        "オーダー ID;オーダー日;製品名;数量;単価",
        "订单编号;下单日期;商品名称;数量;单价",
        "주문번호;주문일자;상품명;수량;단가",
        "เลขที่ใบเสร็จ;วันที่;สินค้า;จำนวน;ราคาต่อหน่วย",
        "id_objednavky,datum_objednavky,nazev_polozky,mnozstvi,cena_za_kus",
        "Mã hoá đơn,Ngày bán,Tên sản phẩm,Số lượng,Đơn giá",
        "fis_no,tarih,urun_adi,adet,birim_fiyat",
        "ID Транзакции,Дата,Товар,Количество,Цена за единицу",
        "No. Faktur,Tanggal,Nama Barang,Jumlah,Harga Satuan",
        "transaction_id,transaction_date,product,unit_quantity,unit_price",
    ],
)
def test_headers_of_many_languages(tmp_path: Path, header: str) -> None:
    rows = [(n, day, name, pieces, price) for n, day, name, price, pieces in LINES]
    file = csv_of(tmp_path / "a.csv", header.replace(";", ","), rows)
    assert imported(tmp_path, file) == (24, WORTH)


def test_a_status_that_stands_late_in_a_long_file_is_seen(tmp_path: Path) -> None:
    first = date(2015, 1, 1)
    rows = [(n, first + timedelta(n // 100), 5, "Completed") for n in range(1, 300_000)]
    late = [(n, "2024-01-01", 5, "Cancelled") for n in range(300_000, 301_000)]
    file = csv_of(tmp_path / "a.csv", "Order No,Date,Total,Status", [*rows, *late])
    text, spec = draft_of(file)
    assert "cancelled: [Cancelled]" in text
    assert samples([str(file)])[0].rows.height < 35_000
    assert spec.completion is not None


def test_words_for_blank_cells_cost_only_the_sales_that_lack_something(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [(n, DAYS[n % 28], "Tea", 2, 5, 10) for n in range(100)]
    rows[3] = (3, DAYS[3], "Tea", "UNKNOWN", 5, 10)
    rows[4] = (4, DAYS[4], "", 2, "ERROR", 10)
    rows[5] = (5, DAYS[5], "Tea", 2, 5, "ERROR")
    rows[6] = (6, "ERROR", "Tea", 2, 5, 10)
    file = csv_of(tmp_path / "a.csv", "Transaction ID,Date,Item,Quantity,Price,Total", rows)
    text, spec = draft_of(file)
    assert spec.source.nulls == ("ERROR", "UNKNOWN")
    assert "# unsure: some lines have no quantity and count as one piece" in text
    assert imported(tmp_path, file) == (98, 980)


def test_lines_without_a_quantity_widen_no_tolerance(tmp_path: Path) -> None:
    goods = [(n, DAYS[n], "Tea", 3, 10) for n in range(24)]
    rows = [row for n, one in enumerate(goods) for row in (one, (n, DAYS[n], "Parcel", "", 7))]
    text, _ = draft_of(csv_of(tmp_path / "a.csv", "Order No,Date,Item,Quantity,Line Total", rows))
    assert "some lines have no quantity and count as one piece" in text
    assert "tolerance" not in text


def test_sales_without_lines_are_rejected_and_the_others_imported(tmp_path: Path) -> None:
    csv_of(tmp_path / "orders.csv", "order_id,order_date", [(n, DAYS[n % 28]) for n in range(100)])
    lines = [(n, n, "Tea", 2, 5) for n in range(90)]
    csv_of(tmp_path / "items.csv", "order_id,line_id,item,quantity,unit_price", lines)
    assert imported(tmp_path, tmp_path) == (90, 900)


@pytest.mark.parametrize(("unit", "worth"), [(lambda _: 1000, 26_200), (lambda off: 1000 - off * 10, None)])
def test_a_discount_comes_off_where_a_product_costs_the_same_with_any(
    tmp_path: Path, unit, worth: int | None
) -> None:
    rows = [(n, DAYS[n % 28], "Tea", 1, unit(n % 3 * 10), n % 3 * 10) for n in range(29)]
    file = csv_of(tmp_path / "a.csv", "Order ID,Date,Item,Qty,Unit price,Discount percent", rows)
    text, _ = draft_of(file)
    number, total = imported(tmp_path, file)
    assert (number, total) == (29, worth or sum(row[4] for row in rows))
    assert ("so that comes off" in text) == (worth is not None)


def test_an_amount_that_is_always_the_same_for_one_piece_is_for_the_line(tmp_path: Path) -> None:
    rows = [(n, day, name, pieces, price * pieces) for n, day, name, price, pieces in LINES]
    file = csv_of(tmp_path / "a.csv", "order-id,purchase-date,product-name,quantity,item-price", rows)
    assert imported(tmp_path, file) == (24, WORTH)


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (lambda lines: lines + Decimal("4.95"), "4.95 above the sum of their lines"),
        (lambda lines: lines * Decimal("1.19"), "19% above the sum of their lines"),
    ],
)
def test_one_fee_or_rate_explains_totals(tmp_path: Path, total, said: str) -> None:
    sums = {n: Decimal(sum(p * q for m, _, _, p, q in LINES if m == n)) for n in range(1, 25)}
    rows = [(n, day, name, q, p, f"{total(sums[n]):.2f}") for n, day, name, p, q in LINES]
    file = csv_of(tmp_path / "a.csv", "Order ID,Order Date,Item,Qty,Unit Price,Order Total", rows)
    text, _ = draft_of(file)
    assert said in text
    assert imported(tmp_path, file) == (24, sum(round(total(each), 2) for each in sums.values()))


def test_payments_show_what_lines_hold_beside_their_price(tmp_path: Path) -> None:
    csv_of(tmp_path / "orders.csv", "order_id,order_date", [(n, DAYS[n]) for n in range(20)])
    lines = [(n, m, "Tea", 10, n % 5 + 1) for n in range(20) for m in (1, 2)]
    csv_of(tmp_path / "order_items.csv", "order_id,order_item_id,product_id,price,freight_value", lines)
    paid = [(n, "card", 20 + 2 * (n % 5 + 1)) for n in range(20)]
    csv_of(tmp_path / "order_payments.csv", "order_id,payment_type,payment_value", paid)
    text, _ = draft_of(tmp_path)
    assert "what was paid for 20 of 20 sales equals the sum of their lines + `freight_value`" in text
    assert "quantity: {constant: 1}  # unsure" in text
    assert imported(tmp_path, tmp_path) == (20, 520)


def test_day_and_month_follow_from_the_names_of_files(tmp_path: Path) -> None:
    rows = [(n, f"0{n % 2 + 1}/05/2026", 5) for n in range(20)]
    file = csv_of(tmp_path / "sales-2026-05-01-2026-05-31.csv", "Receipt No,Date,Total", rows)
    text, _ = draft_of(file)
    assert "so the dates lie between 2026-05-01 and 2026-05-31, as files are named" in text
    assert imported(tmp_path, file) == (20, 100)


def test_a_time_numbers_sales_that_have_no_number(tmp_path: Path) -> None:
    rows = [(DAYS[n], f"{DAYS[n]} 10:15:{n:02}", "card", "Latte", 4) for n in range(25)]
    file = csv_of(tmp_path / "a.csv", "date,datetime,cash_type,coffee_name,money", rows)
    text, spec = draft_of(file)
    assert spec.source.key == ("datetime", "money")
    assert "# unsure: no column numbers the sales; no two rows here have the same time" in text
    assert imported(tmp_path, file) == (25, 100)


def test_numbers_that_were_given_twice_do_not_merge_sales(tmp_path: Path) -> None:
    rows = [(n if n != 150 else 7, DAYS[n % 28], "Tea", 1, 5) for n in range(200)]
    rows += [(3, DAYS[20], "Tea", 1, 5), (5, DAYS[22], "Tea", 1, 5)]
    file = csv_of(tmp_path / "a.csv", "Transaction ID,Date,Item,Qty,Price", rows)
    assert imported(tmp_path, file)[0] == 202


def test_a_product_is_no_line_number(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], m % 2, "Tea", 1, 5 + m) for n in range(20) for m in range(3)]
    file = csv_of(tmp_path / "a.csv", "OrderID,Date,LineItemID,Item,Qty,Price", rows)
    assert imported(tmp_path, file) == (20, 360)


def test_corrections_of_stock_and_debts_are_no_sales(tmp_path: Path) -> None:
    rows = [(500 + n, DAYS[n], "Tea", 2, 5, f"c{n}") for n in range(25)]
    rows += [(600, DAYS[3], "broken", -4, 0, ""), ("A601", DAYS[4], "bad debt", 1, -250, "")]
    rows += [
        ("C602", DAYS[5], "Tea", -1, 5, "c1"),
        (603, DAYS[6], "Tea", 1, 5, ""),
        (603, DAYS[6], "Cup", 1, 8, ""),
    ]
    file = csv_of(tmp_path / "a.csv", "InvoiceNo,InvoiceDate,Description,Quantity,UnitPrice,CustomerID", rows)
    text, _ = draft_of(file)
    assert "# unsure: 1 sale: prices below 0 are no returns; 1 sale: no customer and no price" in text
    assert imported(tmp_path, file) == (27, 258)


@pytest.mark.parametrize(
    "header", ["Order No,Date,Total Due,Total Payment", "Commande,Date,Total,Montant payé"]
)
def test_what_was_not_paid_is_no_sale(tmp_path: Path, header: str) -> None:
    rows = [(n, DAYS[n], 5, 0 if n == 4 else 5) for n in range(20)]
    file = csv_of(tmp_path / "a.csv", header, rows)
    assert imported(tmp_path, file) == (19, 95)


def test_a_status_is_found_by_its_words(tmp_path: Path) -> None:
    words = ["Paiement accepté"] * 17 + ["Annulé"] * 3
    rows = [(n, DAYS[n], 5, word) for n, word in enumerate(words)]
    file = csv_of(tmp_path / "a.csv", "Order No,Date,Total,Étape", rows)
    assert imported(tmp_path, file) == (17, 85)


def test_a_return_that_was_paid_back_is_marked(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], 5, "Returned" if n == 3 else "Completed") for n in range(20)]
    text, _ = draft_of(csv_of(tmp_path / "a.csv", "Order No,Date,Total,Status", rows))
    assert "void: [Returned]  # unsure: 1 sale" in text


def test_emails_are_found_whatever_their_column_is_called(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], f"p{n}@example.com", f"A-{n % 4}", "Tee", 5) for n in range(20)]
    file = csv_of(tmp_path / "a.csv", "Bon,Datum,Kunde,Artikel,Bezeichnung,Betrag", rows)
    _, spec = draft_of(file)
    assert [(link.value, link.handle) for link in spec.profile] == [("Kunde", "email")]


def test_an_amount_beside_others_of_unknown_meaning_is_open(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], "Tea", 2, f"{n + m}.50", f"{2 * n + m}.25") for n in range(20) for m in (1, 2)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "Order ID,Date,Item,Qty,Amount,Hurz", rows))
    assert isinstance(spec.transaction["total"], OpenValue)


def test_a_copy_in_another_notation_is_not_read(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], "Tea", 5) for n in range(20)]
    csv_of(tmp_path / "a.csv", "Order No,Date,Item,Total", rows)
    turned = [(n, "-".join(reversed(day.split("-"))), item, total) for n, day, item, total in rows]
    csv_of(tmp_path / "b.csv", "Order No,Date,Item,Total", turned)
    text, spec = draft_of(tmp_path)
    assert spec.source.inputs == ("a.csv",)
    assert "is it a copy?" in text


def test_customers_and_staff_with_dates_are_no_sales(tmp_path: Path) -> None:
    csv_of(tmp_path / "staff.csv", "employee_id,hired", [(n, DAYS[n]) for n in range(4)])
    csv_of(tmp_path / "customers.csv", "customer_id,name,since", [(n, f"N{n}", DAYS[n]) for n in range(9)])
    rows = [(n, DAYS[n], n % 9, n % 4, "Tea", 2, 5) for n in range(28)]
    csv_of(tmp_path / "sales.csv", "sale_id,date,customer_id,employee_id,item,quantity,unit_price", rows)
    assert imported(tmp_path, tmp_path) == (28, 280)


def test_a_title_above_a_table_as_wide_as_the_table_is_skipped(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], 5) for n in range(20)]
    file = csv_of(tmp_path / "a.csv", "Sales of March,,\n,,\nReceipt No,Date,Total", rows)
    assert imported(tmp_path, file) == (20, 100)


@pytest.mark.parametrize("written", ['="{}"', '"=""{}"""', "'{}"])
def test_what_protects_cells_from_spreadsheets_is_taken_off(tmp_path: Path, written: str) -> None:
    def cell(value: object) -> str:
        return written.format(value)

    rows = [
        (cell(f"{n:06}"), day, name, cell(f"00{price}"), cell(pieces), cell(f"{price},50"))
        for n, day, name, price, pieces in LINES
    ]
    lines = [
        ";".join(map(str, row)) for row in [("Receipt No", "Date", "Item", "SKU", "Qty", "Price"), *rows]
    ]
    file = tmp_path / "a.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    text, _ = draft_of(file)
    assert "Receipt No_: {column: Receipt No, then: [unguard]}  # its cells are written as" in text
    sales = staged(tmp_path, file)
    assert sales["external_id"].sort().to_list() == [f"{n:06}" for n in range(1, 25)]
    assert sales["total"].sum() == WORTH + sum(pieces for *_, pieces in LINES) * Decimal("0.5")


def test_protected_cells_of_one_file_join_plain_ones_of_another(tmp_path: Path) -> None:
    sums = {n: sum(p * q for m, _, _, p, q in LINES if m == n) for n in range(1, 25)}
    orders = [(f'="{n:04}"', DAYS[n], total) for n, total in sums.items()]
    csv_of(tmp_path / "orders.csv", "order_id,order_date,order_total", orders)
    lines = [(f"{n:04}", name, pieces, price) for n, _, name, price, pieces in LINES]
    csv_of(tmp_path / "items.csv", "order_id,item,quantity,unit_price", lines)
    sales = staged(tmp_path, tmp_path)
    assert (sales.height, sales["total"].sum()) == (24, WORTH)
    assert "0001" in sales["external_id"]


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (range(24), ""),
        ([*range(9, 22)], ""),
        ([9, 10, 11, 12, 1, 2, 3, 4, 5], "36 of 81 times before 5:00: 12-hour times"),
        ([*range(22, 24), *range(6)], "72 of 72 times lie between 22:00 and 06:00: UTC"),
    ],
)
def test_times_at_night_are_unsure(tmp_path: Path, hours: Sequence[int], said: str) -> None:
    rows = [(f"{day}-{hour}", f"{DAYS[day]} {hour:02}:15", 5) for day in range(9) for hour in hours]
    text, _ = draft_of(csv_of(tmp_path / "a.csv", "Receipt No,Date,Total", rows))
    assert ("AM and PM?" in text) == bool(said)
    assert said in text


def test_times_that_never_happened_in_a_named_zone_are_read_as_utc(tmp_path: Path) -> None:
    rows = [(n, f"2024-03-31 {n:02}:30", 5, "Europe/Berlin") for n in range(24)]
    file = csv_of(tmp_path / "a.csv", "Receipt No,Date,Total,Timezone", rows)
    text, _ = draft_of(file)
    assert "# unsure: 1 time never happened in the zone that `Timezone` names: is it UTC?" in text
    assert imported(tmp_path, file) == (24, 120)


def test_columns_that_add_up_to_the_total_are_tenders(tmp_path: Path) -> None:
    parts = [((20, "", ""), ("", 20, ""), (5, 10, 5))[n % 3] for n in range(28)]
    rows = [(n, DAYS[n], *each, 20, 0) for n, each in enumerate(parts)]
    rows[3] = (3, DAYS[3], "", 15, "", 20, 0)
    file = csv_of(tmp_path / "a.csv", "Receipt No,Date,Cash,Card,Zippo,Total,Gift card sales", rows)
    text, spec = draft_of(file)
    assert "payments:  # they add up to `Total` in 27 of 28 sales" in text
    assert "payments_mismatch: warn  # what was paid differs for 1 sale" in text
    assert [payment.amount for payment in spec.payments] == ["Cash", "Card", "Zippo"]
    sales = staged(tmp_path, file)
    assert sales["total"].sum() == 560
    assert '"payments":[{"Cash":5.00},{"Card":10.00},{"Zippo":5.00}]' in sales["body"][2].replace(" ", "")


@pytest.mark.parametrize("names", ["Food,Drinks,Flowers", "Cash,Food,Drinks"])
def test_columns_that_add_up_to_the_total_are_no_tenders_by_that_alone(tmp_path: Path, names: str) -> None:
    rows = [(n, DAYS[n], n % 3, 5, 7, 12 + n % 3) for n in range(28)]
    file = csv_of(tmp_path / "a.csv", f"Receipt No,Date,{names},Total", rows)
    _, spec = draft_of(file)
    assert not spec.payments
    assert imported(tmp_path, file) == (28, sum(row[-1] for row in rows))


def test_voided_sales_are_left_out_and_that_is_unsure(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], 5, "Voided" if n == 3 else "Closed") for n in range(20)]
    file = csv_of(tmp_path / "a.csv", "Receipt number,Date,Total,Status", rows)
    text, _ = draft_of(file)
    assert "cancelled: [Voided]  # unsure: 1 sale; a voided sale is left out here" in text
    assert imported(tmp_path, file) == (19, 95)
