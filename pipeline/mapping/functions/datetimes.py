"""Texts become moments in UTC, through the local time that a till's clock showed.

A text is cut into what the clock showed and, where it is written, the offset from UTC. Without an offset
a zone tells; there a local time may have happened twice, or never, when clocks were changed.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import partial

import polars as pl

from pipeline.mapping.functions.zones import zone_name
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.spec import DateTime

MOMENT = pl.Datetime("us")
MOMENTS = pl.Struct(
    {
        "utc": MOMENT,
        "local": MOMENT,
        "ambiguous": pl.Boolean,
        "unknown_zone": pl.Boolean,
        "format": pl.String,
    }
)
"""`utc` is null where the text is no date, the local time never was, or the zone is unknown; `local` and
`format`, by which it was read, are null only where the text is no date."""

_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(9999, 12, 31)  # noqa: DTZ001 naive on purpose
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_OFFSET = r"\s*(Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})$"
_OFFSET_DIRECTIVE = re.compile(r"\s*%(?::{0,3}|#)z$")
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}
"""Formats that count from 1970 in UTC, whatever the zone: how many microseconds one is."""
NAMED_FORMATS = ("iso", *EPOCHS, "spreadsheet_days")
"""Formats that have a name and no `%`."""
_EARLIEST_EPOCH = datetime(1980, 1, 1)  # noqa: DTZ001 smaller numbers count something else, such as days
_FIRST_DAY = datetime(1899, 12, 30)  # noqa: DTZ001 so that day 61 is 1900-03-01, as in every spreadsheet
_EARLIEST_DAY = 61  # before it, spreadsheets disagree: one of them has a 29 February 1900
_US_PER_DAY = 86_400_000_000
_EXACT = pl.Decimal(38, 12)
_MOST_MICROS = 4 * 10**17  # in the year 14,600; a product of it is within what a decimal holds
_EAST_MOST, _WEST_MOST = 14 * 60, -12 * 60
"""The offsets that are in use are between these, in minutes."""


def moments(text: pl.Expr, spec: DateTime, zone: str | pl.Expr | None) -> pl.Expr:
    """Parse dates and times to a struct of type `MOMENTS`.

    Args:
        text: The cells.
        spec: The formats, tried in order for each cell, and the rules for changed clocks.
        zone: The zone of times without an offset: one IANA name, a text for each row (as `zone_name`
            understands it), or None for UTC.

    Returns:
        An expression; a year before 1900 or after 9999 is no date (`%Y` reads 21 as the year 21).
    """
    if isinstance(zone, pl.Expr):
        both = pl.struct(text.alias("text"), zone.alias("zone"))
        return both.map_batches(partial(_by_zone, spec=spec), return_dtype=MOMENTS, is_elementwise=True)
    parse = partial(_moments, spec=spec, zone=zone or "UTC")
    return text.map_batches(parse, return_dtype=MOMENTS, is_elementwise=True)


def check_format(form: str) -> None:
    """Make sure that a format can tell a whole date.

    Raises:
        FormulaError: It cannot.
    """
    if form in NAMED_FORMATS:
        return
    if "%Z" in form:
        raise FormulaError(f"the format '{form}' reads a zone's name (%Z); give the zone in `timezone`")
    if "%z" in (naive := _OFFSET_DIRECTIVE.sub("", form)):
        raise FormulaError(f"in the format '{form}' the offset (%z) must stand at the end")
    sample = pl.Series([datetime(2021, 3, 4, 15, 6, 7)])  # noqa: DTZ001
    try:
        read = _parsed(sample.dt.strftime(naive), naive)[0]
    except pl.exceptions.PolarsError as error:
        raise FormulaError(f"the format '{form}' cannot be used: {error}") from None
    if read is None or read.date() != sample[0].date():
        raise FormulaError(
            f"the format '{form}' does not tell a whole date; day, month and year were expected, "
            "as in '%d/%m/%Y %H:%M:%S'"
        )


def _by_zone(both: pl.Series, spec: DateTime) -> pl.Series:
    """Parse each zone's rows on their own: there are few zones and many rows."""
    table = both.struct.unnest().with_row_index("at")
    parts = []
    for (written,), rows in table.partition_by("zone", as_dict=True).items():
        known = zone_name(str(written)) if written is not None else None
        read = _moments(rows["text"], spec, known)
        parts.append(rows.select("at").with_columns(read.alias("moments")))
    if not parts:
        return pl.Series([], dtype=MOMENTS)
    return pl.concat(parts).sort("at")["moments"]


def _moments(text: pl.Series, spec: DateTime, zone: str | None) -> pl.Series:
    """Parse texts of one zone; None where the zone is unknown, which matters only without an offset."""
    local, offset_s, form = _read(text, spec.formats)
    table = pl.DataFrame({"local": local, "offset": offset_s, "format": form})
    needs_zone = pl.col("local").is_not_null() & pl.col("offset").is_null()
    if zone is None:
        utc, ambiguous = pl.lit(None, MOMENT), pl.lit(False)
    else:
        table = table.with_columns(_in_zone(table, spec, zone))
        utc, ambiguous = pl.col("zoned"), pl.col("twice")
    by_offset = pl.col("local") - pl.duration(seconds=pl.col("offset"))
    if not table["offset"].null_count() < table.height:
        by_offset = pl.lit(None, MOMENT)
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
    """`zoned`: the local times as UTC; `twice`: those that happened twice."""
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
    """Times that the clock skipped, moved on by what it skipped: read with the offset from before.

    No zone skips more than a day, and changes are months apart, so the day before has that offset.
    """
    before = _to_utc(local.dt.offset_by("-1d"), zone, "latest")
    return before.dt.offset_by("1d")


def _read(text: pl.Series, formats: tuple[str, ...]) -> tuple[pl.Series, pl.Series, pl.Series]:
    """What the clock showed, the written offset in seconds (null where there is none), and the format."""
    local = pl.Series([None], dtype=MOMENT).new_from_index(0, text.len())
    offset = pl.Series([None], dtype=pl.Int64).new_from_index(0, text.len())
    used = pl.Series([None], dtype=pl.String).new_from_index(0, text.len())
    for form in formats:
        left = (local.is_null() & text.is_not_null()).arg_true()
        if not left.len():
            break
        if left.len() == text.len():
            local, offset = _read_one(text, form)
            used = _where_read(local, form)
        else:
            read, by = _read_one(text.gather(left), form)
            local, offset = local.scatter(left, read), offset.scatter(left, by)
            used = used.scatter(left, _where_read(read, form))
    return local, offset, used


def _where_read(local: pl.Series, form: str) -> pl.Series:
    """The format, wherever it read something."""
    return local.to_frame("at").select(pl.when(pl.col("at").is_not_null()).then(pl.lit(form)))["literal"]


def _read_one(text: pl.Series, form: str) -> tuple[pl.Series, pl.Series]:
    no_offset = pl.Series([None], dtype=pl.Int64).new_from_index(0, text.len())
    if form in EPOCHS:
        return _epoch(text, EPOCHS[form])
    if form == "spreadsheet_days":
        return _spreadsheet_days(text), no_offset
    if form != "iso" and not _OFFSET_DIRECTIVE.search(form):
        return _parsed(text, form), no_offset
    written = text.str.extract(_OFFSET)
    offset = _offset_s(written)
    if form != "iso":
        local = _parsed(text.str.replace(_OFFSET, ""), _OFFSET_DIRECTIVE.sub("", form))
        return local.zip_with(offset.is_not_null(), local.clear(local.len())), offset
    # A date alone ends in what looks like an offset (-04), so an offset counts only after a time.
    timed = text.str.contains(":", literal=True)
    naive = text.str.replace(_OFFSET, "").zip_with(timed, text).str.replace("T", " ", literal=True)
    local = _parsed(naive, _ISO[0])
    for also in _ISO[1:]:
        local = local.zip_with(local.is_not_null(), _parsed(naive, also)) if local.null_count() else local
    unreal = timed & written.is_not_null() & offset.is_null()
    local = local.clear(local.len()).zip_with(unreal.fill_null(value=False), local)
    return local, offset.zip_with(timed.fill_null(value=False), no_offset)


def _parsed(text: pl.Series, form: str) -> pl.Series:
    read = text.str.to_datetime(form, strict=False, exact=True, time_unit="us", ambiguous="null")
    return _between(read, _EARLIEST, _LATEST)


def _between(read: pl.Series, earliest: datetime, latest: datetime) -> pl.Series:
    """The moments that lie in a range; the others are null."""
    at = pl.col("at")
    return read.to_frame("at").select(pl.when(at.is_between(earliest, latest)).then(at).alias("local"))[
        "local"
    ]


def _epoch(text: pl.Series, us_per_unit: int) -> tuple[pl.Series, pl.Series]:
    """Moments counted from 1970 in UTC.

    A number so small that it falls before 1980 is none: days of a spreadsheet, or the 0 of a blank, would
    otherwise become sales of 1970. One of milliseconds read as seconds is far beyond the last year.
    """
    local = _between(_micros(text, us_per_unit).cast(MOMENT), _EARLIEST_EPOCH, _LATEST)
    return local, pl.Series([0], dtype=pl.Int64).new_from_index(0, text.len())


def _spreadsheet_days(text: pl.Series) -> pl.Series:
    """Days since 1899-12-30 with the time of day as their fraction, to the millisecond.

    A day's fraction has more digits than it is exact to, so 18:00:30 is stored as 18:00:29.9999999.
    """
    millis = (_micros(text, _US_PER_DAY) / 1000).round().cast(pl.Int64)
    after = pl.Series([_FIRST_DAY], dtype=MOMENT).new_from_index(0, text.len()) + (millis * 1000).cast(
        pl.Duration("us")
    )
    return _between(after, _FIRST_DAY + timedelta(days=_EARLIEST_DAY), _LATEST)


def _micros(text: pl.Series, us_per_unit: int) -> pl.Series:
    """Numbers times so many microseconds; null where that is no number, or beyond all dates."""
    number = pl.col("text").cast(_EXACT, strict=False)
    most = _MOST_MICROS // us_per_unit
    sized = pl.when(number.is_between(-most, most)).then(number)
    return text.to_frame("text").select((sized * us_per_unit).cast(pl.Int64, strict=False)).to_series()


def _offset_s(written: pl.Series) -> pl.Series:
    """Seconds east of UTC from `+0200`, `+02:00`, `+02` or `Z`; null where there is none in use like it."""
    text = pl.col("text")
    digits = text.str.replace(":", "", literal=True).str.slice(1)
    hours = digits.str.slice(0, 2).cast(pl.Int64, strict=False)
    minutes = digits.str.slice(2, 2).cast(pl.Int64, strict=False).fill_null(0)
    east = hours * 60 + minutes
    signed = pl.when(text.str.starts_with("-")).then(-east).otherwise(east)
    real = (minutes < 60) & signed.is_between(_WEST_MOST, _EAST_MOST)
    zero = text.is_in(["Z", "z", "UTC", "GMT"])
    seconds = pl.when(zero).then(0).when(real).then(signed * 60)
    return written.to_frame("text").select(seconds).to_series()
