"""Commands that import files: `prepare` stages a run, `run` also sends it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.monitoring import monitored
from pipeline.cli.options import (
    FIRST,
    LEDGER,
    MAPPING,
    MAX_REFUSED,
    PREPARING,
    REACTIONS,
    SENDING,
    SOURCES,
    add_options,
    delivery_options,
    option,
    prepare_options,
    require_local_first,
)
from pipeline.cli.parameters import REQUEST_RATE, SHARE
from pipeline.cli.run_access import local_workdir, on_run
from pipeline.core.memory import keep_freed_memory
from pipeline.core.settings import connection_from_environment

if TYPE_CHECKING:
    from pipeline.workflows.runs.run_record import CommandResult
    from pipeline.workflows.tenant.open_run import Target


@command
@monitored
@MAPPING
@add_options(PREPARING)
@LEDGER
@option(
    "--rate",
    "rate_per_min",
    type=REQUEST_RATE,
    help="Requests that a load can send, such as 600/min, for the prediction.",
    heading="Pace",
)
@SOURCES
def prepare(console: Console, mapping: str, sources: tuple[str, ...], **arguments: Any) -> int:
    """Dry run: stage all, send nothing, report.

    No network is used. SOURCE is a file, a glob, or one directory in which the mapping's own inputs are
    looked for. Of a directory or glob, only files that are new or changed since they were imported are taken.

    Example:
      omneo-import prepare -m shop.yaml exports/ --max-rejected 2%
    """
    return stage(console, mapping, sources, arguments)


def stage(console: Console, mapping: str, sources: tuple[str, ...], arguments: dict[str, Any]) -> int:
    """Prepare a run, and show how that ended."""
    keep_freed_memory()  # before polars is imported
    from pipeline.workflows.prepare import prepare as prepare_run

    with (
        console.listening() as emit,
        local_workdir(console, arguments["ledger"], recent=True) as workdir,
    ):
        finished = prepare_run(workdir, mapping, sources, prepare_options(arguments), emit)
    return console.show(finished, "causes")


@command
@monitored
@MAPPING
@add_options(PREPARING)
@add_options(SENDING)
@MAX_REFUSED
@add_options(REACTIONS)
@FIRST
@option(
    "--min-share",
    type=SHARE,
    help="The gate for nights: fewer transactions, or less worth, than this share of the median of the last "
    "four same weekdays ends with exit code 3.",
    heading="Gate",
)
@option("--dry-run", is_flag=True, help="Only prepare.")
@SOURCES
def run(console: Console, mapping: str, sources: tuple[str, ...], dry_run: bool, **arguments: Any) -> int:
    """`prepare`, then `load`.

    Repeated on the same input it sends nothing twice.

    Example:
      omneo-import run -m shop.yaml exports/ --settle 10m --max-rejected 2%
    """
    require_local_first(arguments["engine"], arguments["first"])
    if dry_run:
        return stage(console, mapping, sources, arguments)
    keep_freed_memory()  # before polars is imported
    from pipeline.workflows.load import load, require_shared_ledger
    from pipeline.workflows.prepare import prepare
    from pipeline.workflows.runs.workdir_lock import require_free
    from pipeline.workflows.tenant.open_run import adopt

    ledger, engine = arguments["ledger"], arguments["engine"]
    connection = connection_from_environment(arguments["token_file"])
    require_shared_ledger(engine, ledger)
    with console.listening() as emit, local_workdir(console, ledger, recent=True) as workdir:
        require_free(workdir, ledger)
        adopt(workdir, connection, delivery_options(arguments), emit, ledger=ledger)
        prepared = prepare(workdir, mapping, sources, prepare_options(arguments), emit)
    if prepared.exit_code:
        return console.show(prepared, "causes")

    def send(target: Target) -> CommandResult:
        return load(replace(target, prepared=prepared.summary))

    return on_run(console, prepared.summary.run_id, arguments, send, "causes")
