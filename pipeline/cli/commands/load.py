"""`load`: send a staged run."""

from __future__ import annotations

from typing import Any

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.monitoring import monitored
from pipeline.cli.options import (
    ENGINE,
    FIRST,
    MAX_REFUSED,
    REACTIONS,
    RUN,
    SENDING,
    add_options,
    require_local_first,
)
from pipeline.cli.workdir import on_run


@command
@monitored
@add_options(SENDING)
@MAX_REFUSED
@add_options(REACTIONS)
@FIRST
@ENGINE
@RUN
def load(console: Console, reference: str, **arguments: Any) -> int:
    """Send a staged run, or go on with it.

    Sends exactly the bytes that `prepare` reviewed. Run again after any stop, it goes on where it was.
    """
    from pipeline.workflows.load import load as load_run

    require_local_first(arguments["engine"], arguments["first"])
    return on_run(console, reference, arguments, load_run)
