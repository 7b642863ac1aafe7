"""Hashes of what the partitions hold, on disk, since those of all partitions together grow with the input."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from pipeline.core.partition_names import partition_name

NO_HASHES: Final = pl.Series([], dtype=pl.UInt64)
_COMPARED: Final = 1 << 22
"""How many hashes are compared at a time: 32 MB, and as much again to sort them."""


class Hashes(Mapping[int, pl.Series]):
    """Hashes (UInt64, never null) by the number of their partition; read from disk at every access.

    Args:
        directory: A private directory for them.
        name: What they are hashes of.
        partitions: The numbers of the partitions to read. A missing one is an error, and not found by
            listing: a directory that machines share may not list at once what another one wrote.
    """

    def __init__(self, directory: Path, name: str, partitions: Collection[int] = ()) -> None:
        self._directory = directory
        self._name = name
        self._partitions = dict.fromkeys(partitions)  # there may be very many

    def put(self, number: int, hashes: pl.Series) -> None:
        """Keep a partition's hashes, in place of those that it had before."""
        # Not by numpy's `tofile`, whose error does not say why it could not write.
        self._path(number).write_bytes(hashes.rechunk().to_numpy().tobytes())

    def __getitem__(self, number: int) -> pl.Series:
        if number not in self._partitions:
            raise KeyError(number)
        return pl.Series(np.frombuffer(self._path(number).read_bytes(), np.uint64))

    def __iter__(self) -> Iterator[int]:
        return iter(self._partitions)

    def __len__(self) -> int:
        return len(self._partitions)

    def _path(self, number: int) -> Path:
        return self._directory / f"{self._name}-{partition_name(number)}"


def repeated(hashes: Collection[pl.Series]) -> pl.Series:
    """Those (UInt64) that are there twice or more over all series, each once, sorted, never null.

    Of many only a share is in memory at a time, so the series are read several times.
    """
    shares = ceil(sum(map(len, hashes)) / _COMPARED)
    found = [NO_HASHES]
    for share in range(shares):
        together = pl.concat([each.filter(each % shares == share) for each in hashes]).sort()
        found.append(together.filter(together == together.shift(1)).unique())
    return pl.concat(found).sort()
