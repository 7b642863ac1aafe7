"""Standard streams that are closed, full or no longer read: a load goes on, and ends as it would have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.simulator import SimulatorSettings
from pipeline.testing import local_omneo
from tests.command import clean_environment
from tests.receipts import receipt, write_export

pytestmark = pytest.mark.slow


def unread(stream: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, stream)


def full(stream: int) -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), stream)


def closed(stream: int) -> None:
    os.close(stream)


@pytest.mark.parametrize(
    ("spoil", "streams", "form"),
    [
        (unread, (1,), "text"),
        (unread, (2,), "json"),
        (unread, (1, 2), "text"),
        (full, (1,), "json"),
        (full, (2,), "text"),
        (closed, (1, 2), "json"),
    ],
)
def test_nobody_who_stops_reading_stops_a_load(
    spoil: Callable[[int], None], streams: tuple[int, ...], form: str, tmp_path: Path
) -> None:
    export = write_export(tmp_path / "pos_lines.csv", [row for n in range(20) for row in receipt(n)])
    command = [sys.executable, "-m", "pipeline", "run", "-m", "pos_lines", str(export), "--json", "-v"]
    with local_omneo(SimulatorSettings(unknown_profiles="enrol"), job_delay_s=0) as omneo:
        ended = subprocess.run(
            [*command, "--workdir", str(tmp_path / "w"), "--log-format", form],
            env=clean_environment(omneo.environment()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            preexec_fn=lambda: [spoil(stream) for stream in streams],
            text=True,
            timeout=100,
        )
        delivered = len(omneo.arrivals())
    assert (ended.returncode, delivered) == (0, 20)
    assert "Traceback" not in ended.stderr
    if spoil is full and streams == (1,):
        assert "stdout cannot be written: No space left on device" in ended.stderr
