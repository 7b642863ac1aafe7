"""Chooses the reader for a file: of the format that is stated, or else found by its first bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.core.model import Dialect, Worksheet
from pipeline.core.storage.file_formats import FORMATS, PARQUET, PARQUET_BEGINS, FileFormat
from pipeline.extract.csv_reader import CsvReader
from pipeline.extract.encodings import bom_of
from pipeline.extract.excel_reader import ExcelReader, is_workbook
from pipeline.extract.fixed_width import FixedWidthReader
from pipeline.extract.jsonl_reader import BLOCK_BYTES as JSON_BLOCK_BYTES
from pipeline.extract.jsonl_reader import JsonLinesReader
from pipeline.extract.parquet_reader import ParquetReader
from pipeline.extract.rows import Reader
from pipeline.extract.source_files import (
    HEADER_BYTES,
    SourceFile,
    SourceStream,
    is_json_lines,
    open_part,
    open_raw,
    open_text,
)
from pipeline.extract.text_ranges import TextRange
from pipeline.extract.text_reader import BLOCK_BYTES


def open_reader(
    file: SourceFile,
    dialect: Dialect,
    format: FileFormat | None = None,
    sheet: Worksheet | None = None,
    *,
    header: Sequence[str] | None = None,
    rows: range | TextRange | None = None,
    only_header: bool = False,
    block_bytes: int | None = None,
) -> Reader:
    """Open a file for reading rows.

    Args:
        file: The file.
        dialect: How it is written, where it is CSV.
        format: What it is; None finds out by its first bytes. `xlsx` may also be CSV, as the rows to fix of a
            workbook are.
        sheet: What is read of it, where it is a workbook.
        header: Its header where that is known: JSON lines would be read once more to know it.
        rows: Which rows are read: of a Parquet file counted from 0, of a text file as a range; None for all.
        only_header: Whether the rows will not be read; less is fetched from a store then.
        block_bytes: How much of a text file is read at a time; None for what is fastest for whole files.

    Raises:
        SourceError: It cannot be read or is not of that format.
    """
    if isinstance(rows, TextRange):
        return open_range(file, rows, header)
    options = OpenOptions(
        file, dialect, sheet or Worksheet(), header, rows, block_bytes, only_header=only_header
    )
    # A workbook's rows to fix are CSV, so a mapping that states `xlsx` may also be given CSV.
    if format is not None and FORMATS[format].rows_to_fix == format:
        return _READABLE[format].open(options, None)
    # A file is opened once, to find out what it is and to read it.
    stored = open_raw(file, ahead=not only_header and not file.uri.lower().endswith(PARQUET))
    if found := stored_format(stored):
        return _READABLE[found].open(options, stored)
    stream = open_text(file, stored)
    return _READABLE[format_of(file, stream.peek())].open(options, stream)


def open_range(
    file: SourceFile, part: TextRange, header: Sequence[str] | None, *, stream: SourceStream | None = None
) -> Reader:
    """Open a range of a text file for reading rows.

    Args:
        file: The file.
        part: The range.
        header: The members, of JSON lines.
        stream: The bytes of the range, where they are there already.

    Raises:
        SourceError: It cannot be read.
    """
    stream = stream or open_part(file, part.start.byte, part.end)
    if part.format == "jsonl":
        return JsonLinesReader(file, members=header, stream=stream, start=part.start)
    return CsvReader(file, part.dialect, stream=stream, start=part.start)


def stored_format(stored: SourceStream) -> FileFormat | None:
    """What a file is, by its bytes as stored; None where it has to be decompressed first to know it.

    It may be read from its start afterwards.
    """
    return next((name for name, form in _READABLE.items() if form.is_stored(stored)), None)


def format_of(file: SourceFile, head: bytes) -> FileFormat:
    """What a file is: Parquet by its first bytes, JSON lines by its name or a first `{`, otherwise CSV.

    Args:
        file: The file.
        head: Its first bytes after decompression, at least 64 if it has so many.
    """
    return next(name for name, form in _READABLE.items() if form.begins(file, head))


# ── Each format ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class OpenOptions:
    """What is read of a file, as the arguments of `open_reader` say it."""

    file: SourceFile
    dialect: Dialect
    sheet: Worksheet
    header: Sequence[str] | None
    rows: range | None
    block_bytes: int | None
    only_header: bool


@dataclass(frozen=True)
class ReadableFormat:
    """How a format is recognized and opened.

    Attributes:
        open: Opens a reader. It gets the bytes as they were recognized, which it reads or closes; None where
            the format is stated and nothing is open.
        begins: Whether a file is of the format, by its name or its first bytes after decompression.
        is_stored: The same, by its bytes as stored, for formats that could be taken for a compression.
    """

    open: Callable[[OpenOptions, SourceStream | None], Reader]
    begins: Callable[[SourceFile, bytes], bool] = lambda _file, _head: False
    is_stored: Callable[[SourceStream], bool] = lambda _stored: False


def _parquet(options: OpenOptions, stream: SourceStream | None) -> Reader:
    if stream:
        stream.close()
    return ParquetReader(options.file, options.rows)


def _workbook(options: OpenOptions, stream: SourceStream | None) -> Reader:
    if stream:
        stream.close()
    return ExcelReader(options.file, options.sheet, options.dialect)


def _json_lines(options: OpenOptions, stream: SourceStream | None) -> Reader:
    # The members of all objects are looked for, and for a header alone only little was asked of a store.
    if stream and options.only_header:
        stream.close()
        stream = None
    block = options.block_bytes or JSON_BLOCK_BYTES
    return JsonLinesReader(options.file, block, members=options.header, stream=stream)


def _begins_as_json(file: SourceFile, head: bytes) -> bool:
    bom = bom_of(head)
    return is_json_lines(file) or head[bom[0] if bom else 0 : 64].lstrip().startswith(b"{")


def _csv(options: OpenOptions, stream: SourceStream | None) -> Reader:
    reader = FixedWidthReader if options.dialect.positions else CsvReader
    block = HEADER_BYTES if options.only_header else options.block_bytes or BLOCK_BYTES
    stream = stream or open_text(options.file, open_raw(options.file, ahead=not options.only_header))
    return reader(options.file, options.dialect, block, stream=stream)


_READABLE: Final[dict[FileFormat, ReadableFormat]] = {
    "xlsx": ReadableFormat(_workbook, is_stored=is_workbook),
    "parquet": ReadableFormat(_parquet, lambda _file, head: head.startswith(PARQUET_BEGINS)),
    "jsonl": ReadableFormat(_json_lines, _begins_as_json),
    # Last: what is nothing else is CSV.
    "csv": ReadableFormat(_csv, lambda _file, _head: True),
}
"""The first of which a file is, that it is."""
