"""Texts as parse_times: formats, offsets, zones, and clocks that were changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mapping.functions.datetimes import check_format, parse_times, read_times
from pipeline.mapping.functions.zones import ABBREVIATIONS, SEVERAL_ZONES
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.value_spec import DateTime

MELBOURNE = "Australia/Melbourne"


def read(*cells: str | None, zone: str | None = MELBOURNE, **options: object) -> list[dict[str, object]]:
    spec = DateTime.model_validate(options)
    rows = pl.DataFrame({"x": cells}, schema={"x": pl.String})
    return rows.select(parse_times(pl.col("x"), spec, zone)).to_series().to_list()


def utc(*cells: str | None, zone: str | None = MELBOURNE, **options: object) -> list[object]:
    return [found["utc"] for found in read(*cells, zone=zone, **options)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "cell", "expected"),
    [
        ("%d/%m/%Y %H:%M:%S", "01/07/2021 10:00:00", datetime(2021, 7, 1, 10)),
        ("%d/%m/%Y %H:%M:%S", "1/7/2021 9:05:00", datetime(2021, 7, 1, 9, 5)),
        ("%d/%m/%Y %H:%M:%S", "31/02/2021 10:00:00", None),
        ("%d/%m/%Y %H:%M:%S", "01/13/2021 10:00:00", None),
        ("%d/%m/%Y %H:%M:%S", "01/07/21 10:00:00", None),
        ("%d/%m/%Y %H:%M:%S", "01/07/0021 10:00:00", None),
        ("%d/%m/%Y %H:%M:%S", "01/07/-021 10:00:00", None),
        ("%d/%m/%Y %H:%M:%S", "01/07/12021 10:00:00", None),
        ("%d/%m/%Y %H:%M:%S", "01/07/2021 10:00:00 or so", None),
        ("%d/%m/%Y %H:%M:%S", "01/07/2021", None),
        ("%d/%m/%Y", "01/07/2021", datetime(2021, 7, 1)),
        ("%m/%d/%y %I:%M %p", "10/8/26 5:18 PM", datetime(2026, 10, 8, 17, 18)),
        ("%m/%d/%y %I:%M %p", "10/8/26 12:18 am", datetime(2026, 10, 8, 0, 18)),
        ("%m/%d/%y %I:%M %p", "10/8/26 17:18 PM", None),
        ("%Y-%m-%d %H:%M:%S", "0000-00-00 00:00:00", None),
        ("iso", "2021-07-01", datetime(2021, 7, 1)),
        ("iso", "2021-07-01 10:00", datetime(2021, 7, 1, 10)),
        ("iso", "2021-07-01T10:00:00", datetime(2021, 7, 1, 10)),
        ("iso", "2021-07-01T10:00:00.25Z", datetime(2021, 7, 1, 10, 0, 0, 250_000)),
        ("iso", "2021-07-01 10:00:00+02:00", datetime(2021, 7, 1, 8)),
        ("iso", "2021-07-01T10:00:00-0430", datetime(2021, 7, 1, 14, 30)),
        ("iso", "2021-07-01 10:00 +02", datetime(2021, 7, 1, 8)),
        ("iso", "01/07/2021", None),
        ("iso", "1900-01-01", datetime(1900, 1, 1)),
        ("iso", "1899-12-31 23:59:59", None),
        ("iso", "9999-12-31", datetime(9999, 12, 31)),
        ("iso", "2021-07-01 10:00+14:01", None),
        ("iso", "2021-07-01 10:00-12:00", datetime(2021, 7, 1, 22)),
        ("iso", "2021-07-01 10:00-12:01", None),
        ("epoch_s", "315532800", datetime(1980, 1, 1)),
        ("epoch_s", "315532799.999999", None),
        ("epoch_s", "253402214400", datetime(9999, 12, 31)),
        ("epoch_ms", "253402214400000", datetime(9999, 12, 31)),
        ("spreadsheet_days", "2958465", datetime(9999, 12, 31)),
        ("%Y-%m-%d %H:%M:%S %z", "2026-08-24 13:18:58 +0200", datetime(2026, 8, 24, 11, 18, 58)),
        ("%Y-%m-%d %H:%M:%S%:z", "2026-08-24 13:18:58+02:00", datetime(2026, 8, 24, 11, 18, 58)),
        ("%Y-%m-%d %H:%M:%S %z", "2026-08-24 13:18:58", None),
        ("iso", "2021-07-01T10:00:00+14:00", datetime(2021, 6, 30, 20)),
        ("iso", "2021-07-01T10:00:00+25:00", None),
        ("iso", "2021-07-01T10:00:00+02:75", None),
        ("iso", "2021-07-01T10:00:00+02:60", None),
        ("iso", "2021-07-01T10:00:00+02:59", datetime(2021, 7, 1, 7, 1)),
        ("iso", "2021-07-01 10:00-13:00", None),
        ("%Y-%m-%d %H:%M:%S %z", "2026-08-24 13:18:58 +9900", None),
        ("epoch_s", "1690000000123", None),
        ("epoch_s", "43390", None),
        ("epoch_s", "0", None),
        ("epoch_s", "1e30", None),
        ("epoch_s", "9" * 32, None),
        ("epoch_ms", "1690000000", None),
        ("spreadsheet_days", "43390", datetime(2018, 10, 17)),
        ("spreadsheet_days", "45581.75", datetime(2024, 10, 16, 18)),
        ("spreadsheet_days", "45581.7503472222", datetime(2024, 10, 16, 18, 0, 30)),
        ("spreadsheet_days", "61", datetime(1900, 3, 1)),
        ("spreadsheet_days", "60", None),
        ("spreadsheet_days", "-1", None),
        ("spreadsheet_days", "1e40", None),
        ("spreadsheet_days", "16/10/2024", None),
        ("epoch_s", "1690000000", datetime(2023, 7, 22, 4, 26, 40)),
        ("epoch_s", "1690000000.5", datetime(2023, 7, 22, 4, 26, 40, 500_000)),
        ("epoch_ms", "1690000000500", datetime(2023, 7, 22, 4, 26, 40, 500_000)),
        ("epoch_s", "soon", None),
    ],
)
def test_formats(form: str, cell: str, expected: datetime | None) -> None:
    assert utc(cell, zone="UTC", formats=(form,)) == [expected]


def test_formats_are_tried_in_order_for_each_cell() -> None:
    cells = ("03/04/2021", "2021-04-03", None, "2021.04.03", "04/13/2021")
    formats = ("%d/%m/%Y", "iso", "%m/%d/%Y")
    third, thirteenth = datetime(2021, 4, 3), datetime(2021, 4, 13)
    assert utc(*cells, zone="UTC", formats=formats) == [third, third, None, None, thirteenth]
    used = [found["format"] for found in read(*cells, zone="UTC", formats=formats)]
    assert used == ["%d/%m/%Y", "iso", None, None, "%m/%d/%Y"]


@pytest.mark.parametrize(
    ("ambiguous", "expected"),
    [("first", datetime(2023, 4, 1, 15, 30)), ("second", datetime(2023, 4, 1, 16, 30)), ("reject", None)],
)
def test_a_time_that_happened_twice(ambiguous: str, expected: datetime | None) -> None:
    found, once, blank = read(
        "2023-04-02 02:30:00", "2023-04-02 12:30:00", None, formats=("iso",), ambiguous=ambiguous
    )
    assert (once["utc"], once["ambiguous"]) == (datetime(2023, 4, 2, 2, 30), False)
    assert (blank["utc"], blank["ambiguous"]) == (None, False)
    assert found == {
        "utc": expected,
        "local": datetime(2023, 4, 2, 2, 30),
        "ambiguous": True,
        "unknown_zone": False,
        "format": "iso",
    }


@pytest.mark.parametrize(
    ("zone", "cell", "shifted"),
    [
        (MELBOURNE, "2022-10-02 02:30:00", datetime(2022, 10, 1, 16, 30)),
        ("Australia/Lord_Howe", "2022-10-02 02:15:00", datetime(2022, 10, 1, 15, 45)),
        ("America/New_York", "2021-03-14 02:30:00", datetime(2021, 3, 14, 7, 30)),
    ],
)
def test_a_time_that_the_clock_skipped(zone: str, cell: str, shifted: datetime) -> None:
    assert utc(cell, zone=zone, formats=("iso",)) == [None]
    (found,) = read(cell, zone=zone, formats=("iso",), nonexistent="shift")
    assert (found["utc"], found["ambiguous"]) == (shifted, False)


@pytest.mark.slow
@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from(["Australia/Melbourne", "America/New_York", "Europe/London", "Asia/Kolkata"]),
)
def test_local_times_agree_with_the_zone_database(local: datetime, zone: str) -> None:
    """Python's own zone rules are the oracle; a time that exists must come back from its UTC."""
    local = local.replace(microsecond=0)
    first = local.replace(tzinfo=ZoneInfo(zone), fold=0)
    expected = first.astimezone(ZoneInfo("UTC")).replace(tzinfo=None)
    exists = (expected + first.utcoffset()) == local if first.utcoffset() is not None else False
    back = expected.replace(tzinfo=ZoneInfo("UTC")).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    exists = exists and back == local
    (found,) = read(f"{local:%Y-%m-%d %H:%M:%S}", zone=zone, formats=("iso",))
    assert found["utc"] == (expected if exists else None)
    second = local.replace(tzinfo=ZoneInfo(zone), fold=1)
    twice = exists and second.utcoffset() != first.utcoffset()
    assert found["ambiguous"] is twice


def test_zones_by_row_in_any_of_the_three_ways_of_naming() -> None:
    rows = pl.DataFrame(
        {
            "x": ["2021-07-01 10:00:00"] * 6 + [None, "2021-07-01 10:00:00Z"],
            "zone": [
                "Eastern Time (US & Canada)",
                "AUS Eastern Standard Time",
                " europe/london ",
                "Nowhere",
                None,
                "UTC",
                "UTC",
                "Nowhere",
            ],
        }
    )
    spec = DateTime(formats=("iso",))
    found = rows.select(parse_times(pl.col("x"), spec, pl.col("zone"))).to_series()
    assert found.struct.field("utc").to_list() == [
        datetime(2021, 7, 1, 14),
        datetime(2021, 7, 1, 0),
        datetime(2021, 7, 1, 9),
        None,
        None,
        datetime(2021, 7, 1, 10),
        None,
        datetime(2021, 7, 1, 10),
    ]
    assert found.struct.field("unknown_zone").to_list() == [False] * 3 + [True, True] + [False] * 3
    assert found.struct.field("local").null_count() == 1
    assert not found.struct.field("ambiguous").any()


def test_no_rows_at_all() -> None:
    assert read(formats=("iso",)) == []
    empty = pl.DataFrame(schema={"x": pl.String, "zone": pl.String})
    found = empty.select(parse_times(pl.col("x"), DateTime(formats=("iso",)), pl.col("zone")))
    assert found.is_empty()


def test_a_wall_clock_and_its_offset_survive_a_change_of_offset() -> None:
    spec = {"formats": ("%Y-%m-%d %H:%M:%S %z",)}
    summer, winter = read(
        "2026-08-24 13:00:00 +0200", "2026-12-24 13:00:00 +0100", zone="Europe/Berlin", **spec
    )
    assert summer["utc"] == datetime(2026, 8, 24, 11)
    assert winter["utc"] == datetime(2026, 12, 24, 12)
    assert {summer["local"] - timedelta(hours=13), winter["local"] - timedelta(hours=13)} == {
        datetime(2026, 8, 24),
        datetime(2026, 12, 24),
    }


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("%H:%M", "does not give a whole date"),
        ("%d/%m", "does not give a whole date"),
        ("%Q", "cannot be used"),
        ("%d %z %m %Y", "must stand at the end"),
        ("%d %Z %m %Y", "must stand at the end"),
        ("%H:%M %Z", "does not give a whole date"),
        ("spreadsheet_days %d", "no time of day"),
        ("spreadsheet_days %Q", "cannot be used"),
    ],
)
def test_formats_that_cannot_work(form: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        check_format(form)


@pytest.mark.parametrize(
    "form", ["iso", "epoch_s", "%d.%m.%y", "%Y-%m-%d %H:%M:%S %z", "%e %b %Y %l:%M %p", "%F %T %Z"]
)
def test_formats_that_work(form: str) -> None:
    check_format(form)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("07/04/2024 3:04 PM EDT", datetime(2024, 7, 4, 19, 4)),
        ("07/04/2024 3:04 pm edt", datetime(2024, 7, 4, 19, 4)),
        ("07/04/2024 3:04 PM PDT", datetime(2024, 7, 4, 22, 4)),
        ("07/04/2024 3:04 PM AEST", datetime(2024, 7, 4, 5, 4)),
        ("07/04/2024 3:04 PM UTC", datetime(2024, 7, 4, 15, 4)),
        ("01/04/2024 3:04 PM EST", datetime(2024, 1, 4, 20, 4)),
        ("01/04/2024 3:04 PM IST", None),  # which of three is not said
        ("01/04/2024 3:04 PM XYZ", None),
        ("01/04/2024 3:04 PM", None),
        ("11/03/2024 1:30 AM EDT", datetime(2024, 11, 3, 5, 30)),  # The hour that the clock repeats
        ("11/03/2024 1:30 AM EST", datetime(2024, 11, 3, 6, 30)),
        (None, None),
    ],
)
def test_abbreviations_of_zones_are_offsets(cell: str | None, expected: datetime | None) -> None:
    options = {"formats": ("%m/%d/%Y %I:%M %p %Z",), "abbreviations": {"EST": "-05:00"}}
    assert utc(cell, **options) == [expected]
    assert read(cell, **options)[0]["ambiguous"] is False


def test_one_format_is_read_without_a_zone() -> None:
    cells = pl.Series(["2024-01-04 15:04", "2024-01-04 15:04+02:00", None, "soon"])
    assert read_times(cells, "iso").to_list() == [
        datetime(2024, 1, 4, 15, 4),
        datetime(2024, 1, 4, 13, 4),
        None,
        None,
    ]
    eastern = pl.Series(["2024-01-04 15:04 EST"])
    assert read_times(eastern, "%F %R %Z").to_list() == [None]
    assert read_times(eastern, "%F %R %Z", {"est": "-05:00"}).to_list() == [datetime(2024, 1, 4, 20, 4)]


def test_every_abbreviation_that_is_known_means_what_a_zone_of_today_shows() -> None:
    shown: dict[str, set[str]] = {}
    for name in available_timezones() - {"Factory"}:
        for month in (1, 7):
            local = datetime(2024, month, 1, 12, tzinfo=ZoneInfo(name))
            shown.setdefault(str(local.tzname()), set()).add(_offset(local))
    same = {"MEZ": "CET", "MESZ": "CEST", "Z": "UTC", "SGT": "HKT"}  # not in the zone data
    for name, offset in ABBREVIATIONS.items():
        assert offset in shown[same.get(name, name)], name
        assert name not in SEVERAL_ZONES
    for name, offsets in SEVERAL_ZONES.items():
        assert shown[name] & offsets.keys(), name


def _offset(local: datetime) -> str:
    text = local.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("45581 18:00", datetime(2024, 10, 16, 18)),
        ("45581.0 18:00", datetime(2024, 10, 16, 18)),
        ("45581  18:00", datetime(2024, 10, 16, 18)),
        ("45581.75 18:00", None),  # two times of day
        ("45581", None),
        ("60 18:00", None),
        ("18:00", None),
    ],
)
def test_a_time_of_day_may_stand_behind_the_days_of_a_spreadsheet(
    cell: str, expected: datetime | None
) -> None:
    assert utc(cell, zone="UTC", formats=("spreadsheet_days %H:%M",)) == [expected]
    assert utc(cell, zone="UTC", formats=("spreadsheet_days  %H:%M ",)) == [expected]
    check_format("spreadsheet_days %I:%M %p")


def test_days_of_a_spreadsheet_are_local_and_may_stand_beside_written_dates() -> None:
    cells = ("43390", "16/10/2024", "45581.75")
    assert utc(*cells, zone="Australia/Sydney", formats=("%d/%m/%Y", "spreadsheet_days")) == [
        datetime(2018, 10, 16, 13),
        datetime(2024, 10, 15, 13),
        datetime(2024, 10, 16, 7),
    ]
