"""The queue behind `POST /transactions/queue`: accepted at once, worked off later, commits grouped."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Final

from pipeline.simulator.batches import Batches
from pipeline.simulator.database import Database, Json
from pipeline.simulator.fault_injector import Dice
from pipeline.simulator.request_log import History
from pipeline.simulator.transactions import Transactions, Written

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
    """

    body: Json
    upsert: bool = True
    batch_id: str | None = None
    position: int = 0
    error: str | None = None


class Jobs:
    """Takes jobs and works them off when they are due.

    Args:
        db: Keeps what waits between runs.
        transactions: Where jobs go.
        batches: Told how the jobs of a batch ended.
        history: Written down on the way.
        dice: Says how long jobs wait.
        processed: Called with every processed transaction.

    Attributes:
        counts: `created`, `updated` and `failed` jobs.
    """

    def __init__(
        self,
        db: Database,
        transactions: Transactions,
        batches: Batches,
        history: History,
        dice: Dice,
        processed: Callable[[Written], None],
    ) -> None:
        self._db = db
        self._transactions = transactions
        self._batches = batches
        self._history = history
        self._dice = dice
        self._processed = processed
        self._waiting: list[tuple[float, int, Job]] = []
        self._numbers = count()
        self.counts: Counter[str] = Counter()

    @property
    def pending(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def add(self, job: Job) -> None:
        """Queue a job."""
        due = asyncio.get_running_loop().time() + self._dice.job_delay_s()
        heappush(self._waiting, (due, next(self._numbers), job))

    async def run(self) -> None:
        """Work jobs off as they come due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._work(until=loop.time(), most=_GROUP)
            overdue = self._waiting and self._waiting[0][0] <= loop.time()
            await asyncio.sleep(0 if overdue else _TICK_S)

    def drain(self) -> int:
        """Work everything off now, due or not; returns how many jobs that were."""
        return self._work(until=float("inf"), most=len(self._waiting))

    def _work(self, until: float, most: int) -> int:
        """Work off at most so many jobs due by `until`, in one commit."""
        jobs: list[Job] = []
        while len(jobs) < most and self._waiting and self._waiting[0][0] <= until:
            jobs.append(heappop(self._waiting)[2])
        if jobs or self._history.has_news:
            with self._db.writing():
                self._history.write()
                written = [self._process(job) for job in jobs]
            for each in written:
                if each is not None:
                    self._processed(each)
        return len(jobs)

    def _process(self, job: Job) -> Written | None:
        written = None
        if job.error is None:
            act = self._transactions.upsert if job.upsert else self._transactions.create
            written = act(job.body)
            self.counts["created" if written.created else "updated"] += 1
        else:
            self.counts["failed"] += 1
        if job.batch_id is not None:
            self._batches.finish(job.batch_id, job.position, written and written.id, job.error)
        return written

    def clear(self) -> None:
        """Forget what waits and what was counted."""
        self._waiting.clear()
        self.counts.clear()

    def save(self) -> None:
        """Write down what waits, for the next start."""
        with self._db.writing():
            self._history.write()
            self._db.executemany(
                "INSERT INTO jobs (upsert, body, batch_id, position, error) VALUES (?, ?, ?, ?, ?)",
                [
                    (job.upsert, json.dumps(job.body), job.batch_id, job.position, job.error)
                    for _, _, job in sorted(self._waiting)
                ],
            )

    def load(self) -> None:
        """Queue what an earlier run had written down."""
        with self._db.writing():
            rows = self._db.execute(
                "SELECT body, upsert, batch_id, position, error FROM jobs ORDER BY number"
            ).fetchall()
            self._db.execute("DELETE FROM jobs")
        for body, upsert, batch_id, position, error in rows:
            self.add(Job(json.loads(body), bool(upsert), batch_id, position, error))
