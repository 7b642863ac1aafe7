"""The log of a run: one JSON object for each event, in a file beside the run or on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Final, TextIO

from pipeline.core.events import Event, Progress, RunStarted, StageStarted
from pipeline.core.storage.files import open_private
from pipeline.telemetry.pace import Pace

PROGRESS_EVERY_S: Final = 10.0
"""A load of a week writes 60,000 lines of progress at this pace."""


@dataclass
class JsonLog:
    """Writes a line for each event, a JSON object with `ts`, `run_id`, `event` and the event's fields.

    A line of progress also has `total`, and the rate `per_s` and the time left `left_s`, null while unknown.

    Each line is flushed, so that the log of a killed run is complete.

    Attributes:
        stream: Where to write.
        run_id: Name of the run; empty until `run_started` where it is not known before.
        every_s: The least time between two lines of progress of a stage.
        now: The time.
    """

    stream: TextIO
    run_id: str = ""
    every_s: float = PROGRESS_EVERY_S
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _reported_at: dict[str, datetime] = field(default_factory=dict)
    _paces: dict[str, Pace] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if isinstance(event, RunStarted):
            self.run_id = event.run_id
        now = self.now()
        fields = event.fields()
        if isinstance(event, StageStarted):
            self._paces[event.stage] = Pace(event, now.timestamp())
        if isinstance(event, Progress):
            pace = self._paces.setdefault(event.stage, Pace(StageStarted(event.stage, ""), now.timestamp()))
            pace.see(event, now.timestamp())
            reported_at = self._reported_at.get(event.stage)
            if reported_at is not None and (now - reported_at).total_seconds() < self.every_s:
                return
            self._reported_at[event.stage] = now
            fields |= {
                "total": pace.started.total,
                "per_s": _tenths(pace.per_s),
                "left_s": _tenths(pace.left_s),
            }
        head = {"ts": now.isoformat(timespec="milliseconds"), "run_id": self.run_id, "event": event.name}
        self.stream.write(json.dumps(head | fields, default=str) + "\n")
        self.stream.flush()


def _tenths(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


@contextmanager
def json_log(path: Path, run_id: str = "") -> Iterator[JsonLog]:
    """Give a `JsonLog` that appends to the file at `path`; only its owner can read a new file."""
    with TextIOWrapper(open_private(path, "ab"), encoding="utf-8") as stream:
        yield JsonLog(stream, run_id)
