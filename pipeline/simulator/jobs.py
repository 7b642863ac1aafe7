"""The queue behind `POST /transactions/queue`: accepted at once, worked off later, commits grouped."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final
from uuid import uuid4

from pipeline.simulator.dice import Dice
from pipeline.simulator.store import Arrival, Store
from pipeline.simulator.webhooks import Webhooks

_TICK_S: Final = 0.02  # jobs that come due within a tick share a commit
_GROUP: Final = 200  # jobs done before the server may answer again


@dataclass(frozen=True)
class Job:
    """One transaction waiting to be processed.

    Attributes:
        body: The checked transaction.
        upsert: False for a create only.
        batch_id: The batch it came in.
        position: Its place there, from 0.
        error: Why it will fail, where that is known already.
        lost: It will vanish.
    """

    body: dict[str, Any]
    upsert: bool = True
    batch_id: str | None = None
    position: int = 0
    error: str | None = None
    lost: bool = False


class Jobs:
    """Takes jobs and works them off when they are due.

    Args:
        store: Where transactions go.
        dice: Says how long jobs wait.
        webhooks: Told of every processed transaction.

    Attributes:
        counts: `created`, `updated`, `failed` and `lost` jobs.
    """

    def __init__(self, store: Store, dice: Dice, webhooks: Webhooks) -> None:
        self._store = store
        self._dice = dice
        self._webhooks = webhooks
        self._waiting: list[tuple[float, int, Job]] = []
        self._numbers = count()
        self._arrivals: list[Arrival] = []
        self.counts: Counter[str] = Counter()

    @property
    def pending(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def arrived(self, arrival: Arrival) -> None:
        """Note what reached the API."""
        self._arrivals.append(arrival)

    def add(self, job: Job) -> None:
        """Queue a job."""
        if job.lost:
            self.counts["lost"] += 1
            return
        due = asyncio.get_running_loop().time() + self._dice.job_delay_s()
        heappush(self._waiting, (due, next(self._numbers), job))

    def add_batch(self, jobs: list[Job]) -> str:
        """Queue the jobs of a batch; returns the batch's id."""
        batch_id = str(uuid4())
        with self._store.writing():
            self._store.execute("INSERT INTO batches VALUES (?, datetime())", (batch_id,))
            for position, job in enumerate(jobs):
                self._store.execute(
                    "INSERT INTO batch_items VALUES (?, ?, ?, NULL, 'pending', NULL)",
                    (batch_id, position, job.body.get("external_id")),
                )
        for position, job in enumerate(jobs):
            self.add(Job(job.body, job.upsert, batch_id, position, job.error, job.lost))
        return batch_id

    async def run(self) -> None:
        """Work jobs off as they come due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.work(until=loop.time(), most=_GROUP)
            overdue = self._waiting and self._waiting[0][0] <= loop.time()
            await asyncio.sleep(0 if overdue else _TICK_S)

    def drain(self) -> int:
        """Work everything off now, due or not; returns how many jobs that were."""
        return self.work(until=float("inf"), most=len(self._waiting))

    def work(self, until: float, most: int) -> int:
        """Work off at most so many jobs due by `until` in one commit, and write arrivals down."""
        jobs: list[Job] = []
        while len(jobs) < most and self._waiting and self._waiting[0][0] <= until:
            jobs.append(heappop(self._waiting)[2])
        if jobs or self._arrivals:
            with self._store.writing():
                self._write_arrivals()
                for job in jobs:
                    self._process(job)
        return len(jobs)

    def note_arrivals(self) -> None:
        """Write down what has arrived so far, so that the store's counts have it."""
        self.work(until=float("-inf"), most=0)

    def _write_arrivals(self) -> None:
        self._store.add_arrivals(self._arrivals)
        self._arrivals.clear()

    def _process(self, job: Job) -> None:
        if job.error is not None:
            self.counts["failed"] += 1
            self._finish_in_batch(job, None, "failed")
            return
        written = self._store.upsert(job.body) if job.upsert else self._store.create(job.body)
        self.counts["created" if written.created else "updated"] += 1
        self._finish_in_batch(job, written.id, "success")
        if self._webhooks.wanted and (context := self._store.transaction(written.id)):
            self.tell(context)

    def tell(self, context: dict[str, Any]) -> None:
        """Send the webhook of a created or updated transaction, where there is a receiver."""
        if self._webhooks.wanted:
            self._webhooks.add(context)

    def _finish_in_batch(self, job: Job, entity_id: int | None, status: str) -> None:
        if job.batch_id is not None:
            self._store.execute(
                "UPDATE batch_items SET entity_id = ?, status = ?, error = ? "
                "WHERE batch_id = ? AND position = ?",
                (entity_id, status, job.error, job.batch_id, job.position),
            )

    def clear(self) -> None:
        """Forget what waits and what was counted."""
        self._waiting.clear()
        self._arrivals.clear()
        self.counts.clear()

    def save(self) -> None:
        """Write down what waits, for the next start."""
        self.note_arrivals()
        with self._store.writing():
            self._store.executemany(
                "INSERT INTO jobs (upsert, body, batch_id, position, error) VALUES (?, ?, ?, ?, ?)",
                [
                    (job.upsert, json.dumps(job.body), job.batch_id, job.position, job.error)
                    for _, _, job in sorted(self._waiting)
                ],
            )

    def load(self) -> None:
        """Queue what an earlier run had written down."""
        with self._store.writing():
            rows = self._store.execute(
                "SELECT body, upsert, batch_id, position, error FROM jobs ORDER BY number"
            ).fetchall()
            self._store.execute("DELETE FROM jobs")
        for body, upsert, batch_id, position, error in rows:
            self.add(Job(json.loads(body), bool(upsert), batch_id, position, error))
