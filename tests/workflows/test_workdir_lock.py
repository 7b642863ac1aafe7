from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pipeline.core.errors import SettingsError, WorkdirBusy
from pipeline.staging.workdir import Workdir
from pipeline.workflows.workdir_lock import workdir_lock

HOLDING = """
import sys, time
from pathlib import Path
from pipeline.staging.workdir import Workdir
from pipeline.workflows.workdir_lock import workdir_lock
with workdir_lock(Workdir(Path(sys.argv[1])), "load latest"):
    print("held", flush=True)
    time.sleep(60)
"""


def held(workdir: Path) -> AbstractContextManager[None]:
    return workdir_lock(Workdir(workdir), "prepare")


def holder(workdir: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(workdir)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_kept_out_and_reported_by_whom(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        try:
            with pytest.raises(WorkdirBusy, match=rf"process {process.pid} .*`load latest`"), held(tmp_path):
                pass
        finally:
            process.kill()


def test_a_dead_holder_keeps_nobody_out(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with held(tmp_path):
            pass


def test_it_is_let_go_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        raise ZeroDivisionError
    with held(tmp_path):
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_a_damaged_lock_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b'{"pid": ')
    with held(tmp_path):
        pass


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be locked"), held(tmp_path / "no"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="no fork here")
def test_a_child_process_does_not_inherit_it(tmp_path: Path) -> None:
    with held(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with held(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()
