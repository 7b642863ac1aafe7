"""What every reader gives: raw string rows with their place, and the protocol they share."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
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


def usable_names(raw: Sequence[str]) -> tuple[list[str], list[str]]:
    """Make column names that a mapping can use, and tell what was changed or looks wrong.

    Blanks around a name are dropped, other blanks inside it become spaces, invisible characters go; an
    empty name becomes `column_<position>`; a name that occurs again gets `#2`, `#3`...; a name that
    starts with two underscores, which the pipeline keeps for its own columns, gets `column` before it.

    Returns:
        The names, unique and in order, and the notices.
    """
    names: list[str] = []
    notices: list[str] = []
    taken = set(raw)
    for position, original in enumerate(raw, 1):
        cleaned = _clean(original)
        name = f"column{cleaned}" if cleaned.startswith("__") else cleaned or f"column_{position}"
        if name in names:
            name = _numbered(name, taken)
        taken.add(name)
        names.append(name)
        if name != original:
            notices.append(f"column {position} is named {original!r}; it is read as '{name}'")
        notices.extend(_lookalikes(name))
    return names, notices


def _clean(name: str) -> str:
    visible = (c for c in name if unicodedata.category(c) != "Cf")
    return "".join(" " if c.isspace() else c for c in visible).strip()


def _numbered(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}#{number}" in taken:
        number += 1
    return f"{name}#{number}"


# Cyrillic and Greek letters drawn like Latin ones (Unicode's confusables.txt, the single-letter cases).
_LOOKALIKES: Final = str.maketrans(
    "АВЕЗІЈКМНОРСТУХаеіјорсухΑΒΕΖΗΙΚΜΝΟΡΤΥΧο",  # noqa: RUF001
    "ABE3IJKMHOPCTYXaeijopcyxABEZHIKMNOPTYXo",
)


def _lookalikes(name: str) -> Iterator[str]:
    latin = name.translate(_LOOKALIKES)
    if latin != name and latin.isascii():
        odd = ", ".join(
            f"{c} ({unicodedata.name(c).capitalize()})"
            for c in dict.fromkeys(name)
            if c.translate(_LOOKALIKES) != c
        )
        yield f"column '{name}' is not '{latin}': it holds {odd}"
