"""`status`: the runs, or one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import LEDGER
from pipeline.cli.workdir import local_workdir
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
