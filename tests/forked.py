"""Processes that are forked from one that has imported the product: each starts at once.

They are processes like any others, with an id, signals, streams and an exit code of their own. A test about
the start of Python itself, such as its standard streams, takes `subprocess` instead.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet, finalize

_IMPORTED = (
    *("pipeline.cli.group", "pipeline.workflows.prepare", "pipeline.workflows.scaffold"),
    *("pipeline.workflows.load", "pipeline.workflows.confirm", "pipeline.workflows.tenant.distributed_load"),
    *("pipeline.workflows.status", "pipeline.workflows.void", "pipeline.simulator", "pipeline.report.render"),
    *("distributed", "distributed.cli.dask_scheduler", "distributed.cli.dask_worker", "s3fs", "psycopg"),
)


class Forked:
    """`python -m MODULE ARGUMENTS`, with the methods of `subprocess.Popen` that tests use.

    Args:
        module: The module that is run.
        arguments: Those of its command line.
        environment: All of its environment.
        directory: Its working directory; None for this process's own.
        log: A file for what it writes; None for pipes.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[object],
        environment: Mapping[str, str],
        *,
        directory: Path | None = None,
        log: Path | None = None,
    ) -> None:
        ensure_fork_server()
        self._read: list[IO[str]] = []
        written: list[Connection] = []
        for _ in range(0 if log else 2):
            reading, writing = multiprocessing.Pipe(duplex=False)
            self._read.append(os.fdopen(os.dup(reading.fileno()), encoding="utf-8"))
            reading.close()
            written.append(writing)
        given = (
            module,
            [*map(str, arguments)],
            dict(environment),
            str(directory or Path.cwd()),
            log,
            written,
        )
        self._process = multiprocessing.get_context("forkserver").Process(target=_run, args=given)
        self._process.start()
        for each in written:
            each.close()
        _STARTED.add(self)
        for stream in self._read:
            finalize(self, stream.close)

    @property
    def pid(self) -> int:
        """Its id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def stdout(self) -> IO[str]:
        """What it writes to stdout."""
        return self._read[0]

    @property
    def stderr(self) -> IO[str]:
        """What it writes to stderr."""
        return self._read[1]

    @property
    def returncode(self) -> int | None:
        """Its exit code, below 0 where a signal ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; gives the exit code."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read all that it writes until it has ended; kill it if that takes too long."""
        with ThreadPoolExecutor(2) as pool:
            texts = [pool.submit(_rest, stream) for stream in self._read]
            try:
                out, errors = (each.result(timeout) for each in texts)
            except TimeoutError:
                self.kill()
                raise subprocess.TimeoutExpired(self._process.name, timeout or 0) from None
        self.wait(timeout)
        for stream in self._read:
            stream.close()
        return out, errors

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: Any) -> None:
        self.wait()
        for stream in self._read:
            stream.close()


_STARTED: WeakSet[Forked] = WeakSet()


def _rest(stream: IO[str]) -> str:
    """What is left to read; nothing of a stream that the test has closed."""
    return "" if stream.closed else stream.read()


@atexit.register
def _kill_all() -> None:
    for each in _STARTED:
        each.kill()


def ensure_fork_server() -> None:
    """Start the process that others are forked from, without settings of Omneo, of a store or of polars."""
    multiprocessing.set_forkserver_preload(list(_IMPORTED))
    own = dict(os.environ)
    for name in own:
        if name.startswith(("OMNEO", "AWS", "POLARS")):
            del os.environ[name]
    try:
        forkserver.ensure_running()
    finally:
        os.environ.update(own)


def _run(
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    directory: str,
    log: Path | None,
    streams: list[Connection],
) -> None:
    """Be that process from here on."""
    if log:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        targets = [file, file]
    else:
        targets = [each.fileno() for each in streams]
    for number, target in enumerate(targets, 1):
        os.dup2(target, number)
    for each in streams:
        each.close()
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    if environment.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
