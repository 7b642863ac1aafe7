"""One simulated tenant: its data, its queue, its rate limiter, its faults and its counters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from pipeline.simulator.arrival_log import ArrivalLog
from pipeline.simulator.database import Database
from pipeline.simulator.fault_injector import FaultInjector
from pipeline.simulator.middleware import RateLimiter
from pipeline.simulator.queue import Batches, JobQueue
from pipeline.simulator.reference_data import ReferenceData
from pipeline.simulator.simulator_settings import SimulatorSettings
from pipeline.simulator.transactions import Aggregations, Transactions, Written
from pipeline.simulator.webhooks import Webhooks


class SimulatorState:
    """Everything that the endpoints share. Only the server's thread uses it.

    Args:
        settings: As given at the start.

    Attributes:
        reactions: Runs of active triggers, by name.
        requests: Requests by `METHOD /path` with ids replaced.
        statuses: Answers by status; `dropped` for connections that got none.
        in_flight: Requests being answered now.
        in_flight_most: The highest value of `in_flight`.
        stopping: Set when the server is to end, so that nothing waits any longer.

    Raises:
        SettingsError: The database cannot be opened.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.injector = FaultInjector(settings.faults, settings.seed)
        self.rate_limiter = RateLimiter()
        self.db = Database(settings.db)
        self.reference_data = ReferenceData(self.db)
        self.reference_data.seed(settings)
        self.transactions = Transactions(self.db, self.reference_data)
        self.batches = Batches(self.db)
        self.arrivals = ArrivalLog(self.db)
        self.webhooks = Webhooks(settings.webhook_url, settings.webhook_secret, self.injector)
        self.aggregations = Aggregations(self.db, self.injector)
        self.reactions: Counter[str] = Counter()
        self.queue = JobQueue(
            self.db,
            transactions=self.transactions,
            batches=self.batches,
            arrivals=self.arrivals,
            injector=self.injector,
            processed=self.processed,
        )
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.in_flight = 0
        self.in_flight_most = 0
        self.stopping = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the server's end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    def processed(self, written: Written) -> None:
        """Run the triggers and send the webhooks of a created or updated transaction."""
        event = "transaction.created" if written.created else "transaction.updated"
        self.reactions.update(
            each.name for each in self.settings.triggers if each.is_active and each.trigger == event
        )
        if self.webhooks.wanted:
            self.webhooks.add(self.transactions.one(written.id))

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Process the queue and send webhooks while the block runs.

        Jobs that are left at the end are kept in the database; webhooks that are left are lost.
        """
        self.queue.load()
        tasks = [asyncio.create_task(self.queue.run())]
        if self.webhooks.wanted:
            tasks.append(asyncio.create_task(self.webhooks.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            self.queue.save()
            self.db.close()

    def reset(self) -> None:
        """Delete everything but the settings and the faults."""
        for each in (self.queue, self.arrivals, self.requests, self.statuses, self.rate_limiter, self.db):
            each.clear()
        self.injector.forget()
        self.webhooks.counts.clear()
        self.reactions.clear()
        self.aggregations.clear()
        self.in_flight_most = 0
        self.reference_data.seed(self.settings)

    def stats(self) -> dict[str, Any]:
        """Counts of requests, answers, jobs, webhooks and transactions, as JSON."""
        queue, webhooks = self.queue, self.webhooks
        return {
            "requests": sum(self.requests.values()),
            "by_endpoint": dict(self.requests),
            "by_status": dict(self.statuses),
            "in_flight_most": self.in_flight_most,
            "throttle": [
                {"began_at": each.began_at, "used": each.used} for each in self.rate_limiter.windows
            ],
            "jobs": {name: queue.counts[name] for name in ("created", "updated", "failed")}
            | {"pending": queue.pending},
            "webhooks": {name: webhooks.counts[name] for name in ("sent", "failed", "withheld")}
            | {"pending": webhooks.pending},
            "reactions": dict(self.reactions),
            **self.arrivals.counts(),
        }
