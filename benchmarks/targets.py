"""What this project promises of speed and memory, judged by what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.results import US, Row, Target

MIB = 2**20


def judged(rows: Sequence[Row]) -> list[Target]:
    """Every promise of which something was measured."""
    own = [row for row in rows if row.who == US]
    prepared = [row for row in own if row.work.startswith("prepare")]
    csv = [row for row in prepared if "(CSV" in row.work]
    return [
        *_beside_duckdb(csv, rows),
        *_parquet(prepared),
        *_memory(csv),
        *_disk(csv),
        *_growth(csv),
        *_delivery(own, rows),
    ]


def _beside_duckdb(csv: Sequence[Row], rows: Sequence[Row]) -> Iterator[Target]:
    for row in csv:
        for other in (each for each in rows if each.work == row.work and each.who.startswith("DuckDB")):
            ratio, most = row.wall_s / other.wall_s, _most(row.size, same="same bodies" in other.who)
            what = f"{row.work}, beside {other.who}"
            yield Target(what, f"at most {most} ×", f"{ratio:.2f} ×", ratio <= most)


def _most(receipts: int, *, same: bool) -> float:
    """How many times DuckDB's time is promised; of few receipts, start and end are the larger part."""
    if receipts < 1_000_000:
        return 1.2 if same else 1.5
    return 1.0 if same else 1.3


def _parquet(prepared: Sequence[Row]) -> Iterator[Target]:
    largest = max((row.size for row in prepared), default=0)
    times = {
        ("CSV" if "(CSV" in row.work else "PARQUET"): row.wall_s for row in prepared if row.size == largest
    }
    if len(times) == 2:
        ratio = times["PARQUET"] / times["CSV"]
        yield Target(
            f"prepare {largest:,} receipts from Parquet, beside CSV",
            "at most 0.7 ×",
            f"{ratio:.2f} ×",
            ratio <= 0.7,
        )


def _memory(csv: Sequence[Row]) -> Iterator[Target]:
    by_size = {row.size: row.peak_bytes for row in csv}
    for size, peak in by_size.items():
        yield Target(
            f"peak memory of prepare, {size:,} receipts",
            "under 1,024 MiB",
            f"{peak / MIB:,.0f} MiB",
            peak < 2**30,
        )
    if {1_000_000, 4_000_000} <= by_size.keys():
        growth = by_size[4_000_000] / by_size[1_000_000] - 1
        yield Target("its growth from 1 to 4 million receipts", "under 25%", f"{growth:+.0%}", growth < 0.25)


def _disk(csv: Sequence[Row]) -> Iterator[Target]:
    for row in csv[-1:]:
        size_mb = float(row.work.rsplit(" MB", 1)[0].rsplit(" ", 1)[1].replace(",", ""))
        share = row.disk_bytes / 1e6 / size_mb
        yield Target(
            f"disk used while preparing {row.size:,} receipts",
            "under 1.5 × the input",
            f"{share:.2f} ×",
            share < 1.5,
        )


def _growth(csv: Sequence[Row]) -> Iterator[Target]:
    if len(csv) > 1:
        first, last = csv[0], csv[-1]
        growth = (last.wall_s / last.size) / (first.wall_s / first.size) - 1
        what = f"time a receipt from {first.size:,} to {last.size:,} receipts"
        yield Target(what, "grows under 15%", f"{growth:+.0%}", growth < 0.15)


def _delivery(own: Sequence[Row], rows: Sequence[Row]) -> Iterator[Target]:
    for row in own:
        if row.work.endswith("one transaction a request"):
            yield _above(row, "load, one transaction a request", 3_000)
            for other in (each for each in rows if each.work == row.work and each.who.startswith("dlt")):
                ratio = row.rate / other.rate
                yield Target(f"load beside {other.who}", "1.3 ×", f"{ratio:.1f} ×", ratio >= 1.3)
        elif row.work.endswith("transactions a request"):
            yield _above(row, row.work.replace("send to a server that counts", "load"), 10_000)
        elif row.work.startswith("confirm"):
            yield _above(row, "confirm", 3_000)
        elif row.work.startswith("from `load`"):
            yield Target(row.work, "under 3 s", f"{row.wall_s:.2f} s", row.wall_s < 3)
        elif row.work == "--help":
            yield Target("--help", "under 0.3 s", f"{row.wall_s:.2f} s", row.wall_s < 0.3)
        if row.work.startswith(("send", "from")):
            peak = row.peak_bytes / MIB
            yield Target(f"peak memory: {row.work}", "under 300 MiB", f"{peak:,.0f} MiB", peak < 300)


def _above(row: Row, what: str, least: int) -> Target:
    return Target(what, f"above {least:,} a second", f"{row.rate:,.0f} a second", row.rate > least)
