"""The page about all commands, `docs/cli.md`, made from the commands themselves.

`python -m docs.tools.cli_reference > docs/cli.md` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from pipeline.cli.app import cli

_HEAD = """\
# Commands

Made by `python -m docs.tools.cli_reference`. RUN is a run's id, a unique prefix of one, or `latest`. Every
option can also be set as an environment variable, named behind it. These are options of every command:
"""


def reference() -> str:
    """The whole page."""
    commands = dict(cli.commands)
    common = _common(list(commands.values()))
    parts = [_HEAD, *_options(common), ""]
    for name, command in commands.items():
        parts += [f"## {name}", "", f"    {_usage(name, command)}", "", _about(command), ""]
        own = [each for each in _options_of(command) if each.name not in {one.name for one in common}]
        parts += [*_options(own), ""] if own else []
    return "\n".join(parts).rstrip() + "\n"


def _options_of(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


def _common(commands: list[click.Command]) -> list[click.Option]:
    """The options that all commands have."""
    names = set.intersection(*({str(each.name) for each in _options_of(command)} for command in commands))
    return [each for each in _options_of(commands[0]) if each.name in names]


def _usage(name: str, command: click.Command) -> str:
    # With the group's settings: click keeps the help option that a command was first asked for.
    context = click.Context(command, info_name=f"omneo-import {name}", **cli.context_settings)
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _about(command: click.Command) -> str:
    return "\n".join(line.strip() for line in (command.help or "").replace("\b\n", "").strip().splitlines())


def _options(options: list[click.Option]) -> Iterator[str]:
    yield "| option | | environment |"
    yield "|---|---|---|"
    for each in options:
        context = click.Context(click.Command("x"))
        names, about = each.get_help_record(context) or ("", "")
        cells = (f"`{names}`", about, f"`{each.envvar}`")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(reference())
