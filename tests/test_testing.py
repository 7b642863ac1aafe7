"""The fake that users of the package may use too."""

import os
import subprocess
import sys

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.settings import connection_from_environment
from pipeline.simulator import SimulatorSettings
from pipeline.testing import local_omneo


def test_its_environment_is_what_the_command_line_reads():
    with local_omneo(SimulatorSettings(token="t0ken")) as omneo:
        connection = connection_from_environment(environ=omneo.environment())
        assert (connection.base_url, connection.token.reveal()) == (omneo.base_url, "t0ken")


def test_faults_are_set_from_the_start_beside_those_of_the_settings():
    settings = SimulatorSettings()
    with local_omneo(settings, latency_s=0.01) as omneo:
        assert omneo.faults() == settings.faults.as_dict() | {"latency_s": 0.01}
    with pytest.raises(SettingsError, match="did you mean"), local_omneo(latency=1):
        pass


def test_two_run_side_by_side():
    with local_omneo() as one, local_omneo() as other:
        assert one.base_url != other.base_url
        one.set_faults(outage=True)
        assert other.faults()["outage"] is False


@pytest.mark.slow
def test_it_needs_no_test_framework():
    code = "import sys, pipeline.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


def test_the_settings_are_light_to_import():
    code = (
        "import sys, pipeline.simulator as s; s.Faults(); "
        "sys.exit(any(m in sys.modules for m in ('starlette', 'uvicorn', 'httpx', 'sqlite3')))"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
