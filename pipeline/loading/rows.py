"""How a database keeps the rows of transactions.

PostgreSQL writes each to its place. In SQLite that is dear: the place of a row in an index by id is
anywhere, so each is a page read, changed, logged and synced for it alone, and a delivery writes a row two
or three times. So there rows first lie one after another as they come, and change by their numbers; many at
a time, in the order of their ids, they then move to their places.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.loading.entries import Row, Stamp, State
from pipeline.loading.tables import RECENT, TRANSACTIONS, upsert

_MANY: Final = 100_000  # rows: then several share each page of an index for a million
_MOST_AT_ONCE: Final = 512
_WIDTHS: Final = 64  # statements are for multiples of so many rows: then few have to be prepared anew
_REPLACED_AT_ONCE: Final = 4096
_NOWHERE: Final = (0, b"")
_BY_ID: Final = itemgetter(0)

_COLUMNS: Final = [each.name for each in TRANSACTIONS.columns]
_SHARED: Final = _COLUMNS[2:]  # all but id and hash
_RECENT_ROWS: Final = sa.select(*(RECENT.c[name] for name in _COLUMNS))


class Rows(Protocol):
    """The rows of a ledger; every method wants a transaction around it."""

    @property
    def all(self) -> sa.FromClause:
        """One row a transaction, with the columns of `TRANSACTIONS`."""

    @property
    def are_many(self) -> bool:
        """Whether it is time to move them."""

    def find(self, db: sa.Connection, external_ids: Sequence[str]) -> Iterable[Any]:
        """The rows with these ids, 1,000 at most, by any connection."""

    def put(self, rows: Sequence[Row]) -> None:
        """Write rows, whole, one an id."""

    def stamp(self, stamp: Stamp) -> None:
        """Give rows that are there the id of their batch."""

    def move(self, *, sending_too: bool) -> None:
        """See to it that rows are in their places, all or those that are not being sent."""

    def keep(self) -> None:
        """Take for known what was written: its transaction is through."""

    def lose(self) -> None:
        """Take nothing for known: a transaction failed, or others may have written."""


class InPlace:
    """Rows that are always in their places.

    Args:
        db: The connection, to PostgreSQL.
    """

    all: sa.FromClause = TRANSACTIONS
    are_many = False

    def __init__(self, db: sa.Connection) -> None:
        self._db = db
        # Compiled once and handed to the driver: SQLAlchemy's care for each row doubles its cost.
        self._put = str(upsert(postgresql.insert(TRANSACTIONS), "external_id").compile(dialect=db.dialect))

    def find(self, db: sa.Connection, external_ids: Sequence[str]) -> Iterable[Any]:
        """See `Rows`."""
        return db.execute(sa.select(TRANSACTIONS).where(TRANSACTIONS.c.external_id.in_(external_ids)))

    def put(self, rows: Sequence[Row]) -> None:
        """See `Rows`."""
        # In one order everywhere: two that write the same rows cannot wait for each other.
        self._db.exec_driver_sql(self._put, [row._asdict() for row in sorted(rows, key=_BY_ID)])

    def stamp(self, stamp: Stamp) -> None:
        """See `Rows`."""
        self._db.execute(_stamp(stamp))

    def move(self, *, sending_too: bool) -> None:
        """See `Rows`."""

    def keep(self) -> None:
        """See `Rows`."""

    def lose(self) -> None:
        """See `Rows`."""


class Recent:
    """Rows that lie as they came until they move to their places.

    Of several with one id the last counts, and it counts more than the one in its place. One process at a
    time puts rows; any other may move those that are not being sent.

    Args:
        db: The connection, to SQLite.
    """

    def __init__(self, db: sa.Connection) -> None:
        self._db = db
        self.all = _latest()
        self._everywhere = f"{_compiled(sa.select(self.all))} WHERE external_id IN "
        self._in_place = f"{_compiled(sa.select(TRANSACTIONS))} WHERE external_id IN "
        self._places: dict[str, tuple[int, bytes]] = {}  # number and hash of those that are being sent
        # Hashes of the ids of all that lie here, or more, and as they will be once the transaction is
        # through: `find` runs beside it. None where that is not known.
        self._hashes: set[int] | None = None
        self._later: set[int] | None = None

    @property
    def are_many(self) -> bool:
        """See `Rows`."""
        return self._hashes is not None and len(self._hashes) >= _MANY

    def find(self, db: sa.Connection, external_ids: Sequence[str]) -> Iterable[Any]:
        """See `Rows`."""
        found = self._in_place if self._lacks(external_ids) else self._everywhere
        marks = ", ".join("?" * len(external_ids))
        return db.exec_driver_sql(f"{found} ({marks})", tuple(external_ids))

    def put(self, rows: Sequence[Row]) -> None:
        """See `Rows`."""
        if self._hashes is None and self._later is None:
            self.move(sending_too=True)
            self._later = set()
        alike: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in rows:
            alike[row[2:]].append(row)
        for values, some in alike.items():
            # The state as plain text: the driver would look for an adapter of the enumeration.
            self._write((str(values[0]), *values[1:]), some)

    def stamp(self, stamp: Stamp) -> None:
        """See `Rows`."""
        places = [self._places.get(name, _NOWHERE) for name in dict.fromkeys(stamp.external_ids)]
        numbers = [no for no, _ in places if no]
        if self._numbered(_STAMP_RECENT, (stamp.batch,), numbers) < len(places):
            self.move(sending_too=True)
            self._db.execute(_stamp(stamp))

    def move(self, *, sending_too: bool) -> None:
        """See `Rows`."""
        which = sa.true() if sending_too else RECENT.c.state != State.SENDING
        if sending_too:
            self._places.clear()
        if self._hashes is not None:
            self._later = set(map(hash, self._places))
        count = self._db.execute(sa.select(sa.func.count()).select_from(RECENT).where(which)).scalar_one()
        if not count:
            return  # without a lock for writing
        # Nearly always none of them is there yet. Then one statement does, of which SQLite keeps no copy of
        # each page that it changes, as it does of one that could fail in the middle.
        if self._db.execute(_move(which).prefix_with("OR IGNORE")).rowcount < count:
            self._replace(which)
        self._db.execute(RECENT.delete().where(which))

    def _replace(self, which: sa.ColumnElement[bool]) -> None:
        """Move rows in place of those that are there, some at a time since SQLite does keep copies then."""
        in_order = sa.select(RECENT.c.no).where(which).order_by(RECENT.c.external_id, RECENT.c.no)
        numbers = self._db.execute(in_order).scalars().all()
        for start in range(0, len(numbers), _REPLACED_AT_ONCE):
            some = list(numbers[start : start + _REPLACED_AT_ONCE])
            self._db.execute(_REPLACE, {"numbers": json.dumps(some)})

    def keep(self) -> None:
        """See `Rows`."""
        if self._later is not None:
            self._hashes, self._later = self._later, None

    def lose(self) -> None:
        """See `Rows`."""
        self._hashes = self._later = None
        self._places = {}

    def _lacks(self, external_ids: Iterable[str]) -> bool:
        """Whether it is known that none of these is here."""
        hashes = self._hashes
        return hashes is not None and hashes.isdisjoint(map(hash, external_ids))

    def _write(self, values: tuple[Any, ...], rows: Sequence[Row]) -> None:
        """Write rows that differ in nothing but id and hash."""
        ids = [row.external_id for row in rows]
        places = [self._places.pop(name, _NOWHERE) for name in ids]
        numbers = [no for no, _ in places if no]
        are_here = all(place[1] == row.hash for place, row in zip(places, rows, strict=True))
        if are_here and self._numbered(_CHANGE, values, numbers) == len(rows):
            if values[0] == State.SENDING:
                self._places.update(zip(ids, places, strict=True))
            return
        # They were not here, or with another hash, or another process has moved them.
        self._numbered(_REMOVE, (), numbers)
        for start in range(0, len(rows), _MOST_AT_ONCE):
            self._append(values, rows[start : start + _MOST_AT_ONCE])
        for hashes in (self._hashes, self._later):
            if hashes is not None:
                hashes.update(map(hash, ids))

    def _append(self, values: tuple[Any, ...], rows: Sequence[Row]) -> None:
        padding = -len(rows) % _WIDTHS
        marks = ", ".join(["(?, ?)"] * (len(rows) + padding))
        statement = f"{_APPEND} FROM (VALUES {marks}) WHERE column1 IS NOT NULL"
        keys = chain(chain.from_iterable(row[:2] for row in rows), repeat(None, 2 * padding))
        last = self._db.exec_driver_sql(statement, (*values, *keys)).lastrowid
        if values[0] == State.SENDING:
            numbers = range(last - len(rows) + 1, last + 1)
            self._places.update(
                (row.external_id, (no, row.hash)) for no, row in zip(numbers, rows, strict=True)
            )

    def _numbered(self, statement: str, values: tuple[Any, ...], numbers: Sequence[int]) -> int:
        """Execute for the rows with these numbers; gives how many there were.

        The driver stops and starts Python's other threads once a statement, so they are few.
        """
        count = 0
        for where, some in _conditions(numbers):
            count += self._db.exec_driver_sql(f"{statement} WHERE no {where}", (*values, *some)).rowcount
        return count


def _conditions(numbers: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
    if numbers and max(numbers) - min(numbers) + 1 == len(numbers):
        yield "BETWEEN ? AND ?", (min(numbers), max(numbers))
        return
    for start in range(0, len(numbers), _MOST_AT_ONCE):
        some = list(numbers[start : start + _MOST_AT_ONCE])
        some += some[-1:] * (-len(some) % _WIDTHS)
        yield f"IN ({', '.join('?' * len(some))})", some


def _stamp(stamp: Stamp) -> sa.Update:
    """Stamps rows in their places."""
    those = TRANSACTIONS.c.external_id.in_(stamp.external_ids)
    return TRANSACTIONS.update().where(those).values(batch=stamp.batch)


def _move(which: sa.ColumnElement[bool]) -> Any:
    rows = _RECENT_ROWS.where(which).order_by(RECENT.c.external_id, RECENT.c.no)
    return sqlite.insert(TRANSACTIONS).from_select(_COLUMNS, rows)


def _latest() -> sa.FromClause:
    """The last row of each id, wherever it lies."""
    last = sa.select(sa.func.max(RECENT.c.no)).group_by(RECENT.c.external_id)
    in_place = sa.select(TRANSACTIONS).where(
        TRANSACTIONS.c.external_id.not_in(sa.select(RECENT.c.external_id))
    )
    return sa.union_all(in_place, _RECENT_ROWS.where(RECENT.c.no.in_(last))).subquery("latest")


def _compiled(statement: Any) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


_APPEND: Final = _compiled(
    sqlite.insert(RECENT).from_select(
        _COLUMNS,
        sa.select(sa.column("column1"), sa.column("column2"), *map(sa.bindparam, _SHARED)),
    )
)
_CHANGE: Final = _compiled(RECENT.update().values({name: sa.bindparam(f"new_{name}") for name in _SHARED}))
_STAMP_RECENT: Final = _compiled(RECENT.update().values(batch=sa.bindparam("id")))
_REMOVE: Final = _compiled(RECENT.delete())
_NUMBERS: Final = sa.func.json_each(sa.bindparam("numbers")).table_valued("value")
_REPLACE: Final = upsert(_move(RECENT.c.no.in_(sa.select(_NUMBERS.c.value))), "external_id")
