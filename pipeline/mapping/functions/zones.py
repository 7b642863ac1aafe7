"""Names of time zones as exports write them: those of IANA, Ruby on Rails and Windows.

IANA's names come from the zone data of the system. Windows' names come from tzlocal, which has them from
Unicode's CLDR (windowsZones). Rails (ActiveSupport::TimeZone) names most zones by a city. Where the city is
part of an IANA name, the city is enough (`Melbourne`); the others are listed here.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from tzlocal.windows_tz import win_tz

from pipeline.core.errors import did_you_mean
from pipeline.core.time_zones import iana_zones

# The time zone database of some systems has these files, but they name no zone.
_NOT_ZONES = {"Factory", "localtime", "posixrules"}

_RAILS = {
    "International Date Line West": "Pacific/Midway",
    "Midway Island": "Pacific/Midway",
    "American Samoa": "Pacific/Pago_Pago",
    "Hawaii": "Pacific/Honolulu",
    "Alaska": "America/Juneau",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
    "Mountain Time (US & Canada)": "America/Denver",
    "Arizona": "America/Phoenix",
    "Central Time (US & Canada)": "America/Chicago",
    "Saskatchewan": "America/Regina",
    "Guadalajara": "America/Mexico_City",
    "Central America": "America/Guatemala",
    "Eastern Time (US & Canada)": "America/New_York",
    "Indiana (East)": "America/Indiana/Indianapolis",
    "Quito": "America/Lima",
    "Atlantic Time (Canada)": "America/Halifax",
    "Newfoundland": "America/St_Johns",
    "Brasilia": "America/Sao_Paulo",
    "Georgetown": "America/Guyana",
    "Greenland": "America/Nuuk",
    "Mid-Atlantic": "Atlantic/South_Georgia",
    "Cape Verde Is.": "Atlantic/Cape_Verde",
    "Edinburgh": "Europe/London",
    "Bern": "Europe/Zurich",
    "West Central Africa": "Africa/Algiers",
    "Pretoria": "Africa/Johannesburg",
    "St. Petersburg": "Europe/Moscow",
    "Abu Dhabi": "Asia/Dubai",
    "Ekaterinburg": "Asia/Yekaterinburg",
    "Islamabad": "Asia/Karachi",
    "Chennai": "Asia/Kolkata",
    "Mumbai": "Asia/Kolkata",
    "New Delhi": "Asia/Kolkata",
    "Astana": "Asia/Almaty",
    "Sri Jayawardenepura": "Asia/Colombo",
    "Hanoi": "Asia/Bangkok",
    "Beijing": "Asia/Shanghai",
    "Osaka": "Asia/Tokyo",
    "Sapporo": "Asia/Tokyo",
    "Solomon Is.": "Pacific/Guadalcanal",
    "New Caledonia": "Pacific/Noumea",
    "Marshall Is.": "Pacific/Majuro",
    "Wellington": "Pacific/Auckland",
    "Nuku'alofa": "Pacific/Tongatapu",
    "Tokelau Is.": "Pacific/Fakaofo",
    "Chatham Is.": "Pacific/Chatham",
    "Samoa": "Pacific/Apia",
}


ABBREVIATIONS: Final[dict[str, str]] = {
    "UTC": "+00:00", "GMT": "+00:00", "Z": "+00:00", "WET": "+00:00", "WEST": "+01:00",
    "CET": "+01:00", "CEST": "+02:00", "MEZ": "+01:00", "MESZ": "+02:00", "EET": "+02:00", "EEST": "+03:00",
    "MSK": "+03:00", "SAST": "+02:00", "EDT": "-04:00", "CDT": "-05:00", "MST": "-07:00", "MDT": "-06:00",
    "PST": "-08:00", "PDT": "-07:00", "AKST": "-09:00", "AKDT": "-08:00", "HST": "-10:00",
    "NST": "-03:30", "NDT": "-02:30", "AEST": "+10:00", "AEDT": "+11:00", "ACST": "+09:30",
    "ACDT": "+10:30", "AWST": "+08:00", "NZST": "+12:00", "NZDT": "+13:00", "JST": "+09:00", "KST": "+09:00",
    "HKT": "+08:00", "SGT": "+08:00", "PKT": "+05:00",
}  # fmt: skip
"""Abbreviations of zones, and their offset from UTC, as IANA's zone data has them."""
SEVERAL_ZONES: Final[dict[str, dict[str, str]]] = {
    "EST": {"-05:00": "New York", "+10:00": "Sydney"},
    "CST": {"-06:00": "Chicago", "+08:00": "Shanghai", "-05:00": "Havana"},
    "IST": {"+05:30": "India", "+02:00": "Israel", "+01:00": "Ireland"},
    "BST": {"+01:00": "London", "+06:00": "Bangladesh"},
}
"""Abbreviations that mean several zones: each offset, and where it is in use."""


def zone_name(text: str) -> str | None:
    """The IANA name of a zone in any of the three notations, or None; case and outer blanks are ignored."""
    return _known().get(text.strip().casefold())


def zone_names() -> list[str]:
    """All known names, IANA's first; for `did you mean`."""
    return [*sorted(_iana()), *_RAILS, *win_tz]


def unknown_zone(name: str) -> str:
    """What is wrong with the name of a time zone; empty where it is known."""
    if zone_name(name):
        return ""
    if name.upper() in (*ABBREVIATIONS, *SEVERAL_ZONES):
        return f"'{name}' does not say when clocks change; write the zone with its city, as Europe/London"
    return f"'{name}' is not a time zone{did_you_mean(name, zone_names()) or '; write it as Europe/London'}"


@cache
def _iana() -> frozenset[str]:
    return iana_zones() - _NOT_ZONES


@cache
def _known() -> dict[str, str]:
    cities: dict[str, str] = {}
    for name in sorted(_iana()):
        area, _, city = name.rpartition("/")
        # In these areas the last part is no city, as in `US/Eastern` or `Etc/GMT+5`.
        if area and not area.startswith(("Etc", "US", "Canada", "Brazil", "Mexico", "Chile")):
            cities.setdefault(city.replace("_", " "), name)
    # Later entries win, so an IANA name always means itself.
    names = {**cities, **_RAILS, **win_tz, **{name: name for name in _iana()}}
    return {written.casefold(): name for written, name in names.items()}
