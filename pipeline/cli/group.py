"""The command line as a whole: the group of all commands, and how a process starts and ends.

Commands import heavy libraries when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from pipeline import __version__
from pipeline.cli.command import COMMON
from pipeline.cli.commands.delivery_commands import confirm, listen, load, preflight, retry, void
from pipeline.cli.commands.import_commands import prepare, run
from pipeline.cli.commands.ledger_commands import copy_ledger
from pipeline.cli.commands.mapping_commands import check, preview, scaffold
from pipeline.cli.commands.removal_commands import forget, prune
from pipeline.cli.commands.report_commands import report, results, status
from pipeline.cli.commands.simulate_command import simulate
from pipeline.cli.console import open_standard_streams, write_line
from pipeline.cli.help_page import SETTINGS
from pipeline.cli.options import add_options
from pipeline.cli.signals import raise_signals
from pipeline.core.errors import did_you_mean
from pipeline.core.memory import collect_after_imports, no_threads_of_numpy, prefer_jemalloc

COMMANDS = (
    *(scaffold, check, preview, prepare, preflight, load, run, retry, confirm, void, listen),
    *(status, report, results, prune, forget, copy_ledger, simulate),
)
"""In the order of their use, which is that of the help."""


class Group(click.Group):
    """Lists commands in the order of their use, and reports wrong usage to scripts as well as to people."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **settings: Any) -> NoReturn:
        """Run a command and end the process."""
        given = sys.argv[1:] if args is None else list(args)
        # In its standalone mode click would print the error and exit before the JSON could be written.
        settings["standalone_mode"] = False
        try:
            sys.exit(super().main(given, *rest, **settings))
        except click.ClickException as error:
            error.show()
            if _wants_json(given):
                write_line(json.dumps({"exit_code": error.exit_code, "error": error.format_message()}))
            sys.exit(error.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of their definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, and suggest the nearest where there is none."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}{did_you_mean(args[0], list(self.commands))}")
        return super().resolve_command(ctx, args)


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a call asks for JSON, even one that cannot be parsed."""
    given = os.environ.get("OMNEO_IMPORT_JSON", "").strip().lower()
    return "--json" in arguments or given in ("1", "true", "t", "yes", "y", "on")


@click.group(cls=Group, context_settings=SETTINGS)
@add_options(COMMON)
@click.version_option(__version__, prog_name="omneo-import")
def cli(**_: Any) -> None:
    """Import years of point-of-sale transactions into Omneo, safely and repeatably.

    \b
    The usual way:
      omneo-import scaffold exports/ -o shop.yaml   draft a mapping, then edit it
      omneo-import check    -m shop.yaml exports/   see that it fits
      omneo-import prepare  -m shop.yaml exports/   stage all, write a report
      omneo-import load     latest                  send what was staged
      omneo-import confirm  latest                  see that it arrived

    OMNEO_TENANT (or OMNEO_BASE_URL) and OMNEO_TOKEN name the tenant and its token. Every option can also be
    set as OMNEO_IMPORT_<NAME>. The options below belong to every command, and may stand before or after it.
    """  # noqa: D301 (click's \b keeps the block as it is)


for each in COMMANDS:
    cli.add_command(each)


def main() -> None:
    """Run the `omneo-import` command."""
    open_standard_streams()
    raise_signals()
    prefer_jemalloc()
    no_threads_of_numpy()
    # Without this, Python looks for garbage once more at its end, which takes longer than the end itself.
    atexit.register(gc.freeze)
    collect_after_imports()
    cli(prog_name="omneo-import")
