"""Commands that show what is known of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import FILE, LEDGER, RUN, option
from pipeline.cli.run_access import local_workdir
from pipeline.core.settings import base_url_from_environment

if TYPE_CHECKING:
    from pipeline.report.summary import Summary


@command
@LEDGER
@click.argument("reference", metavar="[RUN]", required=False)
def status(console: Console, reference: str | None, ledger: Path | str | None) -> int:
    """List the runs, or show the counts of one and what to do next."""
    from pipeline.report.render import render_terminal, run_table
    from pipeline.report.verdict import REJECTIONS
    from pipeline.report.view import overview
    from pipeline.workflows.status import status as status_of

    with (
        console.listening() as emit,
        local_workdir(console, ledger, heads=True, run=reference, bodies=False, writes=False) as workdir,
    ):
        found = status_of(workdir, reference, ledger=ledger, base_url=base_url_from_environment(), emit=emit)
    if not reference:
        console.say(run_table([(each.summary, each.verdict) for each in found]))
        console.result({"runs": [_with_tenant(each.summary) for each in found]})
        return 0
    for each in found:
        console.say(render_terminal(overview(each.summary, each.verdict, causes=each.causes), REJECTIONS))
    tenants = [_with_tenant(each.summary) for each in found if each.summary.tenant is not None]
    console.result({**_with_tenant(found[-1].summary), "tenants": tenants})
    return 0


def _with_tenant(summary: Summary) -> dict[str, Any]:
    """A summary that names the tenant whose delivery it counts."""
    return {**summary.as_dict(), "tenant": summary.tenant}


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


@command
@option("-o", "--output", type=FILE, help="Write to this file, as Parquet or CSV by its name.")
@LEDGER
@RUN
def results(console: Console, reference: str, output: Path | None, ledger: Path | str | None) -> int:
    """Write what became of every transaction of a run, a row each.

    Joins the source file and line with outcome, codes, state in Omneo, the server's message and Omneo's id.
    Without -o it is `results.csv` in the run's directory.
    """
    from pipeline.report.formatting import count
    from pipeline.workflows.results import write_results

    base_url = base_url_from_environment()
    with local_workdir(console, ledger, run=reference, writes=output is None) as workdir:
        path, rows = write_results(workdir, reference, output, ledger=ledger, base_url=base_url)
    console.say(f"{count(rows, 'transaction')} in {path}")
    console.result({"file": str(path), "transactions": rows})
    return 0
