from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    """A Dask cluster of two worker processes on this machine."""
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.ERROR
    ) as running:
        yield running


@pytest.fixture
def address(cluster: Any) -> str:
    """The cluster's address, as `--engine` takes it."""
    scheduler: str = cluster.scheduler_address
    return scheduler.replace("tcp://", "dask://")
