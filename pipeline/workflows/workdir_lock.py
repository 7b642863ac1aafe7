"""One command at a time in a working directory, on a disk or in an object store."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.core.errors import SettingsError, WorkdirBusy
from pipeline.core.files import PRIVATE_FILE
from pipeline.staging.workdir import Workdir


@contextmanager
def workdir_lock(
    home: Workdir, command: str, ledger: Path | str | None = None, *, shared: bool = False
) -> Iterator[None]:
    """Hold a working directory for the length of a `with` block.

    The lock is the system's (flock) on the file `lock`, so it is free at once whatever ends its holder. An
    object store has no locks; for a working directory there, the ledger's database has one more.

    Args:
        home: The working directory; it exists.
        command: What this process does, for the message to others.
        ledger: The ledger that is named; a file is on this machine, where flock is enough.
        shared: Let others in that share it too.

    Raises:
        WorkdirBusy: Another process holds it.
        SettingsError: The directory cannot be written or locked.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with _flocked(home.lock_dir / "lock", kind, command, home.address), ExitStack() as stack:
        if home.is_copy and isinstance(ledger, str):
            # Imported late: a dry run on a disk needs no database.
            from pipeline.loading.ledger.ledger import SqlLedger

            opened = stack.enter_context(SqlLedger(ledger))
            stack.enter_context(opened.held(home.address, shared=shared))
        yield


@dataclass(frozen=True)
class LockHolder:
    """Who holds a working directory; `since` is local time, as text for people."""

    pid: int
    host: str
    command: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (`{self.command}`, since {self.since})"


def lock_holder(home: Workdir) -> LockHolder | None:
    """Who holds a working directory now; None where no process does, as far as this machine can tell.

    Only reads: taking the lock to try it could turn away a command that starts at that moment.
    """
    try:
        holder = LockHolder(**json.loads((home.lock_dir / "lock").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    if holder.host != socket.gethostname():
        return holder
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:  # it was killed, and could not take its name away
        return None
    except PermissionError:  # another user's
        pass
    return holder


@contextmanager
def _flocked(path: Path, kind: int, command: str, address: str) -> Iterator[None]:
    lock = -1
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(lock)
        os.close(lock)
        raise WorkdirBusy(
            f"{address} is in use by {holder or 'another process'}.",
            hint="Wait for it, or use another --workdir.",
        ) from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be locked: {error}.") from None
    try:
        me = LockHolder(os.getpid(), socket.gethostname(), command, time.strftime("%Y-%m-%d %H:%M:%S"))
        _write(lock, json.dumps(asdict(me)))
        yield
    finally:
        _write(lock, "")
        os.close(lock)


def _write(lock: int, text: str) -> None:
    # On a full disk the lock holds all the same; only the holder's name is missing.
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, text.encode(), 0)


def _holder(lock: int) -> LockHolder | None:
    try:
        return LockHolder(**json.loads(os.pread(lock, 4096, 0)))
    except (ValueError, TypeError):  # a process that was killed may have left half of it
        return None
