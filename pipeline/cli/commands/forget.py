"""`forget`: remove one person from all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import LEDGER, YES, option
from pipeline.cli.workdir import local_workdir

if TYPE_CHECKING:
    from pipeline.workflows.forget import PersonTraces


@command
@option("--profile", required=True, metavar="VALUE", help="The person's email, card or id.")
@YES
@LEDGER
def forget(console: Console, profile: str, yes: bool, ledger: str | None) -> int:
    """Remove one person from all runs.

    Their staged transactions keep id, time and total, so nothing is sent again. Omneo and the source files
    are not changed. Asks first.
    """
    from pipeline.report.formatting import count
    from pipeline.workflows.forget import forget as forget_person

    def agree(found: Sequence[PersonTraces]) -> bool:
        staged = count(sum(len(traces.staged) for traces in found), "staged transaction")
        question = f"Remove this person from {count(len(found), 'run')}, with {staged}?"
        return yes or not found or console.agreed(question)

    with local_workdir(console, ledger, everything=True) as workdir:
        removed = forget_person(workdir, profile, ledger=ledger, agree=agree)
    for traces in removed.runs:
        console.say(
            f"{traces.run_id}: emptied {count(len(traces.staged), 'staged transaction')}; removed "
            f"{count(traces.quarantined, 'reason')} and {count(traces.rows, 'row')} from the quarantine"
        )
    if not (removed.runs or removed.words):
        console.say("Nothing was removed.")
    console.result(asdict(removed))
    return 0
