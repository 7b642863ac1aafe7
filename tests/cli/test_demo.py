"""`make demo`, as whoever tries the product for the first time runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import REPOSITORY, clean_environment

pytestmark = pytest.mark.slow


def demo(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it in a folder, with the environment that runs the tests: nothing is installed."""
    target = ("--file", REPOSITORY / "Makefile", "--old-file", ".venv/.installed", "demo")
    return subprocess.run(
        ["make", "--no-print-directory", *target, f"BIN={Path(sys.executable).parent}"],
        cwd=folder,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_it_runs_again_in_one_folder_whatever_the_settings_for_the_own_omneo(tmp_path: Path):
    own = {"OMNEO_BASE_URL": "http://127.0.0.1:9/api/v3", "OMNEO_TENANT": "acme", "OMNEO_TOKEN": "theirs"}
    elsewhere = {"OMNEO_IMPORT_LEDGER": str(tmp_path / "elsewhere" / "ledger.db")}
    for environment in ({}, own | elsewhere):
        done = demo(tmp_path, **environment)
        assert done.returncode == 0, done.stderr
        assert "Omneo now holds" in done.stdout
        assert len(list((tmp_path / ".omneo-import" / "demo" / "runs").iterdir())) == 1
