"""Parquet files: every cell as text, exactly, nested columns as JSON text."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from decimal import Decimal
from itertools import accumulate
from typing import Final, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import SourceError
from pipeline.core.long_numbers import EXACT_BELOW, with_exponent
from pipeline.core.model import LINE
from pipeline.core.storage.parquet import frame_of
from pipeline.core.text.header_names import usable_names
from pipeline.extract.rows import NUL_MESSAGE, Batch, lines_with_nul
from pipeline.extract.source_files import SourceFile, open_parquet

DECODED_ROWS: Final = 1 << 12
SLICE_BYTES: Final = 4 << 20
"""Decoded bytes that become text at a time: as text, lists of objects are several times as large."""
_LOOKED_AT: Final = 1_000
"""Values by which a column of bytes is taken for text or not."""
_NO_TEXT: Final = "__no_text"
_EXACT_BELOW: Final[dict[pl.DataType, int]] = {
    pl.Float16(): 1 << 11,
    pl.Float32(): 1 << 24,
    pl.Float64(): EXACT_BELOW,
}
"""All whole numbers below have a binary number of their own."""
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

    def __init__(
        self, file: SourceFile, rows: range | None = None, columns: Collection[str] | None = None
    ) -> None:
        """Open the file and read its schema.

        Args:
            file: The file.
            rows: Which rows to read, counted from 0; None for all.
            columns: Which columns to read; None for all.

        Raises:
            SourceError: It cannot be read or is not Parquet.
        """
        self._name = file.name
        self._rows = rows
        try:
            self._file = open_parquet(file)
            schema = frame_of(self._file.schema_arrow.empty_table()).schema
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
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
        self._read: list[str] = []  # the columns to read, by their name in the file
        for (old, kind), new in zip(schema.items(), self.columns, strict=True):
            if columns is not None and new not in columns:
                continue
            self._read.append(old)
            text = as_text(pl.col(old), kind)
            if old in in_hex:
                text = pl.col(old).bin.encode("hex")
            elif kind == pl.Binary:
                text = pl.col(old).map_batches(_as_text, return_dtype=pl.String)
                self._bytes[old] = new
            self._texts.append(text.alias(new))
            # Texts of other types are made here, so no NUL can be in them.
            if kind in (pl.String, pl.Binary, pl.Categorical):
                self._written.append(new)

    def _in_hex(self, names: list[str]) -> set[str]:
        """The columns of bytes that hold other things than text, such as ids of 16 bytes."""
        if not names:
            return set()
        batch = next(self._file.iter_batches(_LOOKED_AT, columns=names), None)
        if batch is None:
            return set()
        head = frame_of(pa.Table.from_batches([batch]))
        texts = {name: _as_text(head[name]).null_count() - head[name].null_count() for name in names}
        # Most of the values looked at are no text, so the column holds something else.
        return {name for name, lost in texts.items() if 2 * lost > head.height - head[name].null_count()}

    @property
    def fingerprint(self) -> None:
        """See `Reader`: only the columns are read."""

    def cells(self, raw: str) -> list[str]:
        """The cells of a row with bytes that are not text."""
        return ["" if cell is None else cell for cell in json.loads(raw).values()]

    def close(self) -> None:
        """Close the file; needed only where `batches` is not read to its end."""
        self._file.close(force=True)

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; call it once.

        Raises:
            SourceError: The file is damaged, or a column is of a type that has no text.
        """
        first = self._rows.start + 1 if self._rows else 1
        with self._file:
            for cells in self._slices():
                lines = pl.int_range(first, first + cells.height, dtype=pl.Int64, eager=True).alias(LINE)
                yield self._batch(self._texts_of(cells, first).with_columns(lines))
                first += cells.height

    def _slices(self) -> Iterator[pl.DataFrame]:
        """The decoded rows: so many at a time that their text is not too large, however wide they are."""
        waiting: list[pa.RecordBatch] = []
        read = 0
        try:
            for batch in self._batches():
                waiting.append(batch)
                if sum(each.nbytes for each in waiting) >= SLICE_BYTES:
                    yield frame_of(pa.Table.from_batches(waiting))
                    read += sum(each.num_rows for each in waiting)
                    waiting.clear()
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(read, error) from error
        if waiting:
            yield frame_of(pa.Table.from_batches(waiting))

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """The wanted rows as they are decoded; only the row groups that have some are read."""
        sizes = [rows for rows, _ in row_group_sizes(self._file)]
        wanted = self._rows if self._rows is not None else range(sum(sizes))
        ends = list(accumulate(sizes))
        groups = [n for n, end in enumerate(ends) if end > wanted.start and end - sizes[n] < wanted.stop]
        if not groups:
            return
        first = ends[groups[0]] - sizes[groups[0]]
        for batch in self._file.iter_batches(DECODED_ROWS, row_groups=groups, columns=self._read):
            before = max(0, wanted.start - first)
            some = batch.slice(before, max(0, wanted.stop - first - before))
            if some.num_rows:
                yield some
            first += batch.num_rows
            if first >= wanted.stop:
                return

    def _unreadable(self, rows: int, error: Exception) -> SourceError:
        message = str(error).split("\n", 1)[0]
        return SourceError(f"{self._name} cannot be read from row {rows + 1:,} on: {message}")

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

    def _texts_of(self, cells: pl.DataFrame, first: int) -> pl.DataFrame:
        try:
            texts = cells.select(self._texts)
            lost = [cells[old].is_not_null() & texts[new].is_null() for old, new in self._bytes.items()]
            no_text = pl.any_horizontal(pl.lit(value=False), *lost)
            return texts.select(_EMPTY_AS_NULL).with_columns(no_text.alias(_NO_TEXT))
        except pl.exceptions.PolarsError as error:
            raise self._unreadable(first - 1, error) from error


def row_group_sizes(file: pq.ParquetFile) -> list[tuple[int, int]]:
    """The rows of each row group, and its size in bytes as encoded, before compression."""
    groups = (file.metadata.row_group(n) for n in range(file.metadata.num_row_groups))
    return [(group.num_rows, group.total_byte_size) for group in groups]


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
        return value.map_batches(_text_or_hex, return_dtype=pl.String, is_elementwise=True)
    if dtype.is_float():
        return value.map_batches(_float_texts, return_dtype=pl.String, is_elementwise=True)
    return value.cast(pl.String)


def _float_texts(numbers: pl.Series) -> pl.Series:
    """Write small numbers such as `1e-7` in full, and large ones as spreadsheets do, as in `1.5E+18`.

    From 2**53 on (2**24 in 32 bits) a binary number may have lost its last digits, which matters where it is
    an id: so it shows. Few are that large or small, so they are done one by one.
    """
    texts = numbers.fill_nan(None).cast(pl.String)
    is_large = (numbers.abs() >= _EXACT_BELOW[numbers.dtype]) & numbers.is_finite()
    odd = texts.filter(is_large | texts.str.contains("e-", literal=True)).unique()
    if not len(odd):
        return texts
    written = [f"{Decimal(n):f}" if "e-" in n else with_exponent(n) for n in odd]
    return texts.replace(odd, pl.Series(written, dtype=pl.String))


def _as_text(values: pl.Series) -> pl.Series:
    """Read bytes as UTF-8, which writers without a text type mean; a value that is no UTF-8 is null."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series([_decoded(value) for value in values], dtype=pl.String)


def _text_or_hex(values: pl.Series) -> pl.Series:
    text = _as_text(values)
    # A NUL is valid UTF-8, but no text has one.
    is_text = text.is_not_null() & ~text.str.contains("\0", literal=True)
    return text.zip_with(is_text, values.bin.encode("hex"))


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
