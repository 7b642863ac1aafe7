from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
import sqlalchemy as sa

from pipeline.simulator import Faults, SimulatorSettings
from pipeline.testing import LocalOmneo
from pipeline.workflows.runs import incremental
from tests.fuzzing import register_profiles
from tests.servers import KeptOmneo, address_of, dask_cluster, new_database, postgres_server, s3_server
from tests.waiting import wait_for

register_profiles()
# On frames as small as those of tests, a second thread of polars costs a tenth more and gains nothing. The
# processes that tests start, and `make fuzz`, have several, as users have.
os.environ.setdefault("POLARS_MAX_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Collect no garbage while tests are collected, nor look through what is there by then.

    Seven thousand tests are objects that stay. Looking through them takes seconds in each process.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of clusters stand together, so that one process runs them and starts one cluster."""
    items.sort(key=lambda item: item.path.parent.name != "engine" and "cluster" not in item.fixturenames)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` starts: half as many again as cores, for many tests wait for others."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, cores * 3 // 2)


@pytest.fixture(scope="session", autouse=True)
def _short_looks() -> Iterator[None]:
    """Look again soon at files that were just written: those of tests are whole, or written all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "BETWEEN_LOOKS_S", 0.2)
        yield


@pytest.fixture(scope="session")
def kept_omneo() -> Iterator[KeptOmneo]:
    kept = KeptOmneo()
    yield kept
    kept.close()


@pytest.fixture
def omneo_settings() -> SimulatorSettings:
    """A tenant that knows every customer it is sent, and works its queue off at once.

    Tests that need another tenant have a fixture of this name of their own.
    """
    return SimulatorSettings(
        token="t0ken-that-nobody-may-see", unknown_profiles="enrol", faults=Faults(job_delay_s=0)
    )


@pytest.fixture
def omneo(kept_omneo: KeptOmneo, omneo_settings: SimulatorSettings) -> LocalOmneo:
    """A local Omneo with nothing in it."""
    return kept_omneo.empty(omneo_settings)


@pytest.fixture(scope="session")
def postgres_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.URL]:
    with postgres_server(tmp_path_factory.mktemp("runtime")) as address:
        yield address


@pytest.fixture
def postgres(postgres_address: sa.URL) -> str:
    """The address of a new, empty database of a real PostgreSQL server."""
    return new_database(postgres_address)


@pytest.fixture(scope="session")
def kept_cluster() -> Iterator[Any]:
    with dask_cluster() as running:
        yield running


@pytest.fixture
def cluster(kept_cluster: Any) -> Any:
    """A Dask cluster of two worker processes, without a token."""
    wait_for(lambda: len(kept_cluster.scheduler.workers) == 2)  # a test before may have killed one
    return kept_cluster


@pytest.fixture
def cluster_address(cluster: Any) -> str:
    return address_of(cluster)


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """What a process needs in its environment to find the object store of the tests."""
    with s3_server() as environment:
        yield environment


@pytest.fixture
def store(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The object store as fsspec shows it, from this process."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    filesystem = fsspec.filesystem("s3")
    yield filesystem
    # A driver that is kept would keep the credentials too, which some tests take away.
    type(filesystem).clear_instance_cache()


@pytest.fixture
def bucket(store: Any) -> str:
    """A new, empty bucket's address."""
    name = f"sales-{uuid4().hex[:8]}"
    store.mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `confirm` does not find at once is missing: it takes a quarter of a minute to look again."""
    monkeypatch.setattr("pipeline.loading.confirm.search.FIRST_WAIT_S", float("inf"))


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave `report.html` empty, for modules that run commands hundreds of times and look at what was sent.

    Drawing the page takes a sixth of a small run. `report.json` is written as always.
    """
    monkeypatch.setattr("pipeline.report.render.render_page", lambda *_: "")
