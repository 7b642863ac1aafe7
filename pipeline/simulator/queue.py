"""The queue behind `POST /transactions/queue` and the batches: accepted at once, processed later."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Final
from uuid import uuid4

from pipeline.simulator.arrival_log import ArrivalLog
from pipeline.simulator.database import Database, Json, now
from pipeline.simulator.fault_injector import FaultInjector
from pipeline.simulator.transactions import Transactions, Written

_TICK_S: Final = 0.02
"""Jobs that become due within a tick share a commit."""
_GROUP: Final = 200
"""Jobs of one commit. The server answers no request meanwhile, so it must stay short."""


@dataclass(frozen=True)
class Job:
    """One transaction waiting to be processed.

    Attributes:
        body: The checked transaction.
        upsert: False for a create only.
        batch_id: The batch it came in.
        position: Its place there, from 0.
        error: Why the job will fail, where that is known already; else None.
    """

    body: Json
    upsert: bool = True
    batch_id: str | None = None
    position: int = 0
    error: str | None = None


class JobQueue:
    """Takes jobs and processes them when they are due.

    Args:
        db: Keeps waiting jobs between runs.
        transactions: What jobs write to.
        batches: Where the outcome of a batch's jobs is noted.
        arrivals: Written down on the way.
        injector: Says how long jobs wait.
        processed: Called with every processed transaction.

    Attributes:
        counts: `created`, `updated` and `failed` jobs.
    """

    def __init__(
        self,
        db: Database,
        *,
        transactions: Transactions,
        batches: Batches,
        arrivals: ArrivalLog,
        injector: FaultInjector,
        processed: Callable[[Written], None],
    ) -> None:
        self._db = db
        self._transactions = transactions
        self._batches = batches
        self._arrivals = arrivals
        self._injector = injector
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
        due = asyncio.get_running_loop().time() + self._injector.job_delay_s()
        # The number keeps jobs that are due at the same time in order, and jobs are never compared.
        heappush(self._waiting, (due, next(self._numbers), job))

    async def run(self) -> None:
        """Process jobs as they become due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._process_due(until=loop.time(), most=_GROUP)
            overdue = self._waiting and self._waiting[0][0] <= loop.time()
            # Where more jobs are due, requests get a turn of the loop between two groups.
            await asyncio.sleep(0 if overdue else _TICK_S)

    def drain(self) -> int:
        """Process all jobs now, due or not, and return how many there were."""
        return self._process_due(until=float("inf"), most=len(self._waiting))

    def _process_due(self, until: float, most: int) -> int:
        """Process at most `most` jobs that are due by `until`, in one commit."""
        jobs: list[Job] = []
        while len(jobs) < most and self._waiting and self._waiting[0][0] <= until:
            jobs.append(heappop(self._waiting)[2])
        if jobs or self._arrivals.has_news:
            with self._db.writing():
                self._arrivals.write()
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
        """Drop the waiting jobs and the counts."""
        self._waiting.clear()
        self.counts.clear()

    def save(self) -> None:
        """Keep the waiting jobs for the next start."""
        with self._db.writing():
            self._arrivals.write()
            self._db.executemany(
                "INSERT INTO jobs (upsert, body, batch_id, position, error) VALUES (?, ?, ?, ?, ?)",
                [
                    (job.upsert, json.dumps(job.body), job.batch_id, job.position, job.error)
                    for _, _, job in sorted(self._waiting)
                ],
            )

    def load(self) -> None:
        """Queue the jobs that an earlier run kept."""
        with self._db.writing():
            rows = self._db.execute(
                "SELECT body, upsert, batch_id, position, error FROM jobs ORDER BY number"
            ).fetchall()
            self._db.execute("DELETE FROM jobs")
        for body, upsert, batch_id, position, error in rows:
            self.add(Job(json.loads(body), bool(upsert), batch_id, position, error))


_ITEM_KEYS: Final = ("external_id", "entity_id", "status", "error")


class Batches:
    """Keeps batches in the form of the SDK's `Batch`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, external_ids: Sequence[str | None]) -> str:
        """Add a batch of pending transactions and return its id."""
        batch_id = str(uuid4())
        with self._db.writing():
            self._db.execute("INSERT INTO batches VALUES (?, ?)", (batch_id, now()))
            self._db.executemany(
                "INSERT INTO batch_items VALUES (?, ?, ?, NULL, 'pending', NULL)",
                [(batch_id, position, external_id) for position, external_id in enumerate(external_ids)],
            )
        return batch_id

    def finish(self, batch_id: str, position: int, entity_id: int | None, error: str | None) -> None:
        """Note that a transaction became `entity_id`, or failed; to be called while writing."""
        self._db.execute(
            "UPDATE batch_items SET entity_id = ?, status = ?, error = ? WHERE batch_id = ? AND position = ?",
            (entity_id, "success" if error is None else "failed", error, batch_id, position),
        )

    def one(self, batch_id: str) -> Json | None:
        """A batch with its transactions in their order; None where the batch does not exist.

        Its status is `pending` until all are processed, then `failed` if any of them failed, else `success`.
        """
        row = self._db.execute("SELECT created_at FROM batches WHERE id = ?", (batch_id,)).fetchone()
        if row is None:
            return None
        rows = self._db.execute(
            "SELECT external_id, entity_id, status, error FROM batch_items "
            "WHERE batch_id = ? ORDER BY position",
            (batch_id,),
        )
        items = [dict(zip(_ITEM_KEYS, item, strict=True)) for item in rows]
        failed, succeeded = (
            sum(item["status"] == status for item in items) for status in ("failed", "success")
        )
        finished = "failed" if failed else "success"
        return {
            "id": batch_id,
            "entity_type": "transaction",
            "status": finished if failed + succeeded == len(items) else "pending",
            "total_count": len(items),
            "success_count": succeeded,
            "failed_count": failed,
            "processed_count": failed + succeeded,
            "items": items,
            "created_at": row[0],
        }
