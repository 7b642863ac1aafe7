"""What every command has: the common options, a console, and an exit code for every way to end."""

from __future__ import annotations

import errno
import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click import ParameterSource

from pipeline.cli.console import Console, printable
from pipeline.cli.help_page import SETTINGS, Command, unwrapped_example
from pipeline.cli.options import add_options, option
from pipeline.cli.parameters import DIRECTORY_OR_URL
from pipeline.cli.signals import Signalled
from pipeline.core.errors import ImportToolError, MappingError, NothingNew, SettingsError

BUG = 1
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)

COMMON = (
    option(
        "--workdir",
        type=DIRECTORY_OR_URL,
        default=Path(".omneo-import"),
        help="Where runs and the ledger are kept; runs may be in an object store, such as s3://…",
        heading="Common options",
    ),
    option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON object as the last line of stdout.",
        heading="Common options",
    ),
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="What stderr is for: people or machines.",
        heading="Common options",
    ),
    option(
        "-q", "--quiet", is_flag=True, help="Say only what a person should know.", heading="Common options"
    ),
    option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Say more, and show the traceback of a bug.",
        heading="Common options",
    ),
)


def command(function: Callable[..., int]) -> click.Command:
    """Make a command of a function that takes a `Console` first and returns an exit code."""

    @functools.wraps(function)
    def call(**arguments: Any) -> None:
        common = _common(arguments)
        verbosity = -1 if common["quiet"] else int(common["verbose"])
        console = Console(common["workdir"], common["as_json"], common["log_format"], verbosity)
        sys.exit(_exit_code(console, lambda: function(console, **arguments)))

    text = unwrapped_example(inspect.getdoc(function) or "")
    make = click.command(
        function.__name__.replace("_", "-"), cls=Command, help=text, context_settings=SETTINGS
    )
    return make(add_options(COMMON)(call))


def _common(arguments: dict[str, Any]) -> dict[str, Any]:
    """Take the common options out of a command's arguments; those before the command count too."""
    here = click.get_current_context()
    before, typed = here.find_root(), ParameterSource.COMMANDLINE
    taken = {name: arguments.pop(name) for name in before.params}
    return taken | {
        name: value
        for name, value in before.params.items()
        if before.get_parameter_source(name) is typed and here.get_parameter_source(name) is not typed
    }


def _exit_code(console: Console, work: Callable[[], int]) -> int:
    """Do the work of a command, and show the error that ends it."""
    # All files hold personal data, so only their owner may read them.
    os.umask(0o077)
    try:
        return work()
    except MappingError as error:
        # Without a prefix: each line begins with file:line:column, to which editors can jump.
        return _failed(console, error.exit_code, str(error), prefix="")
    except NothingNew as nothing:
        return _nothing_new(console, str(nothing))
    except ImportToolError as error:
        return _failed(console, error.exit_code, str(error))
    # `Group.main` reports wrong usage.
    except click.ClickException:
        raise
    except Signalled as signalled:
        return _failed(console, signalled.exit_code, "Stopped before it was finished; nothing was sent.")
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return _disk_failed(console, error)
        return _bug(console, error)


def _disk_failed(console: Console, error: OSError) -> int:
    text = f"The disk of {console.workdir} cannot be written: {error.strerror}."
    hint = "Fix that and run the command again. Nothing is lost: `load` goes on where it was."
    return _failed(console, SettingsError.exit_code, f"{text}\n  {hint}")


def _bug(console: Console, error: Exception) -> int:
    if console.verbosity > 0:
        traceback.print_exc()
    hint = "" if console.verbosity > 0 else "\n  Run it again with -v to see where, and report it."
    return _failed(console, BUG, f"A bug in omneo-import: {type(error).__name__}: {error}{hint}")


def _nothing_new(console: Console, text: str) -> int:
    from pipeline.report.summary import empty_summary

    console.say(printable(text))
    console.result(empty_summary().as_dict())
    return 0


def _failed(console: Console, exit_code: int, text: str, prefix: str = "Error: ") -> int:
    console.error(exit_code, text, prefix)
    console.result({"exit_code": exit_code, "error": text})
    return exit_code
