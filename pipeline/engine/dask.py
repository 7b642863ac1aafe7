"""Where work runs: on a Dask cluster, over a directory that all of its machines see.

Jobs go to the workers as files in that directory, not through the scheduler: the scheduler's memory stays
small, and when a worker dies Dask runs its jobs again elsewhere from the same files. A job that runs twice
must replace what it wrote before, as staging a partition does.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pipeline.core.pickling  # noqa: F401 (jobs and results hold frames and are pickled)
from pipeline.core.errors import SettingsError
from pipeline.core.events import Emit, Notice, ignore
from pipeline.core.files import open_private, private_dir
from pipeline.engine.local import Job, Part, Result

if TYPE_CHECKING:
    from distributed import Client, Future

_PREFIX = "dask://"
_SHAPERS = ("omneo-import", "polars", "pyarrow")
"""What determines the bytes of a result: another version may give others."""
_LOOK_AGAIN_S = 10.0
"""How often to look, while a result is waited for, whether the cluster still has a worker."""
_LAST_JOBS_S = 60.0
"""How long to wait, after an error, for jobs that are still at work."""
_CONNECT_S = 15.0
"""How long to wait for a scheduler to answer, and to have a worker."""


@contextmanager
def dask_engine(where: str, shared: Path, workers: int, emit: Emit = ignore) -> Iterator[DaskEngine]:
    """Connect to a cluster for the length of a `with` block.

    Args:
        where: `dask://host:port` of a scheduler; or `dask`, which starts workers on this machine.
        shared: A private directory that this process and all workers see under the same path; made when
            needed.
        workers: How many are started on this machine.
        emit: Gets notices.

    Raises:
        SettingsError: Dask is not installed, or the cluster cannot be reached or has no worker.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise SettingsError(
            f"--engine {where} needs Dask, which is not installed.",
            hint="Install the extra: pip install 'omneo-import[dask]'.",
        ) from None
    if where.startswith(_PREFIX):
        with _connected(where) as client:
            yield DaskEngine(client, shared, emit)
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield DaskEngine(client, shared, emit)


@contextmanager
def _connected(where: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(f"tcp://{where.removeprefix(_PREFIX)}", timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"--engine {where}: a Dask scheduler does not answer: {error}",
            hint="Start one with `dask scheduler`, and workers with `dask worker`.",
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_CONNECT_S)
        except TimeoutError:
            raise SettingsError(
                f"--engine {where}: the cluster has no worker.", hint="Start some with `dask worker`."
            ) from None
        yield client


@dataclass(frozen=True)
class DaskEngine:
    """See `Engine`.

    Attributes:
        client: Of the cluster.
        shared: Where jobs wait for the workers, as files.
        emit: Gets a notice when the cluster has no worker left.
    """

    client: Client
    shared: Path
    emit: Emit = ignore

    def map(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """See `Engine.map`; each thread of the cluster has a job at work and one that waits.

        Jobs that were handed out before an error are still done.

        Raises:
            SettingsError: A worker does not see the shared directory or has other versions; a job made
                several workers die; or the scheduler is gone.
        """
        from distributed import wait
        from distributed.client import FutureCancelledError, FuturesCancelledError

        code = self._written("function", function)
        pending: deque[tuple[Path, Future[Result]]] = deque()
        try:
            for job in jobs:
                path = self._written("job", job)
                # Not pure, or Dask would give the result of an earlier job whose file had the same name.
                future = self.client.submit(_work, code, path, _versions(), pure=False)
                pending.append((path, future))
                while len(pending) >= 2 * self.workers:
                    yield self._result(*pending.popleft())
            while pending:
                yield self._result(*pending.popleft())
        except FutureCancelledError as error:
            raise _lost(error) from None
        finally:
            # A job that still runs must not write any more once the caller goes on.
            with suppress(TimeoutError, FutureCancelledError, FuturesCancelledError, OSError):
                wait([future for _, future in pending], timeout=_LAST_JOBS_S)
            for path in (code, *(path for path, _ in pending)):
                path.unlink(missing_ok=True)

    def flat_map(
        self,
        expand: Callable[[Job], Iterator[Part]],
        function: Callable[[Part], Result],
        jobs: Iterable[Job],
    ) -> Iterator[Result]:
        """See `Engine.flat_map`; a worker does all parts of a job."""

        def work(job: Job) -> list[Result]:
            return list(map(function, expand(job)))

        return chain.from_iterable(self.map(work, jobs))

    @property
    def workers(self) -> int:
        """See `Engine.workers`; counts what the cluster has now."""
        return max(1, sum(self._threads().values()))

    def _threads(self) -> dict[str, int]:
        try:
            threads: dict[str, int] = self.client.nthreads()
        except OSError as error:
            raise _lost(error) from None
        return threads

    def _result(self, path: Path, future: Future[Result]) -> Result:
        from distributed import KilledWorker

        try:
            while True:
                try:
                    return future.result(timeout=_LOOK_AGAIN_S)
                except TimeoutError:
                    if future.done():  # the job's own error
                        raise
                    if not self._threads():
                        self.emit(Notice("no_workers", _NO_WORKERS))
        except KilledWorker as error:
            raise SettingsError(
                f"One job made several Dask workers die, the last at {error.last_worker}.",
                hint="Most likely they had too little memory: give them 1 GB for each thread.",
            ) from None
        finally:
            path.unlink(missing_ok=True)

    def _written(self, kind: str, content: object) -> Path:
        import cloudpickle

        path = private_dir(self.shared) / f"{kind}-{next(_NUMBERS):06d}"
        with open_private(path, "xb") as file:
            cloudpickle.dump(content, file)
        return path


_NUMBERS = count()
_NO_WORKERS = "The Dask cluster has no worker left; the work goes on when one joins: `dask worker`."


def _lost(error: Exception) -> SettingsError:
    return SettingsError(
        f"The Dask scheduler was lost: {error}", hint="Start one, with workers, and then this again."
    )


# ── On a worker ─────────────────────────────────────────────────────────────────────────────────────


def _work(code: Path, job: Path, versions: dict[str, str]) -> Any:
    if versions != _versions():
        here = _versions()
        differing = [
            f"{name} {here[name]}, not {versions[name]}" for name in here if here[name] != versions[name]
        ]
        raise SettingsError(
            f"The Dask worker on {socket.gethostname()} has {'; '.join(differing)}.",
            hint="The same versions are needed everywhere, or the staged bytes may differ.",
        )
    os.umask(0o077)  # everything that is written holds personal data
    try:
        return _function(code)(pickle.loads(job.read_bytes()))  # noqa: S301 (written by the caller, private)
    except FileNotFoundError as error:
        raise SettingsError(
            f"The Dask worker on {socket.gethostname()} does not see {error.filename}.",
            hint="The working directory must be on storage that all workers share under the same path.",
        ) from None


@lru_cache(maxsize=2)
def _function(code: Path) -> Callable[[Any], Any]:
    function: Callable[[Any], Any] = pickle.loads(code.read_bytes())  # noqa: S301
    return function


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _SHAPERS}}
