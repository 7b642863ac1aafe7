"""How a command ended, as the outside learns it: over real sockets, from real files."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.core.errors import SettingsError
from pipeline.core.events import Notice, Progress, RunStarted, StageFinished, StageStarted
from pipeline.report.summary import empty_summary
from pipeline.simulator import SimulatorSettings
from pipeline.telemetry.metrics import MetricsFile
from pipeline.telemetry.notification import Notification
from pipeline.telemetry.tracing import Traces, traces_of
from pipeline.telemetry.watch import Ending, Watch
from pipeline.testing import LocalOmneo, local_omneo
from tests.command import Ended, call, ended, omneo_import, start
from tests.receipts import receipt, write_export
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

PERSON = "ann@example.com"


@dataclass
class Inbox:
    """An address that takes what is posted to it."""

    status: int = 200
    url: str = ""
    posts: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    box = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            box.posts.append((dict(self.headers), json.loads(body)))
            self.send_response(box.status)
            self.send_header("Location", f"{box.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        box.url = f"http://127.0.0.1:{server.server_port}/hook/s3cret"
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield box
        server.shutdown()
        thread.join()


@contextmanager
def tenant(**faults: float) -> Iterator[LocalOmneo]:
    with local_omneo(SimulatorSettings(unknown_profiles="enrol"), job_delay_s=0, **faults) as omneo:
        yield omneo


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "pos_lines.csv", [*receipt(1), *receipt(2), *receipt(3, sale_total="x")])


def run(export: Path, omneo: LocalOmneo, *arguments: object, source: object = None) -> Ended:
    workdir = ("--workdir", export.parent / "w", "--json")
    source = source or export
    return call("run", "-m", "pos_lines", source, *workdir, *arguments, env=omneo.environment())


def metrics(path: Path) -> dict[tuple[str, str], float]:
    """Values by name and by the label that is not the same everywhere."""
    common = {"command", "mapping", "workdir"}
    return {
        (
            sample.name.removeprefix("omneo_import_"),
            "".join(v for k, v in sample.labels.items() if k not in common),
        ): sample.value
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8"))
        for sample in family.samples
    }


# ── Metrics ─────────────────────────────────────────────────────────────────────────────────────────


def test_metrics_say_how_a_run_ended(export: Path, omneo: LocalOmneo, tmp_path: Path) -> None:
    path = tmp_path / "omneo.prom"
    ended = run(export, omneo, "--metrics-file", path)
    found = metrics(path)
    assert ended.code == found["exit_code", ""] == 0
    assert found["rows", "read"] == 6
    assert (found["transactions", "accepted"], found["rejected_transactions", "total_invalid"]) == (2, 1)
    assert (found["delivery_transactions", "delivered"], found["requests", "sent"]) == (2, 2)
    assert found["last_success_timestamp_seconds", ""] == found["last_end_timestamp_seconds", ""]
    assert 0 < found["stage_duration_seconds", "load"] < found["duration_seconds", ""]
    assert 'mapping="pos_lines"' in path.read_text(encoding="utf-8")
    assert 'command="run"' in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert PERSON not in path.read_text(encoding="utf-8")


def test_the_last_success_survives_a_failure(export: Path, omneo: LocalOmneo, tmp_path: Path) -> None:
    path = tmp_path / "omneo.prom"
    run(export, omneo, "--metrics-file", path)
    before = metrics(path)["last_success_timestamp_seconds", ""]
    assert run(export, omneo, "--metrics-file", path, source=tmp_path / "none.csv").code == 2
    after = metrics(path)
    assert (after["exit_code", ""], after["last_success_timestamp_seconds", ""]) == (2, before)
    assert ("rows", "read") not in after


def test_a_night_without_new_files_is_a_success(export: Path, omneo: LocalOmneo, tmp_path: Path) -> None:
    path = tmp_path / "omneo.prom"
    run(export, omneo, "--metrics-file", path)
    ended = run(export, omneo, "--metrics-file", path, source=tmp_path)
    assert "Nothing new" in ended.stderr
    found = metrics(path)
    assert (found["exit_code", ""], found["rows", "read"]) == (0, 0)


def test_a_file_that_cannot_be_written_changes_nothing_else(export: Path, omneo: LocalOmneo) -> None:
    ended = run(export, omneo, "--metrics-file", export.parent / "none" / "omneo.prom")
    assert (ended.code, ended.summary["delivery"]["delivered"]) == (0, 2)
    assert "--metrics-file did not work" in ended.stderr


@pytest.mark.parametrize("kind", ["link", "dead link", "fifo", "directory", "no directory", "read only"])
def test_only_a_plain_file_is_written(kind: str, tmp_path: Path) -> None:
    path, other = tmp_path / "omneo.prom", tmp_path / "other"
    other.write_text("somebody's")
    match kind:
        case "link":
            path.symlink_to(other)
        case "dead link":
            path.symlink_to(tmp_path / "none")
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "no directory":
            path = tmp_path / "none" / "omneo.prom"
        case "read only":
            path = Path("/proc/omneo.prom")
    watch = Watch("run", tmp_path, reporters={"--metrics-file": MetricsFile(path)})
    (notice,) = watch.end(0)
    assert f"--metrics-file did not work: {path} " in notice.message
    assert other.read_text() == "somebody's"
    assert {each.name for each in tmp_path.iterdir()} <= {"omneo.prom", "other"}


def test_a_running_command_is_in_the_file_until_its_end_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "omneo.prom"
    file = MetricsFile(path)
    list(Watch("load", tmp_path, reporters={"--metrics-file": file}).end(0))
    succeeded_at = metrics(path)["last_success_timestamp_seconds", ""]
    watch = Watch(
        "load", tmp_path, reporters={"--metrics-file": file}, live=file.write_running, live_every_s=0.05
    )
    watch(StageStarted("load", "transactions", 100, done=40))
    watch(Progress("load", 60, sent=20, in_doubt=2))
    deadline = time.monotonic() + 10
    while metrics(path).get(("running", "")) != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    running = metrics(path)
    assert (running["stage_done", "load"], running["stage_total", "load"]) == (60, 100)
    assert running["stage_in_doubt", "load"] == 2
    assert running["stage_left_seconds", "load"] > 0
    assert running["last_success_timestamp_seconds", ""] == succeeded_at
    assert ("exit_code", "") not in running
    assert list(watch.end(5)) == []
    time.sleep(0.1)  # twice as long as between two looks at a running command
    ended = metrics(path)
    assert (ended["running", ""], ended["exit_code", ""]) == (0, 5)
    assert ("stage_done", "load") not in ended


def test_links_that_were_put_beside_a_file_of_metrics_are_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "omneo.prom", tmp_path / "other"
    other.write_text("somebody's")
    for name in (".omneo.prom.part", "omneo.prom.part", "omneo.prom.tmp"):
        (tmp_path / name).symlink_to(other)
    other.chmod(0o600)
    watch = Watch("run", tmp_path, reporters={"--metrics-file": MetricsFile(path)})
    assert list(watch.end(0)) == []
    assert metrics(path)["exit_code", ""] == 0
    assert (other.read_text(), stat.S_IMODE(other.stat().st_mode)) == ("somebody's", 0o600)


def test_a_full_disk_leaves_the_file_of_metrics_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "omneo.prom"
    watch = Watch("run", tmp_path, reporters={"--metrics-file": MetricsFile(path)})
    assert list(watch.end(0)) == []
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        (notice,) = watch.end(4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be written: File too large" in notice.message
    assert [each.name for each in tmp_path.iterdir()] == ["omneo.prom"]
    assert path.read_bytes() == before


# ── Messages ────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_holds_the_summary_and_nothing_personal(
    export: Path, omneo: LocalOmneo, inbox: Inbox
) -> None:
    ended = run(export, omneo, "--notify", inbox.url)
    ((headers, body),) = inbox.posts
    assert body == {"command": "run", "exit_code": 0, "outcome": "complete", "error": "", **ended.summary}
    assert headers["Content-Type"] == "application/json"
    reported = json.dumps([headers, body])
    assert omneo.token not in reported
    assert PERSON not in reported


def test_a_run_that_the_api_stops_is_reported(export: Path, inbox: Inbox) -> None:
    with tenant(outage=True) as omneo:
        # Without the question for triggers, which would be the first to get no answer.
        options = ("--reactions", "allow", "--give-up-after", "0s")
        ended = run(export, omneo, "--notify", inbox.url, *options)
    ((_, body),) = inbox.posts
    assert (ended.code, body["exit_code"], body["outcome"]) == (5, 5, "stopped_by_api")
    assert body["error"]
    assert body["delivery"]["in_doubt"] == 2, "a server that fails may have kept what it was sent"


def test_a_call_that_cannot_start_is_reported(export: Path, omneo: LocalOmneo, inbox: Inbox) -> None:
    run(export, omneo, "--notify", inbox.url, source=export.parent / "none.csv")
    ((_, body),) = inbox.posts
    assert set(body) == {"command", "exit_code", "outcome", "error"}
    assert (body["exit_code"], body["outcome"]) == (2, "cannot_start")
    assert "none.csv does not exist" in body["error"]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_address_that_does_not_take_it_changes_nothing(
    export: Path, omneo: LocalOmneo, inbox: Inbox, status: int
) -> None:
    inbox.status = status
    ended = run(export, omneo, "--notify", inbox.url)
    assert (ended.code, len(inbox.posts)) == (0, 1), "asked once, and no redirect is followed"
    assert f"--notify did not work: 127.0.0.1 answered {status}" in ended.stderr
    assert "s3cret" not in ended.stderr + ended.stdout


def test_an_address_where_nobody_is_changes_nothing(export: Path, omneo: LocalOmneo) -> None:
    ended = run(export, omneo, "--notify", "http://127.0.0.1:9/hook/s3cret")
    assert ended.code == 0
    assert "--notify did not work: 127.0.0.1 cannot be reached" in ended.stderr
    assert "s3cret" not in ended.stderr


@contextmanager
def server(answer: Callable[[socket.socket, Event], None]) -> Iterator[tuple[str, Event]]:
    """An address that treats whoever calls as it likes; gives it, and what tells that somebody called."""
    called, over = Event(), Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                called.set()
                Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/s3cret", called
        over.set()


def silent(connection: socket.socket, over: Event) -> None:
    over.wait(30)


def dripping(connection: socket.socket, over: Event) -> None:
    while not over.wait(0.05):
        connection.sendall(b"H")


def endless(connection: socket.socket, over: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"x" * 65536)


def failing_slowly(connection: socket.socket, over: Event) -> None:
    over.wait(1)
    connection.sendall(b"HTTP/1.1 503 No s3cret\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n")


def hanging_up(connection: socket.socket, over: Event) -> None:
    connection.recv(1)


def closed_port(connection: socket.socket, over: Event) -> None:
    """Stands for an address where nobody listens."""


SERVERS = [silent, dripping, endless, failing_slowly, hanging_up, closed_port]


@contextmanager
def address_of(answer: Callable[[socket.socket, Event], None]) -> Iterator[str]:
    if answer is closed_port:
        yield "http://127.0.0.1:9/s3cret"
        return
    with server(answer) as (url, _):
        yield url


@pytest.mark.parametrize("answer", SERVERS)
def test_a_message_is_not_waited_for(answer: Callable[[socket.socket, Event], None], tmp_path: Path) -> None:
    within_s = 5 if answer is endless else 0.5  # only here an answer has to arrive on a busy machine
    with address_of(answer) as url:
        watch = Watch("run", tmp_path, reporters={"--notify": Notification(url)}, within_s=within_s)
        begun = time.monotonic()
        notices = list(watch.end(0))
    assert time.monotonic() - begun < within_s + 1.5
    assert len(notices) == (answer is not endless), "its head said that it was taken"
    assert "s3cret" not in "".join(notice.message for notice in notices)


@pytest.mark.parametrize("url", ["https://hooks.invalid/s3cret", "https://127.0.0.1:9/s3cret"])
@pytest.mark.parametrize(
    "environment",
    [
        {"HTTPS_PROXY": "foo://user:s3cret@127.0.0.1:9"},
        {"HTTPS_PROXY": "socks5://user:s3cret@127.0.0.1:9"},
        {"HTTPS_PROXY": "http://user:s3cret@127.0.0.1:9"},
        {"HTTPS_PROXY": "http://user:s3cret@127.0.0.1:port"},
        {"HTTPS_PROXY": "http://127.0.0.1:9", "SSL_CERT_FILE": "/none/s3cret.pem"},
    ],
)
def test_an_environment_that_is_wrong_for_messages_changes_nothing(
    environment: dict[str, str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    watch = Watch("run", tmp_path, reporters={"--notify": Notification(url)})
    (notice,) = watch.end(0)
    assert "--notify did not work" in notice.message
    assert "s3cret" not in notice.message


def test_all_that_hangs_hangs_at_once(tmp_path: Path) -> None:
    def hang(_: Ending) -> None:
        time.sleep(30)

    watch = Watch("run", tmp_path, reporters={"--one": hang, "--two": hang}, within_s=0.3)
    begun = time.monotonic()
    reported = [notice.message for notice in watch.end(0)]
    assert time.monotonic() - begun < 2
    assert reported == [
        f"{name} did not work: it was not finished within 0.3 s." for name in ("--one", "--two")
    ]


def test_a_signal_during_the_report_changes_nothing(export: Path, omneo: LocalOmneo) -> None:
    with server(silent) as (url, called):
        arguments = ("run", "-m", "pos_lines", export, "--workdir", export.parent / "w", "--notify", url)
        process = start(*arguments, "--json", env=omneo.environment())
        assert called.wait(60)
        process.send_signal(signal.SIGTERM)
        stopped = ended(process)
    assert (stopped.code, stopped.summary["delivery"]["delivered"]) == (0, 2)


@pytest.mark.parametrize("when", ["prepare", "load"])
def test_a_run_that_a_signal_stops_is_reported(inbox: Inbox, when: str, tmp_path: Path) -> None:
    sales = write_export(tmp_path / "pos_lines.csv", [row for n in range(300) for row in receipt(n)])
    with tenant(latency_s=0.05) as omneo:
        arguments = ("run", "-m", "pos_lines", sales, "--workdir", tmp_path / "w", "--notify", inbox.url)
        process = start(*arguments, "--concurrency", "2", "--json", env=omneo.environment())
        begun = (lambda: (tmp_path / "w").exists()) if when == "prepare" else lambda: omneo.arrivals()
        wait_for(begun)
        process.send_signal(signal.SIGTERM)
        stopped = ended(process)
    ((_, body),) = inbox.posts
    assert (stopped.code, body["exit_code"], body["outcome"]) == (143, 143, "terminated")
    assert when == "prepare" or body["delivery"]["pending"] > 0


@pytest.mark.parametrize(
    "url",
    ["http://example.com/hook", "https://user:word@example.com", "example.com", "https://", "http://[", ""],
)
def test_addresses_in_the_clear_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="--notify"):
        Notification(url)


def test_personal_data_in_an_error_is_masked(inbox: Inbox, tmp_path: Path) -> None:
    watch = Watch("run", tmp_path, reporters={"--notify": Notification(inbox.url)})
    assert list(watch.end(2, f"no customer {PERSON}")) == []
    assert PERSON not in json.dumps(inbox.posts)


# ── Traces ──────────────────────────────────────────────────────────────────────────────────────────


def test_stages_become_spans() -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), trace.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    traces = Traces(provider.get_tracer("test"), "run", provider.force_flush)
    watch = Watch("run", Path("w"), traces=traces, summary=empty_summary())
    for event in (
        RunStarted("r-1", "run"),
        StageStarted("prepare", "rows"),
        Notice("files_known", "2 files were imported before"),
        StageFinished("prepare", 7, 0.5),
        StageStarted("load", "transactions", 5),
    ):
        watch(event)
    assert list(watch.end(5)) == []
    prepare, load, root = kept.get_finished_spans()
    assert [span.name for span in (prepare, load, root)] == ["prepare", "load", "omneo-import run"]
    assert prepare.parent
    assert prepare.parent.span_id == root.context.span_id
    assert prepare.attributes
    assert prepare.attributes["omneo_import.done"] == 7
    assert root.attributes == {"omneo_import.run_id": "r-1", "omneo_import.exit_code": 5}
    assert [event.name for event in root.events] == ["notice"]
    assert not root.status.is_ok


@pytest.mark.parametrize("answer", SERVERS)
def test_a_collector_is_not_waited_for(
    answer: Callable[[socket.socket, Event], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("opentelemetry.sdk.trace")
    with address_of(answer) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url.replace("127", "user:s3cret@127"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")
        traces, notices = traces_of("run")
        watch = Watch("run", tmp_path, traces=traces)
        begun = time.monotonic()
        notices += tuple(watch.end(0))
    assert time.monotonic() - begun < 4
    assert len(notices) == (answer is not endless)
    assert "s3cret" not in "".join([*(notice.message for notice in notices), *capfd.readouterr()])


def test_a_dead_collector_changes_nothing_of_a_run(export: Path, omneo: LocalOmneo) -> None:
    pytest.importorskip("opentelemetry.sdk.trace")
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:s3cret@127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization Bearer s3cret",
    }
    workdir = ("--workdir", export.parent / "w", "--json", "--log-format", "json")
    arguments = ("run", "-m", "pos_lines", export, *workdir, "--traces")
    ended = omneo_import(*arguments, env=omneo.environment() | environment)
    assert (ended.code, ended.summary["delivery"]["delivered"]) == (0, 2)
    reported = [json.loads(line)["message"] for line in ended.stderr.splitlines() if '"not_told"' in line]
    assert [message.split(":")[0] for message in reported] == [
        "OpenTelemetry cannot use the value of OTEL_EXPORTER_OTLP_HEADERS",
        "--traces did not work",
    ]
    assert "s3cret" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "s3cret"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "s3cret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "s3cret:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://s3cret:port/"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/none/s3cret.pem"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization Bearer s3cret"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "s3cret"),
        ("OTEL_TRACES_SAMPLER", "s3cret"),
        ("OTEL_PYTHON_METER_PROVIDER", "s3cret"),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "s3cret"),
    ],
)
def test_a_variable_that_opentelemetry_cannot_use_is_named_and_stops_nothing(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("opentelemetry.sdk.trace")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "sales")
    monkeypatch.setenv(name, value)
    _, (notice,) = traces_of("run")
    assert f"cannot use the value of {name}" in notice.message
    assert "SERVICE_NAME" not in notice.message
    assert "s3cret" not in "".join([notice.message, *capfd.readouterr()])
    assert os.environ[name] == value


def test_without_opentelemetry_the_extra_is_named(
    export: Path, omneo: LocalOmneo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    ended = run(export, omneo, "--traces")
    assert ended.code == 2
    assert "pip install 'omneo-import[otel]'" in ended.stderr
    assert omneo.arrivals() == []
