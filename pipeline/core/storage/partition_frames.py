"""One partition on its way: its rows as raw transactions, and as mapped ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from pipeline.core.frames import NO_PROBLEMS
from pipeline.core.model import KEY, LINE, SOURCE, TX

OWN_COLUMNS: Final = (TX, SOURCE, LINE, KEY)
"""Columns of rows that are not from the source."""
NO_LOCATIONS: Final = pl.DataFrame(schema={SOURCE: pl.UInt32, LINE: pl.Int64})
NO_TRANSACTIONS: Final = pl.Series(TX, [], pl.UInt32)


def cells_of(rows: pl.DataFrame) -> list[str]:
    """The columns of the source."""
    return [name for name in rows.columns if name not in OWN_COLUMNS]


@dataclass(frozen=True)
class RawTransactions:
    """Transactions as raw cells.

    Attributes:
        headers: One row per transaction: TX (0, 1, 2… in order of first appearance; orphans last), SOURCE and
            LINE of its first row, raw cells. In layout `lines` only the cells that a transaction's values
            use.
        lines: One row per item line: TX, SOURCE, LINE, raw cells; by TX, and in source order within one.
        payments: One row per payment, likewise; empty where tenders are columns of the transaction.
        problems: What is wrong with the rows, in the shared frame of problems.
        members: TX, SOURCE and LINE of every row that is part of a transaction, once each.
        duplicates: SOURCE and LINE of the rows that were left out as equal in every cell to an earlier one.
        skipped: SOURCE and LINE of rows that are neither header nor item nor payment (layout `records`).
        headless: TX of the transactions whose header row was not read, so that their status is not known.
        rows: The rows as they were read, by table; to show them with a problem.
    """

    headers: pl.DataFrame
    lines: pl.DataFrame
    payments: pl.DataFrame
    problems: pl.DataFrame
    members: pl.DataFrame
    headless: pl.Series = field(default_factory=NO_TRANSACTIONS.clone)
    duplicates: pl.DataFrame = field(default_factory=NO_LOCATIONS.clone)
    skipped: pl.DataFrame = field(default_factory=NO_LOCATIONS.clone)
    rows: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def with_raw(self, problems: pl.DataFrame) -> pl.DataFrame:
        """Fill the `raw` of problems with the source row at their SOURCE and LINE, as JSON."""
        locations = problems.select(SOURCE, LINE).unique()
        # Filtering by line first leaves few rows of another file, and costs a fraction of joining all rows.
        near = pl.col(LINE).is_in(locations[LINE].implode())
        found = [
            rows.filter(near)
            .join(locations, on=[SOURCE, LINE], how="semi")
            .select(SOURCE, LINE, pl.struct(cells_of(rows)).struct.json_encode().alias("row"))
            .unique([SOURCE, LINE], keep="first")
            for rows in self.rows.values()
            if cells_of(rows)
        ]
        if not found:
            return problems
        rows = pl.concat(found).unique([SOURCE, LINE], keep="first")
        joined = problems.join(rows, on=[SOURCE, LINE], how="left", maintain_order="left")
        return joined.with_columns(raw=pl.coalesce("raw", "row")).drop("row")


@dataclass(frozen=True)
class MappedTransactions:
    """Transactions and items in Omneo's terms.

    Attributes:
        headers: One row per transaction, in the order of TX: TX, SOURCE, LINE; a column for each mapped field
            (lists and objects as JSON text); `<field>|raw`, the text before the cast, beside amounts,
            integers, booleans, dates, `timezone` and `profile_id`: a raw text beside a null field means
            invalid; `transacted_at|local`, `|ambiguous`, `|nonexistent`; `status|raw`, `status|outcome`;
            `paid` (and `paid|raw` where the mapping gives it), `payments_total`, `items_total` (null where
            any item has no quantity or price), `items_count`; and where lines are set apart from items,
            `lines_set_apart`, which says what these are, and `set_apart_total`, what they are worth.
        items: One row per item, by TX and in source order: TX, SOURCE, LINE, the mapped fields,
            `<field>|raw`.
        problems: What was wrong with rows and cells, in the shared frame of problems.
        headless: TX of the transactions whose header row was not read: their header fields mean nothing.
    """

    headers: pl.DataFrame
    items: pl.DataFrame
    problems: pl.DataFrame = field(default_factory=NO_PROBLEMS.clone)
    headless: pl.Series = field(default_factory=NO_TRANSACTIONS.clone)
