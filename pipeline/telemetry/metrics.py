"""A file of metrics about the last command, in Prometheus' text form, for the node exporter."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline import __version__
from pipeline.core.files import replacing
from pipeline.report.summary import Summary
from pipeline.telemetry.watch import Ending, ReportFailed

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
        from prometheus_client import generate_latest

        last_success = ending.at if ending.exit_code == 0 else self._last_success()
        data = generate_latest(metrics_of(ending, last_success))
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
            if not stat.S_ISREG(os.lstat(self.path).st_mode):
                raise ReportFailed(f"{self.path} is not a plain file")

    def _last_success(self) -> float | None:
        from prometheus_client.parser import text_string_to_metric_families

        with suppress(OSError, ValueError):
            self._require_plain_file()
            with self.path.open(encoding="utf-8") as file:
                text = file.read(READ_AT_MOST)
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == SUCCESS:
                        return float(sample.value)
        return None


def metrics_of(ending: Ending, last_success: float | None) -> CollectorRegistry:
    """The gauges about an ending.

    Args:
        ending: How a command ended.
        last_success: When a command last ended with exit code 0, in seconds since 1970; None before that.
    """
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    labels = {"command": ending.command, "mapping": ending.mapping, "workdir": ending.workdir}

    def gauge(name: str, about: str, values: Mapping[str, float], label: str = "") -> None:
        names = [*labels, label] if label else [*labels]
        metric = Gauge(f"omneo_import_{name}", about, names, registry=registry)
        for key, value in values.items():
            metric.labels(*labels.values(), *([key] if label else [])).set(value)

    gauge("info", "The product's version.", {__version__: 1}, "version")
    gauge("exit_code", "Exit code of the last command.", {"": ending.exit_code})
    gauge("last_end_timestamp_seconds", "When the last command ended.", {"": ending.at})
    if last_success is not None:
        gauge(
            SUCCESS.removeprefix("omneo_import_"),
            "When a command last ended with exit code 0.",
            {"": last_success},
        )
    gauge("duration_seconds", "How long the last command took.", {"": ending.seconds})
    gauge("stage_duration_seconds", "How long each stage of it took.", ending.stages, "stage")
    if ending.summary is not None:
        for name, about, values, label in _counts(ending.summary):
            gauge(name, about, values, label)
    return registry


def _counts(summary: Summary) -> Iterator[tuple[str, str, Mapping[str, float], str]]:
    yield "rows", "Rows of the source.", vars(summary.rows), "kind"
    yield "transactions", "Transactions by what became of them.", vars(summary.transactions), "outcome"
    yield "dropped_transactions", "Dropped transactions by code.", summary.dropped, "code"
    yield "rejected_transactions", "Rejected transactions by code.", summary.rejected, "code"
    yield "warned_transactions", "Transactions with a warning, by code.", summary.warnings, "code"
    yield "delivery_transactions", "Accepted transactions by state.", vars(summary.delivery), "state"
    yield "requests", "Requests on the wire.", vars(summary.requests), "kind"
