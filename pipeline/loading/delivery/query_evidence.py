"""What a query shows of a transaction that Omneo may have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.loading.confirm.same_sale import has_same_contents, is_same_sale, is_void
from pipeline.loading.delivery.decisions import Send
from pipeline.loading.delivery.tracker import OutgoingTransaction
from pipeline.loading.http.answers import Meaning, ReplyVerdict, kept_id, transaction_of
from pipeline.loading.http.endpoints import transaction_query
from pipeline.loading.http.paced_client import PacedClient
from pipeline.loading.http.retry_policy import RetryPolicy


class Presence(StrEnum):
    """What a query shows."""

    SAME = "same"  # the sale as it was sent
    OTHER = "other"  # the sale with other contents
    ABSENT = "absent"
    UNKNOWN = "unknown"  # the answer is none of the API's


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a query shows of a transaction.

    Attributes:
        presence: Whether Omneo has it.
        verdict: The answer.
        void: Whether Omneo has it as void.
        omneo_id: Omneo's own id.
    """

    presence: Presence
    verdict: ReplyVerdict
    void: bool = False
    omneo_id: str | None = None


async def find_evidence(
    item: OutgoingTransaction, looks: int, api: PacedClient, policy: RetryPolicy
) -> Evidence:
    """Query a transaction, again with growing waits while it is absent, since the queue may be late.

    Args:
        item: The transaction.
        looks: Queries at most.
        api: Asks at the common pace.
        policy: How long to wait between two of them.
    """
    evidence = await _query(item, api)
    for look in range(1, looks):
        if evidence.presence in (Presence.SAME, Presence.OTHER):
            break
        await api.pausing.sleep(policy.wait_s(look))
        evidence = await _query(item, api)
    return evidence


async def _query(item: OutgoingTransaction, api: PacedClient) -> Evidence:
    name = item.external_id
    verdict, reply = await api.ask(transaction_query(name, item.transaction.body), name)
    if verdict.meaning is Meaning.REFUSED and verdict.status == 404:
        return Evidence(Presence.ABSENT, verdict)
    found = transaction_of(reply, name) if verdict.meaning is Meaning.TAKEN else None
    if found is None:
        return Evidence(Presence.UNKNOWN, verdict)
    decision, body = item.decision, item.transaction.body
    # Where Omneo may have other contents, only an exact match shows that these arrived.
    exactly = isinstance(decision, Send) and decision.may_have_other
    # Without its body the contents cannot be compared; the query only shows that it exists.
    same = not body or (has_same_contents if exactly else is_same_sale)(body, found)
    omneo_id = kept_id(found.get("id"))
    return Evidence(Presence.SAME if same else Presence.OTHER, verdict, is_void(found), omneo_id)
