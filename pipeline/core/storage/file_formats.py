"""The formats of files that can be read, and the endings that their names have."""

from __future__ import annotations

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
