"""Dates that an export writes in several forms, run unedited."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from pipeline.mapping.language.value_spec import OpenValue
from tests.workflows.test_scaffold_evidence import csv_of, draft_of, imported, is_open, staged

pytestmark = pytest.mark.slow

YEAR = [date(2024, month, day) for month in range(1, 13) for day in (2, 17)]
Form = Callable[[date], str]


def named(months: str, form: str) -> Form:
    return lambda day: form.format(y=day.year, m=months.split()[day.month - 1], d=day.day)


SPANISH = "Ene Feb Mar Abr May Jun Jul Ago Set Oct Nov Dic"


@pytest.mark.parametrize(
    "form",
    [
        named(SPANISH, "{y}/{m}/{d}"),
        named(SPANISH.lower(), "{d}-{m}-{y}"),
        named("janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.", "{d} {m} {y}"),
        named("jan fev mar abr mai jun jul ago set out nov dez", "{d}/{m}/{y}"),
        named("Jän März März April Mai Juni Juli Aug Sept Okt Nov Dez", "{d}. {m} {y}"),
        named("gen feb mar apr mag giu lug ago set ott nov dic", "{d}.{m}.{y}"),
    ],
)
@pytest.mark.parametrize("every", [1, 3])
def test_months_have_names_of_many_languages(tmp_path: Path, form: Form, every: int) -> None:
    days = [day for day in YEAR if day.month != 2]
    rows = [(n, day.isoformat() if n % every else form(day), 5) for n, day in enumerate(days)]
    sales = staged(tmp_path, csv_of(tmp_path / "a.csv", "Order No,Date,Total", rows))
    assert sales["transacted_at"].dt.date().sort().to_list() == days


def test_a_day_in_two_forms_does_not_take_a_sale_apart(tmp_path: Path) -> None:
    spanish = named(SPANISH, "{y}/{m}/{d}")
    rows = [
        (spanish(day) if number == 2 and line else day.isoformat(), number, "Té", line + 1, 5)
        for day in YEAR
        for number in (1, 2, 3)
        for line in (0, 1)
    ]
    file = csv_of(tmp_path / "a.csv", "Fecha,Ticket,Producto,Cantidad,Precio", rows)
    _, spec = draft_of(file)
    assert spec.source.key == ("Fecha_", "Ticket")
    sales = staged(tmp_path, file)
    assert (sales.height, sales["total"].sum()) == (72, 72 * 15)
    assert "2024-12-17-2" in sales["external_id"]


def test_a_number_needs_no_day_that_is_only_written_in_two_forms(tmp_path: Path) -> None:
    rows = [
        (day.strftime("%d/%m/%Y") if line and n % 3 else day.isoformat(), n, "Tea", 1, 5)
        for n, day in enumerate(YEAR)
        for line in (0, 1)
    ]
    file = csv_of(tmp_path / "a.csv", "Date,Receipt,Item,Qty,Price", rows)
    _, spec = draft_of(file)
    assert spec.source.key == ("Receipt",)
    assert imported(tmp_path, file) == (24, 240)


def test_dates_of_a_form_that_nothing_reads_leave_the_date_open(tmp_path: Path) -> None:
    rows = [(n, f"Q{n % 4}/2024 w{n}" if n % 50 == 7 else YEAR[n % 24], 5) for n in range(400)]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "Order No,Date,Total", rows))
    assert isinstance(spec.transaction["transacted_at"], OpenValue)


def test_months_that_a_spreadsheet_took_for_years_are_asked_for(tmp_path: Path) -> None:
    kept = [(f"2020-{1 + n % 9:02}-{13 + n % 15}", n) for n in range(40)]
    misread = [(f"{2001 + n % 11}-{1 + n % 12:02}-20", 40 + n) for n in range(24)]
    rows = [(n, day, 5 + n) for day, n in [*kept, *misread]]
    _, spec = draft_of(csv_of(tmp_path / "a.csv", "Order ID,Sale Date,Order total", rows))
    assert is_open(
        spec, "transacted_at", "whether 2001 to 2011 are years: all of their dates have the day 20"
    )
