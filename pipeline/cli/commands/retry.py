"""`retry`: send again what failed."""

from __future__ import annotations

from typing import Any

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.monitoring import monitored
from pipeline.cli.options import REACTIONS, RUN, SENDING, add_options
from pipeline.cli.workdir import on_run


@command
@monitored
@add_options(SENDING)
@add_options(REACTIONS)
@RUN
def retry(console: Console, reference: str, **arguments: Any) -> int:
    """Send again what failed or was refused."""
    from pipeline.workflows.retry import retry as retry_run

    return on_run(console, reference, arguments, retry_run)
