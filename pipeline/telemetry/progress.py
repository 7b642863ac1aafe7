"""How far a run is, shown while it works: bars on a terminal, plain lines elsewhere.

Listeners of `pipeline.core.events`. They write to stderr, since stdout belongs to results, and show control
characters from data as symbols.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TextIO

from pipeline.core.events import Emit, Event, Notice, Progress, StageFinished, StageStarted
from pipeline.report.formatting import duration, visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PLAIN_EVERY_S: Final = 5.0
"""Often enough to see that a run works, seldom enough for the log of a scheduler."""


@contextmanager
def progress_listener(
    stream: TextIO | None = None, *, quiet: bool = False, verbose: bool = False
) -> Iterator[Emit]:
    """Give a listener that shows how far a run is.

    On a terminal, each stage has a bar with count, rate and time left. Elsewhere, a line is written every few
    seconds and when a stage ends.

    Args:
        stream: Where to write; stderr by default.
        quiet: Show notices only.
        verbose: Also show when stages start, and how long they took.
    """
    out = stream or sys.stderr
    if out.isatty() and not quiet:
        with _bars(out) as bars:
            yield _BarListener(bars, verbose)
    else:
        yield PlainListener(out, verbose, quiet)


@dataclass
class PlainListener:
    """Writes plain lines: notices, the end of each stage, and in between its progress now and then.

    Attributes:
        stream: Where to write.
        verbose: Also write when a stage starts.
        quiet: Write notices and nothing else.
        every_s: The least time between two lines of progress of a stage.
        clock: Seconds that only increase.
    """

    stream: TextIO
    verbose: bool = False
    quiet: bool = False
    every_s: float = PLAIN_EVERY_S
    clock: Callable[[], float] = time.monotonic
    _stages: dict[str, _RunningStage] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Write a line about an event, if one is due."""
        match event:
            case Notice():
                self._write(visible(event.message, None))
            case _ if self.quiet:
                pass
            case StageStarted():
                now = self.clock()
                self._stages[event.stage] = _RunningStage(event, started_at=now, shown_at=now)
                if self.verbose:
                    self._write(f"{event.stage}: started")
            case Progress() if event.stage in self._stages:
                stage, now = self._stages[event.stage], self.clock()
                if now - stage.shown_at >= self.every_s:
                    stage.shown_at = now
                    self._write(f"{event.stage}: {stage.progress(event.done, now)}")
            case StageFinished():
                stage_or_none = self._stages.pop(event.stage, None)
                unit = f" {stage_or_none.started.unit}" if stage_or_none else ""
                self._write(f"{event.stage}: {event.done:,}{unit} in {duration(event.seconds)}")

    def _write(self, line: str) -> None:
        self.stream.write(line + "\n")
        self.stream.flush()


@dataclass
class _RunningStage:
    started: StageStarted
    started_at: float
    shown_at: float

    def progress(self, done: int, now: float) -> str:
        rate = done / max(now - self.started_at, 1e-9)
        text = f"{_counted(self.started, done)}, {rate:,.0f}/s"
        if self.started.total and rate:
            text += f", {duration(max(self.started.total - done, 0) / rate)} left"
        return text


def _bars(stream: TextIO) -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        console=Console(file=stream, markup=False, highlight=False, emoji=False),
    )


@dataclass
class _BarListener:
    """Moves a bar for each stage; notices appear above the bars."""

    bars: Bars
    verbose: bool
    _tasks: dict[str, tuple[TaskID, StageStarted]] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        match event:
            case Notice():
                self.bars.console.print(visible(event.message, None))
            case StageStarted():
                task = self.bars.add_task(event.stage, total=event.total, count=_counted(event, 0), rate="")
                self._tasks[event.stage] = (task, event)
            case Progress() if event.stage in self._tasks:
                self._move(event)
            case StageFinished() if event.stage in self._tasks:
                self._end(event)

    def _move(self, event: Progress) -> None:
        task, started = self._tasks[event.stage]
        self.bars.update(task, completed=event.done, count=_counted(started, event.done))
        speed = self.bars.tasks[self.bars.task_ids.index(task)].speed
        self.bars.update(task, rate=f"{speed:,.0f}/s" if speed else "")

    def _end(self, event: StageFinished) -> None:
        task, started = self._tasks.pop(event.stage)
        rate = f"{event.done / event.seconds:,.0f}/s" if event.seconds else ""
        text = f"{event.done:,} {started.unit}"
        self.bars.update(task, completed=event.done, total=event.done, count=text, rate=rate)
        if self.verbose:
            self.bars.console.print(f"{event.stage}: {text} in {duration(event.seconds)}")


def _counted(started: StageStarted, done: int) -> str:
    of = "" if started.total is None else f" of {started.total:,}"
    return f"{done:,}{of} {started.unit}"
