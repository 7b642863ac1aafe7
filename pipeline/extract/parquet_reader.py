"""Parquet files: every cell as text, exactly, nested columns as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, cast

import polars as pl

from pipeline.core import parquet
from pipeline.core.errors import SourceError
from pipeline.core.header_names import usable_names
from pipeline.core.model import LINE
from pipeline.extract.rows import NUL_MESSAGE, Batch, lines_with_nul
from pipeline.extract.storage import SourceFile

SLICE_ROWS: Final = 1 << 18
"""Rows decoded at a time. Measured: with fewer, large row groups are decoded too often; more cost memory."""
BATCH_ROWS: Final = 1 << 16
_LOOKED_AT: Final = 1_000
"""Values by which a column of bytes is taken for text or not."""
_NO_TEXT: Final = "__no_text"
_EMPTY_AS_NULL: Final = pl.when(pl.all() != "").then(pl.all())


class ParquetReader:
    """Reads one Parquet file.

    Numbers are written in full and as short as their type allows (a decimal keeps its places), booleans
    as `true` and `false`, dates and times in ISO 8601, with an offset where the column has a zone. A NaN
    counts as null. A column of bytes is text, unless most of its first values are not: then all of it is
    written in hex. A row with bytes that are not text in a column of text, or with a NUL character, is
    malformed; within lists and structs such bytes are written in hex. Lists, structs and maps (lists of
    `key` and `value`) become JSON text, in which every value is such a string too. LINE is the row's
    number, from 1.

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
            raise SourceError(
                f"{file.name} cannot be read as Parquet: {error}",
                hint="It is cut short or damaged: is it still being copied?",
            ) from error
        self.header = schema.names()
        self.columns, self.notices = usable_names(self.header)
        in_hex = self._in_hex([old for old, kind in schema.items() if kind == pl.Binary])
        self._texts: list[pl.Expr] = []
        self._bytes: dict[str, str] = {}  # columns of bytes that count as text, by their name in the file
        self._written: list[str] = []  # columns in which a NUL can be
        for (old, kind), new in zip(schema.items(), self.columns, strict=True):
            text = as_text(pl.col(old), kind)
            if old in in_hex:
                text = pl.col(old).bin.encode("hex")
            elif kind == pl.Binary:
                text = pl.col(old).map_batches(_as_text, return_dtype=pl.String)
                self._bytes[old] = new
            self._texts.append(text.alias(new))
            if kind in (pl.String, pl.Binary, pl.Categorical):
                self._written.append(new)

    def _in_hex(self, names: list[str]) -> set[str]:
        """The columns of bytes that hold other things than text, such as ids of 16 bytes."""
        if not names:
            return set()
        head = self._scan.select(names).head(_LOOKED_AT).collect()
        texts = {name: _as_text(head[name]).null_count() - head[name].null_count() for name in names}
        return {name for name, lost in texts.items() if 2 * lost > head.height - head[name].null_count()}

    def cells(self, raw: str) -> list[str]:
        """The cells of a row with bytes that are not text."""
        return ["" if cell is None else cell for cell in json.loads(raw).values()]

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
            yield from map(self._batch, rows.with_columns(lines).iter_slices(BATCH_ROWS))
            first += rows.height

    def _batch(self, rows: pl.DataFrame) -> Batch:
        with_nul = lines_with_nul(rows.select(*self._written, LINE))
        no_text = rows.filter(_NO_TEXT)[LINE]
        rows = rows.drop(_NO_TEXT)
        if with_nul.is_empty() and no_text.is_empty():
            return Batch(rows)
        is_nul, is_bytes = (pl.col(LINE).is_in(some.implode()) for some in (with_nul, no_text))
        message = (
            pl.when(is_nul).then(pl.lit(NUL_MESSAGE)).otherwise(pl.lit("a cell holds bytes that are no text"))
        )
        raw = pl.struct(self.columns).struct.json_encode()
        odd = rows.filter(is_nul | is_bytes).select(LINE, raw.alias("raw"), message.alias("message"))
        return Batch(rows.filter(~(is_nul | is_bytes)), odd)

    def _slice(self, start: int) -> pl.DataFrame:
        try:
            cells = self._scan.slice(start, SLICE_ROWS).collect()
            texts = cells.select(self._texts)
            lost = [cells[old].is_not_null() & texts[new].is_null() for old, new in self._bytes.items()]
            no_text = pl.any_horizontal(pl.lit(value=False), *lost)
            return texts.select(_EMPTY_AS_NULL).with_columns(no_text.alias(_NO_TEXT))
        except (pl.exceptions.PolarsError, OSError) as error:
            message = str(error).split("\n", 1)[0]
            raise SourceError(f"{self._name} cannot be read from row {start + 1:,} on: {message}") from error


def as_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The text of a value of any type, in the form that `ParquetReader` describes; null stays null."""
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
        return value.map_batches(_text_or_hex, return_dtype=pl.String)
    if dtype.is_float():
        return value.fill_nan(None).cast(pl.String).map_batches(_without_exponent, return_dtype=pl.String)
    return value.cast(pl.String)


def _without_exponent(numbers: pl.Series) -> pl.Series:
    """Write small numbers such as `1e-7` in full, and large ones as spreadsheets do, as in `1.5E+18`.

    A binary number of 17 digits or more has lost some, which matters where it is an id: so it shows. Few are
    that large or small, so they are done one by one.
    """
    short = numbers.filter(numbers.str.contains("e", literal=True)).unique()
    if not len(short):
        return numbers
    written = [f"{Decimal(n):f}" if "e-" in n else n.upper() for n in short]
    return numbers.replace(short, pl.Series(written, dtype=pl.String))


def _as_text(values: pl.Series) -> pl.Series:
    """Take bytes for UTF-8, as writers without a text type mean them; what is none, one by one, is null."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series([_decoded(value) for value in values], dtype=pl.String)


def _text_or_hex(values: pl.Series) -> pl.Series:
    text = _as_text(values)
    is_text = text.is_not_null() & ~text.str.contains("\0", literal=True)
    return text.zip_with(is_text, values.bin.encode("hex"))


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
