"""How `--help` of a command is laid out: what it does, an example, then its options below headings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import click

HEADINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "Files": ("all_files", "since", "settle"),
    "Gate": ("max_rejected", "min_share", "control", "control_rows"),
    "Sending": (
        *("first", "endpoint", "batch_size", "on_change", "keep_old_items", "revive", "in_doubt"),
        "max_refused",
    ),
    "Triggers in Omneo": ("reactions", "historic_after"),
    "Tenant and records": ("token_file", "ledger"),
    "Pace": ("rate_per_min", "concurrency", "give_up_after_s", "grace_s"),
    "Resources": ("engine", "workers", "memory"),
    "Monitoring": ("metrics_file", "notify", "traces"),
    "Answers": (
        *("latency_s", "jitter_s", "error_share", "error_status", "reset_before_share", "reset_after_share"),
        *("slow_share", "slow_s", "outage", "outage_after_s", "outage_for_s", "outage_status"),
        *("throttle_requests", "throttle_window_s", "retry_after_date", "refused_share"),
    ),
    "Queue": ("lost_share", "doubled_share", "job_delay_s", "job_jitter_s"),
    "What is kept and listed": (
        *("unkept_fields", "keeps_items", "list_ids", "list_without_items", "list_page_most"),
        *("aggregations_every_s", "with_triggers", "triggers_status"),
    ),
    "Webhooks": ("webhook_url", "webhook_delay_s", "webhook_twice_share", "webhook_never_share"),
    "Common options": ("workdir", "as_json", "log_format", "quiet", "verbose", "_click_default_help"),
}
"""Options by the heading below which they stand, in this order. All others come first, below `Options`."""
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_HEADING_OF: Final = {name: heading for heading, names in HEADINGS.items() for name in names}
_FIRST: Final = "Options"


def by_heading(parameters: Iterable[click.Parameter]) -> dict[str, list[click.Option]]:
    """The options among parameters by their heading, in the order of the help; without empty headings."""
    found: dict[str, list[click.Option]] = {heading: [] for heading in (_FIRST, *HEADINGS)}
    for each in parameters:
        if isinstance(each, click.Option):
            found[_HEADING_OF.get(str(each.name), _FIRST)].append(each)
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
