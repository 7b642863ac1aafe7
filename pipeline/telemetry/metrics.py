"""A file of metrics about a command, in Prometheus' text form, for the node exporter.

It is written every 15 s while the command runs, and once more when it has ended.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline import __version__
from pipeline.core.storage.files import replacing
from pipeline.report.summary import Summary
from pipeline.telemetry.watch import Ending, ReportFailed, Running

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

METRICS_MODE: Final = 0o644
"""Unlike all other files: the node exporter runs as another user, and counts are not personal data."""
READ_AT_MOST: Final = 1 << 20
"""Characters that are read of an existing file; ours have a few thousand."""
SUCCESS: Final = "omneo_import_last_success_timestamp_seconds"


@dataclass(frozen=True)
class MetricsFile:
    """Writes the file, whole or not at all.

    Attributes:
        path: The exporter reads it only if it ends in `.prom`.
    """

    path: Path

    def __call__(self, ending: Ending) -> None:
        """Replace the file; the time of the last success is kept after a failure."""
        self._write(metrics_of(ending, ending.at if ending.exit_code == 0 else self._last_success()))

    def write_running(self, running: Running) -> None:
        """Replace the file by how far a command is; the time of the last success is kept."""
        self._write(metrics_of_running(running, self._last_success()))

    def _write(self, registry: CollectorRegistry) -> None:
        from prometheus_client import generate_latest

        data = generate_latest(registry)
        try:
            self._require_plain_file()
            with replacing(self.path, METRICS_MODE) as file:
                file.write(data)
        except OSError as error:
            raise ReportFailed(
                f"{self.path} cannot be written: {error.strerror or type(error).__name__}"
            ) from None

    def _require_plain_file(self) -> None:
        """Refuse links and devices, which would be replaced by a file."""
        with suppress(FileNotFoundError):
            # `lstat`, because `stat` would follow a link.
            if not stat.S_ISREG(os.lstat(self.path).st_mode):
                raise ReportFailed(f"{self.path} is not a plain file")

    def _last_success(self) -> float | None:
        from prometheus_client.parser import text_string_to_metric_families

        # A file that cannot be read or parsed must not keep the new one from being written.
        with suppress(OSError, ValueError):
            self._require_plain_file()
            with self.path.open(encoding="utf-8") as file:
                text = file.read(READ_AT_MOST)
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == SUCCESS:
                        return float(sample.value)
        return None


_Gauge = tuple[str, str, Mapping[str, float], str]
"""Name, what it is, values by the label's, and the label; a value by an empty text has none."""


def metrics_of(ending: Ending, last_success: float | None) -> CollectorRegistry:
    """The gauges about an ending.

    Args:
        ending: How a command ended.
        last_success: When a command last ended with exit code 0, in seconds since 1970; None before that.
    """
    return _registry(ending, last_success, _of_ending(ending))


def metrics_of_running(running: Running, last_success: float | None) -> CollectorRegistry:
    """The gauges about a command that runs.

    Args:
        running: How far it is.
        last_success: As for `metrics_of`.
    """
    return _registry(running, last_success, _of_running(running))


def _registry(
    about_command: Ending | Running, last_success: float | None, gauges: Iterable[_Gauge]
) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    labels = {each: getattr(about_command, each) for each in ("command", "mapping", "workdir")}
    known: list[_Gauge] = [("info", "The product's version.", {__version__: 1.0}, "version")]
    if last_success is not None:
        name = SUCCESS.removeprefix("omneo_import_")
        known.append((name, "When a command last ended with exit code 0.", {"": last_success}, ""))
    for name, about, values, label in (*known, *gauges):
        names = [*labels, label] if label else [*labels]
        metric = Gauge(f"omneo_import_{name}", about, names, registry=registry)
        for key, value in values.items():
            metric.labels(*labels.values(), *([key] if label else [])).set(value)
    return registry


def _of_running(running: Running) -> Iterator[_Gauge]:
    paces = running.paces
    yield "running", "Whether the command still runs.", {"": 1}, ""
    yield "running_seconds", "How long the running command has taken so far.", {"": running.seconds}, ""
    yield "stage_done", "What a running stage has done.", {k: v.last.done for k, v in paces.items()}, "stage"
    totals = {stage: total for stage, pace in paces.items() if (total := pace.started.total) is not None}
    yield "stage_total", "What a running stage has to do, where known.", totals, "stage"
    rates = {stage: pace.per_s or 0.0 for stage, pace in paces.items()}
    yield "stage_per_second", "What a running stage did a second over the last minute.", rates, "stage"
    left = {stage: left_s for stage, pace in paces.items() if (left_s := pace.left_s) is not None}
    yield "stage_left_seconds", "How long a running stage will take yet, where known.", left, "stage"
    doubts = {stage: pace.last.in_doubt for stage, pace in paces.items()}
    yield "stage_in_doubt", "Transactions of a running stage that are in doubt.", doubts, "stage"


def _of_ending(ending: Ending) -> Iterator[_Gauge]:
    yield "running", "Whether the command still runs.", {"": 0}, ""
    yield "exit_code", "Exit code of the last command.", {"": ending.exit_code}, ""
    yield "last_end_timestamp_seconds", "When the last command ended.", {"": ending.at}, ""
    yield "duration_seconds", "How long the last command took.", {"": ending.seconds}, ""
    yield "stage_duration_seconds", "How long each stage of it took.", ending.stages, "stage"
    if ending.summary is not None:
        yield from _counts(ending.summary)


def _counts(summary: Summary) -> Iterator[_Gauge]:
    yield "rows", "Rows of the source.", vars(summary.rows), "kind"
    yield "transactions", "Transactions by what became of them.", vars(summary.transactions), "outcome"
    yield "dropped_transactions", "Dropped transactions by code.", summary.dropped, "code"
    yield "rejected_transactions", "Rejected transactions by code.", summary.rejected, "code"
    yield "warned_transactions", "Transactions with a warning, by code.", summary.warnings, "code"
    yield "delivery_transactions", "Accepted transactions by state.", vars(summary.delivery), "state"
    yield "requests", "Requests on the wire.", vars(summary.requests), "kind"
