"""Where `results` may write: what is not a file stays as it is, and what cannot be written is no bug."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.errors import SettingsError
from pipeline.workflows.prepare import prepare
from pipeline.workflows.results import write_results
from tests.receipts import export


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("results")
    prepare(home / "work", "pos_lines", [str(export(home / "lines.csv", 3))])
    return home / "work"


def test_a_pipe_is_not_replaced(workdir: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SettingsError, match="is not a file"):
        write_results(workdir, "latest", pipe)
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["-", ""])
def test_what_names_no_file_is_refused(
    workdir: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="is not a file"):
        write_results(workdir, "latest", Path(name))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(workdir: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SettingsError, match=r"cannot be written to .*results\.csv"):
        write_results(workdir, "latest", tmp_path / "taken" / "results.csv")


def test_what_a_link_leads_to_is_written(workdir: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "results.csv")
    write_results(workdir, "latest", link)
    assert link.is_symlink()
    assert (tmp_path / "results.csv").read_text().count("\n") == 4


def test_the_ending_may_be_in_capitals(workdir: Path, tmp_path: Path) -> None:
    path, _ = write_results(workdir, "latest", tmp_path / "RESULTS.PARQUET")
    assert pl.read_parquet(path).height == 3


@pytest.mark.parametrize("name", ["sales.csv", "sales.parquet"])
def test_only_results_are_overwritten(workdir: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("")
    for _ in range(2):
        write_results(workdir, "latest", path)
    path.write_text("receipt,total\n1,2.50\n")
    with pytest.raises(SettingsError, match="holds no results"):
        write_results(workdir, "latest", path)
    assert path.read_text() == "receipt,total\n1,2.50\n"
