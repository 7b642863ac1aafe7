"""What the stages report while they work.

A stage calls the `Emit` that it was given; the progress bar, the log, the metrics and the report listen.
No stage prints. Event names (the class's `name`) are stable: scripts filter logs by them. No event
carries a payload, a cell or a token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Event:
    """Base of all events; every subclass is a frozen set of plain values."""

    name: ClassVar[str]

    def fields(self) -> dict[str, Any]:
        """The event's values, for a log line."""
        return asdict(self)


Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener that does nothing."""


def fan_out(*listeners: Emit) -> Emit:
    """One `Emit` that calls every listener, in the order given."""

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return emit


@dataclass(frozen=True)
class StageStarted(Event):
    """A stage begins. `total` is how much there is to do in `unit`, or None where that is unknown.

    `done` is how much of it was done before, by a command that was stopped.
    """

    name: ClassVar[str] = "stage_started"
    stage: str
    unit: str
    total: int | None = None
    done: int = 0


@dataclass(frozen=True)
class Progress(Event):
    """A stage has done `done` of its unit, what was done before it started included.

    `sent` of them it sent itself, None where it sends nothing; of `in_doubt` it is unknown whether Omneo has
    them. `limit` says what limits the pace, and `most_per_s` is what that allows; None for no such bound.
    """

    name: ClassVar[str] = "progress"
    stage: str
    done: int
    sent: int | None = None
    in_doubt: int = 0
    limit: str = ""
    most_per_s: float | None = None


@dataclass(frozen=True)
class StageFinished(Event):
    """A stage has ended, after `seconds`."""

    name: ClassVar[str] = "stage_finished"
    stage: str
    done: int
    seconds: float


@dataclass(frozen=True)
class Notice(Event):
    """Something a person should know; `code` is stable, `message` is a sentence."""

    name: ClassVar[str] = "notice"
    code: str
    message: str


@dataclass(frozen=True)
class RunStarted(Event):
    """A command on a run begins."""

    name: ClassVar[str] = "run_started"
    run_id: str
    command: str


@dataclass(frozen=True)
class RunFinished(Event):
    """A command on a run has ended, with the exit code that it will return."""

    name: ClassVar[str] = "run_finished"
    run_id: str
    command: str
    exit_code: int
    seconds: float
