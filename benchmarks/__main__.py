"""Measures speed and memory and prints one table; `make bench`, or `python -m benchmarks --help`.

Every tool's output is checked before its time counts: counts, and a checksum of the payloads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks import child, curve, machine, scale, transform
from benchmarks.environment import HERE, WORK, Peers, missing_tools, peers, say
from benchmarks.results import US, Row, Run, markdown, save
from benchmarks.targets import judged

PARTS = ("csv", "parquet", "scale", "load", "batch", "first", "confirm", "help")
SIZES = (100_000, 1_000_000)
FULL_SIZES = (100_000, 1_000_000, 4_000_000, 10_000_000)
HELP_RUNS = 10
NOTES = (
    "Seconds are medians; for sending and looking up they go from the sink's first answer to its last, so "
    "that nobody's start-up counts.",
    "× ours: how many times faster than the tool this project is, units a second.",
    "Peak MiB: the largest resident size of the tool's process. Load: of the machine when a run began; above "
    "1 something else was running.",
    "DuckDB and the loop do the bare transform. This project's `prepare` also validates, keeps what it turns "
    "away with its lines, and writes a staged run with fingerprints and a report.",
    "Omneo takes no null for some fields, and items belong in the order of their lines: what DuckDB does "
    "where neither is asked of it is the least that the transform can cost, and is not the same work.",
    "The peers send a fifth of the bodies; wrk sends one body for five seconds.",
)


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="up to 10,000,000 receipts; takes hours")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--receipts", type=int, action="append", help="sizes of exports; may be repeated")
    parser.add_argument("--send", type=int, default=50_000, help="receipts to send, one a request")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each tool")
    return parser.parse_args()


def measure(given: argparse.Namespace, others: Peers, missing: Sequence[str]) -> list[Row]:
    """Run what was asked for."""
    parts = given.part or PARTS
    sizes = sorted(given.receipts or (FULL_SIZES if given.full else SIZES))
    rows: list[Row] = []
    for suffix in ("csv", "parquet"):
        if suffix in parts:
            for size in sizes:
                rows += transform.measure(others, size, suffix, given.repeat)
    if "scale" in parts:
        rows += scale.measure(sizes[-1], given.repeat)
    if "nginx" not in missing:
        rows += _deliveries(
            given, parts, max(size for size in (*sizes[:1], *sizes) if size <= max(SIZES)), others, missing
        )
    if "help" in parts:
        rows.append(_help())
    return rows


def _deliveries(
    given: argparse.Namespace, parts: Sequence[str], large: int, others: Peers, missing: Sequence[str]
) -> list[Row]:
    from benchmarks import delivery

    rows: list[Row] = []
    if "load" in parts:
        rows += delivery.measure_load(others, given.send, given.repeat, wrk="wrk" not in missing)
    if "batch" in parts:
        rows += delivery.measure_batches(large, given.repeat)
    if "first" in parts:
        rows += delivery.measure_first(large, given.repeat)
    if "confirm" in parts:
        rows += delivery.measure_confirm(given.send, given.repeat)
    return rows


def _help() -> Row:
    runs = []
    for _ in range(HELP_RUNS):
        load, cost = machine.load(), child.run([child.OWN, "-m", "pipeline", "--help"])
        runs.append(Run(cost.wall_s, cost.cpu_s, cost.peak_bytes, 1, load=load))
    return Row("--help", 1, "starts", US, tuple(runs))


def main() -> int:
    """Measure, print, save."""
    given = arguments()
    WORK.mkdir(exist_ok=True)
    others, missing = peers(), missing_tools()
    rows = measure(given, others, missing)
    about = machine.facts(others.versions)
    targets = judged(rows)
    text = markdown(about, rows, targets, NOTES)
    print(text)
    save(HERE / "results", about, rows, targets, text)
    curve.draw([row for row in rows if "(CSV" in row.work], HERE / "results/curve.svg")
    say(f"saved in {HERE / 'results'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except child.Failed as error:
        sys.exit(f"Not measured, since a result is wrong: {error}")
