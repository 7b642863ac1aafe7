"""Made-up sales of a chain of shops, as mapped frames, with a dial for each fault that is planted."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from pipeline.core.frames import REASONS
from pipeline.core.model import LINE, SOURCE, TX
from pipeline.validation.anomalies.observations import Observations, observe
from tests.validation.frames import CLEAN, CLEAN_ITEM, HEADER_SCHEMA, ITEM_SCHEMA

Sale = dict[str, Any]
SOURCES = ["till-1.csv", "till-2.csv"]
MONDAY = date(2024, 4, 1)


def sale(number: int, at: datetime, store: str, cents: int, person: str | None) -> Sale:
    total = Decimal(cents) / 100
    return {
        "external_id": f"R{number}",
        "transacted_at|local": at,
        "location_id": store,
        "total": total,
        "items_total": total,
        "items_count": 2,
        "profile_id": person,
        SOURCE: 0,
        LINE: number + 2,
    }


def evenly_random(count: int, seed: int, stores: int = 199) -> list[Sale]:
    """Sales at any second of six years, as a generator of test files makes them."""
    rng = random.Random(seed)
    start = datetime(2019, 1, 1)
    return [
        sale(
            n,
            start + timedelta(seconds=rng.randrange(6 * 365 * 86400)),
            f"ST{rng.randrange(1, stores + 1):04}",
            sum(rng.randrange(199, 30000) for _ in range(rng.choice((1, 1, 2, 3, 6)))),
            f"shopper{rng.randrange(300_000)}@example.com" if rng.random() < 0.8 else None,
        )
        for n in range(count)
    ]


def ordinary(
    seed: int = 1,
    *,
    days: int = 70,
    a_day: int = 40,
    stores: Iterable[str] = ("Carlton", "Fitzroy", "Richmond", "Brunswick", "St Kilda"),
    opens: int = 9,
    closes: int = 18,
    closed_on: Iterable[int] = (6,),
) -> list[Sale]:
    """Sales of shops with opening hours and a weekly closing day; totals are lognormal."""
    rng = random.Random(seed)
    stores, sales = list(stores), []
    for day in (MONDAY + timedelta(days=n) for n in range(days)):
        for _ in range(0 if day.weekday() in set(closed_on) else a_day):
            second = int(3600 * rng.triangular(opens, closes, (opens + closes) / 2))
            at = datetime.combine(day, time()) + timedelta(seconds=second)
            person = f"p{rng.randrange(900)}@example.com" if rng.random() < 0.7 else None
            sales.append(
                sale(len(sales), at, rng.choice(stores), int(100 * rng.lognormvariate(3.5, 1)), person)
            )
    return sales


def unit(sales: list[Sale], items: list[Sale] | None = None, repeated: int = 0) -> Observations:
    """Observe sales as one unit, all of them accepted."""
    rows = [{**CLEAN, TX: n, **each} for n, each in enumerate(sales)]
    headers = pl.DataFrame(rows, schema=HEADER_SCHEMA)
    item_rows = [{**CLEAN_ITEM, SOURCE: 0, LINE: 1, **each} for each in items or []]
    outcomes = headers.select(TX, pl.lit("accepted").alias("outcome"))
    blank = {**dict.fromkeys(REASONS), "code": "duplicate_row", "outcome": "warning"}
    reasons = pl.DataFrame([{**blank, TX: n} for n in range(repeated)], schema=REASONS)
    return observe(headers, pl.DataFrame(item_rows, schema=ITEM_SCHEMA), outcomes, reasons)
