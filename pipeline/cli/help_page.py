"""How `--help` of a command is laid out: what it does, an example, then its options below headings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import click

FIRST: Final = "Options"
COMMON: Final = "Common options"
HEADINGS: Final = (
    *(FIRST, "Files", "Gate", "Sending", "Triggers in Omneo", "Tenant and records", "Pace", "Resources"),
    *("Monitoring", "Answers", "Queue", "What is kept and listed", "Webhooks", COMMON),
)
"""The headings below which options stand, in this order."""
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Option(click.Option):
    """An option that stands below a heading in the help, one of `HEADINGS`."""

    def __init__(self, *names: Any, heading: str = FIRST, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.heading = heading


def by_heading(parameters: Iterable[click.Parameter]) -> dict[str, list[click.Option]]:
    """The options among parameters by their heading, in the order of the help; without empty headings.

    `--help` itself, which click makes, is a common one.
    """
    found: dict[str, list[click.Option]] = {heading: [] for heading in HEADINGS}
    for each in parameters:
        if isinstance(each, click.Option):
            found[each.heading if isinstance(each, Option) else COMMON].append(each)
    return {heading: options for heading, options in found.items() if options}


class Command(click.Command):
    """A command whose options stand below headings in its help, the common ones last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each heading."""
        for heading, options in by_heading(self.get_params(ctx)).items():
            with formatter.section(heading):
                formatter.write_dl([each.get_help_record(ctx) or ("", "") for each in options])


def unwrapped_example(text: str) -> str:
    """A docstring as click's help, with the lines after `Example:` as they are."""
    return text.replace("Example:\n", "\b\nExample:\n")
