"""The ledger's tables, and how they came to be as they are."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from pipeline.loading.entries import KINDS, State

METADATA: Final = sa.MetaData()
VERSION = sa.Table("schema_version", METADATA, sa.Column("version", sa.Integer, nullable=False))
RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("no", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False, unique=True),
    sa.Column("prepared_at", sa.Float, nullable=False),
)
PARTS = sa.Table(
    "parts",
    METADATA,
    sa.Column("run_no", sa.Integer, sa.ForeignKey("runs.no"), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("watermark", sa.Integer, nullable=False),
    *(sa.Column(f"{side}_{kind}", sa.Integer, nullable=False) for side in ("below", "all") for kind in KINDS),
    sa.Column("owner", sa.Text),
    sa.Column("leased_until", sa.Float, nullable=False, server_default="0"),
)
TRANSACTIONS = sa.Table(
    "transactions",
    METADATA,
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
RECENT = sa.Table(
    "recent",
    METADATA,
    sa.Column("no", sa.Integer, primary_key=True),
    *(sa.Column(each.name, each.type, nullable=each.nullable) for each in TRANSACTIONS.columns),
    sqlite_autoincrement=True,  # a number is never used again
)
"""In SQLite only; see `pipeline.loading.rows`."""


def is_in(column: sa.ColumnElement[str], *states: State) -> sa.ColumnElement[bool]:
    """Whether a state is one of these."""
    # Written out, not bound: an index's condition and a statement for many rows take no list of values.
    return column.in_([sa.literal_column(f"'{state}'") for state in states])


def is_trouble(state: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether a state is one that people look into."""
    return is_in(state, State.REFUSED, State.FAILED, State.MISSING, State.DIFFERING)


sa.Index(
    "transactions_in_trouble",
    TRANSACTIONS.c.run_no,
    sqlite_where=is_trouble(TRANSACTIONS.c.state),
    postgresql_where=is_trouble(TRANSACTIONS.c.state),
)
FILES = sa.Table(
    "files",
    METADATA,
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
    for table in (VERSION, RUNS, PARTS, TRANSACTIONS):
        table.to_metadata(first)
    first.tables[TRANSACTIONS.name].dialect_options["sqlite"]["with_rowid"] = False
    texts = (sa.Column(name, sa.Text, nullable=False) for name in ("digest", "run_id"))
    numbers = (sa.Column(name, sa.BigInteger, nullable=False) for name in ("size", "modified_ns"))
    sa.Table(FILES.name, first, sa.Column("path", sa.Text, primary_key=True), *numbers, *texts)
    first.create_all(connection)


def _files_by_recipe(connection: sa.Connection) -> None:
    """Each mapping knows its own files; those from before, of which that is not known, are read again."""
    connection.execute(sa.schema.DropTable(FILES))
    connection.execute(sa.schema.CreateTable(FILES))


def _transactions_as_they_came(connection: sa.Connection) -> None:
    """SQLite keeps rows in the order they came in: so those that go out together share pages."""
    if connection.dialect.name != "sqlite":
        return
    connection.exec_driver_sql("DROP INDEX transactions_in_trouble")
    connection.exec_driver_sql("ALTER TABLE transactions RENAME TO earlier")
    connection.execute(sa.schema.CreateTable(TRANSACTIONS))
    connection.exec_driver_sql("INSERT INTO transactions SELECT * FROM earlier")
    connection.exec_driver_sql("DROP TABLE earlier")
    for index in TRANSACTIONS.indexes:
        connection.execute(sa.schema.CreateIndex(index))


def _recent_rows_apart(connection: sa.Connection) -> None:
    """SQLite keeps recent rows in a table of their own."""
    if connection.dialect.name == "sqlite":
        connection.execute(sa.schema.CreateTable(RECENT))


MIGRATIONS: Final = (_first_schema, _files_by_recipe, _transactions_as_they_came, _recent_rows_apart)
"""Step n takes the schema from version n to n + 1; never change what one does, add another."""


def upsert(insert: Any, *key: str) -> Any:
    """An insert that replaces what has the same key."""
    # Columns that are not written (a part's lease) stay as they are.
    written = [c.name for c in insert.table.columns if c.name not in (*key, "owner", "leased_until")]
    return insert.on_conflict_do_update(
        index_elements=list(key), set_={name: insert.excluded[name] for name in written}
    )
