"""What one delivery knows of its transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import pytest

from pipeline.core.clock import FakeClock
from pipeline.core.events import Event, Progress
from pipeline.loading.delivery.decisions import (
    Decision,
    DeliveryRules,
    Ignore,
    Keep,
    LoadRules,
    QueryOnly,
    ResendRules,
    RetryRules,
    Send,
    VoidRules,
)
from pipeline.loading.delivery.delivery_options import Changes
from pipeline.loading.delivery.tracker import (
    DeliveryOutcome,
    DeliveryTracker,
    OutgoingTransaction,
    SessionCounts,
)
from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.http.throttle import PaceLimit
from pipeline.loading.ledger.entries import (
    DeliveryProgress,
    Pass,
    Passed,
    Record,
    Return,
    RunRef,
    Stamp,
    State,
    Write,
)
from pipeline.loading.ledger.group_commit import LedgerWriter
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.loading_events import Changed, Failed, LeftInDoubt, Refused
from tests.loading.tenant import made

TAKEN = DeliveryOutcome(State.DELIVERED, ReplyVerdict(Meaning.TAKEN, 200))
NO = ReplyVerdict(Meaning.REFUSED, 422, "No.", {"total": ("Bad.",)})
DOWN = ReplyVerdict(Meaning.TRANSIENT, 503)
NAME, NOW = made(1).external_id, 1_700_000_000
THIS, OTHER = b"this", b"other"
MINE, EARLIER = 2, 1
SEND = Send(b"body", THIS)
ASK = Send(b"body", THIS, look_first=True)
NEW = Record(NAME, THIS, State.SENDING, MINE, source_time=5, total="1.50", at=NOW)
"""What is written of a transaction that nothing was known of, before it is sent."""
OLD = Record(
    NAME,
    THIS,
    State.DELIVERED,
    EARLIER,
    attempts=3,
    status=200,
    message="old",
    batch="b-1",
    omneo_id="o-1",
    source_time=4,
    total="1.40",
    at=NOW - 60,
)


@dataclass
class Writer:
    """In place of a `LedgerWriter`: what is known, and what was written."""

    known: Mapping[str, Record] = field(default_factory=dict)
    written: list[Write] = field(default_factory=list)
    disk: asyncio.Event | None = None
    """Is set once what was put is on disk; None where it is at once."""

    async def find(self, external_ids: Sequence[str], run_no: int) -> dict[str, Record]:
        assert run_no == MINE
        return {name: self.known[name] for name in external_ids if name in self.known}

    async def put(self, writes: Sequence[Write]) -> None:
        await self.put_now(writes)

    def put_now(self, writes: Sequence[Write]) -> asyncio.Future[Any]:
        self.written += writes
        if self.disk is not None:
            return asyncio.ensure_future(self.disk.wait())
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def put_soon(self, writes: Sequence[Write]) -> None:
        self.written += writes


class Session:
    """A delivery whose rules decide the same of every transaction."""

    def __init__(
        self,
        decision: Decision = SEND,
        old: Record | None = None,
        like: type[DeliveryRules] = LoadRules,
        room: int = 10,
        elsewhere: int = 0,
        limit: PaceLimit = PaceLimit(),  # noqa: B008 (a value)
    ) -> None:
        class Rules(like):  # type: ignore[valid-type, misc]  # a class that the table names
            def decide(self, _: object) -> Decision:
                return decision

        self.writer = Writer({} if old is None else {NAME: old})
        self.events: list[Event] = []
        self.clock = FakeClock()
        self.tracker = DeliveryTracker(
            cast("LedgerWriter", self.writer),
            DeliveryProgress(MINE, 0, 100, watermark=7),
            Rules(),
            self.clock,
            self.events.append,
            elsewhere=elsewhere,
            counts=SessionCounts(),
            changes=Changes(),
            room=room,
            limit=lambda: limit,
        )

    async def items(self, count: int = 1) -> list[OutgoingTransaction]:
        some = [made(number)._replace(source_time=5, total="1.50") for number in range(1, count + 1)]
        return await self.tracker.decide(7, some)

    async def sent(self) -> OutgoingTransaction:
        """An item whose request has left."""
        (item,) = await self.items()
        await self.tracker.begin([item])
        item.attempts += 1
        self.writer.written.clear()
        return item

    def write(self, work: Coroutine[Any, Any, object]) -> list[Write]:
        """What some work writes."""
        asyncio.run(work)
        return self.writer.written


# ── Before it is sent ───────────────────────────────────────────────────────────────────────────────


def intent(decision: Decision, old: Record | None, like: type[DeliveryRules] = LoadRules) -> Record:
    session = Session(decision, old, like)

    async def main() -> None:
        await session.tracker.begin(await session.items())

    (written,) = session.write(main())
    assert isinstance(written, Record)
    return written


def test_the_intent_to_send_is_on_disk_before() -> None:
    assert intent(SEND, None) == NEW
    assert intent(SEND, OLD) == NEW._replace(
        attempts=3, status=200, before=State.DELIVERED, omneo_id="o-1"
    ), "of what is known, all that the next answer does not replace is kept"
    assert intent(SEND._replace(for_its_run=True), OLD) == NEW._replace(
        run_no=EARLIER, attempts=3, status=200, before=State.DELIVERED, omneo_id="o-1", source_time=4
    ), "what is sent for another run stays that run's"


def test_what_is_begun_is_begun_once() -> None:
    session = Session()

    async def main() -> None:
        first, second = await session.items(2)
        await session.tracker.begin([first])
        await session.tracker.begin([first, second])
        await session.tracker.begin([first, second])

    written = session.write(main())
    assert [cast("Record", each).external_id for each in written] == [NAME, made(2).external_id]


@pytest.mark.parametrize("like", [LoadRules, VoidRules])
@pytest.mark.parametrize(
    ("state", "earlier", "content", "before"),
    [
        (State.DELIVERED, None, OTHER, State.DELIVERED),
        (State.VOIDED, State.DELIVERED, THIS, State.VOIDED),
        (State.PENDING, None, THIS, State.PENDING),
        (State.REFUSED, None, THIS, State.REFUSED),
        (State.REFUSED, State.DELIVERED, THIS, State.DELIVERED),
        (State.IN_DOUBT, None, THIS, State.IN_DOUBT),
        (State.SENDING, None, THIS, None),  # the same request once more
        (State.SENDING, None, OTHER, State.SENDING),
        (State.SENDING, State.FAILED, THIS, State.FAILED),
    ],
)
def test_an_attempt_starts_from_what_omneo_was_last_known_to_have(
    like: type[DeliveryRules], state: State, earlier: State | None, content: bytes, before: State | None
) -> None:
    old = OLD._replace(state=state, before=earlier, hash=content)
    assert intent(SEND, old, like).before is before


@pytest.mark.parametrize(
    ("like", "earlier", "before"),
    [
        (LoadRules, State.DELIVERED, State.VOIDING),
        (LoadRules, None, State.VOIDING),
        (VoidRules, State.DELIVERED, State.DELIVERED),
        (VoidRules, None, None),
    ],
)
def test_a_void_that_was_cut_off_is_not_forgotten_when_it_is_sent_as_a_sale(
    like: type[DeliveryRules], earlier: State | None, before: State | None
) -> None:
    assert intent(SEND, OLD._replace(state=State.VOIDING, before=earlier), like).before is before


@pytest.mark.parametrize(
    ("decision", "state", "before", "maybe_sent", "expected"),
    [
        (SEND, State.REFUSED, None, False, False),
        (SEND, State.REFUSED, None, True, True),
        (SEND, State.VOIDING, None, False, True),
        (SEND, State.REFUSED, State.VOIDING, False, True),
        (SEND, State.SENDING, None, False, False),
        (ASK, State.REFUSED, None, False, False),
        (ASK, State.REFUSED, None, True, True),
        (ASK, State.SENDING, None, False, True),
        (ASK, State.IN_DOUBT, None, False, True),
    ],
)
def test_what_omneo_may_have_stays_so_while_it_is_sent_again(
    decision: Send, state: State, before: State | None, maybe_sent: bool, expected: bool
) -> None:
    old = OLD._replace(state=state, before=before, maybe_sent=maybe_sent)
    assert intent(decision, old).maybe_sent is expected


@pytest.mark.parametrize(
    ("decision", "state", "content", "batch"),
    [
        (ASK, State.IN_DOUBT, THIS, "b-1"),
        (ASK, State.IN_DOUBT, OTHER, None),
        (ASK, State.DELIVERED, THIS, None),  # it proves what was taken then, not what is there now
        (SEND, State.IN_DOUBT, THIS, None),
        (QueryOnly(b""), State.VOIDING, OTHER, "b-1"),
    ],
)
def test_a_doubt_is_looked_up_in_the_batch_that_it_is_about(
    decision: Decision, state: State, content: bytes, batch: str | None
) -> None:
    session = Session(decision, OLD._replace(state=state, hash=content))
    (item,) = asyncio.run(session.items())
    assert item.batch == batch
    assert item.maybe_sent is (decision is not SEND and state is not State.DELIVERED)


@pytest.mark.parametrize(("old", "is_own"), [(None, True), (OLD._replace(run_no=MINE), True), (OLD, False)])
def test_what_no_other_run_has_is_of_its_run(old: Record | None, is_own: bool) -> None:
    (item,) = asyncio.run(Session(SEND, old).items())
    assert item.is_of_its_run is is_own


def test_what_is_ignored_is_neither_sent_nor_counted() -> None:
    session = Session(Ignore())
    assert asyncio.run(session.items()) == []
    assert session.tracker.counts.handled == 0


def test_the_batch_of_what_was_sent_is_noted() -> None:
    session = Session()

    async def main() -> None:
        item = await session.sent()
        session.tracker.note_batch([item], "b-7")
        await session.tracker.settle([(item, TAKEN)])

    stamp, settled = session.write(main())
    assert stamp == Stamp([NAME], "b-7")
    assert cast("Record", settled).batch == "b-7"


# ── What came of it ─────────────────────────────────────────────────────────────────────────────────

BEGUN = NEW._replace(attempts=4, status=200, before=State.DELIVERED, omneo_id="o-1")


@pytest.mark.parametrize(
    ("old", "outcome", "written"),
    [
        (None, TAKEN, NEW._replace(state=State.DELIVERED, attempts=1, status=200)),
        (
            None,
            TAKEN._replace(omneo_id="o-9"),
            BEGUN._replace(state=State.DELIVERED, attempts=1, before=None, omneo_id="o-9"),
        ),
        (OLD, TAKEN, BEGUN._replace(state=State.DELIVERED, before=None)),
        (
            OLD,
            TAKEN._replace(maybe_sent=True),
            BEGUN._replace(state=State.DELIVERED, before=None, maybe_sent=True),
        ),
        (
            OLD,
            DeliveryOutcome(State.REFUSED, NO),
            BEGUN._replace(
                state=State.REFUSED, status=422, message='{"message": "No.", "errors": {"total": ["Bad."]}}'
            ),
        ),
        (
            None,
            DeliveryOutcome(State.FAILED, DOWN, maybe_sent=True),
            NEW._replace(state=State.FAILED, attempts=1, status=503, maybe_sent=True),
        ),
    ],
)
def test_an_answer_becomes_the_record(old: Record | None, outcome: DeliveryOutcome, written: Record) -> None:
    session = Session(old=old)

    async def main() -> None:
        await session.tracker.settle([(await session.sent(), outcome)])

    assert session.write(main()) == [written]


@pytest.mark.parametrize("outcome", [TAKEN, DeliveryOutcome(State.IN_DOUBT, DOWN, maybe_sent=True)])
def test_a_query_alone_writes_what_it_shows_of_what_is_known(outcome: DeliveryOutcome) -> None:
    old = OLD._replace(state=State.IN_DOUBT, before=State.REFUSED, message=None)
    session = Session(QueryOnly(b""), old)

    async def main() -> None:
        await session.tracker.settle([((await session.items())[0], outcome)])

    is_taken = outcome is TAKEN
    assert session.write(main()) == [
        old._replace(
            state=outcome.state or old.state,
            status=outcome.verdict.status,
            before=None if is_taken else State.REFUSED,
            maybe_sent=not is_taken,
            at=NOW if is_taken else NOW - 60,  # the doubt is as old as it was
        )
    ]


@pytest.mark.parametrize(
    ("decision", "state", "maybe_sent", "expected"),
    [
        (SEND, State.REFUSED, True, True),
        (SEND, State.VOIDING, False, True),
        (SEND, State.REFUSED, False, False),
        (ASK, State.REFUSED, True, False),  # the question was asked, and its answer says more
    ],
)
def test_a_no_does_not_settle_what_an_earlier_request_left_open(
    decision: Send, state: State, maybe_sent: bool, expected: bool
) -> None:
    session = Session(decision, OLD._replace(state=state, maybe_sent=maybe_sent))

    async def main() -> None:
        item = await session.sent()
        await session.tracker.settle([(item, DeliveryOutcome(State.REFUSED, NO))])

    (written,) = session.write(main())
    assert cast("Record", written).maybe_sent is expected


def test_a_yes_settles_what_an_earlier_request_left_open() -> None:
    session = Session(SEND, OLD._replace(state=State.REFUSED, maybe_sent=True))

    async def main() -> None:
        await session.tracker.settle([(await session.sent(), TAKEN)])

    (written,) = session.write(main())
    assert not cast("Record", written).maybe_sent


RESTORED = DeliveryOutcome(None, NO)


@pytest.mark.parametrize("is_begun", [True, False])
def test_a_repeat_that_did_not_work_leaves_the_record_but_for_the_answer(is_begun: bool) -> None:
    old = OLD._replace(state=State.MISSING)
    session = Session(SEND, old, ResendRules)

    async def main() -> None:
        item = await session.sent() if is_begun else (await session.items())[0]
        await session.tracker.settle([(item, RESTORED)])

    message = '{"message": "No.", "errors": {"total": ["Bad."]}}'
    answered = old._replace(attempts=3 + is_begun, status=422, message=message, at=NOW)
    assert session.write(main()) == [Return(MINE, answered) if is_begun else answered]


def test_what_was_not_known_before_is_pending_where_it_is_left_as_it_was() -> None:
    session = Session(like=ResendRules)

    async def main() -> None:
        await session.tracker.settle([(await session.sent(), RESTORED)])

    assert session.write(main()) == [NEW._replace(state=State.PENDING, attempts=1)]


@pytest.mark.parametrize("is_begun", [True, False])
@pytest.mark.parametrize(("counted", "action"), [(Passed.HELD, "held"), (Passed.UNCHANGED, "skipped")])
def test_what_a_query_shows_to_be_another_version_stays_the_others(
    is_begun: bool, counted: Passed, action: str
) -> None:
    session = Session(ASK, OLD)

    async def main() -> None:
        item = await session.sent() if is_begun else (await session.items())[0]
        await session.tracker.settle([(item, DeliveryOutcome(None, DOWN, counted=counted))])

    returned = [Return(MINE, OLD._replace(attempts=4))] if is_begun else []
    assert session.write(main()) == [*returned, Pass(NAME, MINE, counted, NOW)]
    assert session.events == [Changed(NAME, action)]
    assert asdict(session.tracker.changes)[action] == 1


@pytest.mark.parametrize(
    ("decision", "like", "outcome", "event"),
    [
        (SEND, LoadRules, TAKEN, None),
        (SEND._replace(changed=True), LoadRules, TAKEN, Changed(NAME, "sent")),
        (SEND, LoadRules, DeliveryOutcome(State.REFUSED, NO), Refused(NAME, 422, ("total",))),
        (SEND, LoadRules, DeliveryOutcome(State.DELIVERED, NO), None),  # it is there whatever was answered
        (SEND, LoadRules, DeliveryOutcome(State.FAILED, DOWN), Failed(NAME, 1, 503)),
        (SEND, LoadRules, DeliveryOutcome(State.IN_DOUBT, DOWN), LeftInDoubt(NAME, 503)),
        (SEND, LoadRules, DeliveryOutcome(State.IN_DOUBT, NO), LeftInDoubt(NAME, 422)),
        (SEND, VoidRules, DeliveryOutcome(State.VOIDING, DOWN), LeftInDoubt(NAME, 503)),
        (SEND, VoidRules, DeliveryOutcome(None, DOWN), Failed(NAME, 1, 503)),
        (QueryOnly(b""), LoadRules, DeliveryOutcome(None, DOWN), None),
        (QueryOnly(b""), LoadRules, TAKEN, None),
    ],
)
def test_what_came_of_it_is_told(
    decision: Send | QueryOnly, like: type[DeliveryRules], outcome: DeliveryOutcome, event: Event | None
) -> None:
    session = Session(decision, OLD, like)

    async def main() -> None:
        item = (await session.items())[0] if isinstance(decision, QueryOnly) else await session.sent()
        await session.tracker.settle([(item, outcome)])

    session.write(main())
    assert session.events == ([] if event is None else [event])
    assert session.tracker.changes.sent == isinstance(event, Changed)


@pytest.mark.parametrize(
    ("like", "state", "failed", "in_doubt"),
    [
        (LoadRules, State.DELIVERED, 0, 0),
        (LoadRules, State.REFUSED, 1, 0),
        (LoadRules, State.FAILED, 1, 0),
        (LoadRules, State.IN_DOUBT, 1, 1),
        (LoadRules, State.SENDING, 1, 1),
        (LoadRules, None, 0, 0),
        (VoidRules, State.VOIDED, 0, 0),
        (VoidRules, State.VOIDING, 1, 1),
        (VoidRules, State.DELIVERED, 1, 0),
        (VoidRules, None, 1, 0),
    ],
)
def test_what_was_done_is_counted(
    like: type[DeliveryRules], state: State | None, failed: int, in_doubt: int
) -> None:
    session = Session(SEND, OLD, like)

    async def main() -> None:
        outcome = DeliveryOutcome(state, DOWN)
        await session.tracker.settle([(await session.sent(), outcome)])
        await session.tracker.settle([])

    session.write(main())
    assert session.tracker.counts == SessionCounts(handled=1, sent=1, failed=failed, in_doubt=in_doubt)
    assert session.tracker.watermark.progress().watermark == (8 if like is LoadRules else 7)


def test_nothing_was_done_at_first() -> None:
    assert asdict(SessionCounts()) == {"handled": 0, "sent": 0, "failed": 0, "in_doubt": 0}


# ── What is not sent ────────────────────────────────────────────────────────────────────────────────

OWN = OLD._replace(run_no=MINE)
PLACED = OLD._replace(place=State.REFUSED)


@pytest.mark.parametrize(
    ("decision", "old", "written", "unchanged"),
    [
        (Keep(), OWN, [], 0),
        (Keep(Passed.UNCHANGED), None, [], 1),
        (Keep(Passed.UNCHANGED), OLD, [], 1),
        (Keep(Passed.UNCHANGED), PLACED, [Pass(NAME, MINE, Passed.UNCHANGED, NOW)], 0),
        (Keep(Passed.UNCHANGED), OWN, [Pass(NAME, MINE, Passed.UNCHANGED, NOW)], 0),
        (Keep(Passed.HELD), OLD, [Pass(NAME, MINE, Passed.HELD, NOW)], 0),
        (Keep(State.FORGOTTEN), None, [Pass(NAME, MINE, State.FORGOTTEN, NOW)], 0),
        (
            Keep(State.DELIVERED, takes_over=True),
            PLACED,
            [OLD._replace(run_no=MINE, source_time=5, at=NOW)],
            0,
        ),
    ],
)
def test_what_is_passed_by_is_counted_with_the_watermark_where_that_says_enough(
    decision: Keep, old: Record | None, written: list[Write], unchanged: int
) -> None:
    session = Session(decision, old)
    assert session.write(session.items()) == written
    assert session.tracker.watermark.progress() == DeliveryProgress(
        MINE, 0, 100, watermark=8, unchanged=unchanged
    )
    assert session.tracker.counts == SessionCounts(handled=1)
    assert session.events == []


@pytest.mark.parametrize("action", ["held", "skipped", "superseded", "voided"])
def test_a_change_that_is_not_sent_is_told_and_counted(action: str) -> None:
    session = Session(Keep(Passed.UNCHANGED, action))
    session.write(session.items(2))
    assert session.events == [Changed(NAME, action), Changed(made(2).external_id, action)]
    assert {name: number for name, number in asdict(session.tracker.changes).items() if number} == {action: 2}


@pytest.mark.parametrize("is_begun", [True, False])
def test_an_outcome_that_is_kept_back_leaves_all_as_it_was(is_begun: bool) -> None:
    session = Session(SEND, OLD, room=1)
    outcome = DeliveryOutcome(State.REFUSED, NO)

    async def main() -> None:
        item = await session.sent() if is_begun else (await session.items())[0]
        await session.tracker.postpone(item, outcome)
        assert not item.is_open
        await session.tracker.give_back()
        assert session.writer.written == [Return(MINE, OLD._replace(attempts=4))] * is_begun
        session.writer.written.clear()
        (other,) = await session.items()
        await asyncio.wait_for(session.tracker.begin([other]), 1)  # it left its room
        assert session.tracker.take_postponed() == [(item, outcome)]
        assert session.tracker.take_postponed() == []
        await session.tracker.give_back()
        await session.tracker.settle([(item, outcome)])

    begun, returned, settled = session.write(main())
    assert begun == BEGUN._replace(attempts=3)
    assert returned == Return(MINE, OLD)
    assert cast("Record", settled).state is State.REFUSED


def test_what_never_left_is_given_back_and_what_may_have_left_stays_in_doubt() -> None:
    session = Session()

    async def main() -> None:
        unsent, sent, done = await session.items(3)
        await session.tracker.begin([unsent, sent, done])
        sent.maybe_sent = True
        unsent.attempts = 2
        unsent.batch = "b-1"
        await session.tracker.settle([(done, TAKEN)])
        session.writer.written.clear()
        await session.tracker.give_back()
        await session.tracker.give_back()

    assert session.write(main()) == [NEW._replace(state=State.PENDING, attempts=2, batch="b-1")]


# ── Room, time and progress ─────────────────────────────────────────────────────────────────────────


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_than_there_is_room_for_are_in_doubt_at_any_time() -> None:
    session = Session(room=3)

    async def main() -> None:
        a, b, c, d, e = await session.items(5)
        begin = session.tracker.begin
        await begin([a, b])
        large = asyncio.create_task(begin([c, d]))
        await turns()
        small = asyncio.create_task(begin([e]))
        await turns()
        assert [item.is_open for item in (c, d, e)] == [False] * 3  # the first who waits is the first to go
        await begin([])
        await session.tracker.settle([(a, TAKEN)])
        await turns()
        assert [item.is_open for item in (c, d, e)] == [True, True, False]
        await session.tracker.settle([(a, TAKEN)])  # it has left its room already
        await turns()
        assert not e.is_open
        await session.tracker.settle([(b, TAKEN), (c, TAKEN)])
        await asyncio.gather(large, small)
        assert e.is_open

    session.write(main())


def test_only_what_is_in_doubt_already_waits_for_room_before_its_turn() -> None:
    session = Session(room=1)

    async def main() -> None:
        first, second, third = await session.items(3)
        first.maybe_sent = third.maybe_sent = True
        await session.tracker.admit([first, second])
        await session.tracker.begin([first])  # it has its room
        waiting = asyncio.create_task(session.tracker.admit([third]))
        await turns()
        assert not waiting.done()
        await session.tracker.settle([(first, TAKEN)])
        await waiting

    session.write(main())


@pytest.mark.parametrize("is_given", [True, False])
def test_room_that_nobody_waits_for_any_more_goes_to_the_next(is_given: bool) -> None:
    session = Session(room=1)

    async def main() -> None:
        first, second, third = await session.items(3)
        await session.tracker.begin([first])
        gone = asyncio.create_task(session.tracker.begin([second]))
        waiting = asyncio.create_task(session.tracker.begin([third]))
        await turns()
        if is_given:
            await session.tracker.settle([(first, TAKEN)])
            gone.cancel()
        else:
            gone.cancel()
            await session.tracker.settle([(first, TAKEN)])
        await asyncio.wait_for(waiting, 1)
        assert gone.cancelled()
        assert (second.is_open, third.is_open) == (False, True)

    session.write(main())


@pytest.mark.parametrize("step", ["begin", "settle", "postpone", "give_back"])
def test_nothing_goes_on_before_it_is_on_disk(step: str) -> None:
    session = Session()

    async def main() -> None:
        (item,) = await session.items()
        if step != "begin":
            await session.tracker.begin([item])
        work = {
            "begin": lambda: session.tracker.begin([item]),
            "settle": lambda: session.tracker.settle([(item, TAKEN)]),
            "postpone": lambda: session.tracker.postpone(item, TAKEN),
            "give_back": session.tracker.give_back,
        }
        session.writer.disk = asyncio.Event()
        waiting = asyncio.create_task(work[step]())
        await turns()
        assert not waiting.done()
        session.writer.disk.set()
        await asyncio.wait_for(waiting, 1)
        assert item.is_open is (step in ("begin", "give_back"))

    session.write(main())


def test_a_doubt_has_an_age() -> None:
    assert Session().tracker.age_s(OLD) == 60


def test_progress_comes_no_more_often_than_it_is_read() -> None:
    session = Session(Keep())

    async def main() -> None:
        for now in (0.19, 0.2, 0.39, 0.41):
            session.clock.now = now
            await session.items()

    session.write(main())
    assert len(session.events) == 2  # after 0.2 s, and after 0.2 s more


def test_progress_comes_with_what_is_settled() -> None:
    session = Session()

    async def main() -> None:
        item = await session.sent()
        session.clock.now = 1
        await session.tracker.settle([(item, TAKEN)])

    session.write(main())
    assert session.events == [Progress("load", 8, sent=1)]


@pytest.mark.parametrize(("like", "done"), [(LoadRules, 1008), (RetryRules, 1)])
def test_progress_tells_what_is_done_and_what_limits_it(like: type[DeliveryRules], done: int) -> None:
    session = Session(like=like, elsewhere=1000, limit=PaceLimit("Omneo's limit", 120))

    async def main() -> None:
        settled, in_flight, _unsent, *unanswered = items = await session.items(5)
        await session.tracker.begin(items)
        for item in (in_flight, *unanswered):
            item.maybe_sent = True
        in_flight.in_flight = True
        await session.tracker.settle([(settled, DeliveryOutcome(State.IN_DOUBT, DOWN))])
        session.events.clear()
        session.tracker.show()

    session.write(main())
    expected = Progress("load", done, sent=1, in_doubt=3, limit="Omneo's limit", most_per_s=2.0)
    assert session.events == [expected]
    free = Session(like=like)
    free.tracker.show()
    assert free.events == [Progress("load", 7 if like is LoadRules else 0, sent=0)]


def test_what_is_cancelled_while_it_waits_for_room_is_not_begun(any_ledger: SqlLedger) -> None:
    async def main() -> None:
        progress = any_ledger.open_run(RunRef("run-1", 3, 1))
        writer = LedgerWriter(any_ledger, lambda: None)
        tracker = DeliveryTracker(
            *(writer, progress, LoadRules(), FakeClock(), lambda _: None),
            elsewhere=0,
            counts=SessionCounts(),
            changes=Changes(),
            room=1,
            limit=PaceLimit,
        )
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
