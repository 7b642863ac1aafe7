"""What the statistics of a run say that a person should look at before loading it.

Each check is one function over `Observations`; its thresholds are beside it, with the reason. They are set so
that evenly random data of any size, and an ordinary shop's, give no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pipeline.core.findings import Anomaly
from pipeline.validation import amounts, parties, repeats, times
from pipeline.validation.statistics import Observations

_CHECKS: Final[tuple[Callable[[Observations, Sequence[str]], Iterator[Anomaly]], ...]] = (
    times.at_night,
    times.at_midnight,
    times.day_and_month,
    times.days_missing,
    repeats.twice,
    amounts.totals_and_items,
    amounts.far_totals,
    parties.locations,
    parties.currency_mix,
    parties.busy_customer,
)


def findings(observations: Observations, sources: Sequence[str]) -> list[Anomaly]:
    """Look at all observations of a run.

    Args:
        observations: Of all units, merged.
        sources: Names of the files; SOURCE is the position in it.
    """
    return [finding for check in _CHECKS for finding in check(observations, sources)]
