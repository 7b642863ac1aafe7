"""Where work runs: on a Dask cluster, over a directory that all of its machines reach.

A function goes to the workers as a file in that directory, since with all that it holds it may be large; the
jobs, which only describe what to read, and the results go through the scheduler. When a worker dies Dask has
others do its jobs again: a job that runs twice must replace what it wrote before, as staging a partition
does.

No credentials are sent: workers open the directory, sources and ledger with those of their own environment.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import pipeline.core.pickling  # noqa: F401 (jobs and results hold frames and are pickled)
from pipeline.core.errors import SettingsError
from pipeline.core.events import Emit, Notice, ignore
from pipeline.core.storage.directories import Directory, write
from pipeline.engine.dask_worker import SHAPERS, require_same, versions, work
from pipeline.engine.local import Job, Part, Result

if TYPE_CHECKING:
    from distributed import Client, Future

_PREFIX = "dask://"
_LOOK_AGAIN_S = 10.0
"""How often to look, while a result is waited for, whether the cluster still has a worker."""
_COUNTED_AGAIN_S = 2.0
"""How often to count the workers while jobs are handed out; each time is a request to the scheduler."""
_LAST_JOBS_S = 60.0
"""How long to wait, after an error, for jobs that are still at work."""
_CONNECT_S = 15.0
"""How long to wait for a scheduler to answer, and to have a worker."""


@contextmanager
def dask_engine(where: str, shared: Directory, workers: int, emit: Emit = ignore) -> Iterator[DaskEngine]:
    """Connect to a cluster for the length of a `with` block.

    Args:
        where: `dask://host:port` of a scheduler; or `dask`, which starts workers on this machine.
        shared: A directory that this process and all workers reach by the same address.
        workers: How many are started on this machine.
        emit: Gets notices.

    Raises:
        SettingsError: Dask is not installed, or the cluster cannot be reached, has no worker, or one with
            other versions.
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
        _require_same_versions(client)
        yield client


def _require_same_versions(client: Client) -> None:
    """Check that all workers of a cluster have the versions of this process.

    Raises:
        SettingsError: One has others.
    """
    found: Any = client.get_versions(packages=list(SHAPERS))
    for address, there in sorted(found["workers"].items()):
        python = ".".join(there["host"]["python"].split(".")[:3])
        require_same(f"at {address}", {**there["packages"], "python": python}, versions())


@dataclass(frozen=True)
class DaskEngine:
    """See `Engine`.

    Attributes:
        client: Of the cluster.
        shared: Where functions are kept for the workers, as files.
        emit: Gets a notice when the cluster has no worker left.
    """

    client: Client
    shared: Directory
    emit: Emit = ignore

    def map(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """See `Engine.map`; each thread of the cluster has a job at work and one that waits.

        Jobs that were handed out before an error are still done.

        Raises:
            SettingsError: A worker does not reach the shared directory or has other versions; a job made
                several workers die; or the scheduler is gone.
        """
        import cloudpickle
        from distributed import wait
        from distributed.client import FutureCancelledError, FuturesCancelledError

        code = f"function-{os.getpid()}-{next(_NUMBERS)}"
        write(self.shared, code, cloudpickle.dumps(function))
        pending: deque[Future[Result]] = deque()
        limit, counted_at = 0, 0.0
        try:
            for job in jobs:
                # As bytes, so that a worker with another version of the package gets to say so, and not pure,
                # or Dask would give the result of an earlier job like it.
                arguments = self.shared.address, code, cloudpickle.dumps(job), versions()
                pending.append(self.client.submit(work, *arguments, pure=False))
                if time.monotonic() - counted_at > _COUNTED_AGAIN_S:
                    limit, counted_at = 2 * self.workers, time.monotonic()
                while len(pending) >= limit:
                    yield self._result(pending.popleft())
            while pending:
                yield self._result(pending.popleft())
        except FutureCancelledError as error:
            raise _lost(error) from None
        finally:
            # A job that still runs must not write any more once the caller goes on.
            with suppress(TimeoutError, FutureCancelledError, FuturesCancelledError, OSError):
                wait(pending, timeout=_LAST_JOBS_S)
            # If the store cannot be reached, the error that ended the run says more.
            with suppress(SettingsError):
                self.shared.remove(code)

    def flat_map(
        self,
        expand: Callable[[Job], Iterator[Part]],
        function: Callable[[Part], Result],
        jobs: Iterable[Job],
    ) -> Iterator[Result]:
        """See `Engine.flat_map`; a worker does all parts of a job."""

        def all_parts(job: Job) -> list[Result]:
            return list(map(function, expand(job)))

        return chain.from_iterable(self.map(all_parts, jobs))

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

    def _result(self, future: Future[Result]) -> Result:
        from distributed import KilledWorker

        try:
            while True:
                try:
                    return future.result(timeout=_LOOK_AGAIN_S)
                except TimeoutError:
                    if future.done():  # just now; or it is the job's own error, which is raised again
                        return future.result()
                    if not self._threads():
                        self.emit(Notice("no_workers", _NO_WORKERS))
        except KilledWorker as error:
            raise SettingsError(
                f"One job made several Dask workers die, the last at {error.last_worker}.",
                hint="Most likely they had too little memory: give them 1 GB for each thread.",
            ) from None
        except (ImportError, AttributeError, TypeError):
            # A worker that joined later may have another version, even without this function.
            _require_same_versions(self.client)
            raise


_NUMBERS = count()
_NO_WORKERS = "The Dask cluster has no worker left; the work goes on when one joins: `dask worker`."


def _lost(error: Exception) -> SettingsError:
    return SettingsError(
        f"The Dask scheduler was lost: {error}", hint="Start one, with workers, and then this again."
    )
