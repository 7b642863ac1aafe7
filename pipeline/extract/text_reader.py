"""What all readers of text files in any encoding have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import polars as pl

from pipeline.core.model import LINE, Dialect
from pipeline.extract.decoding import REPLACEMENT, Utf8Blocks
from pipeline.extract.source_files import SourceFile, SourceStream, open_text
from pipeline.extract.text_ranges import FILE_START, RecordStart

BLOCK_BYTES: Final = 5 << 20


class TextReader(ABC):
    """Opens one text file, and closes it where it cannot be read; see `Reader`."""

    columns: list[str]
    header: list[str]
    notices: list[str]

    def __init__(
        self,
        file: SourceFile,
        dialect: Dialect,
        block_bytes: int = BLOCK_BYTES,
        *,
        stream: SourceStream | None = None,
        start: RecordStart = FILE_START,
    ) -> None:
        """Open the file and find its columns.

        Args:
            file: The file.
            dialect: How it is written.
            block_bytes: How much is read at a time.
            stream: The file where it is open already; it is closed with the reader.
            start: Where in the file the stream begins. Behind the file's own start it has no head.

        Raises:
            SourceError: It cannot be read, is not text, or has no columns.
        """
        self._name = file.name
        self._stream = stream or open_text(file)
        self._text = Utf8Blocks(
            self._stream,
            file.name,
            block_bytes=block_bytes,
            encoding=dialect.encoding,
            on_error=dialect.on_encoding_error,
            start=start,
        )
        self._from = start
        try:
            self._start(dialect)
        except BaseException:
            self._stream.close()
            raise

    @abstractmethod
    def _start(self, dialect: Dialect) -> None:
        """Find the columns."""

    @property
    def fingerprint(self) -> str | None:
        """See `Reader`."""
        return self._stream.fingerprint

    def close(self) -> None:
        """Close the file; needed only where `batches` is not read to its end."""
        self._stream.close()

    def _replaced(self, rows: pl.DataFrame) -> pl.Series:
        """LINE of each row with characters that could not be decoded."""
        if not self._text.replaced:
            return rows[LINE].clear()
        hit = pl.any_horizontal(pl.col(self.columns).str.contains(REPLACEMENT.decode(), literal=True))
        return rows.filter(hit)[LINE]
