"""OpenTelemetry, set up by its own `OTEL_…` variables, which others on the machine may have written.

The library logs what it does not like, with addresses, headers and tracebacks, and by default delays the end
of the process while it tries again. Here it does neither: what it logs is only counted, and it does not wait.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pipeline import __version__
from pipeline.core.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer
    from requests import PreparedRequest, Response, Session

LOGGERS: Final = ("opentelemetry", "requests", "urllib3")
EXPORT_WITHIN_S: Final = 1.5
"""For one batch of spans with its repeats, unless a variable says otherwise: less than the end may wait."""
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
    """OpenTelemetry, ready or not.

    Attributes:
        provider: Makes tracers; None where the variables do not allow one.
        wrong: Names of variables with a value that cannot be used.
        log: What the library complains about.
    """

    provider: TracerProvider | None
    wrong: Sequence[str]
    log: Complaints

    @property
    def tracer(self) -> Tracer | None:
        """Makes spans; None where there is no provider."""
        return self.provider.get_tracer("omneo-import", __version__) if self.provider else None


class Complaints(logging.Handler):
    """Takes what is logged in place of stderr, and keeps no more of it than the type of an error.

    Attributes:
        warnings: How many warnings and errors there were.
        errors: For each error what caused it: an answer's status or the type of an exception; may be empty.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings = 0
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Count a complaint."""
        self.warnings += 1
        if record.levelno >= logging.ERROR:
            self.errors.append(_cause(record))


def _cause(record: logging.LogRecord) -> str:
    values = record.args if isinstance(record.args, tuple) else ()
    raised = [*values, record.exc_info and record.exc_info[1]]
    statuses = [f"it answered {value}" for value in values if type(value) is int]
    return next(iter(statuses + [type(each).__name__ for each in raised if isinstance(each, Exception)]), "")


def set_up() -> Tracing:
    """Set OpenTelemetry up, by OTLP over HTTP; wrong variables are named, and are no errors.

    Raises:
        SettingsError: OpenTelemetry is not installed.
    """
    log = _heard()
    try:
        provider = _provider()
    except ImportError:
        raise SettingsError(
            "--traces needs OpenTelemetry, which is not installed.", hint="pip install 'omneo-import[otel]'"
        ) from None
    except Exception:
        return Tracing(None, _wrong_variables(), log)
    if unusable := [name for name, value in _given().items() if not _is_usable(name, value)]:
        return Tracing(None, unusable, log)
    return Tracing(provider, _wrong_variables() if log.warnings else (), _heard())


def _heard() -> Complaints:
    """Listen to the library's loggers from now on, instead of whoever did before."""
    log = Complaints()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [log], False
    return log


def _provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    given = _given()
    exporter = OTLPSpanExporter(
        timeout=None if given.keys() & OWN_TIMEOUT else EXPORT_WITHIN_S,
        session=None if given.keys() & OWN_SESSION else _session(),
    )
    resource = Resource.create({"service.name": "omneo-import", "service.version": __version__})
    provider = TracerProvider(
        resource=resource, shutdown_on_exit=False
    )  # which would wait for a dead collector
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


def _given() -> dict[str, str]:
    """The `OTEL_…` variables that are set."""
    return {name: value for name, value in os.environ.items() if name.startswith("OTEL_") and value.strip()}


def _is_usable(name: str, value: str) -> bool:
    """Whether a value can be used, as far as the library finds it out only when it sends."""
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
    """The variables that the library does not take alone; all that are set where it takes each of them."""
    given = _given()
    wrong = [name for name, value in given.items() if not _is_taken({name: value})]
    return wrong or sorted(given)


def _is_taken(variables: Mapping[str, str]) -> bool:
    log = _heard()
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
