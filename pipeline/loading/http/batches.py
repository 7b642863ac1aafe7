"""What `GET /batches/{uuid}` (inferred) proves about the transactions of a batch.

A transaction is delivered by proof only: it is named as done well, or the batch is over, its counts are those
that were sent and all its items are known. Everything else is queried one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.loading.http.answers import (
    MESSAGE_MAX,
    TAKEN,
    Meaning,
    ReplyVerdict,
    batch_id_in,
    count_of,
    denies,
    kept_id,
    messages_by_field,
)
from pipeline.loading.http.client import Answered, Reply

# Omneo does not document the states of a batch, so the usual words of such back-ends are accepted.
_WELL: Final = frozenset(
    {"success", "successful", "succeeded", "completed", "complete", "processed", "done", "created", "updated"}
)
_BADLY: Final = frozenset({"failed", "failure", "error", "errored", "invalid", "rejected", "refused"})
_OVER: Final = _WELL | _BADLY | {"finished", "partial", "cancelled", "canceled", "aborted", "expired"}


@dataclass(frozen=True)
class BatchResult:
    """How far a batch is.

    Attributes:
        over: Whether nothing more will happen to it.
        refused: Verdicts of the transactions that Omneo did not take, by external id.
        taken: Ids in Omneo of those that it names as taken, by external id; empty where it gives none.
        processed: How many transactions are worked off; None where it does not say.
        proves_the_rest: Whether what it does not name was surely taken too.
    """

    over: bool = False
    refused: Mapping[str, ReplyVerdict] = field(default_factory=dict)
    taken: Mapping[str, str] = field(default_factory=dict)
    processed: int | None = None
    proves_the_rest: bool = False

    def verdict(self, external_id: str) -> ReplyVerdict:
        """What became of one transaction; unclear where the batch does not prove it."""
        if external_id in self.refused:
            return self.refused[external_id]
        if external_id in self.taken or self.proves_the_rest:
            return TAKEN
        return ReplyVerdict(
            Meaning.UNCLEAR, 200, "the batch gave no result for this transaction", in_doubt=True
        )


def batch_id_of(reply: Reply) -> str | None:
    """The id in the answer to a batch; None where there is none."""
    said = reply.json if isinstance(reply, Answered) else None
    return batch_id_in(said) if isinstance(said, dict) else None


def results_of(reply: Reply, sent: Sequence[str]) -> BatchResult:
    """Read a batch's state and the results by transaction.

    Args:
        reply: The answer.
        sent: External ids of the transactions that went in it.
    """
    said = _inner(reply.json if isinstance(reply, Answered) else None)
    counts = {
        name: count_of(said.get(f"{name}_count")) for name in ("total", "processed", "success", "failed")
    }
    total, processed = counts["total"], counts["processed"]
    status = str(said.get("status") or "").lower()
    over = status in _OVER or (bool(total) and total == processed)
    listed = said.get("items")
    items = listed if isinstance(listed, list) else []
    known, well, badly = _by_id(items)
    number = len(sent)
    are_all_known = known and set(well) | set(badly) <= set(sent)
    # Counts that differ from what was sent may be those of another batch, so they prove nothing.
    proves_the_rest = (
        over
        and are_all_known
        and total == processed == number
        and counts["failed"] == len(badly)
        and counts["success"] == number - len(badly)
        and (status in _WELL or status in ("finished", "partial", "") or bool(badly))
    )
    return BatchResult(over, badly if over else {}, well, processed, proves_the_rest)


def _by_id(items: Sequence[Any]) -> tuple[bool, dict[str, str], dict[str, ReplyVerdict]]:
    """Whether every item is known to be good or bad, and those that are, by external id."""
    known = True
    well: dict[str, str] = {}
    badly: dict[str, ReplyVerdict] = {}
    seen: set[str] = set()
    for item in items:
        name = item.get("external_id") if isinstance(item, dict) else None
        if name is None or str(name) in seen:
            # An item without an id, or with that of another, proves nothing about either.
            known = False
            well.pop(str(name), None)
            badly.pop(str(name), None)
            continue
        seen.add(str(name))
        status = str(item.get("status") or "").lower()
        if item.get("error") or item.get("errors") or status in _BADLY or denies(item):
            badly[str(name)] = _refusal(item)
        elif status in _WELL or (not status and item.get("entity_id") is not None):
            well[str(name)] = kept_id(item.get("entity_id")) or ""
        else:
            known = False
    return known, well, badly


def _refusal(item: Mapping[str, Any]) -> ReplyVerdict:
    error = item.get("error")
    if isinstance(error, dict):
        message, fields = error.get("message") or "", error.get("errors")
    else:
        message, fields = error or item.get("status") or "refused", item.get("errors")
    return ReplyVerdict(Meaning.REFUSED, 422, str(message)[:MESSAGE_MAX], messages_by_field(fields))


def _inner(said: Any) -> Mapping[str, Any]:
    inner = said.get("data", said) if isinstance(said, dict) else None
    return inner if isinstance(inner, dict) else {}
