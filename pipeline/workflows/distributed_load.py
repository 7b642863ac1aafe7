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
from typing import Any, Final

from pipeline.core.errors import ImportToolError, SettingsError
from pipeline.core.events import Emit, Notice, Progress, StageFinished, StageStarted
from pipeline.core.files import discard, private_dir, write_private
from pipeline.core.settings import connection_from_environment
from pipeline.engine.choice import engine_named
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.options import Changes, DeliveryOptions, DeliveryResult
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.exchange import Requests
from pipeline.loading.ledger.entries import RunRef, RunStatus
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import Workdir
from pipeline.telemetry.json_log import json_log
from pipeline.workflows.workdir_lock import holding

STAGE: Final = "load"
_LOOKS_S: Final = 0.5
"""Between two looks: of the caller at the ledger, of a worker for the word to stop."""


@dataclass(frozen=True)
class Assignment:
    """What a worker is told to take part in a load; not the token, which it finds for itself.

    Attributes:
        workdir: The working directory, under the same path everywhere.
        run_id: The run.
        base_url: Of the tenant.
        token_file: Where the token is, if not in the worker's environment.
        ledger: The address of the ledger.
        options: How to send.
        orders: A directory that all see; its file `stop` says so, or `now`, once it is time to. If the
            directory is gone, nobody waits any more, and it is time too.
    """

    workdir: Path
    run_id: str
    base_url: str
    token_file: Path | None
    ledger: str
    options: DeliveryOptions
    orders: Path

    @property
    def word(self) -> Path:
        """The file that says when to stop."""
        return self.orders / "stop"


@dataclass(frozen=True)
class Contribution:
    """What one worker did.

    Attributes:
        requests: What it sent.
        changes: What it found changed.
        handled: Transactions that it settled.
        troubled: Those of them that Omneo refused or that were given up.
        stopped: Whether it was asked to stop before all was done.
        error: What stopped it else; None where nothing did.
    """

    requests: Requests
    changes: Changes
    handled: int = 0
    troubled: int = 0
    stopped: bool = False
    error: ImportToolError | None = None


def spread(
    run: RunRef, assignment: Assignment, engine: str, ledger: SqlLedger, *, emit: Emit, stop: Stop
) -> DeliveryResult:
    """Deliver a run on all workers of an engine, and wait for them.

    Args:
        run: The run.
        assignment: What each worker is told.
        engine: Where they are, as `engine_named` takes it.
        ledger: The ledger that they share.
        emit: Is told how far they are together, and what went wrong on one of them.
        stop: Asks them all to stop.

    Returns:
        What came of it, all workers together but for those that died. It has an `error` where something
        of the run is left and a worker told why.

    Raises:
        SettingsError: There is no such cluster, or the ledger is not one that machines can share.
    """
    begun = time.monotonic()
    emit(StageStarted(STAGE, "transactions", run.size))
    with (
        engine_named(engine, assignment.orders) as workers,
        ThreadPoolExecutor(1, thread_name_prefix="spread") as pool,
    ):
        everyone = [assignment] * workers.workers
        running = pool.submit(lambda: list(workers.map(contribute, everyone)))
        _look_after(running, run, assignment.word, ledger, emit, stop)
        found = running.result()
    for each in found:
        if each.error is not None:
            emit(Notice("worker_stopped", each.error.message))
    handled, seconds = sum(each.handled for each in found), time.monotonic() - begun
    emit(StageFinished(STAGE, handled, seconds))
    status = _status(ledger, run)
    return DeliveryResult(
        status,
        _sum(Requests, [each.requests for each in found]),
        _sum(Changes, [each.changes for each in found]),
        handled,
        sum(each.troubled for each in found),
        seconds,
        stopped=any(each.stopped for each in found),
        error=next((each.error for each in found if each.error is not None and status.pending), None),
    )


@contextmanager
def orders_in(scratch: Path) -> Iterator[Path]:
    """A private directory below a run's scratch, for one load's orders and what its engine hands out."""
    orders = private_dir(private_dir(scratch) / f"load-{secrets.token_hex(4)}")
    try:
        yield orders
    finally:
        discard(orders)
        with suppress(OSError):  # another load has orders there
            scratch.rmdir()


def _look_after(
    running: Future[Any], run: RunRef, place: Path, ledger: SqlLedger, emit: Emit, stop: Stop
) -> None:
    """Tell how far the workers are, and pass on the word to stop, until they are through."""
    told = ""
    while not wait([running], timeout=_LOOKS_S).done:
        word = "now" if stop.immediate else "stop" if stop.requested else ""
        if word != told:
            write_private(place, word)
            told = word
        emit(Progress(STAGE, ledger.settled(run.run_id)))


def _status(ledger: SqlLedger, run: RunRef) -> RunStatus:
    known = run.run_id in ledger.runs()  # as soon as the first worker has entered it
    return ledger.status(run.run_id) if known else RunStatus(run.size, pending=run.size)


def _sum(kind: Any, each: list[Any]) -> Any:
    return kind(**{field.name: sum(getattr(one, field.name) for one in each) for field in fields(kind)})


# ── On a worker ─────────────────────────────────────────────────────────────────────────────────────


def contribute(assignment: Assignment, environ: Mapping[str, str] = os.environ) -> Contribution:
    """Deliver parts of a run until none is left; what stops it is told, not raised.

    Args:
        assignment: What to do.
        environ: Where the token is, if there is no file for it.
    """
    try:
        return _contribute(assignment, environ)
    except ImportToolError as error:
        error.message = f"On the worker {socket.gethostname()}: {error.message}"
        return Contribution(Requests(), Changes(), error=error)


def _contribute(assignment: Assignment, environ: Mapping[str, str]) -> Contribution:
    there = {**environ, "OMNEO_BASE_URL": assignment.base_url}
    connection = connection_from_environment(assignment.token_file, there)
    home = Workdir(assignment.workdir)
    directory = home.find(assignment.run_id)
    manifest = read_manifest(directory)
    staged = StagedRun(directory, manifest)
    ref = RunRef(manifest.run_id, manifest.transactions, manifest.ordinal)
    with (
        holding(home, STAGE, assignment.ledger, shared=True),
        SqlLedger(assignment.ledger, assignment.base_url) as ledger,
        json_log(directory.log, directory.run_id) as log,
        _listening(assignment.word) as stop,
    ):
        if not ledger.is_shared:
            raise SettingsError(f"The ledger {ledger.where} is not one that several can share.")
        result = deliver(ref, staged.batches, connection, ledger, assignment.options, emit=log, stop=stop)
    return Contribution(
        result.requests, result.changes, result.handled, result.troubled, result.stopped, result.error
    )


@contextmanager
def _listening(place: Path) -> Iterator[Stop]:
    """A `Stop` that is asked once the caller says so."""
    stop, over = Stop(), threading.Event()

    def listen() -> None:
        while not over.wait(_LOOKS_S):
            word = place.read_text(encoding="utf-8") if place.exists() else ""
            if word == "now":
                stop.now()
            elif not stop.requested and (word or not place.parent.exists()):
                stop.request()

    listener = threading.Thread(target=listen, name="stop", daemon=True)
    listener.start()
    try:
        yield stop
    finally:
        over.set()
        listener.join()
