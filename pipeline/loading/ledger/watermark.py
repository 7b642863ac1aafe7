"""How far a run is: the position below which everything is settled."""

from __future__ import annotations

from dataclasses import replace

from pipeline.loading.ledger.entries import DeliveryProgress


class Watermark:
    """Keeps a run's progress while transactions settle out of order.

    Args:
        progress: As the ledger has it. What is settled beyond its watermark is noted again by the caller.
    """

    def __init__(self, progress: DeliveryProgress) -> None:
        self._start = progress
        self._watermark = progress.watermark
        self._unchanged = progress.unchanged
        self._ahead: dict[int, bool] = {}

    def settle(self, position: int, *, unchanged: bool = False) -> None:
        """The transaction at this position, at or beyond the watermark, is settled.

        Args:
            position: In delivery order.
            unchanged: It was passed by as unchanged, and nothing of that is kept but the number.
        """
        self._ahead[position] = unchanged
        while (passed := self._ahead.pop(self._watermark, None)) is not None:
            self._unchanged += passed
            self._watermark += 1

    @property
    def done(self) -> int:
        """Transactions of this part that are settled."""
        return self._watermark + len(self._ahead)

    def progress(self) -> DeliveryProgress:
        """As it goes into the ledger."""
        return replace(self._start, watermark=self._watermark, unchanged=self._unchanged)
