"""A picture of what a receipt costs as inputs grow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import Row


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw microseconds a receipt against the number of receipts, a line a tool; nothing for one size."""
    if len({row.size for row in rows}) < 2:
        return
    import pygal

    chart = pygal.XY(
        title="What a receipt costs as the export grows (CSV, median)",
        x_title="receipts (logarithmic)",
        y_title="microseconds a receipt",
        logarithmic=False,
        show_x_guides=True,
        include_x_axis=False,
        js=[],
        legend_at_bottom=True,
        truncate_legend=-1,
        disable_xml_declaration=True,
        range=(0, 1.1 * max(map(_cost_us, rows))),
        x_value_formatter=lambda power: f"{10**power:,.0f}",
        x_labels=sorted({_place(row) for row in rows}),
    )
    for who in dict.fromkeys(row.who for row in rows):
        chart.add(who, [(_place(row), round(_cost_us(row), 2)) for row in rows if row.who == who])
    path.write_text(chart.render(is_unicode=True), encoding="utf-8")


def _cost_us(row: Row) -> float:
    return row.wall_s / row.size * 1e6


def _place(row: Row) -> float:
    from math import log10

    return log10(row.size)
