"""The model behind docs/scaling.md; `python docs/scaling_model.py` writes its table and its picture again.

What a load sends a minute is the least of three: what Omneo's throttle allows, what is in flight over how
long an answer takes, and what the processors of its machines can do.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pygal
from pygal.style import Style

# pygal leaves a finder of the old kind there, which Python 3.11 warns of at each later import.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

SHARE = 0.985
"""Of the limit that is aimed at; see pipeline/loading/http/throttle.py."""
PER_PROCESS_S = 700
"""Requests a second of one process: two did 1,400 together, sharing two cores with all they spoke to."""
WORKERS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Load:
    """What decides how fast a load is.

    Attributes:
        workers: Processes, each with a core of its own.
        latency_s: From a request to its answer.
        limit_per_min: Requests that the throttle allows, for all workers together.
        concurrency: Requests in flight, for each worker.
    """

    workers: int
    latency_s: float
    limit_per_min: float
    concurrency: int = 64

    @property
    def per_min(self) -> float:
        """Requests a minute."""
        each = min(self.concurrency / self.latency_s, PER_PROCESS_S)
        return min(SHARE * self.limit_per_min, 60 * self.workers * each)


SCENES = {
    "1,000 a minute, 0.2 s or 2 s": (2.0, 1_000),
    "10,000 a minute, 0.2 s": (0.2, 10_000),
    "10,000 a minute, 10 s": (10.0, 10_000),
    "no limit, 2 s": (2.0, float("inf")),
    "no limit, 0.2 s": (0.2, float("inf")),
}


LIMIT_PER_MIN = 1_000
"""Of the table."""
BATCH = 100
PREPARE_S, PREPARE_RECEIPT_S = 1.2, 6e-6
"""Of `prepare` on two cores: start and end, and each receipt of 2.7 rows in CSV; see docs/performance.md."""
LEDGER_BYTES = 99
"""Of an SQLite ledger, for each transaction."""


def table(*millions: int) -> str:
    """What so many million transactions take, as Markdown."""
    titles = "one a request", f"batches of {BATCH}, each looked up once", "`prepare`, one machine", "ledger"
    lines = [f"| transactions | {' | '.join(titles)} |", "|---|---|---|---|---|"]
    for each in millions:
        number = each * 1_000_000
        minutes = number / (SHARE * LIMIT_PER_MIN)
        cells = (
            f"{each:,} million",
            _duration(60 * minutes),
            _duration(60 * minutes * 2 / BATCH),
            _duration(PREPARE_S + number * PREPARE_RECEIPT_S),
            f"{number * LEDGER_BYTES / 1e9:.2g} GB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    """Two figures of the largest unit of which there is at least one and a half."""
    units = {"years": 365 * 86_400, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
    unit, size = next(each for each in units.items() if seconds >= 1.5 * each[1])
    return f"{seconds / size:.2g} {unit}"


TABLE = table(1, 10, 1_000)


def picture() -> str:
    """Requests a minute against workers, as SVG."""
    style = Style(
        background="white",
        plot_background="white",
        font_family="sans-serif",
        title_font_size=18,
        colors=("#c0392b", "#2980b9", "#16a085", "#8e44ad", "#d35400"),
    )
    chart = pygal.XY(
        style=style,
        width=860,
        height=480,
        logarithmic=True,
        title="Requests a minute by workers, for some throttles and latencies",
        x_title="workers (processes)",
        y_title="requests a minute",
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        js=(),
        no_prefix=True,
        disable_xml_declaration=True,
        x_labels=WORKERS,
        y_labels=(100, 1_000, 10_000, 100_000, 1_000_000),
        stroke_style={"width": 2},
        human_readable=True,
        truncate_legend=-1,
    )
    for title, (latency_s, limit) in SCENES.items():
        chart.add(title, [(n, Load(n, latency_s, limit).per_min) for n in WORKERS])
    # Without the date in its remarks: it is the same picture every day.
    return re.sub(r"<!--.*?-->", "", str(chart.render(is_unicode=True))).replace(chart.uuid, "scaling") + "\n"


if __name__ == "__main__":
    page = Path(__file__).with_name("scaling.md")
    before, _, after = page.read_text("utf-8").partition(TABLE.split("\n")[0])
    page.write_text(before + TABLE + after[after.index("\n\n") :], encoding="utf-8")
    Path(__file__).with_name("scaling.svg").write_text(picture(), encoding="utf-8")
