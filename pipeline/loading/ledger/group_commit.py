"""Group commit: whatever is to be written while one commit runs goes into the next."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, NamedTuple, ParamSpec, TypeVar

from pipeline.loading.ledger.entries import DeliveryProgress, Lease, Record, Write
from pipeline.loading.ledger.ledger import SqlLedger

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class _Group(NamedTuple, Generic[T]):
    items: list[T]
    waiters: list[asyncio.Future[None]]
    job: Callable[[], None]


class GroupCommit(Generic[T]):
    """Gathers items from many tasks and has them written together, in a thread of its own.

    The thread goes from one group to the next without a turn of the event loop between them.

    Args:
        seal: Gets everything gathered, in order, and gives the job that writes it. It is called in the
            event loop, at one moment for all, and again where more comes before the thread has begun; the
            job runs in the thread, one at a time.
    """

    def __init__(self, seal: Callable[[list[T]], Callable[[], None]]) -> None:
        self._seal = seal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._items: list[T] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._offering: asyncio.AbstractEventLoop | None = None
        self._offered: _Group[T] | None = None  # until the thread takes it
        # Guards `_offered`: the event loop fills it, and the thread takes it.
        self._taking = threading.Lock()
        self._is_closed = False

    async def put(self, items: Sequence[T]) -> None:
        """Return once these items are written; raises what the job raised."""
        await self.put_now(items)

    def put_now(self, items: Sequence[T]) -> asyncio.Future[None]:
        """Have these items written with the next group, also if the caller does not wait."""
        waiter = asyncio.get_running_loop().create_future()
        self.put_soon(items)
        self._waiters.append(waiter)
        return waiter

    def put_soon(self, items: Sequence[T]) -> None:
        """Have these items written with the next group, and do not wait."""
        if self._is_closed:
            raise RuntimeError("Nothing is written any more.")
        self._items.extend(items)
        if self._offering is None:
            self._offering = asyncio.get_running_loop()
            # Offered at the next turn of the loop, so all items of this turn go into one group.
            self._offering.call_soon(self._offer)

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call something in the same thread, so never while a write runs."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """End the thread, once what was put is written or has failed."""
        self._is_closed = True
        self._offer()
        self._thread.shutdown()

    def _offer(self) -> None:
        """Have everything written that was put since, together with what the thread has not begun with."""
        loop, self._offering = self._offering, None
        # The group commit was closed meanwhile.
        if loop is None:
            return
        with self._taking:
            earlier = self._offered
            items, waiters = self._items, self._waiters
            if earlier is not None:
                items, waiters = [*earlier.items, *items], [*earlier.waiters, *waiters]
            self._offered = _Group(items, waiters, self._job(items))
        self._items, self._waiters = [], []
        if earlier is None:
            self._thread.submit(self._write, loop)

    def _job(self, items: list[T]) -> Callable[[], None]:
        try:
            return self._seal(items)
        except Exception as error:
            # Raised in the job, so that it reaches those who wait, as if the write had failed.
            return partial(_fail, error)

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._taking:
            group, self._offered = self._offered, None
        assert group is not None
        error = None
        try:
            group.job()
        except Exception as raised:
            # Passed on to the tasks that wait for this write.
            error = raised
        if group.waiters:
            loop.call_soon_threadsafe(_wake, group.waiters, error)


def _fail(error: Exception) -> None:
    raise error


def _wake(waiters: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
    for waiter in waiters:
        # The task that waited was cancelled.
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


class LedgerWriter(GroupCommit[Write]):
    """Writes to the ledger, one commit for many writes, each with how far the run is by then.

    Once a write has failed, every later one fails with the same error: nothing may be sent whose intent
    is not on disk, and no watermark may pass an outcome that is not. `put` raises a SettingsError where the
    ledger cannot be written, and LeaseLost where another worker has the part.

    Args:
        ledger: Is written from the writer's thread only, until `close`.
        progress: Says how far the run is; asked once a commit.
        lease: Of the part that is delivered; None where there is only one worker.
    """

    def __init__(
        self,
        ledger: SqlLedger,
        progress: Callable[[], DeliveryProgress | None],
        lease: Lease | None = None,
    ) -> None:
        super().__init__(lambda writes: partial(self._record, writes, progress()))
        self._ledger = ledger
        self._lease = lease
        self._error: Exception | None = None
        self._finder = ThreadPoolExecutor(1, thread_name_prefix="finder")

    async def find(self, external_ids: Sequence[str], run_no: int | None = None) -> dict[str, Record]:
        """Query records; see `SqlLedger.find`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._finder, self._ledger.find, external_ids, run_no)

    def close(self) -> None:
        """Let go of the ledger, once what was put is written or has failed."""
        self._finder.shutdown()
        super().close()

    def _record(self, writes: list[Write], progress: DeliveryProgress | None) -> None:
        if self._error is not None:
            raise self._error
        try:
            self._ledger.record(writes, progress, self._lease)
        except Exception as error:
            self._error = error
            raise
