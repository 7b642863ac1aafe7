"""The names that a scheduler in Python imports from `pipeline`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from pipeline import api
from pipeline.testing import LocalOmneo
from tests.command import REPOSITORY, open_to_others
from tests.receipts import export


def test_each_name_can_be_imported():
    assert all(getattr(pipeline, name).__name__ == name for name in api.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = pipeline.lod


def test_the_package_itself_imports_nothing():
    code = "import sys, pipeline; print(sorted(name for name in sys.modules if name.startswith('pipeline')))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "['pipeline']\n"


@pytest.mark.slow
def test_a_run_is_prepared_loaded_and_confirmed_from_python(tmp_path: Path, omneo: LocalOmneo):
    source, workdir = export(tmp_path / "pos_lines.csv", 3), tmp_path / "w"
    prepared = pipeline.prepare(workdir, "pos_lines", [str(source)])
    assert prepared.exit_code == 0
    connection = pipeline.connection_from_environment(environ=omneo.environment())
    target = pipeline.Target(workdir, prepared.summary.run_id, connection)
    assert pipeline.load(target).summary.delivery.delivered == 3
    omneo.drain()
    assert pipeline.confirm(target).summary.confirmed == 3
    pipeline.write_results(workdir, "latest")
    pipeline.void(target)
    pipeline.forget(workdir, "ann@example.com")
    assert open_to_others(workdir) == []


def test_no_class_of_a_test_has_the_name_of_one_of_the_package():
    """A name means one thing, whoever searches for it."""
    ours, theirs = (_class_names(REPOSITORY / folder) for folder in ("pipeline", "tests"))
    assert ours & theirs == set()


def _class_names(folder: Path) -> set[str]:
    texts = (path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    return {name for text in texts for name in re.findall(r"^class (\w+)", text, re.M)}
