"""JSON lines: members as text, bad lines told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.extract import find_sources
from pipeline.extract.jsonlines import JsonLinesReader

CONTENT = (
    b'\xef\xbb\xbf{"id":"00123","total":19.90,"items":[{"sku":"a","n":[1,null]}]}\r\n\r\n'
    b'oops\n{"id":9007199254740993,"paid":true,"note":""}\n[1]\n{"total":"caf\xc3\xa9"}\n{"id":{"a":1}}'
)


@pytest.mark.parametrize("block_bytes", [16, 1 << 20])
def test_members_become_text(tmp_path: Path, block_bytes: int) -> None:
    path = tmp_path / "sales.jsonl"
    path.write_bytes(CONTENT)
    reader = JsonLinesReader(find_sources([str(path)], [])[0], block_bytes)
    assert reader.columns == ["id", "total", "items", "paid", "note"]
    batches = list(reader.batches())
    assert [row for batch in batches for row in batch.rows.rows()] == [
        ("00123", "19.9", '[{"sku": "a", "n": [1, null]}]', None, None, 1),
        ("9007199254740993", None, None, "true", None, 4),
        (None, "café", None, None, None, 6),
        ('{"a": 1}', None, None, None, None, 7),
    ]
    malformed = [row[:2] for batch in batches for row in batch.malformed.rows()]
    assert malformed == [(3, "oops"), (5, "[1]")]


def test_a_file_without_objects_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sales.jsonl"
    path.write_bytes(b"[1]\n")
    with pytest.raises(SourceError, match="no JSON object"):
        JsonLinesReader(find_sources([str(path)], [])[0])
