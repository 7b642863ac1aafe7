from __future__ import annotations

import os
import sqlite3
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from pipeline.core.errors import RunError, SettingsError
from pipeline.loading.ledger import ledger_database
from pipeline.loading.ledger.entries import (
    DELIVERY,
    Counted,
    CountsBroken,
    DeliveryProgress,
    ImportedFile,
    Lease,
    LeaseLost,
    PartSelection,
    Pass,
    Passed,
    Record,
    Return,
    RunRef,
    RunStatus,
    Stamp,
    State,
    Write,
    content_hash,
)
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.loading.ledger.migration import copy_of
from pipeline.loading.ledger.tables import METADATA, NEWEST, TENANTS
from tests.loading.tenant import CONNECTION
from tests.servers import new_database

SCHEMAS = Path(__file__).with_name("schemas")
"""What earlier versions made, as SQL: `<version>.<database>.sql`."""

URL, OTHER_URL = CONNECTION.base_url, "https://api.other.test/api/v3"
RUN, LATER = RunRef("run-1", 10, 1), RunRef("run-2", 10, 2)


def record(name: str, state: State = State.DELIVERED, run_no: int = 1, **fields: object) -> Record:
    return Record(name, content_hash(name.encode()), state, run_no, 1, 200, at=1_700_000_000)._replace(
        **fields  # type: ignore[arg-type]
    )


def test_what_was_recorded_is_found_as_it_was(any_ledger: SqlLedger) -> None:
    records = [
        record("a"),
        record("b", State.REFUSED, status=422, message='{"message": "ø"}', batch="b-1"),
        record("c'\""),
        record("d", State.SENDING, before=State.FAILED, maybe_sent=True, omneo_id="o-1", source_time=5),
    ]
    any_ledger.open_run(RUN)
    any_ledger.record(records)
    found = any_ledger.find(["a", "b", "c'\"", "d", "unknown"])
    assert found == {each.external_id: each for each in records}


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
def test_any_number_of_records_goes_in_and_the_last_of_a_name_counts(
    any_ledger: SqlLedger, count: int
) -> None:
    any_ledger.open_run(replace(RUN, size=count))
    first = [record(f"n{number}", State.SENDING) for number in range(count)]
    last = [record(f"n{number}", status=number) for number in range(count)]
    any_ledger.record([*first, *last])
    assert any_ledger.find([f"n{number}" for number in range(count)]) == {r.external_id: r for r in last}
    assert any_ledger.status("run-1") == RunStatus(count, delivered=count)


def test_a_later_record_replaces_the_whole_one(any_ledger: SqlLedger) -> None:
    any_ledger.open_run(RUN)
    any_ledger.record([record("a", State.REFUSED, status=422, message="no")])
    any_ledger.record([record("a", hash=b"0" * 16, attempts=7)])
    assert any_ledger.find(["a"])["a"] == record("a", hash=b"0" * 16, attempts=7)


def test_progress_comes_back_with_the_records_of_its_commit(any_ledger: SqlLedger) -> None:
    start = any_ledger.open_run(RUN)
    assert start == DeliveryProgress(1, 0, 10)
    further = replace(start, watermark=4, unchanged=3)
    any_ledger.record([record("a")], further)
    assert any_ledger.open_run(RUN) == further
    assert any_ledger.status("run-1") == RunStatus(10, delivered=1, unchanged=3, pending=6)


def test_runs_are_ordered_by_their_ordinal_alone(any_ledger: SqlLedger) -> None:
    no = any_ledger.open_run(LATER).run_no
    assert any_ledger.open_run(RUN).newer_runs == {no}
    assert any_ledger.open_run(LATER).newer_runs == frozenset()


# ── Counts ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("state", State)
def test_every_state_belongs_to_one_number_of_the_summary(any_ledger: SqlLedger, state: State) -> None:
    any_ledger.open_run(RUN)
    any_ledger.record([record("a", state)])
    expected = {DELIVERY[state]: 1, "pending": 10 if state is State.PENDING else 9}
    if state in (State.CONFIRMED, State.MISSING, State.DIFFERING):
        expected[str(state)] = 1
    assert any_ledger.status("run-1") == RunStatus(10, **expected)


def counts(ledger: SqlLedger, run_id: str) -> dict[Counted, int]:
    return {each: number for each, number in ledger.counts(run_id).items() if number}


def test_what_another_run_takes_over_stays_counted_where_omneo_took_it(any_ledger: SqlLedger) -> None:
    one, two = any_ledger.open_run(RUN).run_no, any_ledger.open_run(LATER).run_no
    any_ledger.record([record("a", run_no=one), record("b", State.REFUSED, one)])
    any_ledger.record([record("a", State.SENDING, two), record("b", State.SENDING, two)])
    assert counts(any_ledger, "run-1") == {
        State.PENDING: 8,
        State.DELIVERED: 1,
        Passed.SUPERSEDED: 1,
    }
    assert counts(any_ledger, "run-2") == {State.PENDING: 8, State.SENDING: 2}
    assert any_ledger.find(["a", "b"], one)["a"].place is State.DELIVERED


@pytest.mark.parametrize("left", [State.PENDING, State.REFUSED, State.FAILED])
def test_an_older_run_that_takes_over_leaves_the_newer_one_its_work(
    any_ledger: SqlLedger, left: State
) -> None:
    """What is pending there `load` sends, what was refused or failed `retry`."""
    one, two = any_ledger.open_run(RUN).run_no, any_ledger.open_run(LATER).run_no
    any_ledger.record([record("a", left, two), record("b", State.IN_DOUBT, two)])
    any_ledger.record([record("a", run_no=one), record("b", run_no=one)])
    assert Counter(counts(any_ledger, "run-2")) == Counter({State.PENDING: 9}) + Counter([left])
    assert any_ledger.find(["a"], two)["a"].place is left


@pytest.mark.parametrize("is_held", [False, True])
def test_an_intent_that_is_taken_back_leaves_no_trace(any_ledger: SqlLedger, *, is_held: bool) -> None:
    one, two = any_ledger.open_run(RUN).run_no, any_ledger.open_run(LATER).run_no
    any_ledger.record([record("a", run_no=one)])
    if is_held:
        any_ledger.record([Pass("a", two, Passed.HELD)])
    before = [counts(any_ledger, run) for run in ("run-1", "run-2")]
    old = any_ledger.find(["a"])["a"]
    any_ledger.record([record("a", State.SENDING, two, hash=b"1" * 16)])
    any_ledger.record([Return(two, old)])
    assert any_ledger.find(["a"])["a"] == old
    assert [counts(any_ledger, run) for run in ("run-1", "run-2")] == before


def test_what_is_held_waits_until_its_run_or_a_newer_one_sends_it(any_ledger: SqlLedger) -> None:
    one, two = any_ledger.open_run(RUN).run_no, any_ledger.open_run(LATER).run_no
    three = any_ledger.open_run(RunRef("run-3", 10, 3)).run_no
    any_ledger.record([record(name, run_no=one) for name in "abc"])
    any_ledger.record([Pass(name, two, Passed.HELD) for name in "abc"])
    assert counts(any_ledger, "run-2") == {State.PENDING: 7, Passed.HELD: 3}
    assert any_ledger.status("run-2").pending == 10
    assert any_ledger.find(["a"], two)["a"].place is Passed.HELD
    any_ledger.record([record("a", State.SENDING, two), Pass("b", three, Passed.HELD)])
    any_ledger.record([record("c", State.CONFIRMED, one)])
    assert counts(any_ledger, "run-2") == {
        State.PENDING: 7,
        State.SENDING: 1,
        Passed.SUPERSEDED: 1,
        Passed.HELD: 1,
    }
    assert counts(any_ledger, "run-3") == {State.PENDING: 9, Passed.HELD: 1}


def test_a_run_is_gone_through_again_without_losing_count(any_ledger: SqlLedger) -> None:
    run_no = any_ledger.open_run(RUN).run_no
    any_ledger.record([record("a")], DeliveryProgress(run_no, 0, 10, watermark=10, unchanged=9))
    assert any_ledger.reopen(RUN)
    assert any_ledger.open_run(RUN) == DeliveryProgress(run_no, 0, 10)
    assert counts(any_ledger, "run-1") == {State.DELIVERED: 1, State.PENDING: 9}
    assert not any_ledger.reopen(RUN)


@pytest.mark.parametrize(
    ("writes", "progress"),
    [
        ([record(str(number)) for number in range(11)], None),
        ([], DeliveryProgress(1, 0, 10, watermark=11, unchanged=11)),
    ],
)
def test_counts_that_cannot_be_are_refused_and_nothing_is_written(
    any_ledger: SqlLedger, writes: Sequence[Write], progress: DeliveryProgress | None
) -> None:
    any_ledger.open_run(RUN)
    with pytest.raises(CountsBroken):
        any_ledger.record(writes, progress)
    assert any_ledger.find(["0"]) == {}
    assert any_ledger.status("run-1") == RunStatus(10, pending=10)


def test_counting_looks_at_no_record(any_ledger: SqlLedger) -> None:
    any_ledger.open_run(RUN)
    seen: list[str] = []
    sa.event.listen(
        any_ledger.engine, "before_cursor_execute", lambda *args: seen.append(str(args[2]).lower())
    )
    any_ledger.status("run-1")
    any_ledger.statuses()
    any_ledger.settled("run-1")
    any_ledger.progress(RUN)
    assert seen
    assert not [statement for statement in seen if "records" in statement or "places" in statement]


def test_what_is_asked_for_is_found_by_an_index(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        ledger.open_run(RUN)
        tables, plans = ("records", "places", "files"), list[str]()

        def explain(
            _: object, cursor: sqlite3.Cursor, statement: str, parameters: object, *__: object
        ) -> None:
            if statement.startswith("SELECT") and any(f"FROM {table}" in statement for table in tables):
                plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
                plans.extend(row[3] for row in plan)

        sa.event.listen(ledger.engine, "before_cursor_execute", explain)
        list(ledger.failed_transactions("run-1"))
        ledger.record([record("a"), Pass("a", 1, Passed.HELD)])
        ledger.find(["a", "b"], 2)
        ledger.files.by_path(["a.csv"])
    assert {each.split()[1] for each in plans} > set(tables)
    assert any("path=?" in each for each in plans)
    assert not [each for each in plans if each.startswith("SCAN")]


def test_the_parts_of_a_run_add_up(any_ledger: SqlLedger) -> None:
    for part in any_ledger.leases.share(RUN, [5, 5]):
        any_ledger.record([], replace(part, watermark=2, unchanged=2))
    assert any_ledger.status("run-1") == RunStatus(10, unchanged=4, pending=6)
    assert (any_ledger.settled("run-1"), any_ledger.settled("other")) == (4, 0)
    any_ledger.open_run(LATER)
    found = {run_id: by_tenant[URL] for run_id, by_tenant in any_ledger.statuses().items()}
    assert found == {name: any_ledger.status(name) for name in ("run-1", "run-2")}


def test_an_unknown_run_is_an_error(any_ledger: SqlLedger) -> None:
    with pytest.raises(RunError, match="no run nowhere"):
        any_ledger.status("nowhere")
    assert any_ledger.runs() == []


def test_failed_transactions_are_listed_by_run(any_ledger: SqlLedger) -> None:
    no, other = any_ledger.open_run(RUN).run_no, any_ledger.open_run(LATER).run_no
    any_ledger.record(
        [
            record("a", run_no=no),
            record("b", State.REFUSED, no),
            record("c", State.IN_DOUBT, no),
            record("d", State.FAILED, other),
            record("e", State.VOIDED, no),
        ]
    )
    assert [each.external_id for each in any_ledger.failed_transactions("run-1")] == ["b", "c"]


def test_only_what_was_delivered_can_be_marked(any_ledger: SqlLedger) -> None:
    any_ledger.open_run(RUN)
    any_ledger.record(
        [record("a"), record("b", State.SENDING), record("c", State.VOIDED), record("d", State.MISSING)]
    )
    read = any_ledger.find(list("abcd")).values()
    any_ledger.mark([(each, State.CONFIRMED) for each in [*read, record("x")]])
    states = {name: found.state for name, found in any_ledger.find(list("abcdx")).items()}
    assert states == {"a": "confirmed", "b": "sending", "c": "voided", "d": "confirmed"}
    assert any_ledger.status("run-1").confirmed == 2


@pytest.mark.parametrize(
    "later",
    [
        {"hash": b"other", "attempts": 2},
        {"run_no": 2},
        {"attempts": 2},
        {"state": State.SENDING},
        {"state": State.VOIDING, "before": State.DELIVERED, "maybe_sent": True},
        {"state": State.VOIDED},
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_what_was_seen_of_a_record_that_has_moved_on_since_is_not_noted(
    any_ledger: SqlLedger, later: dict[str, Any], *, begun: bool
) -> None:
    for each in (RUN, replace(RUN, run_id="run-2", ordinal=2)):
        any_ledger.open_run(each)
    read = record("a")._replace(attempts=1)
    any_ledger.record([read])
    any_ledger.record([read._replace(**later)])
    known = any_ledger.find(["a"])
    any_ledger.mark([(read, State.MISSING)], begun=begun)
    assert any_ledger.find(["a"]) == known


# ── Tenants ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_tenant_is_there_once_whoever_enters_it(any_ledger: SqlLedger) -> None:
    any_ledger.open_run(RUN)
    with any_ledger.writing(), pytest.raises(sa.exc.IntegrityError), any_ledger.connection.begin_nested():
        any_ledger.connection.execute(TENANTS.insert().values(base_url=URL))


def test_a_tenant_sees_only_what_is_its_own(any_ledger: SqlLedger, tmp_path: Path) -> None:
    any_ledger.open_run(RUN)
    any_ledger.record([record("a")])
    any_ledger.files.note([ImportedFile("a.csv", 1, 1, "d", "run-1")])
    with SqlLedger(place_of(any_ledger, tmp_path), OTHER_URL) as other:
        assert (other.runs(), other.find(["a"]), other.files.by_digest(["d"])) == ([], {}, {})
        no = other.open_run(replace(RUN, ordinal=7)).run_no
        other.record([record("a", State.REFUSED, no)])
        other.mark([(each, State.CONFIRMED) for each in other.find(["a"]).values()])
        assert other.statuses() == {
            "run-1": {
                URL: RunStatus(10, delivered=1, pending=9),
                OTHER_URL: RunStatus(10, refused=1, pending=9),
            }
        }
        assert other.tenants() == [URL, OTHER_URL]
    assert any_ledger.find(["a"])["a"].state is State.DELIVERED
    assert any_ledger.open_run(RUN).newer_runs == frozenset()


@pytest.mark.parametrize(
    "written",
    [
        "https://api.acme.test/api/v3/",
        "https://API.Acme.Test/api/v3",
        "HTTPS://api.acme.test:443/api/v3//",
    ],
)
def test_a_tenants_address_may_be_written_in_several_ways(any_ledger: SqlLedger, written: str) -> None:
    any_ledger.open_run(RUN)
    any_ledger.bind(written)
    with pytest.raises(ValueError, match="is used for"):
        any_ledger.bind(OTHER_URL)


def test_without_a_name_the_only_tenant_is_meant(any_ledger: SqlLedger, tmp_path: Path) -> None:
    where = place_of(any_ledger, tmp_path)
    with SqlLedger(where) as unnamed:
        assert (unnamed.runs(), unnamed.find(["a"]), unnamed.statuses()) == ([], {}, {})
        any_ledger.open_run(RUN)
        assert unnamed.runs() == ["run-1"]
    with SqlLedger(where, OTHER_URL) as other:
        other.open_run(RUN)
    with SqlLedger(where) as unnamed:
        assert unnamed.runs() == []
        assert set(unnamed.statuses()["run-1"]) == {URL, OTHER_URL}


# ── Shared runs ─────────────────────────────────────────────────────────────────────────────────────


UNFINISHED = PartSelection(unfinished=True)


def test_a_run_is_shared_in_the_parts_of_the_first_who_enters_it(any_ledger: SqlLedger) -> None:
    first = any_ledger.leases.share(RUN, [4, 4, 2])
    assert [(part.part, part.size, part.watermark) for part in first] == [(1, 4, 0), (2, 4, 0), (3, 2, 0)]
    assert any_ledger.leases.share(RUN, [5, 5]) == first
    assert any_ledger.status("run-1").pending == 10


def test_parts_are_leased_in_order_and_to_one_at_a_time(any_ledger: SqlLedger) -> None:
    no = any_ledger.leases.share(RUN, [4, 4, 2])[0].run_no
    leases = [any_ledger.leases.take(no, name, 60, UNFINISHED) for name in ("one", "two", "one", "two")]
    assert [lease and lease.part for lease in leases] == [1, 2, 3, None]
    assert any_ledger.leases.are_left(no, UNFINISHED)
    assert leases[1] is not None
    any_ledger.leases.release(leases[1])
    assert any_ledger.leases.take(no, "three", 60, UNFINISHED) == Lease(no, 2, "three")


def test_what_is_finished_or_done_is_not_wanted(any_ledger: SqlLedger) -> None:
    first, second = any_ledger.leases.share(RUN, [4, 6])
    any_ledger.record([], replace(first, watermark=4, unchanged=3))
    any_ledger.record([], replace(second, watermark=6))
    assert not any_ledger.leases.are_left(first.run_no, UNFINISHED)
    assert any_ledger.leases.take(first.run_no, "one", 60, UNFINISHED) is None
    any_ledger.reopen(RUN)
    again = any_ledger.leases.take(first.run_no, "one", 60, UNFINISHED)
    assert again is not None
    assert again.part == 1
    later = any_ledger.leases.take(first.run_no, "one", 60, PartSelection(beyond=1))
    assert later is not None
    assert later.part == 2


def test_a_lease_that_is_not_renewed_goes_to_another_and_its_holder_can_write_no_more(
    any_ledger: SqlLedger,
) -> None:
    (part,) = any_ledger.leases.share(RUN, [10])
    lost = any_ledger.leases.take(part.run_no, "one", 0.05, UNFINISHED)
    assert lost is not None
    any_ledger.leases.renew(lost, 0.1)
    any_ledger.record([record("a")], replace(part, watermark=1), lost)
    time.sleep(0.15)
    assert any_ledger.leases.take(part.run_no, "two", 60, UNFINISHED) == Lease(part.run_no, 1, "two")
    with pytest.raises(LeaseLost):
        any_ledger.record([record("b")], replace(part, watermark=0), lost)
    with pytest.raises(LeaseLost):
        any_ledger.leases.renew(lost, 60)
    any_ledger.leases.release(lost)
    assert any_ledger.leases.take(part.run_no, "three", 60, UNFINISHED) is None
    assert set(any_ledger.find(["a", "b"])) == {"a"}
    assert any_ledger.progress(RUN).watermark == 1


def test_recording_progress_leaves_the_lease_alone(any_ledger: SqlLedger) -> None:
    (part,) = any_ledger.leases.share(RUN, [10])
    any_ledger.leases.take(part.run_no, "one", 60, UNFINISHED)
    any_ledger.record([], part)
    assert any_ledger.leases.take(part.run_no, "two", 60, UNFINISHED) is None


def test_a_renewal_tells_how_many_work(any_ledger: SqlLedger) -> None:
    no = any_ledger.leases.share(RUN, [5, 5])[0].run_no
    other = replace(RUN, run_id="run-2")
    any_ledger.leases.take(any_ledger.leases.share(other, [10])[0].run_no, "two", 60, UNFINISHED)
    lease = any_ledger.leases.take(no, "one", 60, UNFINISHED)
    gone = any_ledger.leases.take(no, "three", 0.01, UNFINISHED)
    time.sleep(0.05)
    assert lease is not None
    assert gone is not None
    assert any_ledger.leases.renew(lease, 60) == 2


def test_how_far_a_run_is_counts_up_to_the_first_that_is_not_settled(any_ledger: SqlLedger) -> None:
    assert any_ledger.progress(RUN).watermark == 0
    assert not any_ledger.passed("run-1")(0)
    assert any_ledger.runs() == []
    parts = any_ledger.leases.share(RUN, [4, 4, 2])
    for part, watermark in zip(parts, (4, 3, 2), strict=True):
        any_ledger.record([], replace(part, watermark=watermark))
    assert any_ledger.progress(RUN).watermark == 7
    is_passed = any_ledger.passed("run-1")
    assert [position for position in range(11) if not is_passed(position)] == [7, 10]


# ── What else is kept ───────────────────────────────────────────────────────────────────────────────


def test_the_servers_words_about_somebody_are_forgotten(any_ledger: SqlLedger) -> None:
    words = {"a": '{"message": "no ANN@x.com"}', "b": '{"message": "no 50% of 1_2"}', "c": '{"message": "-"}'}
    any_ledger.open_run(RUN)
    any_ledger.record([record(name, message=text) for name, text in words.items()] + [record("d")])
    assert any_ledger.forget_messages(["c", "d"], "ann@x.com") == 2
    assert any_ledger.forget_messages([], "0%_of") == 0  # what would be a pattern is a text
    left = any_ledger.find(["a", "b", "c", "d"])
    assert {name: each.message for name, each in left.items() if each.message} == {"b": words["b"]}


def test_only_what_omneo_surely_does_not_have_is_counted_as_forgotten(any_ledger: SqlLedger) -> None:
    no, later = any_ledger.open_run(RUN).run_no, any_ledger.open_run(LATER).run_no
    states = [State.DELIVERED, State.REFUSED, State.SENDING, State.IN_DOUBT, State.VOIDED, State.PENDING]
    any_ledger.record([record(f"{state}", state, no) for state in states])
    any_ledger.record([record("perhaps", State.FAILED, no, maybe_sent=True), record("held", run_no=no)])
    any_ledger.record([Pass("held", later, Passed.HELD)])
    names = [*map(str, states), "perhaps", "held", "new"]
    any_ledger.forget("run-1", {name: at for at, name in enumerate(names)})
    any_ledger.forget("run-2", {name: at for at, name in enumerate(names)})
    one, two = any_ledger.status("run-1"), any_ledger.status("run-2")
    # refused, pending and never seen in the first run; all but none of its own in the second
    assert (one.forgotten, one.delivered, one.in_doubt, one.failed, one.pending) == (3, 2, 2, 1, 1)
    assert (two.forgotten, two.pending, two.held) == (9, 1, 0)


def test_files_are_known_by_their_contents(any_ledger: SqlLedger) -> None:
    first = ImportedFile("a.csv", 10, 1_700_000_000_000_000_001, "d1", "run-1")
    any_ledger.open_run(RUN)
    any_ledger.files.note([first, replace(first, path="b.csv", digest="d2")])
    renamed = replace(first, path="c.csv", run_id="run-2")
    any_ledger.files.note([renamed])
    assert any_ledger.files.by_digest(["d1", "d3"]) == {"d1": renamed}
    assert [each.digest for each in any_ledger.files.by_path(["b.csv", "a.csv"])] == ["d2"]
    any_ledger.files.note([])


def test_files_are_remembered_by_what_they_were_read_by(any_ledger: SqlLedger) -> None:
    sales = ImportedFile("a.csv", 10, 1, "d1", "run-1", recipe="sales")
    any_ledger.open_run(RUN)
    any_ledger.files.note([sales, replace(sales, recipe="refunds", run_id="run-2")])
    assert any_ledger.files.by_digest(["d1"], "sales") == {"d1": sales}
    assert any_ledger.files.by_digest(["d1"], "other") == {}


def test_more_ids_than_a_statement_takes_are_found(any_ledger: SqlLedger) -> None:
    names = [f"T{number}" for number in range(2500)]
    any_ledger.open_run(replace(RUN, size=2500))
    any_ledger.record([record(name) for name in names])
    assert len(any_ledger.find(names)) == 2500


def place_of(ledger: SqlLedger, tmp_path: Path) -> Path | str:
    """Where the ledger of `any_ledger` is."""
    return ledger.where if ledger.is_shared else tmp_path / "ledger.db"


# ── Versions ────────────────────────────────────────────────────────────────────────────────────────


def test_a_newer_schema_is_refused(any_ledger: SqlLedger, tmp_path: Path) -> None:
    with any_ledger.connection.begin():
        any_ledger.connection.exec_driver_sql(f"UPDATE schema_version SET version = {NEWEST + 1}")
    message = rf"schema {NEWEST + 1}; this version knows up to {NEWEST}"
    with pytest.raises(SettingsError, match=message) as error:
        SqlLedger(place_of(any_ledger, tmp_path))
    assert "Upgrade" in error.value.hint


def columns(where: Path | str) -> dict[str, list[tuple[str, str, bool]]]:
    """Name, type and need of every column, and the keys, as the database has them."""
    engine = ledger_database._engine(where)
    found = sa.inspect(engine)
    tables = {
        table: [(each["name"], str(each["type"]), each["nullable"]) for each in found.get_columns(table)]
        + [(name, "key", False) for name in found.get_pk_constraint(table)["constrained_columns"]]
        for table in found.get_table_names()
    }
    engine.dispose()
    return tables


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def old_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int, str], Path | str]:
    """Makes a ledger of an older version, with more SQL after that."""

    def make(version: int, more: str = "") -> Path | str:
        script = (SCHEMAS / f"{version}.{request.param}.sql").read_text(encoding="utf-8") + more
        if request.param == "sqlite":
            with closing(sqlite3.connect(tmp_path / "old.db")) as old:
                old.executescript(script)
            return tmp_path / "old.db"
        where: str = request.getfixturevalue("postgres")
        with psycopg.connect(where) as old:
            old.execute(script.encode())
        return where

    return make


OLD_RUN = "20240701T000000-0001"


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_a_ledger_of_every_earlier_version_goes_on(
    version: int, old_ledger: Callable[..., Path | str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    where = old_ledger(version)
    with SqlLedger(where) as ledger:
        (said,) = ledger.notices
        assert f"from schema {version} to {NEWEST}" in said
        assert ledger.status(OLD_RUN) == RunStatus(3, delivered=1, refused=1, in_doubt=1)
        found = ledger.find(["A-1", "A-2", "A-3"])
        assert found["A-1"].hash == content_hash(b"A-1")
        assert (found["A-3"].state, found["A-3"].maybe_sent) == (State.IN_DOUBT, True)
        assert found["A-2"].message == '{"message": "no"}'
        assert [each.external_id for each in ledger.failed_transactions(OLD_RUN)] == ["A-2", "A-3"]
        known = ledger.files.by_digest(["d"], "r")
        assert list(known) == (["d"] if version > 1 else [])
        ordinal = 1_719_792_000_000_000
        assert ledger.open_run(RunRef(OLD_RUN, 3, ordinal)).watermark == 0
        assert ledger.open_run(RunRef("new", 3, ordinal + 1)).run_no == 2
    migrated = columns(where)
    if isinstance(where, Path):
        copy = copy_of(where, version)
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        with closing(sqlite3.connect(copy)) as old:
            assert old.execute("SELECT version FROM schema_version").fetchone() == (version,)
            assert old.execute("SELECT count(*) FROM transactions").fetchone()[0] >= 2
        fresh: Path | str = tmp_path / "new.db"
    else:
        with psycopg.connect(where) as kept:
            rows = kept.execute(f"SELECT count(*) FROM transactions_v{version}".encode()).fetchone()
            assert rows == (3,)
        migrated = {table: each for table, each in migrated.items() if not table.endswith(f"_v{version}")}
        fresh = new_database(request.getfixturevalue("postgres_address"))
    SqlLedger(fresh).close()
    assert migrated == columns(fresh)


@pytest.mark.parametrize("version", [3, 4])
def test_no_words_are_left_in_the_copy_of_an_older_ledger(
    version: int, old_ledger: Callable[..., Path | str]
) -> None:
    where = old_ledger(version, "UPDATE transactions SET words = 'Jo Doe';")
    with SqlLedger(where) as ledger:
        ledger.forget_messages([], "jo doe")
    if isinstance(where, Path):
        assert not any(b"Jo Doe" in path.read_bytes() for path in where.parent.iterdir())
    else:
        with psycopg.connect(where) as kept:
            kept_words = f"SELECT count(words) FROM transactions_v{version}"
            assert kept.execute(kept_words.encode()).fetchone() == (0,)


def test_the_next_opening_says_nothing(old_ledger: Callable[..., Path | str]) -> None:
    where = old_ledger(3)
    SqlLedger(where).close()
    with SqlLedger(where) as again:
        assert again.notices == ()


def test_counts_that_could_not_be_are_made_anew_and_that_is_said(
    old_ledger: Callable[..., Path | str],
) -> None:
    wrong = "UPDATE parts SET all_delivered = 2, all_refused = -2, watermark = 0, below_delivered = 0;"
    with SqlLedger(old_ledger(3, wrong)) as ledger:
        assert "did not add up (delivered 2, refused -2)" in ledger.notices[1]
        assert ledger.status(OLD_RUN) == RunStatus(3, delivered=1, refused=1, in_doubt=1)


def test_a_finished_run_keeps_what_later_runs_took_over(old_ledger: Callable[..., Path | str]) -> None:
    # Five were delivered and two unchanged; of the five the record of one is a later run's now.
    done = """
        UPDATE parts SET size = 8, watermark = 8, all_delivered = 5, all_unchanged = 2, all_refused = 1;
        UPDATE transactions SET state = 'delivered' WHERE external_id = 'A-3';
        INSERT INTO transactions (external_id, hash, state, attempts, run_no, at)
        SELECT 'B-' || state, hash, state, 1, 1, at FROM transactions WHERE external_id = 'A-1';
        INSERT INTO transactions (external_id, hash, state, attempts, run_no, at)
        SELECT 'C-' || state, hash, 'voided', 1, 1, at FROM transactions WHERE external_id = 'A-1';
    """
    with SqlLedger(old_ledger(3, done)) as ledger:
        expected = RunStatus(8, delivered=4, unchanged=2, refused=1, voided=1)
        assert ledger.status(OLD_RUN) == expected
        run = RunRef(OLD_RUN, 8, 1_719_792_000_000_000)
        assert ledger.open_run(run).watermark == 8
        ledger.bind(URL)
        assert ledger.adopt()
        ledger.reopen(run)
        assert ledger.status(OLD_RUN) == RunStatus(8, delivered=3, refused=1, voided=1, pending=3)


def test_an_older_ledger_is_adopted_once(old_ledger: Callable[..., Path | str]) -> None:
    where = old_ledger(2)
    with SqlLedger(where, URL) as ledger:
        assert ledger.runs() == []  # it is nobody's yet
        assert ledger.unadopted() == "A-1"
        assert ledger.adopt()
        assert (ledger.runs(), ledger.unadopted(), ledger.adopt()) == ([OLD_RUN], None, False)
    with SqlLedger(where, OTHER_URL) as other:
        assert (other.runs(), other.unadopted(), other.tenants()) == ([], None, [URL])


def test_a_tenant_that_has_records_adopts_no_others(old_ledger: Callable[..., Path | str]) -> None:
    with SqlLedger(old_ledger(2), URL) as ledger:
        ledger.open_run(RUN)
        assert not ledger.adopt()
        assert ledger.unadopted() is None


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with SqlLedger(tmp_path / "l.db", URL) as ledger:
            ledger.open_run(RUN)
            ledger.record([record("a")])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3


def test_each_commit_is_synced(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        pragma = ledger.connection.exec_driver_sql
        assert pragma("PRAGMA journal_mode").scalar() == "wal"
        assert pragma("PRAGMA synchronous").scalar() == 2


def test_sorting_leaves_nothing_in_other_files(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        assert ledger.connection.exec_driver_sql("PRAGMA temp_store").scalar() == 2  # in memory


def test_forgetting_says_so_where_somebody_still_reads_what_was_there(
    tmp_path: Path,
) -> None:
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        ledger.open_run(RUN)
        ledger.record([record("a", message="Jo Doe")])
        with closing(sqlite3.connect(tmp_path / "l.db")) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM records").fetchall()
            ledger.connection.exec_driver_sql("PRAGMA busy_timeout = 10")
            ledger.connection.commit()
            with pytest.raises(SettingsError, match="is being read"):
                ledger.forget_messages(["a"], "jo")
        ledger.forget_messages(["a"], "jo")
    assert not any(b"Jo Doe" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_stamp_that_names_one_twice_stamps_nobody_else(any_ledger: SqlLedger) -> None:
    any_ledger.open_run(RUN)
    any_ledger.record([record(name, State.SENDING) for name in "abc"])
    any_ledger.record([Stamp(["a", "a", "c"], "batch-7")])
    assert {n: each.batch for n, each in any_ledger.find(list("abc")).items()} == {
        "a": "batch-7",
        "b": None,
        "c": "batch-7",
    }


@pytest.mark.slow
def test_a_transaction_takes_less_than_300_bytes(tmp_path: Path) -> None:
    count = 20_000
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        ledger.open_run(replace(RUN, size=count))
        for start in range(0, count, 500):
            names = [
                f"MEL-REG04-2024-{number * 7919 % 1_000_003:08d}" for number in range(start, start + 500)
            ]
            ledger.record([record(name, State.SENDING) for name in names])
            ledger.record([record(name) for name in names])
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size / count < 300


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_reported_clearly_and_loses_nothing(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        ledger.open_run(replace(RUN, size=20_000))
        ledger.record([record("a")])
        # A limit on pages gives the same error of SQLite as a disk without space.
        ledger.connection.exec_driver_sql("PRAGMA max_page_count = 30")
        ledger.connection.commit()
        many = [record(f"b{n}") for n in range(10_000)]
        with pytest.raises(SettingsError, match="full") as error:
            ledger.record(many)
        assert "free space" in error.value.hint
        assert "a" in ledger.find(["a"])
    with SqlLedger(tmp_path / "l.db", URL) as again:
        again.record([record("c")])
        assert set(again.find(["a", "c"])) == {"a", "c"}


def test_a_read_only_database_is_reported_clearly(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db", URL) as ledger:
        ledger.connection.exec_driver_sql("PRAGMA query_only = 1")
        ledger.connection.commit()
        with pytest.raises(SettingsError, match=r"l\.db cannot be written: .*readonly"):
            ledger.record([record("a")])


def test_something_else_in_its_place_is_reported_clearly(tmp_path: Path) -> None:
    (tmp_path / "l.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(SettingsError, match="not a database"):
        SqlLedger(tmp_path / "l.db")
    with pytest.raises(SettingsError, match="cannot be opened"):
        SqlLedger(tmp_path / "no" / "such" / "folder" / "l.db")


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"mysql://u:\*\*\*@h/d: a postgresql:// address"):
        SqlLedger("mysql://u:secret@h/d")


def test_an_unreachable_server_is_reported_without_its_password() -> None:
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    with pytest.raises(SettingsError, match="cannot be opened") as error:
        SqlLedger("postgresql://u:s3cret@127.0.0.1:1/d")
    assert "s3cret" not in str(error.value)


def test_a_missing_driver_is_reported_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError) as error:
        SqlLedger("postgresql://h/d")
    assert "omneo-import[postgres]" in error.value.hint


def test_another_connection_reads_while_this_one_writes(tmp_path: Path) -> None:
    with SqlLedger(tmp_path / "l.db", URL) as ledger, SqlLedger(tmp_path / "l.db") as other:
        ledger.open_run(RUN)
        ledger.record([record("a")])
        with ledger.writing():
            ledger._records.write([record("b")], None)
            assert list(other.find(["a", "b"])) == ["a"]
        assert list(other.find(["a", "b"])) == ["a", "b"]


def test_a_batch_stamps_the_rows_that_are_there(any_ledger: SqlLedger) -> None:
    any_ledger.open_run(RUN)
    any_ledger.record([record("a", State.SENDING), record("b", State.SENDING), record("c")])
    any_ledger.record([Stamp(["b", "a"], "batch-7"), record("d")])
    batches = {name: found.batch for name, found in any_ledger.find(list("abcd")).items()}
    assert batches == {"a": "batch-7", "b": "batch-7", "c": None, "d": None}


@pytest.mark.parametrize("at", range(1, len(METADATA.tables) + 1))
def test_a_ledger_whose_making_was_cut_off_is_made_again(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(connection: sa.Connection) -> None:
        for statement, table in enumerate(METADATA.sorted_tables, 1):
            if statement == at:
                raise OSError(28, "No space left on device")
            table.create(connection)

    with monkeypatch.context() as patch:
        patch.setattr(METADATA, "create_all", full)
        with pytest.raises(SettingsError, match="No space left"):
            SqlLedger(tmp_path / "ledger.db")
    with SqlLedger(tmp_path / "ledger.db") as ledger:
        assert ledger.runs() == []
        assert len(sa.inspect(ledger.connection).get_indexes("records")) == 1
