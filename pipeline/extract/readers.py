"""The reader for a file: of the format that is stated, or that its first bytes tell of."""

from __future__ import annotations

from typing import Literal

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect
from pipeline.extract.csv_reader import CsvReader
from pipeline.extract.decoding import bom_of
from pipeline.extract.jsonl_reader import JsonLinesReader
from pipeline.extract.parquet_reader import ParquetReader
from pipeline.extract.rows import Reader
from pipeline.extract.storage import SourceFile, is_json_lines, open_text

Format = Literal["csv", "parquet", "jsonl"]


def open_reader(file: SourceFile, dialect: Dialect, format: Format | None = None) -> Reader:
    """Open a file for reading rows.

    Args:
        file: The file.
        dialect: How it is written, where it is CSV.
        format: What it is; None finds out by its first bytes.

    Raises:
        SourceError: It cannot be read or is not of that format.
    """
    match format or format_of(file):
        case "parquet":
            return ParquetReader(file)
        case "jsonl":
            return JsonLinesReader(file)
        case _:
            return CsvReader(file, dialect)


def format_of(file: SourceFile) -> Format:
    """What a file is: Parquet by its first bytes, JSON lines by its name or a first `{`, otherwise CSV."""
    with open_text(file) as stream:
        try:
            head = stream.read(64)
        except OSError as error:
            raise SourceError(f"{file.name} cannot be read: {error}") from error
    if head.startswith(b"PAR1"):
        return "parquet"
    if is_json_lines(file):
        return "jsonl"
    bom = bom_of(head)
    return "jsonl" if head[bom[0] if bom else 0 :].lstrip().startswith(b"{") else "csv"
