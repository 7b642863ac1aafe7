"""How much memory a dry run may take, and settings of the process that change what memory costs."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

_LIBRARIES_BYTES: Final = 256 << 20
"""What a dry run takes before it has read a row."""
_PARTITION_SHARE: Final = 31
"""For each worker a partition may take one in so many parts of the rest: at work it takes some twenty times
its text, and the next are read meanwhile."""
_SMALLEST_BYTES, _LARGEST_BYTES = 1 << 20, 24 << 20


@dataclass(frozen=True)
class Budget:
    """How much memory a dry run may take.

    Attributes:
        partition_bytes: Raw text of a partition: enough for vectorised work, little enough for several at
            a time.
        free_bytes: What there is besides the libraries.
    """

    partition_bytes: int = 10 << 20
    free_bytes: int = (1 << 30) - _LIBRARIES_BYTES

    @classmethod
    def of(cls, total_bytes: int, workers: int = 2) -> Self:
        """Keep a dry run within about this much; below some 300 MB it takes what it needs all the same.

        Args:
            total_bytes: How much.
            workers: How many partitions are at work at a time.
        """
        free = max(_LARGEST_BYTES, total_bytes - _LIBRARIES_BYTES)
        share = free // (_PARTITION_SHARE * max(2, workers))
        return cls(min(max(share, _SMALLEST_BYTES), _LARGEST_BYTES), free)

    def partitions(self, input_bytes: int) -> int:
        """About how many partitions an input of so many uncompressed bytes makes."""
        return max(1, -(-input_bytes // self.partition_bytes))


USUAL: Final = Budget.of(1 << 30)
"""For a gigabyte in all."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Have polars keep memory that it freed for some seconds, rather than give it back to the system at once.

    Every partition needs about what the one before it freed, and getting those pages again costs a tenth of a
    dry run. Call it before polars is imported; a setting of the user's own stays.
    """
    # polars' own jemalloc reads this once, when it is loaded. With one arena for each core, a quarter of its
    # default, the arenas together keep little.
    settings = f"narenas:{os.cpu_count() or 1},dirty_decay_ms:10000,muzzy_decay_ms:2000"
    os.environ.setdefault("_RJEM_MALLOC_CONF", settings)


def prefer_jemalloc() -> None:
    """Have pyarrow take its memory from jemalloc, as polars does.

    Its default allocator gives freed memory back late: a dry run held 80 MB more, and a load 15 MB. Call it
    before pyarrow is imported; a setting of the user's own stays.
    """
    if sys.platform == "linux":  # only its wheels for Linux have jemalloc
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")


def no_threads_of_numpy() -> None:
    """Keep numpy from starting a thread for each core: no matrices are multiplied here.

    Each waits for work in a busy loop at first, 60 ms of CPU. Call it before numpy is imported; a setting of
    the user's own stays.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def collect_after_imports() -> None:
    """Let a process that ends with its command import all it needs before it looks for garbage cycles.

    What imports make stays, and looking through it takes 50 ms.
    """
    gc.set_threshold(500_000, 20, 50)  # more objects than the imports of any command make


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Look for garbage cycles less often for the length of a `with` block.

    With Python's own thresholds a third of a request's CPU goes into looking through what is in flight.
    Cycles are still found, so memory stays flat.
    """
    before = gc.get_threshold()
    # Frozen objects are not looked through: what imports have made is never garbage.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
