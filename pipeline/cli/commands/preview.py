"""`preview`: show the first payloads."""

from __future__ import annotations

import json

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console, printable
from pipeline.cli.options import MAPPING, SOURCES, option


@command
@MAPPING
@option(
    "-n", "--number", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many payloads."
)
@SOURCES
def preview(console: Console, mapping: str, sources: tuple[str, ...], number: int) -> int:
    """Show the first payloads beside their rows.

    Also shows what was dropped or rejected among the rows read for them.
    """
    from pipeline.mapping.language.load import load_mapping
    from pipeline.workflows.preparation.import_plan import plan_import
    from pipeline.workflows.preview import preview as first_payloads

    with console.listening() as emit:
        found = first_payloads(plan_import(load_mapping(mapping), sources, emit), number)
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
