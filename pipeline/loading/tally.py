"""How far a run is: counts, and the watermark below which everything is settled."""

from __future__ import annotations

from dataclasses import replace

from pipeline.loading.entries import KINDS, Counts, Progress


class Tally:
    """Keeps a run's progress while transactions settle out of order.

    Args:
        progress: As the ledger has it. What was settled beyond its watermark is told again by the caller.
    """

    def __init__(self, progress: Progress) -> None:
        self._start = progress
        self._watermark = progress.watermark
        self._below: dict[str, int] = {kind: getattr(progress.below, kind) for kind in KINDS}
        self._settled = dict(self._below)
        self._ahead: dict[int, str] = {}

    def settle(self, position: int, kind: str) -> None:
        """The transaction at this position, at or beyond the watermark, is settled for the first time."""
        self._settled[kind] += 1
        self._ahead[position] = kind
        while (passed := self._ahead.pop(self._watermark, None)) is not None:
            self._below[passed] += 1
            self._watermark += 1

    def move(self, position: int, was: str, kind: str) -> None:
        """A settled transaction counts as another kind now."""
        for counts in (self._settled, self._below) if position < self._watermark else (self._settled,):
            counts[was] -= 1
            counts[kind] += 1

    @property
    def done(self) -> int:
        """Transactions that are settled, held ones left out."""
        return sum(self._settled.values()) - self._settled["held"]

    def progress(self) -> Progress:
        """As it goes into the ledger."""
        return replace(
            self._start,
            watermark=self._watermark,
            below=Counts(**self._below),
            settled=Counts(**self._settled),
        )
