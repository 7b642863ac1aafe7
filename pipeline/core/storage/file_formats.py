"""The formats of files that can be read, and the endings that their names have."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Final, Literal

FileFormat = Literal["csv", "parquet", "jsonl", "xlsx"]

DELIMITED: Final = (".csv", ".tsv", ".txt")
JSON_LINES: Final = (".jsonl", ".ndjson")
PARQUET: Final = (".parquet",)
WORKBOOKS: Final = (".xlsx", ".xlsm")
COMPRESSED: Final = (".gz", ".zst", ".bz2", ".zip")

_TEXT: Final = (*DELIMITED, *JSON_LINES)
DATA_GLOBS: Final = (
    *(f"*{ending}" for ending in (*_TEXT, *PARQUET, *WORKBOOKS, ".zip")),
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
    "(?:{})*$".format("|".join(map(re.escape, (*_TEXT, *PARQUET, *WORKBOOKS, ".json", *COMPRESSED)))),
    re.IGNORECASE,
)
"""What a name may end with; the first match is the longest."""
