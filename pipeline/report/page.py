"""The report as one HTML page that needs nothing else: no network, no script from elsewhere.

Its content security policy allows only the style and the script that are in it, told by their hashes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.report.charts import time_of_day, timeline, weekday
from pipeline.report.summary import Summary
from pipeline.report.terminal import duration
from pipeline.report.text import visible
from pipeline.report.verdict import count, grouped, was_loaded

MOST_CAUSES: Final = 40
MOST_EVIDENCE: Final = 12
MOST_PAYLOAD_LINES: Final = 80
PROSE_CHARACTERS: Final = 500
MOST_ROWS: Final = 1000
"""Rows of a table that are shown; `report.json` has all."""


@cache
def environment() -> Environment:
    """Where the templates are, and the filters that they use."""
    made = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "visible": visible,
        "number": lambda number: f"{number:,}",
        "short_number": short_number,
        "grouped": grouped,
        "share": share,
        "size": size,
        "duration": lambda hours: duration(hours * 3600),
        "payload": payload,
        "prose": prose,
        "count": count,
        "when": lambda text: text.replace("T", " ").removesuffix("Z").split(".")[0].split("+")[0],
    }
    return made


def render_page(values: Mapping[str, Any]) -> str:
    """Render what `pipeline.report.view.view` gave."""
    style, script = _part("report.css"), _part("report.js")
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=values,
            loaded=was_loaded(Summary.from_dict(values)),
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704 - a file of this package
            policy=_policy(style, script),
            timeline=timeline(values),
            clock=[time_of_day(values["clock"]), weekday(values["clock"])],
            zip=zip,
            most_causes=MOST_CAUSES,
            most_evidence=MOST_EVIDENCE,
            most_rows=MOST_ROWS,
        )
    )


def share(part: int, whole: int) -> str:
    """A share that never rounds something to nothing or nearly all to all: `98.7%`, `<0.1%`, `>99.9%`."""
    if not whole or part in (0, whole):
        return "100%" if part and part == whole else "0%"
    percent = 100 * part / whole
    if percent < 0.1:
        return "<0.1%"
    return ">99.9%" if percent > 99.9 else f"{percent:.1f}%"


def short_number(number: int) -> str:
    """A round number in few characters: `500`, `2.5k`, `10M`."""
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return str(number)


def size(number: int) -> str:
    """Bytes for people, in powers of ten: `310 bytes`, `41.2 MB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number} bytes"


def payload(body: Mapping[str, Any]) -> str:
    """A request body as indented JSON, long texts and long bodies cut."""
    lines = json.dumps(_shortened(body), ensure_ascii=False, indent=2).split("\n")
    if len(lines) > MOST_PAYLOAD_LINES:
        lines = [*lines[:MOST_PAYLOAD_LINES], f"… and {len(lines) - MOST_PAYLOAD_LINES:,} more lines"]
    return "\n".join(visible(line, None) for line in lines)


def prose(text: str, limit: int = PROSE_CHARACTERS) -> Markup:
    """A sentence of ours or of a mapping, escaped; what stands in backticks is set as code."""
    parts = enumerate(escape(part) for part in visible(text, limit).split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in parts)


def _shortened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {visible(key): _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return visible(value) if isinstance(value, str) else value


def _part(name: str) -> str:
    return (files("pipeline.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    hashes = (b64encode(sha256(part.encode()).digest()).decode() for part in (style, script))
    allowed = "style-src 'sha256-{}'; script-src 'sha256-{}'".format(*hashes)
    return f"default-src 'none'; {allowed}; img-src data:; base-uri 'none'; form-action 'none'"
