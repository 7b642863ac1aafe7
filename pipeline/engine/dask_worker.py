"""What a worker of a Dask cluster does with a job.

This is the first that a worker imports of the package, so it must import nothing heavy by itself: polars and
pyarrow read their settings when they are loaded.
"""

from __future__ import annotations

import os
import pickle
import platform
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from pipeline.core.errors import SettingsError, SourceError
from pipeline.core.memory import keep_freed_memory, prefer_jemalloc, seldom_collecting
from pipeline.core.storage.directories import directory_at, read

SHAPERS = ("omneo-import", "polars", "pyarrow")
"""What determines the bytes of a result: another version may give others."""


def work(address: str, code: str, job: bytes, wanted: dict[str, str]) -> Any:
    """Do a job of a client.

    Args:
        address: The directory in which the client left the function.
        code: Its file there.
        job: The job, pickled: a worker with other versions could not even read it.
        wanted: The client's versions.

    Raises:
        SettingsError: The worker has other versions, or cannot use the directory.
        SourceError: It cannot read a file.
    """
    name = _this_worker()
    require_same(name, versions(), wanted)
    _apply_settings()
    # All files hold personal data, so only their owner may read them.
    os.umask(0o077)
    try:
        return _function(address, code)(pickle.loads(job))  # noqa: S301 (of the caller)
    except (SettingsError, SourceError) as error:
        # What one worker cannot reach, others may: their environments differ.
        error.message = f"On the Dask worker {name}: {error.message}"
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise SettingsError(
            f"The Dask worker {name} cannot use {error.filename or error}: {error.strerror or error}.",
            hint="The working directory must be in an object store, or on storage that all workers share "
            "under the same path, for the same user.",
        ) from None


@lru_cache(maxsize=2)
def _function(address: str, code: str) -> Callable[[Any], Any]:
    import pipeline.core.pickling  # noqa: F401 (results hold frames, and Dask pickles them)

    # Loading the function imports many modules, and most collections then only look through these.
    with seldom_collecting():
        function: Callable[[Any], Any] = pickle.loads(read(directory_at(address), code))  # noqa: S301 (of the caller)
    return function


@cache
def _apply_settings() -> None:
    """Give a new process the settings that `omneo-import` has; those of the worker's own environment stay.

    With polars' threads for all cores, the workers of a machine get in each other's way; and without memory
    that is kept for the next partition, each takes half as many page faults again.
    """
    from distributed import get_worker

    keep_freed_memory()
    prefer_jemalloc()
    with suppress(ValueError):  # no worker
        os.environ.setdefault("POLARS_MAX_THREADS", str(get_worker().state.nthreads))


def _this_worker() -> str:
    """Where this is: the worker's address, as Dask shows it, and its host."""
    from distributed import get_worker

    try:
        return f"at {get_worker().address} on {socket.gethostname()}"
    except ValueError:  # no worker
        return f"on {socket.gethostname()}"


@cache
def versions() -> dict[str, str]:
    """The versions of this process."""
    return {"python": platform.python_version(), **{name: version(name) for name in SHAPERS}}


def require_same(worker: str, there: Mapping[str, str | None], wanted: Mapping[str, str]) -> None:
    """Check that a worker has the versions of the client.

    Raises:
        SettingsError: It has others.
    """
    differing = [
        f"{name} {there[name]}, not {wanted[name]}" if there.get(name) else f"no {name}, not {wanted[name]}"
        for name in wanted
        if there.get(name) != wanted[name]
    ]
    if differing:
        raise SettingsError(
            f"The Dask worker {worker} has {'; '.join(differing)}.",
            hint="The same versions are needed everywhere, or the staged bytes may differ.",
        )
