"""What a shell offers for the runs and mappings of a command line, besides its commands and options.

click writes the script for the shell: `_OMNEO_IMPORT_COMPLETE=bash_source omneo-import`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def run_names(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """`latest` and the ids of the finished runs in the working directory, newest first."""
    from pipeline.staging.workdir import Workdir

    workdir = ctx.params.get("workdir")
    runs = Workdir(workdir.expanduser()).runs if isinstance(workdir, Path) else []
    ids = [run.run_id for run in reversed(runs) if run.manifest.exists()]
    return _those_that_begin_with(typed, ["latest", *ids])


def mapping_names(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """The mappings in this directory and the shipped ones; where none matches, the shell completes files."""
    here = sorted(path.name for path in Path().glob("*.y*ml"))
    return _those_that_begin_with(typed, [*here, *_shipped()]) or [CompletionItem(typed, type="file")]


def shipped_names(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """The shipped mappings."""
    return _those_that_begin_with(typed, _shipped())


def _shipped() -> tuple[str, ...]:
    from pipeline.mapping.language.shipped import shipped_names as names

    return names()


def _those_that_begin_with(typed: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(each) for each in names if each.startswith(typed)]
