"""The formats of files that can be read, and the endings that their names have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

FileFormat = Literal["csv", "parquet", "jsonl", "xlsx"]


@dataclass(frozen=True)
class SourceFormat:
    """What is to be known of a format besides how it is read, which `extract/readers.py` has.

    Attributes:
        endings: Of the names of its files, in lower case.
        is_text: Whether it is text, whose files may be compressed and have an ending more.
        larger: How many times as large the text inside is assumed to be; only the size of partitions depends
            on it.
        rows_to_fix: The format in which rows of such files are written to be fixed. A mapping that states
            this format reads that one too.
    """

    endings: tuple[str, ...]
    is_text: bool = False
    larger: int = 1
    rows_to_fix: FileFormat = "csv"


FORMATS: Final[Mapping[FileFormat, SourceFormat]] = {
    "csv": SourceFormat((".csv", ".tsv", ".txt"), is_text=True),
    "jsonl": SourceFormat((".jsonl", ".ndjson"), is_text=True, rows_to_fix="jsonl"),
    "parquet": SourceFormat((".parquet",), larger=8, rows_to_fix="parquet"),
    # In workbooks of till exports 1.6 times where cells are texts, and more where they are numbers.
    "xlsx": SourceFormat((".xlsx", ".xlsm"), larger=3),
}
JSON_LINES: Final = FORMATS["jsonl"].endings
PARQUET: Final = FORMATS["parquet"].endings
PARQUET_BEGINS: Final = b"PAR1"
WORKBOOKS: Final = FORMATS["xlsx"].endings
COMPRESSED: Final = (".gz", ".zst", ".bz2", ".zip")

_ENDINGS: Final = tuple(ending for form in FORMATS.values() for ending in form.endings)
_TEXT: Final = tuple(ending for form in FORMATS.values() if form.is_text for ending in form.endings)
DATA_GLOBS: Final = (
    *(f"*{ending}" for ending in (*_ENDINGS, ".zip")),
    *(f"*{ending}{packed}" for ending in _TEXT for packed in COMPRESSED if packed != ".zip"),
)
"""Files with data, in a directory for which there is no mapping that says which."""


def any_case(pattern: str) -> str:
    """A glob whose endings match in any letter case: some programs write `SALES.CSV`."""
    return _ENDING.sub(
        lambda ending: "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in ending[0]), pattern
    )


def matches(name: str, pattern: str) -> bool:
    """Whether the name of a file matches a glob, its endings in any letter case."""
    return fnmatchcase(name, any_case(pattern))


_ENDING: Final = re.compile(
    "(?:{})*$".format("|".join(map(re.escape, (*_ENDINGS, ".json", *COMPRESSED)))),
    re.IGNORECASE,
)
"""What a name may end with; the first match is the longest."""
