"""The command for the ledger itself."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import LEDGER, option
from pipeline.cli.run_access import local_workdir


@command
@option("--to", "target", metavar="URL", required=True, help="An empty database: postgresql://…")
@LEDGER
def copy_ledger(console: Console, target: str, ledger: Path | str | None) -> int:
    """Copy the ledger into PostgreSQL.

    All of it, with every tenant, in one transaction, and compared afterwards. The old one stays as it is, but
    must not be used any more: name the new one with every command.

    Example:
      omneo-import copy-ledger --to postgresql://omneo@db/ledger
    """
    from pipeline.core.text.wording import count
    from pipeline.loading.ledger.ledger_database import display_name
    from pipeline.workflows.copy_ledger import copy_ledger as copy

    with (
        console.listening() as emit,
        local_workdir(console, ledger, heads=True, bodies=False, writes=False) as workdir,
    ):
        rows = copy(workdir, target, ledger=ledger, emit=emit)
    name = display_name(target)
    number = f"{count(rows['records'], 'transaction')} of {count(rows['runs'], 'run')}"
    console.say(f"Copied the records of {number} to {name}; name it with --ledger or OMNEO_IMPORT_LEDGER.")
    console.result({"ledger": name, "rows": rows})
    return 0
