"""The staged run: written part by part while preparing, then only ever read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from pipeline.errors import RunError
from pipeline.model import MONEY_PRECISION, MONEY_SCALE, StagedTransaction
from pipeline.staging.manifest import Manifest, PartRecord
from pipeline.staging.workdir import PRIVATE_FILE, RunDir

_ROWS_IN_FLIGHT = 32_768
"""Rows of all parts that are decoded at a time, but for the bounds of a row group."""
_LEAST_IN_GROUP, _MOST_IN_GROUP = 256, 4_096
_ROWS_AT_A_TIME = 2_048
"""Rows that are Python's objects at a time, which take several times as much memory."""
_TIME = "transacted_at"
_SENT = ["external_id", _TIME, "body"]


def write_part(run: RunDir, number: int, staged: pl.DataFrame, parts: int) -> PartRecord | None:
    """Write one unit's transactions, sorted by `transacted_at`, then `external_id`.

    Args:
        run: The run.
        number: The unit's number; parts keep this order. A part of that number before is replaced.
        staged: `external_id`, `transacted_at`, `total`, `body`.
        parts: About how many parts there will be; reading them side by side keeps a row group of each.

    Returns:
        The part's record; None where there is no transaction, and so no file.
    """
    discard_part(run, number)
    if staged.is_empty():
        return None
    path = _part_path(run, number)
    ordered = staged.select("external_id", _TIME, "total", "body").sort(_TIME, "external_id")
    group_rows = min(max(_LEAST_IN_GROUP, _ROWS_IN_FLIGHT // max(1, parts)), _MOST_IN_GROUP)
    save_rows(path, ordered, group_rows)
    size = int(ordered["body"].str.len_bytes().sum())
    return PartRecord(path.name, ordered.height, size, fingerprint_of(path))


def save_rows(path: Path, rows: pl.DataFrame, group_rows: int) -> None:
    """Write the file of a part, in row groups of so many rows."""
    path.touch(mode=PRIVATE_FILE)
    # No two bodies are alike, so polars' own writer spends its time on a dictionary that is thrown away.
    pq.write_table(
        rows.to_arrow(),
        path,
        row_group_size=group_rows,
        compression="snappy",
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
    )


def write_no_part(run: RunDir) -> None:
    """Write a file without rows, so that a run of which nothing was accepted has the columns to read too."""
    columns: dict[str, pl.DataType] = {
        "external_id": pl.String(),
        _TIME: pl.Datetime("us", "UTC"),
        "total": pl.Decimal(MONEY_PRECISION, MONEY_SCALE),
        "body": pl.String(),
    }
    save_rows(_part_path(run, 0), pl.DataFrame(schema=columns), _MOST_IN_GROUP)


def discard_part(run: RunDir, number: int) -> None:
    """Remove a unit's part, if there is one."""
    _part_path(run, number).unlink(missing_ok=True)


def _part_path(run: RunDir, number: int) -> Path:
    return run.staged / f"part-{number:05d}.parquet"


def fingerprint_of(path: Path) -> str:
    """Digest of a part's contents, as its record has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class StagedRun:
    """A run that was prepared.

    Attributes:
        run: Its directory.
        manifest: Its record.
    """

    run: RunDir
    manifest: Manifest

    def verify(self) -> None:
        """See to it that the parts are what was reviewed.

        Raises:
            RunError: A part is gone or was changed.
        """
        for part in self.manifest.parts:
            path = self.run.staged / part.file
            if not path.exists():
                raise RunError(
                    f"{path} is gone, so run {self.run.run_id} cannot be sent.", hint="Prepare it again."
                )
            if fingerprint_of(path) != part.fingerprint:
                raise RunError(
                    f"{path} was changed after it was reviewed; nothing was sent.", hint="Prepare it again."
                )

    def batches(self, start: int = 0) -> Iterator[list[StagedTransaction]]:
        """The transactions in delivery order: by `transacted_at` over the whole run, oldest first.

        Ties go by part, then by row, so a position always names the same transaction. Memory holds one row
        group of each part, whatever the size of the run.

        Args:
            start: How many to leave out at the beginning.
        """
        left_out = 0
        for rows in self._merged():
            if left_out + rows.height <= start:
                left_out += rows.height
                continue
            wanted = rows.slice(start - left_out if left_out < start else 0)
            left_out = max(left_out, start)
            for some in wanted.iter_slices(_ROWS_AT_A_TIME):
                yield list(map(StagedTransaction, some["external_id"].to_list(), some["body"].to_list()))

    def _merged(self) -> Iterator[pl.DataFrame]:
        cursors = [_Cursor(self.run.staged / part.file) for part in self.manifest.parts if part.transactions]
        while any(not cursor.done for cursor in cursors):
            bounds = [cursor.last for cursor in cursors if cursor.more]
            bound = min(bounds) if bounds else None
            taken = [cursor.take_before(bound) for cursor in cursors]
            ready = [rows for rows in taken if rows.height]
            if ready:
                yield pl.concat(ready).sort(_TIME, maintain_order=True)
            for cursor in cursors:
                if cursor.more and cursor.last == bound:
                    cursor.load()


class _Cursor:
    """A place in one part: rows that are loaded but not taken, and row groups that are still to come."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path, memory_map=False)
        self._groups = iter(range(self._file.num_row_groups))
        self._left = self._file.num_row_groups
        self._rows = self._next_group()
        self._times = _times(self._rows)

    @property
    def more(self) -> bool:
        return self._left > 0

    @property
    def done(self) -> bool:
        return not self.more and self._rows.is_empty()

    @property
    def last(self) -> np.int64:
        """When the last loaded row happened."""
        value: np.int64 = self._times[-1]
        return value

    def load(self) -> None:
        self._rows = pl.concat([self._rows, self._next_group()])
        self._times = _times(self._rows)

    def take_before(self, bound: np.int64 | None) -> pl.DataFrame:
        """Take the rows before a time, or all where there is no bound."""
        number = len(self._times) if bound is None else int(np.searchsorted(self._times, bound))
        taken, self._rows, self._times = self._rows[:number], self._rows[number:], self._times[number:]
        return taken

    def _next_group(self) -> pl.DataFrame:
        self._left -= 1
        frame = pl.from_arrow(self._file.read_row_group(next(self._groups), columns=_SENT))
        assert isinstance(frame, pl.DataFrame)
        return frame.with_columns(pl.col("body").cast(pl.Binary))


def _times(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    return rows[_TIME].to_physical().to_numpy()
