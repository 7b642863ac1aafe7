"""JSON text built by polars expressions; members and entries that are null are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from pipeline.mapping.functions.numbers import decimal_text

DATETIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def scalar(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A text, number, boolean, or date and time (UTC) as JSON; null stays null."""
    if isinstance(dtype, pl.Decimal):
        return decimal_text(value)
    if dtype.is_integer() or dtype == pl.Boolean:
        return value.cast(pl.String)
    if dtype.is_temporal():
        value = value.dt.strftime(DATETIME_FORMAT)
    return _encoded(value)


def texts(value: pl.Expr) -> pl.Expr:
    """A list of texts as JSON; null where it is null or empty."""
    return pl.when(value.list.len() > 0).then(_encoded(value))


def members(values: Mapping[str, pl.Expr]) -> pl.Expr:
    """An object of members that are JSON already; null where none has a value."""
    named = [pl.when(value.is_not_null()).then(_prefixed(name, value)) for name, value in values.items()]
    return _wrapped("{", named, "}")


def entries(values: Sequence[pl.Expr]) -> pl.Expr:
    """A list of entries that are JSON already; null where none has a value."""
    return _wrapped("[", values, "]")


def inner(listed: pl.Expr) -> pl.Expr:
    """The entries of a JSON list without its brackets, to become part of a longer list."""
    return listed.str.strip_prefix("[").str.strip_suffix("]")


def _encoded(value: pl.Expr) -> pl.Expr:
    # polars encodes structs only, so the name of the member and the braces are cut off again.
    text = pl.struct(value.alias("")).struct.json_encode()
    return pl.when(value.is_not_null()).then(text.str.strip_prefix('{"":').str.strip_suffix("}"))


def _prefixed(name: str, value: pl.Expr) -> pl.Expr:
    quoted = pl.select(_encoded(pl.lit(name))).item()
    return pl.concat_str(pl.lit(f"{quoted}:"), value)


def _wrapped(opening: str, parts: Sequence[pl.Expr], closing: str) -> pl.Expr:
    joined = pl.concat_str(parts, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(pl.concat_str(pl.lit(opening), joined, pl.lit(closing)))
