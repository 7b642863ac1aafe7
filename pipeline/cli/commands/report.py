"""`report`: write a report again."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import LEDGER, RUN, option
from pipeline.cli.workdir import local_workdir
from pipeline.core.settings import base_url_from_environment


@command
@option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown"]),
    default="html",
    show_default=True,
    help="The page, or a short version for a pull request or a chat.",
)
@option("--show-personal-data/--mask-personal-data", default=None, help="By default as `prepare` was called.")
@LEDGER
@RUN
def report(
    console: Console, reference: str, form: str, show_personal_data: bool | None, ledger: Path | str | None
) -> int:
    """Write a report again, and print its path."""
    from pipeline.report.render import render_markdown
    from pipeline.workflows.report import report as write

    with local_workdir(console, ledger, run=reference, bodies=False) as workdir:
        data, values = write(
            workdir,
            reference,
            ledger=ledger,
            base_url=base_url_from_environment(),
            show_personal_data=show_personal_data,
        )
    console.say(data.summary.report if form == "html" else render_markdown(values))
    console.result(data.summary.as_dict())
    return 0
