"""Anomalies of the totals of sales: out of range, without tax, or half of their items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from pipeline.core.findings import Anomaly, anomaly
from pipeline.validation.anomalies.evidence import place, share, shown
from pipeline.validation.anomalies.observations import BINS_PER_DECADE, Observations
from pipeline.validation.anomalies.repeated_sales import doubled

# So that 99% of the totals leave at least one out.
_SALES_FOR_RANGE: Final = 100
# Amounts in cents are 100 times too large.
_RANGE_FACTOR: Final = 20
# A total is far out where it lies this many times as far beyond the 99th percentile as that lies beyond the
# median, in logarithms: at 5.8 sigma, where the totals are lognormal.
_TAIL: Final = 1.5
# With three, the median is a store that is usual.
_STORES_TO_COMPARE: Final = 3


def far_totals(observed: Observations, sources: Sequence[str]) -> Iterator[Anomaly]:
    """Totals many times what is usual in their store, and stores whose totals are far from all others."""
    ranges = _ranges(observed.sizes)
    tail = (pl.col("p99") / pl.col("p50")).pow(_TAIL).clip(lower_bound=_RANGE_FACTOR)
    far = observed.largest.join(ranges, on="store", nulls_equal=True).filter(
        pl.col("total").abs().cast(pl.Float64) > pl.col("p99") * tail
    )
    lines = [
        f"{row['store'] or 'no store'}: {row['total']:,.2f} ({place(row, sources)}); "
        f"99% of its totals are below {row['p99']:,.2f}"
        for row in far.sort(pl.col("total").abs(), descending=True).iter_rows(named=True)
    ]
    lines += list(_odd_stores(ranges))
    if lines:
        yield anomaly(
            "totals_out_of_range",
            "Some totals are many times what is usual there: look for amounts in cents, for a comma that was "
            "taken for a mark between thousands, and for test sales.",
            shown(lines),
        )


def _ranges(sizes: pl.DataFrame) -> pl.DataFrame:
    """Upper bounds of the middle and of 99% of the totals, of stores with enough sales."""
    ordered = sizes.sort("bin").with_columns(
        (pl.col("sales").cum_sum() / pl.col("sales").sum()).over("store").alias("share"),
        pl.col("sales").sum().over("store").alias("all"),
    )
    enough = ordered.filter(pl.col("all") >= _SALES_FOR_RANGE)
    bounds = {
        name: pl.col("bin").filter(pl.col("share") >= share).min()
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    upper = [
        (10.0 ** ((bound.cast(pl.Float64) + 1) / BINS_PER_DECADE)).alias(name)
        for name, bound in bounds.items()
    ]
    return enough.group_by("store").agg(upper)


def _odd_stores(ranges: pl.DataFrame) -> Iterator[str]:
    """Stores whose every total is far from that of all others, as where one writes cents."""
    if ranges.height < _STORES_TO_COMPARE:
        return
    middle = float(str(ranges["p50"].median()))
    for store, p50, _ in ranges.sort("store").rows():
        if not 1 / _RANGE_FACTOR < p50 / middle < _RANGE_FACTOR:
            yield f"{store}: half of the totals are below {p50:,.2f}; elsewhere, below {middle:,.2f}"


_OFF_SALES: Final = 20
# Shipping or a discount on the total leaves a few sales off.
_OFF_SHARE: Final = 0.05
# Share of the sales that are off: most of them, though several rates of tax may occur.
_SAME_RATIO: Final = 0.6
_RATES: Final = (5, 6, 7, 7.5, 8, 8.1, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 27)
"""Rates of sales tax in per cent, as used around the world."""


def totals_and_items(observed: Observations, _sources: Sequence[str]) -> Iterator[Anomaly]:
    """Totals that differ from the items by just the tax, or by the same factor throughout."""
    counts = observed.counts
    enough = max(_OFF_SALES, _OFF_SHARE * counts.comparable)
    if counts.below_by_tax >= enough:
        yield _tax_anomaly("total", f"{share(counts.below_by_tax, counts.comparable)}: total = items − tax")
    elif counts.above_by_tax >= enough:
        yield _tax_anomaly("items", f"{share(counts.above_by_tax, counts.comparable)}: total = items + tax")
    elif counts.off >= enough:
        yield from _constant_ratio(observed.ratios, counts.off, counts.comparable)


def _tax_anomaly(which: str, *evidence: str) -> Anomaly:
    if which == "total":
        return anomaly(
            "total_without_tax",
            "Totals are just what the items are without tax: take the total with tax, as Omneo wants it.",
            evidence,
        )
    return anomaly(
        "items_without_tax",
        "The items add up to what the totals are without tax: take prices with tax, as Omneo wants them.",
        evidence,
    )


def _constant_ratio(ratios: pl.DataFrame, off: int, sales: int) -> Iterator[Anomaly]:
    # Amounts are rounded to cents, so a ratio spreads over its neighbours.
    if ratios.is_empty():
        return
    ratio = ratios.sort("sales", "ratio", descending=True)["ratio"][0]
    count = int(ratios.filter((pl.col("ratio") - ratio).abs() <= 2)["sales"].sum())
    if count < _SAME_RATIO * off:
        return
    evidence = f"{share(count, sales)}: total = {ratio / 1000:.3f} × items"
    below = next((rate for rate in _RATES if abs(1000 / (1 + rate / 100) - ratio) <= 2), None)
    above = next((rate for rate in _RATES if abs(1000 * (1 + rate / 100) - ratio) <= 2), None)
    if abs(ratio - 500) <= 2:
        yield doubled(
            "Totals are half of their items: the items of these sales may be there twice.", [evidence]
        )
    elif below is not None:
        off_items = f"{100 - ratio / 10:.0f}%"
        yield _tax_anomaly("total", evidence, f"as with a tax of {below}%, or with {off_items} off all items")
    elif above is not None:
        yield _tax_anomaly("items", evidence, f"as with a tax of {above}%")


DETECTORS: Final = (totals_and_items, far_totals)
