"""Find the transactions for which a computation fails, so that they are rejected and the others go on.

No cell is known to need this: values, steps and formulas return null for what they cannot read. But polars
fails a whole frame for one cell, and then this finds the transaction with that cell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.core.errors import ImportToolError
from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.mapping.functions.polars_errors import POLARS_ERRORS, error_summary

Tables = Mapping[str, pl.DataFrame]
"""Raw rows by table, with SOURCE, LINE and KEY."""

_GROUP: Final = "__group"
_MOST: Final = 1000
"""Transactions to look for in one partition, which takes a minute. With more, the mapping itself is wrong."""


@dataclass(frozen=True)
class Unjudged:
    """Transactions on which a computation fails.

    Attributes:
        rows: SOURCE, LINE and `message` of each of their rows.
        all_found: Whether these are all; False where there were too many to look for.
    """

    rows: pl.DataFrame
    all_found: bool = True

    def blanked(self, tables: Tables, keep: Collection[str]) -> dict[str, pl.DataFrame]:
        """The tables with all cells of these transactions blank, but those of the columns `keep`."""
        places = self.rows.select(SOURCE, LINE, pl.lit(value=True).alias("__blank"))
        found = {}
        for name, rows in tables.items():
            cells = [c for c in rows.columns if c not in (SOURCE, LINE, KEY, *keep)]
            joined = rows.join(places, on=[SOURCE, LINE], how="left", maintain_order="left")
            blank = pl.col("__blank").fill_null(value=False)
            blanked = joined.with_columns(pl.when(~blank).then(pl.col(c)).alias(c) for c in cells)
            found[name] = blanked.drop("__blank")
        return found


def unjudged(tables: Tables, compute: Callable[[Tables], object]) -> Unjudged | None:
    """Find the transactions on which a computation over whole transactions fails.

    Halves the rows until each failing transaction is alone, so that none is rejected for its neighbour.

    Args:
        tables: Rows on which it failed.
        compute: The computation.

    Returns:
        None where the rows are not the reason: it fails without any, or for no part of them alone.
    """
    if _failure(compute, {name: rows.clear() for name, rows in tables.items()}):
        return None
    grouped = {name: rows.with_columns(_group().alias(_GROUP)) for name, rows in tables.items()}
    groups = pl.concat(rows[_GROUP] for rows in grouped.values()).unique().sort()
    found: dict[int, str] = {}

    def look(some: pl.Series) -> None:
        if len(found) > _MOST:
            return
        part = {
            n: rows.filter(pl.col(_GROUP).is_in(some.implode())).drop(_GROUP) for n, rows in grouped.items()
        }
        if not (message := _failure(compute, part)):
            return
        if some.len() == 1:
            found[some.item()] = message
            return
        half = some.len() // 2
        look(some[:half])
        look(some[half:])

    look(groups)
    if not found:
        return None
    messages = pl.DataFrame(
        {_GROUP: [*found], "message": [*found.values()]}, schema={_GROUP: pl.UInt64, "message": pl.String}
    )
    places = pl.concat(rows.select(SOURCE, LINE, _GROUP) for rows in grouped.values())
    rows = places.join(messages, on=_GROUP).select(SOURCE, LINE, "message").unique([SOURCE, LINE])
    return Unjudged(rows.sort(SOURCE, LINE), all_found=len(found) <= _MOST)


def _group() -> pl.Expr:
    """The transaction of a row; a row without a key is one of its own."""
    return pl.coalesce(KEY, pl.struct(SOURCE, LINE).hash())


def _failure(compute: Callable[[Tables], object], tables: Tables) -> str:
    """The message of a computation that fails; empty where it succeeds."""
    try:
        compute(tables)
    except ImportToolError:
        raise
    except POLARS_ERRORS as error:
        return error_summary(error)
    return ""
