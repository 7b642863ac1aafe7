"""`preflight`: ask the tenant before anything is sent."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import CONNECTING, RUN, add_options, option
from pipeline.cli.workdir import on_run


@command
@add_options(CONNECTING)
@option(
    "--customers", type=click.IntRange(0, 10_000), default=200, show_default=True, help="How many to ask for."
)
@RUN
def preflight(console: Console, reference: str, customers: int, **arguments: Any) -> int:
    """Ask the tenant, sending no transaction.

    Is the token good, which locations would be created, are the currencies configured, what share of a
    sample of customers is known? The answers join the report.
    """
    from pipeline.workflows.preflight import preflight as ask_tenant

    ask = partial(ask_tenant, sample=customers)
    return on_run(console, reference, arguments, ask, "preflight")
