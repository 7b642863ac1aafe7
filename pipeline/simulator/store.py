"""The tenant's state in SQLite: transactions, locations, currencies, profiles, and what arrived.

Everything happens on one connection and in one thread, the server's. Writers group their work with
`writing`; readers see uncommitted rows, which is what an API in front of one database shows.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.errors import SettingsError
from pipeline.simulator.checks import utc_text
from pipeline.simulator.settings import SimulatorSettings

Json = dict[str, Any]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS transactions (
    id INTEGER PRIMARY KEY, external_id TEXT, transacted_at TEXT, location_id INTEGER, profile_id TEXT,
    is_void INTEGER NOT NULL, total REAL, last_item INTEGER NOT NULL, document TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS transactions_external ON transactions (external_id);
CREATE TABLE IF NOT EXISTS locations (
    id INTEGER PRIMARY KEY, external_id TEXT UNIQUE, name TEXT, timezone TEXT, created_at TEXT);
CREATE TABLE IF NOT EXISTS currencies (
    id INTEGER PRIMARY KEY, "from" TEXT UNIQUE, "to" TEXT, rate REAL, is_system INTEGER);
CREATE TABLE IF NOT EXISTS profiles (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, email TEXT COLLATE NOCASE, first_name TEXT, last_name TEXT);
CREATE INDEX IF NOT EXISTS profiles_email ON profiles (email);
CREATE TABLE IF NOT EXISTS identities (
    handle TEXT, identifier TEXT, profile_id TEXT, PRIMARY KEY (handle, identifier));
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, upsert INTEGER, body TEXT, batch_id TEXT, position INTEGER, error TEXT);
CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY, created_at TEXT);
CREATE TABLE IF NOT EXISTS batch_items (
    batch_id TEXT, position INTEGER, external_id TEXT, entity_id INTEGER, status TEXT, error TEXT,
    PRIMARY KEY (batch_id, position));
CREATE TABLE IF NOT EXISTS arrivals (
    number INTEGER PRIMARY KEY, endpoint TEXT, external_id TEXT, transacted_at TEXT, outcome TEXT,
    answered INTEGER);
"""

_TABLES: Final = (
    *("transactions", "locations", "currencies", "profiles", "identities"),
    *("jobs", "batches", "batch_items", "arrivals"),
)

# The keys of the documented transaction and event context, for those that the sender left out.
_TRANSACTION_DEFAULTS: Final[Json] = dict.fromkeys(
    (
        *("external_id", "redemption_id", "redemption", "profile_id", "staff_id", "currency", "currency_id"),
        *("currency_rate", "total_original", "rounding", "margin", "meta", "deliver_at", "claimed_at"),
        *("timezone", "tender", "payments", "receipt_is_email", "receipt_ref", "receipt_email", "order_id"),
        *("external_order_id", "order_number", "linked_receipt_ref", "location_id"),
    )
) | {"is_void": False, "tags": [], "systems": [], "items": []}
_ITEM_DEFAULTS: Final[Json] = dict.fromkeys(
    (
        *("external_id", "sku", "product_variant_id", "variant_external_id", "price_original"),
        *("price_margin", "price_tax", "discounts", "department", "meta"),
    )
) | {"is_void": False}
# What a sender may not set: made by Omneo, or resolved from what was sent.
_READ_ONLY: Final = (
    "id",
    "location",
    "profile",
    "redemption",
    "staff",
    "created_at",
    "updated_at",
    "claimed_at",
)
_INSTRUCTIONS: Final = ("items", "location_id", "profile_id", "profile_id_handle", "delete_existing_items")


class Arrival(NamedTuple):
    """A transaction that reached the API, in order of arrival.

    Attributes:
        endpoint: Such as `POST /transactions/queue`.
        external_id: As sent.
        transacted_at: As sent.
        outcome: `accepted`, `lost` (accepted, then vanished) or `refused`.
        answered: Whether the sender got the answer.
    """

    endpoint: str
    external_id: str | None
    transacted_at: str | None
    outcome: str
    answered: bool


class Written(NamedTuple):
    """What a write did: the transaction's id, and whether it was new."""

    id: int
    created: bool


class Page(NamedTuple):
    """A page of a list, and how many rows there are in all."""

    rows: list[Json]
    total: int


@dataclass(frozen=True)
class Query:
    """Which rows of a list, and which page of them.

    Attributes:
        where: Conditions that must all hold, each as SQL with one `?` and the value for it.
        size: Rows a page.
        number: 1-based page.
    """

    where: Sequence[tuple[str, str]] = ()
    size: int = 25
    number: int = 1


class Store:
    """The state of one simulated tenant.

    Args:
        settings: Where the database is, and what the tenant knows from the start.

    Raises:
        SettingsError: The database cannot be opened.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self._db = _open(settings.db)
        self.execute = self._db.execute
        self.executemany = self._db.executemany
        self._seed(settings)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Group writes: all of them are kept, or after an error none. No `await` may happen inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def clear(self, settings: SimulatorSettings) -> None:
        """Forget everything but what the tenant knows from the start."""
        with self.writing():
            for table in _TABLES:
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  (names are this module's)
        self._seed(settings)

    def _seed(self, settings: SimulatorSettings) -> None:
        with self.writing():
            main = settings.currencies[0] if settings.currencies else ""
            self._db.executemany(
                'INSERT OR IGNORE INTO currencies ("from", "to", rate, is_system) VALUES (?, ?, 1, ?)',
                [(code, main, code == main) for code in settings.currencies],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO locations (external_id, name, timezone, created_at) "
                "VALUES (?, ?, ?, ?)",
                [
                    (each.external_id, each.name or each.external_id, each.timezone, _now())
                    for each in settings.locations
                ],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO profiles (id, email, first_name, last_name) VALUES (?, ?, ?, ?)",
                [(each.id, each.email, each.first_name, each.last_name) for each in settings.profiles],
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO identities VALUES (?, ?, ?)",
                [
                    (handle, str(name), each.id)
                    for each in settings.profiles
                    for handle, name in each.identities.items()
                ],
            )

    # --- transactions

    def upsert(self, body: Json) -> Written:
        """Update the transaction with the body's `external_id`, else with its `id`; else create one."""
        found = self._find(body)
        return self.create(body) if found is None else self.update(found, body)

    def create(self, body: Json) -> Written:
        """Add a transaction, whether or not there is one with its `external_id`."""
        cursor = self._db.execute(
            "INSERT INTO transactions (is_void, last_item, document) VALUES (0, 0, '{}')",
        )
        return Written(self._write(cursor.lastrowid or 0, {"created_at": _now()}, 0, body), created=True)

    def update(self, number: int, body: Json) -> Written:
        """Change the given fields of a transaction; items are matched by their `external_id`, then `id`.

        Raises:
            KeyError: There is no such transaction.
        """
        row = self._db.execute(
            "SELECT document, last_item FROM transactions WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            raise KeyError(number)
        return Written(self._write(number, json.loads(row[0]), row[1], body), created=False)

    def _find(self, body: Json) -> int | None:
        if (external_id := body.get("external_id")) is not None:
            found = self.id_of_external(str(external_id))
            if found is not None:
                return found
        if isinstance(number := body.get("id"), int):
            row = self._db.execute("SELECT id FROM transactions WHERE id = ?", (number,)).fetchone()
            return row and int(row[0])
        return None

    def _write(self, number: int, document: Json, last_item: int, body: Json) -> int:
        now = _now()
        old_items = [] if body.get("delete_existing_items") else document.get("items", [])
        items, last_item = _merged_items(old_items, body.get("items") or [], last_item, now)
        document |= {
            name: value
            for name, value in body.items()
            if name not in _READ_ONLY and name not in _INSTRUCTIONS
        }
        document |= {"items": items, "updated_at": now}
        if document.get("external_id") is not None:
            document["external_id"] = str(document["external_id"])
        if document.get("transacted_at"):
            document["transacted_at"] = utc_text(document["transacted_at"])
        if body.get("location_id") is not None:
            document["location_id"] = self._location(str(body["location_id"]))
        if body.get("profile_id") is not None:
            document["profile_id"] = self.profile_of(body.get("profile_id_handle"), str(body["profile_id"]))
        self._db.execute(
            "UPDATE transactions SET external_id = ?, transacted_at = ?, location_id = ?, profile_id = ?, "
            "is_void = ?, total = ?, last_item = ?, document = ? WHERE id = ?",
            (
                *(
                    document.get(name)
                    for name in ("external_id", "transacted_at", "location_id", "profile_id")
                ),
                bool(document.get("is_void")),
                document.get("total"),
                last_item,
                json.dumps(document, separators=(",", ":")),
                number,
            ),
        )
        return number

    def id_of_external(self, external_id: str) -> int | None:
        """The id of the oldest transaction with that `external_id`."""
        row = self._db.execute(
            "SELECT id FROM transactions WHERE external_id = ? ORDER BY id LIMIT 1", (external_id,)
        ).fetchone()
        return row and int(row[0])

    def transaction(self, number: int) -> Json | None:
        """The documented context of a transaction, or None where there is none."""
        page = self.transactions(Query([("id = ?", str(number))]))
        return page.rows[0] if page.rows else None

    def transactions(self, query: Query) -> Page:
        """A page of transactions, oldest id first."""
        rows, total = self._select("transactions", "id, document", query, "id")
        return Page([self._context(number, json.loads(document)) for number, document in rows], total)

    def _context(self, number: int, document: Json) -> Json:
        context: Json = {"id": number} | _TRANSACTION_DEFAULTS | document
        context["items"] = [_ITEM_DEFAULTS | item | {"transaction_id": number} for item in context["items"]]
        location = context["location_id"]
        context["location"] = self.location(location) if location else None
        return context

    def add_item(self, number: int, item: Json) -> Json:
        """Add an item; the transaction's total stays. Returns the item as stored.

        Raises:
            KeyError: There is no such transaction.
        """
        self.update(number, {"items": [item]})
        context = self.transaction(number)
        assert context is not None
        return dict(context["items"][-1])

    # --- what was counted

    def counts(self) -> Json:
        """How many transactions, items, locations and arrivals there are, and how often ids arrived."""
        one = self._db.execute(
            "SELECT count(*), coalesce(sum(json_array_length(document, '$.items')), 0), "
            "(SELECT count(*) FROM locations), (SELECT count(*) FROM profiles) FROM transactions"
        ).fetchone()
        ids = self._db.execute(
            "SELECT count(*), coalesce(sum(n > 1), 0), coalesce(max(n), 0) FROM "
            "(SELECT count(*) AS n FROM arrivals WHERE external_id IS NOT NULL GROUP BY external_id)"
        ).fetchone()
        outcomes = self._db.execute("SELECT outcome, count(*) FROM arrivals GROUP BY outcome").fetchall()
        return (
            dict(zip(("transactions", "items", "locations", "profiles"), one, strict=True))
            | dict(zip(("ids_received", "ids_repeated", "most_of_one_id"), ids, strict=True))
            | {"arrivals": dict(outcomes)}
        )

    def add_arrivals(self, arrivals: Iterable[Arrival]) -> None:
        """Write down what arrived."""
        self._db.executemany(
            "INSERT INTO arrivals (endpoint, external_id, transacted_at, outcome, answered) "
            "VALUES (?, ?, ?, ?, ?)",
            arrivals,
        )

    def arrivals(self) -> list[Arrival]:
        """Every transaction that reached the API, in order."""
        rows = self._db.execute(
            "SELECT endpoint, external_id, transacted_at, outcome, answered FROM arrivals ORDER BY number"
        )
        return [Arrival(*row)._replace(answered=bool(row[4])) for row in rows]

    def batch(self, batch_id: str) -> Json | None:
        """A batch with its items, or None where there is none."""
        row = self._db.execute("SELECT created_at FROM batches WHERE id = ?", (batch_id,)).fetchone()
        if row is None:
            return None
        items = [
            dict(zip(("external_id", "entity_id", "status", "error"), item, strict=True))
            for item in self._db.execute(
                "SELECT external_id, entity_id, status, error FROM batch_items "
                "WHERE batch_id = ? ORDER BY position",
                (batch_id,),
            )
        ]
        failed, done = (sum(item["status"] == status for item in items) for status in ("failed", "success"))
        finished = "failed" if failed else "success"
        return {
            "id": batch_id,
            "entity_type": "transaction",
            "status": finished if failed + done == len(items) else "pending",
            "total_count": len(items),
            "success_count": done,
            "failed_count": failed,
            "processed_count": failed + done,
            "items": items,
            "created_at": row[0],
        }

    # --- what the tenant knows

    def _location(self, reference: str) -> int:
        if reference.isascii() and reference.isdigit():
            row = self._db.execute("SELECT id FROM locations WHERE id = ?", (int(reference),)).fetchone()
            if row:
                return int(row[0])
        row = self._db.execute("SELECT id FROM locations WHERE external_id = ?", (reference,)).fetchone()
        if row:
            return int(row[0])
        cursor = self._db.execute(
            "INSERT INTO locations (external_id, name, created_at) VALUES (?, ?, ?)",
            (reference, reference, _now()),
        )
        return cursor.lastrowid or 0

    def location(self, number: int) -> Json:
        """A location by its id."""
        return self.locations(Query([("id = ?", str(number))])).rows[0]

    def locations(self, query: Query) -> Page:
        """A page of locations."""
        rows, total = self._select("locations", "id, external_id, name, timezone, created_at", query, "id")
        return Page([dict(zip(_LOCATION_KEYS, row, strict=True)) for row in rows], total)

    def currencies(self, query: Query) -> Page:
        """A page of the configured currencies, each as a conversion `from` one `to` the system's own."""
        rows, total = self._select("currencies", 'id, "from", "to", rate, is_system', query, "id")
        return Page(
            [
                {"id": n, "from": f, "to": t, "rate": rate, "is_system": bool(own)}
                for n, f, t, rate, own in rows
            ],
            total,
        )

    def profiles(self, query: Query, search: str | None = None) -> Page:
        """A page of profiles, each with its identities; `search` is looked for in email and names."""
        if search:
            text = "coalesce(email, '') || ' ' || first_name || ' ' || last_name"
            query = replace(query, where=[*query.where, (f"instr(lower({text}), lower(?)) > 0", search)])
        rows, total = self._select("profiles", "id, email, first_name, last_name", query, "number")
        return Page([self._profile(row) for row in rows], total)

    def _profile(self, row: tuple[Any, ...]) -> Json:
        found = self._db.execute(
            "SELECT handle, identifier FROM identities WHERE profile_id = ? ORDER BY handle", (row[0],)
        )
        identities = [{"handle": handle, "identifier": identifier} for handle, identifier in found]
        return dict(zip(("id", "email", "first_name", "last_name"), row, strict=True)) | {
            "identities": identities
        }

    def profile_of(self, handle: str | None, value: str) -> str | None:
        """The profile's UUID that a `profile_id` and its `profile_id_handle` mean; None for a guest."""
        if not handle:
            sql, values = "SELECT id FROM profiles WHERE id = ?", [value]
        elif handle == "email":
            sql, values = "SELECT id FROM profiles WHERE email = ? ORDER BY number LIMIT 1", [value]
        else:
            sql = "SELECT profile_id FROM identities WHERE handle = ? AND identifier = ?"
            values = [handle, value]
        row = self._db.execute(sql, values).fetchone()
        return row and str(row[0])

    def _select(
        self, table: str, columns: str, query: Query, order: str
    ) -> tuple[list[tuple[Any, ...]], int]:
        """Table, columns and conditions come from this package's code; only values come from a request."""
        terms = " AND ".join(sql for sql, _ in query.where) or "1"
        values = [value for _, value in query.where]
        total = self._db.execute(f"SELECT count(*) FROM {table} WHERE {terms}", values).fetchone()[0]  # noqa: S608
        rows = self._db.execute(
            f"SELECT {columns} FROM {table} WHERE {terms} ORDER BY {order} LIMIT ? OFFSET ?",  # noqa: S608
            [*values, query.size, (query.number - 1) * query.size],
        ).fetchall()
        return rows, total


_LOCATION_KEYS: Final = ("id", "external_id", "name", "timezone", "created_at")


def _open(path: Path | None) -> sqlite3.Connection:
    try:
        if path is not None:
            # It holds what was imported, personal data included: for its owner only.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        # Made in one thread, used only in the server's.
        db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        with closing(db.cursor()) as cursor:
            cursor.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"The simulator's database {path} cannot be used: {error}.") from None
    return db


def _merged_items(
    old: list[Json], new: Iterable[Mapping[str, Any]], last: int, now: str
) -> tuple[list[Json], int]:
    """Old items with the new ones merged in; one without `external_id` or `id` is always an addition."""
    items = [dict(item) for item in old]
    by_external = {item["external_id"]: item for item in items if item.get("external_id") is not None}
    by_id = {item["id"]: item for item in items}
    for each in new:
        given = dict(each)
        if given.get("external_id") is not None:
            given["external_id"] = str(given["external_id"])
        number = given.pop("id", None)
        known = by_external.get(given.get("external_id")) or by_id.get(number)
        if known is None:
            last += 1
            known = {"id": last, "created_at": now}
            items.append(known)
            if given.get("external_id") is not None:
                by_external[given["external_id"]] = known
        known |= given | {"updated_at": now}
    return items, last


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
