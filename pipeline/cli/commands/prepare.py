"""`prepare`: the dry run."""

from __future__ import annotations

from typing import Any

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.monitoring import monitored
from pipeline.cli.options import LEDGER, MAPPING, PREPARING, SOURCES, add_options, option, prepare_options
from pipeline.cli.parameters import RequestRate
from pipeline.cli.workdir import local_workdir
from pipeline.core.memory import keep_freed_memory


@command
@monitored
@MAPPING
@add_options(PREPARING)
@LEDGER
@option(
    "--rate",
    "rate_per_min",
    type=RequestRate(),
    help="Requests that a load can send, such as 600/min, for the prediction.",
)
@SOURCES
def prepare(console: Console, mapping: str, sources: tuple[str, ...], **arguments: Any) -> int:
    """Dry run: stage all, send nothing, report.

    No network is used. SOURCE is a file, a glob, or one directory in which the mapping's own inputs are
    looked for. Of a directory or glob, only files that are new or changed since they were imported are taken.
    """
    return stage(console, mapping, sources, arguments)


def stage(console: Console, mapping: str, sources: tuple[str, ...], arguments: dict[str, Any]) -> int:
    """Prepare a run, and show how that ended."""
    keep_freed_memory()  # before polars is imported
    from pipeline.workflows.prepare import prepare as prepare_run

    with (
        console.listening() as emit,
        local_workdir(console, arguments["ledger"], engine=arguments["engine"]) as workdir,
    ):
        finished = prepare_run(workdir, mapping, sources, prepare_options(arguments), emit)
    return console.show(finished, "causes")
