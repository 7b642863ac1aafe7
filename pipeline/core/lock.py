"""One process a working directory: a lock that the system frees when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.core.errors import SettingsError, WorkdirBusy


@dataclass(frozen=True)
class Holder:
    """Who holds a working directory.

    Attributes:
        pid: Process id.
        host: Name of its machine.
        command: What it does there.
        since: Local time, as text for people.
    """

    pid: int
    host: str
    command: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (`{self.command}`, since {self.since})"


@contextmanager
def hold(
    workdir: Path, command: str = "omneo-import", *, shared: bool = False, known_as: str = ""
) -> Iterator[Holder | None]:
    """Hold a working directory for the length of a `with` block.

    The lock is the system's (flock): whatever ends its holder, it is free at once. What a holder that
    died leaves in the file is its name, which is given; None where the last one let go in an orderly way.

    Args:
        workdir: Must be there.
        command: What this process does, for the message to others.
        shared: Let others in that share it too.
        known_as: What people call it; its path by default.

    Raises:
        WorkdirBusy: Another process holds it.
        SettingsError: The directory cannot be written or locked.
    """
    path = workdir / "lock"
    lock = _taken(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, known_as or str(workdir))
    try:
        stale = _holder(lock)
        me = Holder(os.getpid(), socket.gethostname(), command, time.strftime("%Y-%m-%d %H:%M:%S"))
        _write(lock, json.dumps(asdict(me)))
        yield stale
    finally:
        _write(lock, "")
        os.close(lock)


def _taken(path: Path, kind: int, known_as: str) -> int:
    lock = -1
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(lock)
        os.close(lock)
        raise WorkdirBusy(
            f"{known_as} is in use by {holder or 'another process'}.",
            hint="Wait for it, or use another --workdir.",
        ) from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be locked: {error}.") from None
    return lock


def _write(lock: int, text: str) -> None:
    with suppress(OSError):  # on a full disk the lock still holds; only the name is missing
        os.ftruncate(lock, 0)
        os.pwrite(lock, text.encode(), 0)


def _holder(lock: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(lock, 4096, 0)))
    except (ValueError, TypeError):
        return None
