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
from pipeline.workflows.runs.workdir_lock import lock_holders, workdir_lock

HOLDING = """
import sys, time
from pathlib import Path
from pipeline.staging.workdir import Workdir
from pipeline.workflows.runs.workdir_lock import workdir_lock
with workdir_lock(Workdir(Path(sys.argv[1])), "load latest"):
    print("held", flush=True)
    time.sleep(60)
"""


def held(workdir: Path, command: str = "confirm") -> AbstractContextManager[None]:
    return workdir_lock(Workdir(workdir), command)


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


def test_damaged_files_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b'{"pid": ')
    (tmp_path / "holders").mkdir()
    (tmp_path / "holders/1.json").write_bytes(b"no json")
    with held(tmp_path):
        assert [each.command for each in lock_holders(Workdir(tmp_path))] == ["confirm"]
        assert stat.S_IMODE((tmp_path / "holders").stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "holders").iterdir()} == {0o600}


def test_a_dry_run_may_be_beside_a_load_and_not_beside_another_or_what_removes_runs(tmp_path: Path) -> None:
    with held(tmp_path, "load"), held(tmp_path, "prepare"):
        # In any order: both began within one tick of the file system's clock.
        assert {each.command for each in lock_holders(Workdir(tmp_path))} == {"load", "prepare"}
        for command in ("prepare", "prune", "forget", "load"):
            with pytest.raises(WorkdirBusy), held(tmp_path, command):
                pass
    with held(tmp_path, "prune"), pytest.raises(WorkdirBusy, match="`prune`"), held(tmp_path, "prepare"):
        pass


def test_holders_are_known_until_the_last_of_those_that_share_it_has_ended(tmp_path: Path) -> None:
    home = Workdir(tmp_path)
    with workdir_lock(home, "load", shared=True, run_id="r1"):
        with workdir_lock(home, "load", shared=True, run_id="r1"):
            assert len(lock_holders(home)) == 2
        assert [each.run_id for each in lock_holders(home)] == ["r1"]
    assert lock_holders(home) == []


def test_a_holder_that_was_killed_is_none(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert [each.pid for each in lock_holders(Workdir(tmp_path))] == [process.pid]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list((tmp_path / "holders").iterdir()), "it could not take its name away"
    assert lock_holders(Workdir(tmp_path)) == []
    with held(tmp_path):
        assert len(list((tmp_path / "holders").iterdir())) == 1


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
