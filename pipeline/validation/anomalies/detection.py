"""Find the anomalies of a run, for a person to look at before loading it.

Each detector is one function over `Observations`; its thresholds are beside it, with the reason. They are set
so that neither evenly random data of any size nor an ordinary shop has an anomaly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pipeline.core.findings import Anomaly
from pipeline.validation.anomalies import customers, repeated_sales, sale_times, sale_totals, stores
from pipeline.validation.anomalies.observations import Observations

_DETECTORS: Final[tuple[Callable[[Observations, Sequence[str]], Iterator[Anomaly]], ...]] = (
    *sale_times.DETECTORS,
    *repeated_sales.DETECTORS,
    *sale_totals.DETECTORS,
    *stores.DETECTORS,
    *customers.DETECTORS,
)


def find_anomalies(observations: Observations, sources: Sequence[str]) -> list[Anomaly]:
    """Find all anomalies of a run.

    Args:
        observations: Of all partitions, merged.
        sources: The names of the files; SOURCE is the position in this list.
    """
    return [anomaly for detect in _DETECTORS for anomaly in detect(observations, sources)]
