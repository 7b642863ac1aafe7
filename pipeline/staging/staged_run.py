"""The staged run: written part by part while preparing, then only ever read."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, repeat
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import RunError
from pipeline.core.model import MONEY_PRECISION, MONEY_SCALE, StagedTransaction
from pipeline.core.storage.directories import Directory, write
from pipeline.core.storage.parquet import frame_of
from pipeline.core.storage.partition_names import partition_name
from pipeline.staging.manifest import Manifest, PartRecord
from pipeline.staging.workdir import STAGED

_ROWS_IN_GROUPS = 24_576
"""Rows in memory while a run is read: a row group of each part, so more parts have smaller groups."""
_LEAST_IN_GROUP, _MOST_IN_GROUP = 128, 4_096
_ROWS_AT_A_TIME = 2_048
"""Rows that are Python objects at a time, which take several times as much memory."""
_TIMES_HELD = 1 << 20
"""About how many times are compared to find the position from which to deliver."""
_TIME = "transacted_at"
_SENT = ["external_id", _TIME, "total", "body", "source_time"]
_BESIDE: dict[str, pl.DataType] = {
    "source": pl.String(),
    "line": pl.Int64(),
    "source_time": pl.Int64(),
    "warnings": pl.String(),
}
"""Its first row's file and line, when that file was written, and its warnings. Older versions lack them."""


def write_part(run: Directory, number: int, staged: pl.DataFrame, parts: int) -> PartRecord | None:
    """Write one partition's transactions, sorted by `transacted_at`, then `external_id`.

    Args:
        run: The run's directory.
        number: The partition's number; parts keep this order. A part of that number before is replaced.
        staged: `external_id`, `transacted_at`, `total`, `body`; `source`, `line`, `source_time` (when the
            file was written, microseconds since 1970) and `warnings` (codes) where they are known.
        parts: About how many parts there will be; reading them side by side keeps a row group of each.

    Returns:
        The part's record; None where there is no transaction, and so no file.
    """
    if staged.is_empty():
        discard_part(run, number)
        return None
    known = staged.with_columns(
        pl.lit(None, t).alias(n) for n, t in _BESIDE.items() if n not in staged.columns
    )
    ordered = known.select("external_id", _TIME, "total", "body", *_BESIDE).sort(_TIME, "external_id")
    group_rows = min(max(_LEAST_IN_GROUP, _ROWS_IN_GROUPS // max(1, parts)), _MOST_IN_GROUP)
    name, content = _part_file(number), encoded(ordered, group_rows)
    write(run / STAGED, name, content)
    size = int(ordered["body"].str.len_bytes().sum())
    return PartRecord(name, ordered.height, size, hashlib.sha256(content).hexdigest())


def encoded(rows: pl.DataFrame, group_rows: int) -> bytes:
    """A part as it is in its file, in row groups of so many rows."""
    to = pa.BufferOutputStream()
    # No two bodies are alike, so polars' own writer spends its time on a dictionary that is thrown away.
    pq.write_table(
        rows.to_arrow(),
        to,
        row_group_size=group_rows,
        compression="snappy",
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
    )
    return to.getvalue().to_pybytes()


def write_no_part(run: Directory) -> None:
    """Write a file without rows, so that a run without accepted transactions has columns to read."""
    columns: dict[str, pl.DataType] = {
        "external_id": pl.String(),
        _TIME: pl.Datetime("us", "UTC"),
        "total": pl.Decimal(MONEY_PRECISION, MONEY_SCALE),
        "body": pl.String(),
        **_BESIDE,
    }
    write(run / STAGED, _part_file(0), encoded(pl.DataFrame(schema=columns), _MOST_IN_GROUP))


def discard_part(run: Directory, number: int) -> None:
    """Remove a partition's part, if there is one."""
    (run / STAGED).remove(_part_file(number))


def _part_file(number: int) -> str:
    return f"part-{partition_name(number)}.parquet"


def fingerprint_of(path: Path) -> str:
    """Digest of a part's contents, as its record has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class StagedRun:
    """A run that was prepared.

    Attributes:
        run: Its directory, on a disk or in an object store.
        manifest: Its record.
    """

    run: Directory
    manifest: Manifest

    def verify(self) -> None:
        """Check that the parts are what was reviewed.

        Raises:
            RunError: A part is gone or was changed.
        """
        for part in self.manifest.parts:
            path = f"{self._directory.address}/{part.file}"
            try:
                with self._directory.opened(part.file) as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                raise RunError(
                    f"{path} is gone, so run {self.manifest.run_id} cannot be sent.", hint="Prepare it again."
                ) from None
            if found != part.fingerprint:
                raise RunError(
                    f"{path} was changed after it was reviewed; nothing was sent.", hint="Prepare it again."
                )

    def source_times(self, external_ids: Sequence[str]) -> Iterator[tuple[str, int | None]]:
        """Those of some transactions that the run has, and when the file of each was written, if known."""
        wanted = pl.col("external_id").is_in(list(external_ids))
        for part in self.manifest.parts:
            with self._directory.opened(part.file) as source, pq.ParquetFile(source) as file:
                names = [name for name in ("external_id", "source_time") if name in file.schema_arrow.names]
                found = frame_of(file.read(names)).filter(wanted)
            for external_id, *times in found.iter_rows():
                yield external_id, times[0] if times else None

    def batches(self, start: int = 0) -> Iterator[list[StagedTransaction]]:
        """The transactions in delivery order: by `transacted_at` over the whole run, oldest first.

        Ties go by part, then by row, so a position always names the same transaction. Memory holds some rows
        of each part, whatever the size of the run.

        Args:
            start: How many to leave out at the beginning.
        """
        return map(_transactions, self._in_order(_SENT, start))

    def rows(self) -> Iterator[pl.DataFrame]:
        """The transactions in delivery order, as staged, with where each comes from.

        One row a transaction: `external_id`, `transacted_at` (UTC), `total`, `body` (bytes; empty where its
        customer was forgotten), `source_time`, `source`, `line` and `warnings` (codes joined with `;`); the
        last four are null in runs of older versions.
        """
        return self._in_order([*_SENT, "source", "line", "warnings"])

    def amounts(self, *, with_bodies: bool = False) -> Iterator[pl.DataFrame]:
        """The totals in delivery order: `external_id`, `transacted_at`, `total` and, if wanted, `body`."""
        return self._in_order(["external_id", _TIME, "total", *(["body"] if with_bodies else [])])

    def _in_order(self, columns: Sequence[str], start: int = 0) -> Iterator[pl.DataFrame]:
        passed = self._passed(start) if start else [0] * len(self._parts)
        left_out = start - sum(passed)
        for taken in self._merged(passed, columns):
            rows = pl.concat(taken.values()).sort(_TIME, maintain_order=True)
            yield from rows.slice(left_out).iter_slices(_ROWS_AT_A_TIME)
            left_out = max(0, left_out - rows.height)

    def count_before(self, moment: datetime) -> int:
        """How many transactions happened before a moment; those come first in delivery order."""
        bound = int(moment.timestamp() * 1_000_000)
        return sum(int(np.searchsorted(self._times(part), bound)) for part in self._parts)

    @property
    def _parts(self) -> list[PartRecord]:
        return [part for part in self.manifest.parts if part.transactions]

    def _passed(self, start: int) -> list[int]:
        """How many rows at the head of each part surely come before a position; only times are read.

        Of a large run one time in so many is held. That leaves few rows before the position to be read.
        """
        if start >= self.manifest.transactions:
            return [part.transactions for part in self._parts]
        step = ceil(self.manifest.transactions / _TIMES_HELD)
        # A slice is a view: the copy lets the array of all times be freed.
        parts = [self._times(part)[::step].copy() for part in self._parts]
        everything = np.concatenate(parts)
        everything.partition(start // step)
        # At most `step` rows of a part lie before each of its times that are held, from one on to the next.
        bound = everything[start // step]
        earlier = [int(np.searchsorted(times, bound)) for times in parts]
        return [max(0, (count - 1) * step + 1) for count in earlier]

    @property
    def _directory(self) -> Directory:
        return self.run / STAGED

    def _times(self, part: PartRecord) -> npt.NDArray[np.int64]:
        """When each transaction of a part happened, in its order."""
        with (
            self._directory.opened(part.file) as source,
            pq.ParquetFile(source, pre_buffer=True) as file,
        ):
            return _times(frame_of(file.read([_TIME])))

    def _merged(self, passed: Sequence[int], columns: Sequence[str]) -> Iterator[dict[int, pl.DataFrame]]:
        """Rows, by part, that come before all rows that are yet to come; at least one each time.

        Args:
            passed: How many rows of each part to leave out.
            columns: What to read.
        """
        cursors = [
            _Cursor(self._directory, part.file, skip, columns)
            for part, skip in zip(self._parts, passed, strict=True)
        ]
        bound: int | None = None
        while any(cursor.more or cursor.height for cursor in cursors):
            for cursor in cursors:
                # If the last loaded row lies on the bound, load more: the bound must move on, or nothing is
                # taken.
                while cursor.more and (cursor.is_low or cursor.last == bound):
                    cursor.load()
            bound = min((cursor.last for cursor in cursors if cursor.more), default=None)
            taken = {
                part: cursor.take_before(bound)
                for part, cursor in enumerate(cursors)
                if cursor.height and (bound is None or cursor.first < bound)
            }
            if taken:
                yield taken


def _transactions(rows: pl.DataFrame) -> list[StagedTransaction]:
    ids, bodies, times = (rows[name].to_list() for name in ("external_id", "body", "source_time"))
    totals = rows["total"].cast(pl.String).to_list()
    # The usual case: no customer of these was forgotten.
    if all(bodies):
        return list(map(StagedTransaction, ids, bodies, times, repeat(b""), totals))
    remains = rows.select(_remains()).to_series().to_list()
    return [
        StagedTransaction(external_id, body, time, b"" if body else left.encode(), total)
        for external_id, body, time, left, total in zip(ids, bodies, times, remains, totals, strict=True)
    ]


def _remains() -> pl.Expr:
    """The body of a transaction whose contents were removed; it holds just enough to void it."""
    when = pl.col(_TIME).dt.strftime("%Y-%m-%d %H:%M:%S").alias(_TIME)
    total = pl.col("total").cast(pl.Float64)
    return pl.struct("external_id", total, when).struct.json_encode()


class _Cursor:
    """A place in one part: rows that are loaded but not taken, and row groups that are still to come.

    The file is open only while a row group is read: there may be more parts than a process may have files.
    What it says of its row groups is read each time, too: for a run of millions it is more than their rows.

    Attributes:
        height: How many rows are loaded and not taken.
        first: When the first of them happened; only where there is one.
        last: When the last of them happened; likewise.
    """

    def __init__(self, directory: Directory, name: str, skip: int, columns: Sequence[str]) -> None:
        self._directory, self._name = directory, name
        self._columns = columns
        with directory.opened(name) as file:
            metadata = pq.read_metadata(file)
        sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        ends = list(accumulate(sizes))
        self._groups = deque(n for n, end in enumerate(ends) if end > skip)
        self._skip = skip - (ends[self._groups[0]] - sizes[self._groups[0]]) if self._groups else 0
        self._low = sizes[0] // 2
        self._rows = pl.DataFrame()
        self._times = np.empty(0, np.int64)
        self.height = self.first = self.last = 0

    @property
    def more(self) -> bool:
        """Whether rows are still to come."""
        return bool(self._groups)

    @property
    def is_low(self) -> bool:
        """Whether so few rows are left that it is time for more: then a step takes many."""
        return self.height <= self._low

    def load(self) -> None:
        """Load a row group."""
        with (
            self._directory.opened(self._name) as source,
            pq.ParquetFile(source, pre_buffer=True) as file,
        ):
            group = file.read_row_group(self._groups.popleft(), columns=list(self._columns))
        rows = frame_of(group.slice(self._skip))
        self._skip = 0
        absent = [name for name in _BESIDE if name not in rows.columns]
        rows = rows.with_columns(pl.lit(None, _BESIDE[name]).alias(name) for name in absent)
        rows = rows.select(self._columns)
        if "body" in rows.columns:
            rows = rows.with_columns(pl.col("body").cast(pl.Binary))
        self._hold(pl.concat([self._rows, rows]) if self.height else rows)

    def take_before(self, bound: int | None) -> pl.DataFrame:
        """Take the rows before a time, or all where there is no bound."""
        number = self.height if bound is None else int(np.searchsorted(self._times, bound))
        taken = self._rows[:number]
        self._hold(self._rows[number:])
        return taken

    def _hold(self, rows: pl.DataFrame) -> None:
        self._rows, self.height = rows, rows.height
        self._times = _times(rows)
        if self.height:
            self.first, self.last = int(self._times[0]), int(self._times[-1])


def _times(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """When each happened, in microseconds."""
    times: npt.NDArray[np.int64] = rows[_TIME].to_physical().to_numpy()
    return times
