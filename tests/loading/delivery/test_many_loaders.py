"""Several processes load one run over one ledger: nothing twice, nothing lost, one pace."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.loading.delivery.decisions import RetryRules
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.leases import SequentialReader
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.testing import LocalOmneo
from tests.command import call, ended, start
from tests.forked import Forked
from tests.loading.delivery.delivery_process import result_of, start_delivery
from tests.loading.tenant import Tenant, batches_of, load, made, run_of
from tests.receipts import export
from tests.servers import arrived
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

STARTED: list[Forked] = []


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """A test that fails half-way leaves no loader behind."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def two_loaders(folder: Path, omneo: LocalOmneo, ledger: str, count: int, **options: object) -> list[Forked]:
    """Two processes that load the same run over one ledger, from working directories of their own."""
    two = [start_delivery(folder / each, omneo, count, ledger=ledger, **options) for each in ("one", "two")]
    STARTED.extend(two)
    return two


def test_a_reader_gives_any_stretch_however_it_is_cut() -> None:
    some = [made(number) for number in range(100)]
    read: list[int] = []

    def batches(start: int):  # type: ignore[no-untyped-def]
        read.append(start)
        return batches_of(some, 7)(start)

    reader = SequentialReader(batches)
    for first, last in [(0, 10), (10, 14), (30, 45), (45, 46), (90, 100), (20, 33), (33, 34)]:
        found = [each for batch in reader.between(first, last) for each in batch]
        assert found == some[first:last], (first, last)
    assert read == [0, 20]  # forwards it reads once
    half_read = reader.between(34, 60)
    next(half_read)
    assert [each for batch in reader.between(60, 70) for each in batch] == some[60:70]


def test_one_alone_delivers_all_parts_in_order_and_resumes(postgres: str) -> None:
    some, tenant = [made(number) for number in range(250)], Tenant()
    options = DeliveryOptions(concurrency=1, part_size=40)
    with SqlLedger(postgres) as ledger:
        first = load(ledger, run_of("r1", some), some, tenant, options)
        again = load(ledger, run_of("r1", some), some, tenant, options)
    assert (first.status.delivered, first.status.pending, first.handled) == (250, 0, 250)
    assert (again.status.delivered, again.handled) == (250, 0)
    assert tenant.arrivals == [each.external_id for each in some]


def test_retry_goes_through_all_parts_once(postgres: str) -> None:
    some, tenant = [made(number) for number in range(100)], Tenant()
    bad = {"T000003", "T000050", "T000099"}

    def refuse(_: object, body: dict[str, str]):  # type: ignore[no-untyped-def]
        import httpx

        return httpx.Response(422, json={"message": "no"}) if body.get("external_id") in bad else None

    tenant.interfere = refuse
    with SqlLedger(postgres) as ledger:
        options = DeliveryOptions(concurrency=2, part_size=30)
        assert load(ledger, run_of("r1", some), some, tenant, options).status.refused == 3
        bad.discard("T000050")
        retried = load(ledger, run_of("r1", some), some, tenant, options, rules=RetryRules())
    assert (retried.status.refused, retried.status.delivered, retried.handled) == (2, 98, 3)


def test_two_share_one_throttle(omneo: LocalOmneo, postgres: str, tmp_path: Path) -> None:
    full = bool(os.environ.get("OMNEO_IMPORT_TEST_FULL"))
    # A window must be long beside what a busy machine takes to begin it: that is lost in each.
    window, limit = (60.0, 6_000) if full else (10.0, 1_000)
    count = 5 * limit
    omneo.set_faults(throttle_requests=limit, throttle_window_s=window)
    pace = {"window_s": window, "part_size": limit // 4, "lease_s": 10}
    two = two_loaders(tmp_path, omneo, postgres, count, **pace)
    wait_for(lambda: omneo.stats()["requests"] > limit, every_s=0.2)  # two processes start
    # Both are at work now. The server's own windows are looked at, from the next one's beginning on.
    first = len(omneo.stats()["throttle"])
    wait_for(lambda: len(omneo.stats()["throttle"]) > first + 3, 6 * window, window / 20)
    whole = omneo.stats()["throttle"][first : first + 4]
    seconds = whole[3]["began_at"] - whole[0]["began_at"]
    share = sum(each["used"] for each in whole[:3]) / limit / (seconds / window)
    results = [result_of(process) for process in two]
    sent, throttled = (sum(each[name] for each in results) for name in ("sent", "throttled"))
    assert arrived(omneo) == Counter(made(n).external_id for n in range(count))
    assert share > 0.95
    assert throttled < 0.01 * sent
    assert min(each["handled"] for each in results) > 0.3 * count


def test_the_part_of_a_killed_loader_is_taken_over(omneo: LocalOmneo, postgres: str, tmp_path: Path) -> None:
    count, concurrency = 5_000, 16
    options = {"concurrency": concurrency, "part_size": 500, "lease_s": 2.0}
    omneo.set_faults(job_delay_s=0.0)
    one, two = two_loaders(tmp_path, omneo, postgres, count, **options)
    wait_for(lambda: omneo.stats()["requests"] > count // 4)
    one.kill()
    one.communicate()
    assert result_of(two)["error"] is None
    found = arrived(omneo)
    assert set(found) == {made(n).external_id for n in range(count)}
    assert sum(found.values()) - count <= concurrency
    with SqlLedger(postgres) as ledger:
        status = ledger.status("r1")
    assert (status.accepted, status.delivered, status.pending) == (count, count, 0)


def test_one_that_was_frozen_too_long_sends_no_more_of_its_part(postgres: str) -> None:
    some = [made(number) for number in range(60)]
    with SqlLedger(postgres) as ledger, SqlLedger(postgres) as thief:
        tenant = Tenant()
        stolen: list[str] = []

        def steal(_: object, body: dict[str, str]) -> None:
            if body.get("external_id") == "T000010" and not stolen:
                stolen.append("part 1")
                thief.connection.exec_driver_sql(
                    "UPDATE parts SET owner = 'thief', leased_until = 0 WHERE part = 1"
                )
                thief.connection.commit()

        tenant.interfere = steal
        events: list[str] = []
        result = deliver(
            run_of("r1", some),
            batches_of(some, 5),
            load.__globals__["CONNECTION"],
            ledger,
            DeliveryOptions(concurrency=1, part_size=30, lease_s=30),
            transport=tenant.transport,
            emit=lambda event: events.append(type(event).__name__),
        )
    assert result.error is None
    assert "Notice" in events
    assert result.status.delivered == 60
    assert sum(tenant.posts.values()) <= 61  # the one in flight was looked up, or sent again


def test_a_load_waits_for_the_part_of_a_worker_that_was_killed(postgres: str) -> None:
    """It may have left sales in doubt there, and while its lease runs nobody goes through the part again."""
    some, tenant = [made(number) for number in range(20)], Tenant()
    with SqlLedger(postgres) as ledger:
        assert load(ledger, run_of("r1", some), some, tenant).status.delivered == 20
        ledger.connection.exec_driver_sql(
            "UPDATE parts SET owner = 'killed', leased_until = EXTRACT(EPOCH FROM clock_timestamp()) + 1"
        )
        for statement in (
            "UPDATE records SET state = 'voided' WHERE external_id = 'T000003'",
            "UPDATE counts SET n = 19 WHERE state = 'delivered'",
            "INSERT INTO counts SELECT run_no, 'voided', 1 FROM counts WHERE state = 'delivered'"
            " ON CONFLICT (run_no, state) DO UPDATE SET n = 1",
        ):
            ledger.connection.exec_driver_sql(statement)
        ledger.connection.commit()
        again = load(ledger, run_of("r1", some), some, tenant, DeliveryOptions(revive=True, lease_s=5))
    assert (again.error, tenant.posts["T000003"]) == (None, 2)


@pytest.mark.parametrize("loaders", [2])
def test_loads_of_one_working_directory_run_side_by_side(
    loaders: int, omneo: LocalOmneo, postgres: str, workdir: Path, tmp_path: Path
) -> None:
    common = ("--json", "--workdir", workdir, "--ledger", postgres)
    assert call("prepare", "-m", "pos_lines", *common, export(tmp_path / "sales.csv", 2_000)).code == 0
    env = omneo.environment()
    processes = [start("load", "latest", *common, "--concurrency", "4", env=env) for _ in range(loaders)]
    wait_for(lambda: omneo.stats()["requests"] > 0)
    assert call("retry", "latest", *common, env=env).code == 6
    for process in processes:
        done = ended(process)
        assert done.code == 0, done.stderr
        assert done.summary["delivery"]["delivered"] == 2_000
    assert max(arrived(omneo).values()) == 1
    assert len(arrived(omneo)) == 2_000
    assert call("confirm", "latest", *common, "--sample", "2%", env=env).code == 0
    assert [path.name for path in Path(done.summary["run_dir"]).iterdir() if path.name[0] == "."] == []
