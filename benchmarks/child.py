"""Runs a command and says what it cost.

The process that measures must stay small itself: a child's peak memory never counts less than what its
parent had when it was started. So heavy libraries are used in children only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
OWN = sys.executable
TICK_S = 0.1


Command = Sequence[str | Path]


class Failed(Exception):
    """A command that is measured did not do its work."""


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        wall_s: From start to end.
        cpu_s: Of all its threads and children, user and system.
        peak_bytes: The largest resident size of any one of its processes.
        disk_bytes: The most that its directory held while it ran; 0 where none was watched.
        out: What it printed on stdout.
        started_at: Unix time.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    disk_bytes: int
    out: str
    started_at: float


def run(
    command: Command,
    *,
    env: Mapping[str, str] | None = None,
    watch: Path | None = None,
    until: Callable[[], bool] | None = None,
    codes: Sequence[int] = (0,),
) -> Cost:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        env: Joins the environment.
        watch: A directory whose size is watched.
        until: Once it says so, the command gets SIGINT.
        codes: The exit codes that are right.

    Raises:
        Failed: It ended with another code; what it said last is told.
    """
    log = ROOT / "benchmarks/.work/last-command.log"
    with log.open("w+") as said:
        child, begun, started_at = _start(command, env or {}, said)
        sizes = _Sizes(watch)
        threads = [threading.Thread(target=sizes.watch)] if watch else []
        threads += [threading.Thread(target=_interrupt, args=(child, until))] if until else []
        for thread in threads:
            thread.start()
        out = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        sizes.over.set()
        for thread in threads:
            thread.join()
        if child.returncode not in codes:
            said.seek(0)
            words = " ".join(map(str, command))
            raise Failed(f"{words}\nended with {child.returncode}:\n{said.read()[-3000:]}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Cost(wall_s, cpu_s, usage.ru_maxrss * 1024, sizes.most, out, started_at)


def _start(
    command: Command, env: Mapping[str, str], said: IO[str]
) -> tuple[subprocess.Popen[str], float, float]:
    begun, started_at = time.perf_counter(), time.time()
    child = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore", **env},
    )
    return child, begun, started_at


def _interrupt(child: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    while child.returncode is None:
        if until():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGINT)
            return
        time.sleep(TICK_S / 2)


class _Sizes:
    """The most that a directory held, looked at ten times a second."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.most = 0
        self.over = threading.Event()

    def watch(self) -> None:
        while not self.over.wait(TICK_S):
            self.most = max(self.most, sum(map(_size, self._path.rglob("*") if self._path else ())))


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        stat = path.lstat()
        return stat.st_blocks * 512
    return 0
