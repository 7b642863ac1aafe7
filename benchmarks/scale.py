"""`prepare` on worker processes beside `prepare` here: what spreading costs; the payloads are the same."""

from __future__ import annotations

from benchmarks import child, machine
from benchmarks.environment import export, fresh, say
from benchmarks.results import US, Row, Run
from benchmarks.transform import CHECKED, prepare, staged, sums

WORKERS = (1, 2, 4)


def measure(receipts: int, repeat: int) -> list[Row]:
    """One Parquet file, cut at row groups: here, and on so many worker processes of a local Dask cluster.

    Raises:
        child.Failed: A run failed, or its payloads are not those of the run here.
    """
    source = export(receipts, "parquet")
    every = max(1, receipts // CHECKED)
    work = f"spread: prepare {receipts:,} receipts (PARQUET, {source.stat().st_size / 1e6:,.0f} MB)"
    ways: dict[str, list[str]] = {US: []}
    ways |= {f"{US}, {n} Dask workers": ["--engine", "dask", "--workers", str(n)] for n in WORKERS}
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    right = None
    for _ in range(repeat):
        for name, options in ways.items():
            load, home = machine.load(), fresh("scale")
            cost = child.run([*prepare(source, home), *options])
            found = sums(staged(home), every)
            right = right or found
            if found != right:
                raise child.Failed(f"{name} gives other payloads: {found}, not {right}")
            runs[name].append(Run(cost.wall_s, cost.cpu_s, cost.peak_bytes, receipts, load=load))
            say(f"{work}: {name} {cost.wall_s:.2f} s, {cost.cpu_s:.1f} s CPU")
    return [Row(work, receipts, "receipts", name, tuple(each)) for name, each in runs.items()]
