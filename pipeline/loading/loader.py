"""Delivery: staged transactions go out in order, each with its intent on disk first.

The path of one transaction: claimed (its row says *sending*, committed), through the gate, over the
wire, concluded (its outcome committed), and only then does it leave its place among those in flight. So
a crash leaves at most `concurrency` requests that were taken without a record of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from pipeline.errors import ImportToolError
from pipeline.events import Emit, Notice, StageFinished, StageStarted, ignore
from pipeline.loading.books import Books, Item
from pipeline.loading.client import Client
from pipeline.loading.clock import Clock, SystemClock
from pipeline.loading.courier import Courier
from pipeline.loading.entries import Lease, LeaseLost, Passed, RunRef, State, Wanted
from pipeline.loading.exchange import Exchange
from pipeline.loading.http.interface import httpx
from pipeline.loading.ledger import SqlLedger
from pipeline.loading.options import Changes, DeliveryOptions, DeliveryResult
from pipeline.loading.parts import Batches, LeasedLedger, Part, Shared, keep
from pipeline.loading.plans import Load, OnChange, Plan
from pipeline.loading.recorder import Recorder
from pipeline.loading.stop import Stop
from pipeline.memory import seldom_collecting
from pipeline.model import StagedTransaction
from pipeline.settings import Connection

_LANDING_TICK_S = 0.05
_BATCHED_AT_ONCE = 1024  # transactions claimed for batches, or two of the largest batches
_RETRYING_MAX = 1000  # transactions that wait for another try at the same time


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
        SettingsError: The ledger cannot be read.
    """
    options = options or DeliveryOptions()
    ledger.bind(connection.base_url)
    # An endpoint that only creates cannot bring a change: it would add a second copy.
    on_change = options.on_change if options.endpoint.upserts else OnChange.HOLD
    delivery = _Delivery(
        run,
        plan or Load(on_change, options.revive),
        ledger,
        options,
        emit,
        stop or Stop(),
        clock or SystemClock(),
    )
    with seldom_collecting():
        return asyncio.run(delivery.run(batches, connection, transport))


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
                elif error is not None:
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
        progress = part.progress
        ledger = LeasedLedger(self.ledger, part.lease) if part.lease else self.ledger
        recorder = Recorder(ledger, lambda: books.watermark.progress() if self.plan.resumes else None)
        books = Books(
            recorder,
            progress,
            self.plan,
            self.clock,
            self.emit,
            elsewhere=part.elsewhere if self.plan.resumes else self.handled,
            changes=self.changes,
        )
        exchange.gate.rate.share(part.workers)
        keeping = asyncio.create_task(self._keep(part.lease, recorder, exchange))
        fleet = Fleet(books, Courier(exchange, books, self.options, self.emit), exchange)
        start = progress.watermark if self.plan.resumes else 0
        try:
            error = await fleet.run(_positioned(part.batches, start), self.options, self.stop)
        except BaseException:
            recorder.close()  # its threads are in the ledger, which is closed next
            raise
        finally:
            await _cancel([keeping])
        self.handled += books.handled
        self.troubled += books.troubled
        return await _close(books, recorder) or error

    async def _keep(self, lease: Lease | None, recorder: Recorder, exchange: Exchange) -> None:
        if lease is not None:
            tell = exchange.gate.rate.share
            await keep(lease, self.ledger, self.options.lease_s, recorder, tell, self.clock)

    def _starts_again(self, plan: Load) -> bool:
        """Whether something to send may lie where the run was already.

        What this run delivered is known by its records, so nothing is sent twice.
        """
        counts, progress = self.ledger.counts(self.run_ref.run_id), self.ledger.progress(self.run_ref)
        left_behind = progress.watermark == progress.size and counts[State.PENDING] > 0
        takes_up_held = plan.on_change is not OnChange.HOLD and counts[Passed.HELD] > 0
        return plan.revive or takes_up_held or left_behind


async def _close(books: Books, recorder: Recorder) -> ImportToolError | None:
    try:
        await books.give_back()
    except ImportToolError as error:
        return error
    finally:
        recorder.close()
    return None


def _positioned(batches: Batches, start: int) -> Iterable[tuple[int, list[StagedTransaction]]]:
    position = start
    for batch in batches(start):
        yield position, batch
        position += len(batch)


class Fleet:
    """Runs couriers side by side, in order of departure, until all is done or somebody says stop.

    Args:
        books: Claims.
        courier: Delivers what was claimed.
        exchange: Knows the pace and who has a request in flight.
    """

    def __init__(self, books: Books, courier: Courier, exchange: Exchange) -> None:
        self._books = books
        self._courier = courier
        self._exchange = exchange
        self._tasks: dict[asyncio.Task[None], Sequence[Item]] = {}
        self._claiming: set[asyncio.Task[list[Item]]] = set()
        self._halt = asyncio.Event()
        self._error: ImportToolError | None = None
        self._bug: BaseException | None = None

    async def run(
        self,
        batches: Iterable[tuple[int, list[StagedTransaction]]],
        options: DeliveryOptions,
        stop: Stop,
    ) -> ImportToolError | None:
        """Deliver everything; returns what stopped it, if it was not the user."""
        unwatch = stop.watch(asyncio.get_running_loop(), self._halt.set)
        work = asyncio.create_task(self._work(batches, options))
        work.add_done_callback(self._home)
        halted = asyncio.create_task(self._halt.wait())
        await asyncio.wait({work, halted}, return_when=asyncio.FIRST_COMPLETED)
        await _cancel({work, halted, *self._claiming})
        await self._land(options.grace_s, stop)
        unwatch()
        if self._bug is not None:
            raise self._bug
        return self._error

    async def _work(
        self, batches: Iterable[tuple[int, list[StagedTransaction]]], options: DeliveryOptions
    ) -> None:
        async for items in self._claimed(batches, options):
            await self._spawn(items)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _claimed(
        self, batches: Iterable[tuple[int, list[StagedTransaction]]], options: DeliveryOptions
    ) -> AsyncIterator[list[Item]]:
        """Items to send, grouped as they will travel; one in doubt goes alone: it is looked up first."""
        size = options.batch_size if options.endpoint.batched else 1
        group: list[Item] = []
        async for items in self._claims(batches, size):
            for item in items:
                if item.exposed:
                    yield [item]
                    continue
                group.append(item)
                if len(group) == size:
                    yield group
                    group = []
        if group:
            yield group

    async def _claims(
        self, batches: Iterable[tuple[int, list[StagedTransaction]]], size: int
    ) -> AsyncIterator[list[Item]]:
        """Items to send, in order; the next ones are claimed while these leave."""
        ahead: asyncio.Task[list[Item]] | None = None
        async for position, batch in self._pieces(batches, size):
            claiming = asyncio.create_task(self._books.claim(position, batch))
            self._claiming.add(claiming)
            if ahead is not None:
                yield await ahead
                self._claiming.discard(ahead)
            ahead = claiming
        if ahead is not None:
            yield await ahead

    async def _pieces(
        self, batches: Iterable[tuple[int, list[StagedTransaction]]], size: int
    ) -> AsyncIterator[tuple[int, list[StagedTransaction]]]:
        """Batches in pieces: what is claimed far ahead of the pace would be in doubt after a crash."""
        reading = iter(batches)
        while (found := await asyncio.to_thread(next, reading, None)) is not None:
            position, batch = found
            at = 0
            while (rest := len(batch) - at) > 0:
                about = max(4 * self._exchange.gate.concurrency.limit, 16, min(4 * size, _BATCHED_AT_ONCE))
                # Equal ones: a small rest would cost a commit of its own.
                piece = ceil(rest / max(1, round(rest / about)))
                yield position + at, batch[at : at + piece]
                at += piece

    async def _spawn(self, items: Sequence[Item]) -> None:
        while self._full():
            self._exchange.stirred.clear()
            await self._exchange.stirred.wait()
        task = asyncio.create_task(self._courier.deliver(items))
        self._tasks[task] = items
        task.add_done_callback(self._home)

    def _full(self) -> bool:
        limit = self._exchange.gate.concurrency.limit
        trying_again = self._exchange.backing_off.count
        others = len(self._tasks) - trying_again
        # As many as there are places: who had to queue for one would cost a third more.
        wanting_a_place = others - self._exchange.pausing.count
        return wanting_a_place >= limit or others >= 2 * limit or trying_again >= _RETRYING_MAX

    def _home(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._exchange.stirred.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ImportToolError):
            self._error = self._error or error
        elif error is not None:
            self._bug = self._bug or error
        if error is not None:
            self._halt.set()

    async def _land(self, grace_s: float, stop: Stop) -> None:
        """Let requests in flight come home with their outcome; nothing new leaves."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        while self._tasks and not stop.immediate and loop.time() < deadline:
            for task, items in self._tasks.items():
                if not any(item.in_flight for item in items):
                    task.cancel()
            await asyncio.wait(self._tasks, timeout=_LANDING_TICK_S, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(self._tasks)


async def _cancel(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    some = [task for task in tasks if task is not None]
    for task in some:
        task.cancel()
    await asyncio.gather(*some, return_exceptions=True)
