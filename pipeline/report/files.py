"""Writes the report into a run directory."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Final

from pipeline.report.data import ReportData
from pipeline.report.page import render_page
from pipeline.report.view import view

REPORT_HTML: Final = "report.html"
REPORT_JSON: Final = "report.json"


def write_report(run_dir: Path, data: ReportData, *, show_personal_data: bool = False) -> Path:
    """Write `report.html` and `report.json`, replacing what is there, and return the page's path.

    Both files can be read by their owner only; each appears whole or not at all.

    Args:
        run_dir: The run's directory; it exists.
        data: What to tell.
        show_personal_data: Leave emails, card and phone numbers and customers' ids as they are.
    """
    values = view(data, show_personal_data=show_personal_data)
    _write(run_dir / REPORT_JSON, json.dumps(values, ensure_ascii=False) + "\n")
    page = run_dir / REPORT_HTML
    _write(page, render_page(values))
    return page


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # several may load one run at a time
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    draft.replace(path)
