"""Options and arguments that several commands share, each declared once, and what they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.cli.completion import mapping_names, run_names
from pipeline.cli.help_page import Option
from pipeline.cli.parameters import (
    AGE,
    DATE_OR_AGE,
    ENGINE_NAME,
    GATE_LIMIT,
    PATH_OR_URL,
    REFUSAL_LIMIT,
    REQUEST_RATE,
    SECONDS,
    SIZE,
    Count,
)
from pipeline.core.memory import Budget, cores
from pipeline.core.settings import base_url_from_environment

if TYPE_CHECKING:
    from pipeline.loading.delivery.delivery_options import DeliveryOptions
    from pipeline.workflows.prepare import PrepareOptions
    from pipeline.workflows.tenant.open_run import ReactionsPolicy

Function = TypeVar("Function", bound=Callable[..., Any])


def option(*names: str, **settings: Any) -> Callable[[Function], Function]:
    """A click option that shows its default and can also be set as `OMNEO_IMPORT_<NAME>`; see `Option`."""
    long = next(name for name in names if name.startswith("--"))
    variable = long.split("/")[0].removeprefix("--").replace("-", "_").upper()
    usual = {"cls": Option, "envvar": f"OMNEO_IMPORT_{variable}", "show_default": True}
    return click.option(*names, **{**usual, **settings})


def add_options(options: Sequence[Callable[[Function], Function]]) -> Callable[[Function], Function]:
    """Add several options to a command, in this order."""

    def decorate(function: Function) -> Function:
        for each in reversed(options):
            function = each(function)
        return function

    return decorate


FILE = click.Path(path_type=Path, dir_okay=False)
RUN = click.argument("reference", metavar="RUN", shell_complete=run_names)
OPTIONAL_RUN = click.argument("reference", metavar="[RUN]", required=False, shell_complete=run_names)
SOURCES = click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
MAPPING = option(
    "-m",
    "--mapping",
    required=True,
    metavar="FILE",
    help="The mapping: a file, or the name of a shipped one.",
    shell_complete=mapping_names,
)
YES = option("--yes", is_flag=True, help="Do not ask for confirmation.")
LEDGER = option(
    "--ledger",
    type=PATH_OR_URL,
    metavar="PATH|URL",
    help="Another ledger than the workdir's own, such as postgresql://…",
    heading="Tenant and records",
)
ENGINE = option(
    "--engine",
    type=ENGINE_NAME,
    default="local",
    help="Where the work runs: local, dask (processes here) or dask://host:port.",
    heading="Resources",
)

PREPARING = (
    option(
        "--max-rejected",
        type=GATE_LIMIT,
        help="The gate: more rejected than this ends with exit code 3. By default more than 25% and at least "
        "20, or all; 100% opens it.",
        heading="Gate",
    ),
    option(
        "--control",
        type=FILE,
        help="Control totals to compare with: a CSV with count and sum by day, store or currency.",
        heading="Gate",
    ),
    option(
        "--control-rows",
        type=click.Choice(["all", "sample"]),
        default="all",
        help="With `sample`, days, stores or currencies that the control totals lack are no differences.",
        heading="Gate",
    ),
    option(
        "--memory",
        type=SIZE,
        default="1G",
        help="About how much memory to use at most; more makes larger partitions and fewer temporary files.",
        heading="Resources",
    ),
    ENGINE,
    option(
        "--workers",
        type=Count(1, 256),
        help="Partitions at work at a time, by default as many as there are cores; they share --memory. A "
        "cluster uses what it has.",
        heading="Resources",
    ),
    option("--show-personal-data", is_flag=True, help="Do not mask emails and card numbers in the report."),
    option(
        "--all-files",
        is_flag=True,
        help="Of a directory or glob, take files imported before as well.",
        heading="Files",
    ),
    option(
        "--since",
        type=DATE_OR_AGE,
        help="Of a directory or glob, only files modified since: a date, or 7d.",
        heading="Files",
    ),
    option(
        "--settle",
        type=SECONDS,
        default="0s",
        help="Of a directory or glob, not files modified less than this ago.",
        heading="Files",
    ),
)

CONNECTING = (
    LEDGER,
    option(
        "--token-file",
        type=FILE,
        help="A file that holds the token, instead of OMNEO_TOKEN.",
        heading="Tenant and records",
    ),
    option(
        "--rate",
        "rate_per_min",
        type=REQUEST_RATE,
        help="Requests at most, such as 600/min; the server's limits are followed anyway.",
        heading="Pace",
    ),
    option("--concurrency", type=Count(1, 1024), default=64, help="Requests in flight.", heading="Pace"),
    option(
        "--give-up-after",
        "give_up_after_s",
        type=SECONDS,
        default="10m",
        help="How long an outage may last.",
        heading="Pace",
    ),
    option(
        "--grace",
        "grace_s",
        type=SECONDS,
        default="30s",
        help="How long requests in flight may take after a signal.",
        heading="Pace",
    ),
)

SENDING = (
    *CONNECTING,
    option(
        "--endpoint",
        type=click.Choice(["queue", "queue-create", "update-create", "batch"]),
        default="queue",
        help="The endpoint of Omneo to send to.",
        heading="Sending",
    ),
    option("--batch-size", type=Count(1, 500), default=100, help="For --endpoint batch.", heading="Sending"),
    option(
        "--on-change",
        type=click.Choice(["send", "hold", "skip"]),
        default="send",
        help="What to do with transactions that were delivered before with other contents.",
        heading="Sending",
    ),
    option(
        "--keep-old-items",
        is_flag=True,
        help="When a sale is updated, leave items in Omneo that it no longer has. Without it an update "
        "replaces all items (`delete_existing_items`).",
        heading="Sending",
    ),
    option(
        "--revive",
        is_flag=True,
        help="Send transactions that `void` has undone again, no longer void.",
        heading="Sending",
    ),
    option(
        "--in-doubt",
        type=click.Choice(["lookup", "resend"]),
        default="lookup",
        help="What to do with transactions of which it is unknown whether they arrived.",
        heading="Sending",
    ),
)
REACTIONS = (
    option(
        "--reactions",
        type=click.Choice(["hold", "allow"]),
        default="hold",
        help="Where old sales would run active triggers in Omneo: hold them back (exit code 3), or allow it, "
        "now and from now on for this run.",
        heading="Triggers in Omneo",
    ),
    option(
        "--historic-after",
        type=AGE,
        default="30d",
        help="The age from which on a sale is old. A few late ones, up to 5% and 500, are not held back.",
        heading="Triggers in Omneo",
    ),
)
FIRST = option(
    "--first",
    type=Count(1),
    metavar="N",
    help="Send only the next N transactions, the oldest first, then end.",
    heading="Sending",
)
MAX_REFUSED = option(
    "--max-refused",
    type=REFUSAL_LIMIT,
    help="Stop once so many in a row were all refused, or `off`; 50 at the start and 200 later by default.",
    heading="Sending",
)


def delivery_options(arguments: Mapping[str, Any]) -> DeliveryOptions:
    """The options about sending, taken from a command's arguments."""
    from pipeline.loading.delivery.decisions import InDoubtRule, OnChange
    from pipeline.loading.delivery.delivery_options import DeliveryOptions
    from pipeline.loading.http.endpoints import endpoint_named

    chosen = {each.name: arguments[each.name] for each in fields(DeliveryOptions) if each.name in arguments}
    if "endpoint" in chosen:
        chosen["endpoint"] = endpoint_named(chosen["endpoint"])
        chosen["on_change"] = OnChange(chosen["on_change"])
        chosen["in_doubt"] = InDoubtRule(chosen["in_doubt"])
    return DeliveryOptions(**chosen)


def require_local_first(engine: str, first: int | None) -> None:
    """Refuse `--first` on several workers, where none knows what the others send."""
    if first is not None and engine != "local":
        raise click.UsageError(f"--first cannot be combined with --engine {engine}.")


def reactions_policy(arguments: Mapping[str, Any]) -> ReactionsPolicy:
    """The options about reactions, taken from a command's arguments; the defaults where it has none."""
    from pipeline.workflows.tenant.open_run import ReactionsPolicy

    if "reactions" not in arguments:
        return ReactionsPolicy()
    historic_after = timedelta(seconds=arguments["historic_after"])
    return ReactionsPolicy(arguments["reactions"] == "allow", historic_after)


def prepare_options(arguments: Mapping[str, Any]) -> PrepareOptions:
    """The options about preparing, taken from a command's arguments."""
    from pipeline.workflows.prepare import PrepareOptions
    from pipeline.workflows.runs.incremental import FileSelection

    return PrepareOptions(
        max_rejected=arguments["max_rejected"],
        min_share=None if (share := arguments.get("min_share")) is None else Decimal(str(share)),
        control=arguments["control"],
        control_is_sample=arguments["control_rows"] == "sample",
        budget=Budget.of(arguments["memory"], arguments["workers"] or cores()),
        engine=arguments["engine"],
        workers=arguments["workers"],
        show_personal_data=arguments["show_personal_data"],
        rate_per_min=arguments["rate_per_min"],
        files=FileSelection(
            arguments["all_files"], arguments["since"], timedelta(seconds=arguments["settle"])
        ),
        ledger=arguments["ledger"],
        base_url=base_url_from_environment(),
    )
