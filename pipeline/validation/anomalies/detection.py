"""Find the anomalies of a run, for a person to look at before loading it.

Each detector is one function over `Observations`; its thresholds are beside it, with the reason. They are set
so that neither evenly random data of any size nor an ordinary shop has an anomaly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from pipeline.core.findings import Anomaly
from pipeline.validation.anomalies import customers, repeated_sales, sale_times, sale_totals, stores
from pipeline.validation.anomalies.observations import Observations

_DETECTORS: Final[tuple[Callable[[Observations, Sequence[str]], Iterator[Anomaly]], ...]] = (
    sale_times.clock_shifted,
    sale_times.at_night,
    sale_times.at_midnight,
    sale_times.day_and_month,
    sale_times.days_missing,
    repeated_sales.twice,
    sale_totals.totals_and_items,
    sale_totals.far_totals,
    stores.stores_that_may_be_typos,
    stores.currency_mix,
    customers.busy_customers,
)
LOOKED_FOR: Final[Mapping[str, str]] = {
    "sales_at_night": "Many sales at night",
    "store_clock_shifted": "Other stores whose clock is shifted",
    "dates_at_midnight": "Sales at exactly midnight",
    "day_month_swapped": "Only the first twelve days of each month",
    "days_without_sales": "Days without sales",
    "doubled_file": "Sales that are there twice",
    "total_without_tax": "Totals without tax",
    "items_without_tax": "Item prices without tax",
    "totals_out_of_range": "Totals far outside the usual",
    "location_unusual": "Stores that may be typos",
    "currency_mix": "Several currencies in one store",
    "frequent_customer": "One customer with very many sales",
}
"""What the detectors look for: the title of every code."""


def find_anomalies(observations: Observations, sources: Sequence[str]) -> list[Anomaly]:
    """Find all anomalies of a run.

    Args:
        observations: Of all partitions, merged.
        sources: The names of the files; SOURCE is the position in this list.
    """
    return [anomaly for detect in _DETECTORS for anomaly in detect(observations, sources)]
