"""What every engine promises, and what a cluster does beyond it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.storage.directories import directory_at
from pipeline.engine.dask import DaskEngine
from pipeline.engine.dask_worker import versions, work
from pipeline.engine.local import Engine, engine_named
from tests.servers import address_of, dask_cluster
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(params=["local", "dask"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    name = "local" if request.param == "local" else request.getfixturevalue("cluster_address")
    with engine_named(name, directory_at(tmp_path / "jobs")) as found:
        yield found


# Workers import nothing of these tests: what is handed to them goes by value, as closures do.


def slow_first() -> Any:
    def work(job: int) -> int:
        time.sleep(0.3 if job == 0 else 0.01)
        return job * job

    return work


def refusing(bad: int, error: type[Exception] = ValueError) -> Any:
    def work(job: int) -> int:
        if job == bad:
            raise error(f"job {job} cannot be done")
        return job

    return work


def test_results_come_in_the_order_of_the_jobs(engine: Engine) -> None:
    assert list(engine.map(slow_first(), range(12))) == [n * n for n in range(12)]
    assert list(engine.map(slow_first(), [])) == []


def test_jobs_are_taken_only_as_they_are_worked_off(engine: Engine) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for n in range(40):
            taken.append(n)
            yield n

    ahead = [len(taken) - done for done, _ in enumerate(engine.map(slow_first(), jobs()), 1)]
    assert max(ahead) <= 4


@pytest.mark.parametrize("error", [ValueError, SettingsError])
def test_an_error_in_a_job_is_raised_at_the_caller(engine: Engine, error: type[Exception]) -> None:
    seen: list[int] = []
    with pytest.raises(error, match="job 5 cannot be done"):
        seen.extend(engine.map(refusing(5, error), range(100)))
    assert seen == [0, 1, 2, 3, 4]


def test_an_engine_can_be_left_before_it_is_through(engine: Engine) -> None:
    results = engine.map(slow_first(), range(100))
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert list(engine.map(slow_first(), range(3))) == [0, 1, 4]


def test_functions_are_private_and_leave_nothing_behind(cluster_address: str, tmp_path: Path) -> None:
    modes: set[int] = set()
    jobs = tmp_path / "jobs"
    with engine_named(cluster_address, directory_at(jobs)) as engine:
        for _ in engine.map(slow_first(), range(8)):
            modes |= {stat.S_IMODE(path.stat().st_mode) for path in jobs.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(jobs.stat().st_mode) == 0o700
    assert list(jobs.iterdir()) == []


def test_polars_has_as_many_threads_as_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_: int) -> int:
        import polars

        return polars.thread_pool_size()

    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    # Not forked, as the workers of other tests are: polars asks for its threads when it is imported.
    alone = pytest.importorskip("dask").config.set({"distributed.worker.multiprocessing-method": "spawn"})
    with alone, engine_named("dask", directory_at(tmp_path)) as engine:
        assert {*engine.map(work, range(4))} == {1}


def leaving_its_pid(folder: Path) -> Any:
    def work(job: int) -> int:
        (folder / f"{job}-{os.getpid()}").touch()
        time.sleep(0.2)
        return job

    return work


def test_jobs_of_a_killed_worker_are_done_by_others(cluster_address: str, tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    killed: list[int] = []

    def kill_one() -> None:
        while not (found := [path for path in started.iterdir() if not path.name.startswith("0-")]):
            time.sleep(0.01)
        killed.append(int(found[0].name.split("-")[1]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with engine_named(cluster_address, directory_at(tmp_path / "jobs")) as engine:
        assert list(engine.map(leaving_its_pid(started), range(12))) == list(range(12))
    killer.join()
    runs = [path.name.split("-") for path in started.iterdir()]
    assert len(killed) == 1
    assert len(runs) > 12  # the job that was at work ran twice


def test_a_job_that_kills_its_workers_is_reported(cluster: Any, cluster_address: str, tmp_path: Path) -> None:
    cluster.scheduler.allowed_failures, before = 1, cluster.scheduler.allowed_failures
    try:
        with (
            engine_named(cluster_address, directory_at(tmp_path / "jobs")) as engine,
            pytest.raises(SettingsError) as raised,
        ):
            list(engine.map(lambda _: os.kill(os.getpid(), 9), [1]))
    finally:
        cluster.scheduler.allowed_failures = before
    assert "made several Dask workers die" in raised.value.message
    assert "memory" in raised.value.hint


def test_a_scheduler_that_is_lost_ends_the_work(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    # It needs no worker: the job waits for one.
    address_file = tmp_path / "scheduler.json"
    code = f"--scheduler-file={address_file}", "--port=0", "--no-dashboard", "--host=127.0.0.1"
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "dask", "scheduler", *code], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(address_file.exists)
        with distributed.Client(scheduler_file=str(address_file), timeout=1) as client:
            results = DaskEngine(client, directory_at(tmp_path / "jobs")).map(slow_first(), range(3))
            threading.Timer(0.3, scheduler.kill).start()
            with pytest.raises(SettingsError, match="scheduler was lost"):
                list(results)
    finally:
        scheduler.kill()
        scheduler.wait()


def test_that_no_worker_is_left_is_said_while_it_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipeline.engine.dask._LOOK_AGAIN_S", 0.1)
    said: list[Any] = []

    def emit(event: Any) -> None:
        said.append(event)
        own.scale(1)

    with (
        dask_cluster(workers=1) as own,
        engine_named(address_of(own), directory_at(tmp_path / "jobs"), emit=emit) as engine,
    ):
        own.scale(0)
        wait_for(lambda: not own.scheduler.workers)
        results = engine.map(slow_first(), range(8))
        assert list(results) == [n * n for n in range(8)]
    assert {event.code for event in said} == {"no_workers"}


def test_a_worker_that_does_not_share_the_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"The Dask worker on .* cannot use .*function-1: No such"
    ) as raised:
        work(str(tmp_path), "function-1", b"", versions())
    assert "share" in raised.value.hint


def test_a_worker_without_access_to_the_store_says_what_to_set() -> None:
    pytest.importorskip("s3fs", reason="needs the extra s3")
    with pytest.raises(SettingsError) as raised:
        work("s3://no-such-bucket-of-ours/run", "function-1", b"", versions())
    assert raised.value.message.startswith("On the Dask worker on ")
    assert "s3://no-such-bucket-of-ours/run cannot be read" in raised.value.message
    assert "AWS_ACCESS_KEY_ID" in raised.value.hint


def test_a_worker_with_other_versions_refuses_its_first_job(tmp_path: Path) -> None:
    theirs = {**versions(), "polars": "0.1"}
    with pytest.raises(SettingsError, match=r"has polars [\d.]+, not 0\.1\."):
        work(str(tmp_path), "function-1", b"", theirs)


def test_other_versions_are_said_before_the_first_job(
    cluster_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipeline.engine.dask.versions", lambda: {**versions(), "omneo-import": "0.0.1"})
    with (
        pytest.raises(SettingsError, match=r"worker at tcp://[\d.:]+ has omneo-import .*, not 0\.0\.1\."),
        engine_named(cluster_address, directory_at(tmp_path)),
    ):
        pass


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingsError) as raised, engine_named("dask", directory_at(tmp_path)):
        pass
    assert "pip install 'omneo-import[dask]'" in raised.value.hint


def test_a_scheduler_that_is_not_there_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="needs the extra dask")
    monkeypatch.setattr("pipeline.engine.dask._CONNECT_S", 0.5)
    with (
        pytest.raises(SettingsError, match="a Dask scheduler does not answer"),
        engine_named("dask://127.0.0.1:1", directory_at(tmp_path)),
    ):
        pass
