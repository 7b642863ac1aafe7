"""A load is watched from another process until it ends, and is not disturbed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from pipeline.cli.commands import report_commands
from pipeline.staging.workdir import Workdir
from pipeline.testing import LocalOmneo
from pipeline.workflows.follow import follow
from pipeline.workflows.runs.workdir_lock import lock_holders, workdir_lock
from tests.command import call, ended, start
from tests.receipts import export


@pytest.mark.slow
def test_nothing_at_work_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report_commands, "WAIT_FOR_LOAD_S", 0.01)
    home = ("--workdir", tmp_path / "w", "--json")
    assert call("prepare", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 3), *home).code == 0
    shown = call("status", "--follow", *home)
    assert (shown.code, shown.summary["delivery"]["pending"]) == (0, 3)
    assert "No command is at work here yet" in shown.stderr
    assert "No command is at work here. 3 transactions are still to be sent" in shown.stderr


@pytest.mark.slow
def test_a_load_that_begins_a_little_later_is_followed(tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    run_id = call("prepare", "-m", "pos_lines", export(tmp_path / "a.csv", 3), *home).summary["run_id"]
    loader = ExitStack()

    def begins() -> None:
        loader.enter_context(workdir_lock(Workdir(tmp_path / "w"), "load", run_id=run_id))

    next_step = iter((lambda: None, begins, loader.close))
    looks = follow(tmp_path / "w", "latest", wait_s=10, sleep=lambda _: next(next_step)())
    assert [(each.waiting, len(each.holders)) for each in looks] == [
        *((True, 0), (True, 0)),
        *((False, 1), (False, 0)),
    ]


@pytest.mark.slow
def test_a_load_is_followed_to_its_end(omneo: LocalOmneo, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    assert call("prepare", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 60), *home).code == 0
    omneo.set_faults(latency_s=0.2)
    loading = start("load", "latest", "--concurrency", 4, *home, env=omneo.environment())
    deadline = time.monotonic() + 60
    while not lock_holders(Workdir(tmp_path / "w")) and time.monotonic() < deadline:
        time.sleep(0.02)
    seen = list(follow(tmp_path / "w", "latest", every_s=0.1))
    assert ended(loading).code == 0
    assert [each.command for each in seen[0].holders] == ["load"]
    assert not seen[-1].holders
    assert seen[-1].status.delivered == 60
    left = [each.left for each in seen]
    assert left == sorted(left, reverse=True)
    assert any(0 < each.left < 60 and each.pace.per_s for each in seen)
    assert "60 of 60 transactions" in str(seen[-1])


@pytest.mark.slow
@pytest.mark.parametrize("seconds_ago", [0, 600])
def test_what_limits_the_pace_is_in_the_log_of_the_load(tmp_path: Path, seconds_ago: int):
    home = ("--workdir", tmp_path / "w", "--json")
    prepared = call("prepare", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 3), *home)
    log = Path(prepared.summary["run_dir"]) / "run.log.jsonl"
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    event = {"ts": at.isoformat(), "event": "progress", "limit": "--rate 600/min", "most_per_s": 10}
    log.write_text(log.read_text() + json.dumps(event) + "\n" + '{"event": "prog')
    with workdir_lock(Workdir(tmp_path / "w"), "load"):
        first = next(iter(follow(tmp_path / "w", "latest")))
    assert ("--rate 600/min" in str(first)) == (seconds_ago == 0)


@pytest.mark.slow
def test_what_was_done_before_it_was_watched_is_no_part_of_the_rate(tmp_path: Path, omneo: LocalOmneo):
    home = ("--workdir", tmp_path / "w", "--json")
    run_id = call("prepare", "-m", "pos_lines", export(tmp_path / "a.csv", 30), *home).summary["run_id"]
    assert call("load", "latest", "--first", 20, *home, env=omneo.environment()).code == 0
    with workdir_lock(Workdir(tmp_path / "w"), "load", run_id=run_id):
        first, second, *_ = islice(follow(tmp_path / "w", "latest", every_s=0.05), 2)
    assert (first.pace.last.done, second.pace.per_s) == (20, None)


@pytest.mark.slow
def test_a_run_that_is_loaded_by_several_is_followed_until_the_last_has_ended(tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    run_id = call("prepare", "-m", "pos_lines", export(tmp_path / "a.csv", 3), *home).summary["run_id"]
    call("prepare", "-m", "pos_lines", export(tmp_path / "b.csv", 5), *home)
    loaders = [ExitStack(), ExitStack()]
    for each in loaders:
        each.enter_context(workdir_lock(Workdir(tmp_path / "w"), "load", shared=True, run_id=run_id))
    looks = follow(tmp_path / "w", "latest", sleep=lambda _: loaders.pop().close())
    seen = [(each.status.accepted, len(each.holders)) for each in looks]
    assert seen == [(3, 2), (3, 1), (3, 0)], "`latest` is the one that is loaded, while one is"


@pytest.mark.slow
def test_on_a_terminal_the_line_stays(tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    prepared = call("prepare", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 3), *home).summary
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (24, 40))
    command = [sys.executable, "-m", "pipeline", "status", "--follow", "--workdir", str(tmp_path / "w")]
    with workdir_lock(Workdir(tmp_path / "w"), "load", run_id=prepared["run_id"]):
        following = subprocess.Popen(command, stderr=there, stdout=subprocess.DEVNULL)
        os.close(there)
        shown = b""
        while shown.count(b"\r\x1b[K") < 3:  # at three looks
            shown += os.read(here, 65536)
    assert following.wait(60) == 0
    os.close(here)
    looks = [text.strip() for text in shown.decode().split("\r\x1b[K")[1:4]]
    assert looks == ["0 of 3 transactions"] * 3, "bars, which erase the line, would be seen here"
