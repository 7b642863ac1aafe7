"""One simulated tenant: its state, its queue, its throttle, its faults and what was counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from pipeline.simulator.aggregations import Aggregations
from pipeline.simulator.batches import Batches
from pipeline.simulator.database import Database
from pipeline.simulator.fault_injector import Dice
from pipeline.simulator.queue import Jobs
from pipeline.simulator.reference_data import Directory
from pipeline.simulator.request_log import History
from pipeline.simulator.simulator_settings import SimulatorSettings
from pipeline.simulator.throttle import Throttle
from pipeline.simulator.transactions import Transactions, Written
from pipeline.simulator.webhooks import Webhooks


class Tenant:
    """Everything that the endpoints share. Lives in one thread, the server's.

    Args:
        settings: What it is told at its start.

    Attributes:
        reactions: How often which active trigger ran, by name.
        requests: Requests by `METHOD /path` with ids replaced.
        statuses: Answers by status; `dropped` for connections that got none.
        in_flight: Requests being answered now.
        in_flight_most: The most there were at once.
        stopping: Set when the server is to end, so that nothing waits any longer.

    Raises:
        SettingsError: The database cannot be opened.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.dice = Dice(settings.faults, settings.seed)
        self.throttle = Throttle()
        self.db = Database(settings.db)
        self.directory = Directory(self.db)
        self.directory.seed(settings)
        self.transactions = Transactions(self.db, self.directory)
        self.batches = Batches(self.db)
        self.history = History(self.db)
        self.webhooks = Webhooks(settings.webhook_url, settings.webhook_secret, self.dice)
        self.aggregations = Aggregations(self.db, self.dice)
        self.reactions: Counter[str] = Counter()
        self.jobs = Jobs(self.db, self.transactions, self.batches, self.history, self.dice, self.processed)
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
        """Do what a created or updated transaction sets off: triggers run, webhooks are sent."""
        event = "transaction.created" if written.created else "transaction.updated"
        self.reactions.update(
            each.name for each in self.settings.triggers if each.is_active and each.trigger == event
        )
        if self.webhooks.wanted:
            self.webhooks.add(self.transactions.one(written.id))

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Work off the queue and send webhooks meanwhile; what waits at the end is kept in the database.

        Webhooks that are not sent by then never are.
        """
        self.jobs.load()
        tasks = [asyncio.create_task(self.jobs.run())]
        if self.webhooks.wanted:
            tasks.append(asyncio.create_task(self.webhooks.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            self.jobs.save()
            self.db.close()

    def reset(self) -> None:
        """Forget all but the settings and the faults."""
        for each in (self.jobs, self.history, self.requests, self.statuses, self.throttle, self.db):
            each.clear()
        self.dice.forget()
        self.webhooks.counts.clear()
        self.reactions.clear()
        self.aggregations.clear()
        self.in_flight_most = 0
        self.directory.seed(self.settings)

    def stats(self) -> dict[str, Any]:
        """What was received, answered and made of it, as JSON."""
        jobs, webhooks = self.jobs, self.webhooks
        return {
            "requests": sum(self.requests.values()),
            "by_endpoint": dict(self.requests),
            "by_status": dict(self.statuses),
            "in_flight_most": self.in_flight_most,
            "throttle": [{"began_at": each.began_at, "used": each.used} for each in self.throttle.windows],
            "jobs": {name: jobs.counts[name] for name in ("created", "updated", "failed")}
            | {"pending": jobs.pending},
            "webhooks": {name: webhooks.counts[name] for name in ("sent", "failed", "withheld")}
            | {"pending": webhooks.pending},
            "reactions": dict(self.reactions),
            **self.history.counts(),
        }
