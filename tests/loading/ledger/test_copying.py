"""A ledger that moves to another database: all of it, or nothing, and it goes on there."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.core.errors import SettingsError
from pipeline.core.events import Event, Progress, StageFinished, StageStarted
from pipeline.loading.ledger import copying
from pipeline.loading.ledger.copying import copy_ledger
from pipeline.loading.ledger.entries import ImportedFile, RunRef, State
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.ledger.tables import METADATA
from pipeline.testing import LocalOmneo
from tests.command import call
from tests.loading.ledger.test_ledger import OTHER_URL, RUN, URL, record
from tests.receipts import export
from tests.servers import new_database

STATES = [State.DELIVERED, State.REFUSED, State.SENDING, State.IN_DOUBT, State.FAILED]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A ledger of two tenants with all that it may hold."""
    path = tmp_path / "old.sqlite"
    for url, run in ((URL, RUN), (OTHER_URL, RunRef("run-other", 5, 9))):
        with SqlLedger(path, url) as ledger:
            no = ledger.open_run(run).run_no
            ledger.record(
                [record(f"{n}-ø", state, no, message="é", total="1.50") for n, state in enumerate(STATES)]
            )
            ledger.files.note([ImportedFile("/a.csv", 3, 5, f"digest-{url}", run.run_id, "recipe")])
    return path


def contents(where: Path | str) -> dict[str, list[tuple[object, ...]]]:
    with SqlLedger(where) as ledger, ledger.reading():
        return {
            table.name: sorted(map(tuple, ledger.connection.execute(sa.select(table))), key=repr)
            for table in METADATA.sorted_tables
        }


def test_a_ledger_is_copied_whole(
    source: Path, postgres: str, postgres_address: sa.URL, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(copying, "_AT_ONCE", 2)  # so that each table takes several batches
    before, seen = contents(source), list[Event]()
    rows = copy_ledger(source, postgres, seen.append)
    assert (rows["tenants"], rows["runs"], rows["records"], rows["files"]) == (2, 2, 10, 2)
    first, *between, last = seen
    assert first == StageStarted("copy", "rows", sum(rows.values()))
    assert [each.done for each in between if isinstance(each, Progress)][-1] == sum(rows.values())
    assert isinstance(last, StageFinished)
    assert last.done == sum(rows.values())
    assert 0 <= last.seconds < 100
    assert contents(postgres) == contents(source) == before
    another = new_database(postgres_address)
    copy_ledger(postgres, another)
    assert contents(another) == before


def test_the_copy_goes_on_where_the_ledger_was(source: Path, postgres: str):
    copy_ledger(source, postgres)
    with SqlLedger(postgres, URL) as ledger:
        assert ledger.status(RUN.run_id).delivered == 1
        later = ledger.open_run(RunRef("run-2", 3, 10))
        assert later.run_no == 3  # its number was counted up
        ledger.record([record("new", State.DELIVERED, later.run_no)])
        assert set(ledger.find(["new", "0-ø"])) == {"new", "0-ø"}
    with SqlLedger(postgres, "https://api.third.test/api/v3") as ledger:
        assert ledger.find(["0-ø"]) == {}
        ledger.open_run(RunRef("run-3", 1, 11))


def test_a_target_that_holds_anything_is_refused(source: Path, postgres: str):
    with SqlLedger(postgres, URL) as ledger:
        ledger.open_run(RunRef("mine", 1, 1))
    before = contents(postgres)
    with pytest.raises(SettingsError, match="already holds something"):
        copy_ledger(source, postgres)
    assert contents(postgres) == before


def test_a_ledger_is_not_copied_onto_itself(source: Path, postgres: str):
    copy_ledger(source, postgres)
    before = contents(postgres)
    with pytest.raises(SettingsError, match="already holds something"):
        copy_ledger(postgres, postgres)
    assert contents(postgres) == before


def test_the_target_is_a_database_on_postgresql(source: Path):
    for typed in (str(source), "new.sqlite", "mysql://db/ledger", "postgresql://nowhere.invalid/x"):
        assert call("copy-ledger", "--to", typed, "--ledger", source).code == 2


def test_without_anything_to_copy_there_is_an_error(tmp_path: Path, postgres: str):
    with pytest.raises(SettingsError, match="There is no ledger"):
        copy_ledger(tmp_path / "none.sqlite", postgres)
    assert not list(tmp_path.iterdir())
    SqlLedger(tmp_path / "empty.sqlite").close()
    with pytest.raises(SettingsError, match="is empty"):
        copy_ledger(tmp_path / "empty.sqlite", postgres)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", ["DELETE FROM records WHERE external_id = '1-ø'", "UPDATE counts SET n = n + 1"]
)
def test_what_is_not_the_same_afterwards_is_not_kept(
    source: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, change: str
):
    copied = copying._copy

    def damaged(old: SqlLedger, new: SqlLedger, emit: object) -> None:
        copied(old, new, copying.ignore)
        new.connection.exec_driver_sql(change)

    monkeypatch.setattr(copying, "_copy", damaged)
    with pytest.raises(SettingsError, match="nothing was kept"):
        copy_ledger(source, postgres)
    assert not contents(postgres)["tenants"]


@pytest.mark.slow
def test_a_load_goes_on_from_another_database(
    workdir: Path, tmp_path: Path, omneo: LocalOmneo, postgres: str
):
    common = ("--json", "--workdir", workdir)
    env = omneo.environment()
    assert call("prepare", "-m", "pos_lines", *common, export(tmp_path / "sales.csv", 30)).code == 0
    assert call("load", "latest", "--first", "10", *common, env=env).summary["delivery"]["pending"] == 20
    copied = call("copy-ledger", "--to", postgres, *common)
    assert (copied.code, copied.summary["rows"]["records"]) == (0, 10)
    moved = (*common, "--ledger", postgres)
    loaded = call("load", "latest", *moved, env=env)
    assert loaded.summary["delivery"]["delivered"] == 30, loaded.stderr
    assert len(omneo.arrivals()) == 30
    again = call("copy-ledger", "--to", postgres, *common)
    assert again.code == 2
    assert "already holds something" in again.stderr
