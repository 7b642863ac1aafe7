"""What speaks for each part of a draft, and what is left open where nothing does."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.events import ignore
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import OpenValue
from pipeline.workflows.prepare import PrepareOptions, prepare
from pipeline.workflows.scaffold import drafted, samples

pytestmark = pytest.mark.slow


def csv_of(path: Path, header: str, rows: Sequence[Sequence[object]]) -> Path:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def draft_of(*files: Path) -> tuple[str, MappingSpec]:
    text = drafted([str(file) for file in files])
    return text, read_mapping(Path("draft.yaml"), text.encode()).spec


def imported(tmp_path: Path, file: Path) -> tuple[int, Decimal]:
    """How many sales the unedited draft imports, and what they are worth."""
    sales = staged(tmp_path, file)
    return sales.height, sales["total"].sum()


def staged(tmp_path: Path, file: Path) -> pl.DataFrame:
    """The sales that the unedited draft imports."""
    mapping = tmp_path / "draft.yaml"
    mapping.write_text(drafted([str(file)]), encoding="utf-8")
    summary = prepare(tmp_path / "work", str(mapping), [str(file)], PrepareOptions(), ignore).summary
    return pl.read_parquet(Path(summary.run_dir) / "staged" / "*.parquet")


def is_open(spec: MappingSpec, field: str, words: str) -> bool:
    value = spec.transaction[field]
    return isinstance(value, OpenValue) and words in value.open


DAYS = [f"2024-03-{day:02}" for day in range(1, 29)]


def test_a_total_that_its_lines_add_up_to_says_so(tmp_path: Path) -> None:
    rows = [(f"R{n}", DAYS[n], "Tea", q, n, n * q, n * 3) for n in range(1, 21) for q in (1, 2)]
    file = csv_of(tmp_path / "a.csv", "Receipt,Sold on,Item,Qty,Price,Amount,Receipt total", rows)
    text, spec = draft_of(file)
    assert spec.transaction["total"] == "Receipt total"
    assert "total: Receipt total  # 20 of 20 totals equal the sum of their lines" in text
    assert "20 of 20 sales are accepted; worth 630.00, 2024-03-02 to 2024-03-21" in text
    assert imported(tmp_path, file) == (20, 630)


def test_what_a_total_holds_beside_its_lines_is_found(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], "Tea", 2, 5, n % 3, 4, 10 - n % 3 + 4) for n in range(20)]
    header = "Order ID,Order Date,Item,Quantity,Unit Price,Discount Amount,Shipping,Order Total"
    text, spec = draft_of(csv_of(tmp_path / "a.csv", header, rows))
    assert spec.transaction["total"] == "Order Total"
    assert "`Discount Amount` + `Shipping`" in text
    assert "total_mismatch: off" in text


def test_shipping_that_no_line_holds_becomes_an_item(tmp_path: Path) -> None:
    rows = [
        (f"R{n}", DAYS[n], "Tea", q, n, n % 3 + 2, n * 3 + n % 3 + 2) for n in range(1, 21) for q in (1, 2)
    ]
    file = csv_of(
        tmp_path / "a.csv", "Order ID,Order Date,Item,Quantity,Unit Price,Shipping,Order Total", rows
    )
    text, spec = draft_of(file)
    assert [(charge.name, charge.amount) for charge in spec.charges] == [("Shipping", "Shipping")]
    assert not spec.checks, text
    assert imported(tmp_path, file) == (20, 691)


def test_a_total_that_nothing_explains_is_open(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], "Tea", q, 5, 100 + n * 7) for n in range(20) for q in (1, 2)]
    header = "Order ID,Order Date,Item,Quantity,Unit Price,Order Total"
    _, spec = draft_of(csv_of(tmp_path / "a.csv", header, rows))
    assert is_open(spec, "total", "only 0 of 20 totals equal the sum of their lines")


def test_a_discount_of_the_whole_sale_leaves_the_sum_of_its_lines_open(tmp_path: Path) -> None:
    orders = [(n, DAYS[n], n % 2 * 10) for n in range(20)]
    csv_of(tmp_path / "orders.csv", "order_id,order_date,discount_percent", orders)
    lines = [(n, m, "Tea", m, 5) for n in range(20) for m in (1, 2)]
    csv_of(tmp_path / "items.csv", "order_id,line_id,item,quantity,unit_price", lines)
    assert is_open(draft_of(tmp_path)[1], "total", "`discount_percent` is part of the total")


@pytest.mark.parametrize(("rate", "total"), [(Decimal("0.19"), "1190.00"), (None, "")])
def test_tax_comes_on_top_where_its_rate_says_so(tmp_path: Path, rate: Decimal | None, total: str) -> None:
    rows = [(n, DAYS[n], "Tea", 1, 50, 50 * rate if rate else 1 + n % 7 * 3) for n in range(20)]
    file = csv_of(tmp_path / "a.csv", "Order ID,Date,Item,Qty,Unit price,Tax", rows)
    _, spec = draft_of(file)
    if rate:
        assert imported(tmp_path, file) == (20, Decimal(total))
    else:
        assert is_open(spec, "total", "holds `Tax`")


@pytest.mark.parametrize(("prices", "opened"), [((4, 8), False), ((4, 4), True)])
def test_a_price_is_told_from_a_line_total_by_what_the_same_product_costs(
    tmp_path: Path, prices: tuple[int, int], opened: bool
) -> None:
    rows = [(n, DAYS[n % 28], "Tea", q, prices[q - 1]) for n in range(30) for q in (1, 2)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "Order ID,Date,Item,Qty,Net Price", rows))
    assert isinstance(spec.transaction["total"], OpenValue) == opened


def test_numbers_that_start_again_each_day_need_the_day(tmp_path: Path) -> None:
    rows = [(day, bon, "Tee", 1, 2) for day in DAYS for bon in (1, 2, 2, 3)]
    file = csv_of(tmp_path / "a.csv", "Datum,Bon,Artikel,Menge,Preis", rows)
    _, spec = draft_of(file)
    assert spec.source.key == ("Datum", "Bon")
    assert imported(tmp_path, file)[0] == len(DAYS) * 3


def test_a_number_of_each_line_is_not_taken_for_the_sales(tmp_path: Path) -> None:
    rows = [
        (n, f"B{n // 2}", f"2024-03-01 {10 + n // 60}:{n // 2 % 60:02}:10", "Tea", 1, 2) for n in range(60)
    ]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "id,batch,date,item,qty,price", rows))
    assert is_open(spec, "external_id", "`batch` numbers the sales")


def test_rows_that_are_there_twice_count_once_where_a_sale_has_one_row(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], "Tea", 2, 5, 10) for n in range(20)]
    file = csv_of(tmp_path / "a.csv", "Transaction ID,Date,Item,Qty,Price,Total", [*rows, *rows[:3]])
    assert imported(tmp_path, file) == (20, 200)


def test_returns_with_positive_amounts_are_negated(tmp_path: Path) -> None:
    rows = [(n, "Refund" if n % 5 == 0 else "Sale", DAYS[n], "Tea", 2, 5, 10) for n in range(20)]
    file = csv_of(tmp_path / "a.csv", "Receipt No,Type,Date,Item,Qty,Price,Total", rows)
    assert imported(tmp_path, file) == (20, 120)


def test_weighed_goods_are_one_of_what_the_line_is(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], "Cheese", "0.5" if n % 2 else 1, 8, 4 if n % 2 else 8) for n in range(20)]
    file = csv_of(tmp_path / "a.csv", "Receipt No,Date,Item,Qty,Price,Amount", rows)
    assert imported(tmp_path, file) == (20, 120)


def test_what_lines_lack_is_looked_up_in_another_file(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    csv_of(folder / "orders.csv", "order_id,date", [(n, DAYS[n]) for n in range(20)])
    lines = [(n, f"p{m}", m) for n in range(20) for m in (1, 2)]
    csv_of(folder / "lines.csv", "order_id,product_id,quantity", lines)
    csv_of(folder / "products.csv", "product_id,name,price", [("p1", "Tea", 2), ("p2", "Cup", 5)])
    text, spec = draft_of(folder)
    assert "price_sell: {lookup: products, key: product_id, value: price}" in text
    assert spec.lookups["products"].file == "products.csv"
    assert imported(tmp_path, folder) == (20, 240)


def test_words_of_a_status_are_counted_and_unknown_ones_are_asked_for(tmp_path: Path) -> None:
    words = ["Completed"] * 17 + ["On Hold"] * 2 + ["Zork"]
    rows = [(n, DAYS[n], 5, word) for n, word in enumerate(words)]
    text, spec = draft_of(csv_of(tmp_path / "a.csv", "Order No,Date,Total,Status", rows))
    assert spec.completion is not None
    assert isinstance(spec.completion.status, OpenValue)
    assert "what do Zork (1) mean?" in spec.completion.status.open
    assert "order_open: [On Hold]  # 2 sales" in text


def test_a_role_that_only_costs_sales_is_left_out(tmp_path: Path) -> None:
    emails = ["a@b.example", "c@d.example, e@f.example"]
    rows = [(n, DAYS[n], 5, f'"{emails[n % 2]}"') for n in range(20)]
    text, spec = draft_of(csv_of(tmp_path / "a.csv", "Order No,Date,Total,Email", rows))
    assert spec.profile == ()
    assert "20 of 20 sales are accepted" in text


def test_a_product_is_added_up_also_where_nothing_says_what_was_sold(tmp_path: Path) -> None:
    file = csv_of(tmp_path / "a.csv", "Order No,Date,Qty,Unit price", [(n, DAYS[n], 2, 5) for n in range(20)])
    assert imported(tmp_path, file) == (20, 200)


def test_totals_below_the_rows_are_skipped(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], 5) for n in range(20)]
    file = csv_of(tmp_path / "a.csv", "Order No,Date,Total", [*rows, ("Total", "", 100)])
    assert imported(tmp_path, file) == (20, 100)


def test_of_many_files_a_few_are_looked_at(tmp_path: Path) -> None:
    for day in range(1, 61):
        csv_of(tmp_path / f"sales-{day:03}.csv", "Order No,Date,Total", [(day, DAYS[day % 28], 5)])
    found = [each.name for each in samples([str(tmp_path)])]
    assert (len(found), found[0], found[-1]) == (5, "sales-001.csv", "sales-060.csv")


def test_a_copy_of_a_file_is_named(tmp_path: Path) -> None:
    for name in ("a.csv", "a (1).csv"):
        csv_of(tmp_path / name, "Order No,Date,Total", [(1, DAYS[0], 5)])
    assert "# unsure: a.csv begins as a (1).csv does: is it a copy?" in draft_of(tmp_path)[0]
