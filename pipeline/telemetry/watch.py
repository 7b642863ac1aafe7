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
from threading import Thread
from typing import TYPE_CHECKING, Final

from pipeline.core.events import Event, Notice, StageFinished
from pipeline.report.summary import Summary

if TYPE_CHECKING:
    from pipeline.telemetry.tracing import Traces

REPORT_WITHIN_S: Final = 2.0
"""How long the end of a command waits for all reporters: twice what a healthy network needs."""
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
    traces: Traces | None = None
    notices: tuple[Notice, ...] = ()
    within_s: float = REPORT_WITHIN_S
    summary: Summary | None = None
    error: str = ""
    _stages: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, StageFinished):
            self._stages[event.stage] = self._stages.get(event.stage, 0.0) + event.seconds
        if self.traces is not None:
            with suppress(Exception):  # a library that fails must not stop the command
                self.traces(event)

    def end(self, exit_code: int, error: str = "") -> Iterator[Notice]:
        """Run all reporters at once; give a notice for each that failed."""
        ending = Ending(
            command=self.command,
            mapping=Path(self.mapping).stem,
            workdir=str(self.workdir.absolute()) if isinstance(self.workdir, Path) else self.workdir,
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
