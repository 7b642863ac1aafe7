from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from pipeline.simulator import SimulatorSettings
from pipeline.testing import LocalOmneo
from tests.fuzzing import register_profiles
from tests.servers import KeptOmneo, new_database, postgres_server

register_profiles()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` starts: at least two, for many tests wait for a server or a process."""
    return max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@pytest.fixture(scope="session")
def kept_omneo() -> Iterator[KeptOmneo]:
    settings = SimulatorSettings(token="t0ken-that-nobody-may-see", unknown_profiles="enrol")
    kept = KeptOmneo(settings, job_delay_s=0)
    yield kept
    kept.close()


@pytest.fixture
def omneo(kept_omneo: KeptOmneo) -> LocalOmneo:
    """A tenant that knows every customer it is sent, and works its queue off at once."""
    return kept_omneo.empty()


@pytest.fixture(scope="session")
def postgres_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.URL]:
    with postgres_server(tmp_path_factory.mktemp("runtime")) as address:
        yield address


@pytest.fixture
def postgres(postgres_address: sa.URL) -> str:
    """The address of a new, empty database of a real PostgreSQL server."""
    return new_database(postgres_address)
