"""The ledger's tables, the same in SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from pipeline.loading.ledger.entries import UNSETTLED

NEWEST: Final = 5
"""The version of this schema; `pipeline.loading.ledger.migration` brings older ones to it."""

METADATA: Final = sa.MetaData()
VERSION = sa.Table("schema_version", METADATA, sa.Column("version", sa.Integer, nullable=False))
TENANTS = sa.Table(
    "tenants",
    METADATA,
    sa.Column("no", sa.Integer, primary_key=True),
    sa.Column("base_url", sa.Text, nullable=False, unique=True),  # '': of an older schema, not known yet
)
RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("no", sa.Integer, primary_key=True),
    sa.Column("tenant_no", sa.Integer, sa.ForeignKey("tenants.no"), nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("tenant_no", "run_id"),
)
PARTS = sa.Table(
    "parts",
    METADATA,
    sa.Column("run_no", sa.Integer, sa.ForeignKey("runs.no"), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("watermark", sa.BigInteger, nullable=False),
    sa.Column("unchanged", sa.BigInteger, nullable=False),
    # Delivered by this run and taken over by another since; only in what older schemas did not keep apart.
    sa.Column("replaced", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("owner", sa.Text),
    sa.Column("leased_until", sa.Float, nullable=False, server_default="0"),
)
COUNTS = sa.Table(
    "counts",
    METADATA,
    sa.Column("run_no", sa.Integer, sa.ForeignKey("runs.no"), primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, sa.CheckConstraint("n >= 0"), nullable=False),
)
RECORDS = sa.Table(
    "records",
    METADATA,
    sa.Column("tenant_no", sa.Integer, primary_key=True),
    sa.Column("external_id", sa.Text, primary_key=True),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("run_no", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("status", sa.SmallInteger),
    sa.Column("message", sa.Text),
    sa.Column("batch", sa.Text),
    sa.Column("before", sa.Text),
    sa.Column("maybe_sent", sa.SmallInteger, nullable=False),
    sa.Column("omneo_id", sa.Text),
    sa.Column("source_time", sa.BigInteger),
    sa.Column("total", sa.Text),
    sa.Column("held_run", sa.Integer),
    sa.Column("at", sa.BigInteger, nullable=False),
)
# Written out, not bound: the condition of an index takes no values.
_IS_UNSETTLED: Final = RECORDS.c.state.in_([sa.literal_column(f"'{state}'") for state in sorted(UNSETTLED)])
sa.Index(
    "unsettled_records",
    RECORDS.c.run_no,
    sqlite_where=_IS_UNSETTLED,
    postgresql_where=_IS_UNSETTLED,
)
PLACES = sa.Table(
    "places",
    METADATA,
    sa.Column("run_no", sa.Integer, sa.ForeignKey("runs.no"), primary_key=True),
    sa.Column("external_id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
"""What a run counts a transaction as, where its record does not say; see `pipeline.loading.ledger.moves`."""
sa.Index("places_by_id", PLACES.c.external_id)
FILES = sa.Table(
    "files",
    METADATA,
    sa.Column("tenant_no", sa.Integer, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("recipe", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("modified_ns", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
)
sa.Index("files_by_path", FILES.c.tenant_no, FILES.c.recipe, FILES.c.path)
