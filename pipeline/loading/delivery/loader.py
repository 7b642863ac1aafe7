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
from pipeline.loading.delivery.decisions import DeliveryRules, LoadRules, OnChange, RetryRules, VoidRules
from pipeline.loading.delivery.delivery_options import Changes, DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.leases import Batches, LeasedParts, RunPart, keep, positioned, until_free
from pipeline.loading.delivery.scheduler import Scheduler, cancel
from pipeline.loading.delivery.sender import TransactionSender
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.delivery.tracker import DeliveryTracker, SessionCounts
from pipeline.loading.http.endpoints import Endpoint
from pipeline.loading.http.interface import httpx
from pipeline.loading.http.paced_client import PacedClient, connected
from pipeline.loading.http.throttle import PaceLimit
from pipeline.loading.ledger.entries import Lease, LeaseLost, PartSelection, Passed, RunRef, State
from pipeline.loading.ledger.group_commit import LedgerWriter
from pipeline.loading.ledger.ledger import SqlLedger


def deliver(
    run: RunRef,
    batches: Batches,
    connection: Connection,
    ledger: SqlLedger,
    options: DeliveryOptions | None = None,
    *,
    rules: DeliveryRules | None = None,
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
        rules: What to do with each transaction; those of `load` by default.
        emit: Gets the events.
        stop: Asks the delivery to stop; give it to the signal handlers.
        transport: Takes the place of the network in tests.
        clock: Takes the place of the system's clocks in tests.

    Returns:
        The result. If the API or the ledger stopped it, `error` says so, so that the caller
        can write its summary before raising it.

    Raises:
        SettingsError: The ledger cannot be read, or the endpoint cannot revive or void.
    """
    options = options or DeliveryOptions()
    ledger.bind(connection.base_url)
    delivery = _Delivery(
        run_ref=run,
        rules=_suited(rules or load_rules(options), options.endpoint),
        ledger=ledger,
        options=options,
        emit=emit,
        stop=stop or Stop(),
        clock=clock or SystemClock(),
    )
    with seldom_collecting():
        return asyncio.run(delivery.run(batches, connection, transport))


def _suited(rules: DeliveryRules, endpoint: Endpoint) -> DeliveryRules:
    """The rules for an endpoint: one that only creates cannot change a transaction, it would add a copy."""
    if endpoint.upserts:
        return rules
    if isinstance(rules, VoidRules):
        raise SettingsError(
            f"--endpoint {endpoint.name} only creates transactions, so it cannot void any.",
            hint="Use --endpoint queue, whichever endpoint they were sent by.",
        )
    if isinstance(rules, LoadRules):
        if rules.revive:
            raise SettingsError(
                f"--endpoint {endpoint.name} only creates: what was undone would be there a second time.",
                hint="Use --endpoint queue.",
            )
        return replace(rules, on_change=OnChange.HOLD, only_creates=True)
    return replace(rules, only_creates=True) if isinstance(rules, RetryRules) else rules


def load_rules(options: DeliveryOptions) -> LoadRules:
    """What a load does with each transaction."""
    return LoadRules(options.on_change, options.revive)


@dataclass
class _Delivery:
    run_ref: RunRef
    rules: DeliveryRules
    ledger: SqlLedger
    options: DeliveryOptions
    emit: Emit
    stop: Stop
    clock: Clock
    changes: Changes = field(default_factory=Changes)
    counts: SessionCounts = field(default_factory=SessionCounts)
    started: int = 0

    def __post_init__(self) -> None:
        most = self.options.max_refused
        self.breaker = CircuitBreaker() if most is None else CircuitBreaker.of(most)

    async def run(
        self, batches: Batches, connection: Connection, transport: httpx.AsyncBaseTransport | None
    ) -> DeliveryResult:
        started = self.clock.monotonic()
        if isinstance(self.rules, LoadRules) and self._starts_again(self.rules):
            run_no = self.ledger.progress(self.run_ref).run_no
            await until_free(run_no, self.ledger, self.options.lease_s, self.clock, self.stop)
            self.ledger.reopen(self.run_ref)
        done = self.ledger.progress(self.run_ref).watermark if self.rules.resumes else 0
        self.emit(StageStarted(self.rules.stage, "transactions", self._total(), done))
        error: ImportToolError | None = None
        async with (
            connected(connection, self.options, self.emit, transport=transport, clock=self.clock) as api,
            aclosing(self._parts(batches)) as parts,
        ):
            async for part in parts:
                error = await self._part(part, api)
                # Another worker delivers the part now, so this one goes on with other parts.
                if isinstance(error, LeaseLost):
                    self.emit(Notice("part_lost", error.message))
                elif error is not None or self.started == self.options.first:
                    break
        seconds = self.clock.monotonic() - started
        self.emit(StageFinished(self.rules.stage, self.counts.handled, seconds))
        return DeliveryResult(
            status=self.ledger.status(self.run_ref.run_id),
            requests=api.requests,
            changes=self.changes,
            handled=self.counts.handled,
            failed=self.counts.failed,
            seconds=seconds,
            stopped=self.stop.requested,
            error=None if isinstance(error, LeaseLost) else error,
        )

    def _total(self) -> int:
        """How many transactions there are to go through, for the progress."""
        if self.rules.handles is None:
            return self.run_ref.size
        if isinstance(self.rules, VoidRules) and self.rules.only is not None:
            return len(self.rules.only)
        counts = self.ledger.counts(self.run_ref.run_id)
        return sum(counts[state] for state in self.rules.handles)

    async def _parts(self, batches: Batches) -> AsyncGenerator[RunPart, None]:
        if not self.ledger.is_shared:
            yield RunPart(self.ledger.open_run(self.run_ref), batches)
            return
        wanted = PartSelection(unfinished=self.rules.resumes)
        shared = LeasedParts(
            run=self.run_ref,
            batches=batches,
            ledger=self.ledger,
            wanted=wanted,
            options=self.options,
            clock=self.clock,
            stop=self.stop,
        )
        async with aclosing(shared.parts()) as parts:
            async for part in parts:
                yield part

    async def _part(self, part: RunPart, api: PacedClient) -> ImportToolError | None:
        """Deliver a part; gives what stopped it, if it was not the user."""
        options = self.options
        # Writer and tracker need each other, so the lambda looks the tracker up when it is called.
        writer = LedgerWriter(
            self.ledger, lambda: tracker.watermark.progress() if self.rules.resumes else None, part.lease
        )
        tracker = DeliveryTracker(
            writer,
            part.progress,
            self.rules,
            self.clock,
            self.emit,
            elsewhere=part.elsewhere,
            counts=self.counts,
            changes=self.changes,
            room=options.concurrency * options.group_size,
            limit=lambda: self._limit(api),
        )
        api.throttle.rate.share(part.workers)
        keeping = asyncio.create_task(self._keep(part.lease, writer, api))
        sender = TransactionSender(
            api=api,
            tracker=tracker,
            rules=self.rules,
            options=options,
            breaker=self.breaker,
            emit=self.emit,
        )
        start = part.progress.watermark if self.rules.resumes else 0
        try:
            # Earlier parts count towards `--first` too.
            most = None if options.first is None else options.first - self.started
            scheduler = Scheduler(tracker, sender, api, options, most)
            error = await scheduler.run(positioned(part.batches, start), self.stop)
            self.started += scheduler.started
        except BaseException:
            # Threads of the writer use the ledger, which is closed next.
            writer.close()
            raise
        finally:
            await cancel([keeping])
        tracker.show()
        return await _close(tracker, writer) or error

    def _limit(self, api: PacedClient) -> PaceLimit:
        """What limits the pace, in transactions: a batch is one request."""
        limit = api.throttle.limit
        per_min = limit.per_min
        return limit if per_min is None else limit._replace(per_min=per_min * self.options.group_size)

    async def _keep(self, lease: Lease | None, writer: LedgerWriter, api: PacedClient) -> None:
        if lease is not None:
            share = api.throttle.rate.share
            await keep(
                lease, self.ledger, lease_s=self.options.lease_s, writer=writer, share=share, clock=self.clock
            )

    def _starts_again(self, rules: LoadRules) -> bool:
        """Whether something to send may lie where the run was already.

        What this run delivered is known by its records, so nothing is sent twice.
        """
        counts, progress = self.ledger.counts(self.run_ref.run_id), self.ledger.progress(self.run_ref)
        unsettled = counts[State.PENDING] + sum(counts[each] for each in _IN_DOUBT)
        left_behind = progress.watermark == progress.size and unsettled > 0
        takes_up_held = rules.on_change is not OnChange.HOLD and counts[Passed.HELD] > 0
        return rules.revive or takes_up_held or left_behind


_IN_DOUBT = (State.SENDING, State.VOIDING, State.IN_DOUBT)


async def _close(tracker: DeliveryTracker, writer: LedgerWriter) -> ImportToolError | None:
    try:
        await tracker.give_back()
    except ImportToolError as error:
        return error
    finally:
        writer.close()
    return None
