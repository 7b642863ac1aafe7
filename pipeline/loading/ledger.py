"""The truth about delivery: one row a transaction, in SQLite or PostgreSQL.

*Sending* is on disk before a request leaves, the outcome after. SQLite runs in WAL mode with
`synchronous=FULL`: every commit is synced, so an intent survives power loss too; commits are grouped, so
that costs one sync for hundreds of rows. PostgreSQL's own default is as strict.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Protocol, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.errors import RunError, SettingsError, WorkdirBusy
from pipeline.loading.entries import (
    KINDS,
    Counts,
    Lease,
    LeaseLost,
    Progress,
    Row,
    RunRef,
    RunStatus,
    SourceFile,
    Stamp,
    State,
    Wanted,
)
from pipeline.loading.rows import InPlace, Recent, Rows
from pipeline.loading.tables import (
    FILES,
    MIGRATIONS,
    PARTS,
    RUNS,
    TRANSACTIONS,
    VERSION,
    is_in,
    is_trouble,
    upsert,
)


class Ledger(Protocol):
    """What the loader needs of a ledger."""

    def open_run(self, run: RunRef) -> Progress:
        """Enter the run, or find it, and say how far it is."""

    def find(self, external_ids: Sequence[str]) -> dict[str, Row]:
        """The rows of these transactions; those unknown are left out."""

    def record(self, rows: Sequence[Row | Stamp], progress: Progress | None = None) -> None:
        """Write stamps, then rows, whole, and how far the run is, in one durable commit."""


class SqlLedger:
    """The ledger in a database. Use it from one thread at a time, and for `find` from one more.

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
            self._finder: sa.Connection | None = None
            try:
                self._migrate()
            except BaseException:
                self.close()
                raise
        self._rows: Rows = InPlace(self._db) if self.is_shared else Recent(self._db)
        insert = postgresql.insert if self.is_shared else sqlite.insert
        self._put_part = upsert(insert(PARTS), "run_no", "part")
        self._put_file = upsert(insert(FILES), "path", "recipe")
        self._add_run = insert(RUNS).on_conflict_do_nothing(index_elements=["run_id"])
        self._add_part = insert(PARTS).on_conflict_do_nothing(index_elements=["run_no", "part"])

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
        if self._finder is not None:
            self._finder.close()
        self._engine.dispose()

    # What the loader uses

    def open_run(self, run: RunRef) -> Progress:
        """See `Ledger`."""
        self._rows.lose()  # another process may have put some
        with self._transaction("written"):
            self._rows.move(sending_too=True)
            self._db.execute(
                self._add_run, {"run_id": run.run_id, "prepared_at": run.prepared_at.timestamp()}
            )
            run_no = self._run_no(run.run_id)
            found = self._parts(run_no, run.part)
            progress = found[0] if found else Progress(run_no, run.part, run.size)
            if not found:
                self._db.execute(self._add_part, _values(progress))
            later = sa.select(RUNS.c.no).where(RUNS.c.prepared_at > run.prepared_at.timestamp())
            return replace(progress, newer_runs=frozenset(self._db.execute(later).scalars()))

    def find(self, external_ids: Sequence[str]) -> dict[str, Row]:
        """See `Ledger`."""
        found: dict[str, Row] = {}
        with self._explained("read"):
            if self._finder is None:
                self._finder = self._engine.connect()
            with self._finder.begin():
                for start in range(0, len(external_ids), 1000):
                    some = list(external_ids[start : start + 1000])
                    rows = self._rows.find(self._finder, some)
                    found.update((row.external_id, _row(row)) for row in rows)
        return found

    def record(self, rows: Sequence[Row | Stamp], progress: Progress | None = None) -> None:
        """See `Ledger`."""
        with self._transaction("written"):
            self._record(rows, progress)
        if self._rows.are_many:
            with self._transaction("written"):
                self._rows.move(sending_too=False)

    def record_leased(
        self, lease: Lease, rows: Sequence[Row | Stamp], progress: Progress | None = None
    ) -> None:
        """As `record`, but only while the part is still leased.

        Raises:
            LeaseLost: Another worker has taken the part over; nothing was written.
        """
        held = sa.select(PARTS.c.part).where(_is(lease), PARTS.c.owner == lease.owner).with_for_update()
        with self._transaction("written"):
            if self._db.execute(held).scalar() is None:
                raise LeaseLost(lease)
            self._record(rows, progress)

    # What commands ask

    def progress(self, run: RunRef) -> Progress:
        """How far a whole run is, all parts together; nothing is entered where it was never opened."""
        with self._transaction("read"):
            no = self._db.execute(sa.select(RUNS.c.no).where(RUNS.c.run_id == run.run_id)).scalar()
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
            no = self._db.execute(sa.select(RUNS.c.no).where(RUNS.c.run_id == run_id)).scalar()
            counts = [part.settled for part in self._parts(no)] if no is not None else []
        return sum(each.delivered + each.unchanged + each.refused + each.failed for each in counts)

    def status(self, run_id: str) -> RunStatus:
        """Counts of one run.

        Raises:
            RunError: Nothing of it was ever delivered, so the ledger does not know it.
        """
        with self._transaction("read"):
            run_no = self._run_no(run_id)
            return _status_of(self._parts(run_no), self._states(run_no)[run_no])

    def statuses(self) -> dict[str, RunStatus]:
        """Counts of all runs that were ever loaded, by id; the transactions are counted in one go."""
        with self._transaction("read"):
            parts: dict[int, list[Progress]] = defaultdict(list)
            for row in self._db.execute(sa.select(PARTS)):
                parts[row.run_no].append(_progress(row._mapping))
            states, runs = self._states(), self._db.execute(sa.select(RUNS.c.no, RUNS.c.run_id))
            return {run_id: _status_of(parts[no], states[no]) for no, run_id in runs}

    def runs(self) -> list[str]:
        """Ids of the runs that were ever loaded, oldest first."""
        with self._transaction("read"):
            return list(self._db.execute(sa.select(RUNS.c.run_id).order_by(RUNS.c.no)).scalars())

    def in_trouble(self, run_id: str) -> Iterator[Row]:
        """The refused, failed, missing and differing transactions that this run sent last, by id."""
        with self._transaction("read"):
            run_no = self._run_no(run_id)
            rows = self._rows.all.c
            wanted = sa.select(self._rows.all).where(rows.run_no == run_no, is_trouble(rows.state))
            found = [_row(row) for row in self._db.execute(wanted.order_by(rows.external_id))]
        yield from found

    def mark(self, states: Mapping[str, State], *, begun: bool = False) -> None:
        """Note what was seen of transactions in Omneo: confirmed, missing or differing.

        Only what Omneo has answered yes to can be that: a row in another state is left alone.

        Args:
            states: By external id.
            begun: Whether *sending* can be that too, since a repeat was begun and nobody is at it any more.
        """
        markable = [State.DELIVERED, State.CONFIRMED, State.MISSING, State.DIFFERING]
        markable += [State.SENDING] if begun else []
        change = (
            TRANSACTIONS.update()
            .where(TRANSACTIONS.c.external_id == sa.bindparam("id"), is_in(TRANSACTIONS.c.state, *markable))
            .values(state=sa.bindparam("new"), at=sa.bindparam("now"))
        )
        now = int(time.time())
        if states:
            with self._transaction("written"):
                self._rows.move(sending_too=begun)
                self._db.execute(change, [{"id": k, "new": str(v), "now": now} for k, v in states.items()])

    def forget_words(self, external_ids: Sequence[str], text: str) -> int:
        """Remove the server's words about some transactions, and all words in which a text stands.

        Args:
            external_ids: The transactions.
            text: Letter case is ignored.

        Returns:
            How many rows had such words.
        """
        row = TRANSACTIONS.c
        chosen = row.external_id.in_(sa.bindparam("ids", expanding=True))
        holding = sa.func.lower(row.words).contains(text.lower(), autoescape=True)
        change = TRANSACTIONS.update().values(words=None)
        with self._explained("written"):
            with self._db.begin():
                self._rows.move(sending_too=True)
                number = self._db.execute(change.where(row.words.is_not(None), holding)).rowcount
                for start in range(0, len(external_ids), 1000):
                    some = {"ids": list(external_ids[start : start + 1000])}
                    number += self._db.execute(change.where(row.words.is_not(None), chosen), some).rowcount
            if not self.is_shared:
                busy, *_ = self._db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
                self._db.commit()
                if busy:
                    raise SettingsError(
                        f"The ledger {self.where} is being read, so that what was removed from it still "
                        f"stands in the log beside it.",
                        hint="Repeat the command once nothing else uses the working directory.",
                    )
        return int(number)

    # Sharing a run among workers

    def share(self, run: RunRef, sizes: Sequence[int]) -> list[Progress]:
        """Enter the run in parts of these sizes, numbered from 1, unless it has parts; gives its parts.

        The sizes of the first to enter it count.
        """
        self._enter(run)
        with self._transaction("written"):
            # Whoever comes second waits here for the first one's parts.
            lock = sa.select(RUNS.c.no).where(RUNS.c.run_id == run.run_id).with_for_update()
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
            sa.select(PARTS.c.part)
            .where(PARTS.c.run_no == run_no, PARTS.c.leased_until < now, _condition(wanted))
            .order_by(PARTS.c.part)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._transaction("written"):
            part = self._db.execute(free).scalar()
            if part is None:
                return None
            lease = Lease(run_no, part, owner)
            self._db.execute(PARTS.update().where(_is(lease)).values(owner=owner, leased_until=now + lease_s))
            return lease

    def are_left(self, run_no: int, wanted: Wanted) -> bool:
        """Whether any part is wanted, leased or not."""
        left = sa.select(PARTS.c.part).where(PARTS.c.run_no == run_no, _condition(wanted)).limit(1)
        with self._transaction("read"):
            return self._db.execute(left).scalar() is not None

    def renew(self, lease: Lease, lease_s: float) -> int:
        """Make a lease last so long from now; gives how many workers hold leases in this ledger.

        Raises:
            LeaseLost: Another worker has taken the part over.
        """
        now = self._now()
        longer = PARTS.update().where(_is(lease), PARTS.c.owner == lease.owner)
        workers = sa.select(sa.func.count(PARTS.c.owner.distinct())).where(PARTS.c.leased_until >= now)
        with self._transaction("written"):
            if self._db.execute(longer.values(leased_until=now + lease_s)).rowcount == 0:
                raise LeaseLost(lease)
            return int(self._db.execute(workers).scalar_one())

    def release(self, lease: Lease) -> None:
        """Let others have the part at once, if it is still leased."""
        mine = PARTS.update().where(_is(lease), PARTS.c.owner == lease.owner)
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
        wanted = sa.select(FILES).where(
            FILES.c.path.in_(sa.bindparam("paths", expanding=True)), FILES.c.recipe == recipe
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
        no: int | None = self._db.execute(sa.select(RUNS.c.no).where(RUNS.c.run_id == run_id)).scalar()
        if no is None:
            raise RunError(f"The ledger knows no run {run_id}: nothing of it was sent yet.")
        return no

    def _parts(self, run_no: int, part: int | None = None) -> list[Progress]:
        wanted = sa.select(PARTS).where(PARTS.c.run_no == run_no).order_by(PARTS.c.part)
        if part is not None:
            wanted = wanted.where(PARTS.c.part == part)
        return [_progress(row._mapping) for row in self._db.execute(wanted)]

    def _states(self, run: int | None = None) -> Mapping[int, Mapping[str, int]]:
        """How many transactions of one run, or of all, are in each state that is shown, by run."""
        run_no, state = self._rows.all.c.run_no, self._rows.all.c.state
        shown = is_in(state, *_SHOWN)
        counts = sa.select(run_no, state, sa.func.count()).where(shown).group_by(run_no, state)
        if run is not None:
            counts = counts.where(run_no == run)
        found: dict[int, dict[str, int]] = defaultdict(dict)
        for no, name, count in self._db.execute(counts):
            found[no][name] = count
        return found

    def _record(self, writes: Sequence[Row | Stamp], progress: Progress | None) -> None:
        rows = {each.external_id: each for each in writes if isinstance(each, Row)}
        for stamp in writes:
            if isinstance(stamp, Stamp) and not all(name in rows for name in stamp.external_ids):
                self._rows.stamp(stamp)
        if rows:
            self._rows.put(list(rows.values()))
        if progress is not None:
            self._db.execute(self._put_part, _values(progress))

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
            self._db.execute(VERSION.delete())
            self._db.execute(VERSION.insert().values(version=newest))

    def _version(self) -> int:
        there = sa.inspect(self._db).has_table(VERSION.name)
        return int(self._db.execute(sa.select(VERSION.c.version)).scalar() or 0) if there else 0

    @contextmanager
    def _transaction(self, verb: str) -> Iterator[None]:
        with self._explained(verb):
            try:
                with self._db.begin():
                    yield
            except BaseException:
                self._rows.lose()
                raise
            self._rows.keep()

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


_MIGRATING: Final = 0x0EE0  # names the advisory lock; any number that others do not use will do


def _condition(wanted: Wanted) -> sa.ColumnElement[bool]:
    found = PARTS.c.part > wanted.beyond
    if not wanted.unfinished:
        return found
    open_ = PARTS.c.watermark < PARTS.c.size
    return sa.and_(found, sa.or_(open_, PARTS.c.all_held > 0) if wanted.held else open_)


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(PARTS.c.run_no == lease.run_no, PARTS.c.part == lease.part)


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
    # Statements for many rows take up to 150 KB each, and those of some lengths never come again.
    options = {"check_same_thread": False, "timeout": 30.0, "cached_statements": 16}
    engine = sa.create_engine(f"sqlite:///{path}", connect_args=options)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")  # what was forgotten is nowhere in the file
        connection.execute("PRAGMA temp_store=MEMORY")  # nor in another: sorting makes files elsewhere

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
