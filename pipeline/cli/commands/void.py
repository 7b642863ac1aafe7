"""`void`: undo a run."""

from __future__ import annotations

from typing import Any

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import CONNECTING, REACTIONS, RUN, YES, add_options
from pipeline.cli.workdir import local_workdir, on_run
from pipeline.core.settings import base_url_from_environment


@command
@add_options(CONNECTING)
@add_options(REACTIONS)
@YES
@RUN
def void(console: Console, reference: str, yes: bool, **arguments: Any) -> int:
    """Undo a run: send it again as void.

    Every transaction that it delivered is sent with `is_void: true`. Asks first.
    """
    from pipeline.report.formatting import count
    from pipeline.workflows.status import status
    from pipeline.workflows.void import void as void_run

    ledger, base_url = arguments["ledger"], base_url_from_environment()
    with local_workdir(console, ledger, run=reference, bodies=False, writes=False) as workdir:
        *_, last = status(workdir, reference, ledger=ledger, base_url=base_url)
    summary = last.summary
    sent = count(summary.delivery.delivered + summary.delivery.in_doubt, "transaction")
    if not yes and not console.agreed(f"Void {sent} of run {summary.run_id} in Omneo?"):
        console.say("Nothing was voided.")
        console.result(summary.as_dict())
        return 0
    return on_run(console, summary.run_id, arguments, void_run)
