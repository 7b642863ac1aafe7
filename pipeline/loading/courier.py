"""Takes one transaction, or one batch of them, to Omneo and home with an outcome."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import StoppedByApi
from pipeline.events import Emit
from pipeline.loading.batches import BatchResult, batch_id_of, results_of
from pipeline.loading.books import Books, Item
from pipeline.loading.client import Reply, Unsent, parsed
from pipeline.loading.compare import differences, transaction_of
from pipeline.loading.endpoints import batch_lookup, external_lookup
from pipeline.loading.events import InDoubt
from pipeline.loading.exchange import Exchange
from pipeline.loading.options import DeliveryOptions
from pipeline.loading.plans import InDoubtRule
from pipeline.loading.retry import ABSENT, TAKEN, Meaning, Verdict
from pipeline.privacy import personal_values

_FIRST_POLL_S = 0.2
_LONGEST_POLL_S = 10.0


class Courier:
    """Delivers items: looks up what is in doubt, sends, repeats, halves what was refused as a whole.

    Args:
        exchange: Requests at the common pace.
        books: Where outcomes go.
        options: Endpoint, and the rule for doubts.
        emit: Is told of doubts.
    """

    def __init__(self, exchange: Exchange, books: Books, options: DeliveryOptions, emit: Emit) -> None:
        self._exchange = exchange
        self._books = books
        self._endpoint = options.endpoint
        self._rule = options.in_doubt
        self._patience_s = options.give_up_after_s
        self._emit = emit

    async def deliver(self, items: Sequence[Item]) -> None:
        """See every item settled.

        Raises:
            StoppedByApi: Nothing can be sent any more; what is not settled stays as it is.
            SettingsError: The ledger cannot be written.
        """
        if len(items) == 1 and items[0].exposed and await self._is_there(items[0]):
            return
        one = items[0]
        verdict = await self._exchange.persist(
            lambda: self._attempt(items),
            one.transaction.external_id,
            probe=lambda: external_lookup(one.transaction.external_id),
        )
        if verdict.meaning is Meaning.FATAL or (verdict.again and self._exchange.gave_up(verdict)):
            raise self._exchange.error(verdict)
        if verdict.meaning is Meaning.TAKEN:
            return
        if len(items) > 1:
            middle = len(items) // 2
            await self.deliver(items[:middle])
            await self.deliver(items[middle:])
        elif verdict.again:
            await self._books.settle([(one, verdict)])

    async def _attempt(self, items: Sequence[Item]) -> Verdict:
        first = items[0]
        if first.attempts and first.exposed and not self._endpoint.upserts and await self._is_there(first):
            return TAKEN
        noted: list[str] = []

        async def conclude(verdict: Verdict, reply: Reply) -> None:
            self._expose(items, was_exposed, verdict, reply)
            if verdict.meaning is Meaning.TAKEN and self._endpoint.batched:
                if batch_id := batch_id_of(reply):
                    noted.append(batch_id)
                    self._books.note_batch(items, batch_id)
            elif verdict.meaning is Meaning.TAKEN or (verdict.meaning is Meaning.REFUSED and len(items) == 1):
                await self._books.settle([(item, verdict) for item in items])

        was_exposed = [item.exposed for item in items]
        call = self._endpoint.call([item.step.body for item in items])
        try:
            verdict = await self._exchange.once(call, conclude, before=lambda: self._leave(items))
        finally:
            for item in items:
                item.in_flight = False
        if verdict.meaning is Meaning.TAKEN and self._endpoint.batched:
            await self._settle_batch(items, noted)
        return verdict

    @staticmethod
    def _leave(items: Sequence[Item]) -> None:
        for item in items:
            item.attempts += 1
            item.exposed = item.in_flight = True

    @staticmethod
    def _expose(items: Sequence[Item], before: Sequence[bool], verdict: Verdict, reply: Reply) -> None:
        """After an answer that says it was not taken, an item is as exposed as it was before."""
        if isinstance(reply, Unsent) or (verdict.meaning is not Meaning.TAKEN and not verdict.in_doubt):
            for item, exposed in zip(items, before, strict=True):
                item.exposed = exposed

    async def _is_there(self, item: Item) -> bool:
        """Settle an item in doubt that Omneo turns out to have as it was sent."""
        proves_nothing = item.step.earlier and not item.batch
        if self._endpoint.upserts and (proves_nothing or self._rule is InDoubtRule.RESEND):
            return False
        if item.batch:
            result = await self._poll(item.batch)
            verdict = _of_batch(result, item) if result else TAKEN
            if not verdict.again:
                return await self._found(item, verdict)
        name = item.transaction.external_id
        verdict, reply = await self._exchange.ask(external_lookup(name), name)
        found = transaction_of(reply, name)
        if found is None and verdict is not ABSENT and not self._endpoint.upserts:
            raise StoppedByApi(
                f"Omneo answered {verdict.status} when asked for {name}, so whether it was taken is unknown.",
                hint="--endpoint queue can send it again without making a copy.",
            )
        # Where sending again would add a copy, that it is there at all is enough. A profile that Omneo did
        # not find the first time it will not find the second time.
        differing = set(differences(item.step.body, found)) - {"profile_id"} if found else set()
        if found and not (self._endpoint.upserts and (differing or item.step.earlier)):
            return await self._found(item, TAKEN)
        self._emit(InDoubt(name, "sent"))
        return False

    async def _found(self, item: Item, verdict: Verdict) -> bool:
        self._emit(InDoubt(item.transaction.external_id, "delivered"))
        await self._books.settle([(item, verdict)])
        return True

    async def _settle_batch(self, items: Sequence[Item], batch_ids: Sequence[str]) -> None:
        result = await self._poll(batch_ids[0]) if batch_ids else None
        await self._books.settle([(item, _of_batch(result, item) if result else TAKEN) for item in items])

    async def _poll(self, batch_id: str) -> BatchResult | None:
        """Wait until a batch is over, or gets no further for as long as an outage may last.

        None where its results cannot be had at all, so that only its acceptance is known.
        """
        wait_s, idle_s, processed = _FIRST_POLL_S, 0.0, None
        while True:
            verdict, reply = await self._exchange.ask(batch_lookup(batch_id), batch_id)
            if verdict.meaning is Meaning.REFUSED:
                return None
            result = results_of(reply)
            idle_s = idle_s if result.processed == processed else 0.0
            processed = result.processed
            if result.over or idle_s > self._patience_s:
                return result
            await self._exchange.pausing.sleep(wait_s)
            idle_s += wait_s
            wait_s = min(wait_s * 2, _LONGEST_POLL_S)


def _of_batch(result: BatchResult, item: Item) -> Verdict:
    """What became of an item, without what was sent of a person with it."""
    verdict = result.verdict(item.transaction.external_id)
    if not (verdict.message or verdict.fields):
        return verdict
    return verdict.without(personal_values(parsed(item.step.body)))
