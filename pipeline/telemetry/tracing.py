"""Traces of a command by OpenTelemetry, configured by its own `OTEL_…` variables.

The variables may be meant for other programs of the machine, so a wrong one never stops a command. The
library logs errors with addresses, headers and tracebacks, and delays the end of the process while it tries
again. Here its log is only counted, and it does not wait.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pipeline import __version__
from pipeline.core.errors import SettingsError
from pipeline.core.events import Event, Notice, RunStarted, StageFinished, StageStarted
from pipeline.loading.loading_events import Throttled
from pipeline.telemetry.watch import OUTCOMES, Ending, ReportFailed

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer
    from requests import PreparedRequest, Response, Session

LOGGERS: Final = ("opentelemetry", "requests", "urllib3")
EXPORT_WITHIN_S: Final = 1.5
"""Timeout of a batch of spans with its repeats, where no variable sets one; less than `REPORT_WITHIN_S`."""
OWN_TIMEOUT: Final = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
OWN_SESSION: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
)
ADDRESSES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
FILES: Final = tuple(
    f"OTEL_EXPORTER_OTLP_{signal}{kind}"
    for signal in ("TRACES_", "")
    for kind in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
)


@dataclass(frozen=True)
class Tracing:
    """OpenTelemetry, set up or not.

    Attributes:
        provider: Makes tracers; None where a variable prevents it.
        wrong: Names of variables whose values cannot be used.
        log: What the library logs.
    """

    provider: TracerProvider | None
    wrong: Sequence[str]
    log: LibraryLog

    @property
    def tracer(self) -> Tracer | None:
        """Makes spans; None where there is no provider."""
        return self.provider.get_tracer("omneo-import", __version__) if self.provider else None


class LibraryLog(logging.Handler):
    """Receives the library's log instead of stderr, and keeps only the type of each error.

    Attributes:
        warnings: How many warnings and errors there were.
        errors: The cause of each error: an answer's status or the type of an exception; may be empty.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings = 0
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Count a warning or an error."""
        self.warnings += 1
        if record.levelno >= logging.ERROR:
            self.errors.append(_cause(record))


def _cause(record: logging.LogRecord) -> str:
    values = record.args if isinstance(record.args, tuple) else ()
    raised = [*values, record.exc_info and record.exc_info[1]]
    statuses = [f"it answered {value}" for value in values if type(value) is int]
    return next(iter(statuses + [type(each).__name__ for each in raised if isinstance(each, Exception)]), "")


def set_up() -> Tracing:
    """Set OpenTelemetry up with OTLP over HTTP. Wrong variables are named in the result.

    Raises:
        SettingsError: OpenTelemetry is not installed.
    """
    log = _captured_log()
    try:
        provider = _provider()
    except ImportError:
        raise SettingsError(
            "--traces needs OpenTelemetry, which is not installed.", hint="pip install 'omneo-import[otel]'"
        ) from None
    except Exception:
        # For a wrong variable the library raises exceptions of any type.
        return Tracing(None, _wrong_variables(), log)
    if unusable := [name for name, value in _otel_variables().items() if not _is_usable(name, value)]:
        return Tracing(None, unusable, log)
    return Tracing(provider, _wrong_variables() if log.warnings else (), _captured_log())


def _captured_log() -> LibraryLog:
    """Replace the handlers of the library's loggers."""
    log = LibraryLog()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [log], False
    return log


def _provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    given = _otel_variables()
    exporter = OTLPSpanExporter(
        timeout=None if given.keys() & OWN_TIMEOUT else EXPORT_WITHIN_S,
        session=None if given.keys() & OWN_SESSION else _session(),
    )
    resource = Resource.create({"service.name": "omneo-import", "service.version": __version__})
    # Otherwise the end of the process waits for a collector that does not answer.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _session() -> Session:
    import requests

    class HeadOnly(requests.Session):
        """Reads only the head of an answer: its body, of any length, is of no use here."""

        def send(self, request: PreparedRequest, **settings: Any) -> Response:
            with super().send(request, **(settings | {"stream": True})) as answer:
                return answer

    return HeadOnly()


def _otel_variables() -> dict[str, str]:
    """The `OTEL_…` variables that are set."""
    return {name: value for name, value in os.environ.items() if name.startswith("OTEL_") and value.strip()}


def _is_usable(name: str, value: str) -> bool:
    """Whether a value can be used; checks what the library itself only finds when it sends."""
    if name in FILES:
        return Path(value).is_file()
    if name not in ADDRESSES:
        return True
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _wrong_variables() -> list[str]:
    """The variables that the library rejects on their own; all of them where it rejects none alone."""
    given = _otel_variables()
    wrong = [name for name, value in given.items() if not _is_accepted({name: value})]
    return wrong or sorted(given)


def _is_accepted(variables: Mapping[str, str]) -> bool:
    log = _captured_log()
    try:
        with _environment(variables):
            _provider().shutdown()
    except Exception:
        return False
    return not log.warnings


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Only these `OTEL_…` variables, for as long as the block runs."""
    before = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    try:
        for name in before:
            del os.environ[name]
        os.environ.update(variables)
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(before)


# ── Spans ────────────────────────────────────────────────────────────────────────────────────────────


class Traces:
    """A span for the command, with one below it for each stage; notices are events of the command's span.

    Args:
        tracer: Makes the spans.
        command: The command's name.
        flush: Sends the spans that are waiting.
        failures: The causes of batches that could not be sent, filled by the library's log.
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
        """Start or end a span, or add an event."""
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
        """End all spans and send them."""
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
            raise ReportFailed(
                f"the collector did not take all spans{why}; see the OTEL_EXPORTER_OTLP_… variables"
            )

    def _begun(self, event: StageStarted) -> Span:
        from opentelemetry.trace import set_span_in_context

        span = self._tracer.start_span(event.stage, set_span_in_context(self._root))
        span.set_attribute("omneo_import.unit", event.unit)
        if event.total is not None:
            span.set_attribute("omneo_import.total", event.total)
        return span


def traces_of(command: str) -> tuple[Traces | None, tuple[Notice, ...]]:
    """Start traces as the `OTEL_…` variables say, and give notices about wrong ones.

    The traces are None where a wrong variable prevents them.

    Raises:
        SettingsError: OpenTelemetry is not installed.
    """
    tracing = set_up()
    tracer, provider = tracing.tracer, tracing.provider
    text = f"OpenTelemetry cannot use the value of {' or '.join(tracing.wrong)}"
    if tracer is None or provider is None:
        return None, (Notice("not_told", f"--traces is left out: {text}."),)
    notices = (Notice("not_told", f"{text}: its default is used."),) if tracing.wrong else ()
    return Traces(tracer, command, provider.shutdown, tracing.log.errors), notices
