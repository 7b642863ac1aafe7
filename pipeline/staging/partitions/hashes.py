"""Hashes of what the units hold, on disk, since those of all units together grow with the input."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

_COMPARED: Final = 1 << 22
"""How many hashes are compared at a time."""


class Hashes(Mapping[int, pl.Series]):
    """Hashes (UInt64, never null) by the number of their unit; they are read whenever they are asked for.

    Args:
        directory: A private directory, where they lie.
        name: What they are hashes of.
        units: The numbers of the units whose hashes there are, to be read. One that is not there is an error:
            a directory that machines share may not list at once what another one wrote.
    """

    def __init__(self, directory: Path, name: str, units: Collection[int] = ()) -> None:
        self._directory = directory
        self._name = name
        self._units = units

    def put(self, number: int, hashes: pl.Series) -> None:
        """Keep a unit's hashes, in place of those that it had before."""
        # Not by numpy, which does not tell why it could not write.
        self._path(number).write_bytes(hashes.rechunk().to_numpy().tobytes())

    def drop(self, number: int) -> None:
        """Forget a unit's hashes, if it has any."""
        self._path(number).unlink(missing_ok=True)

    def __getitem__(self, number: int) -> pl.Series:
        if number not in self._units:
            raise KeyError(number)
        return pl.Series(np.frombuffer(self._path(number).read_bytes(), np.uint64))

    def __iter__(self) -> Iterator[int]:
        return iter(self._units)

    def __len__(self) -> int:
        return len(self._units)

    def _path(self, number: int) -> Path:
        return self._directory / f"{self._name}-{number:05d}"


def repeated(hashes: Collection[pl.Series]) -> pl.Series:
    """Those (UInt64) that are there twice or more over all series, each once, sorted, never null.

    Of many a share at a time is held, so the series are gone through several times.
    """
    shares = ceil(sum(map(len, hashes)) / _COMPARED)
    found = [_repeated([each.filter(each % shares == share) for each in hashes]) for share in range(shares)]
    return pl.concat([pl.Series([], dtype=pl.UInt64), *found]).sort()


def _repeated(hashes: Collection[pl.Series]) -> pl.Series:
    together = pl.concat(hashes).sort()
    return together.filter(together == together.shift(1)).unique()
