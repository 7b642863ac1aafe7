"""What every reader gives: raw string rows with their place, and the protocol they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import polars as pl

from pipeline.model import LINE

MALFORMED_SCHEMA: Final = pl.Schema({LINE: pl.Int64(), "raw": pl.String(), "message": pl.String()})


def no_malformed() -> pl.DataFrame:
    """An empty frame of malformed rows."""
    return pl.DataFrame(schema=MALFORMED_SCHEMA)


def _no_lines() -> pl.Series:
    return pl.Series(LINE, [], pl.Int64)


@dataclass(frozen=True)
class Batch:
    """Some rows of one file, in the file's order.

    Attributes:
        rows: One row a source row. Every source column as String (an empty cell is null, nothing else is
            changed), then LINE: the 1-based physical line the row starts on (CSV, JSON lines) or the
            row's number (Parquet).
        malformed: One row for each row that could not be read: LINE, `raw` its text, `message`.
        replaced: LINE of each row in which undecodable bytes became U+FFFD.
    """

    rows: pl.DataFrame
    malformed: pl.DataFrame = field(default_factory=no_malformed)
    replaced: pl.Series = field(default_factory=_no_lines)


class Reader(Protocol):
    """Reads one file as batches of rows.

    Attributes:
        columns: The source columns, in order, under usable and unique names.
        notices: Sentences about what a person should know of these names.
    """

    columns: list[str]
    notices: list[str]

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order, in bounded memory; call it once. At its end the file is closed."""
        ...

    def close(self) -> None:
        """Let go of the file; needed only where `batches` is not read to its end."""
        ...
