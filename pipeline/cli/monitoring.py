"""Reports to the outside how a command ended: as metrics, as a message to an address, as traces."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.command import BUG
from pipeline.cli.console import Console
from pipeline.cli.options import FILE, add_options, option
from pipeline.cli.signals import Signalled
from pipeline.core.errors import ImportToolError, NothingNew

if TYPE_CHECKING:
    from pipeline.telemetry.watch import Watch

MONITORING = (
    option(
        "--metrics-file",
        type=FILE,
        help="Write how far it is, and how it ended, as Prometheus metrics for the node exporter.",
        heading="Monitoring",
    ),
    option(
        "--notify",
        metavar="URL",
        help="Post the summary to this address, however it ends.",
        heading="Monitoring",
    ),
    option(
        "--traces",
        is_flag=True,
        help="Send OpenTelemetry traces, as the OTEL_… variables say.",
        heading="Monitoring",
    ),
)


def monitored(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that report how a command ended, and report it, however it ends."""

    @add_options(MONITORING)
    @functools.wraps(function)
    def call(
        console: Console, metrics_file: Path | None, notify: str | None, traces: bool, **arguments: Any
    ) -> int:
        if not (metrics_file or notify or traces):
            return function(console, **arguments)
        watch = _watch(console, metrics_file, notify, traces=traces)
        watch.mapping = arguments.get("mapping", "")
        code, error = BUG, ""
        try:
            with console.listening() as emit:
                for notice in watch.notices:
                    emit(notice)
            code = function(replace(console, watch=watch), **arguments)
        except BaseException as problem:
            code, error = _ending(problem, watch)
            raise
        else:
            return code
        finally:
            # Neither a fault nor a signal that comes meanwhile changes how the command ends.
            with suppress(Exception, Signalled), console.listening() as emit:
                for notice in watch.end(code, error):
                    emit(notice)

    return call


def _watch(console: Console, metrics_file: Path | None, notify: str | None, *, traces: bool) -> Watch:
    from pipeline.telemetry.metrics import MetricsFile
    from pipeline.telemetry.notification import Notification
    from pipeline.telemetry.tracing import traces_of
    from pipeline.telemetry.watch import Reporter, Watch

    command = click.get_current_context().info_name or ""
    reporters: dict[str, Reporter] = {}
    metrics = MetricsFile(metrics_file) if metrics_file else None
    if metrics:
        reporters["--metrics-file"] = metrics
    if notify:
        reporters["--notify"] = Notification(notify)
    spans, notices = traces_of(command) if traces else (None, ())
    return Watch(
        command,
        console.workdir,
        reporters=reporters,
        live=metrics.write_running if metrics else None,
        traces=spans,
        notices=notices,
    )


def _ending(problem: BaseException, watch: Watch) -> tuple[int, str]:
    """The exit code that an exception becomes, and what may be reported: the text of a bug may hold data."""
    from pipeline.report.summary import empty_summary

    match problem:
        case NothingNew():
            watch.summary = empty_summary()
            return 0, ""
        case ImportToolError():
            return problem.exit_code, problem.message
        case Signalled():
            return problem.exit_code, "Stopped before it was finished."
        case _:
            return BUG, type(problem).__name__
