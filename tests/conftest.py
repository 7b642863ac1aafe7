from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.simulator import SimulatorSettings
from pipeline.testing import LocalOmneo, local_omneo


@pytest.fixture
def omneo() -> Iterator[LocalOmneo]:
    """A tenant that knows every customer it is sent, and works its queue off at once."""
    settings = SimulatorSettings(token="t0ken-that-nobody-may-see", unknown_profiles="enrol")
    with local_omneo(settings, job_delay_s=0) as running:
        yield running
