"""Connections and transactions of the ledger, on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import SettingsError
from pipeline.loading.ledger.entries import RunRef
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.ledger.tables import NEWEST, TENANTS
from tests.loading.tenant import CONNECTION

URL, RUN = CONNECTION.base_url, RunRef("run-1", 10, 1)
OPEN_FILES = Path("/proc/self/fd")


def open_files(folder: Path) -> list[Path]:
    files = [path.readlink() for path in OPEN_FILES.iterdir() if path.is_symlink()]
    return [path for path in files if folder in path.parents]


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="needs a list of the files that are open")
def test_a_closed_ledger_holds_no_file(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        ledger.open_run(RUN)
        ledger.find(["a"])
        assert open_files(tmp_path)
    assert open_files(tmp_path) == []
    with SqlLedger(tmp_path / "l.db", URL) as ledger, ledger.connection.begin():
        ledger.connection.exec_driver_sql(f"UPDATE schema_version SET version = {NEWEST + 1}")
    with pytest.raises(SettingsError) as refused:  # kept, and with it what it was raised in
        SqlLedger(tmp_path / "l.db")
    assert "schema" in refused.value.message
    assert open_files(tmp_path) == []


def test_what_was_read_to_compute_a_write_is_changed_by_nobody_else(any_ledger: SqlLedger) -> None:
    patience = "SET lock_timeout = 10" if any_ledger.is_shared else "PRAGMA busy_timeout = 10"
    with SqlLedger(any_ledger.where, URL) as other:
        other.connection.exec_driver_sql(patience)
        other.connection.commit()
        with any_ledger.writing(), pytest.raises(SettingsError, match="lock"):
            other.open_run(RUN)
        other.open_run(RUN)


def test_a_tenant_that_was_not_written_in_the_end_is_not_known(tmp_path: Path) -> None:
    def enter_and_fail(ledger: SqlLedger) -> None:
        with ledger.writing():
            ledger.enter_tenant()
            raise LookupError

    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        with pytest.raises(LookupError):
            enter_and_fail(ledger)
        assert ledger.tenants() == []
        assert (ledger.open_run(RUN).run_no, ledger.tenants()) == (1, [URL])


def test_nothing_is_entered_for_a_tenant_without_a_name(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger:
        with pytest.raises(ValueError, match="No tenant was named"):
            ledger.open_run(RUN)
        assert (ledger.base_url, ledger.tenants()) == (None, [])


def test_a_ledger_of_today_has_nothing_to_adopt(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        assert (ledger.unadopted(), ledger.adopt()) == (None, False)
        ledger.open_run(RUN)
        assert (ledger.unadopted(), ledger.adopt()) == (None, False)


def test_of_several_tenants_none_is_meant(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger:
        for number, url in enumerate(["https://a.test", "https://b.test"]):
            with ledger.writing():
                ledger.connection.execute(TENANTS.insert().values(base_url=url))
            with ledger.reading():
                assert ledger.tenant() == (None if number else 1)
