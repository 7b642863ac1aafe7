"""What the hours of sales say against how their times are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from pipeline.core.text.wording import count, part
from pipeline.mapping.functions.datetimes import parse_times
from pipeline.mapping.language.value_spec import DateTime

_ENOUGH: Final = 20
_AT_NIGHT: Final = 0.7
"""The share of times between 22:00 and 06:00 from which on few kinds of shops could have them."""
_BY_DAY: Final = 0.1
"""The share of times between 09:00 and 18:00 that those shops may have."""
_EARLY: Final = 0.1
"""The share of times between 1:00 and 4:59 from which on times up to 12:59 are those of a whole day."""


def doubt_of_hours(times: pl.Series, form: str) -> str:
    """Why times of sales may be read in a wrong way; empty where their hours are usual.

    Args:
        times: Local times, null where a text is none.
        form: The format in which they are read.
    """
    hours = times.dt.hour().drop_nulls()
    if hours.len() < _ENOUGH:
        return ""
    early = int(hours.is_between(1, 4).sum())
    if "%H" in form and hours.is_between(1, 12).all() and early > hours.len() * _EARLY:
        some = part(early, hours.len(), "time")
        return f"no time is after 12:59, and {some} before 5:00: 12-hour times without AM and PM?"
    at_night = int((~hours.is_between(6, 21)).sum())
    by_day = int(hours.is_between(9, 17).sum())
    if at_night < hours.len() * _AT_NIGHT or by_day > hours.len() * _BY_DAY:
        return ""
    some = part(at_night, hours.len(), "time", "lies")
    return f"{some} between 22:00 and 06:00: UTC, or 12-hour times without AM and PM?"


def doubt_of_zone(texts: pl.Series, zones: pl.Series, formats: Sequence[str]) -> str:
    """Why times cannot be local ones of the zones beside them: some never happened there; else empty."""
    frame = pl.DataFrame({"text": texts.str.strip_chars(), "zone": zones.str.strip_chars()})
    read = parse_times(pl.col("text"), DateTime(formats=tuple(formats)), pl.col("zone"))
    never = pl.col("local").is_not_null() & pl.col("utc").is_null() & ~pl.col("unknown_zone")
    number = int(frame.select(read.alias("read")).unnest("read").select(never.sum()).item())
    if not number:
        return ""
    times, them = count(number, "time"), "is it" if number == 1 else "are they"
    return f"{times} never happened in the zone that `{zones.name}` names: {them} UTC?"
