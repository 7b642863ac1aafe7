from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pipeline.core.events import Notice, Progress, StageFinished, StageStarted
from pipeline.telemetry.progress import PlainListener, progress_listener

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
from pipeline.telemetry.progress import progress_listener
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


def test_progress_needs_no_heavy_library() -> None:
    code = "import sys, pipeline.telemetry.progress; print({'polars', 'rich', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
