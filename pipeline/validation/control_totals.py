"""Control totals: what the source system says it sold, beside what was read from its export.

The file is a small CSV with a header row and, in any order, any of `day` (or `date`), `store` (or
`location_id`) and `currency`, and at least one of `count` and `sum` (or `total`):

    day,store,count,sum
    2024-07-01,ST0001,118,9431.20
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, TypeVar

import polars as pl

from pipeline.core.codes import Outcome
from pipeline.core.errors import SourceError, did_you_mean
from pipeline.core.findings import ControlRow, Sums
from pipeline.core.frames import SUM
from pipeline.core.model import TX
from pipeline.core.text.wording import agree, count
from pipeline.validation.outcomes import ACCEPTED

DIMENSIONS: Final = ("day", "store", "currency")
_NAMES: Final = {
    "day": "day",
    "date": "day",
    "store": "store",
    "location": "store",
    "location_id": "store",
    "currency": "currency",
    "count": "count",
    "transactions": "count",
    "sum": "sum",
    "total": "sum",
}
_EXPECTED: Final = "a header row with day, store or currency, and count or sum, was expected"
# Only commas that group thousands are removed; `1,5` may be a decimal.
_GROUPED: Final = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
_FIELDS: Final = {
    "day": ("transacted_at|local", pl.Date()),
    "store": ("location_id", pl.String()),
    "currency": ("currency", pl.String()),
}

Key = tuple[str, ...]
_Number = TypeVar("_Number", int, Decimal)


@dataclass(frozen=True)
class ControlTotals:
    """What the source system printed.

    Attributes:
        by: The dimensions, among `DIMENSIONS` and in their order; none for one grand total.
        expected: By key, in the file's order. Days are ISO dates.
        counts: Whether numbers of transactions are stated.
        sums: Whether sums are stated.
        is_sample: Only some keys are stated: others that are found are no differences.
    """

    by: tuple[str, ...]
    expected: Mapping[Key, Sums]
    counts: bool
    sums: bool
    is_sample: bool = False


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────


def read_control_totals(path: Path, *, is_sample: bool = False) -> ControlTotals:
    """Read a file of control totals.

    Args:
        path: The file.
        is_sample: It states only some of the keys.

    Raises:
        SourceError: It cannot be read, has other columns, a cell that is not a date, number or amount, or the
            same key twice; file, line and column are named.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"The control totals {path} cannot be read: {error}.") from None
    head, _, _ = text.partition("\n")
    delimiter = max(",;\t|", key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = _columns(path, next(rows, []))
    by = tuple(name for name in DIMENSIONS if name in names)
    expected: dict[Key, Sums] = {}
    for cells in rows:
        if not any(map(str.strip, cells)):
            continue
        where = f"{path}:{rows.line_num}"
        if len(cells) != len(names):
            raise SourceError(
                f"{where}: {count(len(names), 'cell', 'was')} expected, and there "
                f"{agree(len(cells), 'is')} {len(cells)}."
            )
        key, sums = _line(where, dict(zip(names, map(str.strip, cells), strict=True)), by)
        if key in expected:
            raise SourceError(f"{where}: {', '.join(key) or 'the grand total'} occurs twice.")
        expected[key] = sums
    if not expected:
        raise SourceError(f"The control totals {path} hold no rows.")
    return ControlTotals(by, expected, "count" in names, "sum" in names, is_sample)


def _columns(path: Path, header: Sequence[str]) -> list[str]:
    names = []
    for title in header:
        name = _NAMES.get(title.strip().lower())
        if name is None:
            near = did_you_mean(title.strip(), list(_NAMES))
            raise SourceError(f"{path}:1: '{title}' is not a column of control totals{near}; {_EXPECTED}.")
        if name in names:
            raise SourceError(f"{path}:1: there are two columns for {name}.")
        names.append(name)
    if not {"count", "sum"} & set(names):
        raise SourceError(f"{path}:1: there is neither count nor sum; {_EXPECTED}.")
    return names


def _line(where: str, cells: Mapping[str, str], by: Sequence[str]) -> tuple[Key, Sums]:
    try:
        if "day" in cells:
            date.fromisoformat(cells["day"])
    except ValueError:
        raise SourceError(f"{where}: '{cells['day']}' is not a day; 2024-12-31 was expected.") from None
    count = _number(where, cells, "count", int, "a whole number")
    total = _number(where, cells, "sum", Decimal, "an amount; 1234.56 was expected")
    return tuple(cells[name] for name in by), Sums(count, total)


def _number(
    where: str, cells: Mapping[str, str], name: str, kind: Callable[[str], _Number], expected: str
) -> _Number | None:
    """The number in a cell; None where it is blank or there is no such column.

    Raises:
        SourceError: The cell is not a number of this kind.
    """
    if not cells.get(name):
        return None
    try:
        number = kind(_ungrouped(cells[name]))
    except (ValueError, InvalidOperation):
        number = None
    if number is None or not Decimal(number).is_finite():
        raise SourceError(f"{where}: {name} '{cells[name]}' is not {expected}.")
    return number


def _ungrouped(number: str) -> str:
    """`9,431.20` as `9431.20`, where the commas stand between thousands; as it is otherwise."""
    return number.replace(",", "") if _GROUPED.fullmatch(number) else number


# ── Comparing ────────────────────────────────────────────────────────────────────────────────────────


def sums_by_key(headers: pl.DataFrame, outcomes: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Add up one partition by some of `DIMENSIONS`, for `compare_totals`.

    Args:
        headers: One row a transaction, as mapped. Days are those of local time.
        outcomes: TX and `outcome`.
        by: The control totals' dimensions.

    Returns:
        One row a key and outcome: the dimensions, `outcome`, `transactions`, `total`.
    """
    keys = [_dimension(name, headers.columns) for name in by]
    total = pl.col("total") if "total" in headers.columns else pl.lit(None)
    rows = headers.select(TX, *keys, total.cast(SUM).alias("total")).join(outcomes, on=TX)
    return (
        rows.group_by(*by, "outcome")
        .agg(pl.len().cast(pl.Int64).alias("transactions"), pl.col("total").sum())
        .select(*by, "outcome", "transactions", "total")
    )


def _dimension(name: str, columns: Sequence[str]) -> pl.Expr:
    field, kind = _FIELDS[name]
    value = pl.col(field).cast(kind) if field in columns else pl.lit(None, kind)
    return value.cast(pl.String).fill_null("").alias(name)


def compare_totals(control: ControlTotals, parts: Sequence[pl.DataFrame]) -> list[ControlRow]:
    """Compare the control totals with what was found.

    Args:
        control: As printed by the source system.
        parts: What `sums_by_key` returned for each partition.

    Returns:
        One line a key: those of the file in its order, then those that only the data has, sorted; the latter
        not where the file is a sample.
    """
    found: dict[Key, dict[str, Sums]] = {}
    if parts:
        added = pl.concat(parts).group_by(*control.by, "outcome").agg(pl.col("transactions", "total").sum())
        for *key, outcome, transactions, total in added.iter_rows():
            found.setdefault(tuple(key), {})[outcome] = Sums(transactions, total)
    unprinted = [] if control.is_sample else sorted(found.keys() - control.expected.keys())
    none = Sums(0 if control.counts else None, Decimal() if control.sums else None)
    expected = {**control.expected, **dict.fromkeys(unprinted, none)}
    return [_compared(control.by, key, sums, found.get(key, {})) for key, sums in expected.items()]


def _compared(by: Sequence[str], key: Key, expected: Sums, found: Mapping[str, Sums]) -> ControlRow:
    nothing = Sums(0, Decimal(0))
    staged, dropped, rejected = (
        found.get(outcome, nothing) for outcome in (ACCEPTED, Outcome.DROPPED.value, Outcome.REJECTED.value)
    )
    parts = (staged, dropped, rejected)
    read = Sums(
        sum(part.transactions or 0 for part in parts),
        sum((part.total or Decimal() for part in parts), Decimal()),
    )
    return ControlRow(
        key=dict(zip(by, key, strict=True)),
        expected=expected,
        read=read,
        staged=staged,
        dropped=dropped,
        rejected=rejected,
    )
