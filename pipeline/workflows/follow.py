"""`status --follow`: a load that other processes run, watched until it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pipeline.core.events import Progress, StageStarted
from pipeline.core.settings import tenant_of
from pipeline.core.text.wording import count
from pipeline.loading.ledger.entries import RunStatus
from pipeline.staging.manifest import read_manifest
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.telemetry.pace import Pace
from pipeline.workflows.runs.run_summary import statuses_by_run, unsent
from pipeline.workflows.runs.workdir_lock import PREPARE, LockHolder, lock_holders

_STAGE: Final = "load"
_LIMITED_FOR_S: Final = 120.0
"""How long a line of the log explains the pace: a server that counts by the minute may stop it for one."""
_TAIL_BYTES: Final = 65_536
"""How much of the end of a log is read."""


@dataclass(frozen=True)
class LoadProgress:
    """How far a load is.

    Attributes:
        status: The run's counts.
        holders: The processes that work on it; none once they have ended.
        pace: How fast it is.
        waiting: No process has begun to work on it, and it is waited for.
        begun: A process was seen to work on it.
    """

    status: RunStatus
    holders: Sequence[LockHolder]
    pace: Pace
    waiting: bool = False
    begun: bool = False

    @property
    def left(self) -> int:
        """Transactions of which the outcome is still to come."""
        return self.status.pending + self.status.in_doubt

    @property
    def why_still(self) -> str:
        """The line to show where no process works on it."""
        if self.waiting:
            return "No command is at work here yet: one is waited for, for a few seconds."
        if self.begun:
            return f"{self}; it has ended."
        left = f" {count(self.left, 'transaction', 'is')} still to be sent: start `load`, then follow it."
        return f"No command is at work here.{left if self.left else ''}"

    def line(self, width: int | None = None) -> str:
        """How far it is, as much of it as fits."""
        if any(holder.command == PREPARE for holder in self.holders):
            return "A run is being prepared"
        notes = []
        if self.status.in_doubt:
            notes.append(f"{self.status.in_doubt:,} in flight or in doubt")
        if failed := self.status.refused + self.status.failed:
            notes.append(f"{failed:,} refused or failed")
        return self.pace.line(width, notes)

    def __str__(self) -> str:
        return self.line()


def follow(
    workdir: Path,
    reference: str,
    *,
    ledger: Path | str | None = None,
    base_url: str | None = None,
    every_s: float = 1.0,
    wait_s: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LoadProgress]:
    """Give how far the load of a run is, again and again, until no process works on it.

    Changes nothing, and never keeps another command from starting.

    Args:
        workdir: The working directory.
        reference: Which run; `latest` is the one that is being loaded, or else prepared, if there is one.
        ledger: Another ledger than the working directory's own.
        base_url: The tenant; None for the last one to which something of the run was sent.
        every_s: Seconds between two looks.
        wait_s: Seconds for which a process is waited for that begins to work on a run that is not finished.
        sleep: Waits so long.

    Raises:
        CannotStart: There is no such run, or the ledger cannot be read.
    """
    home = Workdir(workdir.expanduser().absolute())
    run: RunDir | None = None
    pace: Pace | None = None
    prepared = begun = False
    while True:
        holders = lock_holders(home)
        if reference == "latest" and (loading := [each.run_id for each in holders if each.run_id]):
            reference = loading[0]
        found = home.find(reference)
        holders = [each for each in holders if _works_on(each, found, reference)]
        # The command `run` holds no lock for a moment between preparing and sending.
        if prepared and not holders:
            prepared = False
            sleep(every_s)
            continue
        prepared = any(each.command == PREPARE for each in holders)
        status = _status(home, found, ledger, base_url)
        # A newer run may have been prepared meanwhile; then it is the latest.
        if run != found or pace is None:
            run, pace = found, Pace(_started(status), time.monotonic(), _sent(status))
        pace.see(_progress(status, run, len(holders)), time.monotonic())
        begun = begun or bool(holders)
        waiting = not begun and wait_s > 0 and status.pending + status.in_doubt > 0
        yield LoadProgress(status, holders, pace, waiting, begun)
        if not holders and not waiting:
            return
        if waiting:
            wait_s -= every_s
            # The time before a load begins does not count in its pace.
            pace = None
        sleep(every_s)


def _works_on(holder: LockHolder, run: RunDir, reference: str) -> bool:
    if holder.command == PREPARE:
        return reference == "latest"
    return holder.run_id in ("", run.run_id)


def _status(home: Workdir, run: RunDir, ledger: Path | str | None, base_url: str | None) -> RunStatus:
    by_tenant = statuses_by_run(home, ledger).get(run.run_id, {})
    if base_url is not None:
        found = by_tenant.get(tenant_of(base_url))
    else:
        found = next(reversed(list(by_tenant.values())), None)
    return found or unsent(read_manifest(run))


def _started(status: RunStatus) -> StageStarted:
    return StageStarted(_STAGE, "transactions", status.accepted, _settled(status))


def _settled(status: RunStatus) -> int:
    return status.accepted - status.pending - status.in_doubt


def _sent(status: RunStatus) -> int:
    return _settled(status) - status.unchanged - status.forgotten


def _progress(status: RunStatus, run: RunDir, loaders: int) -> Progress:
    """What the ledger has, with what the loaders' log says of their pace."""
    said = _last_progress(run)
    most_per_s = said.get("most_per_s")
    return Progress(
        _STAGE,
        _settled(status),
        sent=_sent(status),
        limit=str(said.get("limit") or ""),
        most_per_s=most_per_s * max(loaders, 1) if most_per_s else None,
    )


def _last_progress(run: RunDir) -> dict[str, Any]:
    """The last line of progress in a run's log, if it is of this load and not old."""
    for line in reversed(_tail(run.log)):
        try:
            event = json.loads(line)
        except ValueError:
            # The tail may begin in the middle of a line, and the last line may still be written.
            continue
        if event.get("event") == "run_started":
            break
        if event.get("event") == "progress":
            age_s = (datetime.now(UTC) - datetime.fromisoformat(event["ts"])).total_seconds()
            return event if age_s < _LIMITED_FOR_S else {}
    return {}


def _tail(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            return file.read().splitlines()
    except OSError:
        return []
