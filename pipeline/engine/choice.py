"""Which engine a name stands for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.engine.local import Engine, LocalEngine


@contextmanager
def engine_named(name: str, shared: Path) -> Iterator[Engine]:
    """Give the engine for the length of a `with` block.

    Args:
        name: `local`, `dask`, or `dask://host:port`.
        shared: A private directory for what the engine's workers are handed; see `dask_engine`.

    Raises:
        SettingsError: There is no such cluster, or what it needs is not installed.
    """
    if name == "local":
        yield LocalEngine()
        return
    from pipeline.engine.dask import dask_engine

    with dask_engine(name, shared) as engine:
        yield engine
