"""The machine that is measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("polars", "pyarrow", "pandera", "httpx", "httptools", "sqlalchemy")


def facts(peers: dict[str, str]) -> dict[str, str]:
    """What a reader needs to judge the figures, by name."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{_memory_bytes() / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "this project": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "peers": ", ".join(f"{name} {number}" for name, number in peers.items()),
        "commit": _commit(),
    }


def load() -> float:
    """Load average of the last minute: what else the machine was doing."""
    return os.getloadavg()[0]


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _commit() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"
