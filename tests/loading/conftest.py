from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.tenant import CONNECTION


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    with SqlLedger(tmp_path / "ledger.db", CONNECTION.base_url) as opened:
        yield opened


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def any_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlLedger]:
    """The same tests for either database; each test gets an empty one."""
    if request.param == "sqlite":
        where: Path | str = tmp_path / "ledger.db"
    else:
        where = request.getfixturevalue("postgres")
    with SqlLedger(where, CONNECTION.base_url) as opened:
        yield opened
