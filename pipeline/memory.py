"""How this process treats memory: settings that change what it costs, and nothing else."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


def keep_freed_memory() -> None:
    """Have polars keep memory that it freed for some seconds, rather than give it back to the system at once.

    Every unit of rows needs about what the one before it freed, and getting those pages anew costs a tenth of
    a dry run. Call it before polars is imported; a setting of the user's own stays.
    """
    # jemalloc, which polars is built with, reads this once, when it is loaded. An arena a core, a quarter of
    # what it would take by itself, keeps the sum of what they hold small.
    settings = f"narenas:{os.cpu_count() or 1},dirty_decay_ms:10000,muzzy_decay_ms:2000"
    os.environ.setdefault("_RJEM_MALLOC_CONF", settings)


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Look for garbage cycles less often for the length of a `with` block.

    With Python's own thresholds a third of a request's CPU goes into looking through what is in flight, and
    a seventh of the time that imports take into looking through modules. Cycles are still found, so memory
    stays flat.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
