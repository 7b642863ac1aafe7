"""A load is watched from another process until it ends, and is not disturbed."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.staging.workdir import Workdir
from pipeline.testing import LocalOmneo
from pipeline.workflows.follow import follow
from pipeline.workflows.workdir_lock import lock_holder, workdir_lock
from tests.command import call, ended, start
from tests.receipts import export


def test_nothing_at_work_is_said_at_once(tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    assert call("prepare", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 3), *home).code == 0
    shown = call("status", "--follow", *home)
    assert (shown.code, shown.summary["delivery"]["pending"]) == (0, 3)
    assert "No command is at work here." in shown.stderr


@pytest.mark.slow
def test_a_load_is_followed_to_its_end(omneo: LocalOmneo, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    assert call("prepare", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 60), *home).code == 0
    omneo.set_faults(latency_s=0.2)
    loading = start("load", "latest", "--concurrency", 4, *home, env=omneo.environment())
    deadline = time.monotonic() + 60
    while lock_holder(Workdir(tmp_path / "w")) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    seen = list(follow(tmp_path / "w", "latest", every_s=0.1))
    assert ended(loading).code == 0
    assert seen[0].holder is not None
    assert seen[0].holder.command == "load"
    assert seen[-1].holder is None
    assert seen[-1].status.delivered == 60
    left = [each.left for each in seen]
    assert left == sorted(left, reverse=True)
    assert any(0 < each.left < 60 and each.per_s for each in seen)
    assert "60 of 60 transactions" in str(seen[-1])


def test_a_holder_that_was_killed_is_none(tmp_path: Path):
    home = Workdir.open(tmp_path / "w")
    with workdir_lock(home, "load"):
        found = lock_holder(home)
        assert found is not None
        assert found.pid == os.getpid()
    assert lock_holder(home) is None
    gone = {"pid": 2**22 + 1, "host": socket.gethostname(), "command": "load", "since": "today"}
    (home.lock_dir / "lock").write_text(json.dumps(gone))
    assert lock_holder(home) is None


@pytest.mark.parametrize(
    ("per_min", "text"), [(1000.0, "limit of 1,000 requests a minute"), (None, "limit of")]
)
def test_the_limit_of_the_server_is_named(tmp_path: Path, per_min: float | None, text: str):
    home = ("--workdir", tmp_path / "w", "--json")
    prepared = call("prepare", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 3), *home)
    log = Path(prepared.summary["run_dir"]) / "run.log.jsonl"
    event = {"ts": datetime.now(UTC).isoformat(), "event": "throttled", "wait_s": 2, "per_min": per_min}
    log.write_text(log.read_text() + json.dumps(event) + "\n" + '{"event": "prog')
    with workdir_lock(Workdir(tmp_path / "w"), "load"):
        first = next(iter(follow(tmp_path / "w", "latest")))
    assert f"Omneo's {text}" in str(first)
