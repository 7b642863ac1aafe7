"""MappedTransactions frames made by hand, one bucket at a time, as the mapping gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipeline.core.frames import PROBLEMS
from pipeline.core.model import LINE, SOURCE, TX
from pipeline.core.storage.partition_frames import MappedTransactions

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
MONEY = pl.Decimal(15, 4)

HEADER_SCHEMA: dict[str, Any] = {
    TX: pl.UInt32,
    SOURCE: pl.UInt32,
    LINE: pl.Int64,
    "external_id": pl.String,
    "total": MONEY,
    "total|raw": pl.String,
    "transacted_at": pl.Datetime("us"),
    "transacted_at|raw": pl.String,
    "transacted_at|local": pl.Datetime("us"),
    "transacted_at|ambiguous": pl.Boolean,
    "transacted_at|nonexistent": pl.Boolean,
    "transacted_at|format": pl.String,
    "timezone": pl.String,
    "timezone|raw": pl.String,
    "profile_id": pl.String,
    "profile_id_handle": pl.String,
    "profile_id|raw": pl.String,
    "location_id": pl.String,
    "currency": pl.String,
    "is_void": pl.Boolean,
    "is_void|raw": pl.String,
    "status|raw": pl.String,
    "status|outcome": pl.String,
    "paid": MONEY,
    "payments_total": MONEY,
    "items_total": MONEY,
    "items_count": pl.UInt32,
}
ITEM_SCHEMA: dict[str, Any] = {
    TX: pl.UInt32,
    SOURCE: pl.UInt32,
    LINE: pl.Int64,
    "name": pl.String,
    "sku": pl.String,
    "quantity": pl.Int64,
    "quantity|raw": pl.String,
    "price_current": MONEY,
    "price_current|raw": pl.String,
    "price_sell": MONEY,
    "price_sell|raw": pl.String,
    "price_tax": MONEY,
    "price_tax|raw": pl.String,
}
CLEAN: dict[str, Any] = {
    "external_id": "ST1-1-R1",
    "total": Decimal("10.00"),
    "total|raw": "10.00",
    "transacted_at": datetime(2024, 3, 1, 1),
    "transacted_at|raw": "01/03/2024 12:00:00",
    "transacted_at|local": datetime(2024, 3, 1, 12),
    "transacted_at|ambiguous": False,
    "transacted_at|nonexistent": False,
    "transacted_at|format": None,
    "timezone": "Australia/Melbourne",
    "timezone|raw": "Australia/Melbourne",
    "profile_id": "ann@example.com",
    "profile_id_handle": "email",
    "profile_id|raw": "ann@example.com",
    "location_id": "ST1",
    "currency": "AUD",
    "is_void": False,
    "is_void|raw": None,
    "status|raw": "COMPLETED",
    "status|outcome": "complete",
    "paid": Decimal("10.00"),
    "payments_total": None,
    "items_total": Decimal("10.00"),
    "items_count": 1,
}
CLEAN_ITEM: dict[str, Any] = {
    "name": "Mug",
    "sku": "SKU1",
    "quantity": 1,
    "quantity|raw": "1",
    "price_current": Decimal("10.00"),
    "price_current|raw": "10.00",
    "price_sell": Decimal("10.00"),
    "price_sell|raw": "10.00",
    "price_tax": Decimal("0.91"),
    "price_tax|raw": "0.91",
}


def headers(*changes: Mapping[str, Any], drop: Iterable[str] = ()) -> pl.DataFrame:
    """One header a change of the clean one; the n-th starts on line 2 + 10 n."""
    rows = [
        {TX: n, SOURCE: 0, LINE: 2 + 10 * n, **CLEAN, "external_id": f"R{n}", **change}
        for n, change in enumerate(changes)
    ]
    return pl.DataFrame(rows, schema=HEADER_SCHEMA).drop(list(drop))


def items(*changes: Mapping[str, Any], drop: Iterable[str] = ()) -> pl.DataFrame:
    """One item a change of the clean one: of transaction n unless the change says TX."""
    rows = [{TX: n, SOURCE: 0, LINE: 3 + 10 * n, **CLEAN_ITEM, **change} for n, change in enumerate(changes)]
    return pl.DataFrame(rows, schema=ITEM_SCHEMA).drop(list(drop))


def problems(*rows: Mapping[str, Any]) -> pl.DataFrame:
    blank = dict.fromkeys(PROBLEMS)
    return pl.DataFrame(
        [{**blank, "message": "…", SOURCE: 0, LINE: 2, **row} for row in rows], schema=PROBLEMS
    )


def mapped(*changes: Mapping[str, Any], drop: Iterable[str] = ()) -> MappedTransactions:
    """As `headers`, each with one clean item."""
    return MappedTransactions(headers(*changes, drop=drop), items(*[{} for _ in changes]))


def reasons_of(
    reasons: pl.DataFrame, tx: int | None = 0, columns: Sequence[str] = ("code", "field")
) -> set[Any]:
    rows = reasons.filter(pl.col(TX).eq_missing(tx)).select(columns).rows()
    return {row[0] if len(columns) == 1 else row for row in rows}
