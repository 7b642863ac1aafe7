"""The truth about delivery: one row a transaction, in SQLite or PostgreSQL.

*Sending* is on disk before a request leaves, the outcome after. SQLite runs in WAL mode with
`synchronous=FULL`: every commit is synced, so an intent survives power loss too; commits are grouped, so
that costs one sync for hundreds of rows. PostgreSQL's own default is as strict.
"""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from hashlib import blake2b
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.errors import ImportToolError, RunError, SettingsError, WorkdirBusy


class State(StrEnum):
    """What is known about one transaction."""

    PENDING = "pending"  # claimed once, then given back unsent
    SENDING = "sending"  # a request may be on its way; after a crash: in doubt
    DELIVERED = "delivered"  # Omneo answered that it took it
    REFUSED = "refused"  # Omneo said no for good
    FAILED = "failed"  # given up after several tries; perhaps taken
    CONFIRMED = "confirmed"  # delivered, and seen in Omneo as it was sent
    MISSING = "missing"  # delivered, and not found in Omneo
    DIFFERING = "differing"  # delivered, and found in Omneo with other contents
    VOIDED = "voided"  # delivered, and sent again as void


ACCEPTED_BY_OMNEO: Final = frozenset(
    {State.DELIVERED, State.CONFIRMED, State.MISSING, State.DIFFERING, State.VOIDED}
)
"""States of a transaction for which Omneo answered yes."""


class Row(NamedTuple):
    """One transaction in the ledger.

    Attributes:
        external_id: Key of Omneo's upsert, and of this table.
        hash: Of the body last sent or about to be sent; see `content_hash`.
        state: What is known.
        attempts: Requests that were made for it, in all runs.
        status: HTTP status of the last answer; None where there was none.
        words: The last answer's words as JSON (`message`, `errors` by field); None where it had none.
        batch: Omneo's id of the batch it went in; None where it went alone.
        run_no: The run that sent it last.
        at: When the state was written, seconds since 1970.
    """

    external_id: str
    hash: bytes
    state: State
    attempts: int
    status: int | None
    words: str | None
    batch: str | None
    run_no: int
    at: int


class Stamp(NamedTuple):
    """Transactions that went out together, and Omneo's id of their batch.

    Attributes:
        external_ids: Whose rows get it; they are there already.
        batch: The id.
    """

    external_ids: Sequence[str]
    batch: str


def content_hash(body: bytes) -> bytes:
    """16 bytes of BLAKE2b over the exact body: the same content is not sent twice."""
    return blake2b(body, digest_size=16).digest()


@dataclass(frozen=True)
class Counts:
    """Settled transactions of a run by what became of them.

    Attributes:
        delivered: Sent by this run, and Omneo took them.
        unchanged: Not sent: Omneo has this content, or newer, or changes are skipped.
        refused: Omneo said no for good.
        failed: Given up after several tries.
        held: Changed, and kept back by `--on-change hold`; a part of what is pending.
    """

    delivered: int = 0
    unchanged: int = 0
    refused: int = 0
    failed: int = 0
    held: int = 0

    def plus(self, kind: str, by: int = 1) -> Counts:
        """The counts with one of them changed."""
        return replace(self, **{kind: getattr(self, kind) + by})

    def added(self, other: Counts) -> Counts:
        """The sum, count by count."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)))


KINDS: Final = tuple(each.name for each in fields(Counts))


@dataclass(frozen=True)
class Progress:
    """How far a run, or one part of it, is.

    Positions count transactions in delivery order from 0. Everything below `watermark` is settled;
    beyond it some are. A restart goes on from the watermark with `below` and finds again what it missed.

    Attributes:
        run_no: The run's number in this ledger.
        part: 0 unless several workers share the run.
        size: Transactions in this part.
        watermark: Position of the first that is not settled.
        below: Counts of the positions below the watermark.
        settled: Counts of all settled positions.
        newer_runs: Numbers of the runs prepared later: what they delivered is not overwritten by this one.
    """

    run_no: int
    part: int
    size: int
    watermark: int = 0
    below: Counts = field(default_factory=Counts)
    settled: Counts = field(default_factory=Counts)
    newer_runs: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RunRef:
    """A staged run, or one part of it, as delivery sees it.

    Attributes:
        run_id: Its name.
        size: Transactions in this part.
        prepared_at: When it was staged; with tz. Of two runs with one transaction the later one wins.
        part: 0 unless several workers share the run.
    """

    run_id: str
    size: int
    prepared_at: datetime
    part: int = 0


@dataclass(frozen=True)
class Lease:
    """A part that is a worker's own until the lease ends.

    Attributes:
        run_no: The run.
        part: Which part of it.
        owner: Name of the worker, unique among all.
    """

    run_no: int
    part: int
    owner: str


class LeaseLost(ImportToolError):
    """Another worker has taken a part over, since its lease was not renewed in time."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"Part {lease.part} was taken over by another worker.")


@dataclass(frozen=True)
class Wanted:
    """Which parts of a run are wanted.

    Attributes:
        beyond: Those with a higher number only.
        unfinished: Those only in which something is not settled.
        held: Those in which something was held back too.
    """

    beyond: int = 0
    unfinished: bool = False
    held: bool = False

    def condition(self) -> sa.ColumnElement[bool]:
        """The same, for the database."""
        wanted = _PARTS.c.part > self.beyond
        if not self.unfinished:
            return wanted
        open_ = _PARTS.c.watermark < _PARTS.c.size
        return sa.and_(wanted, sa.or_(open_, _PARTS.c.all_held > 0) if self.held else open_)


@dataclass(frozen=True)
class RunStatus:
    """A run's delivery, as told to people.

    `delivered + unchanged + refused + failed + pending = accepted`. `held` is a part of `pending`;
    `confirmed`, `missing`, `differing` and `voided` are parts of `delivered`.
    """

    accepted: int
    delivered: int
    unchanged: int
    refused: int
    failed: int
    pending: int
    held: int = 0
    confirmed: int = 0
    missing: int = 0
    differing: int = 0
    voided: int = 0


class Ledger(Protocol):
    """What the loader needs of a ledger."""

    def open_run(self, run: RunRef) -> Progress:
        """Enter the run, or find it, and say how far it is."""

    def find(self, external_ids: Sequence[str]) -> dict[str, Row]:
        """The rows of these transactions; those unknown are left out."""

    def record(self, rows: Sequence[Row | Stamp], progress: Progress | None = None) -> None:
        """Write rows, whole, then stamps, and how far the run is, in one durable commit."""


@dataclass(frozen=True)
class SourceFile:
    """A source file that was read, so that a nightly run takes only new or changed ones.

    Attributes:
        path: As given, or the object's address.
        size: Bytes.
        modified_ns: Nanoseconds since 1970.
        digest: Of the contents.
        run_id: The run that read it.
        recipe: Digest of what it was read by, the mapping with its tables; each knows its own files.
    """

    path: str
    size: int
    modified_ns: int
    digest: str
    run_id: str
    recipe: str = ""


_METADATA: Final = sa.MetaData()
_VERSION = sa.Table("schema_version", _METADATA, sa.Column("version", sa.Integer, nullable=False))
_RUNS = sa.Table(
    "runs",
    _METADATA,
    sa.Column("no", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False, unique=True),
    sa.Column("prepared_at", sa.Float, nullable=False),
)
_PARTS = sa.Table(
    "parts",
    _METADATA,
    sa.Column("run_no", sa.Integer, sa.ForeignKey("runs.no"), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("watermark", sa.Integer, nullable=False),
    *(sa.Column(f"{side}_{kind}", sa.Integer, nullable=False) for side in ("below", "all") for kind in KINDS),
    sa.Column("owner", sa.Text),
    sa.Column("leased_until", sa.Float, nullable=False, server_default="0"),
)
_TRANSACTIONS = sa.Table(
    "transactions",
    _METADATA,
    sa.Column("external_id", sa.Text, primary_key=True),
    sa.Column("hash", sa.LargeBinary(16), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("status", sa.SmallInteger),
    sa.Column("words", sa.Text),
    sa.Column("batch", sa.Text),
    sa.Column("run_no", sa.Integer, nullable=False),
    sa.Column("at", sa.Integer, nullable=False),
)


def _in_state(*states: State) -> sa.ColumnElement[bool]:
    # Written out, not bound: an index's condition and a statement for many rows take no list of values.
    return _TRANSACTIONS.c.state.in_([sa.literal_column(f"'{state}'") for state in states])


_IS_TROUBLE: Final = _in_state(State.REFUSED, State.FAILED, State.MISSING, State.DIFFERING)
_IS_MARKABLE: Final = _in_state(State.DELIVERED, State.CONFIRMED, State.MISSING, State.DIFFERING)
sa.Index(
    "transactions_in_trouble",
    _TRANSACTIONS.c.run_no,
    sqlite_where=_IS_TROUBLE,
    postgresql_where=_IS_TROUBLE,
)
_FILES = sa.Table(
    "files",
    _METADATA,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("modified_ns", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("recipe", sa.Text, primary_key=True),
)


def _first_schema(connection: sa.Connection) -> None:
    """All tables are as they were then, but that of the files, and in SQLite the layout of transactions."""
    first = sa.MetaData()
    for table in (_VERSION, _RUNS, _PARTS, _TRANSACTIONS):
        table.to_metadata(first)
    first.tables[_TRANSACTIONS.name].dialect_options["sqlite"]["with_rowid"] = False
    texts = (sa.Column(name, sa.Text, nullable=False) for name in ("digest", "run_id"))
    numbers = (sa.Column(name, sa.BigInteger, nullable=False) for name in ("size", "modified_ns"))
    sa.Table(_FILES.name, first, sa.Column("path", sa.Text, primary_key=True), *numbers, *texts)
    first.create_all(connection)


def _files_by_recipe(connection: sa.Connection) -> None:
    """Each mapping knows its own files; those from before, of which that is not known, are read again."""
    connection.execute(sa.schema.DropTable(_FILES))
    connection.execute(sa.schema.CreateTable(_FILES))


def _transactions_as_they_came(connection: sa.Connection) -> None:
    """SQLite keeps rows in the order they came in: so those that go out together share pages."""
    if connection.dialect.name != "sqlite":
        return
    connection.exec_driver_sql("DROP INDEX transactions_in_trouble")
    connection.exec_driver_sql("ALTER TABLE transactions RENAME TO earlier")
    connection.execute(sa.schema.CreateTable(_TRANSACTIONS))
    connection.exec_driver_sql("INSERT INTO transactions SELECT * FROM earlier")
    connection.exec_driver_sql("DROP TABLE earlier")
    for index in _TRANSACTIONS.indexes:
        connection.execute(sa.schema.CreateIndex(index))


MIGRATIONS: Final = (_first_schema, _files_by_recipe, _transactions_as_they_came)
"""Step n takes the schema from version n to n + 1; never change what one does, add another."""


class SqlLedger:
    """The ledger in a database. Use it from one thread at a time.

    Args:
        where: Path of an SQLite file, made with mode 0600, or a `postgresql://` address.

    Raises:
        SettingsError: It cannot be opened or written, or was made by a newer version.
    """

    def __init__(self, where: Path | str, migrations: Sequence[Any] = MIGRATIONS) -> None:
        self.where = _name_of(where)
        self._migrations = migrations
        with self._explained("opened"):
            self._engine = _engine(where)
            self._db = self._engine.connect()
            try:
                self._migrate()
            except BaseException:
                self.close()
                raise
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        # Compiled once and handed to the driver: SQLAlchemy's care for each row doubles its cost.
        put_rows: Any = _upsert(insert(_TRANSACTIONS), "external_id").compile(dialect=self._engine.dialect)
        self._put_rows, self._positional = str(put_rows), put_rows.positional
        self._put_part = _upsert(insert(_PARTS), "run_no", "part")
        self._put_file = _upsert(insert(_FILES), "path", "recipe")
        self._add_run = insert(_RUNS).on_conflict_do_nothing(index_elements=["run_id"])
        self._add_part = insert(_PARTS).on_conflict_do_nothing(index_elements=["run_no", "part"])

    @property
    def is_shared(self) -> bool:
        """Whether processes on several machines may use it at the same time."""
        return self._engine.dialect.name == "postgresql"

    @contextmanager
    def held(self, name: str, *, shared: bool) -> Iterator[None]:
        """Hold something that others hold by the same name, for the length of a `with` block.

        The database's own lock is free at once when its holder dies. SQLite has none; there nothing happens.

        Raises:
            WorkdirBusy: Another process holds it.
        """
        if not self.is_shared:
            yield
            return
        number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
        kind = "_shared" if shared else ""
        with self._transaction("read"):
            taken = sa.text(f"SELECT pg_try_advisory_lock{kind}(:number)")
            if not self._db.execute(taken, {"number": number}).scalar_one():
                raise WorkdirBusy(f"{name} is in use by another process.", hint="Wait for it.")
        try:
            yield
        finally:
            with self._transaction("read"):
                freed = sa.text(f"SELECT pg_advisory_unlock{kind}(:number)")
                self._db.execute(freed, {"number": number})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()
        self._engine.dispose()

    # What the loader uses

    def open_run(self, run: RunRef) -> Progress:
        """See `Ledger`."""
        with self._transaction("written"):
            self._db.execute(
                self._add_run, {"run_id": run.run_id, "prepared_at": run.prepared_at.timestamp()}
            )
            run_no = self._run_no(run.run_id)
            found = self._parts(run_no, run.part)
            progress = found[0] if found else Progress(run_no, run.part, run.size)
            if not found:
                self._db.execute(self._add_part, _values(progress))
            later = sa.select(_RUNS.c.no).where(_RUNS.c.prepared_at > run.prepared_at.timestamp())
            return replace(progress, newer_runs=frozenset(self._db.execute(later).scalars()))

    def find(self, external_ids: Sequence[str]) -> dict[str, Row]:
        """See `Ledger`."""
        wanted = sa.select(_TRANSACTIONS).where(
            _TRANSACTIONS.c.external_id.in_(sa.bindparam("ids", expanding=True))
        )
        found: dict[str, Row] = {}
        with self._transaction("read"):
            for start in range(0, len(external_ids), 1000):
                some = list(external_ids[start : start + 1000])
                found.update((row.external_id, _row(row)) for row in self._db.execute(wanted, {"ids": some}))
        return found

    def record(self, rows: Sequence[Row | Stamp], progress: Progress | None = None) -> None:
        """See `Ledger`."""
        with self._transaction("written"):
            self._record(rows, progress)

    def record_leased(
        self, lease: Lease, rows: Sequence[Row | Stamp], progress: Progress | None = None
    ) -> None:
        """As `record`, but only while the part is still leased.

        Raises:
            LeaseLost: Another worker has taken the part over; nothing was written.
        """
        held = sa.select(_PARTS.c.part).where(_is(lease), _PARTS.c.owner == lease.owner).with_for_update()
        with self._transaction("written"):
            if self._db.execute(held).scalar() is None:
                raise LeaseLost(lease)
            self._record(rows, progress)

    # What commands ask

    def progress(self, run: RunRef) -> Progress:
        """How far a whole run is, all parts together; nothing is entered where it was never opened."""
        with self._transaction("read"):
            no = self._db.execute(sa.select(_RUNS.c.no).where(_RUNS.c.run_id == run.run_id)).scalar()
            parts = self._parts(no) if no is not None else []
        watermark = 0
        for part in parts:
            watermark += part.watermark
            if part.watermark < part.size:
                break
        return Progress(no or 0, 0, run.size, watermark)

    def settled(self, run_id: str) -> int:
        """How many transactions of a run are settled, all parts together; quick, however many there are."""
        with self._transaction("read"):
            no = self._db.execute(sa.select(_RUNS.c.no).where(_RUNS.c.run_id == run_id)).scalar()
            counts = [part.settled for part in self._parts(no)] if no is not None else []
        return sum(each.delivered + each.unchanged + each.refused + each.failed for each in counts)

    def status(self, run_id: str) -> RunStatus:
        """Counts of one run.

        Raises:
            RunError: Nothing of it was ever delivered, so the ledger does not know it.
        """
        with self._transaction("read"):
            run_no = self._run_no(run_id)
            return _status_of(self._parts(run_no), self._states(_TRANSACTIONS.c.run_no == run_no)[run_no])

    def statuses(self) -> dict[str, RunStatus]:
        """Counts of all runs that were ever loaded, by id; the transactions are counted in one go."""
        with self._transaction("read"):
            parts: dict[int, list[Progress]] = defaultdict(list)
            for row in self._db.execute(sa.select(_PARTS)):
                parts[row.run_no].append(_progress(row._mapping))
            states, runs = self._states(sa.true()), self._db.execute(sa.select(_RUNS.c.no, _RUNS.c.run_id))
            return {run_id: _status_of(parts[no], states[no]) for no, run_id in runs}

    def runs(self) -> list[str]:
        """Ids of the runs that were ever loaded, oldest first."""
        with self._transaction("read"):
            return list(self._db.execute(sa.select(_RUNS.c.run_id).order_by(_RUNS.c.no)).scalars())

    def in_trouble(self, run_id: str) -> Iterator[Row]:
        """The refused, failed, missing and differing transactions that this run sent last, by id."""
        with self._transaction("read"):
            run_no = self._run_no(run_id)
            wanted = sa.select(_TRANSACTIONS).where(_TRANSACTIONS.c.run_no == run_no, _IS_TROUBLE)
            rows = [_row(row) for row in self._db.execute(wanted.order_by(_TRANSACTIONS.c.external_id))]
        yield from rows

    def mark(self, states: Mapping[str, State], *, begun: bool = False) -> None:
        """Note what was seen of transactions in Omneo: confirmed, missing or differing.

        Only what Omneo has answered yes to can be that: a row in another state is left alone.

        Args:
            states: By external id.
            begun: Whether *sending* can be that too, since a repeat was begun and nobody is at it any more.
        """
        markable = sa.or_(_IS_MARKABLE, _in_state(State.SENDING)) if begun else _IS_MARKABLE
        change = (
            _TRANSACTIONS.update()
            .where(_TRANSACTIONS.c.external_id == sa.bindparam("id"), markable)
            .values(state=sa.bindparam("new"), at=sa.bindparam("now"))
        )
        now = int(time.time())
        if states:
            with self._transaction("written"):
                self._db.execute(change, [{"id": k, "new": str(v), "now": now} for k, v in states.items()])

    def forget_words(self, external_ids: Sequence[str], text: str) -> int:
        """Remove the server's words about some transactions, and all words in which a text stands.

        Args:
            external_ids: The transactions.
            text: Letter case is ignored.

        Returns:
            How many rows had such words.
        """
        row = _TRANSACTIONS.c
        chosen = row.external_id.in_(sa.bindparam("ids", expanding=True))
        holding = sa.func.lower(row.words).contains(text.lower(), autoescape=True)
        change = _TRANSACTIONS.update().values(words=None)
        with self._explained("written"):
            with self._db.begin():
                number = self._db.execute(change.where(row.words.is_not(None), holding)).rowcount
                for start in range(0, len(external_ids), 1000):
                    some = {"ids": list(external_ids[start : start + 1000])}
                    number += self._db.execute(change.where(row.words.is_not(None), chosen), some).rowcount
            if self._engine.dialect.name == "sqlite":
                self._db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                self._db.commit()
        return int(number)

    # Sharing a run among workers

    def share(self, run: RunRef, sizes: Sequence[int]) -> list[Progress]:
        """Enter the run in parts of these sizes, numbered from 1, unless it has parts; gives its parts.

        The sizes of the first to enter it count.
        """
        self._enter(run)
        with self._transaction("written"):
            # Whoever comes second waits here for the first one's parts.
            lock = sa.select(_RUNS.c.no).where(_RUNS.c.run_id == run.run_id).with_for_update()
            run_no = self._db.execute(lock).scalar_one()
            if not self._parts(run_no):
                self._db.execute(
                    self._add_part,
                    [_values(Progress(run_no, part, size)) for part, size in enumerate(sizes, 1)],
                )
            return self._parts(run_no)

    def take(self, run_no: int, owner: str, lease_s: float, wanted: Wanted) -> Lease | None:
        """Lease the first free part that is wanted; None where there is none.

        Args:
            run_no: The run.
            owner: Name of the worker, unique among all.
            lease_s: How long; `renew` makes it longer.
            wanted: Which parts.
        """
        now = self._now()
        free = (
            sa.select(_PARTS.c.part)
            .where(_PARTS.c.run_no == run_no, _PARTS.c.leased_until < now, wanted.condition())
            .order_by(_PARTS.c.part)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._transaction("written"):
            part = self._db.execute(free).scalar()
            if part is None:
                return None
            lease = Lease(run_no, part, owner)
            self._db.execute(
                _PARTS.update().where(_is(lease)).values(owner=owner, leased_until=now + lease_s)
            )
            return lease

    def are_left(self, run_no: int, wanted: Wanted) -> bool:
        """Whether any part is wanted, leased or not."""
        left = sa.select(_PARTS.c.part).where(_PARTS.c.run_no == run_no, wanted.condition()).limit(1)
        with self._transaction("read"):
            return self._db.execute(left).scalar() is not None

    def renew(self, lease: Lease, lease_s: float) -> int:
        """Make a lease last so long from now; gives how many workers hold leases in this ledger.

        Raises:
            LeaseLost: Another worker has taken the part over.
        """
        now = self._now()
        longer = _PARTS.update().where(_is(lease), _PARTS.c.owner == lease.owner)
        workers = sa.select(sa.func.count(_PARTS.c.owner.distinct())).where(_PARTS.c.leased_until >= now)
        with self._transaction("written"):
            if self._db.execute(longer.values(leased_until=now + lease_s)).rowcount == 0:
                raise LeaseLost(lease)
            return int(self._db.execute(workers).scalar_one())

    def release(self, lease: Lease) -> None:
        """Let others have the part at once, if it is still leased."""
        mine = _PARTS.update().where(_is(lease), _PARTS.c.owner == lease.owner)
        with self._transaction("written"):
            self._db.execute(mine.values(owner=None, leased_until=0))

    def _now(self) -> float:
        """The database's time, since the clocks of machines differ; seconds since 1970."""
        if not self.is_shared:
            return time.time()
        with self._transaction("read"):
            return float(
                self._db.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
            )

    def _enter(self, run: RunRef) -> None:
        with self._transaction("written"):
            self._db.execute(
                self._add_run, {"run_id": run.run_id, "prepared_at": run.prepared_at.timestamp()}
            )

    # Source files

    def known_files(self, paths: Sequence[str], recipe: str = "") -> dict[str, SourceFile]:
        """What was noted of these files, read by this recipe; those unknown are left out."""
        wanted = sa.select(_FILES).where(
            _FILES.c.path.in_(sa.bindparam("paths", expanding=True)), _FILES.c.recipe == recipe
        )
        found: dict[str, SourceFile] = {}
        with self._transaction("read"):
            for start in range(0, len(paths), 1000):
                some = list(paths[start : start + 1000])
                rows = self._db.execute(wanted, {"paths": some})
                found.update((row.path, SourceFile(*row)) for row in rows)
        return found

    def note_files(self, files: Sequence[SourceFile]) -> None:
        """Note files as read; what was noted of them before is replaced."""
        if files:
            with self._transaction("written"):
                self._db.execute(self._put_file, [asdict(file) for file in files])

    # Inside

    def _run_no(self, run_id: str) -> int:
        no: int | None = self._db.execute(sa.select(_RUNS.c.no).where(_RUNS.c.run_id == run_id)).scalar()
        if no is None:
            raise RunError(f"The ledger knows no run {run_id}: nothing of it was sent yet.")
        return no

    def _parts(self, run_no: int, part: int | None = None) -> list[Progress]:
        wanted = sa.select(_PARTS).where(_PARTS.c.run_no == run_no).order_by(_PARTS.c.part)
        if part is not None:
            wanted = wanted.where(_PARTS.c.part == part)
        return [_progress(row._mapping) for row in self._db.execute(wanted)]

    def _states(self, wanted: sa.ColumnElement[bool]) -> Mapping[int, Mapping[str, int]]:
        """How many transactions there are in each state, by run."""
        run_no, state = _TRANSACTIONS.c.run_no, _TRANSACTIONS.c.state
        counts = sa.select(run_no, state, sa.func.count()).where(wanted).group_by(run_no, state)
        found: dict[int, dict[str, int]] = defaultdict(dict)
        for no, name, count in self._db.execute(counts):
            found[no][name] = count
        return found

    def _record(self, writes: Sequence[Row | Stamp], progress: Progress | None) -> None:
        # In one order everywhere: two that write the same rows cannot wait for each other.
        rows = sorted((each for each in writes if isinstance(each, Row)), key=_BY_ID)
        if rows:
            self._put(rows)
        for stamp in writes:
            if isinstance(stamp, Stamp):
                self._db.execute(_STAMP, {"ids": list(stamp.external_ids), "batch_id": stamp.batch})
        if progress is not None:
            self._db.execute(self._put_part, _values(progress))

    def _put(self, rows: Sequence[Row]) -> None:
        # The state as plain text: the driver would look for an adapter of the enumeration each time.
        plain = [(*row[:2], row.state.value, *row[3:]) for row in rows]
        if not self._positional:
            self._db.exec_driver_sql(
                self._put_rows, [dict(zip(Row._fields, each, strict=True)) for each in plain]
            )
            return
        # SQLite's driver stops and starts Python's other threads once a statement, so statements are few;
        # and their sizes are, so that it has them compiled.
        at = 0
        while left := len(plain) - at:
            size = min(_MOST_AT_ONCE, 1 << left.bit_length() - 1)
            values = tuple(chain.from_iterable(plain[at : at + size]))
            self._db.exec_driver_sql(_for_many(self._put_rows, size), values)
            at += size

    def _migrate(self) -> None:
        newest = len(self._migrations)
        with self._db.begin():
            version = self._version()
        if version > newest:
            raise SettingsError(
                f"The ledger {self.where} has schema {version}; this version knows up to {newest}.",
                hint="Upgrade omneo-import, or use another --workdir.",
            )
        if version == newest:
            return
        with self._db.begin():
            # All or nothing, and one at a time, should several start at once.
            if self.is_shared:
                self._db.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
            else:
                self._db.exec_driver_sql("BEGIN IMMEDIATE")
            for step in self._migrations[self._version() :]:
                step(self._db)
            self._db.execute(_VERSION.delete())
            self._db.execute(_VERSION.insert().values(version=newest))

    def _version(self) -> int:
        there = sa.inspect(self._db).has_table(_VERSION.name)
        return int(self._db.execute(sa.select(_VERSION.c.version)).scalar() or 0) if there else 0

    @contextmanager
    def _transaction(self, verb: str) -> Iterator[None]:
        with self._explained(verb), self._db.begin():
            yield

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise SettingsError(
                f"The ledger {self.where} cannot be {verb}: {str(cause).strip()}.",
                hint="Check the disk's free space and the rights, then repeat the command. Nothing is lost: "
                "what could not be recorded counts as in doubt and is looked up or sent again.",
            ) from None


_BY_ID: Final = itemgetter(0)
_MOST_AT_ONCE: Final = 64
_STAMP: Final = (
    _TRANSACTIONS.update()
    .where(_TRANSACTIONS.c.external_id.in_(sa.bindparam("ids", expanding=True)))
    .values(batch=sa.bindparam("batch_id"))
)
_MIGRATING: Final = 0x0EE0  # names the advisory lock; any number that others do not use will do


@cache
def _for_many(insert: str, rows: int) -> str:
    """A statement that inserts one row, as one that inserts so many."""
    head, one, tail = re.split(r"(\((?:\?, )*\?\))", insert)
    return f"{head}{', '.join([one] * rows)}{tail}"


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(_PARTS.c.run_no == lease.run_no, _PARTS.c.part == lease.part)


def _values(progress: Progress) -> dict[str, int]:
    """A part's row, but for its lease."""
    values = {"run_no": progress.run_no, "part": progress.part}
    values |= {"size": progress.size, "watermark": progress.watermark}
    values |= {f"below_{kind}": getattr(progress.below, kind) for kind in KINDS}
    return values | {f"all_{kind}": getattr(progress.settled, kind) for kind in KINDS}


def _status_of(parts: Sequence[Progress], states: Mapping[str, int]) -> RunStatus:
    settled, accepted = Counts(), 0
    for part in parts:
        settled, accepted = settled.added(part.settled), accepted + part.size
    done = settled.delivered + settled.unchanged + settled.refused + settled.failed
    shown = {str(s): states.get(s, 0) for s in _SHOWN}
    return RunStatus(accepted=accepted, pending=accepted - done, **asdict(settled), **shown)


_SHOWN: Final = (State.CONFIRMED, State.MISSING, State.DIFFERING, State.VOIDED)


def _upsert(insert: Any, *key: str) -> Any:
    # Columns that are not written (a part's lease) stay as they are.
    written = [c.name for c in insert.table.columns if c.name not in (*key, "owner", "leased_until")]
    return insert.on_conflict_do_update(
        index_elements=list(key), set_={name: insert.excluded[name] for name in written}
    )


def _row(found: Any) -> Row:
    row = Row(*found)
    return row._replace(state=State(row.state), hash=bytes(row.hash))


def _progress(row: Mapping[Any, Any]) -> Progress:
    below, settled = (Counts(*(row[f"{side}_{kind}"] for kind in KINDS)) for side in ("below", "all"))
    return Progress(row["run_no"], row["part"], row["size"], row["watermark"], below, settled)


def _name_of(where: Path | str) -> str:
    if isinstance(where, Path):
        return str(where)
    return sa.make_url(where).render_as_string(hide_password=True)


def _engine(where: Path | str) -> sa.Engine:
    if isinstance(where, Path):
        return _sqlite(where)
    url = sa.make_url(where)
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise SettingsError(f"--ledger {_name_of(where)}: a postgresql:// address was expected.")
    try:
        return sa.create_engine(url.set(drivername="postgresql+psycopg"))
    except ModuleNotFoundError:
        raise SettingsError(
            "A ledger on PostgreSQL needs the driver psycopg, which is not installed.",
            hint="pip install 'omneo-import[postgres]'",
        ) from None


def _sqlite(path: Path) -> sa.Engine:
    # Made here, so that nobody else can read it from the first moment; SQLite gives its mode to the
    # journal files beside it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": 30.0})

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")  # what was forgotten is nowhere in the file

    return engine


class MemoryLedger:
    """A ledger that forgets: for tests and for trying things out."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.progress: dict[tuple[str, int], Progress] = {}
        self.prepared: dict[int, datetime] = {}

    def open_run(self, run: RunRef) -> Progress:
        """See `Ledger`."""
        known = {run_id for run_id, _ in self.progress}
        key = (run.run_id, run.part)
        if key not in self.progress:
            no = next((p.run_no for (i, _), p in self.progress.items() if i == run.run_id), len(known) + 1)
            self.prepared[no] = run.prepared_at
            self.progress[key] = Progress(no, run.part, run.size)
        later = frozenset(no for no, at in self.prepared.items() if at > run.prepared_at)
        return replace(self.progress[key], newer_runs=later)

    def find(self, external_ids: Sequence[str]) -> dict[str, Row]:
        """See `Ledger`."""
        return {name: self.rows[name] for name in external_ids if name in self.rows}

    def record(self, rows: Sequence[Row | Stamp], progress: Progress | None = None) -> None:
        """See `Ledger`."""
        self.rows.update((row.external_id, row) for row in rows if isinstance(row, Row))
        for stamp in rows:
            if isinstance(stamp, Stamp):
                stamped = (self.rows[name]._replace(batch=stamp.batch) for name in stamp.external_ids)
                self.rows.update((row.external_id, row) for row in stamped)
        if progress is not None:
            key = next(
                (i, part)
                for (i, part), p in self.progress.items()
                if (p.run_no, part) == (progress.run_no, progress.part)
            )
            self.progress[key] = progress
