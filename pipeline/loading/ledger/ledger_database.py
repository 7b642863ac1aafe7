"""The ledger's database, SQLite or PostgreSQL: connections, transactions, locks, and whose records count.

SQLite runs in WAL mode with `synchronous=FULL`: every commit is synced, so that an intent survives a power
cut. PostgreSQL is as strict by default.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from pipeline.core.errors import SettingsError, WorkdirBusy
from pipeline.core.settings import tenant_of
from pipeline.core.storage.files import make_private
from pipeline.loading.ledger import migration
from pipeline.loading.ledger.entries import ACCEPTED_BY_OMNEO
from pipeline.loading.ledger.tables import RECORDS, TENANTS

_WRITE_LOCK: Final = 0x0EE1
"""Key of the advisory lock that all writers take: any number that nothing else in the database uses."""
_BUSY_TIMEOUT_S: Final = 30.0
"""How long SQLite waits for another process that writes: a checkpoint of a large log can take seconds."""
_CONNECT: Final = "Check its address, and the password: PGPASSWORD or ~/.pgpass, on this machine."
_REPEAT: Final = (
    "Check the disk's free space and the rights, then repeat the command. Nothing is lost: what could not be "
    "recorded counts as in doubt and is looked up or sent again."
)
_CACHED_STATEMENTS: Final = 64
"""Prepared statements that SQLite's driver keeps: more than a load has, so that none is prepared twice."""


class LedgerDatabase:
    """An open ledger database, for one tenant.

    Args:
        where: Path of an SQLite file, which is created with mode 0600, or a `postgresql://` address.
        base_url: The tenant whose records count. Without one, here or from `bind`, it is the only tenant that
            the ledger knows, or none where it knows several.

    Attributes:
        name: The path or address, without a password.
        where: As given.
        notices: What opening it changed, a sentence each, for the user.
        engine: SQLAlchemy's engine.
        connection: Used by one thread at a time.

    Raises:
        SettingsError: It cannot be opened or written, or was created by a newer version.
    """

    def __init__(self, where: Path | str, base_url: str | None = None) -> None:
        self.name, self.where = display_name(where), where
        self.notices: tuple[str, ...] = ()
        self._base_url: str | None = None
        self._tenant_no: int | None = None
        self._finder: sa.Connection | None = None
        with self.explained("opened"):
            self.engine = _engine(where)
            self.connection = self.engine.connect()
            try:
                self.notices = tuple(migration.bring_up_to_date(self.connection, where, self.name))
            except BaseException:
                self.close()
                raise
        if base_url is not None:
            self.bind(base_url)

    @property
    def is_shared(self) -> bool:
        """Whether processes on several machines may use it at the same time."""
        return self.engine.dialect.name == "postgresql"

    @property
    def finder(self) -> sa.Connection:
        """A second connection, so that records are read while a commit runs."""
        if self._finder is None:
            self._finder = self.engine.connect()
        return self._finder

    def close(self) -> None:
        """Close all connections."""
        self.connection.close()
        if self._finder is not None:
            self._finder.close()
        self.engine.dispose()

    # Transactions and locks

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A transaction that only reads."""
        with self.explained("read"), self.connection.begin():
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One durable commit.

        Writers take turns, since each computes what to move between the counts from what it reads. They
        would wait for each other at the counts of their run anyway.
        """
        known = self._tenant_no
        try:
            with self.explained("written"), self.connection.begin():
                if self.is_shared:
                    self.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE_LOCK)))
                else:
                    # By default SQLite locks at the first write; by then others may have changed what was
                    # read.
                    self.connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield
        except BaseException:
            # A rollback also removes a tenant that was entered in this transaction.
            self._tenant_no = known
            raise

    @contextmanager
    def explained(self, verb: str) -> Iterator[None]:
        """Raise errors of the database as a SettingsError that says what could not be done."""
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error, OSError) as error:
            cause = getattr(error, "orig", None) or error
            is_server = isinstance(self.where, str)
            raise SettingsError(
                f"The ledger {self.name} cannot be {verb}: {str(cause).strip()}.",
                hint=_CONNECT if is_server and verb == "opened" else _REPEAT,
            ) from None

    @contextmanager
    def held(self, name: str, *, shared: bool) -> Iterator[None]:
        """Hold a lock by name for the length of a `with` block.

        The database releases the lock when its holder dies. SQLite has no such locks; there it does nothing.

        Raises:
            WorkdirBusy: Another process holds it.
        """
        if not self.is_shared:
            yield
            return
        # PostgreSQL's key of an advisory lock is a signed number of 64 bits.
        key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), signed=True)
        kind = "_shared" if shared else ""
        with self.reading():
            # A lock of the session: it outlives this transaction.
            taken = sa.text(f"SELECT pg_try_advisory_lock{kind}(:key)")
            if not self.connection.execute(taken, {"key": key}).scalar_one():
                raise WorkdirBusy(f"{name} is in use by another process.", hint="Wait for it.")
        try:
            yield
        finally:
            with self.reading():
                self.connection.execute(sa.text(f"SELECT pg_advisory_unlock{kind}(:key)"), {"key": key})

    def now(self) -> float:
        """Seconds since 1970 by the database's clock, since the clocks of machines differ."""
        if not self.is_shared:
            return time.time()
        now = sa.text("SELECT extract(epoch FROM clock_timestamp())")
        return float(self.connection.execute(now).scalar_one())

    # Whose records count

    @property
    def base_url(self) -> str | None:
        """The tenant whose records count; None where none was named."""
        return self._base_url

    def bind(self, base_url: str) -> None:
        """Use the records of this tenant from now on.

        Raises:
            ValueError: Another tenant was named before.
        """
        url = tenant_of(base_url)
        if self._base_url not in (None, url):
            raise ValueError(f"The ledger is used for {self._base_url}, not for {url}.")
        self._base_url = url

    def tenants(self) -> list[str]:
        """The base URLs of all tenants that it knows; an empty text for a tenant that is not known yet."""
        with self.reading():
            urls = sa.select(TENANTS.c.base_url).order_by(TENANTS.c.no)
            return list(self.connection.execute(urls).scalars())

    def tenant(self, db: sa.Connection | None = None) -> int | None:
        """The tenant's number; None where the ledger has nothing of it.

        Args:
            db: The connection to ask; the first one by default.
        """
        if self._base_url is not None:
            if self._tenant_no is None:
                self._tenant_no = self._number_of(self._base_url, db)
            return self._tenant_no
        known = (db or self.connection).execute(sa.select(TENANTS.c.no)).scalars().all()
        return known[0] if len(known) == 1 else None

    def enter_tenant(self) -> int:
        """The tenant's number; it is entered where the ledger has nothing of it yet. Within `writing`."""
        tenant = self.tenant()
        if tenant is None:
            if self._base_url is None:
                raise ValueError("No tenant was named for this ledger.")
            self.connection.execute(TENANTS.insert().values(base_url=self._base_url))
            tenant = self._tenant_no = self._number_of(self._base_url)
            assert tenant is not None
        return tenant

    def unadopted(self) -> str | None:
        """A transaction of a tenant that an older schema did not note (`adoption.py`).

        One that was delivered, if there is any; an empty text where there is none at all. None where all
        tenants are known, or where the tenant in use has records of its own.
        """
        old = sa.select(TENANTS.c.no).where(TENANTS.c.base_url == "").scalar_subquery()
        accepted = RECORDS.c.state.in_(sorted(ACCEPTED_BY_OMNEO))
        wanted = sa.select(RECORDS.c.external_id).where(RECORDS.c.tenant_no == old)
        with self.reading():
            tenants = self.connection.execute(sa.select(TENANTS.c.base_url)).scalars().all()
            if "" not in tenants or self._base_url in tenants:
                return None
            # Two queries: to sort by the state, all of the ledger would be read.
            found: str | None = self.connection.execute(wanted.where(accepted).limit(1)).scalar()
            return found if found is not None else self.connection.execute(wanted.limit(1)).scalar() or ""

    def adopt(self) -> bool:
        """Give the records of the tenant that was not noted to the tenant in use.

        Returns:
            Whether there were any; there are none for a tenant that has records already.
        """
        assert self._base_url
        mine = TENANTS.update().where(TENANTS.c.base_url == "").values(base_url=self._base_url)
        with self.writing():
            if self.tenant() is not None:
                return False
            return self.connection.execute(mine).rowcount > 0

    def _number_of(self, base_url: str, db: sa.Connection | None = None) -> int | None:
        wanted = sa.select(TENANTS.c.no).where(TENANTS.c.base_url == base_url)
        no: int | None = (db or self.connection).execute(wanted).scalar()
        return no


def display_name(where: Path | str) -> str:
    """A ledger's path or address, without a password."""
    if isinstance(where, Path):
        return str(where)
    return sa.make_url(where).render_as_string(hide_password=True)


def _engine(where: Path | str) -> sa.Engine:
    if isinstance(where, Path):
        return _sqlite(where)
    url = sa.make_url(where)
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise SettingsError(f"--ledger {display_name(where)}: a postgresql:// address was expected.")
    try:
        return sa.create_engine(url.set(drivername="postgresql+psycopg"))
    except ModuleNotFoundError:
        raise SettingsError(
            "A ledger on PostgreSQL needs the driver psycopg, which is not installed.",
            hint="pip install 'omneo-import[postgres]'",
        ) from None


def _sqlite(path: Path) -> sa.Engine:
    # Before SQLite creates it: SQLite gives the journal files beside it the same mode.
    make_private(path)
    options = {
        "check_same_thread": False,  # the ledger's thread, and the caller before and after it
        "timeout": _BUSY_TIMEOUT_S,
        "cached_statements": _CACHED_STATEMENTS,
    }
    engine = sa.create_engine(f"sqlite:///{path}", connect_args=options)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")  # what was forgotten must not stay in free pages
        connection.execute("PRAGMA temp_store=MEMORY")  # nor in temporary files that sorting writes elsewhere

    return engine
