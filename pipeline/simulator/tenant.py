"""One simulated tenant: its state, its queue, its throttle, its faults and what was counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from pipeline.simulator.dice import Dice
from pipeline.simulator.jobs import Jobs
from pipeline.simulator.settings import SimulatorSettings
from pipeline.simulator.store import Store
from pipeline.simulator.throttle import Throttle
from pipeline.simulator.webhooks import Webhooks


class Tenant:
    """Everything that the endpoints share. Lives in one thread, the server's.

    Args:
        settings: What it is told at its start.

    Attributes:
        requests: Requests by `METHOD /path` with ids replaced.
        statuses: Answers by status; `dropped` for connections that got none.
        in_flight: Requests being answered now.
        in_flight_most: The most there were at once.

    Raises:
        SettingsError: The database cannot be opened.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.dice = Dice(settings.faults, settings.seed)
        self.throttle = Throttle()
        self.store = Store(settings)
        self.webhooks = Webhooks(settings.webhook_url, settings.webhook_secret, self.dice)
        self.jobs = Jobs(self.store, self.dice, self.webhooks)
        self.currencies = frozenset(settings.currencies)
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.in_flight = 0
        self.in_flight_most = 0

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Work off the queue and send webhooks meanwhile; what waits at the end is kept in the database."""
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
            self.store.close()

    def reset(self) -> None:
        """Forget all but the settings and the faults."""
        self.jobs.clear()
        self.requests.clear()
        self.statuses.clear()
        self.webhooks.counts.clear()
        self.in_flight_most = 0
        self.throttle.clear()
        self.store.clear(self.settings)

    def stats(self) -> dict[str, Any]:
        """What was received, answered and made of it, as JSON."""
        self.jobs.note_arrivals()
        counted = dict.fromkeys(("created", "updated", "failed", "lost"), 0) | self.jobs.counts
        webhooks = dict.fromkeys(("sent", "failed", "withheld"), 0) | self.webhooks.counts
        return {
            "requests": sum(self.requests.values()),
            "by_endpoint": dict(self.requests),
            "by_status": dict(self.statuses),
            "in_flight_most": self.in_flight_most,
            "jobs": counted | {"pending": self.jobs.pending},
            "webhooks": webhooks | {"pending": self.webhooks.pending},
            **self.store.counts(),
        }
