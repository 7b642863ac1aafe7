"""Commands on a mapping: draft it, check it, preview what it makes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline.cli.command import command
from pipeline.cli.completion import shipped_names
from pipeline.cli.console import Console, printable
from pipeline.cli.options import FILE, MAPPING, SOURCES, option
from pipeline.cli.parameters import Count
from pipeline.core.errors import SettingsError
from pipeline.core.text.wording import count


@command
@option("-o", "--output", type=FILE, help="Where to write it; stdout by default.")
@option(
    "--from",
    "name",
    metavar="NAME",
    help="Copy a shipped mapping instead of drafting one.",
    shell_complete=shipped_names,
)
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
def scaffold(console: Console, sources: tuple[str, ...], output: Path | None, name: str | None) -> int:
    """Draft a mapping from a sample.

    What is unsure is marked, what is missing is left open.

    Example:
      omneo-import scaffold exports/ -o shop.yaml
      omneo-import scaffold --from shopify_orders -o shop.yaml
    """
    from pipeline.mapping.language.draft_marks import open_values, unsure_lines
    from pipeline.mapping.scaffold.draft import copy_of
    from pipeline.workflows.scaffold import drafted

    if bool(sources) == bool(name):
        raise click.UsageError("Name a SOURCE to draft from, or a shipped mapping with --from.")
    text = copy_of(name) if name else drafted(sources)
    if output is None:
        console.say(text.rstrip("\n"))
    else:
        _write_new(output, text)
        console.say(f"{output}: look for `unsure` and `open:`, then `omneo-import check -m {output}`")
    marks = {"unsure": len(unsure_lines(text)), "open": open_values(text)}
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


@command
@MAPPING
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
def check(console: Console, mapping: str, sources: tuple[str, ...]) -> int:
    """Report what is wrong with a mapping.

    Each problem is a line `file:line:column: what, what was expected`. With SOURCE, the columns of the source
    are checked too. A value that is still `{open: ...}` is a problem; those marked `# unsure` are counted.
    The mapping's own `tests` are run; what differs from what they expect is a problem.

    Example:
      omneo-import check -m shop.yaml exports/
    """
    from pipeline.mapping.compile.check import check_mapping
    from pipeline.mapping.language.draft_marks import unsure_lines, unsure_sentence
    from pipeline.mapping.language.mapping_file import load_mapping
    from pipeline.workflows.mapping_tests import failures
    from pipeline.workflows.preparation.import_plan import plan_import, raise_problems

    loaded = load_mapping(mapping)
    with console.listening() as emit:
        if sources:
            plan_import(loaded, sources, emit)
        else:
            raise_problems(check_mapping(loaded))
    raise_problems(failures(loaded))
    unsure = unsure_lines(loaded.document.text)
    tests = len(loaded.spec.tests)
    notes = [f"{count(tests, 'test')} passed"] if tests else []
    notes += [unsure_sentence(unsure)] if unsure else []
    console.say("; ".join([f"{loaded.path}: no problems found", *notes]))
    console.result({"mapping": str(loaded.path), "problems": [], "unsure": len(unsure), "tests": tests})
    return 0


@command
@MAPPING
@option("-n", "--number", type=Count(1, 1000), default=5, help="How many payloads.")
@option("--as-test", is_flag=True, help="Write them as `tests` to paste into the mapping, people made up.")
@SOURCES
def preview(console: Console, mapping: str, sources: tuple[str, ...], number: int, *, as_test: bool) -> int:
    """Show the first payloads, as prepare would stage them, beside their rows.

    Also shows what was dropped or rejected before them.

    Example:
      omneo-import preview -m shop.yaml exports/july.csv -n 3
    """
    from pipeline.mapping.language.mapping_file import load_mapping
    from pipeline.workflows.drafted_tests import drafted_tests
    from pipeline.workflows.preparation.import_plan import plan_import
    from pipeline.workflows.preview import preview as first_payloads

    loaded = load_mapping(mapping)
    with console.listening() as emit:
        found = first_payloads(plan_import(loaded, sources, emit), number, emit)
    if as_test:
        text = drafted_tests(loaded, found.samples)
        console.say(printable(text))
        console.result({"tests": text})
        return 0
    for sample in found.samples:
        for row in sample.rows:
            console.say(printable(f"# {row.source}:{row.line} {json.dumps(row.cells, ensure_ascii=False)}"))
        console.say(printable(json.dumps(sample.payload, indent=2, ensure_ascii=False)) + "\n")
    for reason in found.reasons.iter_rows(named=True):
        place = f"{reason['source']}:{reason['line']}"
        console.say(printable(f"{place}: {reason['outcome']} {reason['code']}: {reason['message']}"))
    payloads = [sample.payload for sample in found.samples]
    console.result({"payloads": payloads, "reasons": found.reasons.to_dicts()})
    return 0
