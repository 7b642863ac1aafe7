"""One process a working directory: a lock that the system frees when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pipeline.errors import SettingsError, WorkdirBusy


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


class WorkdirLock:
    """Holds a working directory for the length of a `with` block.

    The lock is the system's (flock): when its holder dies, however, it is free at once. What a dead
    holder leaves in the file is only its name, told as `stale`.

    Args:
        workdir: Must be there.
        command: What this process does, for the message to others.

    Attributes:
        stale: Who held it last and did not let go in an orderly way; None otherwise.

    Raises:
        WorkdirBusy: Another process holds it.
        SettingsError: The directory cannot be written or locked.
    """

    def __init__(self, workdir: Path, command: str) -> None:
        self._path = workdir / "lock"
        self._command = command
        self._file = -1
        self.stale: Holder | None = None

    def __enter__(self) -> Self:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.stale = self._holder()
            self._write(json.dumps(asdict(self._me())))
        except BlockingIOError:
            holder = self._holder()
            os.close(self._file)
            raise WorkdirBusy(
                f"{self._path.parent} is in use by {holder or 'another process'}.",
                hint="Wait for it, or use another --workdir.",
            ) from None
        except OSError as error:
            raise SettingsError(f"{self._path} cannot be locked: {error}.") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")
        os.close(self._file)

    def _me(self) -> Holder:
        return Holder(os.getpid(), socket.gethostname(), self._command, time.strftime("%Y-%m-%d %H:%M:%S"))

    def _write(self, text: str) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def _holder(self) -> Holder | None:
        try:
            return Holder(**json.loads(os.pread(self._file, 4096, 0)))
        except (ValueError, TypeError):
            return None
