"""Watches a command and reports how it ended: to a file of metrics, to an address, as traces.

None of the reporters can change how a command ends, and all together they delay its end by at most
`REPORT_WITHIN_S`: what fails or hangs becomes a notice. Reports hold no token, payload or cell. Of a failure
only the type of the exception is shown, since messages of libraries hold addresses and headers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event as EventFlag
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

from pipeline.core.events import Event, Notice, Progress, StageFinished, StageStarted
from pipeline.report.summary import Summary
from pipeline.telemetry.pace import Pace

if TYPE_CHECKING:
    from pipeline.telemetry.tracing import Traces

REPORT_WITHIN_S: Final = 2.0
"""How long the end of a command waits for all reporters: twice what a healthy network needs."""
LIVE_EVERY_S: Final = 15.0
"""How often metrics are written while a command runs, as often as most exporters are read."""
OUTCOMES: Final = {
    0: "complete",
    1: "bug",
    2: "cannot_start",
    3: "gate_closed",
    4: "incomplete",
    5: "stopped_by_api",
    6: "workdir_busy",
    130: "interrupted",
    143: "terminated",
}
"""The name of an exit code in notifications and traces; any other is `signalled`."""


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        command: Its name.
        mapping: The mapping's file without its suffix; empty where it is not known.
        workdir: The working directory.
        exit_code: As the shell gets it.
        error: What stopped it; empty where nothing did.
        seconds: How long it took.
        at: When it ended, seconds since 1970.
        summary: The run in numbers; None where there is no run.
        stages: How long each stage took, in seconds.
    """

    command: str
    mapping: str
    workdir: str
    exit_code: int
    error: str
    seconds: float
    at: float
    summary: Summary | None
    stages: Mapping[str, float]


@dataclass(frozen=True)
class Running:
    """How far a command is that has not ended.

    Attributes:
        command: Its name.
        mapping: The mapping's file without its suffix; empty where it is not known yet.
        workdir: The working directory.
        seconds: How long it has taken so far.
        paces: How far each of its stages is that has not ended.
    """

    command: str
    mapping: str
    workdir: str
    seconds: float
    paces: Mapping[str, Pace]


class ReportFailed(Exception):
    """An ending could not be reported; the message holds no secret and may be shown."""


Reporter = Callable[[Ending], None]
"""Reports an ending. Of what it raises only the message of `ReportFailed` is shown."""


@dataclass
class Watch:
    """Listens to the events of one command and reports how it ended.

    Attributes:
        command: The command's name.
        workdir: The working directory.
        mapping: The mapping; empty where it is not known.
        reporters: What reports the ending, by option: `--metrics-file`, `--notify`.
        live: Gets every `live_every_s` how far the command is; None for no such report.
        live_every_s: Seconds.
        traces: Spans of the command, with every event; None without `--traces`.
        notices: What could not be set up.
        within_s: How long all reporters may take together.
        summary: The run in numbers, once it is known.
        error: What stopped the run, once it is known.
    """

    command: str
    workdir: Path | str
    mapping: str = ""
    reporters: Mapping[str, Reporter] = field(default_factory=dict)
    live: Callable[[Running], None] | None = None
    live_every_s: float = LIVE_EVERY_S
    traces: Traces | None = None
    notices: tuple[Notice, ...] = ()
    within_s: float = REPORT_WITHIN_S
    summary: Summary | None = None
    error: str = ""
    _stages: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _paces: dict[str, Pace] = field(default_factory=dict)
    # Held while `live` runs, so that no live report comes after the last one.
    _writing: Lock = field(default_factory=Lock)
    _over: EventFlag | None = None

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case StageStarted():
                self._paces[event.stage] = Pace(event, time.monotonic())
                self._begin_live()
            case Progress() if event.stage in self._paces:
                self._paces[event.stage].see(event, time.monotonic())
            case StageFinished():
                self._paces.pop(event.stage, None)
                self._stages[event.stage] = self._stages.get(event.stage, 0.0) + event.seconds
        if self.traces is not None:
            # A failure of a library must not stop the command.
            with suppress(Exception):
                self.traces(event)

    def _begin_live(self) -> None:
        if self.live is not None and self._over is None:
            self._over = EventFlag()
            Thread(target=self._report_live, args=(self.live, self._over), daemon=True).start()

    def _report_live(self, report: Callable[[Running], None], over: EventFlag) -> None:
        """In a thread of its own, since a load that waits for Omneo has no events."""
        while not over.wait(self.live_every_s):
            running = Running(
                command=self.command,
                mapping=Path(self.mapping).stem,
                workdir=self._place,
                seconds=time.monotonic() - self._begun,
                paces=dict(self._paces),
            )
            # Failures are reported at the end of the command.
            with self._writing, suppress(Exception):
                if not over.is_set():
                    report(running)

    @property
    def _place(self) -> str:
        return str(self.workdir.absolute()) if isinstance(self.workdir, Path) else self.workdir

    def end(self, exit_code: int, error: str = "") -> Iterator[Notice]:
        """Run all reporters at once; give a notice for each that failed."""
        if self._over is not None:
            self._over.set()
            # A report that is being written now would otherwise replace the last one.
            if self._writing.acquire(timeout=self.within_s):
                self._writing.release()
        ending = Ending(
            command=self.command,
            mapping=Path(self.mapping).stem,
            workdir=self._place,
            exit_code=exit_code,
            error=error or self.error,
            seconds=time.monotonic() - self._begun,
            at=time.time(),
            summary=self.summary,
            stages=self._stages,
        )
        until = time.monotonic() + self.within_s
        reporters = dict(self.reporters)
        if self.traces is not None:
            reporters["--traces"] = self.traces.end
        reports = {option: _in_background(partial(report, ending)) for option, report in reporters.items()}
        for option, report in reports.items():
            if problem := _problem(report, until - time.monotonic(), self.within_s):
                yield Notice("not_told", f"{option} did not work: {problem}.")


def _in_background(work: Callable[[], None]) -> Future[None]:
    """Do work in a thread that the end of the process does not wait for."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
            done.set_result(None)
        # Nothing catches an exception of a thread, so it is kept for `end`.
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done


def _problem(done: Future[None], wait_s: float, within_s: float) -> str:
    """Why a report failed; empty where it did not."""
    try:
        problem = done.exception(max(wait_s, 0))
    except TimeoutError:
        return f"it was not finished within {within_s:g} s"
    if problem is None or isinstance(problem, ReportFailed):
        return str(problem or "")
    return type(problem).__name__
