"""Events of delivery. None carries a payload or a message of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.core.events import Event


@dataclass(frozen=True)
class Throttled(Event):
    """The server said 429; everything pauses for `wait_s`. `per_min` is the pace aimed at, null for none."""

    name: ClassVar[str] = "throttled"
    wait_s: float
    per_min: float | None


@dataclass(frozen=True)
class Retried(Event):
    """A request failed for the time being and is sent again after `wait_s`."""

    name: ClassVar[str] = "retried"
    external_id: str
    attempt: int
    status: int | None
    wait_s: float


@dataclass(frozen=True)
class Refused(Event):
    """Omneo will never take this transaction; `about` names the fields it complained of."""

    name: ClassVar[str] = "refused"
    external_id: str
    status: int | None
    about: tuple[str, ...]


@dataclass(frozen=True)
class Failed(Event):
    """A transaction was given up after `attempts` requests; `retry` sends it again."""

    name: ClassVar[str] = "failed"
    external_id: str
    attempts: int
    status: int | None


@dataclass(frozen=True)
class Changed(Event):
    """A transaction differs from what Omneo was last sent; `action` says what was done.

    It is sent, held, skipped, superseded (a run that was prepared later has delivered it, so this older
    version is not sent) or voided (it was undone with just these contents and stays so).
    """

    name: ClassVar[str] = "changed"
    external_id: str
    action: str


@dataclass(frozen=True)
class LeftInDoubt(Event):
    """It could not be found out whether Omneo has this transaction; `load` looks it up again."""

    name: ClassVar[str] = "left_in_doubt"
    external_id: str
    status: int | None


@dataclass(frozen=True)
class InDoubt(Event):
    """It was unknown whether this transaction was taken; `action` is delivered or sent."""

    name: ClassVar[str] = "in_doubt"
    external_id: str
    action: str
