"""The answers of `/transactions/batch.json` and `GET /batches/{uuid}` (the latter is inferred)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.loading.client import Answered, Reply, parsed
from pipeline.loading.retry import TAKEN, WORDS_MAX, Meaning, Verdict, words_by_field

_OVER: Final = frozenset({"completed", "complete", "finished", "success", "failed", "cancelled"})
_WELL: Final = frozenset(
    {"success", "succeeded", "completed", "complete", "processed", "done", "created", "updated"}
)


@dataclass(frozen=True)
class BatchResult:
    """How far a batch is.

    Attributes:
        over: Whether nothing more will happen to it.
        refused: Verdicts of the transactions that Omneo did not take, by external id.
        taken: External ids that it names as taken.
        processed: How many transactions are worked off; None where it does not say.
        all_else_taken: Whether what it does not name was taken too.
    """

    over: bool
    refused: Mapping[str, Verdict] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    processed: int | None = None
    all_else_taken: bool = False

    def verdict(self, external_id: str) -> Verdict:
        """What became of one transaction, as far as the batch tells."""
        if external_id in self.refused:
            return self.refused[external_id]
        if external_id in self.taken or self.all_else_taken:
            return TAKEN
        return Verdict(Meaning.TRANSIENT, 200, "the batch gave no result for this transaction")


def batch_id_of(reply: Reply) -> str | None:
    """The id in the answer to a batch; None where there is none."""
    said = _object(reply)
    found = said.get("batch_id") or _inner(said).get("batch_id")
    return str(found) if isinstance(found, str | int) and str(found).isprintable() and found else None


def results_of(reply: Reply) -> BatchResult:
    """Read a batch's state and the results by transaction."""
    said = _inner(_object(reply))
    told = said.get("items")
    items = [item for item in told if isinstance(item, dict)] if isinstance(told, list) else []
    total, done = said.get("total_count"), said.get("processed_count")
    over = str(said.get("status", "")).lower() in _OVER or (total is not None and total == done)
    judged = {str(item.get("external_id")): item for item in items}
    taken = frozenset(name for name, item in judged.items() if _well(item))
    refused = {name: _refusal(item) for name, item in judged.items() if name not in taken}
    all_told = over and said.get("failed_count") == len(refused)
    return BatchResult(over, refused if over else {}, taken, done, all_told)


def _well(item: Mapping[str, Any]) -> bool:
    return not item.get("error") and str(item.get("status", "success")).lower() in _WELL


def _refusal(item: Mapping[str, Any]) -> Verdict:
    error = item.get("error")
    if isinstance(error, dict):
        fields = words_by_field(error.get("errors"))
        return Verdict(Meaning.REFUSED, 422, str(error.get("message") or "")[:WORDS_MAX], fields)
    return Verdict(Meaning.REFUSED, 422, str(error or item.get("status") or "refused")[:WORDS_MAX])


def _object(reply: Reply) -> Mapping[str, Any]:
    said = parsed(reply.body) if isinstance(reply, Answered) else None
    return said if isinstance(said, dict) else {}


def _inner(said: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = said.get("data", said)
    return inner if isinstance(inner, dict) else {}
