"""The facts of one partition, counted over whole columns.

A partition holds whole transactions, so every count of transactions is a plain sum over the partitions.
"Accepted" facts (clock, fields, profiles, samples) speak of what would be sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import polars as pl

from pipeline.core.frames import collect_together
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, TX
from pipeline.report.aggregates import ACCEPTED, Facts, nothing
from pipeline.report.fact_tables import (
    CLOCK,
    CODES,
    DAYS,
    FIELDS,
    MONEY,
    SAMPLE_KINDS,
    SAMPLES,
    TOTALS,
    summed,
)

_LOOKED_AT: Final = (
    TX,
    *("outcome", "external_id", "transacted_at|local", "total", "is_void"),
    *("profile_id", "profile_id_handle", "currency", "set_apart_total", "payments"),
)
"""Columns that are counted of the accepted transactions, besides how complete they are."""
_HOUR_US: Final = 3_600_000_000
_WEEK_HOURS: Final = 168
_PAYMENT: Final = r'"(?:[^"\\]|\\.)*"(?::-?[0-9.]+)?'
"""An entry of a transaction's payments: a tender as JSON text, and its amount where there is one."""
_AMOUNT_SIGNS: Final = ":-0123456789."
"""What follows a tender, which ends in a quotation mark: cheaper to strip than to find by a pattern."""


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
    found: dict[str, Any] = collect_together(
        {
            "codes": _codes(reasons),
            "totals": _dated(labelled, TOTALS, "%Y-%m"),
            "days": _dated(labelled, DAYS, "%Y-%m-%d"),
            "clock": _clock(accepted),
            "of_transactions": _filled(known, TRANSACTION_FIELDS, pl.col("outcome") == ACCEPTED),
            "of_items": _filled(items, ITEM_FIELDS, pl.col(TX).is_in(accepted[TX].implode())),
            "profiles": _profiles(accepted),
            "firsts": _first_of_each_kind(accepted),
            "left_out": _left_out(accepted),
            "tenders": _tenders(accepted),
        }
    )
    of_items, firsts = found.pop("of_items"), found.pop("firsts")
    fields = [
        _completeness("transaction", found.pop("of_transactions"), TRANSACTION_FIELDS),
        _completeness("item", of_items, ITEM_FIELDS),
    ]
    return Facts(**found, fields=pl.concat(fields), samples=_samples(firsts), items=of_items["of"].item())


def measure_reasons(reasons: pl.DataFrame) -> Facts:
    """Facts of reasons alone, for rows that never became a transaction, such as malformed ones.

    Args:
        reasons: One row a reason, with `outcome`; TX null where it belongs to no transaction.
    """
    return replace(nothing(), codes=_codes(reasons).collect())


def _column(frame: pl.DataFrame, name: str, kind: Any) -> pl.Expr:
    """The column, or nulls of `kind` where the mapping does not give it."""
    return pl.col(name) if name in frame.columns else pl.lit(None, kind).alias(name)


def _labelled(known: pl.DataFrame) -> pl.LazyFrame:
    local = _column(known, "transacted_at|local", pl.Datetime("us"))
    return known.lazy().select(
        local.dt.date().dt.month_start().alias("month"),
        local.dt.date().alias("day"),
        _column(known, "location_id", pl.String).alias("store"),
        _column(known, "currency", pl.String),
        "outcome",
        _column(known, "total", MONEY).cast(MONEY),
        _is_guest(known).alias("guest"),
        (_is_return(known) & ~_is_void(known)).alias("return"),
        _is_void(known).alias("void"),
    )


def _dated(labelled: pl.LazyFrame, schema: pl.Schema, form: str) -> pl.LazyFrame:
    """Add up; only then dates become text: there are few, and Python's own dates end at year 9999."""
    labels = ("month", "day", "store", "currency", "outcome")
    when, *others = [name for name in schema if name in labels]
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


def _clock(accepted: pl.DataFrame) -> pl.LazyFrame:
    local = _column(accepted, "transacted_at|local", pl.Datetime("us"))
    # Hours of the week, counted as numbers: any week has the same, that of 1970-01-01 too.
    hours = accepted.lazy().select((local.dt.epoch("us") // _HOUR_US % _WEEK_HOURS).alias("hour"))
    counted = hours.drop_nulls().group_by("hour").agg(pl.len().alias("transactions"))
    when = (pl.col("hour") * _HOUR_US).cast(pl.Datetime("us"))
    parts = counted.select(when.dt.weekday().alias("weekday"), when.dt.hour().alias("hour"), "transactions")
    return parts.cast(CLOCK)


def _filled(frame: pl.DataFrame, names: Iterable[str], is_accepted: pl.Expr) -> pl.LazyFrame:
    """One row: accepted rows (`of`), and those of them that have each field; none is copied for it."""
    return (
        frame.lazy()
        .with_columns(is_accepted.alias("of"))
        .select(
            pl.col("of").sum(),
            *(
                (pl.col("of") & pl.col(name).is_not_null()).sum().alias(name)
                for name in names
                if name in frame.columns
            ),
        )
    )


def _completeness(level: str, filled: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """One row a field, in the order of the model."""
    counts = filled.row(0, named=True)
    return pl.DataFrame(
        {
            "level": level,
            "field": list(names),
            "mapped": [name in counts for name in names],
            "filled": [counts.get(name, 0) for name in names],
            "of": counts["of"],
        },
        schema=FIELDS,
    )


def _profiles(accepted: pl.DataFrame) -> pl.LazyFrame:
    guest = _is_guest(accepted)
    handle = _column(accepted, "profile_id_handle", pl.String)
    # Beside the other columns: a mapping without customers gives one value, which must count for every row.
    parts = accepted.lazy().with_columns(
        pl.when(~guest).then(handle).alias("handle"),
        guest.alias("guest"),
        pl.lit(1).alias("transactions"),
    )
    return summed(parts, "profiles")


def _left_out(accepted: pl.DataFrame) -> pl.LazyFrame:
    worth = _column(accepted, "set_apart_total", MONEY).cast(MONEY).alias("total")
    lines = accepted.lazy().select(_column(accepted, "currency", pl.String), worth).drop_nulls("total")
    return summed(lines.with_columns(pl.lit(1).alias("transactions")), "left_out")


def _tenders(accepted: pl.DataFrame) -> pl.LazyFrame:
    currency = _column(accepted, "currency", pl.String)
    paid = accepted.lazy().select(currency, _column(accepted, "payments", pl.String))
    # Where tenders are only named, there are few texts.
    texts = paid.drop_nulls("payments").group_by(pl.all()).agg(pl.len().cast(pl.Int64).alias("sales"))
    entries = texts.with_columns(pl.col("payments").str.extract_all(_PAYMENT)).explode("payments")
    text = pl.col("payments")
    found = entries.drop_nulls("payments").with_columns(
        text.str.strip_chars_end(_AMOUNT_SIGNS).alias("tender")
    )
    amount = text.str.slice(pl.col("tender").str.len_chars() + 1).cast(MONEY, strict=False)
    each = found.select(
        "tender", "currency", pl.col("sales").alias("payments"), (amount * pl.col("sales")).alias("total")
    )
    return summed(each, "tenders")


def _codes(reasons: pl.DataFrame) -> pl.LazyFrame:
    loose = pl.col(TX).is_null().sum()
    counted = (
        reasons.lazy()
        .group_by("outcome", "code")
        .agg((pl.col(TX).drop_nulls().n_unique() + loose).cast(pl.Int64).alias("transactions"))
    )
    return counted.select(list(CODES))


def _is_void(frame: pl.DataFrame) -> pl.Expr:
    return _column(frame, "is_void", pl.Boolean).fill_null(value=False)


def _is_return(frame: pl.DataFrame) -> pl.Expr:
    return (_column(frame, "total", MONEY) < 0).fill_null(value=False)


def _is_guest(frame: pl.DataFrame) -> pl.Expr:
    return _column(frame, "profile_id", pl.String).is_null()


def _first_of_each_kind(accepted: pl.DataFrame) -> pl.LazyFrame:
    """One row: the first of each kind, its external id under the name of the kind and its local time."""
    void, back, guest = _is_void(accepted), _is_return(accepted), _is_guest(accepted)
    is_kind = (~void & ~back & ~guest, ~void & ~back & guest, ~void & back, void)
    known = _column(accepted, "external_id", pl.String)
    local = _column(accepted, "transacted_at|local", pl.Datetime("us"))
    # Beside the other columns: what the mapping does not give must have a row for every transaction.
    rows = accepted.lazy().with_columns(known.alias("external_id"), local.alias("local"))
    firsts = []
    for name, kind in zip(SAMPLE_KINDS, is_kind, strict=True):
        of_kind = kind & pl.col("external_id").is_not_null()
        time = pl.col("local").filter(of_kind).first().dt.strftime("%Y-%m-%d %H:%M")
        firsts += [pl.col("external_id").filter(of_kind).first().alias(name), time.alias(f"{name} local")]
    return rows.select(firsts)


def _samples(firsts: pl.DataFrame) -> pl.DataFrame:
    row = firsts.row(0, named=True)
    found = [
        (kind, row[kind], None, row[f"{kind} local"], None) for kind in SAMPLE_KINDS if row[kind] is not None
    ]
    return pl.DataFrame(found, schema=SAMPLES, orient="row")
