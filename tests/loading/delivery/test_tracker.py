"""What one delivery knows of its transactions."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.core.clock import FakeClock
from pipeline.loading.delivery.decisions import LoadRules
from pipeline.loading.delivery.tracker import DeliveryOutcome, DeliveryTracker
from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.ledger.entries import RunRef, State
from pipeline.loading.ledger.group_commit import LedgerWriter
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.tenant import made

TAKEN = DeliveryOutcome(State.DELIVERED, ReplyVerdict(Meaning.TAKEN, 200))


def test_what_is_cancelled_while_it_waits_for_room_is_not_begun(any_ledger: SqlLedger) -> None:
    async def main() -> None:
        progress = any_ledger.open_run(RunRef("run-1", 3, 1))
        writer = LedgerWriter(any_ledger, lambda: None)
        tracker = DeliveryTracker(writer, progress, LoadRules(), FakeClock(), lambda _: None, room=1)
        first, second, third = await tracker.decide(0, [made(number) for number in (1, 2, 3)])
        await tracker.begin([first])
        waiting = asyncio.create_task(tracker.begin([second]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not second.is_open
        await tracker.settle([(first, TAKEN)])
        await asyncio.wait_for(tracker.begin([third]), 10)
        await asyncio.to_thread(writer.close)

    asyncio.run(main())
    states = {
        name: each.state for name, each in any_ledger.find([made(n).external_id for n in (1, 2, 3)]).items()
    }
    assert states == {made(1).external_id: State.DELIVERED, made(3).external_id: State.SENDING}
