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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.core.errors import ImportToolError, SettingsError
from pipeline.core.events import Notice, Progress, StageFinished, StageStarted
from pipeline.core.files import discard, private_dir, write_private
from pipeline.core.settings import connection_from_environment
from pipeline.engine.local import engine_named
from pipeline.loading.delivery.delivery_options import Changes, DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.paced_client import RequestCounts
from pipeline.loading.ledger.entries import RunStatus
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import Workdir
from pipeline.telemetry.json_log import json_log
from pipeline.workflows.run_summary import run_ref, status_in
from pipeline.workflows.workdir_lock import workdir_lock

if TYPE_CHECKING:
    from pipeline.workflows.open_run import OpenRun

STAGE: Final = "load"
_POLL_S: Final = 0.5
"""How often the caller looks at the ledger, and a worker at the stop file."""


@dataclass(frozen=True)
class Assignment:
    """What a worker needs to take part in a load, but for the token, which it finds for itself.

    Attributes:
        workdir: The working directory, under the same path everywhere.
        run_id: The run.
        base_url: Of the tenant.
        token_file: Where the token is, if not in the worker's environment.
        ledger: The address of the ledger.
        options: How to send.
        directory: A directory that all see, with the stop file. If it is gone, the caller is gone as well.
    """

    workdir: Path
    run_id: str
    base_url: str
    token_file: Path | None
    ledger: str
    options: DeliveryOptions
    directory: Path

    @property
    def stop_file(self) -> Path:
        """Asks to stop by its existence; by the word `now`, at once."""
        return self.directory / "stop"


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
        _scratch_directory(run.directory.scratch) as directory,
        engine_named(target.engine, directory, emit=run.emit) as engine,
        ThreadPoolExecutor(1, thread_name_prefix="load-on-workers") as pool,
    ):
        assignment = Assignment(
            workdir=run.directory.path.parents[1],
            run_id=run.ref.run_id,
            base_url=target.connection.base_url,
            token_file=target.token_file.absolute() if target.token_file else None,
            ledger=str(target.ledger),
            options=target.options,
            directory=directory,
        )
        assignments = [assignment] * engine.workers
        running = pool.submit(lambda: list(engine.map(contribute, assignments)))
        _watch(running, run, assignment.stop_file)
        results = running.result()
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
def _scratch_directory(scratch: Path) -> Iterator[Path]:
    """A private directory below a run's scratch, for one load's stop file and what its engine hands out."""
    directory = private_dir(private_dir(scratch) / f"load-{secrets.token_hex(4)}")
    try:
        yield directory
    finally:
        discard(directory)
        with suppress(OSError):  # another load has its directory there
            scratch.rmdir()


def _watch(running: Future[Any], run: OpenRun, stop_file: Path) -> None:
    """Emit progress, and pass requests to stop on to the workers, until they have finished."""
    stop, written, known = run.target.stop, "", set[Path]()
    while not wait([running], timeout=_POLL_S).done:
        known |= _report_stopped(run, stop_file.parent, known)
        word = "now" if stop.immediate else "stop" if stop.requested else ""
        if word != written:
            write_private(stop_file, word)
            written = word
        run.emit(Progress(STAGE, run.ledger.settled(run.ref.run_id)))
    _report_stopped(run, stop_file.parent, known)


def _report_stopped(run: OpenRun, directory: Path, known: set[Path]) -> set[Path]:
    """Say why workers stopped, other than those that are known; gives all of them."""
    stopped = set(directory.glob("stopped-*"))
    for path in sorted(stopped - known):
        run.emit(Notice("worker_stopped", path.read_text(encoding="utf-8")))
    return stopped


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
        with suppress(OSError):
            write_private(assignment.directory / name, error.message)
        return DeliveryResult(
            RunStatus(0), RequestCounts(), Changes(), handled=0, failed=0, seconds=0, error=error
        )


def _contribute(assignment: Assignment, environ: Mapping[str, str]) -> DeliveryResult:
    connection = connection_from_environment(
        assignment.token_file, {**environ, "OMNEO_BASE_URL": assignment.base_url}
    )
    home = Workdir(assignment.workdir)
    directory = home.find(assignment.run_id)
    manifest = read_manifest(directory)
    staged = StagedRun(directory, manifest)
    with (
        workdir_lock(home, STAGE, assignment.ledger, shared=True, run_id=directory.run_id),
        SqlLedger(assignment.ledger, assignment.base_url) as ledger,
        json_log(directory.log, directory.run_id) as log,
        _stop_of(assignment.stop_file) as stop,
    ):
        if not ledger.is_shared:
            raise SettingsError(f"The ledger {ledger.name} is not one that several can share.")
        return deliver(
            run_ref(manifest), staged.batches, connection, ledger, assignment.options, emit=log, stop=stop
        )


@contextmanager
def _stop_of(stop_file: Path) -> Iterator[Stop]:
    """A `Stop` that is asked once the stop file says so, or once its directory is gone."""
    stop, over = Stop(), threading.Event()

    def listen() -> None:
        while not over.wait(_POLL_S):
            word = stop_file.read_text(encoding="utf-8") if stop_file.exists() else ""
            if word == "now":
                stop.now()
            elif not stop.requested and (word or not stop_file.parent.exists()):
                stop.request()

    listener = threading.Thread(target=listen, name="stop", daemon=True)
    listener.start()
    try:
        yield stop
    finally:
        over.set()
        listener.join()
