"""Anomalies of sales that occur twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from pipeline.core.findings import Anomaly, anomaly
from pipeline.core.text.wording import agree, part
from pipeline.validation.anomalies.evidence import shown
from pipeline.validation.anomalies.observations import Observations

# A till repeats a row now and then, a doubled file repeats every row.
_REPEATED_ROWS: Final = 0.2
_REPEATED_SALES: Final = 0.05
# Where no seconds are known, a busy shop has sales that look alike.
_REPEATED_IN_MINUTES: Final = 0.2
# So few occur in any export.
_FEWEST_REPEATS: Final = 20
# By chance the ratio is 2/3 or more; in an export that occurs twice it is nearly 0.
_BY_CHANCE: Final = 1 / 3


def doubled(message: str, lines: Sequence[str]) -> Anomaly:
    """The anomaly that sales occur twice."""
    return anomaly("doubled_file", message, shown(lines))


def twice(observed: Observations, sources: Sequence[str]) -> Iterator[Anomaly]:
    """Rows that occur twice, and sales that occur again under other ids."""
    counts = observed.counts
    if counts.repeated >= max(_FEWEST_REPEATS, _REPEATED_ROWS * counts.transactions):
        message = (
            "Many sales are there twice and were counted once: a file may be doubled, or exports overlap."
        )
        yield doubled(message, [part(counts.repeated, counts.transactions, "transaction")])
    alike = observed.repeats.filter(pl.col("alike") > 1).with_columns(extra=pl.col("alike") - 1)
    extra, looked_at = int(alike["extra"].sum()), int(observed.repeats["alike"].sum())
    # By chance one sale in 60 is at second 0.
    in_minutes = counts.whole_minute > 0.5 * counts.timed
    share = _REPEATED_IN_MINUTES if in_minutes else _REPEATED_SALES
    if extra < max(_FEWEST_REPEATS, share * looked_at) or _by_chance(observed.repeats["alike"]):
        return
    message = (
        "Many sales are alike in time, store, customer, total and number of items, but have other ids: "
        "an export may be there twice under new numbers."
    )
    lines = [f"{part(extra, looked_at, 'sale')} looked at {agree(extra, 'repeats')} another one"]
    pairs = alike.group_by("first", "last").agg(pl.col("extra").sum()).sort("extra", descending=True)
    lines += [
        f"{sources[first]}: {count:,} within it"
        if first == last
        else f"{sources[first]} and {sources[last]}: {count:,} in both"
        for first, last, count in pairs.iter_rows()
    ]
    yield doubled(message, lines)


def _by_chance(alike: pl.Series) -> bool:
    """Whether sales are alike only by chance, as in a busy place with few prices and no customers' names.

    Such sales follow Poisson: once, twice and three times come as often as m, m²/2 and m³/6, so that once
    times three times is 2/3 of twice squared, and more where m is not the same everywhere. Sales that occur
    twice for another reason make pairs and hardly any threes.
    """
    once, twice, thrice = (int((alike == times).sum()) for times in (1, 2, 3))
    return once * thrice >= _BY_CHANCE * twice**2


DETECTORS: Final = (twice,)
