"""What the data holds: small tables of each partition, which add up over any number of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from functools import cache
from typing import Any, Final

import polars as pl
import pydantic_core

from pipeline.core.frames import collect_together
from pipeline.report.fact_tables import (
    CUSTOMERS,
    FACT_TABLES,
    FIELDS,
    GAPS,
    HOURS,
    LEFT_OUT,
    MONEY,
    OF_WHOLE_RUN,
    PERIODS,
    SAMPLE_KINDS,
    SAMPLES,
    SUMMED,
    TENDERS,
    UNJUDGED,
    summed,
)

ACCEPTED: Final = "accepted"


@dataclass(frozen=True)
class Facts:
    """Aggregates of one partition, in any order of rows, or of many merged, which are sorted.

    Attributes:
        totals: One row a month of local time (`2024-07`) × store × currency × outcome: transactions and the
            sum of their totals; those without a customer (`guests`), and those below zero that are not void
            (`returns`) with the sum of their totals, and those that are void (`voids`) with theirs
            (`void_total`), which is a part of `total`. A null month, store or currency means the transactions
            had none; null guests, returns and voids, that an older version did not count them.
        days: One row a local day (`2024-07-31`) × currency × outcome, as above.
        clock: One row a weekday (1 Monday to 7 Sunday) × hour of local time: accepted transactions.
        fields: One row an Omneo field at level `transaction` or `item`: whether the mapping gives it, and
            how many of the accepted transactions or items have a value.
        profiles: One row a `profile_id_handle` (null: an Omneo id) or guests: accepted transactions.
        codes: One row an outcome of a reason × code: transactions, each counted once a code; a reason
            that belongs to no transaction (a malformed row) counts for itself.
        samples: One accepted transaction of each kind (sale, return, void, guest) with its request body,
            null until `with_bodies` was called, its local time, and its source rows as JSON, null until
            `with_rows` was called.
        periods: Empty for a partition. One row a store × local month, or local day where the run has few of
            them: sales, and days with sales.
        hours: Empty for a partition. One row a store × local hour: sales that have a time of day.
        gaps: Empty for a partition. One row a time without sales where there always are some: the store
            (null: everywhere), its first and last day, how many days, and the sales of a usual one; chance
            brings as much on one of `odds` days, and whether that is rare enough to be `sure` (both null
            where an older version found it).
        unjudged: Empty for a partition. One row a store that sells too little for a day without sales to say
            anything, with its sales a day.
        customers: Empty for a partition. One row a number of sales: how many customers have as many, among
            all, or among a fair sample of them.
        left_out: One row a currency: accepted transactions of which the mapping leaves lines out, and what
            these lines are worth, which is not in the totals. Empty where an older version did not count.
        tenders: One row a tender, as JSON text, × currency: payments of the accepted transactions, and their
            sum; 0 where only tenders are named. Empty as above.
        items: Items of the accepted transactions.
        body_bytes: Bytes of all request bodies; 0 until `with_bodies` was called.
        people: Customers; an estimate where `customers` is of a sample. 0 for a partition.
    """

    totals: pl.DataFrame
    days: pl.DataFrame
    clock: pl.DataFrame
    fields: pl.DataFrame
    profiles: pl.DataFrame
    codes: pl.DataFrame
    samples: pl.DataFrame
    periods: pl.DataFrame = field(default_factory=PERIODS.to_frame)
    hours: pl.DataFrame = field(default_factory=HOURS.to_frame)
    gaps: pl.DataFrame = field(default_factory=GAPS.to_frame)
    unjudged: pl.DataFrame = field(default_factory=UNJUDGED.to_frame)
    customers: pl.DataFrame = field(default_factory=CUSTOMERS.to_frame)
    left_out: pl.DataFrame = field(default_factory=LEFT_OUT.to_frame)
    tenders: pl.DataFrame = field(default_factory=TENDERS.to_frame)
    items: int = 0
    body_bytes: int = 0
    people: int = 0

    def transactions(self, outcome: str) -> int:
        """How many transactions have `outcome`: accepted, dropped or rejected."""
        return int(self.totals.filter(pl.col("outcome") == outcome)["transactions"].sum())

    def sums(self, outcome: str) -> dict[str | None, Decimal]:
        """The exact sum of totals with `outcome` by currency, alphabetically; None is "no currency"."""
        rows = (
            self.totals.filter(pl.col("outcome") == outcome)
            .group_by("currency")
            .agg(pl.col("total").sum())
            .sort("currency", nulls_last=True)
        )
        return dict(rows.iter_rows())

    @property
    def currency(self) -> str:
        """The currency of the transactions, whatever their outcome; empty for none, or several."""
        currencies = self.totals["currency"].drop_nulls().unique()
        return str(currencies[0]) if len(currencies) == 1 else ""

    def by_code(self, outcome: str) -> dict[str, int]:
        """Transactions by code for one outcome of a reason, the most frequent first."""
        rows = self.codes.filter(pl.col("outcome") == str(outcome)).sort(
            ["transactions", "code"], descending=[True, False]
        )
        return dict(rows.select("code", "transactions").iter_rows())

    def with_bodies(self, staged: pl.DataFrame) -> Facts:
        """Add the request bodies of the same partition: their bytes, and the bodies of the samples.

        Args:
            staged: One row an accepted transaction, with `external_id` and `body` (String).
        """
        bodies = staged.select("external_id", "body").filter(
            pl.col("external_id").is_in(self.samples["external_id"].implode())
        )
        samples = self.samples.drop("body").join(
            bodies.unique("external_id", keep="first", maintain_order=True),
            on="external_id",
            how="left",
            maintain_order="left",
        )
        return replace(
            self,
            samples=samples.select(list(SAMPLES)),
            body_bytes=int(staged["body"].str.len_bytes().sum()),
        )

    def with_rows(self, rows: pl.DataFrame) -> Facts:
        """Add the source rows of the samples.

        Args:
            rows: One row a sample, with `external_id` and `rows` (String).
        """
        samples = self.samples.drop("rows").join(rows, on="external_id", how="left", maintain_order="left")
        return replace(self, samples=samples.select(list(SAMPLES)))

    def to_json(self) -> str:
        """The facts as one JSON object of columns; amounts are decimal strings."""
        tables = {
            name: getattr(self, name)
            .with_columns(pl.col(pl.Decimal).cast(pl.String))
            .to_dict(as_series=False)
            for name in FACT_TABLES
        }
        numbers = {"items": self.items, "body_bytes": self.body_bytes, "people": self.people}
        # For years of many stores these are megabytes, and `json` takes several times as long.
        return pydantic_core.to_json({**tables, **numbers}).decode()

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """Read what `to_json` wrote; what an older version did not count is null, or an empty table."""
        data = json.loads(text)
        tables: dict[str, Any] = {
            name: _table(data.get(name, {}), schema) for name, schema in FACT_TABLES.items()
        }
        return cls(**tables, items=data["items"], body_bytes=data["body_bytes"], people=data.get("people", 0))


@cache
def nothing() -> Facts:
    """Facts of no data: the neutral element of `merge`."""
    tables: dict[str, Any] = {name: pl.DataFrame(schema=schema) for name, schema in FACT_TABLES.items()}
    return Facts(**tables)


def merge(parts: Sequence[Facts]) -> Facts:
    """Add up the facts of partitions; the order of `parts` decides only which samples are kept.

    The tables are sorted, so that equal input gives equal facts however it was split.
    """
    everything = [nothing(), *parts]
    stacked = {name: pl.concat([getattr(part, name) for part in everything]) for name in FACT_TABLES}
    numbers = {
        field.name: sum(getattr(part, field.name) for part in everything)
        for field in fields(Facts)
        if field.name not in FACT_TABLES
    }
    # Streamed: the months of many stores take much memory otherwise.
    sums: dict[str, Any] = collect_together(
        {name: summed(stacked[name].lazy(), name) for name in SUMMED}, engine="streaming"
    )
    return Facts(
        **sums,
        fields=_merge_completeness(stacked["fields"]),
        samples=_first_of_each(stacked["samples"]),
        **{name: stacked[name] for name in OF_WHOLE_RUN},
        **numbers,
    )


def _table(columns: Mapping[str, list[Any]], schema: pl.Schema) -> pl.DataFrame:
    as_text = {name: pl.String if kind == MONEY else kind for name, kind in schema.items()}
    if not columns:
        return schema.to_frame()
    known = pl.DataFrame(columns, schema_overrides=as_text)
    absent = [pl.lit(None, kind).alias(name) for name, kind in as_text.items() if name not in columns]
    return known.with_columns(absent).select(list(schema)).cast(schema)


def _merge_completeness(stacked: pl.DataFrame) -> pl.DataFrame:
    return (
        stacked.group_by(["level", "field"], maintain_order=True)
        .agg(pl.col("mapped").any(), pl.col("filled", "of").sum())
        .cast(FIELDS)
    )


def _first_of_each(samples: pl.DataFrame) -> pl.DataFrame:
    first = samples.unique("kind", keep="first", maintain_order=True)
    return first.sort(pl.col("kind").cast(pl.Enum(SAMPLE_KINDS)))
