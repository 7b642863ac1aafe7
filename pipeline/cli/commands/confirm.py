"""`confirm`: look transactions up and compare."""

from __future__ import annotations

from functools import partial
from typing import Any

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.monitoring import monitored
from pipeline.cli.options import CONNECTING, REACTIONS, RUN, add_options, option
from pipeline.cli.parameters import Share
from pipeline.cli.workdir import on_run


@command
@monitored
@add_options(CONNECTING)
@option(
    "--sample", type=Share(), default="100%", show_default=True, help="Share to look up, chosen at random."
)
@option("--resend", is_flag=True, help="Send the missing ones again.")
@add_options(REACTIONS)
@RUN
def confirm(console: Console, reference: str, sample: float, resend: bool, **arguments: Any) -> int:
    """Look transactions up in Omneo and compare.

    Says which are missing or differ.
    """
    from pipeline.workflows.confirm import confirm as confirm_run

    look_up = partial(confirm_run, sample=sample, resend=resend)
    return on_run(console, reference, arguments, look_up)
