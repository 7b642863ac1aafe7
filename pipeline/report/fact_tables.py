"""The tables of facts about a partition or a run: their columns, and by which of them rows are added up."""

from __future__ import annotations

from typing import Final

import polars as pl

SAMPLE_KINDS: Final = ("sale", "guest", "return", "void")
"""Kinds of transactions of which the report shows one each; they exclude one another."""

MONEY: pl.DataType = pl.Decimal(38, 4)
_COUNT: pl.DataType = pl.Int64()
_TEXT: pl.DataType = pl.String()
_NUMBERS: Final[dict[str, pl.DataType]] = {
    "transactions": _COUNT,
    "total": MONEY,
    "guests": _COUNT,
    "returns": _COUNT,
    "returned": MONEY,
    "voids": _COUNT,
    "void_total": MONEY,
}
TOTALS = pl.Schema({"month": _TEXT, "store": _TEXT, "currency": _TEXT, "outcome": _TEXT, **_NUMBERS})
DAYS = pl.Schema({"day": _TEXT, "currency": _TEXT, "outcome": _TEXT, **_NUMBERS})
CLOCK = pl.Schema({"weekday": pl.Int8(), "hour": pl.Int8(), "transactions": _COUNT})
FIELDS = pl.Schema({"level": _TEXT, "field": _TEXT, "mapped": pl.Boolean(), "filled": _COUNT, "of": _COUNT})
PROFILES = pl.Schema({"handle": _TEXT, "guest": pl.Boolean(), "transactions": _COUNT})
CODES = pl.Schema({"outcome": _TEXT, "code": _TEXT, "transactions": _COUNT})
SAMPLES = pl.Schema({"kind": _TEXT, "external_id": _TEXT, "body": _TEXT, "local": _TEXT, "rows": _TEXT})
PERIODS = pl.Schema({"store": _TEXT, "period": _TEXT, "sales": _COUNT, "days": _COUNT})
HOURS = pl.Schema({"store": _TEXT, "hour": pl.Int8(), "sales": _COUNT})
GAPS = pl.Schema(
    {
        "store": _TEXT,
        "first": _TEXT,
        "last": _TEXT,
        "days": _COUNT,
        "usual": _COUNT,
        "odds": _COUNT,
        "sure": pl.Boolean(),
    }
)
UNJUDGED = pl.Schema({"store": _TEXT, "usual": pl.Float64()})
LEFT_OUT = pl.Schema({"currency": _TEXT, "transactions": _COUNT, "total": MONEY})
TENDERS = pl.Schema({"tender": _TEXT, "currency": _TEXT, "payments": _COUNT, "total": MONEY})
CUSTOMERS = pl.Schema({"sales": _COUNT, "customers": _COUNT})
FACT_TABLES: Final[dict[str, pl.Schema]] = {
    "totals": TOTALS,
    "days": DAYS,
    "clock": CLOCK,
    "fields": FIELDS,
    "profiles": PROFILES,
    "codes": CODES,
    "samples": SAMPLES,
    "periods": PERIODS,
    "hours": HOURS,
    "gaps": GAPS,
    "unjudged": UNJUDGED,
    "customers": CUSTOMERS,
    "left_out": LEFT_OUT,
    "tenders": TENDERS,
}
OF_WHOLE_RUN: Final = ("periods", "hours", "gaps", "unjudged", "customers")
"""Tables that are empty for a partition."""
SUMMED: Final[dict[str, tuple[str, ...]]] = {
    "totals": ("month", "store", "currency", "outcome"),
    "days": ("day", "currency", "outcome"),
    "clock": ("weekday", "hour"),
    "profiles": ("handle", "guest"),
    "codes": ("outcome", "code"),
    "left_out": ("currency",),
    "tenders": ("tender", "currency"),
}
"""Tables whose rows are added up, and by which columns."""


def summed(rows: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Add up rows of a table of `SUMMED`: one row for what its columns hold, sorted by them, nulls last.

    Args:
        rows: Of any number of partitions; a column that is summed may have any whole or decimal type.
        name: The table's.
    """
    schema, by = FACT_TABLES[name], SUMMED[name]
    sums = rows.group_by(by).agg(pl.col([column for column in schema if column not in by]).sum())
    return sums.select(list(schema)).cast(schema).sort(by, nulls_last=True)
