"""The pictures in `docs/images`: the demo's run in a terminal, and its report.

`python -m docs.tools.pictures` takes them again; it needs Chromium.
"""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.mapping.language.shipped import shipped_sample
from pipeline.simulator import SimulatorSettings
from pipeline.testing import local_omneo

IMAGES: Final = Path(__file__).parents[1] / "images"
_SAMPLE: Final = "pos_lines"
_PAGE: Final = """<meta charset="utf-8"><body style="margin:0;background:#0d1117">
<pre style="margin:0;padding:18px 22px;color:#e6edf3;font:14px/1.4 'DejaVu Sans Mono',monospace">{}</pre>"""
_MOST_LINES: Final = 34
_TENANT: Final = SimulatorSettings(unknown_profiles="enrol")


def main() -> None:
    """Run the demo's commands and photograph what they show."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("The pictures need Chromium.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, local_omneo(_TENANT, job_delay_s=0) as omneo:
        shutil.copy(shipped_sample(_SAMPLE), home)
        environment = os.environ | omneo.environment() | {"COLUMNS": "110"}
        shown = [_ran(home, environment, *f"prepare -m {_SAMPLE} {_SAMPLE}.csv".split())]
        (report,) = Path(home).glob(".omneo-import/runs/*/report.html")
        _photograph(browser, report, "report.png", 1180, 820)
        shown += [_ran(home, environment, "load", "latest"), _ran(home, environment, "confirm", "latest")]
        terminal = Path(home) / "terminal.html"
        terminal.write_text(_PAGE.format("\n".join(map(_shortened, shown))), encoding="utf-8")
        lines = sum(map(str.count, map(_shortened, shown), ["\n"] * 3)) + 3
        _photograph(browser, terminal, "terminal.png", 1000, 40 + 20 * lines)


def _ran(home: str, environment: Mapping[str, str], *arguments: str) -> str:
    """A command line with its prompt, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=home,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    return f"$ omneo-import {' '.join(arguments)}\n{done.stdout}".replace(home, "~")


def _shortened(text: str) -> str:
    lines = text.splitlines()
    kept = lines if len(lines) <= _MOST_LINES else [*lines[:16], "      …", *lines[-3:]]
    first, *rest = map(html.escape, kept)
    return "\n".join([f'<b style="color:#7ee787">{first}</b>', *rest, ""])


def _photograph(browser: str, page: Path, name: str, width: int, height: int) -> None:
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = [f"--window-size={width},{height}", f"--screenshot={IMAGES / name}"]
    subprocess.run([browser, *flags, *size, page.as_uri()], check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
