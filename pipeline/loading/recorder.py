"""Grouped commits: whatever is to be written while one commit runs goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.loading.ledger import Ledger, Progress, Row

GATHER_S = 0.004
"""How long a commit waits for company: a commit costs as much for one row as for a hundred."""


class Recorder:
    """Writes to the ledger in its own thread, one commit for many rows.

    Once a write has failed, every later one fails with the same error: nothing may be sent whose intent
    is not on disk.

    Args:
        ledger: Is used from the recorder's thread only, until `close`.
        progress: Says how far the run is; asked once a commit.
    """

    def __init__(self, ledger: Ledger, progress: Callable[[], Progress | None] = lambda: None) -> None:
        self._ledger = ledger
        self._progress = progress
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._rows: list[Row] = []
        self._group: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self.error: Exception | None = None

    async def find(self, external_ids: Sequence[str]) -> dict[str, Row]:
        """Look rows up; see `Ledger.find`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._ledger.find, external_ids)

    async def put(self, rows: Sequence[Row]) -> None:
        """Return once these rows are on disk.

        Raises:
            SettingsError: The ledger cannot be written.
        """
        if self.error is not None:
            raise self.error
        self._rows.extend(rows)
        if self._group is None:
            self._group = asyncio.get_running_loop().create_future()
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await asyncio.shield(self._group)

    def close(self) -> None:
        """Let go of the thread; what was put is on disk or was told to have failed."""
        self._thread.shutdown()

    async def _write(self) -> None:
        while self._group is not None:
            await asyncio.sleep(GATHER_S)  # whoever comes meanwhile joins this commit
            rows, group = self._rows, self._group
            self._rows, self._group = [], None
            if self.error is None:
                self.error = await self._written(rows)
            if self.error is None:
                group.set_result(None)
            else:
                group.set_exception(self.error)
                group.exception()  # whoever waits for it may have been cancelled
        self._writing = None

    async def _written(self, rows: Sequence[Row]) -> Exception | None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._ledger.record, rows, self._progress())
        except Exception as error:  # told to everyone who waits for this write or a later one
            return error
        return None
