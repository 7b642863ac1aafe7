"""Parses dates and times to UTC, by way of the local time that a till's clock showed.

A text gives the local time and sometimes an offset from UTC. Without an offset the zone decides, and there a
local time may have happened twice or never, when clocks were changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import polars as pl

from pipeline.mapping.functions.numbers import EXACT
from pipeline.mapping.functions.zones import ABBREVIATIONS, zone_name
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.value_spec import DateTime

DATETIME = pl.Datetime("us")
PARSED_TIME = pl.Struct(
    {
        "utc": DATETIME,
        "local": DATETIME,
        "ambiguous": pl.Boolean,
        "unknown_zone": pl.Boolean,
        "format": pl.String,
    }
)
"""`utc` is null where the text is not a date, the local time never happened, or the zone is unknown. `local`
and `format`, the format that fits, are null only where the text is not a date."""

_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(9999, 12, 31)  # noqa: DTZ001 (local times)
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_OFFSET = r"\s*(Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})$"
_OFFSET_DIRECTIVE = re.compile(r"\s*%(?::{0,3}|#)z$")
_ABBREVIATION = r"\s*\b([A-Za-z]{1,5})\.?$"
_ABBREVIATION_DIRECTIVE = re.compile(r"\s*%Z$")
_DAYS_AND_TIME = "spreadsheet_days "
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}
"""Formats that count from 1970 in UTC, and how many microseconds one of their units has."""
SPREADSHEET_DAYS = "spreadsheet_days"
NAMED_FORMATS = ("iso", *EPOCHS, SPREADSHEET_DAYS)
"""Formats that are a name."""
DATE_PARTS: Final = {"year": "YyGCDFcsvx+", "month": "mbBhDFcsvx+jUW", "day": "deDFcsvx+jaAuw"}
"""For each part of a date, the letters of strftime (as chrono has them) that give it."""
_EARLIEST_EPOCH = datetime(1980, 1, 1)  # noqa: DTZ001 (smaller numbers count something else, such as days)
_FIRST_DAY = datetime(1899, 12, 30)  # noqa: DTZ001 (so that day 61 is 1900-03-01, as in every spreadsheet)
# Spreadsheets disagree on earlier days: one of them has a 29 February 1900.
_EARLIEST_DAY = 61
_US_PER_DAY = 86_400_000_000
# A number beyond all dates is left out before it is multiplied: the product would not fit into a decimal.
_MOST_MICROS = (_LATEST - _FIRST_DAY) // timedelta(microseconds=1)
_SAMPLE = datetime.fromisoformat("2021-03-04 15:06:07")
"""By which formats are checked: after noon, so a 12-hour format without AM or PM gives another hour."""
_EAST_MOST, _WEST_MOST = 14 * 60, -12 * 60
"""The limits of the offsets in use, in minutes."""


def parse_times(text: pl.Expr, spec: DateTime, zone: str | pl.Expr | None) -> pl.Expr:
    """Parse dates and times to a struct of type `PARSED_TIME`.

    Args:
        text: The cells.
        spec: The formats, tried in order for each cell, and the rules for changed clocks.
        zone: The zone of times without an offset: one IANA name, a text for each row (as `zone_name`
            understands it), or None for UTC.

    Returns:
        An expression. A year before 1900 or after 9999 is not a date (`%Y` reads 21 as the year 21).
    """
    if isinstance(zone, pl.Expr):
        both = pl.struct(text.alias("text"), zone.alias("zone"))
        return both.map_batches(
            partial(_parse_by_zone, spec=spec), return_dtype=PARSED_TIME, is_elementwise=True
        )
    parse = partial(_parse_in_zone, spec=spec, zone=zone or "UTC")
    return text.map_batches(parse, return_dtype=PARSED_TIME, is_elementwise=True)


def may_have_offset(form: str) -> bool:
    """Whether times in a format may say their offset from UTC."""
    return form in ("iso", *EPOCHS) or form.endswith(("%z", "%:z", "%#z", "%Z"))


def check_format(form: str) -> None:
    """Make sure that a format gives a whole date.

    Raises:
        FormulaError: It does not.
    """
    if form in NAMED_FORMATS:
        return
    if "%Z" in _ABBREVIATION_DIRECTIVE.sub("", form):
        raise FormulaError(f"in the format '{form}' the abbreviation (%Z) must stand at the end")
    if form.startswith(_DAYS_AND_TIME):
        _check_time_of_day(form)
        return
    form = _ABBREVIATION_DIRECTIVE.sub("", form)
    if "%z" in (naive := _OFFSET_DIRECTIVE.sub("", form)):
        raise FormulaError(f"in the format '{form}' the offset (%z) must stand at the end")
    # A date is written in the format and read again: a part that the format leaves out is lost.
    try:
        read = _parsed(pl.Series([_SAMPLE]).dt.strftime(naive), naive)[0]
    except pl.exceptions.PolarsError as error:
        raise FormulaError(f"the format '{form}' cannot be used: {error}") from None
    if read is None or read.date() != _SAMPLE.date():
        raise FormulaError(
            f"the format '{form}' does not give a whole date; day, month and year were expected, "
            "as in '%d/%m/%Y %H:%M:%S'"
        )


def _check_time_of_day(form: str) -> None:
    naive = form.removeprefix(_DAYS_AND_TIME).strip()
    try:
        read = _parsed(pl.Series([_SAMPLE]).dt.strftime(f"%Y-%m-%d {naive}"), f"%Y-%m-%d {naive}")[0]
    except pl.exceptions.PolarsError as error:
        raise FormulaError(f"the format '{form}' cannot be used: {error}") from None
    if read is None or read.hour != _SAMPLE.hour:
        raise FormulaError(f"the format '{form}' has no time of day after it, as in '{_DAYS_AND_TIME}%H:%M'")


def _parse_by_zone(both: pl.Series, spec: DateTime) -> pl.Series:
    """Parse the rows of each zone together: there are few zones and many rows."""
    table = both.struct.unnest().with_row_index("at")
    parts = []
    for (written,), rows in table.partition_by("zone", as_dict=True).items():
        known = zone_name(str(written)) if written is not None else None
        read = _parse_in_zone(rows["text"], spec, known)
        parts.append(rows.select("at").with_columns(read.alias("parse_times")))
    if not parts:
        return pl.Series([], dtype=PARSED_TIME)
    return pl.concat(parts).sort("at")["parse_times"]


def read_times(text: pl.Series, form: str, abbreviations: Mapping[str, str] | None = None) -> pl.Series:
    """Read texts in one format, without a zone: in UTC where they have an offset, else local; null elsewhere.

    Args:
        text: The texts, trimmed.
        form: The format.
        abbreviations: What abbreviations of zones mean, as for `DateTime`.
    """
    spec = DateTime(formats=(form,), abbreviations=dict(abbreviations or {}))
    local, offset = _read_one(text, form, spec)
    table = pl.DataFrame({"local": local, "offset": offset.fill_null(0)})
    return table.select(pl.col("local") - pl.duration(seconds=pl.col("offset"))).to_series()


def _parse_in_zone(text: pl.Series, spec: DateTime, zone: str | None) -> pl.Series:
    """Parse texts of one zone. It may be unknown (None), which matters only for times without an offset."""
    local, offset_s, form = _read(text, spec)
    table = pl.DataFrame({"local": local, "offset": offset_s, "format": form})
    needs_zone = pl.col("local").is_not_null() & pl.col("offset").is_null()
    if zone is None:
        utc, ambiguous = pl.lit(None, DATETIME), pl.lit(False)
    else:
        table = table.with_columns(_in_zone(table, spec, zone))
        utc, ambiguous = pl.col("zoned"), pl.col("twice")
    by_offset = pl.col("local") - pl.duration(seconds=pl.col("offset"))
    return table.select(
        pl.struct(
            utc=pl.when(needs_zone).then(utc).otherwise(by_offset),
            local="local",
            ambiguous=needs_zone & ambiguous,
            unknown_zone=needs_zone & pl.lit(zone is None),
            format="format",
        )
    ).to_series()


def _in_zone(table: pl.DataFrame, spec: DateTime, zone: str) -> list[pl.Series]:
    """`zoned`: the local times in UTC; `twice`: whether they happened twice."""
    local = table["local"]
    utc = _to_utc(local, zone, "null")
    twice = pl.Series([False]).new_from_index(0, local.len())
    odd = (utc.is_null() & local.is_not_null()).arg_true()
    if odd.len():
        first = _to_utc(local.gather(odd), zone, "earliest")
        second = _to_utc(local.gather(odd), zone, "latest")
        chosen = {"first": first, "second": second, "reject": first.clear(first.len())}[spec.ambiguous]
        if spec.nonexistent == "shift":
            chosen = chosen.zip_with(first.is_not_null(), _shifted(local.gather(odd), zone))
        utc, twice = utc.scatter(odd, chosen), twice.scatter(odd, first.is_not_null())
    return [utc.alias("zoned"), twice.alias("twice")]


def _to_utc(local: pl.Series, zone: str, ambiguous: str) -> pl.Series:
    zoned = local.dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")  # type: ignore[arg-type]
    return zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _shifted(local: pl.Series, zone: str) -> pl.Series:
    """Times that never happened, shifted forward: read with the offset from before the change.

    No zone leaves out more than a day, and changes are months apart, so the day before has that offset.
    """
    before = _to_utc(local.dt.offset_by("-1d"), zone, "latest")
    return before.dt.offset_by("1d")


def _read(text: pl.Series, spec: DateTime) -> tuple[pl.Series, pl.Series, pl.Series]:
    """The local time, the written offset in seconds (null where there is none), and the format that fits."""
    local = pl.Series([None], dtype=DATETIME).new_from_index(0, text.len())
    offset = pl.Series([None], dtype=pl.Int64).new_from_index(0, text.len())
    used = pl.Series([None], dtype=pl.String).new_from_index(0, text.len())
    for form in spec.formats:
        left = (local.is_null() & text.is_not_null()).arg_true()
        if not left.len():
            break
        if left.len() == text.len():
            local, offset = _read_one(text, form, spec)
            used = _where_read(local, form)
        else:
            read, by = _read_one(text.gather(left), form, spec)
            local, offset = local.scatter(left, read), offset.scatter(left, by)
            used = used.scatter(left, _where_read(read, form))
    return local, offset, used


def _where_read(local: pl.Series, form: str) -> pl.Series:
    """The format, wherever it fits."""
    return local.to_frame("at").select(pl.when(pl.col("at").is_not_null()).then(pl.lit(form)))["literal"]


def _read_one(text: pl.Series, form: str, spec: DateTime) -> tuple[pl.Series, pl.Series]:
    no_offset = pl.Series([None], dtype=pl.Int64).new_from_index(0, text.len())
    if form in EPOCHS:
        return _epoch(text, EPOCHS[form])
    if form == SPREADSHEET_DAYS:
        return _spreadsheet_days(text), no_offset
    if form.startswith(_DAYS_AND_TIME):
        return _days_and_time(text, form), no_offset
    if _ABBREVIATION_DIRECTIVE.search(form):
        return _with_abbreviation(text, form, spec)
    if form != "iso" and not _OFFSET_DIRECTIVE.search(form):
        return _parsed(text, form), no_offset
    written = text.str.extract(_OFFSET)
    offset = _offset_s(written)
    if form != "iso":
        local = _parsed(text.str.replace(_OFFSET, ""), _OFFSET_DIRECTIVE.sub("", form))
        return local.zip_with(offset.is_not_null(), local.clear(local.len())), offset
    # A date alone ends in what looks like an offset (-04), so an offset counts only after a time.
    timed = text.str.contains(":")
    naive = text.str.replace(_OFFSET, "").zip_with(timed, text).str.replace("T", " ")
    local = _parsed(naive, _ISO[0])
    for also in _ISO[1:]:
        local = local.zip_with(local.is_not_null(), _parsed(naive, also)) if local.null_count() else local
    unreal = timed & written.is_not_null() & offset.is_null()
    local = local.clear(local.len()).zip_with(unreal, local)
    return local, offset.zip_with(timed, no_offset)


def _parsed(text: pl.Series, form: str) -> pl.Series:
    read = text.str.to_datetime(form, strict=False, exact=True, time_unit="us", ambiguous="null")
    return _between(read, _EARLIEST, _LATEST)


def _between(read: pl.Series, earliest: datetime, latest: datetime) -> pl.Series:
    """The times inside a range; others are null."""
    at = pl.col("at")
    return read.to_frame("at").select(pl.when(at.is_between(earliest, latest)).then(at).alias("local"))[
        "local"
    ]


def _epoch(text: pl.Series, us_per_unit: int) -> tuple[pl.Series, pl.Series]:
    """Times counted from 1970 in UTC.

    Before 1980 the number is not a time: days of a spreadsheet, or a 0 that means blank, would otherwise
    become sales of 1970. Milliseconds read as seconds lie beyond the last year.
    """
    local = _between(_micros(text, us_per_unit).cast(DATETIME), _EARLIEST_EPOCH, _LATEST)
    return local, pl.Series([0], dtype=pl.Int64).new_from_index(0, text.len())


def _spreadsheet_days(text: pl.Series) -> pl.Series:
    """Days since 1899-12-30 with the time of day as their fraction, to the millisecond.

    A fraction of a day is not exact: 18:00:30 is stored as 18:00:29.9999999, hence the rounding.
    """
    millis = (_micros(text, _US_PER_DAY) / 1000).round().cast(pl.Int64)
    after = pl.Series([_FIRST_DAY], dtype=DATETIME).new_from_index(0, text.len()) + (millis * 1000).cast(
        pl.Duration("us")
    )
    return _between(after, _FIRST_DAY + timedelta(days=_EARLIEST_DAY), _LATEST)


def _days_and_time(text: pl.Series, form: str) -> pl.Series:
    """A whole number of days as above, a blank, and a time of day."""
    naive = form.removeprefix(_DAYS_AND_TIME).strip()
    day = _spreadsheet_days(text.str.extract(r"^(\d+)(?:\.0*)?\s"))
    clock = text.str.extract(r"^\S+\s+(.*)$")
    dated = (
        day.to_frame("day").select(pl.concat_str(pl.col("day").dt.strftime("%Y-%m-%d "), clock)).to_series()
    )
    return _parsed(dated, f"%Y-%m-%d {naive}")


def _with_abbreviation(text: pl.Series, form: str, spec: DateTime) -> tuple[pl.Series, pl.Series]:
    """Times with the abbreviation of a zone at the end; without a known one they are not dates."""
    known = ABBREVIATIONS | {name.upper(): offset for name, offset in (spec.abbreviations or {}).items()}
    named = text.str.extract(_ABBREVIATION).str.to_uppercase()
    offset = _offset_s(named.replace_strict(known, default=None, return_dtype=pl.String))
    local = _parsed(text.str.replace(_ABBREVIATION, ""), _ABBREVIATION_DIRECTIVE.sub("", form))
    return local.zip_with(offset.is_not_null(), local.clear(local.len())), offset


def _micros(text: pl.Series, us_per_unit: int) -> pl.Series:
    """Numbers in microseconds; null where the text is not a number, or the result is beyond all dates."""
    number = pl.col("text").cast(EXACT, strict=False)
    most = _MOST_MICROS // us_per_unit
    sized = pl.when(number.is_between(-most, most)).then(number)
    return text.to_frame("text").select((sized * us_per_unit).cast(pl.Int64, strict=False)).to_series()


def _offset_s(written: pl.Series) -> pl.Series:
    """Seconds east of UTC from `+0200`, `+02:00`, `+02` or `Z`; null where no such offset is in use."""
    text = pl.col("text")
    digits = text.str.replace(":", "").str.slice(1)
    hours = digits.str.slice(0, 2).cast(pl.Int64, strict=False)
    minutes = digits.str.slice(2).cast(pl.Int64, strict=False).fill_null(0)
    east = hours * 60 + minutes
    signed = pl.when(text.str.starts_with("-")).then(-east).otherwise(east)
    real = (minutes < 60) & signed.is_between(_WEST_MOST, _EAST_MOST)
    zero = text.is_in(["Z", "z", "UTC", "GMT"])
    seconds = pl.when(zero).then(0).when(real).then(signed * 60)
    return written.to_frame("text").select(seconds).to_series()
