"""How a command ended, told to the outside: a file of metrics, a message to an address, traces.

All of it listens to events and to the summary; none of it can change how a command ends. Nothing told
here holds a token, a payload or a cell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from pipeline import __version__
from pipeline.errors import SettingsError
from pipeline.events import Event, Notice, RunStarted, StageFinished, StageStarted
from pipeline.loading.events import Throttled
from pipeline.report.privacy import mask_text
from pipeline.report.summary import Summary
from pipeline.settings import is_loopback

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer
    from prometheus_client import CollectorRegistry

NOTIFY_TIMEOUT_S: Final = 10.0
METRICS_MODE: Final = 0o644
"""Unlike all other files: the node exporter runs as another user, and counts are no personal data."""
SUCCESS: Final = "omneo_import_last_success_timestamp_seconds"
OUTCOMES: Final = {
    0: "complete",
    1: "bug",
    2: "cannot_start",
    3: "gate_closed",
    4: "incomplete",
    5: "stopped_by_api",
    6: "workdir_busy",
    130: "interrupted",
    143: "terminated",
}
"""What an exit code means, in a word."""


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        command: Its name.
        mapping: The mapping's file without its suffix; empty where it is not known.
        workdir: The working directory.
        exit_code: As the shell gets it.
        error: What stopped it; empty where nothing did.
        seconds: How long it took.
        at: When it ended, seconds since 1970.
        summary: The run in numbers; None where there is no run.
        stages: How long each stage took, in seconds.
    """

    command: str
    mapping: str
    workdir: str
    exit_code: int
    error: str
    seconds: float
    at: float
    summary: Summary | None
    stages: Mapping[str, float]


Teller = Callable[[Ending], None]
"""Tells an ending to somebody; raises OSError or ValueError where that does not work."""


@dataclass
class Watch:
    """Listens to one command and tells how it ended.

    Attributes:
        command: The command's name.
        workdir: The working directory.
        mapping: The mapping, as far as it is known.
        tellers: Who is told, by what for: `--metrics-file`, `--notify`.
        listeners: Are given every event.
        summary: The run in numbers, once it is known.
        error: What stopped the run, once it is known.
    """

    command: str
    workdir: Path | str
    mapping: str = ""
    tellers: Mapping[str, Teller] = field(default_factory=dict)
    listeners: tuple[Traces, ...] = ()
    summary: Summary | None = None
    error: str = ""
    _stages: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, StageFinished):
            self._stages[event.stage] = self._stages.get(event.stage, 0.0) + event.seconds
        for listener in self.listeners:
            listener(event)

    def end(self, exit_code: int, error: str = "") -> Iterator[Notice]:
        """Tell everybody; gives a notice for each who could not be told."""
        seconds = time.monotonic() - self._begun
        ending = Ending(
            self.command,
            Path(self.mapping).stem,
            str(self.workdir.absolute()) if isinstance(self.workdir, Path) else self.workdir,
            exit_code,
            error or self.error,
            seconds,
            time.time(),
            self.summary,
            self._stages,
        )
        for option, tell in self.tellers.items():
            try:
                tell(ending)
            except (OSError, ValueError) as problem:
                yield Notice("not_told", f"{option} did not work: {problem}.")
        for listener in self.listeners:
            listener.end(ending)


# ── Metrics ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class MetricsFile:
    """Writes the last ending in Prometheus' text form, whole or not at all, for the node exporter.

    Attributes:
        path: Ends in `.prom`, or the exporter does not read it.
    """

    path: Path

    def __call__(self, ending: Ending) -> None:
        """Write the file anew; the time of the last success survives a failure."""
        from prometheus_client import generate_latest

        last_success = ending.at if ending.exit_code == 0 else self._last_success()
        data = generate_latest(metrics_of(ending, last_success))
        draft = self.path.with_name(f".{self.path.name}.part")
        try:
            with draft.open("wb") as file:
                os.fchmod(file.fileno(), METRICS_MODE)
                file.write(data)
            draft.replace(self.path)
        except OSError as error:
            raise OSError(f"{self.path} cannot be written: {error.strerror or error}") from None

    def _last_success(self) -> float | None:
        from prometheus_client.parser import text_string_to_metric_families

        with suppress(OSError, ValueError):
            text = self.path.read_text(encoding="utf-8")
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == SUCCESS:
                        return float(sample.value)
        return None


def metrics_of(ending: Ending, last_success: float | None) -> CollectorRegistry:
    """The gauges about an ending.

    Args:
        ending: How a command ended.
        last_success: When one last ended well, seconds since 1970; None where that never happened.
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


# ── A message ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Notification:
    """Posts the ending as JSON to an address: once, without following redirects.

    The object is the summary, where there is a run, with `command`, `exit_code`, `outcome` and `error`
    before it.

    Attributes:
        url: `https://`, or `http://` to a loopback address. It may hold a secret, so it is told nowhere.
        timeout_s: For the whole of it.

    Raises:
        SettingsError: The address is another.
    """

    url: str = field(repr=False)
    timeout_s: float = NOTIFY_TIMEOUT_S

    def __post_init__(self) -> None:
        parts = _parts(self.url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not secure or not parts.hostname or parts.username or parts.password:
            raise SettingsError(
                "--notify wants an https:// address without user or password; http:// is allowed only to a "
                "loopback address such as 127.0.0.1."
            )

    def __call__(self, ending: Ending) -> None:
        """Post it."""
        body: dict[str, Any] = {
            "command": ending.command,
            "exit_code": ending.exit_code,
            "outcome": OUTCOMES.get(ending.exit_code, "signalled"),
            "error": mask_text(ending.error),
        }
        body |= ending.summary.as_dict() if ending.summary else {}
        # In a thread, since httpx's own limit is for each pause: an answer can drip in for ever.
        answered: Future[None] = Future()
        Thread(target=self._post, args=(body, answered), daemon=True).start()
        try:
            answered.result(self.timeout_s)
        except TimeoutError:
            host = _parts(self.url).hostname
            raise OSError(f"{host} did not answer within {self.timeout_s:g} s") from None

    def _post(self, body: Mapping[str, Any], answered: Future[None]) -> None:
        try:
            self._send(body)
            answered.set_result(None)
        except BaseException as error:
            answered.set_exception(error)

    def _send(self, body: Mapping[str, Any]) -> None:
        import httpx

        host = _parts(self.url).hostname or ""
        try:
            with httpx.Client(timeout=self.timeout_s, trust_env=not is_loopback(host)) as client:
                answer = client.post(self.url, json=body, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OSError(f"{host} cannot be reached: {type(error).__name__}") from None
        if not answer.is_success:
            raise OSError(f"{host} answered {answer.status_code}")


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SettingsError("--notify is not an address.") from None
    return parts


# ── Traces ──────────────────────────────────────────────────────────────────────────────────────────


class Traces:
    """OpenTelemetry: a span for the command, one below it for each stage; notices are events of them.

    Args:
        tracer: Makes the spans.
        command: The command's name.
        flush: Sends what is waiting.
    """

    def __init__(self, tracer: Tracer, command: str, flush: Callable[[], object]) -> None:
        self._tracer = tracer
        self._flush = flush
        self._root = tracer.start_span(f"omneo-import {command}")
        self._stages: dict[str, Span] = {}

    def __call__(self, event: Event) -> None:
        """Begin or end a span, or add to one."""
        match event:
            case RunStarted():
                self._root.set_attribute("omneo_import.run_id", event.run_id)
            case StageStarted():
                self._stages[event.stage] = self._begun(event)
            case StageFinished() if event.stage in self._stages:
                span = self._stages.pop(event.stage)
                span.set_attribute("omneo_import.done", event.done)
                span.end()
            case Notice() | Throttled():
                self._root.add_event(event.name, event.fields())

    def end(self, ending: Ending) -> None:
        """End what is open, and send it."""
        from opentelemetry.trace import StatusCode

        for span in self._stages.values():
            span.end()
        self._root.set_attribute("omneo_import.exit_code", ending.exit_code)
        if ending.exit_code:
            self._root.set_status(StatusCode.ERROR, OUTCOMES.get(ending.exit_code, "signalled"))
        self._root.end()
        self._flush()

    def _begun(self, event: StageStarted) -> Span:
        from opentelemetry.trace import set_span_in_context

        span = self._tracer.start_span(event.stage, set_span_in_context(self._root))
        span.set_attribute("omneo_import.unit", event.unit)
        if event.total is not None:
            span.set_attribute("omneo_import.total", event.total)
        return span


def traces(command: str) -> Traces:
    """Traces that go where the `OTEL_…` variables say, by OTLP over HTTP.

    Raises:
        SettingsError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SettingsError(
            "--traces needs OpenTelemetry, which is not installed.", hint="pip install 'omneo-import[otel]'"
        ) from None
    resource = Resource.create({"service.name": "omneo-import", "service.version": __version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider.get_tracer("omneo-import", __version__), command, provider.shutdown)
