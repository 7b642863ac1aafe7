"""The truth about delivery: one record a transaction and tenant, in SQLite or PostgreSQL.

*Sending* is on disk before a request leaves, the outcome after. SQLite runs in WAL mode with
`synchronous=FULL`: every commit is synced, so an intent survives power loss too; commits are grouped, so
that costs one sync for hundreds of records. PostgreSQL's own default is as strict.

Every change of a record moves its transaction between the counts of its run in the same commit. So counts
are read without a look at records, and every transaction of a run is in exactly one of them.
"""

from __future__ import annotations

import sqlite3
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Protocol, Self

import sqlalchemy as sa

from pipeline.core.errors import RunError, SettingsError, WorkdirBusy
from pipeline.core.files import make_private
from pipeline.core.settings import tenant_of
from pipeline.loading.ledger import migration
from pipeline.loading.ledger.entries import (
    ACCEPTED_BY_OMNEO,
    COUNTED,
    DELIVERY,
    UNSETTLED,
    Counted,
    CountsBroken,
    DeliveryProgress,
    ImportedFile,
    Lease,
    LeaseLost,
    PartSelection,
    Pass,
    Passed,
    Record,
    Return,
    RunRef,
    RunStatus,
    Stamp,
    State,
    Write,
    may_be_void,
    was_void,
)
from pipeline.loading.ledger.moves import Kept, after, moves
from pipeline.loading.ledger.tables import COUNTS, FILES, PARTS, RECORDS, RUNS, TENANTS

_AT_ONCE: Final = 256
"""Ids in one statement; their number is rounded up to one of `_WIDTHS`: few statements are prepared."""
_WIDTHS: Final = (1, 16, 64, _AT_ONCE)


class Ledger(Protocol):
    """What the writer needs of a ledger."""

    def find(self, external_ids: Sequence[str], run_no: int | None = None) -> dict[str, Record]:
        """The records of these transactions; those unknown are left out."""

    def record(self, writes: Sequence[Write], progress: DeliveryProgress | None = None) -> None:
        """Write all of this, and how far the run is, in one durable commit."""


class SqlLedger:
    """The ledger in a database. Use it from one thread at a time, and for `find` from one more.

    Args:
        where: Path of an SQLite file, made with mode 0600, or a `postgresql://` address.
        base_url: The tenant whose records are meant. Where neither this nor `bind` names one, it is the only
            one that the ledger knows; where it knows several, it is none.

    Raises:
        SettingsError: It cannot be opened or written, or was made by a newer version.
    """

    def __init__(self, where: Path | str, base_url: str | None = None) -> None:
        self.where, self._where = _name_of(where), where
        self.notices: tuple[str, ...] = ()
        self._base_url: str | None = None
        self._tenant_no: int | None = None
        self._order: dict[int, tuple[int, int]] = {}
        with self._explained("opened"):
            self._engine = _engine(where)
            self._db = self._engine.connect()
            self._finder: sa.Connection | None = None
            try:
                said = migration.bring_up_to_date(self._db, where, self.where)
                self.notices = tuple(said)
            except BaseException:
                self.close()
                raise
        self._sql = _Statements(is_postgres=self.is_shared)
        if base_url is not None:
            self.bind(base_url)

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
        number = _lock_number(name)
        kind = "_shared" if shared else ""
        with self._reading():
            taken = sa.text(f"SELECT pg_try_advisory_lock{kind}(:number)")
            if not self._db.execute(taken, {"number": number}).scalar_one():
                raise WorkdirBusy(f"{name} is in use by another process.", hint="Wait for it.")
        try:
            yield
        finally:
            with self._reading():
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

    # Whose records are meant

    @property
    def base_url(self) -> str | None:
        """The tenant whose records are meant; None where none was named."""
        return self._base_url

    def bind(self, base_url: str) -> None:
        """Mean the records of this tenant from now on.

        Raises:
            ValueError: Another tenant was named before.
        """
        url = tenant_of(base_url)
        if self._base_url not in (None, url):
            raise ValueError(f"The ledger is used for {self._base_url}, not for {url}.")
        self._base_url = url

    def tenants(self) -> list[str]:
        """The base URLs of all tenants that it knows; an empty text for a tenant that is not known yet."""
        with self._reading():
            return list(self._db.execute(sa.select(TENANTS.c.base_url).order_by(TENANTS.c.no)).scalars())

    def unadopted(self) -> str | None:
        """A transaction of a tenant that an older schema did not note (`adoption.py`).

        One that was delivered, if there is any; an empty text where there is none at all. None where all
        tenants are known, or where that which is meant has records of its own.
        """
        old = sa.select(TENANTS.c.no).where(TENANTS.c.base_url == "").scalar_subquery()
        accepted = RECORDS.c.state.in_(sorted(ACCEPTED_BY_OMNEO))
        wanted = sa.select(RECORDS.c.external_id).where(RECORDS.c.tenant_no == old)
        with self._reading():
            tenants = self._db.execute(sa.select(TENANTS.c.base_url)).scalars().all()
            if "" not in tenants or self._base_url in tenants:
                return None
            found: str | None = self._db.execute(wanted.where(accepted).limit(1)).scalar()
            return found if found is not None else self._db.execute(wanted.limit(1)).scalar() or ""

    def adopt(self) -> bool:
        """Give the records of a tenant that was not known to the tenant that is meant.

        Returns:
            Whether there were any; there are none for a tenant that has records already.
        """
        assert self._base_url
        mine = TENANTS.update().where(TENANTS.c.base_url == "").values(base_url=self._base_url)
        with self._writing():
            if self._tenant() is not None and self._known_tenant(self._base_url) is not None:
                return False
            return self._db.execute(mine).rowcount > 0

    # What the loader uses

    def open_run(self, run: RunRef, part: int = 0) -> DeliveryProgress:
        """Enter the run, or find it, and say how far it or one part of it is."""
        with self._writing():
            run_no = self._enter(run)
            if part == 0 and not self._parts(run_no):
                self._db.execute(self._sql.add_part, _values(DeliveryProgress(run_no, 0, run.size)))
            (progress,) = self._parts(run_no, part)
            newer = frozenset(no for no in self._order if self._is_newer(no, run_no))
            return replace(progress, newer_runs=newer)

    def reopen(self, run: RunRef) -> bool:
        """Have a run gone through again from its start: what is held, pending or undone is somewhere in it.

        What it passed by as unchanged is pending until it is passed by again. Parts that a worker holds are
        left alone.

        Returns:
            Whether there was anything to go through again.
        """
        with self._writing():
            run_no = self._enter(run)
            free = sa.and_(PARTS.c.run_no == run_no, PARTS.c.leased_until < self._now())
            rows = self._db.execute(sa.select(PARTS).where(free, PARTS.c.watermark > 0)).all()
            unchanged, replaced = sum(row.unchanged for row in rows), sum(row.replaced for row in rows)
            again = {"watermark": 0, "unchanged": 0, "replaced": 0}
            self._db.execute(PARTS.update().where(free).values(again))
            self._count(
                Counter(
                    {
                        (run_no, State.PENDING): unchanged + replaced,
                        (run_no, Passed.UNCHANGED): -unchanged,
                        (run_no, State.DELIVERED): -replaced,
                    }
                )
            )
            return bool(rows)

    def find(self, external_ids: Sequence[str], run_no: int | None = None) -> dict[str, Record]:
        """The records of these transactions; those unknown are left out.

        Args:
            external_ids: The transactions.
            run_no: The run that asks: `Record.place` says what it counts a transaction as where another run
                has the record.
        """
        with self._explained("read"):
            if self._finder is None:
                self._finder = self._engine.connect()
            with self._finder.begin():
                tenant = self._tenant(self._finder)
                found = self._read(self._finder, tenant, external_ids)
                others = [name for name, each in found.items() if each.run_no != run_no]
                if run_no is not None and others:
                    places = self._read_places(self._finder, others)
                    for name, by_run in places.items():
                        if run_no in by_run:
                            found[name] = found[name]._replace(place=by_run[run_no])
                    for name in others:
                        if found[name].held_run == run_no:
                            found[name] = found[name]._replace(place=Passed.HELD)
        return found

    def record(self, writes: Sequence[Write], progress: DeliveryProgress | None = None) -> None:
        """See `Ledger`."""
        with self._writing():
            self._record(writes, progress)

    def record_leased(
        self, lease: Lease, writes: Sequence[Write], progress: DeliveryProgress | None = None
    ) -> None:
        """As `record`, but only while the part is still leased.

        Raises:
            LeaseLost: Another worker has taken the part over; nothing was written.
        """
        held = sa.select(PARTS.c.part).where(_is(lease), PARTS.c.owner == lease.owner).with_for_update()
        with self._writing():
            if self._db.execute(held).scalar() is None:
                raise LeaseLost(lease)
            self._record(writes, progress)

    def mark(self, seen: Iterable[tuple[Record, State]], *, begun: bool = False) -> None:
        """Note what was seen of transactions in Omneo: confirmed, missing, differing or voided.

        Only what Omneo has answered yes to can be that: a record in another state is left alone. So is one
        for which something was sent since it was read, for then what was seen is not about it.

        Args:
            seen: Records as they were read before, and what was seen of them.
            begun: Whether what Omneo perhaps has can be that too, since nobody is at it any more.
        """
        states = {record.external_id: (record, state) for record, state in seen}
        now = int(time.time())
        with self._writing():
            known = self._read(self._db, self._tenant(), list(states))
            marked = []
            for name, record in known.items():
                read, state = states[name]
                markable = record.state in _MARKABLE or (
                    begun and (record.maybe_sent or record.state in _IN_DOUBT)
                )
                if markable and not _has_moved_on(read, record):
                    maybe_sent = _may_change(record, state)
                    marked.append(record._replace(state=state, maybe_sent=maybe_sent, at=now))
            self._record(marked, None)

    # What commands ask

    def progress(self, run: RunRef) -> DeliveryProgress:
        """How far a whole run is, all parts together; nothing is entered where it was never opened."""
        with self._reading():
            no = self._find_run(run.run_id)
            parts = self._parts(no) if no is not None else []
            self._read_order()
            own = (run.ordinal, no or 0)
            newer = frozenset(other for other, order in self._order.items() if order > own and other != no)
        watermark = 0
        for part in parts:
            watermark += part.watermark
            if part.watermark < part.size:
                break
        return DeliveryProgress(no or 0, 0, run.size, watermark, newer_runs=newer)

    def passed(self, run_id: str) -> Callable[[int], bool]:
        """Says of a position in the delivery order whether the run has passed it."""
        with self._reading():
            no = self._find_run(run_id)
            parts = self._parts(no) if no is not None else []
        starts = list(accumulate((part.size for part in parts), initial=0))

        def is_passed(position: int) -> bool:
            at = bisect_right(starts, position) - 1
            return at < len(parts) and position - starts[at] < parts[at].watermark

        return is_passed

    def counts(self, run_id: str) -> dict[Counted, int]:
        """How many transactions of a run are counted as what; all zero where it was never entered."""
        with self._reading():
            no = self._find_run(run_id)
            return dict.fromkeys(COUNTED, 0) | (self._counts([no])[no] if no is not None else {})

    def settled(self, run_id: str) -> int:
        """How many transactions of a run are settled."""
        counts = self.counts(run_id)
        return sum(number for each, number in counts.items() if DELIVERY[each] not in ("pending", "in_doubt"))

    def status(self, run_id: str) -> RunStatus:
        """Counts of one run.

        Raises:
            RunError: Nothing of it was ever delivered to this tenant, so the ledger does not know it.
        """
        with self._reading():
            no = self._find_run(run_id)
            if no is None:
                raise RunError(f"The ledger knows no run {run_id}: nothing of it was sent yet.")
            return RunStatus.of(self._counts([no])[no])

    def statuses(self) -> dict[str, dict[str, RunStatus]]:
        """Counts of all runs that were ever loaded, by run and by base URL; no record is read."""
        columns = sa.select(RUNS.c.no, RUNS.c.run_id, TENANTS.c.base_url)
        with self._reading():
            runs = self._db.execute(columns.join(TENANTS).order_by(RUNS.c.no)).all()
            counts = self._counts(None)
        found: dict[str, dict[str, RunStatus]] = defaultdict(dict)
        for no, run_id, base_url in runs:
            found[run_id][base_url] = RunStatus.of(counts[no])
        return dict(found)

    def runs(self) -> list[str]:
        """Ids of the runs that were ever loaded to this tenant, oldest first."""
        with self._reading():
            tenant = self._tenant()
            wanted = sa.select(RUNS.c.run_id).where(RUNS.c.tenant_no == tenant).order_by(RUNS.c.no)
            return list(self._db.execute(wanted).scalars())

    def highest_ordinal(self) -> int:
        """The highest ordinal of any run of any tenant; 0 where there is none."""
        with self._reading():
            return int(self._db.execute(sa.select(sa.func.max(RUNS.c.ordinal))).scalar() or 0)

    def failed_transactions(self, run_id: str) -> Iterator[Record]:
        """What this run sent last and is refused, failed, missing, differing or in doubt, by id."""
        yield from self.unsettled(run_id, UNSETTLED - {State.PENDING})

    def unsettled(self, run_id: str, states: Iterable[State] = UNSETTLED) -> Iterator[Record]:
        """The transactions that this run sent last and that are in one of these states, by id."""
        with self._reading():
            run_no = self._find_run(run_id)
            rows = RECORDS.c
            wanted = sa.select(*_FIELDS).where(
                rows.run_no == run_no,
                rows.state.in_([sa.literal_column(f"'{state}'") for state in sorted(UNSETTLED)]),
                rows.state.in_(sorted(states)),
            )
            found = [_record(row) for row in self._db.execute(wanted.order_by(rows.external_id))]
        yield from found

    def forget(self, run_id: str, positions: Mapping[str, int]) -> None:
        """Count transactions of a run as forgotten, if Omneo surely has nothing of them from it.

        Args:
            run_id: The run.
            positions: By external id, where in the delivery order it is.
        """
        is_passed = self.passed(run_id)
        with self._writing():
            run_no = self._find_run(run_id)
            if run_no is None:
                return
            names, now = list(positions), int(time.time())
            kept = self._kept([Pass(name, run_no, State.FORGOTTEN) for name in names])
            # Of what was passed by as unchanged nothing is kept: Omneo has it.
            chosen = [
                name
                for name in names
                if not is_passed(positions[name])
                or kept[name].counted_in(run_no) is not State.PENDING
                or run_no in kept[name].places
            ]
            self._record([Pass(name, run_no, State.FORGOTTEN, now) for name in chosen], None)

    def forget_words(self, external_ids: Sequence[str], text: str) -> int:
        """Remove the server's words about some transactions, and all words in which a text stands.

        Args:
            external_ids: The transactions, in all tenants.
            text: Letter case is ignored.

        Returns:
            How many records had such words.
        """
        row = RECORDS.c
        chosen = row.external_id.in_(sa.bindparam("ids", expanding=True))
        holding = sa.func.lower(row.message).contains(text.lower(), autoescape=True)
        change = RECORDS.update().values(message=None).where(row.message.is_not(None))
        with self._explained("written"):
            with self._writing():
                number = self._db.execute(change.where(holding)).rowcount
                for start in range(0, len(external_ids), 1000):
                    some = {"ids": list(external_ids[start : start + 1000])}
                    number += self._db.execute(change.where(chosen), some).rowcount
            migration.forget_words_in_copies(self._db, self._where)
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

    def share(self, run: RunRef, sizes: Sequence[int]) -> list[DeliveryProgress]:
        """Enter the run in parts of these sizes, numbered from 1, unless it has parts; gives its parts.

        The sizes of the first to enter it count.
        """
        with self._writing():
            run_no = self._enter(run)
            if not self._parts(run_no):
                self._db.execute(
                    self._sql.add_part,
                    [_values(DeliveryProgress(run_no, part, size)) for part, size in enumerate(sizes, 1)],
                )
            return self._parts(run_no)

    def take(self, run_no: int, owner: str, lease_s: float, wanted: PartSelection) -> Lease | None:
        """Lease the first free part that is wanted; None where there is none.

        Args:
            run_no: The run.
            owner: Name of the worker, unique among all.
            lease_s: How long; `renew` makes it longer.
            wanted: Which parts.
        """
        with self._writing():
            now = self._now()
            free = (
                sa.select(PARTS.c.part)
                .where(PARTS.c.run_no == run_no, PARTS.c.leased_until < now, _condition(wanted))
                .order_by(PARTS.c.part)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            part = self._db.execute(free).scalar()
            if part is None:
                return None
            lease = Lease(run_no, part, owner)
            self._db.execute(PARTS.update().where(_is(lease)).values(owner=owner, leased_until=now + lease_s))
            return lease

    def are_left(self, run_no: int, wanted: PartSelection) -> bool:
        """Whether any part is wanted, leased or not."""
        left = sa.select(PARTS.c.part).where(PARTS.c.run_no == run_no, _condition(wanted)).limit(1)
        with self._reading():
            return self._db.execute(left).scalar() is not None

    def renew(self, lease: Lease, lease_s: float) -> int:
        """Make a lease last so long from now; gives how many workers hold leases in this ledger.

        Raises:
            LeaseLost: Another worker has taken the part over.
        """
        longer = PARTS.update().where(_is(lease), PARTS.c.owner == lease.owner)
        with self._writing():
            now = self._now()
            workers = sa.select(sa.func.count(PARTS.c.owner.distinct())).where(PARTS.c.leased_until >= now)
            if self._db.execute(longer.values(leased_until=now + lease_s)).rowcount == 0:
                raise LeaseLost(lease)
            return int(self._db.execute(workers).scalar_one())

    def release(self, lease: Lease) -> None:
        """Let others have the part at once, if it is still leased."""
        mine = PARTS.update().where(_is(lease), PARTS.c.owner == lease.owner)
        with self._writing():
            self._db.execute(mine.values(owner=None, leased_until=0))

    # Source files

    def known_files(self, digests: Sequence[str], recipe: str = "") -> dict[str, ImportedFile]:
        """The files with these contents that this tenant got, read by this recipe; by digest."""
        return {file.digest: file for file in self._files(FILES.c.digest, digests, recipe)}

    def known_paths(self, paths: Sequence[str], recipe: str = "") -> list[ImportedFile]:
        """The files that were at these paths when this tenant got them, read by this recipe."""
        return list(self._files(FILES.c.path, paths, recipe))

    def note_files(self, files: Sequence[ImportedFile]) -> None:
        """Note files as read; what was noted of the same contents before is replaced."""
        if files:
            with self._writing():
                tenant = self._own_tenant()
                columns = ("digest", "recipe", "path", "size", "modified_ns", "run_id")
                rows = [(tenant, *(getattr(file, name) for name in columns)) for file in files]
                self._db.exec_driver_sql(self._sql.put_file, rows)

    def _files(self, column: sa.Column[str], values: Sequence[str], recipe: str) -> Iterator[ImportedFile]:
        with self._reading():
            wanted = sa.select(FILES).where(
                FILES.c.tenant_no == self._tenant(),
                FILES.c.recipe == recipe,
                column.in_(sa.bindparam("values", expanding=True)),
            )
            found = [
                row
                for start in range(0, len(values), 1000)
                for row in self._db.execute(wanted, {"values": list(values[start : start + 1000])})
            ]
        for row in found:
            yield ImportedFile(row.path, row.size, row.modified_ns, row.digest, row.run_id, row.recipe)

    # Inside: tenants, runs and parts

    def _known_tenant(self, base_url: str, db: sa.Connection | None = None) -> int | None:
        wanted = sa.select(TENANTS.c.no).where(TENANTS.c.base_url == base_url)
        no: int | None = (db or self._db).execute(wanted).scalar()
        return no

    def _tenant(self, db: sa.Connection | None = None) -> int | None:
        """The number of the tenant that is meant; None where the ledger has nothing of it."""
        if self._base_url is not None:
            if self._tenant_no is None:
                self._tenant_no = self._known_tenant(self._base_url, db)
            return self._tenant_no
        known = (db or self._db).execute(sa.select(TENANTS.c.no)).scalars().all()
        return known[0] if len(known) == 1 else None

    def _own_tenant(self) -> int:
        """The same, entered where the ledger has nothing of it yet."""
        tenant = self._tenant()
        if tenant is None:
            if self._base_url is None:
                raise ValueError("No tenant was named whose records are meant.")
            self._db.execute(TENANTS.insert().values(base_url=self._base_url))
            tenant = self._tenant_no = self._known_tenant(self._base_url)
            assert tenant is not None
        return tenant

    def _find_run(self, run_id: str) -> int | None:
        wanted = sa.select(RUNS.c.no).where(RUNS.c.run_id == run_id, RUNS.c.tenant_no == self._tenant())
        no: int | None = self._db.execute(wanted).scalar()
        return no

    def _enter(self, run: RunRef) -> int:
        """The run's number; it is entered with all that it has as pending where it is not known yet."""
        no = self._find_run(run.run_id)
        if no is None:
            row = {"tenant_no": self._own_tenant(), "run_id": run.run_id}
            self._db.execute(RUNS.insert().values(**row, ordinal=run.ordinal, size=run.size))
            no = self._find_run(run.run_id)
            assert no is not None
            empty = [
                {"run_no": no, "state": str(each), "n": 0} for each in COUNTED if each is not State.PENDING
            ]
            pending = {"run_no": no, "state": str(State.PENDING), "n": run.size}
            self._db.execute(COUNTS.insert(), [*empty, pending])
        self._read_order()
        return no

    def _read_order(self, db: sa.Connection | None = None) -> None:
        runs = sa.select(RUNS.c.no, RUNS.c.ordinal).where(RUNS.c.tenant_no == self._tenant(db))
        self._order = {no: (ordinal, no) for no, ordinal in (db or self._db).execute(runs)}

    def _is_newer(self, run_no: int, other: int) -> bool:
        if not (run_no in self._order and other in self._order):  # another process has entered one
            self._read_order()
        return self._order.get(run_no, (0, run_no)) > self._order.get(other, (0, other))

    def _parts(self, run_no: int, part: int | None = None) -> list[DeliveryProgress]:
        wanted = sa.select(PARTS).where(PARTS.c.run_no == run_no).order_by(PARTS.c.part)
        if part is not None:
            wanted = wanted.where(PARTS.c.part == part)
        return [
            DeliveryProgress(row.run_no, row.part, row.size, row.watermark, row.unchanged)
            for row in self._db.execute(wanted)
        ]

    def _now(self) -> float:
        """The database's time, since the clocks of machines differ; seconds since 1970."""
        if not self.is_shared:
            return time.time()
        return float(self._db.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    # Inside: records and counts

    def _read(self, db: sa.Connection, tenant: int | None, external_ids: Sequence[str]) -> dict[str, Record]:
        if tenant is None:
            return {}
        found: dict[str, Record] = {}
        for statement, ids in self._sql.find(external_ids):
            rows = db.exec_driver_sql(statement, (tenant, *ids)).all()
            found.update((row[0], _record(row)) for row in rows)
        return found

    def _read_places(self, db: sa.Connection, external_ids: Sequence[str]) -> dict[str, dict[int, Counted]]:
        """By transaction and by run of this tenant, what it is counted as where its record does not say."""
        found: dict[str, dict[int, Counted]] = defaultdict(dict)
        for statement, ids in self._sql.find_places(external_ids):
            rows = db.exec_driver_sql(statement, tuple(ids)).all()
            if any(run_no not in self._order for run_no, *_ in rows):
                self._read_order(db)
            for run_no, external_id, state in rows:
                if run_no in self._order:
                    found[external_id][run_no] = _COUNTED[state]
        return found

    def _record(self, writes: Sequence[Write], progress: DeliveryProgress | None) -> None:
        old = self._kept(writes)
        new = dict(old)
        moved: Counter[tuple[int, Counted]] = Counter()
        for write in writes:
            if isinstance(write, Stamp):
                for name in write.external_ids:
                    if (record := new[name].record) is not None:
                        new[name] = new[name]._replace(record=record._replace(batch=write.batch))
                continue
            name = _id_of(write)
            kept = after(new[name], write, self._is_newer)
            for move in moves(new[name], kept):
                moved[move.run_no, move.old] -= 1
                moved[move.run_no, move.new] += 1
            new[name] = kept
        self._put({name: (old[name], kept) for name, kept in new.items() if kept != old[name]})
        if progress is not None:
            moved.update(self._advance(progress))
        self._count(moved)

    def _kept(self, writes: Sequence[Write]) -> dict[str, Kept]:
        """What is kept of all transactions that these writes are about."""
        run_of: dict[str, int | None] = {}
        for write in writes:
            if isinstance(write, Stamp):
                for name in write.external_ids:
                    run_of.setdefault(name, None)
            elif isinstance(write, Record) and run_of.get(write.external_id) in (None, write.run_no):
                run_of[write.external_id] = write.run_no
            else:
                run_of[_id_of(write)] = -1  # places matter
        tenant = self._tenant()
        records = self._read(self._db, tenant, list(run_of))
        # Places are few: they are read only where another run's interests may be concerned.
        shared = [
            name
            for name, run_no in run_of.items()
            if run_no is not None
            and (run_no < 0 or (name in records and _concerns_others(records[name], run_no)))
        ]
        places = self._read_places(self._db, shared) if shared else {}
        return {name: Kept(records.get(name), places.get(name, {})) for name in run_of}

    def _put(self, changed: Mapping[str, tuple[Kept, Kept]]) -> None:
        tenant = self._own_tenant() if changed else None
        # In the order of ids, so that neighbours in the index are written together.
        rows = [
            (tenant, *_row(new.record))
            for _, (old, new) in sorted(changed.items())
            if new.record is not None and new.record != old.record
        ]
        put, gone = [], []
        for name, (old, new) in changed.items():
            if new.places is not old.places:
                gone += [(run_no, name) for run_no in old.places if run_no not in new.places]
                put += [
                    (run_no, name, str(counted))
                    for run_no, counted in new.places.items()
                    if old.places.get(run_no) is not counted
                ]
        for statement, values in (
            (self._sql.put_record, rows),
            (self._sql.put_place, put),
            (self._sql.drop_place, gone),
        ):
            if values:
                self._db.exec_driver_sql(statement, values)

    def _advance(self, progress: DeliveryProgress) -> Counter[tuple[int, Counted]]:
        """Write how far a part is; what was passed by as unchanged moves with it."""
        mine = (progress.run_no, progress.part)
        before: int = self._db.exec_driver_sql(self._sql.unchanged_of, mine).scalar_one()
        self._db.exec_driver_sql(self._sql.advance, (progress.watermark, progress.unchanged, *mine))
        by = progress.unchanged - before
        run_no = progress.run_no
        return Counter({(run_no, State.PENDING): -by, (run_no, Passed.UNCHANGED): by})

    def _count(self, moved: Mapping[tuple[int, Counted], int]) -> None:
        # In one order everywhere, so that two writers never wait for each other.
        changed = sorted((no, str(counted), by) for (no, counted), by in moved.items() if by)
        if not changed:
            return
        rows = [(by, run_no, counted) for run_no, counted, by in changed]
        try:
            self._db.exec_driver_sql(self._sql.add_to_count, rows)
        except sa.exc.IntegrityError as error:
            raise CountsBroken(f"A count would become negative: {changed}") from error
        for run_no in sorted({run_no for run_no, _, _ in changed}):
            both = self._db.exec_driver_sql(self._sql.size_and_total, (run_no,)).one_or_none()
            size, counted = both or (0, 0)
            if both is None or size != counted:
                raise CountsBroken(f"Run {run_no} has {size} transactions, and {counted} would be counted.")

    def _counts(self, runs: Sequence[int] | None) -> dict[int, dict[Counted, int]]:
        wanted = sa.select(COUNTS.c.run_no, COUNTS.c.state, COUNTS.c.n)
        if runs is not None:
            wanted = wanted.where(COUNTS.c.run_no.in_(runs))
        found: dict[int, dict[Counted, int]] = defaultdict(dict)
        for run_no, state, number in self._db.execute(wanted):
            found[run_no][_COUNTED[state]] = number
        return found

    # Inside: transactions

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._explained("read"), self._db.begin():
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One durable commit.

        Writers come one after another, since each computes its moves from what is there. They would wait for
        each other at the counts of their run anyway.
        """
        known = self._tenant_no
        try:
            with self._explained("written"), self._db.begin():
                if self.is_shared:
                    self._db.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITING)))
                else:
                    self._db.exec_driver_sql("BEGIN IMMEDIATE")
                yield
        except BaseException:
            self._tenant_no = known  # what was entered of it is not there
            raise

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise SettingsError(
                f"The ledger {self.where} cannot be {verb}: {str(cause).strip()}.",
                hint="Check the disk's free space and the rights, then repeat the command. Nothing is lost: "
                "what could not be recorded counts as in doubt and is looked up or sent again.",
            ) from None


_IN_DOUBT: Final = frozenset({State.SENDING, State.VOIDING, State.IN_DOUBT})


def _concerns_others(record: Record, run_no: int) -> bool:
    return record.run_no != run_no or record.held_run is not None


def _id_of(write: Record | Return | Pass) -> str:
    return write.record.external_id if isinstance(write, Return) else write.external_id


_COUNTED: Final[Mapping[str, Counted]] = {str(each): each for each in COUNTED}
_COLUMNS: Final = tuple(name for name in Record._fields if name != "place")
_FIELDS: Final = tuple(RECORDS.c[name] for name in _COLUMNS)
_STATES: Final = {str(each): each for each in State}


def _record(row: Sequence[Any]) -> Record:
    external_id, content, state, run_no, attempts, status, message, batch, before, maybe_sent, *rest = row
    return Record(
        external_id,
        content,
        _STATES[state],
        run_no,
        attempts,
        status,
        message,
        batch,
        None if before is None else _STATES[before],
        bool(maybe_sent),
        *rest,
    )


def _row(record: Record) -> tuple[Any, ...]:
    before = None if record.before is None else record.before.value
    return (*record[:2], record.state.value, *record[3:8], before, int(record.maybe_sent), *record[10:-1])


class _Statements:
    """Statements that are executed for many rows or with every commit, as their drivers take them."""

    def __init__(self, *, is_postgres: bool) -> None:
        self._mark = mark = "%s" if is_postgres else "?"
        self._is_postgres = is_postgres
        columns = ("tenant_no", *_COLUMNS)
        self.put_record = self._upsert("records", columns, ("tenant_no", "external_id"))
        self.put_place = self._upsert("places", ("run_no", "external_id", "state"), ("run_no", "external_id"))
        self.drop_place = f"DELETE FROM places WHERE run_no = {mark} AND external_id = {mark}"  # noqa: S608
        self.put_file = self._upsert(
            "files",
            ("tenant_no", "digest", "recipe", "path", "size", "modified_ns", "run_id"),
            ("tenant_no", "digest", "recipe"),
        )
        self.add_to_count = f"UPDATE counts SET n = n + {mark} WHERE run_no = {mark} AND state = {mark}"  # noqa: S608
        self.size_and_total = (
            f"SELECT size, (SELECT sum(n) FROM counts WHERE run_no = runs.no) FROM runs WHERE no = {mark}"  # noqa: S608
        )
        self.unchanged_of = f"SELECT unchanged FROM parts WHERE run_no = {mark} AND part = {mark}"  # noqa: S608
        self.advance = (
            f"UPDATE parts SET watermark = {mark}, unchanged = {mark} "  # noqa: S608
            f"WHERE run_no = {mark} AND part = {mark}"
        )
        self.add_part = PARTS.insert()

    def find(self, external_ids: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        """Statements that read records of a tenant, and the ids that go into each."""
        start = f"SELECT {_names(_COLUMNS)} FROM records WHERE tenant_no = {self._mark} AND external_id"  # noqa: S608
        return self._by_ids(start, external_ids)

    def find_places(self, external_ids: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        """Statements that read places, and the ids that go into each."""
        return self._by_ids("SELECT run_no, external_id, state FROM places WHERE external_id", external_ids)

    def _by_ids(self, start: str, ids: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        if self._is_postgres:
            if ids:
                yield f"{start} = ANY(%s)", [list(ids)]
            return
        for at in range(0, len(ids), _AT_ONCE):
            some = list(ids[at : at + _AT_ONCE])
            width = next(width for width in _WIDTHS if width >= len(some))
            some += some[-1:] * (width - len(some))
            yield f"{start} IN ({', '.join('?' * width)})", some

    def _upsert(self, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        written = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
        values = ", ".join([self._mark] * len(columns))
        return (
            f"INSERT INTO {table} ({_names(columns)}) VALUES ({values}) "  # noqa: S608 (all names are ours)
            f"ON CONFLICT ({_names(key)}) DO UPDATE SET {written}"
        )


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


_WRITING: Final = 0x0EE1
"""Names the advisory lock of all writers; any number that others do not use will do."""


def _lock_number(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)


def _condition(wanted: PartSelection) -> sa.ColumnElement[bool]:
    found = PARTS.c.part > wanted.beyond
    return sa.and_(found, PARTS.c.watermark < PARTS.c.size) if wanted.unfinished else found


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(PARTS.c.run_no == lease.run_no, PARTS.c.part == lease.part)


def _values(progress: DeliveryProgress) -> dict[str, int]:
    """A part's row, but for its lease."""
    return {
        "run_no": progress.run_no,
        "part": progress.part,
        "size": progress.size,
        "watermark": progress.watermark,
        "unchanged": progress.unchanged,
    }


def _name_of(where: Path | str) -> str:
    if isinstance(where, Path):
        return str(where)
    return sa.make_url(where).render_as_string(hide_password=True)


_MARKABLE: Final = ACCEPTED_BY_OMNEO - {State.VOIDED}


def _has_moved_on(read: Record, now: Record) -> bool:
    """Whether something was sent for a transaction, or is about to be, since its record was read."""
    sent = (read.run_no, read.hash, read.attempts) != (now.run_no, now.hash, now.attempts)
    return sent or not (read.state is now.state or now.state in _MARKABLE)


def _may_change(record: Record, seen: State) -> bool:
    """Whether a request that is late, as a void of which nothing was heard, may change what was seen."""
    return was_void(record) if seen is State.VOIDED else may_be_void(record)


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
    # Before SQLite makes it, which then gives the journal files beside it the same mode.
    make_private(path)
    options = {"check_same_thread": False, "timeout": 30.0, "cached_statements": 64}
    engine = sa.create_engine(f"sqlite:///{path}", connect_args=options)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")  # what was forgotten is nowhere in the file
        connection.execute("PRAGMA temp_store=MEMORY")  # nor in another: sorting makes files elsewhere

    return engine
