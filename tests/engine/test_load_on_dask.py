"""`load --engine dask`: the parts of a load on the workers of a cluster.

What the death of one costs is in `tests/e2e/test_distributed_line.py`.
"""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.core.events import ignore
from pipeline.core.settings import connection_from_environment
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop
from pipeline.testing import LocalOmneo
from pipeline.workflows.load import load
from pipeline.workflows.runs.run_record import CommandResult
from pipeline.workflows.tenant.distributed_load import Assignment, contribute, without_password
from pipeline.workflows.tenant.open_run import Target
from tests.command import call, ended, files_with, open_to_others, start
from tests.receipts import export
from tests.servers import address_of, arrived, environment_of_workers
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

COUNT = 1_000
CONCURRENCY = 8
OPTIONS = DeliveryOptions(concurrency=CONCURRENCY, part_size=100, lease_s=1.0)


class Load:
    """A run that is prepared, and its load on a cluster."""

    def __init__(self, omneo: LocalOmneo, workdir: Path, ledger: str, *sources: object) -> None:
        self.common = ("--json", "--workdir", workdir, "--ledger", ledger)
        prepared = call("prepare", "-m", "pos_lines", *self.common, *sources)
        assert prepared.code == 0, prepared.stderr
        self.env, self.workdir = omneo.environment(), workdir
        connection = connection_from_environment(environ=self.env)
        self.target = Target(
            workdir, "latest", connection, OPTIONS, ignore, Stop(), ledger, signals=[signal.SIGTERM]
        )

    def on(self, running: Any) -> CommandResult:
        return load(replace(self.target, engine=address_of(running)))


@pytest.fixture
def prepared(omneo: LocalOmneo, workdir: Path, postgres: str, tmp_path: Path) -> Load:
    return Load(omneo, workdir, postgres, export(tmp_path / "sales.csv", COUNT))


@contextmanager
def meanwhile(omneo: LocalOmneo, action: Any) -> Iterator[None]:
    """Do something as soon as a part of the run is sent."""

    def act() -> None:
        wait_for(lambda: omneo.stats()["requests"] > COUNT // 4)
        action()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_asked_to_stop_all_workers_finish_what_is_in_flight_and_a_load_goes_on(
    omneo: LocalOmneo, prepared: Load, cluster: Any
) -> None:
    omneo.set_faults(latency_s=0.02)
    with environment_of_workers(cluster, prepared.env):
        with meanwhile(omneo, prepared.target.stop.request):
            stopped = prepared.on(cluster)
        assert stopped.exit_code == 143
        assert 0 < stopped.summary.delivery.pending < COUNT
        omneo.set_faults(latency_s=0.0)
        prepared.target = replace(prepared.target, stop=Stop())
        assert prepared.on(cluster).summary.delivery.delivered == COUNT
    assert max(arrived(omneo).values()) == 1
    assert open_to_others(prepared.workdir) == []
    assert files_with(omneo.environment()["OMNEO_TOKEN"], prepared.workdir) == []
    assert not list(prepared.workdir.glob("runs/*/buckets"))


def test_a_worker_without_a_token_says_so_and_sends_nothing(
    omneo: LocalOmneo, prepared: Load, postgres: str, tmp_path: Path
) -> None:
    (run,) = prepared.workdir.glob("runs/*")
    url = prepared.target.connection.base_url
    assignment = Assignment(str(prepared.workdir), run.name, url, None, postgres, OPTIONS, str(tmp_path))
    result = contribute(assignment, environ={})
    assert (result.handled, result.error is not None) == (0, True)
    assert "On the worker" in str(result.error)
    assert "OMNEO_TOKEN holds no token" in str(result.error)
    # Where the others go on for days, the process that waits for them finds it here.
    (said,) = tmp_path.glob("stopped-*")
    assert said.read_text(encoding="utf-8") in str(result.error)
    assert pickle.loads(pickle.dumps(result)).error.hint == result.error.hint  # type: ignore[union-attr]
    assert omneo.stats()["requests"] == 0


def test_a_worker_without_the_password_says_where_to_set_it(prepared: Load, tmp_path: Path) -> None:
    (run,) = prepared.workdir.glob("runs/*")
    url, ledger = prepared.target.connection.base_url, "postgresql://omneo@127.0.0.1:1/ledger"
    result = contribute(
        Assignment(str(prepared.workdir), run.name, url, None, ledger, OPTIONS, str(tmp_path)), prepared.env
    )
    assert "On the worker" in str(result.error)
    assert "PGPASSWORD" in str(result.error)


def test_workers_are_sent_no_password() -> None:
    assert without_password("postgresql://omneo:s3cret@db:5432/ledger") == "postgresql://omneo@db:5432/ledger"
    assert without_password("postgresql://db/ledger?password=s3cret") == "postgresql://db/ledger"
    socket = "postgresql://postgres@/ledger?host=/run/pg"
    assert sa.make_url(without_password(socket)) == sa.make_url(socket)


def test_a_worker_stops_once_nobody_waits_for_it(omneo: LocalOmneo, prepared: Load, postgres: str) -> None:
    omneo.set_faults(latency_s=0.02)
    (run,) = prepared.workdir.glob("runs/*")
    url = prepared.target.connection.base_url
    gone = str(prepared.workdir / "gone")
    result = contribute(
        Assignment(str(prepared.workdir), run.name, url, None, postgres, OPTIONS, gone), prepared.env
    )
    assert (result.stopped, result.error) == (True, None)
    assert result.handled < COUNT


def test_from_the_command_line_with_two_processes_here(prepared: Load, omneo: LocalOmneo) -> None:
    loaded = ended(start("load", "latest", *prepared.common, "--engine", "dask", env=prepared.env))
    assert loaded.code == 0, loaded.stderr
    assert loaded.summary["delivery"]["delivered"] == COUNT
    assert loaded.summary["requests"]["sent"] >= COUNT
    assert sum(arrived(omneo).values()) == COUNT


@pytest.mark.parametrize("command", ["load", "run"])
def test_a_ledger_on_a_disk_is_refused_before_anything_is_done(
    command: str, workdir: Path, tmp_path: Path, omneo: LocalOmneo
) -> None:
    what = ("latest",) if command == "load" else ("-m", "pos_lines", export(tmp_path / "sales.csv", 3))
    result = call(command, "--workdir", workdir, "--engine", "dask", *what, env=omneo.environment())
    assert result.code == 2
    assert "--ledger postgresql://" in result.stderr
    assert not workdir.exists()
