"""Every raw row of a partition ends in exactly one outcome, checked row by row.

The check compares the rows that the reader returned with those that have an outcome, by file and line: a row
that was merged into another, or belongs to no transaction, is missing or occurs twice there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from pipeline.core.model import KEY, LINE, LOST, SOURCE, TX, Lost
from pipeline.core.storage.partition_frames import RawTransactions
from pipeline.core.text.wording import count
from pipeline.report.summary import AccountingError
from pipeline.validation.outcomes import TransactionOutcomes

_BITS = 40
"""Bits of a line number: a trillion lines a file, which leaves 23 bits for the number of the file."""


@dataclass(frozen=True)
class RowCounts:
    """Rows by outcome; the last three count the rows of transactions with that outcome."""

    malformed: int = 0
    duplicate: int = 0
    skipped: int = 0
    accepted: int = 0
    dropped: int = 0
    rejected: int = 0

    @property
    def all(self) -> int:
        """All rows."""
        return sum(getattr(self, field.name) for field in fields(self))


def count_rows(
    tables: Mapping[str, pl.DataFrame],
    shaped: RawTransactions,
    left_out: pl.DataFrame,
    verdict: TransactionOutcomes,
) -> RowCounts:
    """Count the rows of a partition by outcome.

    Args:
        tables: The rows as they were read, with LOST where some were malformed.
        shaped: The transactions that were found in them.
        left_out: SOURCE and LINE of rows that do not count because those of another file do.
        verdict: The outcome of each transaction.

    Raises:
        AccountingError: A row has no outcome, or more than one.
    """
    rows = [table for table in tables.values() if LOST not in table.columns]
    with_lost = [table for table in tables.values() if LOST in table.columns]
    rows += [table.filter(pl.col(LOST).is_null()) for table in with_lost]
    _check(rows, [shaped.members, shaped.duplicates, shaped.skipped, left_out])
    return RowCounts(
        # `BELOW` marks further copies of a lost row, which count once.
        malformed=sum(int((table[LOST] < Lost.BELOW).sum()) for table in with_lost),
        duplicate=shaped.duplicates.height + left_out.height,
        skipped=shaped.skipped.height,
        **_by_outcome(shaped.members[TX], verdict.outcomes),
    )


def count_lost_of_known_sales(tables: Mapping[str, pl.DataFrame]) -> int:
    """Malformed rows of a partition whose sale has a good row in it: that sale is counted, as rejected.

    Args:
        tables: The rows as they were read, with LOST where some were malformed.
    """
    with_lost = [table for table in tables.values() if LOST in table.columns]
    if not with_lost:
        return 0
    is_lost = pl.col(LOST).is_not_null()
    lost = pl.concat(table.filter(is_lost).select(KEY, SOURCE, LINE) for table in with_lost)
    read = (table.filter(~is_lost) if LOST in table.columns else table for table in tables.values())
    keys = pl.concat(table.select(KEY) for table in read).drop_nulls().unique()
    return lost.join(keys, on=KEY, how="semi").select(SOURCE, LINE).n_unique()


def _check(rows: Sequence[pl.DataFrame], outcomes: Sequence[pl.DataFrame]) -> None:
    read, found = _places(rows), _places(outcomes)
    if not np.array_equal(read, found):
        lost, twice = np.setdiff1d(read, found), len(found) - len(np.unique(found))
        raise AccountingError(
            f"Of {count(len(read), 'row')} of a partition {len(lost)} have no outcome, "
            f"and {twice} have several; the first of them is on line "
            f"{int(lost[0]) & ((1 << _BITS) - 1) if len(lost) else 'unknown'}."
        )


def _places(frames: Sequence[pl.DataFrame]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The place of each row as one number, in order."""
    place = pl.col(SOURCE).cast(pl.Int64) * 2**_BITS + pl.col(LINE)
    found = [frame.select(place).to_series().to_numpy() for frame in frames]
    # They are nearly in order already, which a stable sort uses.
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]), kind="stable")


def _by_outcome(members: pl.Series, outcomes: pl.DataFrame) -> dict[str, int]:
    """The rows of the transactions with each outcome; `outcomes` has TX 0, 1, 2 and so on."""
    rows = np.bincount(members.to_numpy(), minlength=outcomes.height)
    counted = outcomes.select("outcome", pl.Series("rows", rows)).group_by("outcome").sum()
    return dict(counted.iter_rows())
