"""Hashes of the contents of partitions, kept in files, since their number grows with the input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Final

import numpy as np
import polars as pl

from pipeline.core.storage.directories import Directory, write
from pipeline.core.storage.partition_names import partition_name

NO_HASHES: Final = pl.Series([], dtype=pl.UInt64)
_COMPARED: Final = 1 << 21
"""How many hashes are compared at a time: 16 MB, and twice as much again to sort and compare them."""


class Hashes:
    """Hashes (UInt64, never null) of partitions, each in a file; one series for each, read at every pass.

    Args:
        directory: The directory for them.
        name: What they are hashes of.
        partitions: The numbers of the partitions to read. A missing one is an error, and not found by
            listing: a directory that machines share may not list at once what another one wrote.
    """

    def __init__(self, directory: Directory, name: str, partitions: Iterable[int] = ()) -> None:
        self._directory = directory
        self._name = name
        self._partitions = list(partitions)

    def put(self, number: int, hashes: pl.Series) -> None:
        """Keep a partition's hashes, in place of those that it had before."""
        write(self._directory, self._file(number), hashes.rechunk().to_numpy().tobytes())

    def __iter__(self) -> Iterator[pl.Series]:
        files = list(map(self._file, self._partitions))
        return (pl.Series(np.frombuffer(each, np.uint64)) for each in self._directory.contents(files))

    def with_any_of(self, some: pl.Series) -> list[int]:
        """The numbers of the partitions that have some of these hashes."""
        wanted = some.implode()
        return [n for n, own in zip(self._partitions, self, strict=True) if own.is_in(wanted).any()]

    def _file(self, number: int) -> str:
        return f"{self._name}-{partition_name(number)}"


def repeated(hashes: Iterable[pl.Series]) -> pl.Series:
    """Those (UInt64) that are there twice or more over all series, each once, sorted, never null.

    Args:
        hashes: The series; they can be gone through several times, since of many only a share is in memory
            at a time.
    """
    held, size = [NO_HASHES], 0
    for each in hashes:
        size += len(each)
        if size <= _COMPARED:
            held.append(each)
    if size <= _COMPARED:
        return _repeated(held)
    shares = ceil(size / _COMPARED)
    # Equal hashes have the same remainder, so each share can be compared alone.
    found = [_repeated([each.filter(each % shares == n) for each in hashes]) for n in range(shares)]
    return pl.concat(found).sort()


def _repeated(hashes: list[pl.Series]) -> pl.Series:
    together = pl.concat(hashes).sort()
    return together.filter(together == together.shift(1)).unique().sort()
