"""A load on the workers of an engine: each leases parts of the run in the ledger and delivers them.

A worker does what a load that is started by hand beside others does, so what holds for those holds here:
one pace for all, and a part whose worker died is taken over once its lease has ended.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from pipeline.core.errors import ImportToolError, SettingsError
from pipeline.core.events import Emit, Notice, Progress, StageFinished, StageStarted
from pipeline.core.model import RequestCounts
from pipeline.core.settings import connection_from_environment
from pipeline.core.storage.directories import Directory, directory_at, read, write
from pipeline.core.storage.file_systems import REMOTE
from pipeline.core.storage.files import open_private
from pipeline.engine.local import engine_named
from pipeline.loading.delivery.delivery_options import Changes, DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.ledger.entries import RunStatus
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging.manifest import manifest_in
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import MANIFEST, SCRATCH, RunDir, Workdir
from pipeline.telemetry.json_log import JsonLog, json_log
from pipeline.workflows.runs.run_summary import run_ref, status_in
from pipeline.workflows.runs.workdir_lock import workdir_lock
from pipeline.workflows.tenant.open_run import OpenRun

STAGE: Final = "load"
STOP_FILE: Final = "stop"
"""Says `stop`, or `now` for at once; nothing while work goes on."""
_LOG: Final = ".log.jsonl"
_POLL_S: Final = 0.5
"""How often the caller looks at the ledger, and a worker at the stop file."""


@dataclass(frozen=True)
class Assignment:
    """What a worker needs to take part in a load, but for the token, which it finds for itself.

    Attributes:
        workdir: The working directory, by a path or URL that is the same everywhere.
        run_id: The run.
        base_url: Of the tenant.
        token_file: Where the token is, if not in the worker's environment.
        ledger: The address of the ledger, without a password.
        options: How to send.
        directory: The address of a directory that all reach, with the stop file. If that is gone, the caller
            is gone as well.
    """

    workdir: str
    run_id: str
    base_url: str
    token_file: Path | None
    ledger: str
    options: DeliveryOptions
    directory: str


def deliver_on_workers(run: OpenRun) -> DeliveryResult:
    """Deliver a run on all workers of the target's engine, and wait for them.

    Returns:
        The result of all workers together, but for those that died. It has an `error` where something of the
        run is left and a worker reported why.

    Raises:
        SettingsError: There is no such cluster, or the ledger is not one that machines can share.
    """
    begun, target = time.monotonic(), run.target
    run.emit(StageStarted(STAGE, "transactions", run.ref.size, run.ledger.settled(run.ref.run_id)))
    with (
        _scratch_directory(run.directory) as directory,
        engine_named(target.engine, directory, emit=run.emit) as engine,
        ThreadPoolExecutor(1, thread_name_prefix="load-on-workers") as pool,
    ):
        assignment = Assignment(
            workdir=Workdir(run.directory.path.parents[1]).address,
            run_id=run.ref.run_id,
            base_url=target.connection.base_url,
            token_file=target.token_file.absolute() if target.token_file else None,
            ledger=without_password(str(target.ledger)),
            options=target.options,
            directory=directory.address,
        )
        assignments = [assignment] * engine.workers
        running = pool.submit(lambda: list(engine.map(contribute, assignments)))
        _watch(running, run, directory)
        results = running.result()
        _add_logs(run.directory, directory)
    handled, seconds = sum(each.handled for each in results), time.monotonic() - begun
    run.emit(StageFinished(STAGE, handled, seconds))
    status = status_in(run.ledger, run.staged.manifest)
    return DeliveryResult(
        status,
        _sum(RequestCounts, [each.requests for each in results]),
        _sum(Changes, [each.changes for each in results]),
        handled=handled,
        failed=sum(each.failed for each in results),
        seconds=seconds,
        stopped=any(each.stopped for each in results),
        error=next((each.error for each in results if each.error is not None and status.pending), None),
    )


@contextmanager
def _scratch_directory(run: RunDir) -> Iterator[Directory]:
    """A directory in a run's scratch, for one load's stop file and what its engine hands out."""
    directory = run.shared / SCRATCH / f"load-{secrets.token_hex(4)}"
    write(directory, STOP_FILE, b"")
    try:
        yield directory
    finally:
        directory.discard()
        # The directory stays while another load has one in it.
        with suppress(OSError):
            run.scratch.rmdir()


def without_password(ledger: str) -> str:
    """The address of a ledger as workers get it, who have a password of their own."""
    url = sa.make_url(ledger).difference_update_query(["password"])
    # `set` takes None for no change.
    return url._replace(password=None).render_as_string()


def _watch(running: Future[Any], run: OpenRun, directory: Directory) -> None:
    """Emit progress, and pass requests to stop on to the workers, until they have finished."""
    stop, written, known = run.target.stop, b"", set[str]()
    while not wait([running], timeout=_POLL_S).done:
        known |= _report_stopped(run, directory, known)
        word = b"now" if stop.immediate else b"stop" if stop.requested else b""
        if word != written:
            write(directory, STOP_FILE, word)
            written = word
        run.emit(Progress(STAGE, run.ledger.settled(run.ref.run_id)))
    _report_stopped(run, directory, known)


def _report_stopped(run: OpenRun, directory: Directory, known: set[str]) -> set[str]:
    """Say why workers stopped, other than those that are known; gives all of them."""
    stopped = [name for name in directory.names("stopped-*") if name not in known]
    for message in directory.contents(stopped):
        run.emit(Notice("worker_stopped", message.decode()))
    return {*stopped}


def _add_logs(run: RunDir, directory: Directory) -> None:
    """Add the lines of workers to the log of a run in a store, to which they cannot write themselves."""
    with open_private(run.log, "ab") as log:
        for lines in directory.contents(directory.names(f"*{_LOG}")):
            log.write(lines)


def _sum(kind: Any, each: list[Any]) -> Any:
    return kind(**{field.name: sum(getattr(one, field.name) for one in each) for field in fields(kind)})


# ── On a worker ─────────────────────────────────────────────────────────────────────────────────────


def contribute(assignment: Assignment, environ: Mapping[str, str] = os.environ) -> DeliveryResult:
    """Deliver parts of a run until none is left. An error is returned, not raised.

    Args:
        assignment: What to do.
        environ: Where the token is, if there is no file for it.
    """
    try:
        return _contribute(assignment, environ)
    except ImportToolError as error:
        error.message = f"On the worker {socket.gethostname()}: {error.message}"
        # In a file too, since the others may go on for days before all results are there.
        name = f"stopped-{socket.gethostname()}-{secrets.token_hex(4)}"
        with suppress(OSError, SettingsError):
            write(directory_at(assignment.directory), name, error.message.encode())
        return DeliveryResult(
            RunStatus(0), RequestCounts(), Changes(), handled=0, failed=0, seconds=0, error=error
        )


def _contribute(assignment: Assignment, environ: Mapping[str, str]) -> DeliveryResult:
    connection = connection_from_environment(
        assignment.token_file, {**environ, "OMNEO_BASE_URL": assignment.base_url}
    )
    directory = directory_at(assignment.workdir) / "runs" / assignment.run_id
    manifest = manifest_in(read(directory, MANIFEST), assignment.run_id)
    with (
        SqlLedger(assignment.ledger, assignment.base_url) as ledger,
        _lock(assignment, ledger),
        _log(assignment) as log,
        _stop_of(directory_at(assignment.directory)) as stop,
    ):
        if not ledger.is_shared:
            raise SettingsError(f"The ledger {ledger.name} is not one that several can share.")
        batches = StagedRun(directory, manifest).batches
        return deliver(
            run_ref(manifest), batches, connection, ledger, assignment.options, emit=log, stop=stop
        )


def _lock(assignment: Assignment, ledger: SqlLedger) -> AbstractContextManager[None]:
    """The lock of the working directory; in a store only the lock in the ledger's database exists."""
    if REMOTE in assignment.workdir:
        return ledger.held(assignment.workdir, shared=True)
    home = Workdir(Path(assignment.workdir))
    return workdir_lock(home, STAGE, assignment.ledger, shared=True, run_id=assignment.run_id)


@contextmanager
def _log(assignment: Assignment) -> Iterator[Emit]:
    """The run's log; for one in a store, which cannot be added to, lines that the caller adds at the end."""
    if REMOTE not in assignment.workdir:
        run = RunDir(Path(assignment.workdir) / "runs" / assignment.run_id)
        with json_log(run.log, run.run_id) as log:
            yield log
        return
    lines = StringIO()
    try:
        yield JsonLog(lines, assignment.run_id)
    finally:
        name = f"{socket.gethostname()}-{secrets.token_hex(4)}{_LOG}"
        write(directory_at(assignment.directory), name, lines.getvalue().encode())


@contextmanager
def _stop_of(directory: Directory) -> Iterator[Stop]:
    """A `Stop` that is asked once the stop file says so, or once it is gone."""
    stop, over = Stop(), threading.Event()

    def listen() -> None:
        while not over.wait(_POLL_S):
            word = _word_in(directory)
            if word == b"now":
                stop.now()
            # None, where the file is gone, is a stop too.
            elif word != b"" and not stop.requested:
                stop.request()

    listener = threading.Thread(target=listen, name="stop", daemon=True)
    listener.start()
    try:
        yield stop
    finally:
        over.set()
        listener.join()


def _word_in(directory: Directory) -> bytes | None:
    """What the stop file says: nothing, `stop` or `now`; None where it is gone because its caller ended."""
    try:
        return read(directory, STOP_FILE)
    except FileNotFoundError:
        return None
    except (OSError, SettingsError):
        # The storage may be unreachable for a while; the next look asks again.
        return b""
