"""What was measured, as values, and the tables made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

US = "omneo-import"


@dataclass(frozen=True)
class Run:
    """One run of one tool.

    Attributes:
        wall_s: Time, as the work defines it.
        cpu_s: Time of processors; 0 where it was not measured.
        peak_bytes: Largest resident size; 0 where it was not measured.
        count: Units of work done.
        disk_bytes: The most that was on disk while it ran; 0 where it was not measured.
        load: Load average when it began.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    count: int
    disk_bytes: int = 0
    load: float = 0.0


@dataclass(frozen=True)
class Row:
    """All runs of one tool at one work.

    Attributes:
        work: What was done, for people.
        size: Units of work in each run, and the key of the curve.
        unit: What is counted.
        who: The tool.
        runs: One or more.
    """

    work: str
    size: int
    unit: str
    who: str
    runs: tuple[Run, ...]

    @property
    def wall_s(self) -> float:
        """The median."""
        return median(run.wall_s for run in self.runs)

    @property
    def cpu_s(self) -> float:
        """The median."""
        return median(run.cpu_s for run in self.runs)

    @property
    def peak_bytes(self) -> float:
        """The median."""
        return median(run.peak_bytes for run in self.runs)

    @property
    def disk_bytes(self) -> int:
        """The most of all runs."""
        return max(run.disk_bytes for run in self.runs)

    @property
    def rate(self) -> float:
        """Units a second, the median."""
        return median(run.count / run.wall_s for run in self.runs)


@dataclass(frozen=True)
class Target:
    """A promise and what was measured of it.

    Attributes:
        what: In words.
        promised: In words.
        measured: In words.
        met: Whether it holds.
    """

    what: str
    promised: str
    measured: str
    met: bool


def markdown(
    machine: dict[str, str], rows: Sequence[Row], targets: Sequence[Target], notes: Sequence[str]
) -> str:
    """The whole result as Markdown."""
    parts = [f"- {name}: {value}" for name, value in machine.items()]
    parts += ["", *_table(_HEAD, map(_cells, rows, _ours(rows))), ""]
    if targets:
        told = (
            (each.what, each.promised, each.measured, "yes" if each.met else "**no**") for each in targets
        )
        parts += [*_table(("target", "promised", "measured", "met"), told), ""]
    return "\n".join([*parts, *(f"- {note}" for note in notes), ""])


_HEAD = ("work", "tool", "runs", "seconds", "from – to", "CPU s", "peak MiB", "a second", "× ours", "load")


def _ours(rows: Sequence[Row]) -> list[Row | None]:
    own = {row.work: row for row in rows if row.who.startswith(US)}
    return [own.get(row.work) for row in rows]


def _cells(row: Row, ours: Row | None) -> tuple[str, ...]:
    walls = [run.wall_s for run in row.runs]
    # Work of which each tool does another amount is compared by its rate.
    ratio = f"{ours.rate / row.rate:.2f}" if ours else ""
    return (
        row.work,
        row.who,
        str(len(row.runs)),
        f"{row.wall_s:.2f}",
        f"{min(walls):.2f} – {max(walls):.2f}",
        f"{row.cpu_s:.1f}" if row.cpu_s else "",
        f"{row.peak_bytes / 2**20:,.0f}" if row.peak_bytes else "",
        f"{row.rate:,.0f} {row.unit}",
        ratio,
        f"{max(run.load for run in row.runs):.1f}",
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table that also reads well as text."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    told = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    return [told[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *told[1:]]


def save(
    directory: Path, machine: dict[str, str], rows: Sequence[Row], targets: Sequence[Target], text: str
) -> None:
    """Write the results as `latest.md` and `latest.json`."""
    directory.mkdir(exist_ok=True)
    (directory / "latest.md").write_text(text, encoding="utf-8")
    values = {
        "machine": machine,
        "rows": [asdict(row) for row in rows],
        "targets": [asdict(t) for t in targets],
    }
    (directory / "latest.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
