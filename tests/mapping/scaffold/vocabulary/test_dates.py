import polars as pl
import pytest

from pipeline.mapping.scaffold.vocabulary.dates import clock_formats, date_formats, read_dates


@pytest.mark.parametrize(
    ("texts", "formats"),
    [
        (["2025-12-31 10:00:00"], ["%Y-%m-%d %H:%M:%S"]),
        (["2025-12-31T10:00:00Z"], ["%Y-%m-%dT%H:%M:%SZ"]),
        (["2025-12-31T10:00:00Z", "2025-12-31T10:00:00+01:00"], ["%Y-%m-%dT%H:%M:%S%z"]),
        (["2026-03-28 11:01:58 +0100"], ["%Y-%m-%d %H:%M:%S %z"]),
        (["10/28/26 5:18 PM"], ["%m/%d/%y %I:%M %p"]),
        (["28.10.2026 05:18"], ["%d.%m.%Y %H:%M"]),
        (["1735689600"], ["epoch_s"]),
        (["1735689600000"], ["epoch_ms"]),
        (["12-Jan-24"], ["%d-%b-%y"]),
        (["Tue, 05 Mar 2024 10:00:00 +0000"], ["%a, %d %b %Y %H:%M:%S %z"]),
        (["01/25/2023 03:04 PM EDT"], ["%m/%d/%Y %I:%M %p %Z"]),
        (["13/01/2024", "2024-01-14", "15/01/2024"], ["%d/%m/%Y", "%Y-%m-%d"]),
        (["soon", "later"], []),
    ],
)
def test_formats_of_dates(texts: list[str], formats: list[str]) -> None:
    assert date_formats(pl.Series(texts)) == formats


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        (["3. März 2024", "12. Okt. 2024"], "%d %b %Y"),
        (["12 janv. 2024", "3 févr. 2024"], "%d %b %Y"),
        (["3 de enero de 2024 10:15"], "%d %b %Y %H:%M"),
        (["Mar 5, 2024\u202f10:15"], "%b %d, %Y %H:%M"),
    ],
)
def test_words_and_blanks_are_made_readable_by_steps(texts: list[str], form: str) -> None:
    found = read_dates(pl.Series(texts))
    assert found is not None
    assert (found.formats, found.read) == ((form,), 1)
    assert found.steps


def test_numbers_are_days_only_where_the_column_is_named_as_a_date() -> None:
    days = pl.Series(["43390", "45581.75", "16/10/2024"])
    found = read_dates(days, spreadsheet=True)
    assert found is not None
    assert found.formats == ("spreadsheet_days", "%d/%m/%Y")
    assert read_dates(days.head(2)) is None


@pytest.mark.parametrize(
    ("texts", "form", "why"),
    [
        (["1/5/2019", "2/24/2019"], "%m/%d/%Y", "can only be read with the month first"),
        (["01/03/2025", "02/03/2025", "05/03/2025", "11/03/2025"], "%d/%m/%Y", "close together"),
        (["01/02/2025", "03/02/2025", "01/03/2025", "05/04/2025"], "%d/%m/%Y", "in order of time"),
    ],
)
def test_day_and_month_are_told_apart_by_evidence(texts: list[str], form: str, why: str) -> None:
    found = read_dates(pl.Series(texts))
    assert found is not None
    assert (found.formats, found.either) == ((form,), ())
    assert why in found.why


@pytest.mark.parametrize("texts", [["04/03/2025", "05/03/2025"], ["12/31/2024", "31/12/2024"]])
def test_without_evidence_the_other_reading_is_named(texts: list[str]) -> None:
    found = read_dates(pl.Series(texts))
    assert found is not None
    assert found.either == ("%m/%d/%Y",)


def test_dates_that_a_spreadsheet_has_read_say_nothing_of_those_that_it_could_not_read() -> None:
    """It wrote days up to 12 with dashes; whether it took them for months, no other date says."""
    kept = [f"5/{day}/2023" for day in range(13, 29)]
    read = read_dates(pl.Series([*kept, *(f"{day:02}-0{day % 7 + 1}-2023" for day in range(1, 12))]))
    assert read
    assert (read.formats[0], read.either) == ("%d-%m-%Y", ("%m-%d-%Y",))
    sure = read_dates(pl.Series([*kept, *(f"{day:02}-02-2023" for day in range(1, 20))]))
    assert sure
    assert not sure.either


def test_days_up_to_12_in_one_form_and_above_it_in_the_other_may_be_months() -> None:
    cells = [f"2023-{1 + n % 9:02}-{1 + n % 12:02} 00:00:00" for n in range(36)]
    kept = [f"{13 + n % 15}/0{1 + n % 9}/2023" for n in range(36)]
    read = read_dates(pl.Series([*cells, *kept]))
    assert read
    assert (read.formats[0], read.either) == ("%Y-%m-%d %H:%M:%S", ("%Y-%d-%m %H:%M:%S",))
    sure = read_dates(pl.Series([*cells, "2023-03-28 00:00:00", *kept]))
    assert sure
    assert not sure.either


def test_times_of_day() -> None:
    assert clock_formats(pl.Series(["19.10.00", "8.05.10"])) == ["%H.%M.%S"]
    assert clock_formats(pl.Series(["5:18 PM"])) == ["%I:%M %p"]
    assert clock_formats(pl.Series(["noon"])) == []
