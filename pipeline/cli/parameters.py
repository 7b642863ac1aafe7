"""Types of options: rates, times, sizes and shares become plain numbers here, once."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from pipeline.core.settings import Limit

Value = TypeVar("Value")

_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?")
_LONGEST_S = 100 * 365.25 * 86400
"""A hundred years: so long ago there still is a date."""
_UNITS_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class Parsed(click.ParamType[Value]):
    """A type of options that is defined by a function.

    Args:
        name: Shown in the help, such as `TIME`.
        parse: Turns the text into the value; raises ValueError where it is something else.
        expected: Ends the error message that begins with what was given.
    """

    def __init__(self, name: str, parse: Callable[[str], Value], expected: str) -> None:
        self.name = name
        self._parse = parse
        self._expected = expected

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The name as it is, where click would write it in capitals."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Value:
        """Parse a text; a value that is parsed already stays as it is."""
        if not isinstance(value, str):
            return cast(Value, value)
        try:
            return self._parse(value.strip())
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is {self._expected}", param, ctx)


class Count(click.IntRange):
    """A whole number within a range, which the help shows as `N` and, for example, `1 to 1024`."""

    name = "N"

    def _describe_range(self) -> str:
        return f"{self.min} or more" if self.max is None else f"{self.min} to {self.max}"


def _matched(pattern: str | re.Pattern[str], text: str) -> re.Match[str]:
    found = re.fullmatch(pattern, text)
    if not found:
        raise ValueError(text)
    return found


def _rate(text: str) -> float:
    found = _matched(r"(\d+(?:\.\d+)?)(?:\s*/\s*(s|m|min|h))?", text)
    if not float(found[1]):
        raise ValueError(text)
    return float(found[1]) * 60 / _UNITS_S[found[2] or "min"]


def _refusals(text: str) -> int | str:
    return "off" if text.lower() == "off" else int(_matched(r"[1-9]\d{0,8}", text)[0])


def _seconds(text: str) -> float:
    found = _matched(_TIME, text)
    seconds = float(found[1]) * _UNITS_S[found[2] or "s"]
    if seconds > _LONGEST_S:
        raise ValueError(text)
    return seconds


def _age(text: str) -> float:
    if not _matched(_TIME, text)[2]:
        raise ValueError(text)
    return _seconds(text)


def _date_or_age(text: str) -> datetime:
    if _TIME.fullmatch(text):
        return datetime.now(UTC) - timedelta(seconds=_seconds(text))
    # A time without an offset is in the zone of this computer.
    return datetime.fromisoformat(text).astimezone()


def _share(text: str) -> float:
    found = _matched(r"(\d+(?:\.\d+)?)\s*(%)?", text)
    share = float(found[1]) / (100 if found[2] else 1)
    if not 0 < share <= 1:
        raise ValueError(text)
    return share


def _bytes(text: str) -> int:
    found = _matched(r"(\d+)\s*([kmg]?)i?b?", text.lower())
    return int(found[1]) * _UNITS_BYTES[found[2]]


def _path_or_url(text: str) -> Path | str:
    return text if "://" in text else Path(text).expanduser().absolute()


REQUEST_RATE = Parsed("N/min", _rate, "not a rate; expected something like 600/min or 10/s")
"""`600/min`, `10/s` or a bare number a minute; gives requests a minute."""
REFUSAL_LIMIT = Parsed("N|off", _refusals, "not a number of refusals; expected one such as 50, or off")
PATH_OR_URL = Parsed("PATH|URL", _path_or_url, "not a path or a URL")
"""A file, or the address of a database."""
DIRECTORY_OR_URL = Parsed("DIR|URL", lambda text: text if "://" in text else Path(text), "not a directory")
"""A directory, or the address of a prefix in an object store."""
ENGINE_NAME = Parsed(
    "ENGINE",
    lambda text: _matched(r"local|dask|dask://[^\s/:]+:\d+", text)[0],
    "not an engine; expected local, dask or dask://host:port",
)
SECONDS = Parsed("TIME", _seconds, "not a time of up to 100 years; expected something like 90s, 15m or 6h")
"""`90`, `90s`, `15m`, `6h` or `2d`; gives seconds."""
AGE = Parsed("TIME", _age, "not a time of up to 100 years with its unit; expected something like 90d or 12h")
"""As SECONDS, with a unit, which must be given where a wrong guess would remove data."""
DATE_OR_AGE = Parsed(
    "DATE|TIME",
    _date_or_age,
    "not a time; expected a date such as 2024-06-30 or 2024-06-30T22:00, or how long ago, such as 7d or 12h",
)
"""`2024-06-30T22:00`, local unless it has an offset, or `7d` for so long ago; gives a time with tz."""
SHARE = Parsed("SHARE", _share, "not a share; expected something like 5% or 0.05")
"""`5%` or `0.05`; gives a share above 0, up to 1."""
SIZE = Parsed("SIZE", _bytes, "not a size; expected something like 512M or 2G")
"""`512M`, `2G` or a bare number of bytes; gives bytes."""
GATE_LIMIT = Parsed("N|N%", Limit.of, "neither a count such as 100 nor a share such as 2%")
