"""`simulate`: a local Omneo."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import FILE, Function, add_options, option
from pipeline.cli.parameters import Count
from pipeline.cli.signals import serve_until_signalled
from pipeline.simulator import Faults

_METAVARS = {"s": "SECONDS", "share": "SHARE", "status": "STATUS", "fields": "NAMES"}
"""By the last word of a fault's name."""
_HEADINGS = {
    **dict.fromkeys(("lost_share", "doubled_share", "job_delay_s", "job_jitter_s"), "Queue"),
    **dict.fromkeys(
        (
            *("unkept_fields", "keeps_items", "list_ids", "list_without_items", "list_page_most"),
            *("aggregations_every_s", "triggers_status"),
        ),
        "What is kept and listed",
    ),
    **dict.fromkeys(("webhook_delay_s", "webhook_twice_share", "webhook_never_share"), "Webhooks"),
}
"""By the name of a fault, the heading of its option; all others are about answers."""


def _fault_option(fault: Field[Any]) -> Callable[[Function], Function]:
    """The option for a fault of the local Omneo."""
    name, about = f"--{fault.name.replace('_', '-')}", fault.metadata["help"]
    heading = _HEADINGS.get(fault.name, "Answers")
    if isinstance(fault.default, bool):
        return option(name, is_flag=True, help=about, heading=heading)
    choices = fault.metadata.get("choices")
    kind = click.Choice(choices) if choices else type(fault.default)
    metavar = None if choices else _METAVARS.get(fault.name.rpartition("_")[2], "N")
    return option(name, type=kind, metavar=metavar, default=fault.default, help=about, heading=heading)


@command
@option("--host", metavar="ADDRESS", default="127.0.0.1", help="A loopback address.")
@option(
    "--port",
    type=Count(0, 65535),
    metavar="PORT",
    default=0,
    show_default=False,
    help="A free one by default.",
)
@option("--db", type=FILE, help="Where its state is kept; in memory by default.")
@option(
    "--seed-file",
    type=FILE,
    help="JSON with the profiles, locations, currencies, triggers and automations it has.",
)
@add_options([_fault_option(fault) for fault in fields(Faults)])
@option(
    "--webhook-url",
    metavar="URL",
    help="A loopback address to which it posts every transaction, such as that of `listen`.",
    heading="Webhooks",
)
@option(
    "--with-triggers",
    is_flag=True,
    help="The tenant has active triggers, which mail and award points; by default it has none.",
    heading="What is kept and listed",
)
def simulate(
    console: Console,
    host: str,
    port: int,
    db: Path | None,
    seed_file: Path | None,
    webhook_url: str | None,
    with_triggers: bool,
    **faults: Any,
) -> int:
    """Run a local Omneo for rehearsals.

    It listens on loopback only, and its faults can be changed while it runs. Without profiles in a seed file,
    the tenant knows every customer it is sent. The token is OMNEO_TOKEN, by default `simulator-token`.
    Webhooks are signed with OMNEO_WEBHOOK_SECRET, by default `simulator-secret`.

    Example:
      omneo-import simulate --port 8080 --throttle-requests 1000
    """
    from pipeline.simulator import EXAMPLE_TRIGGERS, SimulatorSettings, read_seed_file, serve

    chosen: dict[str, Any] = read_seed_file(seed_file) if seed_file else {}
    chosen["unknown_profiles"] = "guest" if chosen.get("profiles") else "enrol"
    if token := os.environ.get("OMNEO_TOKEN", "").strip():
        chosen["token"] = token
    if secret := os.environ.get("OMNEO_WEBHOOK_SECRET", "").strip():
        chosen["webhook_secret"] = secret
    if with_triggers:
        chosen["triggers"] = (*chosen.get("triggers", ()), *EXAMPLE_TRIGGERS)
    if db:
        chosen["db"] = db
    settings = SimulatorSettings(**chosen, webhook_url=webhook_url, faults=Faults(**faults))

    def run_server() -> None:
        serve(settings, host=host, port=port, on_ready=lambda url: console.say(f"OMNEO_BASE_URL={url}"))

    return serve_until_signalled(console, run_server)
