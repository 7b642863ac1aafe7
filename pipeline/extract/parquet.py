"""Parquet files: every cell as text, exactly, nested columns as JSON text."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, cast

import polars as pl

from pipeline import parquet
from pipeline.errors import SourceError
from pipeline.extract.rows import Batch
from pipeline.extract.storage import SourceFile
from pipeline.model import LINE
from pipeline.names import usable_names

SLICE_ROWS: Final = 1 << 18
"""Rows decoded at a time: measured, fewer decode large row groups too often, more cost memory."""
BATCH_ROWS: Final = 1 << 16
_EMPTY_AS_NULL: Final = pl.when(pl.all() != "").then(pl.all())


class ParquetReader:
    """Reads one Parquet file.

    Numbers are written in full and as short as their type allows (a decimal keeps its places), booleans
    as `true` and `false`, dates and times in ISO 8601, with an offset where the column has a zone. A NaN
    is no value. Bytes that are no text are written in hex. Lists, structs and maps (lists of `key` and
    `value`) become JSON text, in which every value is such a string too. LINE is the row's number, from 1.

    Attributes:
        columns: See `Reader`.
        header: See `Reader`.
        notices: See `Reader`.
    """

    def __init__(self, file: SourceFile) -> None:
        """Open the file and read its schema.

        Raises:
            SourceError: It cannot be read or is not Parquet.
        """
        self._name = file.name
        try:
            self._scan = parquet.scan(file.uri)
            schema = self._scan.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SourceError(f"{file.name} cannot be read as Parquet: {error}") from error
        self.header = schema.names()
        self.columns, self.notices = usable_names(self.header)
        self._texts = [
            as_text(pl.col(old), schema[old]).alias(new)
            for new, old in zip(self.columns, schema, strict=True)
        ]

    def cells(self, _raw: str) -> list[str]:
        """None: no row of such a file is malformed."""
        return []

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; call it once.

        Raises:
            SourceError: The file is damaged, or a column is of a type that has no text.
        """
        first = 1
        while (rows := self._slice(first - 1)).height:
            lines = pl.int_range(first, first + rows.height, dtype=pl.Int64, eager=True).alias(LINE)
            yield from map(Batch, rows.with_columns(lines).iter_slices(BATCH_ROWS))
            first += rows.height

    def _slice(self, start: int) -> pl.DataFrame:
        try:
            return self._scan.slice(start, SLICE_ROWS).collect().select(self._texts).select(_EMPTY_AS_NULL)
        except (pl.exceptions.PolarsError, OSError) as error:
            message = str(error).split("\n", 1)[0]
            raise SourceError(f"{self._name} cannot be read from row {start + 1:,} on: {message}") from error


def as_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The text of a value of any type, as `ParquetReader` tells it; null stays null."""
    if not dtype.is_nested():
        return _leaf(value, dtype)
    # json_encode knows structs only: the value is wrapped in one, and the wrapping cut off.
    encoded = pl.struct(_strings(value, dtype).alias("v")).struct.json_encode()
    return pl.when(value.is_not_null()).then(encoded.str.slice(5).str.head(-1))


def _strings(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The value with every leaf as String, its lists and structs kept."""
    if isinstance(dtype, pl.Array):
        value, dtype = value.arr.to_list(), pl.List(dtype.inner)
    if isinstance(dtype, pl.Map):
        value, dtype = value.map.entries(), pl.List(pl.Struct({"key": dtype.key, "value": dtype.value}))
    if isinstance(dtype, pl.List):
        return value.list.eval(_strings(pl.element(), cast("pl.DataType", dtype.inner)))
    if isinstance(dtype, pl.Struct):
        fields = [
            _strings(value.struct.field(field.name), cast("pl.DataType", field.dtype)).alias(field.name)
            for field in dtype.fields
        ]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    return _leaf(value, dtype)


def _leaf(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return value.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + ("%:z" if dtype.time_zone else ""))
    if isinstance(dtype, pl.Time):
        return value.dt.strftime("%H:%M:%S%.f")
    if isinstance(dtype, pl.Duration):
        return value.dt.to_string("iso")
    if isinstance(dtype, pl.Binary):
        return value.map_batches(_bytes_as_text, return_dtype=pl.String)
    if dtype.is_float():
        return value.fill_nan(None).cast(pl.String).map_batches(_without_exponent, return_dtype=pl.String)
    return value.cast(pl.String)


def _without_exponent(numbers: pl.Series) -> pl.Series:
    """Write numbers such as `1e-7` in full; few are that large or small, so they are done one by one."""
    short = numbers.filter(numbers.str.contains("e", literal=True)).unique()
    if not len(short):
        return numbers
    return numbers.replace(short, pl.Series([f"{Decimal(number):f}" for number in short], dtype=pl.String))


def _bytes_as_text(values: pl.Series) -> pl.Series:
    """Take bytes for UTF-8, as writers without a text type mean them; what is none, one by one, in hex."""
    try:
        text = values.cast(pl.String)
    except pl.exceptions.PolarsError:
        pass
    else:
        if not text.str.contains("\0", literal=True).any():
            return text
    return pl.Series([_text_or_hex(value) if value else None for value in values], dtype=pl.String)


def _text_or_hex(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return value.hex() if "\0" in text else text
