"""A load is followed from the moment at which `run` prepares what it sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.cli.commands import report_commands
from pipeline.staging.workdir import Workdir
from pipeline.workflows.follow import follow
from pipeline.workflows.prepare import prepare
from pipeline.workflows.runs.workdir_lock import workdir_lock
from tests.command import call
from tests.receipts import export


@pytest.mark.slow
def test_the_run_that_is_being_prepared_is_the_one_that_is_followed(tmp_path: Path) -> None:
    work = tmp_path / "work"
    prepare(work, "pos_lines", [str(export(tmp_path / "old.csv", 3))])
    home = Workdir.open(work)
    stack = ExitStack()
    stack.enter_context(workdir_lock(home, "prepare"))

    def steps() -> Iterator[None]:
        yield
        stack.close()
        prepare(work, "pos_lines", [str(export(tmp_path / "new.csv", 5))])
        yield  # between preparing and sending nothing holds the working directory
        stack.enter_context(workdir_lock(home, "load"))
        yield
        stack.close()
        yield

    step = steps()
    seen = [
        (str(each), next((holder.command for holder in each.holders), None))
        for each in follow(work, "latest", sleep=lambda _: next(step))
    ]
    assert [command for _, command in seen] == ["prepare", "prepare", "load", None]
    assert seen[0][0] == "A run is being prepared"
    assert all(text.startswith("0 of 5 transactions") for text, _ in seen[2:])


def test_where_stderr_is_for_machines_every_line_of_it_is_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_commands, "WAIT_FOR_LOAD_S", 0)
    work = tmp_path / "work"
    prepare(work, "pos_lines", [str(export(tmp_path / "old.csv", 3))])
    ended = call("status", "--follow", "--workdir", work, "--log-format", "json")
    assert ended.code == 0
    (said,) = [json.loads(line)["message"] for line in ended.stderr.splitlines()]
    assert said.startswith("No command is at work here. 3 transactions are still to be sent")
