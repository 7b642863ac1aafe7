"""Delivery: staged transactions go out in order, each with its intent on disk first.

The path of one transaction: decided on by what the ledger knows, its intent committed once it is about to
leave, through the throttle, over the network, its outcome committed. Only so many have an intent at any time
as there may be requests in flight, so a crash leaves no more than these in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from pipeline.core.clock import Clock, SystemClock
from pipeline.core.errors import ImportToolError, SettingsError
from pipeline.core.events import Emit, Notice, StageFinished, StageStarted, ignore
from pipeline.core.memory import seldom_collecting
from pipeline.core.settings import Connection
from pipeline.loading.delivery.circuit_breaker import CircuitBreaker
from pipeline.loading.delivery.decisions import Load, OnChange, Plan, Retry
from pipeline.loading.delivery.delivery_options import Changes, DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.leases import Batches, LeasedLedger, Part, Shared, keep
from pipeline.loading.delivery.scheduler import Positioned, Scheduler, cancel
from pipeline.loading.delivery.sender import TransactionSender
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.delivery.tracker import DeliveryTracker
from pipeline.loading.http.client import Client
from pipeline.loading.http.endpoints import Endpoint
from pipeline.loading.http.interface import httpx
from pipeline.loading.http.paced_client import Exchange
from pipeline.loading.ledger.entries import Lease, LeaseLost, Passed, RunRef, State, Wanted
from pipeline.loading.ledger.group_commit import Recorder
from pipeline.loading.ledger.ledger import SqlLedger


def deliver(
    run: RunRef,
    batches: Batches,
    connection: Connection,
    ledger: SqlLedger,
    options: DeliveryOptions | None = None,
    *,
    plan: Plan | None = None,
    emit: Emit = ignore,
    stop: Stop | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Clock | None = None,
) -> DeliveryResult:
    """Send a staged run, or go on where the last call stopped.

    Over a ledger that machines can share, other processes may do the same at the same time: each takes
    parts of the run, and its share of the pace.

    Args:
        run: The run.
        batches: Gives its transactions.
        connection: The tenant.
        ledger: Where intents and outcomes go.
        options: How to send.
        plan: What to do with each transaction; `Load` with the options' `on_change` by default.
        emit: Is told what happens.
        stop: Asks the delivery to stop; give it to the signal handlers.
        transport: Takes the place of the network in tests.
        clock: Takes the place of the system's clocks in tests.

    Returns:
        What came of it. That the API or the ledger stopped it is told in `error`, so that the caller
        can write its summary before raising it.

    Raises:
        SettingsError: The ledger cannot be read, or the endpoint cannot revive.
    """
    options = options or DeliveryOptions()
    ledger.bind(connection.base_url)
    delivery = _Delivery(
        run,
        _suited(plan or load_plan(options), options.endpoint),
        ledger,
        options,
        emit,
        stop or Stop(),
        clock or SystemClock(),
    )
    with seldom_collecting():
        return asyncio.run(delivery.run(batches, connection, transport))


def _suited(plan: Plan, endpoint: Endpoint) -> Plan:
    """The plan as an endpoint can follow it: one that only creates brings no change, but a second copy."""
    if endpoint.upserts:
        return plan
    if isinstance(plan, Load):
        if plan.revive:
            raise SettingsError(
                f"--endpoint {endpoint.name} only creates: what was undone would be there a second time.",
                hint="Use --endpoint queue.",
            )
        return replace(plan, on_change=OnChange.HOLD, only_creates=True)
    return replace(plan, only_creates=True) if isinstance(plan, Retry) else plan


def load_plan(options: DeliveryOptions) -> Load:
    """What a load does with each transaction."""
    return Load(options.on_change, options.revive)


@dataclass
class _Delivery:
    run_ref: RunRef
    plan: Plan
    ledger: SqlLedger
    options: DeliveryOptions
    emit: Emit
    stop: Stop
    clock: Clock
    changes: Changes = field(default_factory=Changes)
    handled: int = 0
    troubled: int = 0
    started: int = 0

    def __post_init__(self) -> None:
        most = self.options.max_refused
        self.breaker = CircuitBreaker() if most is None else CircuitBreaker.of(most)

    async def run(
        self, batches: Batches, connection: Connection, transport: httpx.AsyncBaseTransport | None
    ) -> DeliveryResult:
        started = self.clock.monotonic()
        self.emit(StageStarted("load", "transactions", self.run_ref.size))
        error: ImportToolError | None = None
        async with (
            Client(connection, transport, timeout_s=self.options.timeout_s) as client,
            aclosing(self._parts(batches)) as parts,
        ):
            exchange = Exchange(client, connection.base_url, self.options.limits(), self.clock, self.emit)
            async for part in parts:
                error = await self._part(part, exchange)
                if isinstance(error, LeaseLost):
                    self.emit(Notice("part_lost", error.message))
                elif error is not None or self.started == self.options.first:
                    break
        seconds = self.clock.monotonic() - started
        self.emit(StageFinished("load", self.handled, seconds))
        return DeliveryResult(
            self.ledger.status(self.run_ref.run_id),
            exchange.requests,
            self.changes,
            self.handled,
            self.troubled,
            seconds,
            stopped=self.stop.requested,
            error=None if isinstance(error, LeaseLost) else error,
        )

    async def _parts(self, batches: Batches) -> AsyncGenerator[Part, None]:
        if isinstance(self.plan, Load) and self._starts_again(self.plan):
            self.ledger.reopen(self.run_ref)
        if not self.ledger.is_shared:
            yield Part(self.ledger.open_run(self.run_ref), batches)
            return
        wanted = Wanted(unfinished=self.plan.resumes)
        shared = Shared(self.run_ref, batches, self.ledger, wanted, self.options, self.clock, self.stop)
        async with aclosing(shared.parts()) as parts:
            async for part in parts:
                yield part

    async def _part(self, part: Part, exchange: Exchange) -> ImportToolError | None:
        """Deliver a part; gives what stopped it, if it was not the user."""
        options = self.options
        ledger = LeasedLedger(self.ledger, part.lease) if part.lease else self.ledger
        recorder = Recorder(ledger, lambda: tracker.watermark.progress() if self.plan.resumes else None)
        tracker = DeliveryTracker(
            recorder,
            part.progress,
            self.plan,
            self.clock,
            self.emit,
            elsewhere=part.elsewhere if self.plan.resumes else self.handled,
            changes=self.changes,
            room=options.concurrency * options.group_size,
        )
        exchange.gate.rate.share(part.workers)
        keeping = asyncio.create_task(self._keep(part.lease, recorder, exchange))
        sender = TransactionSender(exchange, tracker, self.plan, options, self.breaker, self.emit)
        start = part.progress.watermark if self.plan.resumes else 0
        try:
            most = None if options.first is None else options.first - self.started
            scheduler = Scheduler(tracker, sender, exchange, options, most)
            error = await scheduler.run(_positioned(part.batches, start), self.stop)
            self.started += scheduler.started
        except BaseException:
            recorder.close()  # its threads are in the ledger, which is closed next
            raise
        finally:
            await cancel([keeping])
        self.handled += tracker.handled
        self.troubled += tracker.troubled
        return await _close(tracker, recorder) or error

    async def _keep(self, lease: Lease | None, recorder: Recorder, exchange: Exchange) -> None:
        if lease is not None:
            tell = exchange.gate.rate.share
            await keep(lease, self.ledger, self.options.lease_s, recorder, tell, self.clock)

    def _starts_again(self, plan: Load) -> bool:
        """Whether something to send may lie where the run was already.

        What this run delivered is known by its records, so nothing is sent twice.
        """
        counts, progress = self.ledger.counts(self.run_ref.run_id), self.ledger.progress(self.run_ref)
        unsettled = counts[State.PENDING] + sum(counts[each] for each in _IN_DOUBT)
        left_behind = progress.watermark == progress.size and unsettled > 0
        takes_up_held = plan.on_change is not OnChange.HOLD and counts[Passed.HELD] > 0
        return plan.revive or takes_up_held or left_behind


_IN_DOUBT = (State.SENDING, State.VOIDING, State.IN_DOUBT)


async def _close(tracker: DeliveryTracker, recorder: Recorder) -> ImportToolError | None:
    try:
        await tracker.give_back()
    except ImportToolError as error:
        return error
    finally:
        recorder.close()
    return None


def _positioned(batches: Batches, start: int) -> Positioned:
    position = start
    for batch in batches(start):
        yield position, batch
        position += len(batch)
