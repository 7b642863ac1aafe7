"""What the names of columns say, and where they stand, run unedited."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.workbooks import workbook
from tests.workflows.test_scaffold_evidence import DAYS, csv_of, draft_of, imported

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "header",
    [
        "Număr bon;Data;Magazin;Denumire;Cantitate;Preț;Valoare;Client",
        "Номер чека;Дата;Магазин;Наименование;Количество;Цена;Сумма;Покупатель",
        "Заказ;Дата продажи;Магазин;Товар;Кол-во;Цена;Итого;Клиент",
    ],
)
def test_headers_are_romanian_and_russian(tmp_path: Path, header: str) -> None:
    rows = [(n, DAYS[n % 28], "A", "Tea", n % 4 + 1, 5, 5 * (n % 4 + 1), f"K{n % 5}") for n in range(40)]
    file = csv_of(tmp_path / "a.csv", header.replace(";", ","), rows)
    _, spec = draft_of(file)
    names = header.split(";")
    assert (spec.transaction["location_id"], spec.items["name"]) == (names[2], names[3])
    assert [link.value for link in spec.profile] == [names[7]]
    assert imported(tmp_path, file) == (40, 500)


@pytest.mark.parametrize("name", ["TOTAL PRODUCTS", "Total items", "Nb articles", "Anzahl Artikel gesamt"])
def test_a_count_is_no_total(tmp_path: Path, name: str) -> None:
    rows = [(n, DAYS[n], m, 2, 5, 4) for n in range(20) for m in ("Tea", "Cup")]
    file = csv_of(tmp_path / "a.csv", f"Order ID,Date,Item,Quantity,Unit price,{name}", rows)
    assert imported(tmp_path, file) == (20, 400)


@pytest.mark.parametrize(
    "title",
    [
        [["Sales report"], ["Store: Centre", None, "Printed 2024-04-01"]],
        [["Sales report", None, "From", "2024-03-01"], ["Store", "Centre", "Printed", "2024-04-01"]],
    ],
)
def test_the_header_of_a_workbook_stands_below_titles(
    tmp_path: Path, title: Sequence[Sequence[object]]
) -> None:
    rows = [(n, DAYS[n % 28], "Tea", 2, 5) for n in range(40)]
    header = ("Receipt No", "Date", "Item", "Qty", "Unit price")
    file = workbook(tmp_path / "a.xlsx", [*title, header, *rows])
    assert imported(tmp_path, file) == (40, 400)
