"""What a run says while it works and when it is over: a bar or plain lines, JSON logs, a closing summary.

Listeners of `pipeline.core.events`; all of them write to the stream they are given, by default stderr, since
stdout belongs to results. Nothing that comes from data reaches a terminal as it is: control characters are
shown as symbols.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from pipeline.core.events import Emit, Event, Notice, Progress, RunStarted, StageFinished, StageStarted
from pipeline.core.files import open_private
from pipeline.core.model import CODES
from pipeline.report.summary import Summary
from pipeline.report.text import visible, visible_lines
from pipeline.report.verdict import PREFLIGHT, REJECTIONS, Verdict, count, verdict_of, was_loaded

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from pipeline.core.findings import RootCause
    from pipeline.report.data import TenantFinding

PLAIN_EVERY_S: Final = 5.0
LOG_EVERY_S: Final = 10.0
NOT_NOTED: Final = "not noted by an older version; the first that answers takes it over"
"""What to say of the tenant of a ledger of an older form."""
MOST_CAUSES: Final = 6
"""Causes of one outcome that the closing summary names; the report has all."""
SHAPE_CHARACTERS: Final = 60
_MARKS: Final = {True: "well", False: "not well", None: "note"}


@contextmanager
def progress_listener(
    stream: TextIO | None = None, *, quiet: bool = False, verbose: bool = False
) -> Iterator[Emit]:
    """Give a listener that shows how far a run is.

    On a terminal: a bar a stage with count, rate and time left. Elsewhere: a line every few seconds and one
    when a stage ends. `quiet` leaves only notices; `verbose` adds when stages start and how long they took.

    Args:
        stream: Where to write; stderr where not given.
        quiet: Say only what a person should know.
        verbose: Say more.
    """
    out = stream or sys.stderr
    if quiet:
        yield _Notices(out)
    elif out.isatty():
        with _bars(out) as bars:
            yield _BarListener(bars, verbose)
    else:
        yield PlainListener(out, verbose)


@dataclass
class _Notices:
    """Writes notices and nothing else."""

    stream: TextIO

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            _line(self.stream, visible(event.message, None))


@dataclass
class PlainListener:
    """Writes plain lines, at most one every `every_s` seconds a stage besides its end.

    Attributes:
        stream: Where to write.
        verbose: Say when stages start, too.
        every_s: Seconds between lines.
        clock: Seconds that only go up.
    """

    stream: TextIO
    verbose: bool = False
    every_s: float = PLAIN_EVERY_S
    clock: Callable[[], float] = time.monotonic
    _stages: dict[str, _Stage] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Tell of one event."""
        match event:
            case Notice():
                _line(self.stream, visible(event.message, None))
            case StageStarted():
                now = self.clock()
                self._stages[event.stage] = _Stage(event, now, now)
                if self.verbose:
                    _line(self.stream, f"{event.stage}: started")
            case Progress() if event.stage in self._stages:
                self._progress(event, self._stages[event.stage])
            case StageFinished():
                self._finished(event)

    def _progress(self, event: Progress, stage: _Stage) -> None:
        now = self.clock()
        if now - stage.told_at >= self.every_s:
            stage.told_at = now
            _line(self.stream, f"{event.stage}: {stage.told(event.done, now)}")

    def _finished(self, event: StageFinished) -> None:
        stage = self._stages.pop(event.stage, None)
        unit = stage.started.unit if stage else ""
        _line(
            self.stream, f"{event.stage}: {event.done:,} {unit}".rstrip() + f" in {duration(event.seconds)}"
        )


@dataclass
class _Stage:
    """A stage that runs: when it started and when it was last told of."""

    started: StageStarted
    started_at: float
    told_at: float

    def told(self, done: int, now: float) -> str:
        rate = done / max(now - self.started_at, 1e-9)
        text = f"{_counted(self.started, done)}, {rate:,.0f}/s"
        total = self.started.total
        if total and rate:
            text += f", {duration(max(total - done, 0) / rate)} left"
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
    """Moves one bar a stage; notices scroll by above the bars."""

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


@dataclass
class JsonLog:
    """Writes one JSON object a line and event: `ts`, `run_id`, `event`, then the event's fields.

    Of the progress of a stage it writes one line every `every_s` seconds. Each line is flushed, so
    that a run that is killed leaves what it said.

    Attributes:
        stream: Where to write.
        run_id: Name of the run; taken from `run_started` where it is not known before.
        every_s: Seconds between lines of progress.
        now: The time.
    """

    stream: TextIO
    run_id: str = ""
    every_s: float = LOG_EVERY_S
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _told_at: dict[str, datetime] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if isinstance(event, RunStarted):
            self.run_id = event.run_id
        now = self.now()
        if isinstance(event, Progress):
            told_at = self._told_at.get(event.stage)
            if told_at is not None and (now - told_at).total_seconds() < self.every_s:
                return
            self._told_at[event.stage] = now
        head = {"ts": now.isoformat(timespec="milliseconds"), "run_id": self.run_id, "event": event.name}
        _line(self.stream, json.dumps(head | event.fields(), default=str))


@contextmanager
def json_log(path: Path, run_id: str = "") -> Iterator[JsonLog]:
    """Give a `JsonLog` that adds to the file at `path`, which only its owner can read."""
    with TextIOWrapper(open_private(path, "ab"), encoding="utf-8") as stream:
        yield JsonLog(stream, run_id)


def closing_summary(
    summary: Summary,
    verdict: Verdict | None = None,
    *,
    causes: Sequence[RootCause] | None = None,
    answers: Sequence[TenantFinding] = (),
) -> str:
    """How a run stands, what the command found, and what to type next; lines for a terminal.

    Args:
        summary: The run in numbers.
        verdict: How it stands, from `verdict.judge` or `verdict.verdict_of`; by the numbers alone where
            not given.
        causes: What the dry run found, personal data masked; None where the command is about delivery.
        answers: What the tenant said, where the command asked it.
    """
    verdict = verdict or verdict_of(summary)
    lines = [verdict.headline, verdict.sentence, ""]
    if causes is not None:
        lines += [*_read(summary), *_delivery(summary), *_causes(causes, summary.warnings)]
    else:
        lines += _delivery(summary)
    lines += _answers(answers)
    told = {REJECTIONS} | ({PREFLIGHT} if answers else set())
    others = [look.text for look in verdict.looks if look.section not in told]
    lines += _titled("Look at first", [f"{'':>12}  {text}" for text in others])
    lines += ["", *_aligned({"report": summary.report, "next": verdict.next})]
    return "\n".join(visible(line, None) for line in lines)


def _aligned(lines: Mapping[str, str]) -> list[str]:
    return [f"  {name:<13} {text}" for name, text in lines.items()]


def _titled(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"  {title}", *(f"  {line}" for line in lines)] if lines else []


def _read(summary: Summary) -> list[str]:
    r, t = summary.rows, summary.transactions
    return _aligned(
        {
            "rows": f"{r.read:,} read, {r.malformed:,} malformed, "
            f"{r.duplicate:,} duplicate, {r.skipped:,} skipped",
            "transactions": f"{t.read:,} read, {t.accepted:,} accepted, "
            f"{t.dropped:,} dropped, {t.rejected:,} rejected",
        }
    )


def _delivery(summary: Summary) -> list[str]:
    d, q = summary.delivery, summary.requests
    lines = {}
    if was_loaded(summary):
        lines["delivery"] = (
            f"{d.delivered:,} delivered, {d.unchanged:,} unchanged, {d.refused:,} refused, "
            f"{d.failed:,} failed, {d.pending:,} pending"
        ) + "".join(f", {number:,} {name}" for name, number in _seldom(summary).items() if number)
    if summary.tenant is not None:
        lines["tenant"] = summary.tenant or NOT_NOTED
    if q.sent:
        lines["requests"] = (
            f"{q.sent:,} sent, {q.retried:,} retried, {q.throttled:,} throttled, {q.errors:,} errors"
        )
    if summary.confirmed is not None:
        lines["in Omneo"] = (
            f"{summary.confirmed:,} confirmed, {summary.missing or 0:,} missing, "
            f"{summary.differing or 0:,} differing"
        )
    return _aligned(lines)


def _seldom(summary: Summary) -> Mapping[str, int]:
    """What is shown only where there is some."""
    d = summary.delivery
    return {"in doubt": d.in_doubt, "voided": d.voided, "forgotten": d.forgotten}


def _causes(causes: Sequence[RootCause], warnings: Mapping[str, int]) -> list[str]:
    """Rejections with an example and the likely fix each; drops and warnings by their names."""
    lines = []
    for title, outcome in (("Rejected", "rejected"), ("Dropped", "dropped")):
        of_outcome = [cause for cause in causes if cause.outcome == outcome]
        told = [line for cause in of_outcome[:MOST_CAUSES] for line in _cause(cause)]
        lines += _titled(title, told + _more(len(of_outcome), "cause"))
    most = sorted(warnings.items(), key=lambda item: (-item[1], item[0]))
    told = [_counted_code(number, code, _title(code)) for code, number in most[:MOST_CAUSES]]
    return lines + _titled("Warnings", told + _more(len(most), "code"))


def _cause(cause: RootCause) -> list[str]:
    first = cause.examples[0]
    if cause.outcome == "dropped":
        which = f": {visible(cause.shape, SHAPE_CHARACTERS)}" if cause.shape else ""
        return [_counted_code(cause.transactions, cause.code, cause.title + which)]
    return [
        _counted_code(cause.transactions, cause.code, cause.title),
        f"{'':>12}  {visible(first.source)}:{first.line}: {visible(first.message)}",
        f"{'':>12}  {cause.fix}",
    ]


def _counted_code(number: int, code: str, title: str) -> str:
    return f"{number:>12,}  {visible(code):<26} {visible(title)}"


def _title(code: str) -> str:
    return CODES[code].title if code in CODES else "A rule of the mapping"


def _more(many: int, noun: str) -> list[str]:
    more = many - MOST_CAUSES
    return [f"{'':>12}  and {count(more, f'more {noun}')}; see the report"] if more > 0 else []


def _answers(answers: Sequence[TenantFinding]) -> list[str]:
    lines = []
    for answer in answers:
        lines.append(f"{_MARKS[answer.good]:>12}  {answer.title}: {answer.message}")
        lines += [f"{'':>12}  - {visible(line)}" for line in answer.evidence[:MOST_CAUSES]]
        lines += _more(len(answer.evidence), "line")
    return _titled("What the tenant says", lines)


def run_table(runs: Sequence[tuple[Summary, Verdict]]) -> str:
    """One line a run and tenant, in the order given, under a line of headings."""
    heads = ("run", "started", "accepted", "rejected", "delivered", "pending", "", "")
    rows = [
        (
            summary.run_id,
            summary.started_at[:16].replace("T", " "),
            f"{summary.transactions.accepted:,}",
            f"{summary.transactions.rejected:,}",
            f"{summary.delivery.delivered + summary.delivery.unchanged:,}",
            f"{summary.delivery.pending:,}",
            verdict.headline,
            "" if summary.tenant is None else summary.tenant or NOT_NOTED,
        )
        for summary, verdict in runs
    ]
    if not rows:
        return "There are no runs yet."
    table = [heads, *([visible(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    return "\n".join(_row(row, widths) for row in table)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Texts to the left, the numbers of columns 3 to 6 to the right."""
    aligned = (
        cell.rjust(width) if 2 <= column <= 5 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `12 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, big, small_size, small in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size} {big} {rest} {small}" if rest else f"{whole // size} {big}"
    return f"{whole} s"


def error_text(error: Exception) -> str:
    """An error's message for a terminal, its line breaks kept."""
    return visible_lines(str(error))


def _line(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()
