"""Large files as ranges that are read alone, so that several workers read one file.

A range of Parquet begins at a row group, one of CSV or JSON lines at a record. A text file has to be read
once for that: where its records begin, and on which lines, shows no sooner. Its fingerprint comes with it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Final, cast

import polars as pl
import pyarrow as pa

from pipeline.core.model import KEY, LINE
from pipeline.core.storage.compression import compression_of
from pipeline.core.storage.file_formats import PARQUET
from pipeline.extract.csv_reader import CsvReader
from pipeline.extract.jsonl_reader import newlines
from pipeline.extract.parquet_reader import ParquetReader, row_group_sizes
from pipeline.extract.readers import open_range, open_reader
from pipeline.extract.rows import Reader
from pipeline.extract.source_files import SourceStream, open_parquet, open_part, open_raw
from pipeline.extract.text_ranges import (
    FILE_START,
    RangeForm,
    RecordStart,
    TextRange,
)
from pipeline.mapping.layout.row_keys import carries_keys
from pipeline.workflows.preparation.import_plan import ImportPlan
from pipeline.workflows.preparation.sources import KeyedRows, RunSource, with_source

_RANGE: Final = 1.2
"""Text of a range, in partitions: as much as those of a whole file have, which end with a block of it."""
_LOOKED_AT: Final = 1_000
"""Rows behind a possible start among which a transaction must begin, or the range goes on."""
_LOOKED_AT_BYTES: Final = 1 << 14
"""The same, of text: a store gives it once more."""
_SCANNED_BYTES: Final = 1 << 18
"""What is searched for records at a time; more does not stay in a processor's cache."""


def file_ranges(source: RunSource, plan: ImportPlan) -> list[RunSource]:
    """The file as ranges of about a partition's size; as it is where it cannot be cut.

    No range parts a transaction whose rows lie together: each begins where the key of the rows changes. A
    file is not cut where rows depend on those above them.

    Raises:
        SourceError: The file cannot be read.
    """
    spec = plan.spec.source
    if carries_keys(plan.spec):
        return [source]
    if is_parquet(source, plan):
        return _row_group_ranges(source, plan)
    if source.starts:
        return _text_ranges(source, source.starts, RangeForm("jsonl", spec.csv, newlines), plan)
    reader = open_reader(
        source.file, spec.csv, spec.format, spec.excel, header=source.header, only_header=True
    )
    reader.close()
    if not isinstance(reader, CsvReader) or (form := reader.range_form) is None:
        return [source]
    with open_raw(source.file) as stored:
        if compression_of(stored.peek(4)):
            return [source]
        scanned = max(1, min(_SCANNED_BYTES, int(_RANGE * plan.partition_bytes) // 8))
        ranges = _text_ranges(source, reader.record_starts(stored, scanned), form, plan)
    return [replace(each, fingerprint=stored.fingerprint) for each in ranges]


def is_parquet(source: RunSource, plan: ImportPlan) -> bool:
    """Whether a file is Parquet by its name or the mapping."""
    format_ = plan.spec.source.format
    return format_ == "parquet" or (format_ is None and source.file.uri.lower().endswith(PARQUET))


# ── Text ────────────────────────────────────────────────────────────────────────────────────────────


def _text_ranges(
    source: RunSource, starts: Iterable[RecordStart], form: RangeForm, plan: ImportPlan
) -> list[RunSource]:
    begins = [FILE_START]
    for start in _spaced(starts, int(_RANGE * plan.partition_bytes)):
        part = TextRange(start, source.file.size, form.format, form.dialect)
        if begin := _begin_of_text(replace(source, rows=part), part, form, plan):
            begins.append(begin)
    ends = [*(begin.byte for begin in begins[1:]), source.file.size]
    dialects = [plan.spec.source.csv, *(form.dialect for _ in begins[1:])]
    return [
        replace(source, rows=TextRange(begin, end, form.format, dialect), starts=())
        for begin, end, dialect in zip(begins, ends, dialects, strict=True)
        if begin.byte < end
    ]


def _spaced(starts: Iterable[RecordStart], most: int) -> Iterator[RecordStart]:
    """Those that cut a file into pieces of not more than `most` bytes, as far as they lie close enough."""
    first, last = 0, FILE_START
    for start in starts:
        if start.byte - first > most and last.byte > first:
            yield last
            first = last.byte
        last = start


def _begin_of_text(
    source: RunSource, part: TextRange, form: RangeForm, plan: ImportPlan
) -> RecordStart | None:
    """Where the first transaction behind the first row of a range begins; None if that is far."""
    with open_part(source.file, part.start.byte, min(part.end, part.start.byte + _LOOKED_AT_BYTES)) as stored:
        text = stored.read()
    ends = form.line_ends(text)
    if not len(ends):
        return None
    lines = io.BytesIO(text[: int(ends[-1]) + 1])
    stream = SourceStream(cast("io.RawIOBase", lines), lambda: None)
    reader = open_range(source.file, part, source.header, stream=stream)
    line = _first_of_transaction(reader, KeyedRows(plan.spec, source.table))
    if line is None:
        return None
    return RecordStart(part.start.byte + int(ends[line - part.start.line - 1]) + 1, line)


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────────


def _row_group_ranges(source: RunSource, plan: ImportPlan) -> list[RunSource]:
    """Row groups of about a partition's size together: only their keys are read."""
    if plan.spec.source.rows.skip:
        return [source]
    try:
        with open_parquet(source.file) as file:
            groups = row_group_sizes(file)
    except (pa.ArrowException, OSError):  # named as Parquet only
        return [source]
    starts, row, size = [0], 0, 0
    for rows, group_bytes in groups:
        if size and size + group_bytes > plan.partition_bytes:
            starts.append(row)
            size = 0
        row += rows
        size += group_bytes
    begins = [begin for start in starts[1:] if (begin := _begin_of_rows(source, plan, start)) is not None]
    if not begins:
        return [source]
    bounds = [0, *dict.fromkeys(begins), row]
    return [replace(source, rows=range(*bound)) for bound in pairwise(bounds) if bound[0] < bound[1]]


def _begin_of_rows(source: RunSource, plan: ImportPlan, start: int) -> int | None:
    """The first row from `start` on that has another key than the row before it; None if that is far."""
    keyed = KeyedRows(plan.spec, source.table)
    # One row earlier, since only that row shows whether a transaction begins at `start`.
    reader = ParquetReader(source.file, range(start - 1, start + _LOOKED_AT), keyed.cells)
    if {*keyed.cells}.isdisjoint(reader.columns):
        reader.close()
        return None
    line = _first_of_transaction(reader, keyed)
    return None if line is None else line - 1


def _first_of_transaction(reader: Reader, keyed: KeyedRows) -> int | None:
    """LINE of the first row whose key is not that of the row above it.

    None where there is none, or only behind a row that could not be read: other lines may seem to be rows
    there.
    """
    previous, is_first = None, True
    for batch in reader.batches():
        readable = batch.rows
        if batch.malformed.height:
            readable = readable.filter(pl.col(LINE) < batch.malformed[LINE].min())
        rows, _ = keyed.add(with_source(readable, 0))
        for key, line in rows.select(KEY, LINE).iter_rows() if rows.height else ():
            # A row without a key is a transaction of its own.
            if not is_first and (previous is None or key != previous):
                return int(line)
            previous, is_first = key, False
        if batch.malformed.height:
            return None
    return None
