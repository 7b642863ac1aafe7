"""Copies a whole ledger into an empty one on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import sqlalchemy as sa

from pipeline.core.errors import SettingsError
from pipeline.core.events import Emit, Progress, StageFinished, StageStarted, ignore
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.ledger.ledger_database import LedgerDatabase
from pipeline.loading.ledger.tables import COUNTS, METADATA, RECORDS, RUNS, TENANTS, VERSION

if TYPE_CHECKING:
    import psycopg

STAGE: Final = "copy"
_AT_ONCE: Final = 1000
"""Rows in memory at a time."""
_TABLES: Final = [table for table in METADATA.sorted_tables if table is not VERSION]
"""Those first to which others refer. Each ledger has its own version, which is the newest in both."""
_NUMBERED: Final = (TENANTS, RUNS)
"""PostgreSQL counts the numbers of these up by itself, and does not notice those that are copied."""
_STATES: Final = {
    "states of transactions": sa.select(RECORDS.c.tenant_no, RECORDS.c.state, sa.func.count()).group_by(
        RECORDS.c.tenant_no, RECORDS.c.state
    ),
    "counts of runs": sa.select(COUNTS.c.run_no, COUNTS.c.state, COUNTS.c.n),
}
"""What is compared besides the number of rows."""


def copy_ledger(source: Path | str, target: str, emit: Emit = ignore) -> dict[str, int]:
    """Copy all that a ledger knows, of every tenant.

    It is one transaction: the target has all of it in the end, or nothing. Memory holds a thousand rows at a
    time. Nothing can be written to the source meanwhile, and nothing in it is changed.

    Args:
        source: Path of an SQLite file, or a `postgresql://` address.
        target: A `postgresql://` address of a database in which no ledger holds anything yet.
        emit: Gets the progress.

    Returns:
        The number of rows by table.

    Raises:
        SettingsError: There is nothing to copy, the target holds something, one of them cannot be used, or
            what is in the target afterwards is not what is in the source.
    """
    if not target.startswith(("postgresql://", "postgres://")):
        raise SettingsError(
            "The ledger to copy to is no postgresql:// address.",
            hint="Write --to postgresql://user@host/database. `sqlite3 OLD '.backup NEW'` copies a file.",
        )
    if isinstance(source, Path) and not source.exists():
        raise SettingsError(f"There is no ledger {source}.", hint="Name it with --workdir or --ledger.")
    begun = time.monotonic()
    with SqlLedger(source) as old, SqlLedger(target) as new:
        with old.reading():
            is_empty = not any(_rows(old).values())
        if is_empty:
            raise SettingsError(f"The ledger {old.name} is empty, so there is nothing to copy.")
        # The target first: if it is the source under another name, it must not wait for itself.
        with new.writing():
            if filled := [name for name, rows in _rows(new).items() if rows]:
                raise SettingsError(
                    f"The ledger {new.name} already holds something (in {', '.join(filled)}), and two "
                    "ledgers cannot be joined.",
                    hint="Name an empty database.",
                )
            with old.writing():
                rows = _rows(old)
                emit(StageStarted(STAGE, "rows", sum(rows.values())))
                _copy(old, new, emit)
                _compare(old, new)
    emit(StageFinished(STAGE, sum(rows.values()), time.monotonic() - begun))
    return rows


def _copy(old: LedgerDatabase, new: LedgerDatabase, emit: Emit) -> None:
    done = 0
    for table in _TABLES:
        found = old.connection.execute(sa.select(table), execution_options={"yield_per": _AT_ONCE})
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        # COPY, since inserting takes four times as much of this process, and twice as much of PostgreSQL.
        with new.explained("written"), _copying(new, f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for some in found.partitions():
                for row in some:
                    copy.write_row(row)
                done += len(some)
                emit(Progress(STAGE, done))
    for table in _NUMBERED:
        last = f"(SELECT coalesce(max(no), 0) + 1 FROM {table.name})"  # noqa: S608 (a name of ours)
        new.connection.exec_driver_sql(
            f"SELECT setval(pg_get_serial_sequence('{table.name}', 'no'), {last}, false)"
        )


@contextmanager
def _copying(ledger: LedgerDatabase, statement: str) -> Iterator[psycopg.Copy]:
    """A COPY of PostgreSQL within the transaction of its ledger."""
    import psycopg  # an extra

    connection = cast("psycopg.Connection[Any]", ledger.connection.connection.driver_connection)
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            yield copy
    except psycopg.Error as error:
        # The cursor is the driver's own, so SQLAlchemy does not translate its errors.
        raise sa.exc.DBAPIError(statement, None, error) from error


def _compare(old: LedgerDatabase, new: LedgerDatabase) -> None:
    """Check what was written by reading it.

    Raises:
        SettingsError: It is not what the source holds; the target is left empty.
    """
    wrong = [] if _rows(old) == _rows(new) else ["numbers of rows"]
    for name, wanted in _STATES.items():
        before, after = (sorted(map(tuple, db.connection.execute(wanted))) for db in (old, new))
        wrong += [] if before == after else [name]
    if wrong:
        raise SettingsError(
            f"The {' and '.join(wrong)} in {new.name} are not those in {old.name}; nothing was kept there.",
            hint="Copy it again. If that fails too, keep using the old ledger, and report it.",
        )


def _rows(ledger: LedgerDatabase) -> dict[str, int]:
    """The number of rows of each table. Within a transaction."""
    db = ledger.connection
    counts = {table.name: sa.select(sa.func.count()).select_from(table) for table in _TABLES}
    return {name: db.execute(count).scalar_one() for name, count in counts.items()}
