"""`status --follow`: a load that another process runs, watched until it ends."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipeline.core.settings import tenant_of
from pipeline.loading.ledger.entries import RunStatus
from pipeline.report.formatting import count, duration
from pipeline.staging.manifest import read_manifest
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.workflows.run_summary import statuses_by_run, unsent
from pipeline.workflows.workdir_lock import LockHolder, lock_holder

PREPARING: Final = "prepare"
"""The command under which `run` and `prepare` hold the working directory before there is anything to send."""
WINDOW_S: Final = 60.0
"""The rate is that of the last minute: shorter would jump with each window of the throttle."""
_THROTTLED_FOR_S: Final = 120.0
"""How long a throttled answer explains the pace: a server that counts by the minute gives one a minute."""
_TAIL_BYTES: Final = 65_536
"""How much of the end of a log is read."""


@dataclass(frozen=True)
class LoadProgress:
    """How far a load is.

    Attributes:
        status: The run's counts.
        holder: The process that works in the working directory; None once it has ended.
        per_s: Transactions that were settled a second, over the last minute; None until that is known.
        limit: What limits the pace; empty where it is not known.
    """

    status: RunStatus
    holder: LockHolder | None
    per_s: float | None = None
    limit: str = ""

    @property
    def left(self) -> int:
        """Transactions of which the outcome is still to come."""
        return self.status.pending + self.status.in_doubt

    def __str__(self) -> str:
        if self.holder is not None and self.holder.command == PREPARING:
            return "A run is being prepared"
        done = self.status.accepted - self.left
        parts = [f"{done:,} of {count(self.status.accepted, 'transaction')}"]
        if self.status.in_doubt:
            parts.append(f"{self.status.in_doubt:,} in flight or in doubt")
        if failed := self.status.refused + self.status.failed:
            parts.append(f"{failed:,} refused or failed")
        if self.per_s is not None:
            parts.append(f"{self.per_s:,.1f}/s" if self.per_s < 10 else f"{self.per_s:,.0f}/s")
        if self.per_s and self.left:
            parts.append(f"{duration(self.left / self.per_s)} left")
        if self.limit:
            parts.append(self.limit)
        return ", ".join(parts)


def follow(
    workdir: Path,
    reference: str,
    *,
    ledger: Path | str | None = None,
    base_url: str | None = None,
    every_s: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LoadProgress]:
    """Give how far the load of a run is, again and again, until no process works on it.

    Changes nothing, and never keeps another command from starting.

    Args:
        workdir: The working directory.
        reference: Which run.
        ledger: Another ledger than the working directory's own.
        base_url: The tenant; None for the last one to which something of the run was sent.
        every_s: Seconds between two looks.
        sleep: Waits so long.

    Raises:
        CannotStart: There is no such run, or the ledger cannot be read.
    """
    home = Workdir(workdir.expanduser().absolute())
    run: RunDir | None = None
    seen: deque[tuple[float, int]] = deque()
    prepared = False
    while True:
        holder = lock_holder(home)
        if holder is None and prepared:  # `run` holds nothing for a moment before it begins to send
            prepared = False
            sleep(every_s)
            continue
        prepared = holder is not None and holder.command == PREPARING
        if run != (found := home.find(reference)):  # the latest is another one once that is prepared
            run = found
            seen.clear()
        now, status = time.monotonic(), _status(home, run, ledger, base_url)
        if holder is None:
            yield LoadProgress(status, None)
            return
        seen.append((now, status.accepted - status.pending - status.in_doubt))
        while len(seen) > 2 and now - seen[1][0] >= WINDOW_S:
            seen.popleft()
        since, before = seen[0]
        per_s = (seen[-1][1] - before) / (now - since) if now > since else None
        yield LoadProgress(status, holder, per_s, _limit(run))
        sleep(every_s)


def _status(home: Workdir, run: RunDir, ledger: Path | str | None, base_url: str | None) -> RunStatus:
    by_tenant = statuses_by_run(home, ledger).get(run.run_id, {})
    if base_url is not None:
        found = by_tenant.get(tenant_of(base_url))
    else:
        found = next(reversed(list(by_tenant.values())), None)
    return found or unsent(read_manifest(run))


def _limit(run: RunDir) -> str:
    """What limits the pace, by the last throttled answer that the run's log has."""
    for line in reversed(_tail(run.log)):
        try:
            event = json.loads(line)
        except ValueError:  # the first line of the tail is cut, or the last one is being written
            continue
        if event.get("event") == "throttled":
            age_s = (datetime.now(UTC) - datetime.fromisoformat(event["ts"])).total_seconds()
            if age_s > _THROTTLED_FOR_S:
                return ""
            pace = event.get("per_min")
            return f"Omneo's limit of {pace:,.0f} requests a minute" if pace else "Omneo's limit of requests"
        if event.get("event") == "run_started":
            return ""
    return ""


def _tail(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            return file.read().splitlines()
    except OSError:
        return []
