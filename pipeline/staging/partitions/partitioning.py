"""Units of work: raw rows of whole transactions, small enough to hold in memory several at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from pipeline.core.memory import Budget
from pipeline.core.model import KEY, LINES
from pipeline.staging.partitions.cutting import chunks
from pipeline.staging.partitions.hashes import repeated
from pipeline.staging.partitions.spilled_rows import Buckets

Read = Callable[[], Iterator[tuple[str, pl.DataFrame]]]
"""Gives the table and the rows, with SOURCE, LINE and KEY, batch by batch; from the start at every call."""


@dataclass(frozen=True)
class Unit:
    """Raw rows of whole transactions, by table; `number` is its place among the units of the run."""

    number: int
    tables: dict[str, pl.DataFrame]

    def keys(self) -> pl.Series:
        """The distinct transaction keys of its rows."""
        none = pl.Series(KEY, [], pl.UInt64)
        return pl.concat([none, *(rows[KEY] for rows in self.tables.values())]).drop_nulls().unique()


class Units(Protocol):
    """Cuts the rows of a run into units; the same input always gives the same ones."""

    def read(self, wanted: Collection[int] | None = None) -> Iterator[Unit]:
        """All units in order, or those with the wanted numbers; empty ones are left out."""
        ...

    def bring_together(self, keys: Mapping[int, pl.Series]) -> set[int]:
        """Give transactions whose rows turned out to be in several units a unit of their own.

        Args:
            keys: The distinct keys of every unit so far.

        Returns:
            The numbers of the units that this changed, new ones included.
        """
        ...


SCATTERED: Final = 0.1
"""Share of keys in several units from which it is quicker to deal all rows out by key."""
_WATCHED: Final = 64
"""Units after which no more is learnt of how the rows lie."""


class Scattered(Exception):
    """So many transactions have their rows in several units that cutting rows as they come is no use.

    Attributes:
        given: How many units were given before that showed.
        dealt: Units of the same rows that never share a transaction.
    """

    def __init__(self, given: int, dealt: Units) -> None:
        super().__init__(given)
        self.given = given
        self.dealt = dealt


class ChunkedUnits:
    """Cuts one kind of file as it is read. Transactions whose rows lie apart come in units of their own.

    Args:
        read: Gives the rows.
        input_bytes: About how much text they hold.
        scratch: Where rows wait when memory is short.
        budget: How large units are, and how much may wait in memory.
    """

    def __init__(self, read: Read, input_bytes: int, scratch: Path, budget: Budget) -> None:
        self._read = read
        self._input_bytes = input_bytes
        self._scratch = scratch
        self._budget = budget
        self._chunks = 0
        self._recurring = pl.Series(KEY, [], pl.UInt64)
        self._apart: Buckets | None = None
        self._filled = False
        self._seen: list[pl.Series] = []

    def read(self, wanted: Collection[int] | None = None) -> Iterator[Unit]:
        """See `Units`.

        Raises:
            Scattered: At a reading of all units; see there.
        """
        for number, chunk in enumerate(chunks((rows for _, rows in self._read()), self._budget.unit_bytes)):
            self._chunks = max(self._chunks, number + 1)
            if self._apart is not None and not self._filled:
                self._apart.add(LINES, chunk.filter(self._lies_apart()))
            if self._apart is None and wanted is None:
                self._watch(number, chunk)
            if wanted is None or number in wanted:
                yield from _unless_empty(number, {LINES: self._together(chunk)})
        if self._apart is not None:
            self._apart.close()
            self._filled = True
        for bucket in range(len(self._apart) if self._apart else 0):
            if self._apart and (wanted is None or self._chunks + bucket in wanted):
                yield from _unless_empty(self._chunks + bucket, self._apart.read(bucket))

    def bring_together(self, keys: Mapping[int, pl.Series]) -> set[int]:
        """See `Units`."""
        self._recurring = repeated(keys.values())
        if self._recurring.is_empty():
            return set()
        share = min(1.0, 4 * len(self._recurring) / sum(map(len, keys.values())))
        count = self._budget.units(int(self._input_bytes * share))
        self._apart = Buckets(self._scratch, count, self._budget.waiting_bytes)
        touched = {number for number, own in keys.items() if own.is_in(self._recurring.implode()).any()}
        return touched | set(range(self._chunks, self._chunks + count))

    def _watch(self, number: int, chunk: pl.DataFrame) -> None:
        if number >= _WATCHED:
            self._seen.clear()
            return
        self._seen.append(chunk[KEY].drop_nulls().unique())
        # After 2, 4, 8… units: comparing all with all each time would add up.
        is_time = number > 0 and number & (number + 1) == 0
        if is_time and len(repeated(self._seen)) > SCATTERED * sum(map(len, self._seen)):
            dealt = BucketedUnits(self._read, self._input_bytes, self._scratch, self._budget)
            raise Scattered(number, dealt)

    def _lies_apart(self) -> pl.Expr:
        return pl.col(KEY).is_in(self._recurring.implode()).fill_null(value=False)

    def _together(self, chunk: pl.DataFrame) -> pl.DataFrame:
        return chunk.filter(~self._lies_apart()) if self._apart is not None else chunk


class BucketedUnits:
    """Deals the rows of several tables out by key, so that each unit has all rows of its transactions.

    Args:
        read: Gives the rows.
        input_bytes: About how much text they hold.
        scratch: Where rows wait when memory is short.
        budget: How large units are, and how much may wait in memory.
    """

    def __init__(self, read: Read, input_bytes: int, scratch: Path, budget: Budget) -> None:
        self._read = read
        self._buckets = Buckets(scratch, budget.units(input_bytes), budget.waiting_bytes)
        self._filled = False

    def read(self, wanted: Collection[int] | None = None) -> Iterator[Unit]:
        """See `Units`."""
        if not self._filled:
            for table, rows in self._read():
                self._buckets.add(table, rows)
            self._buckets.close()
            self._filled = True
        for number in range(len(self._buckets)):
            if wanted is None or number in wanted:
                yield from _unless_empty(number, self._buckets.read(number))

    def bring_together(self, keys: Mapping[int, pl.Series]) -> set[int]:
        """See `Units`: here no transaction is ever in two units."""
        return set()


def _unless_empty(number: int, tables: dict[str, pl.DataFrame]) -> Iterator[Unit]:
    if any(rows.height for rows in tables.values()):
        yield Unit(number, tables)
