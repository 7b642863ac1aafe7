"""The working directory of a command, and what the commands on one of its runs have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.console import Console
from pipeline.cli.options import delivery_options, reactions_policy
from pipeline.cli.signals import stoppable
from pipeline.core.errors import SettingsError
from pipeline.core.settings import connection_from_environment

if TYPE_CHECKING:
    from pipeline.workflows.runs.run_record import CommandResult
    from pipeline.workflows.tenant.open_run import Target


@contextmanager
def local_workdir(
    console: Console,
    ledger: Path | str | None,
    *,
    failed: Callable[[SettingsError], None] | None = None,
    **needed: Any,
) -> Iterator[Path]:
    """The working directory, or a local copy of what is needed of one in an object store.

    Args:
        console: Knows where it is.
        ledger: The ledger that was named; there is none beside the runs in an object store.
        failed: Is called when changes could not be brought back; by default that is raised.
        needed: See `pipeline.staging.store_copy.Needed`.
    """
    if isinstance(console.workdir, Path):
        yield console.workdir
        return
    from pipeline.staging.store_copy import Needed, mirrored

    if ledger is None:
        raise SettingsError(
            f"The ledger cannot be in an object store, as --workdir {console.workdir} is.",
            hint="Name one with --ledger: postgresql://…, or a file on this machine.",
        )
    with mirrored(console.workdir, Needed(**needed), failed) as path:
        yield path


def on_run(
    console: Console,
    reference: str,
    arguments: Mapping[str, Any],
    action: Callable[[Target], CommandResult],
    about: str = "",
) -> int:
    """Do something with a run and a tenant, and show how it ended.

    Args:
        console: Shows it.
        reference: The run: its id, a unique prefix, or `latest`.
        arguments: The command's options, those of `CONNECTING` at least.
        action: Does it.
        about: See `Console.show`.
    """
    from pipeline.workflows.tenant.open_run import Target

    connection = connection_from_environment(arguments["token_file"])
    options = delivery_options(arguments)
    ledger, engine = arguments["ledger"], arguments.get("engine", "local")

    def not_kept(error: SettingsError) -> None:
        # What was sent is in the ledger, so this is no reason to end with another exit code.
        console.error(0, f"{error}\n  Write it again: omneo-import report {reference}", "Notice: ")

    with (
        console.listening() as emit,
        local_workdir(console, ledger, failed=not_kept, run=reference) as workdir,
        stoppable() as (stop, received),
    ):
        target = Target(
            workdir,
            reference,
            connection,
            options,
            emit=emit,
            stop=stop,
            ledger=ledger,
            engine=engine,
            token_file=arguments["token_file"],
            signals=received,
            reactions=reactions_policy(arguments),
        )
        finished = action(target)
    return console.show(finished, about)
