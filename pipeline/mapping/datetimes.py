"""Texts become moments in UTC, through the local time that a till's clock showed.

A text is cut into what the clock showed and, where it is written, the offset from UTC. Without an offset
a zone tells; there a local time may have happened twice, or never, when clocks were changed.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial

import polars as pl

from pipeline.mapping.faults import FormulaError
from pipeline.mapping.spec import DateTime
from pipeline.mapping.zones import zone_name

MOMENT = pl.Datetime("us")
MOMENTS = pl.Struct({"utc": MOMENT, "local": MOMENT, "ambiguous": pl.Boolean, "unknown_zone": pl.Boolean})
"""`utc` is null where the text is no date, the local time never was, or the zone is unknown; `local` is
null only where the text is no date."""

_EARLIEST, _LATEST = datetime(1900, 1, 1), datetime(9999, 12, 31)  # noqa: DTZ001 naive on purpose
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_OFFSET = r"\s*(Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})$"
_OFFSET_DIRECTIVE = re.compile(r"\s*%(?::{0,3}|#)z$")
_EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}


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
    if form == "iso" or form in _EPOCHS:
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
    local, offset_s = _read(text, spec.formats)
    table = pl.DataFrame({"local": local, "offset": offset_s})
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


def _read(text: pl.Series, formats: tuple[str, ...]) -> tuple[pl.Series, pl.Series]:
    """What the clock showed, and the written offset from UTC in seconds (null where none is written)."""
    local = pl.Series([None], dtype=MOMENT).new_from_index(0, text.len())
    offset = pl.Series([None], dtype=pl.Int64).new_from_index(0, text.len())
    for form in formats:
        left = (local.is_null() & text.is_not_null()).arg_true()
        if not left.len():
            break
        if left.len() == text.len():
            local, offset = _read_one(text, form)
        else:
            read, by = _read_one(text.gather(left), form)
            local, offset = local.scatter(left, read), offset.scatter(left, by)
    return local, offset


def _read_one(text: pl.Series, form: str) -> tuple[pl.Series, pl.Series]:
    no_offset = pl.Series([None], dtype=pl.Int64).new_from_index(0, text.len())
    if form in _EPOCHS:
        return _epoch(text, _EPOCHS[form])
    if form != "iso" and not _OFFSET_DIRECTIVE.search(form):
        return _parsed(text, form), no_offset
    offset = _offset_s(text.str.extract(_OFFSET))
    if form != "iso":
        local = _parsed(text.str.replace(_OFFSET, ""), _OFFSET_DIRECTIVE.sub("", form))
        return local.zip_with(offset.is_not_null(), local.clear(local.len())), offset
    # A date alone ends in what looks like an offset (-04), so an offset counts only after a time.
    timed = text.str.contains(":", literal=True)
    naive = text.str.replace(_OFFSET, "").zip_with(timed, text).str.replace("T", " ", literal=True)
    local = _parsed(naive, _ISO[0])
    for also in _ISO[1:]:
        local = local.zip_with(local.is_not_null(), _parsed(naive, also)) if local.null_count() else local
    return local, offset.zip_with(timed.fill_null(value=False), no_offset)


def _parsed(text: pl.Series, form: str) -> pl.Series:
    read = text.str.to_datetime(form, strict=False, exact=True, time_unit="us", ambiguous="null")
    return (
        read.to_frame("at")
        .select(pl.when(pl.col("at").is_between(_EARLIEST, _LATEST)).then("at").alias("local"))
        .to_series()
    )


def _epoch(text: pl.Series, us_per_unit: int) -> tuple[pl.Series, pl.Series]:
    units = text.to_frame("text").select(pl.col("text").cast(pl.Decimal(38, 6), strict=False))
    micros = units.select((pl.col("text") * us_per_unit).cast(pl.Int64, strict=False)).to_series()
    local = micros.cast(MOMENT)
    return local, pl.Series([0], dtype=pl.Int64).new_from_index(0, text.len())


def _offset_s(written: pl.Series) -> pl.Series:
    """Seconds east of UTC from `+0200`, `+02:00`, `+02` or `Z`; null where there is none."""
    text = pl.col("text")
    digits = text.str.replace(":", "", literal=True).str.slice(1)
    hours = digits.str.slice(0, 2).cast(pl.Int64, strict=False)
    minutes = digits.str.slice(2, 2).cast(pl.Int64, strict=False).fill_null(0)
    seconds = hours * 3600 + minutes * 60
    signed = pl.when(text.str.starts_with("-")).then(-seconds).otherwise(seconds)
    zero = text.is_in(["Z", "z", "UTC", "GMT"])
    return written.to_frame("text").select(pl.when(zero).then(0).otherwise(signed)).to_series()
