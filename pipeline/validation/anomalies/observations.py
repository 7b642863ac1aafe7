"""Sums over the sales of a run, from which anomalies are found.

Each partition gives small sums (`observe`), which add up in any order (`merge_observations`). Anomalies are
found in the total. Sales are transactions that are accepted or rejected, and not void.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cache
from typing import Any, Final

import polars as pl

from pipeline.core.codes import Outcome
from pipeline.core.frames import collect_together
from pipeline.core.model import LINE, SOURCE, TX

SKETCH: Final = 5_000
"""Hashes of sales that are kept, the smallest ones: a fair sample in which repeats are counted exactly.

With 5,000 a share of 5% is estimated to within 0.6%."""
_PROFILES: Final = 200
"""Customers kept of one partition, the most frequent ones: who has 3% of all sales is among them."""
_LARGEST: Final = 3
"""Largest totals kept of each store, as evidence."""
BINS_PER_DECADE: Final = 10

_COUNT: Final = pl.Int64()
_AMOUNT: Final = pl.Decimal(38, 4)
_PLACE: Final[dict[str, pl.DataType]] = {SOURCE: pl.UInt32(), LINE: pl.Int64()}


@dataclass(frozen=True)
class Counts:
    """Single numbers about the sales of one partition, or of many merged.

    Attributes:
        transactions: All transactions, whatever their outcome.
        repeated: Those of them with a row that occurs twice, or that are in several files.
        with_customer: Accepted sales with a customer.
        timed: Sales with a local time.
        at_midnight: Those of them at 00:00:00.
        whole_minute: Those of them at second 0.
        comparable: Sales with a total and with items.
        off: Those of them whose total differs from the items by more than rounding.
        below_by_tax: Those of them whose total is less than the items by just the tax.
        above_by_tax: Those of them whose total is more than the items by just the tax.
    """

    transactions: int = 0
    repeated: int = 0
    with_customer: int = 0
    timed: int = 0
    at_midnight: int = 0
    whole_minute: int = 0
    comparable: int = 0
    off: int = 0
    below_by_tax: int = 0
    above_by_tax: int = 0


@dataclass(frozen=True, eq=False)
class Observations:
    """Sums over the sales of one partition, or of many merged. "Local" is the time of the till.

    Equal only to itself, so that what is found in it can be kept.

    Attributes:
        hours: One row a store × local hour: sales; without those at exactly midnight, which have no time.
        days: One row a store × local day: sales.
        sizes: One row a store × size of the total (`bin`, tenths of a decade of its amount): sales.
        largest: The largest totals of each store, with their file and line.
        profiles: The most frequent customers, by accepted sales: a hash (never an id), sales, and where the
            first one is.
        people: A fair sample of customers: a hash and accepted sales.
        currencies: One row a store × currency: sales.
        stores: One row a store: sales, and where the first one is.
        repeats: A fair sample of sales: a hash of time, store, customer and total, how many are alike, and
            the first and the last file they are in.
        formats: One row a format of the sale's time, where the mapping gives several: sales, those of them on
            the first twelve days of a month, and the first and the last day.
        ratios: One row a ratio of total to items, in thousandths, of those that differ: sales.
        copies: One row a file × the file whose rows count instead, which may be the same: sales with rows
            that were left out as copies, and these rows.
        counts: Single numbers.
    """

    hours: pl.DataFrame
    days: pl.DataFrame
    sizes: pl.DataFrame
    largest: pl.DataFrame
    profiles: pl.DataFrame
    people: pl.DataFrame
    currencies: pl.DataFrame
    stores: pl.DataFrame
    repeats: pl.DataFrame
    ratios: pl.DataFrame
    formats: pl.DataFrame
    copies: pl.DataFrame
    counts: Counts


_SCHEMAS: Final[dict[str, pl.Schema]] = {
    "hours": pl.Schema({"store": pl.String(), "hour": pl.Int8(), "sales": _COUNT}),
    "days": pl.Schema({"store": pl.String(), "day": pl.Date(), "sales": _COUNT}),
    "sizes": pl.Schema({"store": pl.String(), "bin": pl.Int16(), "sales": _COUNT}),
    "largest": pl.Schema({"store": pl.String(), "total": _AMOUNT, **_PLACE}),
    "profiles": pl.Schema({"person": pl.UInt64(), "sales": _COUNT, **_PLACE}),
    "people": pl.Schema({"person": pl.UInt64(), "sales": _COUNT}),
    "currencies": pl.Schema({"store": pl.String(), "currency": pl.String(), "sales": _COUNT}),
    "stores": pl.Schema({"store": pl.String(), "sales": _COUNT, **_PLACE}),
    "repeats": pl.Schema({"sale": pl.UInt64(), "alike": _COUNT, "first": pl.UInt32(), "last": pl.UInt32()}),
    "ratios": pl.Schema({"ratio": pl.Int32(), "sales": _COUNT}),
    "copies": pl.Schema({"copy": pl.UInt32(), "kept": pl.UInt32(), "sales": _COUNT, "rows": _COUNT}),
    "formats": pl.Schema(
        {"format": pl.String(), "sales": _COUNT, "early": _COUNT, "first": pl.Date(), "last": pl.Date()}
    ),
}

_MONTHS: Final = 12
"""Only on these days of a month can day and month change places."""
_CENT: Final = Decimal("0.01")
_REPEATED: Final = ("duplicate_row", "older_version")
_COUNTED: Final = ("times", "customers", "comparable", "off", "by_tax", "repeated")
"""Tables of one row with numbers of `Counts`."""


def observe(
    headers: pl.DataFrame, items: pl.DataFrame, outcomes: pl.DataFrame, reasons: pl.DataFrame
) -> Observations:
    """Sum up one partition.

    Args:
        headers: One row a transaction, as mapped, in the order of their places; what the mapping does not
            give has no column.
        items: One row an item, as mapped.
        outcomes: TX and `outcome`.
        reasons: One row a reason; those about rows that occur twice are counted.
    """
    sales = _sales(headers, outcomes)
    found = collect_together(
        {
            **_of_times(sales.lazy()),
            **_of_people(sales.lazy(), outcomes),
            **_of_totals(sales.lazy(), items),
            "copies": _copies(headers, reasons),
            "repeated": reasons.lazy()
            .filter(pl.col("code").is_in(_REPEATED))
            .select(repeated=pl.col(TX).n_unique()),
        }
    )
    counts: dict[str, int] = {}
    for name in _COUNTED:
        counts |= found.pop(name).row(0, named=True)
    tables: dict[str, Any] = found
    return Observations(
        **tables, repeats=_repeats(sales), counts=Counts(transactions=headers.height, **counts)
    )


@cache
def nothing_observed() -> Observations:
    """Observations of no sales: the neutral element of `merge_observations`."""
    tables: dict[str, Any] = {name: schema.to_frame() for name, schema in _SCHEMAS.items()}
    return Observations(**tables, counts=Counts())


def merge_observations(parts: Sequence[Observations]) -> Observations:
    """Add up the observations of partitions; at least one."""
    stacked = {
        name: pl.concat([getattr(part, name) for part in (nothing_observed(), *parts)]).lazy()
        for name in _SCHEMAS
    }
    special = {
        "largest": _largest(stacked["largest"]),
        "profiles": _most_frequent(_with_first(stacked["profiles"], "person")),
        "people": _smallest(_summed(stacked["people"], ["person"]), "person"),
        "stores": _with_first(stacked["stores"], "store"),
        "repeats": _smallest(_alike(stacked["repeats"]), "sale"),
        "formats": _by_format(stacked["formats"]),
        "copies": _summed(stacked["copies"], ["copy", "kept"]),
    }
    summed = {
        name: _summed(frame, _SCHEMAS[name].names()[:-1])
        for name, frame in stacked.items()
        if name not in special
    }
    # Years of days of many stores: streamed, they take half the time and a tenth of the memory.
    tables: dict[str, Any] = {
        **collect_together(special),
        **collect_together(summed, engine="streaming"),
    }
    counts = {each.name: sum(getattr(part.counts, each.name) for part in parts) for each in fields(Counts)}
    return Observations(**tables, counts=Counts(**counts))


def estimated_people(observed: Observations) -> int:
    """How many customers have sales: exact up to `SKETCH`, beyond that to within about 3%.

    Hashes are spread evenly, so that the largest of the smallest ones says how many there are in all.
    """
    people = observed.people["person"]
    if len(people) < SKETCH:
        return len(people)
    largest = people.max()
    assert isinstance(largest, int)
    return round((SKETCH - 1) * 2**64 / largest)


# ── One partition ────────────────────────────────────────────────────────────────────────────────────


def _sales(headers: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Accepted and rejected transactions that are not void, with the columns that are used."""
    wanted: dict[str, tuple[str, Any]] = {
        "store": ("location_id", pl.String),
        "local": ("transacted_at|local", pl.Datetime("us")),
        "format": ("transacted_at|format", pl.String),
        "total": ("total", _AMOUNT),
        "items_total": ("items_total", _AMOUNT),
        "items_count": ("items_count", pl.Int64),
        "person": ("profile_id", pl.String),
        "currency": ("currency", pl.String),
        "is_void": ("is_void", pl.Boolean),
    }
    columns = [
        (pl.col(field).cast(kind) if field in headers.columns else pl.lit(None, kind)).alias(name)
        for name, (field, kind) in wanted.items()
    ]
    dropped = outcomes.filter(pl.col("outcome") == Outcome.DROPPED.value)[TX]
    left_out = pl.col(TX).is_in(dropped.implode()) | pl.col("is_void").fill_null(value=False)
    return headers.select_seq(TX, SOURCE, LINE, *columns).filter(~left_out)


def _of_times(sales: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
    timed, local = sales.drop_nulls("local"), pl.col("local")
    at_midnight = _is_sharp("1d")
    return {
        "hours": _counted(timed.filter(~at_midnight).with_columns(hour=local.dt.hour()), "hours"),
        "days": _counted(timed.with_columns(day=local.dt.date()), "days"),
        "formats": _formats(timed),
        "times": timed.select(
            timed=pl.len(), at_midnight=at_midnight.sum(), whole_minute=_is_sharp("1m").sum()
        ),
    }


def _of_people(sales: pl.LazyFrame, outcomes: pl.DataFrame) -> dict[str, pl.LazyFrame]:
    accepted = outcomes.filter(pl.col("outcome") == "accepted")[TX]
    people = (
        sales.drop_nulls("person")
        .filter(pl.col(TX).is_in(accepted.implode()))
        # The hash is the same everywhere: partitions are added up, whichever machine read them.
        .with_columns(pl.col("person").hash())
    )
    frequency = _counted(people, "people")
    of_frequent = people.join(_most_frequent(frequency), on="person", how="semi")
    return {
        "profiles": _with_first(_ones(of_frequent, "person"), "person"),
        "people": _smallest(frequency, "person"),
        "customers": people.select(with_customer=pl.len()),
    }


def _of_totals(sales: pl.LazyFrame, items: pl.DataFrame) -> dict[str, pl.LazyFrame]:
    comparable = sales.drop_nulls(["total", "items_total"]).filter(pl.col("items_count") > 0)
    # Each item may be rounded by a cent.
    off = comparable.filter((pl.col("total") - pl.col("items_total")).abs() > _CENT * pl.col("items_count"))
    # A float only chooses the bin or the ratio; nothing is added up with it.
    size = pl.col("total").abs().cast(pl.Float64).log10()
    ratio = pl.col("total").cast(pl.Float64) / pl.col("items_total").cast(pl.Float64)
    by_currency = sales.group_by("store", "currency").agg(
        pl.len().cast(_COUNT).alias("sales"), pl.col(SOURCE, LINE).first()
    )
    return {
        "sizes": _counted(
            sales.filter(pl.col("total") != 0).with_columns(bin=(size * BINS_PER_DECADE).floor()), "sizes"
        ),
        "largest": _largest(sales.select(_SCHEMAS["largest"].names()).drop_nulls("total")),
        "currencies": by_currency.select(_SCHEMAS["currencies"].names()),
        "stores": _with_first(by_currency.drop("currency").drop_nulls("store"), "store"),
        "ratios": _counted(
            off.filter(pl.col("items_total") != 0).with_columns(ratio=(ratio * 1000).round()), "ratios"
        ),
        "comparable": comparable.select(comparable=pl.len()),
        "off": off.select(off=pl.len()),
        "by_tax": _by_tax(off, items),
    }


def _counted(sales: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Count sales by the columns that stand before `sales` in a table."""
    schema = pl.Schema({column: kind for column, kind in _SCHEMAS[name].items() if column not in _PLACE})
    by = [column for column in schema if column != "sales"]
    return sales.group_by(by).agg(pl.len().alias("sales")).cast(schema)


def _summed(frame: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    return frame.group_by(by).agg(pl.all().sum())


def _ones(sales: pl.LazyFrame, by: str) -> pl.LazyFrame:
    return sales.select(by, pl.lit(1, _COUNT).alias("sales"), SOURCE, LINE)


def _with_first(rows: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """Add up `sales`, keeping the first place."""
    return rows.sort(SOURCE, LINE).group_by(by).agg(pl.col("sales").sum(), pl.col(SOURCE, LINE).first())


def _most_frequent(people: pl.LazyFrame) -> pl.LazyFrame:
    return people.top_k(_PROFILES, by="sales")


def _smallest(frame: pl.LazyFrame, hashes: str) -> pl.LazyFrame:
    return frame.bottom_k(SKETCH, by=hashes)


def _is_sharp(every: str) -> pl.Expr:
    return pl.col("local").dt.truncate(every) == pl.col("local")


def _largest(totals: pl.LazyFrame) -> pl.LazyFrame:
    # Only what is large for its store is sorted.
    size = pl.col("total").abs()
    least = totals.group_by("store").agg(size.top_k(_LARGEST).min().alias("least"))
    large = totals.join(least, on="store", nulls_equal=True).filter(size >= pl.col("least")).drop("least")
    ordered = large.sort(-size, SOURCE, LINE)
    return ordered.group_by("store", maintain_order=True).head(_LARGEST)


def _repeats(sales: pl.DataFrame) -> pl.DataFrame:
    """Hashes of the values that make two sales alike. Sales without a time of day may be alike by chance."""
    sale = pl.struct("local", "store", "person", "total", "items_count").hash().alias("sale")
    source = pl.col(SOURCE)
    hashes = (
        sales.lazy()
        .drop_nulls(["local", "total"])
        .filter(~_is_sharp("1d"))
        .select(
            sale.alias("sale"), pl.lit(1, _COUNT).alias("alike"), source.alias("first"), source.alias("last")
        )
        .collect()
    )
    # Only what stays in the sample is grouped.
    few = hashes["sale"].sort().rle().struct.field("value").head(SKETCH)
    return _alike(hashes.lazy().filter(pl.col("sale") <= pl.lit(few.max(), pl.UInt64))).collect()


def _alike(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.group_by("sale").agg(pl.col("alike").sum(), pl.col("first").min(), pl.col("last").max())


def _copies(headers: pl.DataFrame, reasons: pl.DataFrame) -> pl.LazyFrame:
    copied = reasons.lazy().filter(pl.col("code") == "duplicate_row").select(TX, pl.col(SOURCE).alias("copy"))
    placed = copied.drop_nulls("copy").join(headers.lazy().select(TX, pl.col(SOURCE).alias("kept")), on=TX)
    counted = placed.group_by("copy", "kept").agg(
        pl.col(TX).n_unique().alias("sales"), pl.len().alias("rows")
    )
    return counted.cast(_SCHEMAS["copies"])


def _formats(timed: pl.LazyFrame) -> pl.LazyFrame:
    day = pl.col("local").dt.date()
    early = (pl.col("local").dt.day() <= _MONTHS).cast(_COUNT)
    one = pl.lit(1, _COUNT).alias("sales")
    return _by_format(
        timed.drop_nulls("format").select(
            "format", one, early.alias("early"), day.alias("first"), day.alias("last")
        )
    )


def _by_format(sales: pl.LazyFrame) -> pl.LazyFrame:
    return sales.group_by("format").agg(
        pl.col("sales", "early").sum(), pl.col("first").min(), pl.col("last").max()
    )


def _by_tax(off: pl.LazyFrame, items: pl.DataFrame) -> pl.LazyFrame:
    """One row: how many of the sales that are off are below, and above, their items by just the tax.

    Some sources give the tax of a line and others that of one piece; either is accepted.
    """
    if not {"price_tax", "quantity"} <= set(items.columns):
        return pl.LazyFrame({"below_by_tax": [0], "above_by_tax": [0]})
    taxes = (
        items.lazy()
        .join(off, on=TX, how="semi")
        .group_by(TX)
        .agg(
            pl.col("price_tax").sum().alias("of_lines"),
            (pl.col("price_tax") * pl.col("quantity")).sum().alias("of_pieces"),
        )
    )
    missing = pl.col("items_total") - pl.col("total")
    # Each line's tax is rounded on its own.
    slack = _CENT * pl.col("items_count")

    def fits(amount: pl.Expr) -> pl.Expr:
        both = (
            ((amount - pl.col(tax)).abs() <= slack) & (pl.col(tax) != 0) for tax in ("of_lines", "of_pieces")
        )
        return pl.any_horizontal(*both).sum()

    return off.join(taxes, on=TX).select(
        fits(missing).alias("below_by_tax"), fits(-missing).alias("above_by_tax")
    )
