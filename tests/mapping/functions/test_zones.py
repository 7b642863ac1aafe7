"""Names of time zones."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.mapping.functions import zones
from pipeline.mapping.functions.zones import zone_name, zone_names


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Australia/Melbourne", "Australia/Melbourne"),
        ("australia/melbourne ", "Australia/Melbourne"),
        ("Melbourne", "Australia/Melbourne"),
        ("Eastern Time (US & Canada)", "America/New_York"),
        ("Pacific Time (US & Canada)", "America/Los_Angeles"),
        ("Buenos Aires", "America/Argentina/Buenos_Aires"),
        ("AUS Eastern Standard Time", "Australia/Sydney"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("UTC", "UTC"),
        ("EST5EDT", "EST5EDT"),
        ("Atlantis", None),
        ("", None),
        ("localtime", None),
    ],
)
def test_names(written: str, name: str | None) -> None:
    assert zone_name(written) == name


def test_polars_knows_every_zone_that_is_understood() -> None:
    known = {zone_name(name) for name in zone_names()}
    assert None not in known
    parse_times = pl.Series([0]).cast(pl.Datetime("us"))
    for name in known:
        parse_times.dt.replace_time_zone(str(name), non_existent="null", ambiguous="null")


def test_rails_names_that_are_listed_are_not_cities_anyway() -> None:
    listed = zones._RAILS
    assert all(zone_name(name) == zone for name, zone in listed.items())
