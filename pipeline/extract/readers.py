"""Chooses the reader for a file: of the format that is stated, or else found by its first bytes."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.model import Dialect, Worksheet
from pipeline.core.storage.file_formats import PARQUET, FileFormat
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
    if format == "parquet":
        return ParquetReader(file, rows)
    if format == "jsonl":
        return JsonLinesReader(file, block_bytes or JSON_BLOCK_BYTES, members=header)
    # A CSV file is opened once, to find out what it is and to read it.
    stored = open_raw(file, ahead=not only_header and not file.uri.lower().endswith(PARQUET))
    if format != "csv" and is_workbook(stored):
        stored.close()
        return ExcelReader(file, sheet or Worksheet(), dialect)
    stream = open_text(file, stored)
    found = "csv" if format == "csv" else format_of(file, stream.peek())
    if found == "csv":
        reader = FixedWidthReader if dialect.positions else CsvReader
        block = HEADER_BYTES if only_header else block_bytes or BLOCK_BYTES
        return reader(file, dialect, block, stream=stream)
    if found == "jsonl" and not only_header:
        return JsonLinesReader(file, block_bytes or JSON_BLOCK_BYTES, members=header, stream=stream)
    stream.close()
    return open_reader(file, dialect, found, rows=rows, block_bytes=block_bytes)


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


def format_of(file: SourceFile, head: bytes) -> FileFormat:
    """What a file is: Parquet by its first bytes, JSON lines by its name or a first `{`, otherwise CSV.

    Args:
        file: The file.
        head: Its first bytes, at least 64 if it has so many.
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    if is_json_lines(file):
        return "jsonl"
    bom = bom_of(head)
    return "jsonl" if head[bom[0] if bom else 0 : 64].lstrip().startswith(b"{") else "csv"
