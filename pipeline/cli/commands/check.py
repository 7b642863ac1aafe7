"""`check`: report what is wrong with a mapping."""

from __future__ import annotations

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import MAPPING


@command
@MAPPING
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
def check(console: Console, mapping: str, sources: tuple[str, ...]) -> int:
    """Report what is wrong with a mapping.

    Each problem is a line `file:line:column: what, what was expected`. With SOURCE, the columns of the source
    are checked too. A value that is still `{open: ...}` is a problem; those marked `# unsure` are counted.
    """
    from pipeline.mapping.compile.check import check_mapping
    from pipeline.mapping.language.draft_marks import unsure_marks, unsure_sentence
    from pipeline.mapping.language.load import load_mapping
    from pipeline.workflows.preparation.import_plan import plan_import, raise_problems

    loaded = load_mapping(mapping)
    with console.listening() as emit:
        if sources:
            plan_import(loaded, sources, emit)
        else:
            raise_problems(check_mapping(loaded))
    unsure = unsure_marks(loaded.document.text)
    console.say(f"{loaded.path}: no problems found{f'; {unsure_sentence(unsure)}' if unsure else ''}")
    console.result({"mapping": str(loaded.path), "problems": [], "unsure": unsure})
    return 0
