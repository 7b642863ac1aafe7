"""What of a run this process delivers: all of it, or, over a shared ledger, one leased part after another.

A part is a range of the delivery order. Workers take parts from the front, so at any time as many parts are
under way as there are workers, and only among those the order is not kept.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from pipeline.core.clock import Clock
from pipeline.core.model import StagedTransaction
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.ledger.entries import DeliveryProgress, Lease, LeaseLost, PartSelection, RunRef
from pipeline.loading.ledger.group_commit import LedgerWriter
from pipeline.loading.ledger.ledger import SqlLedger

Batches = Callable[[int], Iterable[list[StagedTransaction]]]
"""Gives a run's transactions in delivery order, from a position on, in lists of any length."""

Positioned = Iterable[tuple[int, list[StagedTransaction]]]
"""Neighbours in delivery order, each list with the position of its first."""

MOST_PARTS: Final = 10_000
"""Parts of a run at most. Each is a row that every worker reads when it looks for a free one."""
_RENEWALS: Final = 10
"""Renewals in the time that a lease lasts, so that it outlives several that fail."""
_POLL_S: Final = 0.5
"""How often to look for a free part while other workers hold all that are left."""


def positioned(batches: Batches, start: int = 0) -> Iterator[tuple[int, list[StagedTransaction]]]:
    """Transactions from a position on, each list with the position of its first."""
    position = start
    for batch in batches(start):
        yield position, batch
        position += len(batch)


@dataclass(frozen=True)
class RunPart:
    """What is delivered in one go.

    Attributes:
        progress: How far it is.
        batches: Gives the part's transactions, by position in the part.
        elsewhere: Transactions of the run that are settled in other parts.
        lease: What makes it this process's own; None where there is only one process.
        workers: How many share the pace.
    """

    progress: DeliveryProgress
    batches: Batches
    elsewhere: int = 0
    lease: Lease | None = None
    workers: int = 1


class LeasedParts:
    """The parts of a run that several processes share.

    Args:
        run: The run.
        batches: Gives its transactions.
        ledger: Where parts are leased.
        wanted: Which parts are of interest.
        options: Size of the parts, unless that makes too many, and length of the leases.
        clock: For waiting until others are through.
        stop: Ends it.
    """

    def __init__(
        self,
        run: RunRef,
        batches: Batches,
        ledger: SqlLedger,
        wanted: PartSelection,
        options: DeliveryOptions,
        clock: Clock,
        stop: Stop,
    ) -> None:
        self._run = run
        self._reader = SequentialReader(batches)
        self._ledger = ledger
        self._wanted = wanted
        # Rounded up: the parts of a large run grow, so there are never more than `MOST_PARTS`.
        self._part_size = max(options.part_size, -(-run.size // MOST_PARTS))
        self._lease_s = options.lease_s
        self._clock = clock
        self._stop = stop
        # The random part tells this process from an earlier one with the same number on the same host.
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    async def parts(self) -> AsyncGenerator[RunPart, None]:
        """Each part that can be had, in order; waits for those of others, should they die."""
        size, part_size = self._run.size, self._part_size
        parts = self._ledger.leases.share(
            self._run, [min(part_size, size - at) for at in range(0, size, part_size)]
        )
        if not parts:
            return
        alone = True
        while not self._stop.requested:
            lease = self._ledger.leases.take(parts[0].run_no, self._owner, self._lease_s, self._wanted)
            if lease is None:
                if not self._ledger.leases.are_left(parts[0].run_no, self._wanted):
                    return
                await self._clock.sleep(min(_POLL_S, self._lease_s))
                continue
            workers = self._ledger.leases.renew(lease, self._lease_s)
            if workers > 1 and alone:
                # The others learn of this worker at their next renewal and slow down; wait until then.
                await self._clock.sleep(self._lease_s / _RENEWALS)
            alone = workers == 1
            try:
                yield self._part(parts, lease, workers)
            finally:
                self._ledger.leases.release(lease)
            # Without a watermark a part does not show that it is done, so it is left out by its number.
            if not self._wanted.unfinished:
                self._wanted = replace(self._wanted, beyond=lease.part)

    def _part(self, parts: Sequence[DeliveryProgress], lease: Lease, workers: int) -> RunPart:
        sizes = {part.part: part.size for part in parts}
        first = sum(size for number, size in sizes.items() if number < lease.part)
        last = first + sizes[lease.part]
        own = self._ledger.open_run(self._run, lease.part)
        return RunPart(
            own,
            lambda start: self._reader.between(first + start, last),
            max(0, self._ledger.settled(self._run.run_id) - own.watermark),
            lease,
            workers,
        )


async def until_free(run_no: int, ledger: SqlLedger, lease_s: float, clock: Clock, stop: Stop) -> None:
    """Wait for finished parts that others hold, at most as long as a lease lasts.

    `SqlLedger.reopen` leaves them alone, so what a worker left in doubt that was killed there would stay so.
    """
    deadline = clock.monotonic() + lease_s
    while (
        ledger.leases.are_finished_ones_held(run_no) and clock.monotonic() < deadline and not stop.requested
    ):
        await clock.sleep(min(_POLL_S, lease_s))


class SequentialReader:
    """A run's transactions, read once, and forwards as long as no earlier part is asked for.

    Args:
        batches: Gives the transactions.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._reading: Iterator[list[StagedTransaction]] | None = None
        self._at = 0  # position of the first in `_left`
        self._left: list[StagedTransaction] = []

    def between(self, first: int, last: int) -> Iterator[list[StagedTransaction]]:
        """The transactions from position `first` up to, but without, `last`."""
        if self._reading is None or first < self._at:
            self._reading, self._at, self._left = iter(self._batches(first)), first, []
        while self._at < last:
            if not self._left:
                batch = next(self._reading, None)
                if batch is None:
                    return
                self._left = list(batch)
            begin, end = max(0, first - self._at), last - self._at
            some, passed = self._left[begin:end], self._left[:end]
            self._left, self._at = self._left[end:], self._at + len(passed)
            if some:
                yield some


async def keep(
    lease: Lease,
    ledger: SqlLedger,
    lease_s: float,
    writer: LedgerWriter,
    share: Callable[[int], None],
    clock: Clock,
) -> None:
    """Renew a lease until cancelled or lost.

    Args:
        lease: Of the part under way.
        ledger: Is called in the writer's thread.
        lease_s: How long a lease lasts.
        writer: Of the delivery.
        share: Called at each renewal with the number of workers that share the pace.
        clock: For the time between renewals.
    """
    # A lost lease also fails the next write of the worker, which reports it.
    with suppress(LeaseLost):
        while True:
            await clock.sleep(lease_s / _RENEWALS)
            share(await writer.call(ledger.leases.renew, lease, lease_s))
