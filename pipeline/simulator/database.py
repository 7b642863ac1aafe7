"""The SQLite database of a simulated tenant.

Everything happens on one connection and in one thread, the server's. Writers group their work with
`writing`; readers see uncommitted rows, which is what an API in front of one database shows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.core.errors import SettingsError
from pipeline.core.storage.files import make_private

Json = dict[str, Any]

_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS transactions (
    id INTEGER PRIMARY KEY, external_id TEXT, transacted_at TEXT, location_id INTEGER, profile_id TEXT,
    is_void INTEGER NOT NULL, total REAL, last_item INTEGER NOT NULL, document TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS transactions_external ON transactions (external_id);
CREATE INDEX IF NOT EXISTS transactions_profile ON transactions (profile_id);
CREATE TABLE IF NOT EXISTS locations (
    id INTEGER PRIMARY KEY, external_id TEXT UNIQUE, name TEXT, timezone TEXT, created_at TEXT);
CREATE TABLE IF NOT EXISTS currencies (
    id INTEGER PRIMARY KEY, "from" TEXT UNIQUE, "to" TEXT, rate REAL, is_system INTEGER);
CREATE TABLE IF NOT EXISTS profiles (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, email TEXT COLLATE NOCASE, first_name TEXT, last_name TEXT);
CREATE INDEX IF NOT EXISTS profiles_email ON profiles (email);
CREATE TABLE IF NOT EXISTS identities (
    handle TEXT, identifier TEXT, profile_id TEXT, PRIMARY KEY (handle, identifier));
CREATE INDEX IF NOT EXISTS identities_profile ON identities (profile_id);
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


class ResultPage(NamedTuple):
    """A page of a list, and how many rows there are in all."""

    rows: list[Json]
    total: int


@dataclass(frozen=True)
class Query:
    """Which rows of a list, and which page of them.

    Attributes:
        where: Conditions that must all hold, each as SQL with one `?` and the value for it.
        size: Rows a page; -1 for all.
        number: 1-based page.
    """

    where: Sequence[tuple[str, str]] = ()
    size: int = 25
    number: int = 1


class Database:
    """One connection to the database, which is created where it does not exist.

    Args:
        path: The file; None for a database in memory.

    Raises:
        SettingsError: The database cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        try:
            if path is not None:
                # It holds what was imported, personal data included: for its owner only.
                make_private(path)
            # Made in one thread, used only in the server's.
            self._connection = sqlite3.connect(
                path or ":memory:", isolation_level=None, check_same_thread=False
            )
            with closing(self._connection.cursor()) as cursor:
                cursor.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(f"The simulator's database {path} cannot be used: {error}.") from None
        self.execute = self._connection.execute
        self.executemany = self._connection.executemany

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Group writes: all of them are kept, or after an error none. No `await` may happen inside."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def clear(self) -> None:
        """Delete every row."""
        with self.writing():
            for table in _TABLES:
                self.execute(f"DELETE FROM {table}")  # noqa: S608  (names are this module's)

    def select(self, table: str, columns: str, query: Query, order: str) -> tuple[list[tuple[Any, ...]], int]:
        """The rows of one page, and how many there are in all.

        Table, columns, conditions and order come from this package's code; only values come from a request.
        """
        terms = " AND ".join(sql for sql, _ in query.where) or "1"
        values = [value for _, value in query.where]
        total = self.execute(f"SELECT count(*) FROM {table} WHERE {terms}", values).fetchone()[0]  # noqa: S608
        rows = self.execute(
            f"SELECT {columns} FROM {table} WHERE {terms} ORDER BY {order} LIMIT ? OFFSET ?",  # noqa: S608
            [*values, query.size, (query.number - 1) * query.size],
        ).fetchall()
        return rows, total


def now() -> str:
    """The time as Omneo writes it: UTC, `YYYY-MM-DD HH:MM:SS`."""
    return datetime.now(UTC).isoformat(" ", "seconds").removesuffix("+00:00")
