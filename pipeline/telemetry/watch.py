"""How a command ended, reported to the outside: a file of metrics, a message to an address, traces.

All of it listens to events and to the summary. None of it can change how a command ends, and all of it
together delays the end by at most `TELL_WITHIN_S`: whatever fails or hangs becomes a notice. Nothing reported
here holds a token, a payload or a cell; of a failure only its type is shown, since the words of libraries
hold addresses and headers.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from pipeline import __version__
from pipeline.core.errors import SettingsError
from pipeline.core.events import Event, Notice, RunStarted, StageFinished, StageStarted
from pipeline.core.files import replacing
from pipeline.core.privacy import mask_text
from pipeline.core.settings import is_loopback
from pipeline.loading.loading_events import Throttled
from pipeline.report.summary import Summary
from pipeline.telemetry.tracing import set_up

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer
    from prometheus_client import CollectorRegistry

TELL_WITHIN_S: Final = 2.0
"""How long the end of a command waits for all that is reported: twice what a healthy network needs."""
METRICS_MODE: Final = 0o644
"""Unlike all other files: the node exporter runs as another user, and counts are no personal data."""
METRICS_AT_MOST: Final = 1 << 20
"""Characters that are read of a file of metrics; ours have some thousands."""
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


class NotTold(Exception):
    """Somebody could not be told; its words hold no secret."""


Teller = Callable[[Ending], None]
"""Tells an ending to somebody. Of what it raises only `NotTold` is shown in words."""


@dataclass
class Watch:
    """Listens to one command and tells how it ended.

    Attributes:
        command: The command's name.
        workdir: The working directory.
        mapping: The mapping, as far as it is known.
        tellers: Who is told, by what for: `--metrics-file`, `--notify`.
        listeners: Are given every event, and told in the end.
        notices: What could not be set up.
        within_s: How long telling may take, all of it together.
        summary: The run in numbers, once it is known.
        error: What stopped the run, once it is known.
    """

    command: str
    workdir: Path | str
    mapping: str = ""
    tellers: Mapping[str, Teller] = field(default_factory=dict)
    listeners: tuple[Traces, ...] = ()
    notices: tuple[Notice, ...] = ()
    within_s: float = TELL_WITHIN_S
    summary: Summary | None = None
    error: str = ""
    _stages: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, StageFinished):
            self._stages[event.stage] = self._stages.get(event.stage, 0.0) + event.seconds
        for listener in self.listeners:
            with suppress(Exception):  # a library that fails must not stop the work that it watches
                listener(event)

    def end(self, exit_code: int, error: str = "") -> Iterator[Notice]:
        """Tell everybody at once; gives a notice for each who could not be told."""
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
        until = time.monotonic() + self.within_s
        tellers = dict(self.tellers)
        tellers.update(("--traces", listener.end) for listener in self.listeners)
        told = {option: _in_background(partial(tell, ending)) for option, tell in tellers.items()}
        for option, done in told.items():
            if problem := _problem(done, until - time.monotonic(), self.within_s):
                yield Notice("not_told", f"{option} did not work: {problem}.")


def _in_background(work: Callable[[], None]) -> Future[None]:
    """Do something in a thread that the end of the process does not wait for."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done


def _problem(done: Future[None], wait_s: float, within_s: float) -> str:
    """Why something was not told; empty where it was."""
    try:
        problem = done.exception(max(wait_s, 0))
    except TimeoutError:
        return f"it was not finished within {within_s:g} s"
    if problem is None or isinstance(problem, NotTold):
        return str(problem or "")
    return type(problem).__name__


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
        try:
            self._write(data)
        except OSError as error:
            raise NotTold(
                f"{self.path} cannot be written: {error.strerror or type(error).__name__}"
            ) from None

    def _write(self, data: bytes) -> None:
        self._refuse_others()
        with replacing(self.path, METRICS_MODE) as file:
            file.write(data)

    def _refuse_others(self) -> None:
        """Leave links and devices alone: what they stand for belongs to somebody else."""
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(self.path).st_mode):
                raise NotTold(f"{self.path} is not a plain file")

    def _last_success(self) -> float | None:
        from prometheus_client.parser import text_string_to_metric_families

        with suppress(OSError, ValueError):
            self._refuse_others()
            with self.path.open(encoding="utf-8") as file:
                text = file.read(METRICS_AT_MOST)
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

    Raises:
        SettingsError: The address is another.
    """

    url: str = field(repr=False)

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
        import httpx

        host = _parts(self.url).hostname or ""
        timeout, by_environment = httpx.Timeout(TELL_WITHIN_S), not is_loopback(host)
        try:
            # Only the head of the answer is read: its body may be of any length.
            with (
                httpx.Client(timeout=timeout, trust_env=by_environment, follow_redirects=False) as client,
                client.stream("POST", self.url, json=body) as answer,
            ):
                status, taken = answer.status_code, answer.is_success
        except Exception as error:  # a proxy's or a certificate's settings raise whatever they like
            raise NotTold(f"{host} cannot be reached: {type(error).__name__}") from None
        if not taken:
            raise NotTold(f"{host} answered {status}")


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
        failures: Gets a word for each batch that the collector did not take.
    """

    def __init__(
        self, tracer: Tracer, command: str, flush: Callable[[], object], failures: Sequence[str] = ()
    ) -> None:
        self._failures = failures
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
        if self._failures:
            why = f" ({last})" if (last := self._failures[-1]) else ""
            raise NotTold(
                f"the collector did not take all spans{why}; see the OTEL_EXPORTER_OTLP_… variables"
            )

    def _begun(self, event: StageStarted) -> Span:
        from opentelemetry.trace import set_span_in_context

        span = self._tracer.start_span(event.stage, set_span_in_context(self._root))
        span.set_attribute("omneo_import.unit", event.unit)
        if event.total is not None:
            span.set_attribute("omneo_import.total", event.total)
        return span


def traces(command: str) -> tuple[tuple[Traces, ...], tuple[Notice, ...]]:
    """Traces that go where the `OTEL_…` variables say, and what is wrong with those; maybe no traces then.

    A wrong variable is no error: it may be set for others on the machine, and the sales are to be imported
    all the same.

    Raises:
        SettingsError: OpenTelemetry is not installed.
    """
    tracing = set_up()
    tracer, provider = tracing.tracer, tracing.provider
    text = f"OpenTelemetry cannot use the value of {' or '.join(tracing.wrong)}"
    if tracer is None or provider is None:
        return (), (Notice("not_told", f"--traces is left out: {text}."),)
    notices = (Notice("not_told", f"{text}: its default is used."),) if tracing.wrong else ()
    return (Traces(tracer, command, provider.shutdown, tracing.log.errors),), notices
