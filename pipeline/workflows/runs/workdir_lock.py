"""One command at a time in a working directory, on a disk or in a store; a dry run may be beside it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pipeline.core.errors import SettingsError, WorkdirBusy
from pipeline.core.storage.files import PRIVATE_FILE, private_dir
from pipeline.staging.workdir import Workdir

PREPARE: Final = "prepare"
_LOCK: Final = "lock"
_PREPARE_LOCK: Final = "prepare.lock"
"""A dry run changes nothing that other commands use, but two of them would remove each other's new run."""
_HOLDERS: Final = "holders"
"""A directory with a file for each process that holds the working directory; the process keeps it locked."""


@contextmanager
def workdir_lock(
    home: Workdir,
    command: str,
    ledger: Path | str | None = None,
    *,
    shared: bool = False,
    run_id: str = "",
) -> Iterator[None]:
    """Hold a working directory for the length of a `with` block.

    The lock is the system's (flock) on the file `lock`, so it is free at once whatever ends its holder. An
    object store has no locks; for a working directory there, the ledger's database has one more.

    Args:
        home: The working directory; it exists.
        command: What this process does, for the message to others. `prepare` has a lock of its own on a disk,
            and what removes anything from runs, `prune` and `forget`, takes both.
        ledger: The ledger that is named; a file is on this machine, where flock is enough.
        shared: Let others in that share it too.
        run_id: The run that it works on, for those who watch it.

    Raises:
        WorkdirBusy: Another process holds it.
        SettingsError: The directory cannot be written or locked.
    """
    names = [_PREPARE_LOCK] if command == PREPARE and not home.is_copy else [_LOCK]
    if command in ("prune", "forget"):
        names.insert(0, _PREPARE_LOCK)
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(_flocked(home, name, fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
        stack.enter_context(_named(home, command, run_id))
        if home.is_copy and isinstance(ledger, str):
            # Imported late: a dry run on a disk needs no database.
            from pipeline.loading.ledger.ledger import SqlLedger

            opened = stack.enter_context(SqlLedger(ledger))
            stack.enter_context(opened.held(home.address, shared=shared))
        yield


def require_free(workdir: Path, ledger: Path | str | None) -> None:
    """Check that a load could begin now, before anything is prepared for it.

    Raises:
        WorkdirBusy: Another process holds the working directory.
        SettingsError: The directory cannot be written or locked.
    """
    with workdir_lock(Workdir.open(workdir), "run", ledger, shared=isinstance(ledger, str)):
        pass


@dataclass(frozen=True)
class LockHolder:
    """Who holds a working directory, and for which run; `since` is local time, as text for people."""

    pid: int
    host: str
    command: str
    since: str
    run_id: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (`{self.command}`, since {self.since})"


def lock_holders(home: Workdir) -> list[LockHolder]:
    """Who holds a working directory now, on this machine or another that shares its disk, oldest first.

    Only reads, and keeps no command from starting.
    """
    found: list[tuple[int, LockHolder]] = []
    for path in (home.lock_dir / _HOLDERS).glob("*.json"):
        with suppress(OSError, ValueError, TypeError), path.open("rb") as file:
            if not _is_free(file.fileno()):
                found.append((os.fstat(file.fileno()).st_mtime_ns, LockHolder(**json.load(file))))
    return [holder for _, holder in sorted(found, key=lambda each: each[0])]


def _is_free(file: int) -> bool:
    """Whether the process that locked a file has ended, also where it was killed."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _flocked(home: Workdir, name: str, kind: int) -> Iterator[None]:
    lock, path = -1, home.lock_dir / name
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        who = " and ".join(str(each) for each in lock_holders(home)) or "another process"
        raise WorkdirBusy(
            f"{home.address} is in use by {who}.",
            hint="Wait for it. Another --workdir has a ledger of its own.",
        ) from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be locked: {error}.") from None
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _named(home: Workdir, command: str, run_id: str) -> Iterator[None]:
    """Say who holds it. On a full disk it is held all the same; only the name is missing."""
    me = LockHolder(os.getpid(), socket.gethostname(), command, time.strftime("%Y-%m-%d %H:%M:%S"), run_id)
    path = home.lock_dir / _HOLDERS / f"{me.pid}-{secrets.token_hex(4)}.json"
    file = -1
    try:
        with suppress(OSError):
            _remove_names_of_dead(private_dir(path.parent))
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, json.dumps(asdict(me)).encode())
        yield
    finally:
        if file >= 0:
            path.unlink(missing_ok=True)
            os.close(file)


def _remove_names_of_dead(directory: Path) -> None:
    for path in directory.glob("*.json"):
        with suppress(OSError), path.open("rb") as file:
            # A process that has just made its file writes to it after it holds the lock, so an empty file
            # stays.
            if file.read(1) and _is_free(file.fileno()):
                path.unlink(missing_ok=True)
