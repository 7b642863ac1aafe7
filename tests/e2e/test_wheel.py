"""What is installed by others: the wheel has everything, and works without the repository beside it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.command import REPOSITORY, clean_environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this repository, built by the environment of the tests, without network, and unpacked."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=REPOSITORY,
        env=clean_environment(),
        check=True,
        capture_output=True,
    )
    (wheel,) = directory.glob("omneo_import-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "unpacked")
    return directory / "unpacked"


def test_everything_that_is_needed_travels_in_it(unpacked: Path):
    inside = {
        path.relative_to(unpacked / "pipeline")
        for path in (unpacked / "pipeline").rglob("*")
        if path.is_file()
    }
    assert {
        Path("py.typed"),
        Path("report/templates/report.html.j2"),
        Path("report/templates/report.css"),
    } <= inside
    shipped = Path("shipped")
    for folder in ("mappings", "sample_data"):
        there = {path.relative_to(REPOSITORY) for path in (REPOSITORY / folder).rglob("*") if path.is_file()}
        assert {shipped / path for path in there} <= inside
    modules = {path.relative_to(REPOSITORY / "pipeline") for path in (REPOSITORY / "pipeline").rglob("*.py")}
    assert modules <= inside
    assert not [
        path for path in unpacked.rglob("*") if path.name in ("tests", "__pycache__", ".omneo-import")
    ]


def test_it_offers_the_command_and_nothing_else_at_the_top(unpacked: Path):
    (info,) = unpacked.glob("omneo_import-*.dist-info")
    assert sorted(path.name for path in unpacked.iterdir()) == sorted([info.name, "pipeline"])
    assert "omneo-import = pipeline.cli:main" in (info / "entry_points.txt").read_text(encoding="utf-8")
    assert "Requires-Python: >=3.11" in (info / "METADATA").read_text(encoding="utf-8")


def test_a_shipped_mapping_runs_its_shipped_sample(unpacked: Path, tmp_path: Path):
    code = """
import sys
import pipeline.cli.group
from pipeline.mapping.language.shipped import shipped_sample
sample = str(shipped_sample("pos_lines"))
assert pipeline.cli.__file__.startswith(sys.argv[1]) and sample.startswith(sys.argv[1]), sample
sys.argv[1:] = ["prepare", "-m", "pos_lines", sample, "-q"]
pipeline.cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(unpacked)],
        env=clean_environment({"PYTHONPATH": str(unpacked)}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list((tmp_path / ".omneo-import" / "runs").iterdir())) == 1
