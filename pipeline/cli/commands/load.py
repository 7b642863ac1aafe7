"""`load`: send a staged run."""

from __future__ import annotations

from typing import Any

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.monitoring import monitored
from pipeline.cli.options import ENGINE, MAX_REFUSED, RUN, SENDING, add_options
from pipeline.cli.workdir import on_run


@command
@monitored
@add_options(SENDING)
@MAX_REFUSED
@ENGINE
@RUN
def load(console: Console, reference: str, **arguments: Any) -> int:
    """Send a staged run, or go on with it.

    Sends exactly the bytes that `prepare` reviewed. Run again after any stop, it goes on where it was.
    """
    from pipeline.workflows.load import load as load_run

    return on_run(console, reference, arguments, load_run)
