"""Looks at what a tool wrote, in a process of its own.

    python -m benchmarks.digest sums PATH          counts, total and a checksum of the payloads, as JSON
    python -m benchmarks.digest bodies PATH OUT    the payloads, one a line; at most --limit
    python -m benchmarks.digest files PATH OUT     a file for each payload, as a look-up answers it

PATH is a file of JSON lines, a Parquet file with `body`, or a directory of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from decimal import Decimal
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow.parquet as pq


def payloads(path: Path) -> Iterator[bytes]:
    """The payloads, file by file."""
    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        if file.suffix == ".parquet":
            for batch in pq.ParquetFile(file).iter_batches(8192, columns=["body"]):
                yield from (str(body).encode() for body in batch.column(0).to_pylist())
        else:
            with file.open("rb") as lines:
                yield from (line.rstrip(b"\n") for line in lines)


def ids(path: Path) -> Iterator[str]:
    """The ids of all payloads, without parsing them where a column has them."""
    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        if file.suffix == ".parquet":
            for batch in pq.ParquetFile(file).iter_batches(65536, columns=["external_id"]):
                yield from map(str, batch.column(0).to_pylist())
        else:
            yield from (json.loads(body)["external_id"] for body in payloads(file))


def sums(path: Path, every: int) -> dict[str, Any]:
    """Count of all ids and a checksum of them, and checksums of the payloads whose id is in the sample.

    `values` goes over what they say, whatever the order of items and with or without nulls; `bodies` minds
    both. The order of names and the way numbers are written count in neither.

    Args:
        path: What was written.
        every: One in so many payloads is looked at.
    """
    count = id_sum = looked_at = values = bodies = 0
    for external_id in ids(path):
        count += 1
        id_sum += crc32(external_id.encode()) << 1 | 1
    for body in payloads(path):
        # Cheap, and right for every writer here: each puts the id first.
        own_id = body.split(b'"', 4)[3]
        if crc32(own_id) % every == 0:
            looked_at += 1
            payload = json.loads(body, parse_float=_shortest, parse_int=_shortest)
            bodies += _checksum(payload)
            payload["items"].sort(key=lambda item: item["external_id"])
            values += _checksum(_without_nulls(payload))
    return {
        "count": count,
        "ids": id_sum % 2**64,
        "looked_at": looked_at,
        "values": values % 2**64,
        "bodies": bodies % 2**64,
    }


def _checksum(payload: Any) -> int:
    text = json.dumps(payload, sort_keys=True)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _shortest(number: str) -> str:
    return f"{Decimal(number).normalize():f}"


def _without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_nulls(each) for name, each in value.items() if each is not None}
        case list():
            return [_without_nulls(each) for each in value]
        case _:
            return value


def write_bodies(path: Path, out: Path, limit: int) -> dict[str, Any]:
    """Write payloads one a line; say how many, and how many bytes they have."""
    count = size = 0
    with out.open("wb") as file:
        for body in islice(payloads(path), limit):
            file.write(body + b"\n")
            count += 1
            size += len(body)
    return {"count": count, "bytes": size}


def write_files(path: Path, out: Path) -> dict[str, Any]:
    """Write each payload into a file named by its id, in the envelope that a look-up answers with."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for count, body in enumerate(payloads(path), 1):  # noqa: B007
        external_id = body.split(b'"', 4)[3].decode()
        (out / external_id).write_bytes(b'{"data":' + body + b"}")
    return {"count": count}


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("what", choices=["sums", "bodies", "files"])
    arguments.add_argument("path", type=Path)
    arguments.add_argument("out", type=Path, nargs="?")
    arguments.add_argument("--limit", type=int, default=2**62)
    arguments.add_argument("--every", type=int, default=1)
    given = arguments.parse_args()
    if given.what == "sums":
        found = sums(given.path, given.every)
    elif given.what == "bodies":
        found = write_bodies(given.path, given.out, given.limit)
    else:
        found = write_files(given.path, given.out)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
