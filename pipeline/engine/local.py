"""Where work runs: the one verb of an engine, this machine, and which engine a name stands for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, TypeVar

from pipeline.core.events import Emit, ignore
from pipeline.core.memory import cores
from pipeline.core.storage.directories import Directory

Job = TypeVar("Job")
Part = TypeVar("Part")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a function over jobs; the one verb that a place to work has to offer."""

    @property
    def workers(self) -> int:
        """How many jobs it does at a time."""
        ...

    def map(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """Apply `function` to every job and give the results in the order of the jobs.

        An error in a job is raised here, and no further job begins.
        """
        ...

    def flat_map(
        self,
        expand: Callable[[Job], Iterator[Part]],
        function: Callable[[Part], Result],
        jobs: Iterable[Job],
    ) -> Iterator[Result]:
        """Apply `function` to every part of every job, and give the results in the order of jobs and parts.

        An error is raised here, and no further job begins.
        """
        ...


@dataclass(frozen=True)
class LocalEngine:
    """Threads of this process. The stages spend their time in polars, which releases the interpreter lock.

    Attributes:
        workers: How many jobs at a time. Each holds a partition in memory.
    """

    workers: int = 2

    def map(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """See `Engine.map`; no more than `workers` jobs and results are held at a time."""
        pending: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="partition") as pool:
            try:
                for job in jobs:
                    pending.append(pool.submit(function, job))
                    if len(pending) > self.workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def flat_map(
        self,
        expand: Callable[[Job], Iterator[Part]],
        function: Callable[[Part], Result],
        jobs: Iterable[Job],
    ) -> Iterator[Result]:
        """See `Engine.flat_map`; jobs are expanded beside the work, so that one large job keeps all busy."""
        return self.map(function, chain.from_iterable(map(expand, jobs)))


@contextmanager
def engine_named(
    name: str, shared: Directory, workers: int | None = None, emit: Emit = ignore
) -> Iterator[Engine]:
    """Give the engine for the length of a `with` block.

    Args:
        name: `local`, `dask`, or `dask://host:port`.
        shared: A directory for what the engine's workers are handed; see `dask_engine`.
        workers: How many work on this machine; None for as many as there are cores.
        emit: Gets notices.

    Raises:
        SettingsError: The cluster cannot be reached, or what it needs is not installed.
    """
    if name == "local":
        yield LocalEngine(workers or cores())
        return
    # Imported late: Dask is an extra.
    from pipeline.engine.dask import dask_engine

    with dask_engine(name, shared, workers or cores(), emit) as engine:
        yield engine
