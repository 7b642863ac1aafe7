"""`prepare` beside a bare transform: files become sorted request bodies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import child, machine
from benchmarks.environment import Peers, export, fresh, say
from benchmarks.results import US, Row, Run

MAPPING = child.ROOT / "mappings/pos_lines.yaml"
CHECKED = 100_000
"""About how many payloads are compared in full; of more, a sample that depends on the ids only."""
LOOP_MOST = 1_000_000
"""A plain loop holds everything in memory; larger inputs are left to the others."""


@dataclass(frozen=True)
class Tool:
    """One way to do it.

    Attributes:
        name: For people.
        command: Source and a fresh directory give the command.
        out: Where it leaves its payloads.
        most: The largest size that it is tried with.
        runs: At most so many runs for sizes above 100,000.
        exact: Whether its payloads are those of this project, nulls and the order of items included.
    """

    name: str
    command: Callable[[Path, Path], Sequence[str | Path]]
    out: Callable[[Path], Path]
    most: int = 2**62
    runs: int = 2**62
    exact: bool = True


def prepare(source: Path, home: Path) -> list[str | Path]:
    """The command of this project."""
    options: child.Command = ["-q", "--json", "--workdir", home, "-m", MAPPING]
    return [child.OWN, "-m", "pipeline", "prepare", *options, source]


def staged(workdir: Path) -> Path:
    """The payloads of the only run in a working directory."""
    (run,) = (workdir / "runs").iterdir()
    return run / "staged"


def tools(peers: Peers, suffix: str) -> Iterator[Tool]:
    """This project first, then whatever is there to compare with."""
    yield Tool(US, prepare, staged)
    if peers.python:
        duckdb = f"DuckDB {peers.versions['duckdb']}"
        yield Tool(
            f"{duckdb}, the same bodies only",
            lambda source, home: peers.command("duckdb_transform.py", source, home / "out.parquet"),
            lambda home: home / "out.parquet",
        )
        yield Tool(
            f"{duckdb}, bodies with nulls, items in any order",
            lambda source, home: peers.command("duckdb_transform.py", source, home / "out.parquet", "loose"),
            lambda home: home / "out.parquet",
            exact=False,
        )
        if suffix == "csv":
            yield Tool(
                "Python csv loop, the same bodies only",
                lambda source, home: peers.command("csv_loop.py", source, home / "out.jsonl"),
                lambda home: home / "out.jsonl",
                LOOP_MOST,
                1,
            )


def measure(peers: Peers, receipts: int, suffix: str, repeat: int) -> list[Row]:
    """All tools over the same file, in turns.

    Raises:
        child.Failed: A tool failed, or its payloads are not those of this project.
    """
    source = export(receipts, suffix)
    every = max(1, receipts // CHECKED)
    work = f"prepare {receipts:,} receipts ({suffix.upper()}, {source.stat().st_size / 1e6:,.0f} MB)"
    some = [tool for tool in tools(peers, suffix) if receipts <= tool.most]
    runs: dict[str, list[Run]] = {tool.name: [] for tool in some}
    right: dict[str, Any] | None = None
    for turn in range(repeat):
        for tool in some:
            if turn >= tool.runs and receipts > 100_000:
                continue
            load, home = machine.load(), fresh("transform")
            cost = child.run(tool.command(source, home), watch=home)
            found = sums(tool.out(home), every)
            right = right or found
            if not tool.exact:
                found["bodies"] = right["bodies"]
            if found != right:
                raise child.Failed(f"{tool.name} gives other payloads: {found}, not {right}")
            runs[tool.name].append(
                Run(cost.wall_s, cost.cpu_s, cost.peak_bytes, receipts, cost.disk_bytes, load)
            )
            say(f"{work}: {tool.name} {cost.wall_s:.2f} s, {cost.cpu_s:.1f} s CPU")
    return [Row(work, receipts, "receipts", name, tuple(each)) for name, each in runs.items()]


def sums(path: Path, every: int) -> dict[str, Any]:
    """Counts and checksums of payloads; see `benchmarks.digest`."""
    cost = child.run([child.OWN, "-m", "benchmarks.digest", "sums", path, "--every", str(every)])
    found: dict[str, Any] = json.loads(cost.out)
    return found
