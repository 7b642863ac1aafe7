"""Pictures for the page: drawn by pygal, stripped of its style and script, so that the page's own rule.

The colours are the page's (light, dark, print) through the classes `serie-0`, `serie-1`, …; a bar's value is
its `<title>`, which browsers show on hover and screen readers can read.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Final
from xml.etree import ElementTree

from markupsafe import Markup

LABEL_SIZE: Final = 11
TICKS: Final = 4


def bar_chart(
    labels: Sequence[str],
    series: Mapping[str, Sequence[int]],
    *,
    text: str,
    shown: Mapping[str, str],
    width: int = 360,
    height: int = 180,
) -> Markup:
    """Draw stacked bars as inline SVG.

    Args:
        labels: One a bar, from left to right, all different.
        series: By name, one value a bar; the first is the lowest.
        text: What the picture shows, in words, for those who do not see it.
        shown: The labels that are written under the axis, and how.
        width: Units of the view box; a unit is a CSS pixel where the picture is shown at its own size.
        height: As `width`.
    """
    pygal = _pygal()
    size = {"label_font_size": LABEL_SIZE, "major_label_font_size": LABEL_SIZE}
    chart = pygal.StackedBar(
        width=width,
        height=height,
        margin=4,
        margin_bottom=10,
        spacing=4,
        show_legend=False,
        show_minor_x_labels=False,
        x_labels_major=list(shown),
        truncate_label=-1,
        css=[],
        js=[],
        style=pygal.style.Style(**size),
    )
    chart.x_labels = list(labels)
    chart.y_labels = _ticks(max((sum(column) for column in zip(*series.values(), strict=True)), default=0))
    for name, values in series.items():
        chart.add(name, list(values))
    root = chart.render_tree()
    _clean(root)
    _name_labels(root, shown)
    for number, (name, values) in enumerate(series.items()):
        bars = root.findall(f".//g[@class='series serie-{number} color-{number}']//g[@class='bar']")
        for bar, label, value in zip(bars, labels, values, strict=True):
            _name_bar(bar, f"{label}: {value:,} {name}")
    root.attrib = {"viewBox": f"0 0 {width} {height}", "class": "chart", "role": "img", "aria-label": text}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 - escaped by ElementTree


def _pygal() -> Any:
    """Import pygal without the import finder it leaves behind, of which Python warns on later imports."""
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__]
    return pygal


def _ticks(highest: int) -> list[dict[str, Any]]:
    """Round values from 0 to the first one that `highest` does not pass, at most five of them."""
    step, factors = 1, cycle((2, 2.5, 2))
    while step * TICKS < highest:
        step = int(step * next(factors))
    last = -(-max(highest, 1) // step)
    return [{"value": step * n, "label": _short(step * n)} for n in range(last + 1)]


def _short(number: int) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return str(number)


def _clean(root: ElementTree.Element) -> None:
    """Take out style, script, tooltips and empty parts."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _is_clutter(child):
                parent.remove(child)


def _name_labels(root: ElementTree.Element, shown: Mapping[str, str]) -> None:
    for label in root.findall(".//g[@class='axis x']//text"):
        label.text = shown.get(label.text or "", label.text)


def _is_clutter(element: ElementTree.Element) -> bool:
    style = element.get("class", "")
    return (
        element.tag in {"defs", "title"}
        or (element.tag == "rect" and style == "background")
        or "overlay" in style
        or style == "titles"
        or not isinstance(element.tag, str)
    )


def _name_bar(bar: ElementTree.Element, title: str) -> None:
    """Leave the rectangle, if it has a height, and say in its title what it stands for."""
    rect = bar.find("rect")
    bar.clear()
    if rect is None or not float(rect.get("height", "0")):
        return
    bar.append(rect)
    rect.attrib = {side: f"{float(rect.get(side, '0')):.1f}" for side in ("x", "y", "width", "height")}
    ElementTree.SubElement(rect, "title").text = title
