"""`scaffold`: draft a mapping."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import FILE, option
from pipeline.core.errors import SettingsError


@command
@option("-o", "--output", type=FILE, help="Where to write it; stdout by default.")
@option("--from", "name", metavar="NAME", help="Copy a shipped mapping instead of drafting one.")
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
def scaffold(console: Console, sources: tuple[str, ...], output: Path | None, name: str | None) -> int:
    """Draft a mapping from a sample.

    What is unsure is marked, what is missing is left open.
    """
    from pipeline.mapping.language.draft_marks import open_values, unsure_marks
    from pipeline.mapping.scaffold.draft import copy_of, draft
    from pipeline.workflows.sources import samples

    if bool(sources) == bool(name):
        raise click.UsageError("Name a SOURCE to draft from, or a shipped mapping with --from.")
    text = copy_of(name) if name else draft(samples(sources))
    if output is None:
        console.say(text.rstrip("\n"))
    else:
        _write_new(output, text)
        console.say(f"{output}: look for `unsure` and `open:`, then `omneo-import check -m {output}`")
    marks = {"unsure": unsure_marks(text), "open": open_values(text)}
    console.result({"mapping": str(output) if output else None, **marks})
    return 0


def _write_new(path: Path, text: str) -> None:
    """Write a file, but never over an existing one: it may hold somebody's work."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SettingsError(f"{path} exists already.", hint="Name another with -o, or remove it.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.") from None
