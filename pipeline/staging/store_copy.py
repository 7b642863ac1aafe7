"""A working directory in an object store, as a private local copy of what a command needs of it.

A command works on the copy as on any working directory; what it changed is uploaded when it ends. A run's
manifest goes last, so a run is in the store as a whole or not at all. The copy is removed afterwards, also if
the process is killed; the next command removes what was left where all of a machine's processes were.
"""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, Final

from pipeline.core.errors import SettingsError
from pipeline.core.storage.file_systems import file_system, store_errors
from pipeline.core.storage.files import PRIVATE_DIR, PRIVATE_FILE, discard, private_dir
from pipeline.staging.workdir import ADDRESS, Workdir, started_at

MARK: Final = ".omneo-import"
"""An object that is written to find out whether the store can be written, before a command does its work."""
_IN_USE: Final = "alive"
_HEADS: Final = ("manifest.json", "review.json")
_SUMS: Final = "facts.json"
_COMPARED_WITH: Final = timedelta(weeks=6)
"""More than the four same weekdays before, since a night may fail."""
_LOG: Final = "/run.log.jsonl"
_BODIES: Final = ("staged", "quarantine")
_TRIES: Final = 5
_CHECKED_AGAIN_S: Final = 0.2
"""Many times what reading and writing a log takes."""


@dataclass(frozen=True)
class Needed:
    """What a command needs of a working directory.

    Attributes:
        heads: How all runs stand.
        recent: How the runs of the last weeks stand, and their sums: what a new run is compared with.
        run: One run wholly: its id, a unique prefix, or `latest`; None for none.
        bodies: Of that run, staged transactions and quarantine too.
        everything: All runs wholly.
        writes: Whether it makes or changes anything.
    """

    heads: bool = False
    recent: bool = False
    run: str | None = None
    bodies: bool = True
    everything: bool = False
    writes: bool = True


@contextmanager
def mirrored(
    url: str, needed: Needed, failed: Callable[[SettingsError], None] | None = None
) -> Iterator[Path]:
    """Give a local copy of a working directory in an object store for the length of a `with` block.

    Args:
        url: Where it is.
        needed: What of it is wanted.
        failed: Called with the error if changes could not be uploaded; by default that is raised.

    Raises:
        SettingsError: The store cannot be used.
        RunError: The run does not exist.
    """
    store = _Store(url.rstrip("/"), *file_system(url.rstrip("/"), SettingsError))
    with _new_copy(store.url) as path:
        store.download(path, needed)
        before = _files(path)
        try:
            yield path
        finally:
            try:
                store.upload_changes(path, before)
            except SettingsError as error:
                if failed is None:
                    raise
                failed(error)


@dataclass(frozen=True)
class _Store:
    url: str
    system: Any = field(repr=False)
    root: str

    def download(self, path: Path, needed: Needed) -> None:
        with self._translated("read"):
            self.system.invalidate_cache()
        if needed.writes:
            with self._translated("written"):
                self.system.pipe_file(f"{self.root}/{MARK}", b"")
        if not (needed.heads or needed.recent or needed.run or needed.everything):
            return
        with self._translated("read"):
            there = self._there()
            if needed.recent:
                self._get(path, [name for name in there if _is_recent(name)])
                return
            self._get(path, [name for name in there if needed.everything or _is_head(name)])
        if needed.run:
            run_id = Workdir(path).find(needed.run).run_id
            rest = [name for name in there if name.split("/")[1] == run_id and not _is_head(name)]
            if not needed.bodies:
                rest = [name for name in rest if not name.split("/")[2].startswith(_BODIES)]
            with self._translated("read"):
                self._get(path, rest)

    def upload_changes(self, path: Path, before: dict[str, tuple[int, int]]) -> None:
        now = _files(path)
        changed = [name for name, state in now.items() if before.get(name) != state]
        with self._translated("written"):
            grown = [name for name in changed if name.endswith(_LOG) and name in before]
            added = {name for name in grown if self._add_to_log(path / name, name, before[name][0])}
            changed = [name for name in changed if name not in added]
            for is_manifest in (False, True):  # last, see above
                names = [name for name in changed if name.endswith("/manifest.json") is is_manifest]
                if names:
                    self.system.put([str(path / name) for name in names], self._remote(names))
            if gone := [name for name in before if name not in now]:
                self.system.rm(self._remote(gone))

    def _add_to_log(self, path: Path, name: str, known: int) -> bool:
        """Append what was logged here to the log in the store: other processes may load the run too.

        A store cannot append to an object, so another process that ends at the same moment can overwrite it:
        so it is read again after a while. False for a log that was rewritten, to erase a person: that one
        replaces what is in the store.
        """
        local = path.read_bytes()
        for _ in range(_TRIES):
            # fsspec caches what it knows of objects, and other machines write to them.
            self.system.invalidate_cache()
            stored = self.system.cat_file(f"{self.root}/{name}")
            if local[:known] != stored[:known]:
                return False
            if local[known:] in stored:
                break
            self.system.pipe_file(f"{self.root}/{name}", stored + local[known:])
            time.sleep(_CHECKED_AGAIN_S * (1 + random.random()))  # noqa: S311  (no secret)
        return True

    def _there(self) -> list[str]:
        """Names of all objects of runs that were prepared to their end."""
        found = self.system.find(f"{self.root}/runs")
        names = [each.removeprefix(self.root).lstrip("/") for each in found]
        finished = {name.split("/")[1] for name in names if name.endswith("/manifest.json")}
        return [name for name in names if name.split("/")[1] in finished]

    def _get(self, path: Path, names: list[str]) -> None:
        if names:
            for directory in {(path / name).parent for name in names}:
                directory.mkdir(parents=True, exist_ok=True)
            self.system.get(self._remote(names), [str(path / name) for name in names])

    def _remote(self, names: list[str]) -> list[str]:
        return [f"{self.root}/{name}" for name in names]

    def _translated(self, verb: str) -> AbstractContextManager[None]:
        return store_errors(self.url, verb, named=f"The working directory {self.url}")


def _is_recent(name: str) -> bool:
    began = started_at(name.split("/")[1])
    is_known = began is not None and datetime.now(UTC) - began < _COMPARED_WITH
    return is_known and (_is_head(name) or name.endswith(f"/{_SUMS}"))


def _is_head(name: str) -> bool:
    return name.count("/") == 2 and name.endswith(_HEADS)


def _files(path: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file of the runs in a copy."""
    found = (file for file in (path / "runs").rglob("*") if file.is_file())
    return {str(file.relative_to(path)): (file.stat().st_size, file.stat().st_mtime_ns) for file in found}


# ── The copy ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _new_copy(url: str) -> Iterator[Path]:
    """A new private directory; beside those of other commands on the same working directory."""
    name = blake2b(url.encode(), digest_size=8).hexdigest()
    home = private_dir(_own(Path(tempfile.gettempdir()) / f"omneo-import-{os.getuid()}") / name)
    _remove_abandoned(home)
    path = private_dir(home / secrets.token_hex(4))
    alive = os.open(path / f".{_IN_USE}", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX)
        # Under its name only now, so that it is locked from the moment that others can see it.
        (path / f".{_IN_USE}").rename(path / _IN_USE)
        (path / ADDRESS).write_text(url, encoding="utf-8")
        private_dir(path / "runs")
        with _removed_after_death(path):
            yield path
    finally:
        discard(path)
        os.close(alive)


@contextmanager
def _removed_after_death(path: Path) -> Iterator[None]:
    """Have a directory removed if this process is killed: a shell waits until a pipe from it closes."""
    command = ("sh", "-c", 'read -r _; rm -rf -- "$1"', "sh", str(path))
    # In a session of its own, so that it outlives what ends this process's group.
    with Popen(command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True) as shell:  # noqa: S603 (nothing of it is input)
        try:
            yield
        finally:
            # Killed before the pipe ends: at its end the shell would remove the directory.
            shell.kill()


def _own(path: Path) -> Path:
    """Make a directory, or take one that exists if it belongs to this user: anyone can write to /tmp."""
    path.mkdir(mode=PRIVATE_DIR, exist_ok=True)
    there = path.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid():
        raise SettingsError(f"{path} belongs to another user.", hint="Set TMPDIR to another directory.")
    return private_dir(path)


def _remove_abandoned(home: Path) -> None:
    """Remove the copies of processes that were killed."""
    for marker in home.glob(f"*/{_IN_USE}"):
        try:
            held = os.open(marker, os.O_RDWR)
        except FileNotFoundError:
            # The process of this copy ends just now and removes it.
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            discard(marker.parent)
        except BlockingIOError:
            # Its process is alive and holds the lock.
            pass
        finally:
            os.close(held)
