from __future__ import annotations

import os
import sqlite3
import stat
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from pipeline.errors import RunError, SettingsError
from pipeline.loading import ledger as ledger_module
from pipeline.loading.entries import (
    Counts,
    Lease,
    LeaseLost,
    Record,
    RunRef,
    SourceFile,
    Stamp,
    State,
    Wanted,
    content_hash,
)
from pipeline.loading.ledger import MemoryLedger, SqlLedger
from pipeline.loading.tables import METADATA, MIGRATIONS
from tests.servers import new_database

SCHEMAS = Path(__file__).with_name("schemas")
"""What earlier versions made, as SQL: `<version>.<database>.sql`."""

RUN = RunRef("run-1", 10, datetime(2024, 1, 1, tzinfo=UTC))


def row(name: str, state: State = State.DELIVERED, run_no: int = 1, **fields: object) -> Record:
    return Record(name, content_hash(name.encode()), state, 1, 200, None, None, run_no, 1_700_000_000)._replace(
        **fields
    )


def test_what_was_recorded_is_found_as_it_was(any_ledger: SqlLedger) -> None:
    rows = [row("a"), row("b", State.REFUSED, status=422, words='{"message": "ø"}', batch="b-1"), row("c'\"")]
    any_ledger.open_run(RUN)
    any_ledger.record(rows)
    assert any_ledger.find(["a", "b", "c'\"", "unknown"]) == {each.external_id: each for each in rows}


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
def test_any_number_of_rows_goes_in_and_the_last_of_a_name_counts(any_ledger: SqlLedger, count: int) -> None:
    any_ledger.open_run(RUN)
    first = [row(f"n{number}", State.SENDING) for number in range(count)]
    last = [row(f"n{number}", status=number) for number in range(count)]
    any_ledger.record([*first, *last])
    assert any_ledger.find([f"n{number}" for number in range(count)]) == {r.external_id: r for r in last}


def test_a_later_record_replaces_the_whole_row(any_ledger: SqlLedger) -> None:
    any_ledger.open_run(RUN)
    any_ledger.record([row("a", State.REFUSED, status=422, words="no")])
    any_ledger.record([row("a", hash=b"0" * 16, attempts=7)])
    assert any_ledger.find(["a"])["a"] == row("a", hash=b"0" * 16, attempts=7)


def test_progress_comes_back_with_the_rows_of_its_commit(any_ledger: SqlLedger) -> None:
    start = any_ledger.open_run(RUN)
    assert (start.watermark, start.settled, start.size) == (0, Counts(), 10)
    further = replace(start, watermark=4, below=Counts(3, 1), settled=Counts(4, 1, 1))
    any_ledger.record([row("a")], further)
    assert any_ledger.open_run(RUN) == further


def test_runs_that_were_prepared_later_are_known(any_ledger: SqlLedger) -> None:
    later = RunRef("run-2", 1, datetime(2024, 1, 2, tzinfo=UTC))
    no = any_ledger.open_run(later).run_no
    assert any_ledger.open_run(RUN).newer_runs == {no}
    assert any_ledger.open_run(later).newer_runs == frozenset()


def test_the_status_adds_up(any_ledger: SqlLedger) -> None:
    start = any_ledger.open_run(RUN)
    rows = [
        row("a"),
        row("b", State.CONFIRMED),
        row("c", State.MISSING),
        row("d", State.REFUSED),
        row("e", State.VOIDED),
    ]
    any_ledger.record([each._replace(run_no=start.run_no) for each in rows])
    any_ledger.record([], replace(start, watermark=7, settled=Counts(4, 1, 1, 0, 1)))
    status = any_ledger.status("run-1")
    assert (status.delivered, status.unchanged, status.refused, status.failed) == (4, 1, 1, 0)
    assert status.pending == 4
    assert (status.confirmed, status.missing, status.differing, status.voided, status.held) == (1, 1, 0, 1, 1)
    total = status.delivered + status.unchanged + status.refused + status.failed + status.pending
    assert total == status.accepted == 10


def test_the_parts_of_a_run_add_up(any_ledger: SqlLedger) -> None:
    for part in (0, 1):
        start = any_ledger.open_run(replace(RUN, part=part, size=5))
        any_ledger.record([], replace(start, watermark=2, settled=Counts(2)))
    status = any_ledger.status("run-1")
    assert (status.accepted, status.delivered, status.pending) == (10, 4, 6)
    assert (any_ledger.settled("run-1"), any_ledger.settled("other")) == (4, 0)
    any_ledger.record([row("a", State.CONFIRMED), row("b", run_no=2)])
    any_ledger.open_run(replace(RUN, run_id="run-2"))
    assert any_ledger.statuses() == {name: any_ledger.status(name) for name in ("run-1", "run-2")}
    assert any_ledger.statuses()["run-1"].confirmed == 1


def test_an_unknown_run_is_an_error(any_ledger: SqlLedger) -> None:
    with pytest.raises(RunError, match="no run nowhere"):
        any_ledger.status("nowhere")
    assert any_ledger.runs() == []


def test_trouble_is_listed_by_run(any_ledger: SqlLedger) -> None:
    no = any_ledger.open_run(RUN).run_no
    any_ledger.record(
        [
            row("a", run_no=no),
            row("b", State.REFUSED, no),
            row("c", State.FAILED, no),
            row("d", State.FAILED, 99),
        ]
    )
    assert [each.external_id for each in any_ledger.in_trouble("run-1")] == ["b", "c"]


def test_only_what_was_delivered_can_be_marked(any_ledger: SqlLedger) -> None:
    any_ledger.record([row("a"), row("b", State.SENDING), row("c", State.VOIDED), row("d", State.MISSING)])
    any_ledger.mark(dict.fromkeys("abcdx", State.CONFIRMED))
    states = {name: found.state for name, found in any_ledger.find(list("abcdx")).items()}
    assert states == {"a": "confirmed", "b": "sending", "c": "voided", "d": "confirmed"}


UNFINISHED = Wanted(unfinished=True)


def test_a_run_is_shared_in_the_parts_of_the_first_who_enters_it(any_ledger: SqlLedger) -> None:
    first = any_ledger.share(RUN, [4, 4, 2])
    assert [(part.part, part.size, part.watermark) for part in first] == [(1, 4, 0), (2, 4, 0), (3, 2, 0)]
    assert any_ledger.share(RUN, [5, 5]) == first
    assert any_ledger.status("run-1").pending == 10


def test_parts_are_leased_in_order_and_to_one_at_a_time(any_ledger: SqlLedger) -> None:
    no = any_ledger.share(RUN, [4, 4, 2])[0].run_no
    leases = [any_ledger.take(no, name, 60, UNFINISHED) for name in ("one", "two", "one", "two")]
    assert [lease and lease.part for lease in leases] == [1, 2, 3, None]
    assert any_ledger.are_left(no, UNFINISHED)
    assert leases[1] is not None
    any_ledger.release(leases[1])
    assert any_ledger.take(no, "three", 60, UNFINISHED) == Lease(no, 2, "three")


def test_what_is_finished_or_done_is_not_wanted(any_ledger: SqlLedger) -> None:
    first, second = any_ledger.share(RUN, [4, 6])
    any_ledger.record([], replace(first, watermark=4, settled=Counts(3, held=1)))
    any_ledger.record([], replace(second, watermark=6))
    assert not any_ledger.are_left(first.run_no, UNFINISHED)
    assert any_ledger.take(first.run_no, "one", 60, UNFINISHED) is None
    again = any_ledger.take(first.run_no, "one", 60, Wanted(unfinished=True, held=True))
    assert again is not None
    assert again.part == 1
    later = any_ledger.take(first.run_no, "one", 60, Wanted(beyond=1))
    assert later is not None
    assert later.part == 2


def test_a_lease_that_is_not_renewed_goes_to_another_and_its_holder_can_write_no_more(
    any_ledger: SqlLedger,
) -> None:
    (part,) = any_ledger.share(RUN, [10])
    lost = any_ledger.take(part.run_no, "one", 0.05, UNFINISHED)
    assert lost is not None
    any_ledger.renew(lost, 0.1)
    any_ledger.record_leased(lost, [row("a")], replace(part, watermark=1))
    time.sleep(0.15)
    assert any_ledger.take(part.run_no, "two", 60, UNFINISHED) == Lease(part.run_no, 1, "two")
    with pytest.raises(LeaseLost):
        any_ledger.record_leased(lost, [row("b")], replace(part, watermark=0))
    with pytest.raises(LeaseLost):
        any_ledger.renew(lost, 60)
    any_ledger.release(lost)
    assert any_ledger.take(part.run_no, "three", 60, UNFINISHED) is None
    assert set(any_ledger.find(["a", "b"])) == {"a"}
    assert any_ledger.progress(RUN).watermark == 1


def test_recording_progress_leaves_the_lease_alone(any_ledger: SqlLedger) -> None:
    (part,) = any_ledger.share(RUN, [10])
    any_ledger.take(part.run_no, "one", 60, UNFINISHED)
    any_ledger.record([], part)
    assert any_ledger.take(part.run_no, "two", 60, UNFINISHED) is None


def test_a_renewal_tells_how_many_work(any_ledger: SqlLedger) -> None:
    no = any_ledger.share(RUN, [5, 5])[0].run_no
    other = replace(RUN, run_id="run-2")
    any_ledger.take(any_ledger.share(other, [10])[0].run_no, "two", 60, UNFINISHED)
    lease = any_ledger.take(no, "one", 60, UNFINISHED)
    gone = any_ledger.take(no, "three", 0.01, UNFINISHED)
    time.sleep(0.05)
    assert lease is not None
    assert gone is not None
    assert any_ledger.renew(lease, 60) == 2


def test_how_far_a_run_is_counts_up_to_the_first_that_is_not_settled(any_ledger: SqlLedger) -> None:
    assert any_ledger.progress(RUN).watermark == 0
    assert any_ledger.runs() == []
    parts = any_ledger.share(RUN, [4, 4, 2])
    for part, watermark in zip(parts, (4, 3, 2), strict=True):
        any_ledger.record([], replace(part, watermark=watermark))
    assert any_ledger.progress(RUN).watermark == 7


def test_the_servers_words_about_somebody_are_forgotten(any_ledger: SqlLedger) -> None:
    words = {"a": '{"message": "no ANN@x.com"}', "b": '{"message": "no 50% of 1_2"}', "c": '{"message": "-"}'}
    any_ledger.record([row(name, words=text) for name, text in words.items()] + [row("d")])
    assert any_ledger.forget_words(["c", "d"], "ann@x.com") == 2
    assert any_ledger.forget_words([], "0%_of") == 0  # what would be a pattern is a text
    left = any_ledger.find(["a", "b", "c", "d"])
    assert {name: each.words for name, each in left.items() if each.words} == {"b": words["b"]}


def test_source_files_are_remembered(any_ledger: SqlLedger) -> None:
    first = SourceFile("a.csv", 10, 1_700_000_000_000_000_001, "d1", "run-1")
    any_ledger.note_files([first, replace(first, path="b.csv")])
    any_ledger.note_files([replace(first, size=11, run_id="run-2")])
    known = any_ledger.known_files(["a.csv", "b.csv", "c.csv"])
    assert known == {
        "a.csv": replace(first, size=11, run_id="run-2"),
        "b.csv": replace(first, path="b.csv"),
    }
    any_ledger.note_files([])


def test_files_are_remembered_by_what_they_were_read_by(any_ledger: SqlLedger) -> None:
    sales = SourceFile("a.csv", 10, 1, "d1", "run-1", recipe="sales")
    any_ledger.note_files([sales, replace(sales, recipe="refunds", run_id="run-2")])
    assert any_ledger.known_files(["a.csv"], "sales") == {"a.csv": sales}
    assert any_ledger.known_files(["a.csv"], "other") == {}


def test_more_ids_than_a_statement_takes_are_found(any_ledger: SqlLedger) -> None:
    names = [f"T{number}" for number in range(2500)]
    any_ledger.record([row(name) for name in names])
    assert len(any_ledger.find(names)) == 2500


def place_of(ledger: SqlLedger, tmp_path: Path) -> Path | str:
    """Where the ledger of `any_ledger` is."""
    return ledger.where if ledger.is_shared else tmp_path / "ledger.db"


def test_a_newer_schema_is_refused(any_ledger: SqlLedger, tmp_path: Path) -> None:
    where = place_of(any_ledger, tmp_path)
    with SqlLedger(where, migrations=(*MIGRATIONS, lambda _: None)):
        pass
    newest = len(MIGRATIONS)
    with pytest.raises(
        SettingsError, match=rf"schema {newest + 1}; this version knows up to {newest}"
    ) as told:
        SqlLedger(where)
    assert "Upgrade" in told.value.hint


def test_an_older_schema_is_migrated_and_keeps_its_rows(any_ledger: SqlLedger, tmp_path: Path) -> None:
    any_ledger.record([row("a")])
    any_ledger.close()
    ran: list[int] = []
    where = place_of(any_ledger, tmp_path)
    with SqlLedger(where, migrations=(*MIGRATIONS, lambda _: ran.append(1))) as migrated:
        assert "a" in migrated.find(["a"])
    with SqlLedger(where, migrations=(*MIGRATIONS, lambda _: ran.append(2))):
        assert ran == [1]


def columns(where: Path | str) -> dict[str, list[tuple[str, str, bool]]]:
    """Name, type and need of every column, and the keys, as the database has them."""
    engine = ledger_module._engine(where)
    found = sa.inspect(engine)
    tables = {
        table: [(each["name"], str(each["type"]), each["nullable"]) for each in found.get_columns(table)]
        + [(name, "key", False) for name in found.get_pk_constraint(table)["constrained_columns"]]
        for table in found.get_table_names()
    }
    engine.dispose()
    return tables


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_ledger_of_every_earlier_version_goes_on(
    kind: str, version: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    script = (SCHEMAS / f"{version}.{kind}.sql").read_text(encoding="utf-8")
    if kind == "sqlite":
        where: Path | str = tmp_path / "old.db"
        with closing(sqlite3.connect(where)) as old:
            old.executescript(script)
    else:
        where = request.getfixturevalue("postgres")
        with psycopg.connect(where) as old:
            old.execute(script.encode())
    with SqlLedger(where) as ledger:
        status = ledger.status("20240701T000000-0001")
        assert (status.accepted, status.delivered, status.refused, status.pending) == (3, 1, 1, 1)
        found = ledger.find(["A-1", "A-2", "A-3"])
        assert found["A-1"].hash == content_hash(b"A-1")
        assert [row.external_id for row in ledger.in_trouble("20240701T000000-0001")] == ["A-2"]
        ledger.note_files([SourceFile("/exports/1.csv", 10, 5, "d", "20240701T000000-0001", "r")])
        assert list(ledger.known_files(["/exports/1.csv"], "r")) == ["/exports/1.csv"]
        assert ledger.open_run(RUN).run_no == 2
    migrated = columns(where)
    fresh: Path | str = tmp_path / "new.db"
    if kind == "postgresql":
        fresh = new_database(request.getfixturevalue("postgres_address"))
    SqlLedger(fresh).close()
    assert migrated == columns(fresh)


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with SqlLedger(tmp_path / "l.db") as ledger:
            ledger.record([row("a")])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3


def test_each_commit_is_synced(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger:
        pragma = ledger._db.exec_driver_sql
        assert pragma("PRAGMA journal_mode").scalar() == "wal"
        assert pragma("PRAGMA synchronous").scalar() == 2


def test_sorting_leaves_nothing_in_other_files(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger:
        assert ledger._db.exec_driver_sql("PRAGMA temp_store").scalar() == 2  # in memory


def test_forgetting_says_so_where_somebody_still_reads_what_was_there(
    tmp_path: Path,
) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger:
        ledger.record([row("a", words="Jo Doe")])
        with closing(sqlite3.connect(tmp_path / "l.db")) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM recent").fetchall()
            ledger._db.exec_driver_sql("PRAGMA busy_timeout = 10")
            ledger._db.commit()
            with pytest.raises(SettingsError, match="is being read"):
                ledger.forget_words(["a"], "jo")
        ledger.forget_words(["a"], "jo")
    assert not any(b"Jo Doe" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_stamp_that_names_one_twice_stamps_nobody_else(any_ledger: SqlLedger) -> None:
    any_ledger.record([row(name, State.SENDING) for name in "abc"])
    any_ledger.record([Stamp(["a", "a", "c"], "batch-7")])
    assert {n: each.batch for n, each in any_ledger.find(list("abc")).items()} == {
        "a": "batch-7",
        "b": None,
        "c": "batch-7",
    }


def test_a_transaction_takes_less_than_300_bytes(tmp_path: Path) -> None:
    count = 20_000
    with SqlLedger(tmp_path / "l.db") as ledger:
        for start in range(0, count, 500):
            names = [
                f"MEL-REG04-2024-{number * 7919 % 1_000_003:08d}" for number in range(start, start + 500)
            ]
            ledger.record([row(name, State.SENDING) for name in names])
            ledger.record([row(name) for name in names])
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size / count < 300


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_clearly_and_loses_nothing(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger:
        ledger.record([row("a")])
        # A limit on pages gives the same error of SQLite as a disk without space.
        ledger._db.exec_driver_sql("PRAGMA max_page_count = 30")
        ledger._db.commit()
        many = [row(f"b{n}") for n in range(10_000)]
        with pytest.raises(SettingsError, match="full") as told:
            ledger.record(many)
        assert "free space" in told.value.hint
        assert "a" in ledger.find(["a"])
    with SqlLedger(tmp_path / "l.db") as again:
        again.record([row("c")])
        assert set(again.find(["a", "c"])) == {"a", "c"}


def test_a_read_only_database_is_told_clearly(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger:
        ledger._db.exec_driver_sql("PRAGMA query_only = 1")
        ledger._db.commit()
        with pytest.raises(SettingsError, match=r"l\.db cannot be written: .*readonly"):
            ledger.record([row("a")])


def test_something_else_in_its_place_is_told_clearly(tmp_path: Path) -> None:
    (tmp_path / "l.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(SettingsError, match="not a database"):
        SqlLedger(tmp_path / "l.db")
    with pytest.raises(SettingsError, match="cannot be opened"):
        SqlLedger(tmp_path / "no" / "such" / "folder" / "l.db")


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"mysql://u:\*\*\*@h/d: a postgresql:// address"):
        SqlLedger("mysql://u:secret@h/d")


def test_an_unreachable_server_is_told_without_its_password() -> None:
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    with pytest.raises(SettingsError, match="cannot be opened") as told:
        SqlLedger("postgresql://u:s3cret@127.0.0.1:1/d")
    assert "s3cret" not in str(told.value)


def test_a_missing_driver_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError) as told:
        SqlLedger("postgresql://h/d")
    assert "omneo-import[postgres]" in told.value.hint


def test_another_connection_reads_while_this_one_writes(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db") as ledger, SqlLedger(tmp_path / "l.db") as other:
        ledger.record([row("a")])
        with ledger._transaction("written"):
            ledger._rows.put([row("b")])
            assert list(other.find(["a", "b"])) == ["a"]
        assert list(other.find(["a", "b"])) == ["a", "b"]


def test_the_fake_keeps_the_same_promises() -> None:
    fake = MemoryLedger()
    start = fake.open_run(RUN)
    later = fake.open_run(RunRef("run-2", 1, datetime(2024, 1, 2, tzinfo=UTC)))
    fake.record([row("a")], replace(start, watermark=1))
    assert fake.find(["a", "b"]) == {"a": row("a")}
    assert fake.open_run(RUN) == replace(start, watermark=1, newer_runs=frozenset({later.run_no}))


def test_a_batch_stamps_the_rows_that_are_there(any_ledger: SqlLedger) -> None:
    any_ledger.record([row("a", State.SENDING), row("b", State.SENDING), row("c")])
    any_ledger.record([Stamp(["b", "a"], "batch-7"), row("d")])
    batches = {name: found.batch for name, found in any_ledger.find(list("abcd")).items()}
    assert batches == {"a": "batch-7", "b": "batch-7", "c": None, "d": None}
    fake = MemoryLedger()
    fake.record([row("a"), Stamp(["a"], "batch-7")])
    assert fake.rows["a"].batch == "batch-7"


@pytest.mark.parametrize("at", range(1, 6))
def test_a_ledger_whose_making_was_cut_off_is_made_again(tmp_path: Path, at: int) -> None:
    def full(connection: sa.Connection) -> None:
        for statement, table in enumerate(METADATA.sorted_tables, 1):
            if statement == at:
                raise OSError(28, "No space left on device")
            table.create(connection)

    with pytest.raises(SettingsError, match="No space left"):
        SqlLedger(tmp_path / "ledger.db", (full,))
    with SqlLedger(tmp_path / "ledger.db") as ledger:
        assert ledger.runs() == []
        assert len(sa.inspect(ledger._db).get_indexes("transactions")) == 1
