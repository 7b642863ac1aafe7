from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.core.events import Notice, Progress, RunStarted, StageFinished, StageStarted
from pipeline.core.findings import Occurrence, RootCause
from pipeline.report.data import TenantFinding
from pipeline.report.summary import Delivery, Requests
from pipeline.report.terminal import (
    JsonLog,
    PlainListener,
    closing_summary,
    duration,
    error_text,
    json_log,
    progress_listener,
    run_table,
)
from pipeline.report.verdict import Look, verdict_of
from tests.report.made_up_report import CAUSES, made_up_facts, summary_of

PREPARED = summary_of(made_up_facts(300))
HOSTILE = "\x1b]0;owned\x07\x1b[31m<script>\r\u202egnp.exe\x9b"


def ticking(*times: float) -> PlainListener:
    left = list(times)
    return PlainListener(io.StringIO(), clock=lambda: left.pop(0))


def said(listener: PlainListener) -> list[str]:
    assert isinstance(listener.stream, io.StringIO)
    return listener.stream.getvalue().splitlines()


def test_plain_lines_come_every_few_seconds_with_rate_and_time_left() -> None:
    listener = ticking(0, 1, 5, 6, 10)
    listener(StageStarted("load", "transactions", 4000))
    for done in (100, 500, 600, 1000):
        listener(Progress("load", done))
    listener(StageFinished("load", 4000, 40))
    assert said(listener) == [
        "load: 500 of 4,000 transactions, 100/s, 35 s left",
        "load: 1,000 of 4,000 transactions, 100/s, 30 s left",
        "load: 4,000 transactions in 40 s",
    ]


def test_a_stage_of_unknown_size_has_no_time_left() -> None:
    listener = ticking(0, 10)
    listener(StageStarted("read", "rows"))
    listener(Progress("read", 1000))
    assert said(listener) == ["read: 1,000 rows, 100/s"]


def test_quiet_leaves_only_notices() -> None:
    out = io.StringIO()
    with progress_listener(out, quiet=True) as listen:
        listen(StageStarted("read", "rows"))
        listen(StageFinished("read", 3, 1))
        listen(Notice("x", "Two columns are not used."))
    assert out.getvalue() == "Two columns are not used.\n"


@pytest.mark.parametrize("quiet", [True, False])
def test_no_control_character_of_a_notice_reaches_the_stream(quiet: bool) -> None:
    out = io.StringIO()
    with progress_listener(out, quiet=quiet) as listen:
        listen(Notice("x", HOSTILE))
    assert out.getvalue() == "␛]0;owned␇␛[31m<script>␍\\u202egnp.exe\\x9b\n"


BAR = """
import sys
from pipeline.core.events import *
from pipeline.report.terminal import progress_listener
with progress_listener() as listen:
    listen(StageStarted("prepare", "rows", 2000))
    listen(Progress("prepare", 1500))
    listen(Notice("x", "[bold]a\\x1b]0;b\\x07"))
    listen(StageFinished("prepare", 2000, 0.5))
"""


def read_to_the_end(terminal: int) -> Iterator[bytes]:
    with suppress(OSError):  # how a pseudo-terminal says that its other end was closed
        while True:
            yield os.read(terminal, 65536)


def test_on_a_terminal_there_is_a_bar() -> None:
    here, there = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", BAR], stderr=there, stdout=subprocess.PIPE) as process:
        os.close(there)
        seen = b"".join(read_to_the_end(here))
        os.close(here)
        assert process.stdout is not None
        assert process.stdout.read() == b"", "stdout belongs to results"
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "2,000 rows" in text
    assert "4,000/s" in text
    assert "[bold]a␛]0;b␇" in text
    assert "\x1b]0;" not in text


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


def test_the_closing_summary_says_what_why_and_what_next() -> None:
    text = closing_summary(PREPARED, causes=CAUSES)
    assert "282 of 300 transactions" in text
    assert text.split("\n\n")[2].splitlines()[:4] == [
        "  Rejected",
        "            20  transacted_at_invalid      Not a date",
        "                exports/sales-2023.csv:23: '31/31/2023 10:15' is not a date",
        "                Mend the cell, or give the mapping the right date format.",
    ]
    assert "  Dropped\n            80  draft                      Draft sale: PARKED\n" in text
    assert "guest                      Sale without a customer" in text
    assert f"omneo-import load {PREPARED.run_id}" in text.splitlines()[-1]
    assert "delivery" not in text


def test_a_command_about_delivery_does_not_repeat_what_the_dry_run_found() -> None:
    text = closing_summary(PREPARED)
    for word in ("Rejected", "Dropped", "Warnings", "malformed", "guest"):
        assert word not in text


def test_the_tenants_answers_are_told_where_it_was_asked() -> None:
    answers = [
        TenantFinding("Token", "The token is good.", good=True),
        TenantFinding("New locations", HOSTILE, good=False, evidence=[f"S{n}" for n in range(9)]),
    ]
    text = closing_summary(PREPARED, answers=answers)
    assert "          well  Token: The token is good.\n      not well  New locations: ␛]0;" in text
    assert "                - S5\n                and 3 more lines; see the report" in text


def test_the_closing_summary_after_a_load() -> None:
    accepted = PREPARED.transactions.accepted
    loaded = replace(
        PREPARED,
        delivery=Delivery(delivered=accepted - 2, refused=2),
        requests=Requests(sent=accepted + 5, retried=5, throttled=1, errors=4),
    )
    text = closing_summary(loaded)
    assert text.startswith("Delivered, except 2 transactions")
    assert "280 delivered, 0 unchanged, 2 refused" in text
    assert f"omneo-import retry {PREPARED.run_id}" in text
    stopped = replace(loaded, delivery=Delivery(delivered=1, pending=accepted - 1))
    assert "Omneo refuses the token." in closing_summary(
        stopped, verdict_of(stopped, stopped="Omneo refuses the token.")
    )


def test_the_closing_summary_names_what_else_to_look_at() -> None:
    looks = [Look("Sales at night", "findings")]
    text = closing_summary(PREPARED, verdict_of(PREPARED, looks=looks, currency="AUD"))
    assert text.startswith("Ready, with 2 things to look at first\n")
    assert "worth AUD " in text
    assert "Look at first\n                Sales at night" in text


def test_the_runs_are_a_table() -> None:
    accepted = PREPARED.transactions.accepted
    loaded = replace(PREPARED, run_id="r2", delivery=Delivery(delivered=accepted - 1, unchanged=1))
    lines = run_table([(each, verdict_of(each)) for each in (PREPARED, loaded)]).splitlines()
    assert lines[0].split() == ["run", "started", "accepted", "rejected", "delivered", "pending"]
    assert lines[1].split()[:7] == [PREPARED.run_id, "2024-08-01", "10:15", "282", "6", "0", "282"]
    assert lines[2].endswith(f"{accepted}        0  Delivered; 6 transactions rejected")
    assert run_table([]) == "There are no runs yet."


def test_many_codes_are_cut_short_and_hostile_texts_neutralised() -> None:
    example = Occurrence(HOSTILE * 400, HOSTILE, HOSTILE * 400, 2)
    cause = RootCause("rejected", HOSTILE, HOSTILE, HOSTILE, HOSTILE, 9, HOSTILE, [example])
    causes = [cause, replace(cause, outcome="dropped")] * 10
    many = {f"rule_{n}": 10 - n for n in range(9)} | {HOSTILE: 99}
    text = closing_summary(replace(PREPARED, warnings=many, report=f"/tmp/{HOSTILE}"), causes=causes)
    assert text.count("and 4 more causes") == 2
    assert text.count("and 4 more codes") == 1
    assert max(map(len, text.splitlines())) < 300
    assert not set(text) & set("\x1b\x07\r\x9b\u202e")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (59.6, "1 min"), (200, "3 min 20 s"), (18_720, "5 h 12 min"), (273_600, "3 d 4 h")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_error_texts_keep_their_lines_and_lose_their_control_characters() -> None:
    assert error_text(ValueError("a\x1b[2J\nb")) == "a␛[2J\nb"


def test_the_terminal_needs_no_heavy_library() -> None:
    code = "import sys, pipeline.report.terminal; print({'polars', 'rich', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
