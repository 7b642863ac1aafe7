"""Every transaction that reached the API, in order, so that tests can prove that none was lost or doubled."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pipeline.simulator.database import Database


class Arrival(NamedTuple):
    """A transaction that reached an endpoint which writes it.

    Attributes:
        endpoint: Such as `/transactions/queue`.
        external_id: As sent.
        transacted_at: As sent.
        outcome: `accepted`, `lost` (accepted, then vanished) or `refused`.
        answered: Whether the sender was to get the answer.
    """

    endpoint: str
    external_id: str | None
    transacted_at: str | None
    outcome: str
    answered: bool


_COLUMNS: Final = ", ".join(Arrival._fields)


class ArrivalLog:
    """Logs arrivals in memory at once, and writes them to the database in groups."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._noted: list[Arrival] = []

    def note(self, arrival: Arrival) -> None:
        """Log an arrival."""
        self._noted.append(arrival)

    @property
    def has_news(self) -> bool:
        """Whether anything is logged that is not written yet."""
        return bool(self._noted)

    def write(self) -> None:
        """Write what was logged; to be called within `Database.writing`."""
        self._db.executemany(f"INSERT INTO arrivals ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", self._noted)  # noqa: S608
        self._noted.clear()

    def clear(self) -> None:
        """Drop what was logged and not written."""
        self._noted.clear()

    def all(self) -> list[Arrival]:
        """Every arrival, in order."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM arrivals ORDER BY number").fetchall()  # noqa: S608
        written = [Arrival(*row)._replace(answered=bool(row[4])) for row in rows]
        return [*written, *self._noted]

    def counts(self) -> dict[str, Any]:
        """How many transactions, items, locations and profiles exist, and how often ids arrived."""
        with self._db.writing():
            self.write()
        there = self._db.execute(
            "SELECT count(*), coalesce(sum(json_array_length(document, '$.items')), 0), "
            "(SELECT count(*) FROM locations), (SELECT count(*) FROM profiles) FROM transactions"
        ).fetchone()
        ids = self._db.execute(
            "SELECT count(*), coalesce(sum(n > 1), 0), coalesce(max(n), 0) FROM "
            "(SELECT count(*) AS n FROM arrivals WHERE external_id IS NOT NULL GROUP BY external_id)"
        ).fetchone()
        outcomes = self._db.execute("SELECT outcome, count(*) FROM arrivals GROUP BY outcome").fetchall()
        return (
            dict(zip(("transactions", "items", "locations", "profiles"), there, strict=True))
            | dict(zip(("ids_received", "ids_repeated", "most_of_one_id"), ids, strict=True))
            | {"arrivals": dict.fromkeys(("accepted", "lost", "refused"), 0) | dict(outcomes)}
        )
