"""Commands that remove personal data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import LEDGER, YES, option
from pipeline.cli.parameters import AGE
from pipeline.cli.run_access import local_workdir

if TYPE_CHECKING:
    from pipeline.workflows.forget import PersonTraces


@command
@option("--older-than", type=AGE, required=True, help="Only runs prepared longer ago, such as 90d.")
@option("--force", is_flag=True, help="Also runs of which something can still be sent.")
@YES
@option("--dry-run", is_flag=True, help="Only say what would be removed.")
@LEDGER
def prune(
    console: Console, older_than: float, force: bool, yes: bool, dry_run: bool, ledger: str | None
) -> int:
    """Remove personal data from old runs.

    Removes staged bodies and quarantine; manifest, ledger, log and the masked report stay. Such a run cannot
    be loaded, retried, confirmed or voided any more. Runs of which something can still be sent are left
    alone. Asks first.

    Example:
      omneo-import prune --older-than 90d --dry-run
    """
    from pipeline.core.text.wording import count
    from pipeline.workflows.prune import prune as prune_runs

    with local_workdir(console, ledger, everything=True, writes=not dry_run) as workdir:
        prune_old = partial(prune_runs, workdir, timedelta(seconds=older_than), ledger=ledger, force=force)
        runs = prune_old(dry_run=True)
        old = sum(not each.left_alone for each in runs)
        if old and not dry_run:
            what = f"the contents of {count(old, 'run')}"
            question = f"Remove {what}, so that nothing of it can be sent or undone any more?"
            if yes or console.agreed(question):
                runs = prune_old(dry_run=False)
            else:
                dry_run = True
    verb = "would be removed" if dry_run else "removed"
    for each in runs:
        size = f"{count(each.files, 'file')} with {count(each.bytes, 'byte')} {verb}"
        console.say(f"{each.run_id}: {f'left alone, {each.left_alone}' if each.left_alone else size}")
    if not runs:
        console.say("There was nothing to remove.")
    console.result({"dry_run": dry_run, "runs": [asdict(each) for each in runs]})
    return 0


@command
@option("--profile", required=True, metavar="VALUE", help="The person's email, card or id.")
@YES
@LEDGER
def forget(console: Console, profile: str, yes: bool, ledger: str | None) -> int:
    """Remove one person from all runs.

    Their staged transactions keep id, time and total, so nothing is sent again. Omneo and the source files
    are not changed. Asks first.

    Example:
      omneo-import forget --profile ann@example.com
    """
    from pipeline.core.text.wording import count
    from pipeline.workflows.forget import forget as forget_person

    agreed: list[bool] = []

    def agree(found: Sequence[PersonTraces]) -> bool:
        staged = count(sum(len(traces.staged) for traces in found), "staged transaction")
        question = f"Remove this person from {count(len(found), 'run')}, with {staged}?"
        agreed.append(yes or not found or console.agreed(question))
        return agreed[-1]

    with local_workdir(console, ledger, everything=True) as workdir:
        removed = forget_person(workdir, profile, ledger=ledger, agree=agree)
    for traces in removed.runs:
        console.say_wrapped(
            f"{traces.run_id}: emptied {count(len(traces.staged), 'staged transaction')}; removed "
            f"{count(traces.quarantined, 'reason')} and {count(traces.rows, 'row')} from the quarantine"
        )
    if not (removed.runs or removed.words):
        why = "no run has such an email, card or id" if all(agreed) else "you did not agree"
        console.say(f"Nothing was removed: {why}.")
    console.result(asdict(removed))
    return 0
