import os
from pathlib import Path

import pytest

from pipeline.core.errors import RunError, SettingsError
from pipeline.core.storage.files import write_private
from pipeline.staging.workdir import RunDir, Workdir


def finished(workdir: Workdir, name: str) -> RunDir:
    run = RunDir(workdir.path / "runs" / name)
    run.path.mkdir()
    write_private(run.manifest, "{}")
    return run


def test_a_workdir_is_private(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir(mode=0o755)
    workdir = Workdir.open(tmp_path / "w")
    assert workdir.path.stat().st_mode & 0o777 == 0o700
    assert workdir.new_run().path.stat().st_mode & 0o777 == 0o700


def test_runs_are_found_by_id_prefix_and_latest(tmp_path: Path) -> None:
    workdir = Workdir.open(tmp_path)
    first = finished(workdir, "20240101T000000-aaaa")
    last = finished(workdir, "20240102T000000-bbbb")
    (workdir.path / "runs" / "20240103T000000-cccc").mkdir()
    assert workdir.find("latest") == last
    assert workdir.find("20240101") == first
    assert workdir.find(first.run_id) == first
    for reference, message in (
        ("202401", "is the start of 2 runs"),
        ("nothing", "There is no run 'nothing'"),
        ("20240103", "was not prepared to its end"),
    ):
        with pytest.raises(RunError, match=message):
            workdir.find(reference)


def test_latest_of_none_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="omneo-import prepare"):
        Workdir.open(tmp_path).find("latest")


def test_a_file_is_no_workdir(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used"):
        Workdir.open(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workdir_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir(mode=0o500)
    with pytest.raises(SettingsError, match="--workdir"):
        Workdir.open(tmp_path)
