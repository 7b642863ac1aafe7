"""Batches of transactions and how far each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from pipeline.simulator.database import Database, Json, now

_ITEM_KEYS: Final = ("external_id", "entity_id", "status", "error")


class Batches:
    """Keeps batches in the form of the SDK's `Batch`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, external_ids: Sequence[str | None]) -> str:
        """Open a batch of transactions that are all pending; returns its id."""
        batch_id = str(uuid4())
        with self._db.writing():
            self._db.execute("INSERT INTO batches VALUES (?, ?)", (batch_id, now()))
            self._db.executemany(
                "INSERT INTO batch_items VALUES (?, ?, ?, NULL, 'pending', NULL)",
                [(batch_id, position, external_id) for position, external_id in enumerate(external_ids)],
            )
        return batch_id

    def finish(self, batch_id: str, position: int, entity_id: int | None, error: str | None) -> None:
        """Note that a transaction became `entity_id`, or failed; to be called while writing."""
        self._db.execute(
            "UPDATE batch_items SET entity_id = ?, status = ?, error = ? WHERE batch_id = ? AND position = ?",
            (entity_id, "success" if error is None else "failed", error, batch_id, position),
        )

    def one(self, batch_id: str) -> Json | None:
        """A batch with its transactions in their order, or None where there is none.

        It is `pending` until every one of them is processed, then `failed` if any of them did.
        """
        row = self._db.execute("SELECT created_at FROM batches WHERE id = ?", (batch_id,)).fetchone()
        if row is None:
            return None
        rows = self._db.execute(
            "SELECT external_id, entity_id, status, error FROM batch_items "
            "WHERE batch_id = ? ORDER BY position",
            (batch_id,),
        )
        items = [dict(zip(_ITEM_KEYS, item, strict=True)) for item in rows]
        failed, succeeded = (
            sum(item["status"] == status for item in items) for status in ("failed", "success")
        )
        finished = "failed" if failed else "success"
        return {
            "id": batch_id,
            "entity_type": "transaction",
            "status": finished if failed + succeeded == len(items) else "pending",
            "total_count": len(items),
            "success_count": succeeded,
            "failed_count": failed,
            "processed_count": failed + succeeded,
            "items": items,
            "created_at": row[0],
        }
