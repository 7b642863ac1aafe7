"""What the data holds, counted by partition: small tables that add up over any number of partitions.

Everything here is polars over whole columns. A partition holds whole transactions, so every count of
transactions is a plain sum over the partitions. "Accepted" facts (clock, fields, profiles, samples) speak of
what would be sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from functools import cache
from typing import Any, Final

import polars as pl
import pydantic_core

from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, TX

ACCEPTED: Final = "accepted"

_LOOKED_AT: Final = (
    TX,
    *("outcome", "external_id", "transacted_at|local", "total", "is_void"),
    *("profile_id", "profile_id_handle", "currency", "set_apart_total", "payments"),
)
"""Columns that are counted of the accepted transactions, besides how complete they are."""
_HOUR_US: Final = 3_600_000_000
_WEEK_HOURS: Final = 168
_KINDS: Final = ("sale", "guest", "return", "void")

_MONEY: pl.DataType = pl.Decimal(38, 4)
_COUNT: pl.DataType = pl.Int64()
_TEXT: pl.DataType = pl.String()
_TOTALS = pl.Schema(
    {
        "month": _TEXT,
        "store": _TEXT,
        "currency": _TEXT,
        "outcome": _TEXT,
        "transactions": _COUNT,
        "total": _MONEY,
        "guests": _COUNT,
        "returns": _COUNT,
        "returned": _MONEY,
        "voids": _COUNT,
        "void_total": _MONEY,
    }
)
_DAYS = pl.Schema(
    {
        "day": _TEXT,
        "currency": _TEXT,
        "outcome": _TEXT,
        "transactions": _COUNT,
        "total": _MONEY,
        "guests": _COUNT,
        "returns": _COUNT,
        "returned": _MONEY,
        "voids": _COUNT,
        "void_total": _MONEY,
    }
)
_CLOCK = pl.Schema({"weekday": pl.Int8(), "hour": pl.Int8(), "transactions": _COUNT})
_FIELDS = pl.Schema({"level": _TEXT, "field": _TEXT, "mapped": pl.Boolean(), "filled": _COUNT, "of": _COUNT})
_PROFILES = pl.Schema({"handle": _TEXT, "guest": pl.Boolean(), "transactions": _COUNT})
_CODES = pl.Schema({"outcome": _TEXT, "code": _TEXT, "transactions": _COUNT})
_SAMPLES = pl.Schema({"kind": _TEXT, "external_id": _TEXT, "body": _TEXT, "local": _TEXT, "rows": _TEXT})
_PERIODS = pl.Schema({"store": _TEXT, "period": _TEXT, "sales": _COUNT, "days": _COUNT})
_HOURS = pl.Schema({"store": _TEXT, "hour": pl.Int8(), "sales": _COUNT})
_GAPS = pl.Schema(
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
_UNJUDGED = pl.Schema({"store": _TEXT, "usual": pl.Float64()})
_LEFT_OUT = pl.Schema({"currency": _TEXT, "transactions": _COUNT, "total": _MONEY})
_TENDERS = pl.Schema({"tender": _TEXT, "currency": _TEXT, "payments": _COUNT, "total": _MONEY})
_PAYMENT: Final = r'"(?:[^"\\]|\\.)*"(?::-?[0-9.]+)?'
"""An entry of a transaction's payments: a tender as JSON text, and its amount where there is one."""
_AMOUNT_SIGNS: Final = ":-0123456789."
"""What follows a tender, which ends in a quotation mark: cheaper to strip than to find by a pattern."""
_CUSTOMERS = pl.Schema({"sales": _COUNT, "customers": _COUNT})
_SCHEMAS: Final[dict[str, pl.Schema]] = {
    "totals": _TOTALS,
    "days": _DAYS,
    "clock": _CLOCK,
    "fields": _FIELDS,
    "profiles": _PROFILES,
    "codes": _CODES,
    "samples": _SAMPLES,
    "periods": _PERIODS,
    "hours": _HOURS,
    "gaps": _GAPS,
    "unjudged": _UNJUDGED,
    "customers": _CUSTOMERS,
    "left_out": _LEFT_OUT,
    "tenders": _TENDERS,
}
_OF_WHOLE_RUN: Final = ("periods", "hours", "gaps", "unjudged", "customers")
"""Tables that are empty for a partition."""


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
    periods: pl.DataFrame = field(default_factory=_PERIODS.to_frame)
    hours: pl.DataFrame = field(default_factory=_HOURS.to_frame)
    gaps: pl.DataFrame = field(default_factory=_GAPS.to_frame)
    unjudged: pl.DataFrame = field(default_factory=_UNJUDGED.to_frame)
    customers: pl.DataFrame = field(default_factory=_CUSTOMERS.to_frame)
    left_out: pl.DataFrame = field(default_factory=_LEFT_OUT.to_frame)
    tenders: pl.DataFrame = field(default_factory=_TENDERS.to_frame)
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
            samples=samples.select(list(_SAMPLES)),
            body_bytes=int(staged["body"].str.len_bytes().sum()),
        )

    def with_rows(self, rows: pl.DataFrame) -> Facts:
        """Add the source rows of the samples.

        Args:
            rows: One row a sample, with `external_id` and `rows` (String).
        """
        samples = self.samples.drop("rows").join(rows, on="external_id", how="left", maintain_order="left")
        return replace(self, samples=samples.select(list(_SAMPLES)))

    def to_json(self) -> str:
        """The facts as one JSON object of columns; amounts are decimal strings."""
        tables = {
            name: getattr(self, name)
            .with_columns(pl.col(pl.Decimal).cast(pl.String))
            .to_dict(as_series=False)
            for name in _SCHEMAS
        }
        numbers = {"items": self.items, "body_bytes": self.body_bytes, "people": self.people}
        # For years of many stores these are megabytes, and `json` takes several times as long.
        return pydantic_core.to_json({**tables, **numbers}).decode()

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """Read what `to_json` wrote; what an older version did not count is null, or an empty table."""
        data = json.loads(text)
        tables: dict[str, Any] = {
            name: _table(data.get(name, {}), schema) for name, schema in _SCHEMAS.items()
        }
        return cls(**tables, items=data["items"], body_bytes=data["body_bytes"], people=data.get("people", 0))


def measure(
    headers: pl.DataFrame,
    items: pl.DataFrame,
    outcomes: pl.DataFrame,
    reasons: pl.DataFrame,
) -> Facts:
    """Count one partition.

    Args:
        headers: One row a transaction, as mapped; a field that the mapping does not give has no column.
        items: One row an item, as mapped.
        outcomes: TX and `outcome` (accepted, dropped, rejected), one row a transaction, in any order.
        reasons: One row a reason, with `outcome` (dropped, rejected, warning).
    """
    known = headers.join(outcomes.select(TX, "outcome"), on=TX, how="left", maintain_order="left")
    accepted = known.select(name for name in _LOOKED_AT if name in known.columns).filter(
        pl.col("outcome") == ACCEPTED
    )
    labelled = _labelled(known)
    fields = [
        _filled("transaction", known, TRANSACTION_FIELDS, pl.col("outcome") == ACCEPTED),
        _filled("item", items, ITEM_FIELDS, pl.col(TX).is_in(accepted[TX].implode())),
    ]
    return Facts(
        codes=_codes(reasons),
        totals=_dated(labelled, _TOTALS, "%Y-%m"),
        days=_dated(labelled, _DAYS, "%Y-%m-%d"),
        clock=_clock(accepted),
        fields=pl.concat(fields),
        profiles=_profiles(accepted),
        samples=_samples(accepted),
        left_out=_left_out(accepted),
        tenders=_tenders(accepted),
        items=fields[1]["of"][0],
    )


def measure_reasons(reasons: pl.DataFrame) -> Facts:
    """Facts of reasons alone, for rows that never became a transaction, such as malformed ones.

    Args:
        reasons: One row a reason, with `outcome`; TX null where it belongs to no transaction.
    """
    return replace(nothing(), codes=_codes(reasons))


@cache
def nothing() -> Facts:
    """Facts of no data: the neutral element of `merge`."""
    tables: dict[str, Any] = {name: pl.DataFrame(schema=schema) for name, schema in _SCHEMAS.items()}
    return Facts(**tables)


def merge(parts: Sequence[Facts]) -> Facts:
    """Add up the facts of partitions; the order of `parts` decides only which samples are kept.

    The tables are sorted, so that equal input gives equal facts however it was split.
    """
    everything = [nothing(), *parts]
    stacked = {name: pl.concat([getattr(part, name) for part in everything]) for name in _SCHEMAS}
    numbers = {
        field.name: sum(getattr(part, field.name) for part in everything)
        for field in fields(Facts)
        if field.name not in _SCHEMAS
    }
    return Facts(
        totals=_sum(stacked["totals"], list(_TOTALS)[:4], _TOTALS),
        days=_sum(stacked["days"], list(_DAYS)[:3], _DAYS),
        clock=_sum(stacked["clock"], ["weekday", "hour"], _CLOCK),
        fields=_merge_completeness(stacked["fields"]),
        profiles=_sum(stacked["profiles"], ["handle", "guest"], _PROFILES),
        codes=_sum(stacked["codes"], ["outcome", "code"], _CODES),
        samples=_first_of_each(stacked["samples"]),
        left_out=_sum(stacked["left_out"], ["currency"], _LEFT_OUT),
        tenders=_sum(stacked["tenders"], ["tender", "currency"], _TENDERS),
        **{name: stacked[name] for name in _OF_WHOLE_RUN},
        **numbers,
    )


def _table(columns: Mapping[str, list[Any]], schema: pl.Schema) -> pl.DataFrame:
    as_text = {name: pl.String if kind == _MONEY else kind for name, kind in schema.items()}
    if not columns:
        return schema.to_frame()
    known = pl.DataFrame(columns, schema_overrides=as_text)
    return known.select(_column(known, name, kind) for name, kind in as_text.items()).cast(schema)


def _column(frame: pl.DataFrame, name: str, kind: Any) -> pl.Expr:
    """The column, or nulls of `kind` where the mapping does not give it."""
    return pl.col(name) if name in frame.columns else pl.lit(None, kind).alias(name)


def _labelled(known: pl.DataFrame) -> pl.DataFrame:
    local = _column(known, "transacted_at|local", pl.Datetime("us"))
    return known.select_seq(
        local.dt.date().dt.month_start().alias("month"),
        local.dt.date().alias("day"),
        _column(known, "location_id", pl.String).alias("store"),
        _column(known, "currency", pl.String),
        "outcome",
        _column(known, "total", _MONEY).cast(_MONEY),
        _is_guest(known).alias("guest"),
        (_is_return(known) & ~_is_void(known)).alias("return"),
        _is_void(known).alias("void"),
    )


def _dated(labelled: pl.DataFrame, schema: pl.Schema, form: str) -> pl.DataFrame:
    """Add up; only then dates become text: there are few, and Python's own dates end at year 9999."""
    when, *others = [name for name in schema if name in labelled.columns and name != "total"]
    sums = {
        "transactions": pl.len(),
        "total": pl.col("total").sum(),
        "guests": pl.col("guest").sum(),
        "returns": pl.col("return").sum(),
        "returned": pl.col("total").filter("return").sum(),
        "voids": pl.col("void").sum(),
        "void_total": pl.col("total").filter("void").sum(),
    }
    added = labelled.group_by(when, *others).agg(each.alias(name) for name, each in sums.items())
    return added.with_columns(pl.col(when).dt.strftime(form)).select(list(schema)).cast(schema)


def _sum(frame: pl.DataFrame, by: list[str], schema: pl.Schema) -> pl.DataFrame:
    values = [name for name in schema if name not in by]
    # Streamed: the months of many stores take much memory otherwise.
    sums = frame.lazy().group_by(by).agg(pl.col(values).sum()).collect(engine="streaming")
    return sums.select(list(schema)).cast(schema).sort(by, nulls_last=True)


def _clock(accepted: pl.DataFrame) -> pl.DataFrame:
    local = _column(accepted, "transacted_at|local", pl.Datetime("us"))
    # Hours of the week, counted as numbers: any week has the same, that of 1970-01-01 too.
    hours = accepted.select((local.dt.epoch("us") // _HOUR_US % _WEEK_HOURS).alias("hour")).drop_nulls()
    counted = hours.group_by("hour").agg(pl.len().alias("transactions"))
    when = (pl.col("hour") * _HOUR_US).cast(pl.Datetime("us"))
    parts = counted.select(when.dt.weekday().alias("weekday"), when.dt.hour().alias("hour"), "transactions")
    return parts.cast(_CLOCK)


def _filled(level: str, frame: pl.DataFrame, names: Iterable[str], is_accepted: pl.Expr) -> pl.DataFrame:
    """One row a field, in the order of the model; counted in place, since copying rows takes longer."""
    present = [name for name in names if name in frame.columns]
    counts = frame.with_columns(is_accepted.alias("of")).select_seq(
        pl.col("of").sum(),
        *((pl.col("of") & pl.col(name).is_not_null()).sum().alias(name) for name in present),
    )
    filled = counts.row(0, named=True)
    return pl.DataFrame(
        {
            "level": level,
            "field": list(names),
            "mapped": [name in filled for name in names],
            "filled": [filled.get(name, 0) for name in names],
            "of": filled["of"],
        },
        schema=_FIELDS,
    )


def _merge_completeness(stacked: pl.DataFrame) -> pl.DataFrame:
    return (
        stacked.group_by(["level", "field"], maintain_order=True)
        .agg(pl.col("mapped").any(), pl.col("filled", "of").sum())
        .cast(_FIELDS)
    )


def _profiles(accepted: pl.DataFrame) -> pl.DataFrame:
    guest = _is_guest(accepted)
    handle = _column(accepted, "profile_id_handle", pl.String)
    # Beside the other columns: a mapping without customers gives one value, which must count for every row.
    parts = accepted.with_columns(
        pl.when(~guest).then(handle).alias("handle"),
        guest.alias("guest"),
        pl.lit(1, _COUNT).alias("transactions"),
    )
    return _sum(parts, ["handle", "guest"], _PROFILES)


def _left_out(accepted: pl.DataFrame) -> pl.DataFrame:
    worth = _column(accepted, "set_apart_total", _MONEY).cast(_MONEY).alias("total")
    lines = accepted.select_seq(_column(accepted, "currency", pl.String), worth).drop_nulls("total")
    return _sum(lines.with_columns(pl.lit(1, _COUNT).alias("transactions")), ["currency"], _LEFT_OUT)


def _tenders(accepted: pl.DataFrame) -> pl.DataFrame:
    paid = accepted.select_seq(_column(accepted, "currency", pl.String), _column(accepted, "payments", _TEXT))
    # Where tenders are only named, there are few texts.
    texts = paid.drop_nulls("payments").group_by(pl.all()).agg(pl.len().cast(_COUNT).alias("sales"))
    entries = texts.with_columns(pl.col("payments").str.extract_all(_PAYMENT)).explode("payments")
    text = pl.col("payments")
    found = entries.drop_nulls("payments").with_columns(
        text.str.strip_chars_end(_AMOUNT_SIGNS).alias("tender")
    )
    amount = text.str.slice(pl.col("tender").str.len_chars() + 1).cast(_MONEY, strict=False)
    each = found.select_seq(
        "tender", "currency", pl.col("sales").alias("payments"), (amount * pl.col("sales")).alias("total")
    )
    return _sum(each, ["tender", "currency"], _TENDERS)


def _codes(reasons: pl.DataFrame) -> pl.DataFrame:
    loose = pl.col(TX).is_null().sum()
    counted = reasons.group_by("outcome", "code").agg(
        (pl.col(TX).drop_nulls().n_unique() + loose).cast(_COUNT).alias("transactions")
    )
    return counted.select(list(_CODES))


def _first_of_each(samples: pl.DataFrame) -> pl.DataFrame:
    first = samples.unique("kind", keep="first", maintain_order=True)
    return first.sort(pl.col("kind").cast(pl.Enum(_KINDS)))


def _is_void(frame: pl.DataFrame) -> pl.Expr:
    return _column(frame, "is_void", pl.Boolean).fill_null(value=False)


def _is_return(frame: pl.DataFrame) -> pl.Expr:
    return (_column(frame, "total", _MONEY) < 0).fill_null(value=False)


def _is_guest(frame: pl.DataFrame) -> pl.Expr:
    return _column(frame, "profile_id", pl.String).is_null()


def _samples(accepted: pl.DataFrame) -> pl.DataFrame:
    """The first accepted transaction of each kind; the kinds exclude one another."""
    void, back, guest = _is_void(accepted), _is_return(accepted), _is_guest(accepted)
    is_kind = (~void & ~back & ~guest, ~void & ~back & guest, ~void & back, void)
    known = _column(accepted, "external_id", pl.String)
    first = [
        known.filter(kind & known.is_not_null()).first().alias(name)
        for name, kind in zip(_KINDS, is_kind, strict=True)
    ]
    found = accepted.select_seq(first).unpivot(variable_name="kind", value_name="external_id")
    local = _column(accepted, "transacted_at|local", pl.Datetime("us")).alias("local")
    is_sample = known.is_in(found["external_id"].implode())
    times = accepted.filter(is_sample).select(known, local)
    # Only now they become text: there are four.
    timed = found.drop_nulls().join(
        times.unique("external_id", keep="first").with_columns(pl.col("local").dt.strftime("%Y-%m-%d %H:%M")),
        on="external_id",
        how="left",
        maintain_order="left",
    )
    absent = (pl.lit(None, pl.String).alias(name) for name in ("body", "rows"))
    return timed.with_columns(*absent).select(list(_SAMPLES)).cast(_SAMPLES)
