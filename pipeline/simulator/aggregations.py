"""What a tenant calculates from each customer's transactions: not at once, but every so often."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from pipeline.simulator.database import Database, Json
from pipeline.simulator.fault_injector import Dice

_KEYS: Final = (
    *("spend_all", "spend_12m", "spend_12m_now", "spend_atv_all", "spend_atv_12m"),
    *("spend_first_date", "spend_last_date", "shop_count"),
)
_RECENT: Final = "transacted_at >= datetime('now', '-12 months')"
_SELECT: Final = f"""
SELECT profile_id, sum(total), sum(CASE WHEN {_RECENT} THEN total ELSE 0 END), count(*), sum({_RECENT}),
    min(transacted_at), max(transacted_at)
FROM transactions WHERE profile_id IS NOT NULL AND NOT is_void
"""  # noqa: S608  (nothing in it comes from outside)


class Aggregations:
    """Each customer's figures, as they were when they were calculated last.

    Spend is net of returns and counts no void transaction. Amounts are texts, as some back-ends write them.

    Args:
        db: Has the transactions.
        dice: Says how often figures are calculated.
        clock: Seconds that only go forward.
    """

    def __init__(self, db: Database, dice: Dice, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._dice = dice
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Start again: nothing was calculated so far."""
        self._known: dict[str, Json] | None = None
        self._calculated_at = self._clock()

    def of(self, profile_id: str) -> Json:
        """A customer's figures; null until they are calculated for the first time."""
        every_s = self._dice.faults.aggregations_every_s
        if not every_s:
            found = self._calculated("AND profile_id = ? GROUP BY profile_id", profile_id)
            return {"profile_id": profile_id} | found.get(profile_id, _none())
        if self._clock() - self._calculated_at >= every_s:
            self._known, self._calculated_at = self._calculated("GROUP BY profile_id"), self._clock()
        if self._known is None:
            return {"profile_id": profile_id} | dict.fromkeys(_KEYS)
        return {"profile_id": profile_id} | self._known.get(profile_id, _none())

    def _calculated(self, which: str, *values: str) -> dict[str, Json]:
        return {row[0]: _figures(*row[1:]) for row in self._db.execute(_SELECT + which, values)}


def _none() -> Json:
    return _figures(0, 0, 0, 0, None, None)


def _figures(
    spend: float, recent: float, number: int, recent_number: int, first: str | None, last: str | None
) -> Json:
    values: tuple[Any, ...] = (
        *(_text(spend), _text(recent), _text(recent)),
        *(_text(spend / max(number, 1)), _text(recent / max(recent_number, 1))),
        *(first, last, number),
    )
    return dict(zip(_KEYS, values, strict=True))


def _text(amount: float) -> str:
    return f"{amount:.2f}"
