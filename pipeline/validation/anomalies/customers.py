"""Anomalies of customers: one with more sales than a person has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from pipeline.core.findings import Anomaly, anomaly
from pipeline.validation.anomalies.evidence import place, share, shown
from pipeline.validation.anomalies.observations import Observations

# A person buys a few times a week at most: 3% of the sales of a shop with 50 sales a day would be ten a week.
_PERSON_SHARE: Final = 0.03
# In a small export a good customer easily has 3%.
_PERSON_SALES: Final = 50
# How many times the sales of the average customer.
_PERSON_FACTOR: Final = 20
# A tenth of all sales is too much for a person also in a small export, where not all customers buy alike.
_HOUSE_SHARE: Final = 0.1
_HOUSE_SALES: Final = 20
_HOUSE_FACTOR: Final = 5


def busy_customers(observed: Observations, sources: Sequence[str]) -> Iterator[Anomaly]:
    """A customer with more sales than a person has."""
    known = observed.counts.with_customer
    average = int(observed.people["sales"].sum()) / max(1, observed.people.height)
    least = max(_PERSON_SALES, _PERSON_SHARE * known, _PERSON_FACTOR * average)
    house = max(_HOUSE_SALES, _HOUSE_SHARE * observed.counts.transactions, _HOUSE_FACTOR * average)
    busy = observed.profiles.filter(pl.col("sales") >= min(least, house)).sort("sales", descending=True)
    lines = [
        f"{share(row['sales'], known)}, such as {place(row, sources)}" for row in busy.iter_rows(named=True)
    ]
    if lines:
        yield anomaly(
            "frequent_customer",
            "A customer has more sales than a person can have: a house account or a till's default customer "
            "would collect points that belong to no person. Look at its id in the line that is named: if it "
            "is no person, list it under `nulls` of `source`, and these are guest sales.",
            shown(lines),
        )


DETECTORS: Final = (busy_customers,)
