"""Grouped commits: whatever is to be written while one commit runs goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, ParamSpec, TypeVar

from pipeline.loading.ledger import Ledger, Progress, Row, Stamp

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class Grouped(Generic[T]):
    """Gathers items from many tasks and has them written together, in a thread of its own.

    Args:
        seal: Gets everything gathered, in order, and gives the job that writes it. It is called in the
            event loop, at one moment for all; the job runs in the thread, one at a time.
    """

    def __init__(self, seal: Callable[[list[T]], Callable[[], None]]) -> None:
        self._seal = seal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._items: list[T] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, items: Sequence[T]) -> None:
        """Return once these items are written; raises what the job raised."""
        waiter = asyncio.get_running_loop().create_future()
        self._items.extend(items)
        self._waiters.append(waiter)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_groups())
        await waiter

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call something in the same thread, so never while a write runs."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Let go of the thread; what was put is written, or was told to have failed."""
        self._thread.shutdown()

    async def _write_groups(self) -> None:
        while self._waiters:
            await asyncio.sleep(0)  # whatever comes in the same turn of the loop goes together
            items, waiters = self._items, self._waiters
            self._items, self._waiters = [], []
            error = await self._written(items)
            for waiter in waiters:
                if waiter.done():  # whoever waited was cancelled
                    continue
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)
        self._writing = None

    async def _written(self, items: list[T]) -> Exception | None:
        try:
            await self.call(self._seal(items))
        except Exception as error:  # for those who wait for this write
            return error
        return None


class Recorder:
    """Writes to the ledger, one commit for many rows.

    Once a write has failed, every later one fails with the same error: nothing may be sent whose intent
    is not on disk, and no watermark may pass an outcome that is not.

    Args:
        ledger: Is used from the recorder's thread only, until `close`.
        progress: Says how far the run is; asked once a commit.
    """

    def __init__(self, ledger: Ledger, progress: Callable[[], Progress | None]) -> None:
        self._ledger = ledger
        self._progress = progress
        self._grouped = Grouped(self._seal)
        self._error: Exception | None = None

    async def find(self, external_ids: Sequence[str]) -> dict[str, Row]:
        """Look rows up; see `Ledger.find`."""
        return await self._grouped.call(self._ledger.find, external_ids)

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call something of the ledger's in its thread."""
        return await self._grouped.call(function, *args, **kwargs)

    async def put(self, rows: Sequence[Row | Stamp]) -> None:
        """Return once these rows, and how far the run is with them, are on disk.

        Raises:
            SettingsError: The ledger cannot be written.
        """
        await self._grouped.put(rows)

    def close(self) -> None:
        """Let go of the ledger."""
        self._grouped.close()

    def _seal(self, rows: list[Row | Stamp]) -> Callable[[], None]:
        return partial(self._record, rows, self._progress())

    def _record(self, rows: list[Row | Stamp], progress: Progress | None) -> None:
        if self._error is not None:
            raise self._error
        try:
            self._ledger.record(rows, progress)
        except Exception as error:
            self._error = error
            raise
