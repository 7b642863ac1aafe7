"""Names of files and the globs that they match."""

from __future__ import annotations

import pytest

from pipeline.core.storage.file_formats import matches


@pytest.mark.parametrize(
    ("name", "pattern", "is_match"),
    [
        ("SALES.CSV", "*.csv", True),
        ("sales.csv", "*.CSV", True),
        ("sales.Csv.Gz", "sales*.csv.gz", True),
        ("sales.jsonl", "*.JSONL", True),
        ("SALES.CSV", "sales*.csv", False),
        ("sales.csv", "*.csv.gz", False),
        ("sales1.csv", "sales[0-9].csv", True),
        ("salesx.csv", "sales[A-Z].csv", False),
        ("sales.DAT", "*.dat", False),
        ("SALES", "*", True),
    ],
)
def test_endings_match_in_any_letter_case(name: str, pattern: str, is_match: bool) -> None:
    assert matches(name, pattern) is is_match
