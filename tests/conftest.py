from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pipeline.simulator import SimulatorSettings
from pipeline.testing import LocalOmneo, local_omneo
from tests.fuzzing import register_profiles

register_profiles()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` starts: at least two, for many tests wait for a server or a process."""
    return max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@pytest.fixture
def omneo() -> Iterator[LocalOmneo]:
    """A tenant that knows every customer it is sent, and works its queue off at once."""
    settings = SimulatorSettings(token="t0ken-that-nobody-may-see", unknown_profiles="enrol")
    with local_omneo(settings, job_delay_s=0) as running:
        yield running
