"""Partitions: raw rows of whole transactions, small enough that memory holds several at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from pipeline.core.memory import Budget
from pipeline.core.model import KEY, LINES
from pipeline.staging.partitions.cutting import cut
from pipeline.staging.partitions.hash_partitions import HashPartitions
from pipeline.staging.partitions.hashes import repeated

Read = Callable[[], Iterator[tuple[str, pl.DataFrame]]]
"""Gives the table and the rows, with SOURCE, LINE and KEY, batch by batch; from the start at every call."""

_NO_KEYS: Final = pl.Series(KEY, [], pl.UInt64)


@dataclass(frozen=True)
class Partition:
    """Raw rows of whole transactions, by table; `number` is its place among the partitions of the run."""

    number: int
    tables: dict[str, pl.DataFrame]

    def keys(self) -> pl.Series:
        """The distinct transaction keys of its rows."""
        return pl.concat([_NO_KEYS, *(rows[KEY] for rows in self.tables.values())]).drop_nulls().unique()

    @property
    def is_empty(self) -> bool:
        """Whether no table has a row."""
        return all(rows.is_empty() for rows in self.tables.values())


class Partitioning(Protocol):
    """Cuts the rows of a run into partitions; the same input always gives the same ones."""

    def read(self, wanted: Collection[int] | None = None) -> Iterator[Partition]:
        """All partitions in order, or those with the wanted numbers; empty ones are left out."""
        ...

    def bring_together(self, keys: Mapping[int, pl.Series]) -> set[int]:
        """Move transactions whose rows turned out to be in several partitions into partitions of their own.

        Args:
            keys: The distinct keys of every partition so far.

        Returns:
            The numbers of the partitions that this changed, new ones included.
        """
        ...


_SCATTERED: Final = 0.1
"""Share of keys in several partitions from which it is quicker to partition all rows by key.

Such keys are staged twice and their rows read twice; by key, all rows go to memory or disk first.
"""
_WATCHED: Final = 64
"""Partitions whose keys are compared while reading. By then a scattered file has shown that it is one."""


class Scattered(Exception):
    """Too many transactions have their rows in several partitions to cut the rows as they are read.

    Attributes:
        given: How many partitions were given before that showed.
        by_key: A partitioning of the same rows in which no two partitions share a transaction.
    """

    def __init__(self, given: int, by_key: Partitioning) -> None:
        super().__init__(given)
        self.given = given
        self.by_key = by_key


class AdjacentPartitioning:
    """Cuts one kind of file as it is read, between adjacent transactions.

    Transactions whose rows are not adjacent get partitions of their own, behind the others.

    Args:
        read: Gives the rows.
        input_bytes: About how much text they hold.
        scratch: Where rows go when memory is short.
        budget: How large partitions are, and how much may wait in memory.
    """

    def __init__(self, read: Read, input_bytes: int, scratch: Path, budget: Budget) -> None:
        self._read = read
        self._input_bytes = input_bytes
        self._scratch = scratch
        self._budget = budget
        self._adjacent = 0  # partitions of adjacent rows, as far as read
        self._recurring = _NO_KEYS
        self._apart: HashPartitions | None = None  # the rows of `_recurring`
        self._filled = False
        self._seen: list[pl.Series] = []

    def read(self, wanted: Collection[int] | None = None) -> Iterator[Partition]:
        """See `Partitioning`.

        Raises:
            Scattered: While all partitions are read; see there.
        """
        frames = (rows for _, rows in self._read())
        for number, rows in enumerate(cut(frames, self._budget.partition_bytes)):
            self._adjacent = max(self._adjacent, number + 1)
            if self._apart is None:
                adjacent = rows
                if wanted is None:
                    self._watch(number, rows)
            else:
                lies_apart = pl.col(KEY).is_in(self._recurring.implode()).fill_null(value=False)
                adjacent = rows.filter(~lies_apart)
                if not self._filled:
                    self._apart.add(LINES, rows.filter(lies_apart))
            if (wanted is None or number in wanted) and adjacent.height:
                yield Partition(number, {LINES: adjacent})
        if self._apart is not None:
            self._apart.close()
            self._filled = True
            yield from _read_by_key(self._apart, wanted, self._adjacent)

    def bring_together(self, keys: Mapping[int, pl.Series]) -> set[int]:
        """See `Partitioning`."""
        self._recurring = repeated(keys.values())
        if self._recurring.is_empty():
            return set()
        # Each recurring key is in two partitions or more, and may have more rows than others: hence four.
        share = min(1.0, 4 * len(self._recurring) / sum(map(len, keys.values())))
        count = self._budget.partitions(int(self._input_bytes * share))
        self._apart = HashPartitions(self._scratch, count, self._budget.waiting_bytes)
        touched = {number for number, own in keys.items() if own.is_in(self._recurring.implode()).any()}
        return touched | set(range(self._adjacent, self._adjacent + count))

    def _watch(self, number: int, rows: pl.DataFrame) -> None:
        if number >= _WATCHED:
            self._seen.clear()
            return
        self._seen.append(rows[KEY].drop_nulls().unique())
        # After 2, 4, 8… partitions only: comparing all with all after each would add up.
        is_due = number > 0 and number & (number + 1) == 0
        if is_due and len(repeated(self._seen)) > _SCATTERED * sum(map(len, self._seen)):
            by_key = KeyPartitioning(self._read, self._input_bytes, self._scratch, self._budget)
            raise Scattered(number, by_key)


class KeyPartitioning:
    """Partitions the rows of several tables by key, so that a partition has all rows of its transactions.

    Args:
        read: Gives the rows.
        input_bytes: About how much text they hold.
        scratch: Where rows go when memory is short.
        budget: How large partitions are, and how much may wait in memory.
    """

    def __init__(self, read: Read, input_bytes: int, scratch: Path, budget: Budget) -> None:
        self._read = read
        self._rows = HashPartitions(scratch, budget.partitions(input_bytes), budget.waiting_bytes)
        self._filled = False

    def read(self, wanted: Collection[int] | None = None) -> Iterator[Partition]:
        """See `Partitioning`."""
        if not self._filled:
            for table, rows in self._read():
                self._rows.add(table, rows)
            self._rows.close()
            self._filled = True
        yield from _read_by_key(self._rows, wanted)

    def bring_together(self, keys: Mapping[int, pl.Series]) -> set[int]:
        """See `Partitioning`: here no transaction is ever in two partitions."""
        return set()


def _read_by_key(rows: HashPartitions, wanted: Collection[int] | None, first: int = 0) -> Iterator[Partition]:
    for number in range(first, first + len(rows)):
        if wanted is None or number in wanted:
            partition = Partition(number, rows.read(number - first))
            if not partition.is_empty:
                yield partition
