"""Standard output and standard error, which may be closed, full, or read by somebody who has gone.

Neither ever changes what a command does or how it ends: a load whose log nobody reads any more goes on.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from errno import EPIPE

import click

from pipeline.core.events import Emit, Event

STDERR = 2


def open_standard_streams() -> None:
    """Open what the caller has closed, so that no file of ours gets the number of a standard stream."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:  # gives the lowest number that is free
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(STDERR - 1, "w")
    sys.stderr = sys.stderr or os.fdopen(STDERR, "w")


def write_line(text: str, *, err: bool = False) -> None:
    """Write a line to stdout or stderr, for as long as that can be written."""
    try:
        click.echo(text, err=err)
    except OSError as error:
        _give_up(err=err)
        if error.errno != EPIPE and not err:  # who closed a pipe knows it; of a full disk nobody does
            write_line(f"Error: stdout cannot be written: {error.strerror}.", err=True)


def while_writable(listener: Emit) -> Emit:
    """A listener that writes to stderr, left out from when that cannot be written any more."""
    listening = True

    def emit(event: Event) -> None:
        nonlocal listening
        if not listening:
            return
        try:
            listener(event)
        except OSError:
            listening = False
            _give_up(err=True)

    return emit


def _give_up(*, err: bool) -> None:
    """Send the rest nowhere: what is left in a buffer would make the process end with code 120."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
        os.close(nowhere)
