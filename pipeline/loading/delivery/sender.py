"""Sends one transaction, or one batch of them, to Omneo and finds out what became of it.

A transaction counts as delivered only once an answer of Omneo's says that it took it. A request that may have
reached Omneo and got no such answer leaves its transaction *in doubt*: it is queried, and again after
growing waits, since Omneo works its queue off late. If it is still absent, it is sent again where the
endpoint would update an existing copy and all items have ids; otherwise it stays in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.core.events import Emit
from pipeline.core.text.privacy import personal_values
from pipeline.loading.confirm.same_sale import every_item_has_an_id
from pipeline.loading.delivery.added_keys import is_void as is_sent_void
from pipeline.loading.delivery.added_keys import replacing_items
from pipeline.loading.delivery.circuit_breaker import CircuitBreaker, is_denial
from pipeline.loading.delivery.decisions import DeliveryRules, InDoubtRule, OnChange, QueryOnly, Send
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.query_evidence import Evidence, Presence, find_evidence
from pipeline.loading.delivery.tracker import DeliveryOutcome, DeliveryTracker, OutgoingTransaction
from pipeline.loading.http.answers import (
    TAKEN,
    Meaning,
    ReplyVerdict,
    kept_id,
    transaction_in,
)
from pipeline.loading.http.batches import BatchResult, batch_id_of, results_of
from pipeline.loading.http.client import Answered, Reply, Unsent
from pipeline.loading.http.endpoints import ApiRequest, batch_query, transaction_query
from pipeline.loading.http.paced_client import PacedClient
from pipeline.loading.http.strict_json import parsed
from pipeline.loading.ledger.entries import ACCEPTED_BY_OMNEO, Passed, State, may_be_void, was_void
from pipeline.loading.loading_events import InDoubt

_FIRST_POLL_S: Final = 0.2
_LONGEST_POLL_S: Final = 10.0
"""Waits between two questions about a batch: short at first, since small batches are over in a second."""
_LATE_MAX_S: Final = 24 * 3600
"""How late Omneo's queue may be: a forgotten transaction that is absent for longer was not taken."""
_UNCLEAR_MAX: Final = 3
"""Requests for one transaction that may end with an answer that is neither yes nor no."""
_LOOKS: Final = 3
"""Queries until a transaction counts as absent; twice as many if sending it again may make a copy."""


class TransactionSender:
    """Delivers items: queries what is in doubt, sends, repeats, halves what was refused as a whole.

    Args:
        api: Requests at the common pace.
        tracker: Where intents and outcomes go.
        rules: What the command does.
        options: Endpoint, and the rule for doubts.
        breaker: Counts what is refused.
        emit: Gets what became of doubts.
    """

    def __init__(
        self,
        api: PacedClient,
        tracker: DeliveryTracker,
        rules: DeliveryRules,
        options: DeliveryOptions,
        breaker: CircuitBreaker,
        emit: Emit,
    ) -> None:
        self._api = api
        self._tracker = tracker
        self._rules = rules
        self._endpoint = options.endpoint
        self._rule = options.in_doubt
        # An endpoint that only creates makes no update.
        self._replaces_items = options.endpoint.upserts and not options.keep_old_items
        self._patience_s = options.give_up_after_s
        self._policy = options.policy
        self._breaker = breaker
        self._emit = emit

    async def deliver(self, items: Sequence[OutgoingTransaction]) -> None:
        """See every item settled.

        Raises:
            StoppedByApi: Nothing can be sent any more; what is not settled stays as it is.
            SettingsError: The ledger cannot be written.
        """
        left = list(items)
        verdict = TAKEN
        for _ in range(_UNCLEAR_MAX):
            verdict = await self._api.persist(
                lambda: self._attempt(left), items[0].external_id, probe=lambda: _probe(left)
            )
            if not left or verdict.meaning is not Meaning.UNCLEAR:
                break
        if not left:
            return
        if verdict.meaning is Meaning.FATAL or self._api.gave_up(verdict):
            raise self._api.error(verdict)
        # One bad transaction may have the whole batch refused; halving finds it with few requests.
        if len(left) > 1 and verdict.meaning is not Meaning.UNCLEAR:
            middle = len(left) // 2
            await self.deliver(left[:middle])
            await self.deliver(left[middle:])
            return
        await asyncio.gather(*(self._conclude(item, verdict) for item in left))

    # One attempt

    async def _attempt(self, left: list[OutgoingTransaction]) -> ReplyVerdict:
        """Query items in doubt, send the others in one request, and take settled ones out of the list."""
        await self._settle_doubts(left)
        if not left:
            return TAKEN
        await self._tracker.begin(left)
        replies: list[Reply] = []

        async def conclude(verdict: ReplyVerdict, reply: Reply) -> None:
            replies.append(reply)
            self._judge_doubt(left, were_sent, verdict, reply)
            self._count(left, verdict)

        # Taken before the request leaves: an answer that says no restores this state.
        were_sent = {item.position: item.maybe_sent for item in left}
        try:
            verdict = await self._api.once(
                # Not kept in a variable: that would hold the batch's body in memory while its result is
                # polled.
                self._endpoint.request([(item.external_id, self._body(item)) for item in left]),
                conclude,
                before=lambda: self._leave(left),
            )
        finally:
            for item in left:
                item.in_flight = False
        if verdict.meaning is Meaning.TAKEN and self._endpoint.batched:
            return await self._settle_batch(left, batch_id_of(replies[0]) or "", were_sent)
        if verdict.meaning is Meaning.TAKEN:
            await self._accept([(left[0], verdict, _id_in(replies[0], left[0].external_id))])
            left.clear()
        elif verdict.meaning is Meaning.REFUSED and len(left) == 1 and not left[0].maybe_sent:
            await self._deny(left[0], verdict)
            left.clear()
        self._check_breaker()
        return verdict

    def _body(self, item: OutgoingTransaction) -> bytes:
        decision = item.decision
        assert isinstance(decision, Send)
        replaces = self._replaces_items and decision.updates and self._rules.intent is State.SENDING
        return replacing_items(decision.body) if replaces else decision.body

    @staticmethod
    def _leave(items: Sequence[OutgoingTransaction]) -> None:
        for item in items:
            item.attempts += 1
            item.maybe_sent = item.in_flight = True

    @staticmethod
    def _judge_doubt(
        items: Sequence[OutgoingTransaction],
        were_sent: Mapping[int, bool],
        verdict: ReplyVerdict,
        reply: Reply,
    ) -> None:
        """After an answer that says it was not taken, an item is as much in doubt as it was before."""
        if isinstance(reply, Unsent) or not (verdict.in_doubt or verdict.meaning is Meaning.TAKEN):
            for item in items:
                item.maybe_sent = were_sent[item.position]

    def _count(self, items: Sequence[OutgoingTransaction], verdict: ReplyVerdict) -> None:
        """Tell the circuit breaker of an answer; of each transaction once."""
        if not self._rules.is_guarded or not is_denial(verdict):
            return
        if len(items) > 1 and verdict.meaning is Meaning.REFUSED:
            # One item may cause the refusal of all. After halving, each is counted by its own answer.
            return
        new = [item for item in items if not item.is_counted]
        for item in new:
            item.is_counted = True
        if new:
            self._breaker.denied(verdict, len(new))
        if self._breaker.is_open:
            self._api.throttle.shut()

    # Outcomes

    async def _accept(
        self,
        taken: Sequence[tuple[OutgoingTransaction, ReplyVerdict, str | None]],
        *,
        maybe_sent: bool = False,
    ) -> None:
        """Settle, in one commit, what Omneo took; each with the answer, and Omneo's own id where known."""
        if not taken:
            return
        self._breaker.accepted()
        outcomes = [
            (item, DeliveryOutcome(self._rules.accepted, verdict, maybe_sent, omneo_id))
            for item, verdict, omneo_id in taken
        ]
        await self._tracker.settle([*self._tracker.take_postponed(), *outcomes])

    async def _deny(self, item: OutgoingTransaction, verdict: ReplyVerdict) -> None:
        """Settle what Omneo refused; a void or a repeat that did not work leaves it as it was."""
        if self._rules.is_guarded and self._breaker.is_undecided:
            await self._tracker.postpone(item, DeliveryOutcome(State.REFUSED, verdict))
        else:
            state = None if self._rules.restores else State.REFUSED
            await self._tracker.settle([(item, DeliveryOutcome(state, verdict))])

    def _check_breaker(self) -> None:
        if self._rules.is_guarded and self._breaker.is_open:
            raise self._breaker.error()

    async def _conclude(self, item: OutgoingTransaction, verdict: ReplyVerdict) -> None:
        """Settle what got neither yes nor no in the end, or a no after a request that was perhaps taken."""
        if not item.maybe_sent:
            if verdict.meaning is Meaning.REFUSED:
                await self._deny(item, verdict)
            else:
                state = None if self._rules.restores else State.FAILED
                await self._tracker.settle([(item, DeliveryOutcome(state, verdict))])
            return
        evidence = await self._find_evidence(item)
        if await self._settle_by(item, evidence):
            return
        await self._tracker.settle([(item, self._unproven(item, evidence, verdict))])

    def _unproven(
        self, item: OutgoingTransaction, evidence: Evidence, verdict: ReplyVerdict
    ) -> DeliveryOutcome:
        """The outcome of a transaction that Omneo may have kept, but that a query does not show."""
        if self._rules.restores:
            return self._restored(item, evidence, verdict)
        if evidence.presence is Presence.UNKNOWN or verdict.meaning is Meaning.UNCLEAR:
            return DeliveryOutcome(State.IN_DOUBT, verdict, maybe_sent=True)
        if verdict.meaning is Meaning.REFUSED:
            return DeliveryOutcome(State.REFUSED, verdict, maybe_sent=True)
        return DeliveryOutcome(State.FAILED, verdict, maybe_sent=True)

    def _restored(
        self, item: OutgoingTransaction, evidence: Evidence, verdict: ReplyVerdict
    ) -> DeliveryOutcome:
        """The outcome of a transaction after a void or a repeat that failed."""
        old = item.old
        if self._rules.intent is not State.VOIDING or old is None:
            return DeliveryOutcome(None, verdict, maybe_sent=True)
        known = old.before if old.state is State.VOIDING else old.state
        is_accepted = known in ACCEPTED_BY_OMNEO - {State.VOIDED}
        is_there = evidence.presence is Presence.SAME or (evidence.presence is Presence.OTHER and is_accepted)
        if is_there and not evidence.void:
            # `maybe_sent`, since a void that is late in Omneo's queue may still change this.
            return DeliveryOutcome(known if is_accepted else State.DELIVERED, verdict, maybe_sent=True)
        if evidence.presence is Presence.ABSENT and verdict.meaning is Meaning.REFUSED:
            return DeliveryOutcome(None, verdict, maybe_sent=True)
        return DeliveryOutcome(State.VOIDING, verdict, maybe_sent=True)

    # Doubts

    async def _settle_doubts(self, left: list[OutgoingTransaction]) -> None:
        """Query what Omneo may have already; takes out of the list what that settles."""
        doubtful = [item for item in left if item.maybe_sent or _looks_first(item)]
        if not doubtful:
            return
        settled = await asyncio.gather(*(self._settle_doubt(item) for item in doubtful))
        gone = {id(item) for item, is_settled in zip(doubtful, settled, strict=True) if is_settled}
        left[:] = [item for item in left if id(item) not in gone]

    async def _settle_doubt(self, item: OutgoingTransaction) -> bool:
        """Settle an item that Omneo may have; False where it must be sent."""
        if isinstance(item.decision, QueryOnly):
            await self._note_what_is_there(item)
            return True
        # A second void changes nothing, so it is sent without a query.
        if self._rules.intent is State.VOIDING or self._rule is InDoubtRule.RESEND:
            return False
        if item.batch and await self._settle_by_batch(item):
            return True
        evidence = await self._find_evidence(item)
        can_send = self._can_repeat(item) or not item.maybe_sent
        if await self._settle_by(item, evidence, can_send=can_send):
            return True
        if can_send and evidence.presence is not Presence.UNKNOWN:
            if evidence.presence is Presence.OTHER:
                item.decision = item.decision._replace(updates=True)
            self._emit(InDoubt(item.external_id, "sent"))
            return False
        state = State.IN_DOUBT if item.is_of_its_run else None
        await self._tracker.settle([(item, DeliveryOutcome(state, evidence.verdict, maybe_sent=True))])
        return True

    def _can_repeat(self, item: OutgoingTransaction) -> bool:
        """Whether sending it again cannot make a second copy of it, or of an item."""
        return self._endpoint.upserts and every_item_has_an_id(item.transaction.body or b"{}")

    async def _settle_by_batch(self, item: OutgoingTransaction) -> bool:
        """Whether the batch in which an item went proves what became of it."""
        result = await self._poll(item.batch or "", [item])
        verdict = _of_batch(result, item)
        if verdict.meaning is Meaning.TAKEN:
            self._emit(InDoubt(item.external_id, "delivered"))
            await self._accept([(item, verdict, result.taken.get(item.external_id) or None)])
        elif verdict.meaning is Meaning.REFUSED:
            await self._deny(item, verdict)
        return verdict.meaning is not Meaning.UNCLEAR

    async def _settle_by(
        self, item: OutgoingTransaction, evidence: Evidence, *, can_send: bool = False
    ) -> bool:
        """Whether what a query shows settles an item.

        If a late request may still change what the query shows, the item is sent again where it can be:
        the last request counts in the end.
        """
        decision = item.decision
        assert isinstance(decision, Send)
        is_there = evidence.presence in (Presence.SAME, Presence.OTHER)
        voids = self._rules.intent is State.VOIDING
        shows_it = (
            (is_there and evidence.void)
            if voids
            else (evidence.presence is Presence.SAME and evidence.void == is_sent_void(decision.body))
        )
        if shows_it and decision.may_turn and (voids or can_send):
            return False
        if shows_it:
            self._emit(InDoubt(item.external_id, "delivered"))
            await self._accept([(item, TAKEN, evidence.omneo_id)], maybe_sent=decision.may_turn)
            return True
        if is_there and self._rules.resumes and decision.if_other is not OnChange.SEND:
            held = Passed.HELD if decision.if_other is OnChange.HOLD else Passed.UNCHANGED
            outcome = (
                DeliveryOutcome(State.IN_DOUBT, evidence.verdict, maybe_sent=True)
                if item.is_of_its_run
                else DeliveryOutcome(None, evidence.verdict, maybe_sent=True, counted=held)
            )
            await self._tracker.settle([(item, outcome)])
            return True
        return False

    async def _note_what_is_there(self, item: OutgoingTransaction) -> None:
        """Write to the ledger whether a void that was cut off has reached Omneo."""
        old = item.old
        assert old is not None
        evidence = await self._find_evidence(item)
        verdict = evidence.verdict
        unknown = State.VOIDING if old.state is State.VOIDING else State.IN_DOUBT
        is_late = evidence.presence is Presence.ABSENT and self._tracker.age_s(old) > _LATE_MAX_S
        if is_late and not item.transaction.body:
            # It can never be sent again, so the doubt would never end.
            was_there = old.before in ACCEPTED_BY_OMNEO
            outcome = DeliveryOutcome(
                State.MISSING if was_there else State.FORGOTTEN, verdict, maybe_sent=True
            )
        elif evidence.presence is Presence.ABSENT or evidence.presence is Presence.UNKNOWN:
            outcome = DeliveryOutcome(unknown, verdict, maybe_sent=True)
        elif evidence.void:
            # A request sent after an earlier void may still be in the queue.
            outcome = DeliveryOutcome(State.VOIDED, verdict, was_void(old), evidence.omneo_id)
        elif old.before in ACCEPTED_BY_OMNEO - {State.VOIDED}:
            outcome = DeliveryOutcome(old.before, verdict, maybe_sent=True, omneo_id=evidence.omneo_id)
        elif evidence.presence is Presence.SAME:
            # A void that is still in the queue may change that.
            outcome = DeliveryOutcome(State.DELIVERED, verdict, may_be_void(old), evidence.omneo_id)
        else:
            outcome = DeliveryOutcome(unknown, verdict, maybe_sent=True)
        await self._tracker.settle([(item, outcome)])

    async def _find_evidence(self, item: OutgoingTransaction) -> Evidence:
        looks = _LOOKS if self._can_repeat(item) else 2 * _LOOKS
        return await find_evidence(item, looks, self._api, self._policy)

    # Batches

    async def _settle_batch(
        self, left: list[OutgoingTransaction], batch_id: str, were_sent: Mapping[int, bool]
    ) -> ReplyVerdict:
        """Settle the items that the batch proves; the others are in doubt, and stay in the list."""
        self._tracker.note_batch(left, batch_id)
        result = await self._poll(batch_id, left)
        verdicts = [(item, _of_batch(result, item)) for item in left]
        await self._accept(
            [
                (item, verdict, result.taken.get(item.external_id) or None)
                for item, verdict in verdicts
                if verdict.meaning is Meaning.TAKEN
            ]
        )
        unclear = TAKEN
        open_items = []
        for item, verdict in verdicts:
            if verdict.meaning is Meaning.TAKEN:
                # Called again for each: the breaker counts refusals in a row, in the order of the batch.
                self._breaker.accepted()
                continue
            self._count([item], verdict)
            if verdict.meaning is Meaning.REFUSED:
                item.maybe_sent = were_sent[item.position]
                if item.maybe_sent and self._breaker.is_open:
                    # An open breaker stops queries too, so the item stays in doubt.
                    continue
                await self._conclude(item, verdict)
            else:
                unclear = verdict
                open_items.append(item)
        left[:] = open_items
        self._check_breaker()
        # The batch's result is known; asking for it again would say nothing new of these.
        for item in left:
            item.batch = None
        return unclear

    async def _poll(self, batch_id: str, items: Sequence[OutgoingTransaction]) -> BatchResult:
        """Wait until a batch is over, or gets no further for as long as an outage may last."""
        wait_s, idle_s, processed = _FIRST_POLL_S, 0.0, None
        sent = [item.external_id for item in items]
        request = batch_query(batch_id, [item.transaction.body for item in items])
        while True:
            verdict, reply = await self._api.ask(request, batch_id)
            if verdict.meaning is not Meaning.TAKEN:
                # Omneo does not give the results, so nothing is known but that it took the batch.
                return BatchResult()
            result = results_of(reply, sent)
            idle_s = idle_s if result.processed == processed else 0.0
            processed = result.processed
            if result.over or idle_s > self._patience_s:
                return result
            await self._api.pausing.sleep(wait_s)
            idle_s += wait_s
            wait_s = min(wait_s * 2, _LONGEST_POLL_S)


def _of_batch(result: BatchResult, item: OutgoingTransaction) -> ReplyVerdict:
    """What became of an item, without the personal values that were sent with it."""
    verdict = result.verdict(item.external_id)
    if not (verdict.message or verdict.fields):
        return verdict
    return verdict.without(personal_values(parsed(item.transaction.body)))


def _looks_first(item: OutgoingTransaction) -> bool:
    return isinstance(item.decision, QueryOnly) or item.decision.look_first


def _probe(left: Sequence[OutgoingTransaction]) -> ApiRequest | None:
    """What is asked between two attempts; None where the next one begins with that question anyway."""
    if not left or left[0].maybe_sent:
        return None
    return transaction_query(left[0].external_id, left[0].transaction.body)


def _id_in(reply: Reply, external_id: str) -> str | None:
    """Omneo's own id in the answer to a write; None where it gives none."""
    if not isinstance(reply, Answered) or b'"id"' not in reply.body:
        return None
    found = transaction_in(reply.json, external_id)
    return kept_id(found.get("id")) if found else None
