"""What a command writes: results on stdout, everything else on stderr.

Both may be closed, full, or read by a process that has ended. That never changes what a command does or how
it ends: a load goes on when its log is not read any more.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EPIPE
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from pipeline.core.errors import SettingsError
from pipeline.core.events import Emit, Event, fan_out

if TYPE_CHECKING:
    from pipeline.telemetry.watch import Watch
    from pipeline.workflows.runs.run_record import CommandResult

STDERR = 2


@dataclass(frozen=True)
class Console:
    """How this call wants its output.

    Attributes:
        workdir: Where runs and the ledger are; a URL where that is in an object store.
        json: The last line of stdout is one JSON object; everything else goes to stderr.
        log_format: `text` or `json`, for stderr.
        verbosity: -1 quiet, 0, 1 verbose.
        watch: Reports how the command ends; None where no such report was asked for.
    """

    workdir: Path | str
    json: bool
    log_format: str
    verbosity: int
    watch: Watch | None = None

    def say(self, text: str) -> None:
        """Write for a person: to stdout, or to stderr where stdout belongs to a script."""
        write_line(text, err=self.json)

    def say_wrapped(self, text: str) -> None:
        """Write sentences for a person, broken between words where a terminal is narrower."""
        self.say(wrapped(text, sys.stderr if self.json else sys.stdout))

    def result(self, data: Mapping[str, Any]) -> None:
        """Give a script its one JSON object."""
        if self.json:
            write_line(json.dumps(data, default=str))

    def error(self, exit_code: int, text: str, prefix: str = "Error: ") -> None:
        """Write an error, or a notice, to stderr."""
        if self.log_format == "json":
            write_line(json.dumps({"event": "error", "exit_code": exit_code, "message": text}), err=True)
        else:
            write_line(wrapped(f"{prefix}{printable(text)}", sys.stderr), err=True)

    def agreed(self, question: str) -> bool:
        """Ask a question that is answered with yes or no.

        Raises:
            SettingsError: There is no answer to read.
        """
        try:
            return click.confirm(wrapped(question, sys.stderr), err=True)
        except click.Abort:
            write_line("", err=True)  # the cursor is still behind the question
            raise SettingsError(
                "Cannot ask for confirmation without a terminal.", hint="Pass --yes to confirm."
            ) from None

    @contextmanager
    def listening(self) -> Iterator[Emit]:
        """Show events on stderr, and pass them to the watch."""
        from pipeline.telemetry.json_log import JsonLog
        from pipeline.telemetry.progress import progress_listener

        watching = [self.watch] if self.watch else []
        if self.log_format == "json":
            yield fan_out(_while_writable(JsonLog(sys.stderr)), *watching)
            return
        with progress_listener(quiet=self.verbosity < 0, verbose=self.verbosity > 0) as emit:
            yield fan_out(_while_writable(emit), *watching)

    def show(self, finished: CommandResult, about: str = "") -> int:
        """Show how a command on a run ended, and return the exit code.

        Args:
            finished: How it ended.
            about: The section of the report to show as well: `causes`, `preflight` or neither.
        """
        from pipeline.report.render import render_terminal
        from pipeline.report.verdict import judge
        from pipeline.report.view import overview

        data = finished.data
        if self.watch:
            self.watch.summary, self.watch.mapping = finished.summary, data.provenance.mapping
            self.watch.error = finished.error.message if finished.error else ""
        # Where stderr is for machines, the last line of the log says how it ended.
        if self.verbosity >= 0 and not (self.json and self.log_format == "json"):
            found = overview(
                data.summary,
                judge(data),
                causes=data.causes,
                preflight=data.preflight,
                fields=data.fields,
            )
            self.say_wrapped(render_terminal(found, about))
        if finished.error is not None:
            self.error(finished.exit_code, str(finished.error))
        self.result({**finished.summary.as_dict(), **finished.extra})
        return finished.exit_code


def printable(text: str) -> str:
    """The text with control characters shown as symbols, since parts of it may come from data."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def wrapped(text: str, stream: TextIO) -> str:
    """The text with lines that are too long for a terminal broken between words.

    A broken line goes on two places further in than it begins. What is read by a program, and a word that is
    too long for a line, such as a path to be copied, stay whole.
    """
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        # The stream is no terminal, or is closed.
        return text
    return "\n".join(_broken(line, width) for line in text.split("\n"))


def _broken(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    words = line.lstrip(" ")
    indent = " " * (len(line) - len(words))
    return textwrap.fill(
        words,
        max(width, len(indent) + 20),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def open_standard_streams() -> None:
    """Open standard streams that the caller closed, so that no file of ours gets their numbers."""
    # `os.open` gives the lowest number that is free.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(STDERR - 1, "w")
    sys.stderr = sys.stderr or os.fdopen(STDERR, "w")


def write_line(text: str, *, err: bool = False) -> None:
    """Write a line to stdout or stderr, for as long as that can be written."""
    write_text(f"{text}\n", err=err)


def write_text(text: str, *, err: bool = False) -> None:
    """Write a text to stdout or stderr, for as long as that can be written."""
    try:
        click.echo(text, nl=False, err=err)
    except OSError as error:
        _discard_the_rest(err=err)
        # The reader that closed a pipe knows it. A full disk has to be reported.
        if error.errno != EPIPE and not err:
            write_line(f"Error: stdout cannot be written: {error.strerror}.", err=True)


def _while_writable(listener: Emit) -> Emit:
    """A listener that writes to stderr, until that cannot be written any more."""
    listening = True

    def emit(event: Event) -> None:
        nonlocal listening
        if not listening:
            return
        try:
            listener(event)
        except OSError:
            listening = False
            _discard_the_rest(err=True)

    return emit


def _discard_the_rest(*, err: bool) -> None:
    """Drop further output: with a buffer that cannot be written, the process would end with code 120."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
        os.close(nowhere)
