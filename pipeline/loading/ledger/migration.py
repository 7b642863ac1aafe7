"""How ledgers of older versions come to the present schema: in one transaction, and with a copy kept.

Up to version 4 a ledger did not know its tenant, kept the counts of a run apart from its transactions, and
in SQLite, version 4, the last rows in a table of their own.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from pipeline.core.errors import SettingsError
from pipeline.core.storage.files import open_private
from pipeline.loading.ledger.entries import ACCEPTED_BY_OMNEO, COUNTED, Passed, State
from pipeline.loading.ledger.tables import COUNTS, METADATA, NEWEST, PARTS, RUNS, TENANTS, VERSION

# The number of the advisory lock; any number that others do not use will do.
_MIGRATING: Final = 0x0EE0
_OLD_TABLES: Final[tuple[str, ...]] = ("files", "parts", "recent", "runs", "transactions")
_KINDS: Final = ("delivered", "unchanged", "refused", "failed", "held")
_PLACEHOLDER: Final = 1
"""The number of the tenant that is not known yet."""


def bring_up_to_date(db: sa.Connection, where: Path | str, name: str) -> list[str]:
    """Make the tables, or bring those of an older version to the present schema.

    Args:
        db: The database.
        where: Where it is; a copy of a file is kept beside it.
        name: What to call it.

    Returns:
        What people should know of it, a sentence each; nothing where nothing was changed.

    Raises:
        SettingsError: It was made by a newer version.
    """
    with db.begin():
        version = _version(db)
    if version > NEWEST:
        raise SettingsError(
            f"The ledger {name} has schema {version}; this version knows up to {NEWEST}.",
            hint="Upgrade omneo-import, or use another --workdir.",
        )
    if version == NEWEST:
        return []
    with db.begin():
        # All or nothing, and one at a time, should several start at once.
        if db.dialect.name == "postgresql":
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
        else:
            db.exec_driver_sql("BEGIN IMMEDIATE")
        version = _version(db)
        if version == NEWEST:
            return []
        said = list(_migrated(db, version, where, name)) if version else []
        if not version:
            METADATA.create_all(db)
        db.execute(VERSION.delete())
        db.execute(VERSION.insert().values(version=NEWEST))
        return said


def copy_of(path: Path, version: int) -> Path:
    """Where the copy of an SQLite ledger of an older version is."""
    return path.with_name(f"{path.name}.v{version}")


def forget_messages_in_copies(db: sa.Connection, where: Path | str) -> None:
    """Remove all messages of the server from what migrations kept; nothing reads them there."""
    if isinstance(where, Path):
        for version in range(1, NEWEST):
            if (copy := copy_of(where, version)).exists():
                with closing(sqlite3.connect(copy)) as old:
                    old.execute("PRAGMA secure_delete=ON")
                    for (table,) in old.execute(_WITH_WORDS).fetchall():
                        old.execute(f"UPDATE {table} SET words = NULL WHERE words IS NOT NULL")  # noqa: S608
                    old.commit()
        return
    with db.begin():
        for name in sa.inspect(db).get_table_names():
            if name.startswith("transactions_v"):
                db.exec_driver_sql(f"UPDATE {name} SET words = NULL WHERE words IS NOT NULL")  # noqa: S608


_WITH_WORDS: Final = "SELECT name FROM sqlite_master WHERE name IN ('transactions', 'recent')"


def _version(db: sa.Connection) -> int:
    there = sa.inspect(db).has_table(VERSION.name)
    return int(db.execute(sa.select(VERSION.c.version)).scalar() or 0) if there else 0


def _migrated(db: sa.Connection, version: int, where: Path | str, name: str) -> Iterator[str]:
    if isinstance(where, Path):
        kept = f"a copy is kept as {_keep_copy(where, version)}"
    else:
        kept = f"its tables are kept under names that end in _v{version}"
    yield f"The ledger {name} was brought from schema {version} to {NEWEST}; {kept}."
    old = _set_aside(db, version)
    METADATA.create_all(db)
    db.execute(TENANTS.insert().values(no=_PLACEHOLDER, base_url=""))
    if db.dialect.name == "postgresql":
        # The row was inserted with its number, which PostgreSQL's sequence does not notice.
        db.exec_driver_sql("SELECT setval(pg_get_serial_sequence('tenants', 'no'), 1)")
    _copy_records(db, old)
    yield from _copy_runs(db, old)
    # Before version 2 the mapping by which a file was read was not noted.
    if version > 1:
        _copy_files(db, old["files"])
    if db.dialect.name == "sqlite":
        for table in old.values():
            db.exec_driver_sql(f"DROP TABLE {table}")


def _keep_copy(path: Path, version: int) -> Path:
    copy = copy_of(path, version)
    # Created first, with private rights: SQLite would create it as the umask says.
    open_private(copy).close()
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        # The backup copies WAL mode too; without it the copy is one file, with no log beside it.
        target.execute("PRAGMA journal_mode=DELETE")
    return copy


def _set_aside(db: sa.Connection, version: int) -> Mapping[str, str]:
    """Rename the old tables; gives their names now."""
    there = set(sa.inspect(db).get_table_names())
    names: dict[str, str] = {table: f"{table}_v{version}" for table in _OLD_TABLES if table in there}
    for table, name in names.items():
        db.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")
    return names


def _copy_records(db: sa.Connection, old: Mapping[str, str]) -> None:
    """Transactions: those being sent are in doubt now, and those given up may have been sent."""
    columns = "external_id, hash, state, attempts, status, words, batch, run_no, at"
    rows = f"SELECT {columns} FROM {old['transactions']}"  # noqa: S608 (all names are ours)
    if "recent" in old:
        recent = old["recent"]
        rows += f" WHERE external_id NOT IN (SELECT external_id FROM {recent})"  # noqa: S608
        last = f"SELECT max(no) FROM {recent} GROUP BY external_id"  # noqa: S608
        rows += f" UNION ALL SELECT {columns} FROM {recent} WHERE no IN ({last})"  # noqa: S608
    db.exec_driver_sql(
        "INSERT INTO records (tenant_no, external_id, hash, state, run_no, attempts, status, message, batch, "  # noqa: S608
        '"before", maybe_sent, omneo_id, source_time, held_run, at) '
        f"SELECT {_PLACEHOLDER}, external_id, hash, "
        "CASE state WHEN 'sending' THEN 'in_doubt' ELSE state END, run_no, attempts, status, words, batch, "
        "NULL, CASE WHEN state IN ('sending', 'failed') THEN 1 ELSE 0 END, NULL, NULL, NULL, at "
        f"FROM ({rows}) AS old"
    )


def _copy_runs(db: sa.Connection, old: Mapping[str, str]) -> Iterator[str]:
    """Runs, with counts that are computed again from their transactions."""
    parts: dict[int, list[Any]] = defaultdict(list)
    for row in db.execute(sa.text(f"SELECT * FROM {old['parts']} ORDER BY run_no, part")):  # noqa: S608
        parts[row.run_no].append(row)
    own: dict[int, dict[str, int]] = defaultdict(dict)
    counted = "SELECT run_no, state, count(*) FROM records GROUP BY run_no, state"
    for run_no, state, number in db.execute(sa.text(counted)):
        own[run_no][state] = number
    runs = db.execute(sa.text(f"SELECT no, run_id, prepared_at FROM {old['runs']} ORDER BY no")).all()  # noqa: S608
    for no, run_id, prepared_at in runs:
        # A run without parts was never sent.
        if parts[no]:
            yield from _copy_run(
                db,
                no,
                run_id=run_id,
                ordinal=round(prepared_at * 1_000_000),
                parts=parts[no],
                own=own[no],
            )
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(
            "SELECT setval(pg_get_serial_sequence('runs', 'no'), "
            "(SELECT coalesce(max(no), 0) + 1 FROM runs), false)"
        )


def _copy_run(
    db: sa.Connection, no: int, *, run_id: str, ordinal: int, parts: Sequence[Any], own: Mapping[str, int]
) -> Iterator[str]:
    size = sum(part.size for part in parts)
    left = size - sum(own.values())
    old = {kind: sum(getattr(part, f"all_{kind}") for part in parts) for kind in _KINDS}
    if any(number < 0 for number in old.values()) or sum(old.values()) > size:
        wrong = ", ".join(f"{kind} {number}" for kind, number in old.items() if number)
        yield f"The counts of run {run_id} did not add up ({wrong}); they were made anew from its records."
    # If something is left to do, the run starts again at 0: that finds what it had passed by.
    is_done = all(part.watermark == part.size for part in parts) and not old["held"]
    accepted = sum(own.get(state, 0) for state in ACCEPTED_BY_OMNEO)
    replaced = min(max(0, old["delivered"] - accepted), left) if is_done else 0
    unchanged = left - replaced if is_done else 0
    counts = dict.fromkeys(map(str, COUNTED), 0) | dict(own)
    counts[State.DELIVERED] += replaced
    counts[Passed.UNCHANGED] = unchanged
    counts[State.PENDING] += 0 if is_done else left
    db.execute(RUNS.insert().values(no=no, tenant_no=_PLACEHOLDER, run_id=run_id, ordinal=ordinal, size=size))
    db.execute(COUNTS.insert(), [{"run_no": no, "state": str(s), "n": n} for s, n in counts.items()])
    for part in parts:
        is_first = part is parts[0]
        db.execute(
            PARTS.insert().values(
                run_no=no,
                part=part.part,
                size=part.size,
                watermark=part.size if is_done else 0,
                unchanged=unchanged if is_first else 0,
                replaced=replaced if is_first else 0,
            )
        )


def _copy_files(db: sa.Connection, old: str) -> None:
    db.exec_driver_sql(
        "INSERT INTO files (tenant_no, digest, recipe, path, size, modified_ns, run_id) "  # noqa: S608
        f"SELECT {_PLACEHOLDER}, digest, recipe, path, size, modified_ns, run_id FROM {old} WHERE true "
        "ON CONFLICT DO NOTHING"
    )
