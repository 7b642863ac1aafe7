"""What a dry run fetches from an object store: each byte once or twice, whatever the format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.memory import Budget
from pipeline.workflows.prepare import PrepareOptions, prepare
from tests.receipts import receipt, write_export

pytestmark = pytest.mark.slow

RECEIPTS = 6_000
LOOKS = 700_000
"""Bytes in which headers and footers are looked at, however large the file is."""


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Bytes that were fetched, by the ending of the key."""
    s3fs = pytest.importorskip("s3fs")
    found: Counter[str] = Counter()
    call = s3fs.core.S3FileSystem._call_s3

    async def counting(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        answer = await call(self, method, *arguments, **options)
        if method == "get_object":
            found[options["Key"].rpartition(".")[2]] += answer["ContentLength"]
        return answer

    monkeypatch.setattr(s3fs.core.S3FileSystem, "_call_s3", counting)
    return found


# Of so small a partition, CSV and JSON lines are cut into ranges.
@pytest.mark.parametrize(
    ("ending", "most", "partition_bytes"),
    [
        *(("csv", 1, 10 << 20), ("jsonl", 2, 10 << 20), ("parquet", 1, 10 << 20)),
        *(("csv", 2, 1 << 18), ("jsonl", 2, 1 << 18)),
    ],
)
def test_each_byte_is_fetched_at_most_twice(
    ending: str,
    most: int,
    partition_bytes: int,
    store: Any,
    bucket: str,
    fetched: Counter[str],
    tmp_path: Path,
) -> None:
    rows = [row for n in range(RECEIPTS) for row in receipt(n, 2)]
    path = write_export(tmp_path / "pos_lines.csv", rows)
    table = pl.read_csv(path, infer_schema=False)
    if ending == "jsonl":
        table.write_ndjson(path := tmp_path / "pos_lines.jsonl")
    if ending == "parquet":
        table.write_parquet(path := tmp_path / "pos_lines.parquet", compression="uncompressed")
    store.put(str(path), f"{bucket}/{path.name}")
    options = PrepareOptions(budget=Budget(partition_bytes))
    finished = prepare(tmp_path / "work", "pos_lines", [f"{bucket}/{path.name}"], options)
    assert finished.summary.transactions.accepted == RECEIPTS
    size = path.stat().st_size
    assert size < fetched[ending] <= most * size + LOOKS
