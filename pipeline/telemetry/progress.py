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
from pipeline.telemetry.pace import Pace

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

BAR_WIDTH: Final = 20
NARROW: Final = 100
"""Columns below which there is no bar: what is said matters more."""
PLAIN_EVERY_S: Final = 5.0
"""Often enough to see that a run works, seldom enough for the log of a scheduler."""


@contextmanager
def progress_listener(
    stream: TextIO | None = None, *, quiet: bool = False, verbose: bool = False
) -> Iterator[Emit]:
    """Give a listener that shows how far a run is.

    On a terminal, each stage has a bar with count, rate, time left and what limits it. Elsewhere, a line is
    written every few seconds and when a stage ends.

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
    _stages: dict[str, Pace] = field(default_factory=dict)
    _shown_at: dict[str, float] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Write a line about an event, if one is due."""
        match event:
            case Notice():
                self._write(visible(event.message, None))
            case _ if self.quiet:
                pass
            case StageStarted():
                now = self.clock()
                self._stages[event.stage], self._shown_at[event.stage] = Pace(event, now), now
                if self.verbose:
                    self._write(f"{event.stage}: started")
            case Progress() if event.stage in self._stages:
                pace, now = self._stages[event.stage], self.clock()
                pace.see(event, now)
                if now - self._shown_at[event.stage] >= self.every_s:
                    self._shown_at[event.stage] = now
                    self._write(f"{event.stage}: {pace.line()}")
            case StageFinished():
                ended = self._stages.pop(event.stage, None)
                unit = f" {ended.started.unit}" if ended else ""
                self._write(f"{event.stage}: {event.done:,}{unit} in {duration(event.seconds)}")

    def _write(self, line: str) -> None:
        self.stream.write(line + "\n")
        self.stream.flush()


def _bars(stream: TextIO) -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    return Progress(
        TextColumn("{task.description}", markup=False),
        *([] if console.width < NARROW else [BarColumn(bar_width=BAR_WIDTH)]),
        TextColumn("{task.fields[text]}", markup=False),
        console=console,
    )


@dataclass
class _BarListener:
    """Moves a bar for each stage; notices appear above the bars."""

    bars: Bars
    verbose: bool
    _tasks: dict[str, tuple[TaskID, Pace]] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        match event:
            case Notice():
                self.bars.console.print(visible(event.message, None))
            case StageStarted():
                pace = Pace(event, time.monotonic())
                text = pace.line(self._width(event.stage))
                task = self.bars.add_task(event.stage, total=event.total, completed=event.done, text=text)
                self._tasks[event.stage] = (task, pace)
            case Progress() if event.stage in self._tasks:
                task, pace = self._tasks[event.stage]
                pace.see(event, time.monotonic())
                self.bars.update(task, completed=event.done, text=pace.line(self._width(event.stage)))
            case StageFinished() if event.stage in self._tasks:
                self._end(event)

    def _width(self, stage: str) -> int:
        """The columns that are left for what is said of a stage."""
        columns = self.bars.console.width
        return max(1, columns - len(stage) - 2 - (0 if columns < NARROW else BAR_WIDTH + 1))

    def _end(self, event: StageFinished) -> None:
        """Leave the bar where the stage ended, which is not its end where it was stopped."""
        task, pace = self._tasks.pop(event.stage)
        total, done = pace.started.total, max(pace.last.done, event.done)
        of = f" of {total:,}" if total is not None and done < total else ""
        rate = f", {event.done / event.seconds:,.0f}/s" if event.seconds else ""
        text = f"{done:,}{of} {pace.started.unit}"
        self.bars.update(task, completed=done, total=total if of else done, text=text + rate)
        if self.verbose:
            self.bars.console.print(f"{event.stage}: {text} in {duration(event.seconds)}")
