from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.core.events import Notice, Progress, RunStarted
from pipeline.telemetry.json_log import JsonLog, json_log

HOSTILE = "\x1b]0;owned\x07\x1b[31m<script>\r\u202egnp.exe\x9b"


def test_json_log_lines_have_time_run_and_stable_names() -> None:
    out = io.StringIO()
    log = JsonLog(out, now=lambda: datetime(2024, 8, 1, 10, 15, tzinfo=UTC))
    log(RunStarted("r1", "prepare"))
    log(Notice("unmapped", HOSTILE))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines == [
        {
            "ts": "2024-08-01T10:15:00.000+00:00",
            "run_id": "r1",
            "event": "run_started",
            "command": "prepare",
        },
        {
            "ts": "2024-08-01T10:15:00.000+00:00",
            "run_id": "r1",
            "event": "notice",
            "code": "unmapped",
            "message": HOSTILE,
        },
    ]
    assert out.getvalue().isascii(), "control characters are escaped"


def test_json_log_keeps_little_of_the_progress() -> None:
    out, seconds = io.StringIO(), iter(range(100))
    start = datetime(2024, 8, 1, tzinfo=UTC)
    log = JsonLog(out, "r1", now=lambda: start + timedelta(seconds=next(seconds)))
    for done in range(25):
        log(Progress("load", done))
    assert [json.loads(line)["done"] for line in out.getvalue().splitlines()] == [0, 10, 20]


def test_the_log_file_is_private_and_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "run.log.jsonl"
    for command in ("prepare", "load"):
        with json_log(path, "r1") as log:
            log(RunStarted("r1", command))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["command"] for line in path.read_text().splitlines()] == ["prepare", "load"]
