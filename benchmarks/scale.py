"""`prepare` on worker processes beside `prepare` here: what spreading costs, and what is left to the client.

Each worker is a process of its own with one thread, as on a machine of its own. The bodies are the
same everywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import child, machine
from benchmarks.environment import WORK, export_files, fresh, say
from benchmarks.results import US, Row, Run
from benchmarks.transform import CHECKED, prepare, staged, sums

FILES = 100
WORKERS = (1, 2, 4)
STARTED_S = 60.0
"""How long a cluster may take to start."""


def measure(receipts: int, repeat: int) -> list[Row]:
    """CSV files, a job for a worker each or some together: here, and on so many workers.

    Raises:
        child.Failed: A run failed, or its payloads are not those of the run here.
    """
    source = export_files(receipts, FILES)
    every = max(1, receipts // CHECKED)
    work = f"spread: prepare {receipts:,} receipts in {FILES} files"
    runs: dict[str, list[Run]] = {}
    right = None

    def note(name: str, cost: child.Cost, cpu_s: float, load: float) -> None:
        run = Run(cost.wall_s, cpu_s, cost.peak_bytes, receipts, load=load)
        runs.setdefault(name, []).append(run)
        say(f"{work}: {name} {cost.wall_s:.2f} s, {cpu_s:.1f} s CPU")

    for _ in range(repeat):
        for count in (0, *WORKERS):
            load, home = machine.load(), fresh("scale")
            command = prepare(source, home)
            if not count:
                cost = child.run(command)
                note(US, cost, cost.cpu_s, load)
            else:
                with _cluster(count) as (address, ended):
                    cost = child.run([*command, "--engine", f"dask://{address}"])
                workers_s = ended()
                name = f"{US} with {count} worker{'s' if count > 1 else ''}"
                note(f"{name}, the process that is started", cost, cost.cpu_s, load)
                note(f"{name}, the workers", cost, workers_s, load)
            found = sums(staged(home), every)
            right = right or found
            if found != right:
                raise child.Failed(f"{count} workers give other payloads: {found}, not {right}")
    return [Row(work, receipts, "receipts", name, tuple(each)) for name, each in runs.items()]


@contextmanager
def _cluster(count: int) -> Iterator[tuple[str, Callable[[], float]]]:
    """A scheduler and workers; gives its address, and how to get the workers' CPU seconds."""
    where = WORK / "scheduler.json"
    where.unlink(missing_ok=True)
    known = ["--scheduler-file", str(where), "--no-dashboard"]
    with (WORK / "cluster.log").open("w") as log:

        def begin(*arguments: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen([child.OWN, "-m", "dask", *arguments], stdout=log, stderr=log)

        scheduler = begin("scheduler", *known, "--host", "127.0.0.1", "--port", "0")
        alone = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"]
        workers = [begin("worker", *known, *alone) for _ in range(count)]
        spent: list[float] = []
        try:
            yield _address(where), lambda: sum(spent)
        finally:
            for process in (*workers, scheduler):
                process.kill()  # the work is done, and a worker without its scheduler would wait for it
            for process in workers:
                _, _, usage = os.wait4(process.pid, 0)
                process.returncode = 0
                spent.append(usage.ru_utime + usage.ru_stime)
            scheduler.wait()


def _address(where: Path) -> str:
    deadline = time.monotonic() + STARTED_S
    while time.monotonic() < deadline:
        if where.exists() and (text := where.read_text()):
            return str(json.loads(text)["address"]).removeprefix("tcp://")
        time.sleep(0.1)
    raise child.Failed("the Dask scheduler did not start; see benchmarks/.work/cluster.log")
