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
_UNSEEN: Final = {
    code: f"\\u{code:04x}"
    for unseen in ((0x7F, 0x9F), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x2069), (0xFEFF, 0xFEFF))
    for code in range(unseen[0], unseen[1] + 1)
}


def write_report(run_dir: Path, data: ReportData, *, show_personal_data: bool = False) -> Path:
    """Write `report.html` and `report.json`, replacing what is there, and return the page's path.

    Both files can be read by their owner only; each appears whole or not at all.

    Args:
        run_dir: The run's directory; it exists.
        data: What to tell.
        show_personal_data: Leave emails, card and phone numbers and customers' ids as they are.
    """
    values = view(data, show_personal_data=show_personal_data)
    _write(run_dir / REPORT_JSON, _unseen_escaped(json.dumps(values, ensure_ascii=False)) + "\n")
    page = run_dir / REPORT_HTML
    _write(page, render_page(values))
    return page


def _unseen_escaped(text: str) -> str:
    r"""JSON in which what a terminal could obey, or nobody can see, is an escape such as `\u009b`."""
    return text.translate(_UNSEEN)


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # several may load one run at a time
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    draft.replace(path)
