"""Runs senders side by side, in order of departure, until all is done or somebody says stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from math import ceil
from typing import Any, Final

from pipeline.core.errors import ImportToolError
from pipeline.core.model import StagedTransaction
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.leases import Positioned
from pipeline.loading.delivery.sender import TransactionSender
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.delivery.tracker import DeliveryTracker, OutgoingTransaction
from pipeline.loading.http.paced_client import PacedClient

_LANDING_TICK_S: Final = 0.05
"""How often a stopping load looks whether it was asked to stop at once."""
_DECIDED_AT_ONCE: Final = 1024
"""Transactions that are looked up in the ledger together, before anything is written for them."""


class Scheduler:
    """Runs senders side by side.

    Args:
        tracker: Decides on transactions.
        sender: Delivers them.
        api: Knows who has a request in flight.
        options: How many at a time, and in which groups.
        most: How many transactions to start at most; None for all.

    Attributes:
        started: How many transactions were started.
    """

    def __init__(
        self,
        tracker: DeliveryTracker,
        sender: TransactionSender,
        api: PacedClient,
        options: DeliveryOptions,
        most: int | None = None,
    ) -> None:
        self.started = 0
        self._most = most
        self._tracker = tracker
        self._sender = sender
        self._api = api
        self._options = options
        self._tasks: dict[asyncio.Task[None], Sequence[OutgoingTransaction]] = {}
        self._deciding: set[asyncio.Task[list[OutgoingTransaction]]] = set()
        self._halt = asyncio.Event()
        self._error: ImportToolError | None = None
        self._bug: BaseException | None = None

    async def run(self, batches: Positioned, stop: Stop) -> ImportToolError | None:
        """Deliver everything; returns what stopped it, if it was not the user."""
        unwatch = stop.watch(asyncio.get_running_loop(), self._halt.set)
        work = asyncio.create_task(self._work(batches))
        work.add_done_callback(self._done)
        halted = asyncio.create_task(self._halt.wait())
        await asyncio.wait({work, halted}, return_when=asyncio.FIRST_COMPLETED)
        await cancel({work, halted, *self._deciding})
        await self._land(self._options.grace_s, stop)
        unwatch()
        if self._bug is not None:
            raise self._bug
        return self._error

    async def _work(self, batches: Positioned) -> None:
        async with aclosing(self._groups(batches)) as groups:
            async for group in groups:
                items = group if self._most is None else group[: self._most - self.started]
                await self._start(items)
                self.started += len(items)
                if self.started == self._most:
                    break
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._error is None:
            # Nothing stopped the load, so the refusals that were kept back are about these transactions.
            await self._tracker.settle(self._tracker.take_postponed())

    async def _groups(self, batches: Positioned) -> AsyncGenerator[list[OutgoingTransaction], None]:
        """Items to deliver, grouped as they will travel; one in doubt goes alone: it is queried first."""
        size = self._options.group_size
        group: list[OutgoingTransaction] = []
        async for items in self._decided(batches):
            for item in items:
                if item.maybe_sent:
                    yield [item]
                    continue
                group.append(item)
                if len(group) == size:
                    yield group
                    group = []
        if group:
            yield group

    async def _decided(self, batches: Positioned) -> AsyncIterator[list[OutgoingTransaction]]:
        """Items to deliver, in order; the next ones are decided on while these leave."""
        ahead: asyncio.Task[list[OutgoingTransaction]] | None = None
        async for position, batch in _pieces(batches):
            deciding = asyncio.create_task(self._tracker.decide(position, batch))
            self._deciding.add(deciding)
            if ahead is not None:
                yield await ahead
                self._deciding.discard(ahead)
            ahead = deciding
        if ahead is not None:
            yield await ahead

    async def _start(self, items: Sequence[OutgoingTransaction]) -> None:
        # Start more tasks than may be in flight, since some wait for a commit. With large batches one more is
        # enough: each holds all its bodies in memory.
        waiting = max(1, self._options.concurrency // self._options.group_size)
        while len(self._tasks) >= self._options.concurrency + waiting:
            self._api.changed.clear()
            await self._api.changed.wait()
        await self._tracker.admit(items)
        task = asyncio.create_task(self._sender.deliver(items))
        self._tasks[task] = items
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._api.changed.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ImportToolError):
            self._error = self._error or error
        elif error is not None:
            # Any other exception is a bug: `run` raises it with its traceback.
            self._bug = self._bug or error
        if error is not None:
            self._halt.set()

    async def _land(self, grace_s: float, stop: Stop) -> None:
        """Wait for the outcome of requests in flight; send nothing new."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        while self._tasks and not stop.immediate and loop.time() < deadline:
            # Tasks that wait for their turn or for a retry must send nothing more.
            for task, items in self._tasks.items():
                if not any(item.in_flight for item in items):
                    task.cancel()
            await asyncio.wait(self._tasks, timeout=_LANDING_TICK_S, return_when=asyncio.FIRST_COMPLETED)
        await cancel(self._tasks)


async def _pieces(batches: Positioned) -> AsyncIterator[tuple[int, list[StagedTransaction]]]:
    reading = iter(batches)
    # In a thread: reading a file would hold up all requests.
    while (found := await asyncio.to_thread(next, reading, None)) is not None:
        position, batch = found
        # Pieces of equal size: a small last piece would cost as much as a full one.
        size = ceil(len(batch) / ceil(len(batch) / _DECIDED_AT_ONCE)) if batch else 1
        for at in range(0, len(batch), size):
            yield position + at, batch[at : at + size]


async def cancel(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancel tasks and wait until they are over."""
    some = [task for task in tasks if task is not None]
    for task in some:
        task.cancel()
    await asyncio.gather(*some, return_exceptions=True)
