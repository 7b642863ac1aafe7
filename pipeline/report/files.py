"""Writes the report into a run directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from pipeline.core.files import write_private
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
    page = run_dir / REPORT_HTML
    texts = {
        run_dir / REPORT_JSON: _unseen_escaped(json.dumps(values, ensure_ascii=False)) + "\n",
        page: render_page(values),
    }
    for path, text in texts.items():
        # Half of a character may come from a source; UTF-8 cannot hold it.
        write_private(path, text.encode("utf-8", "backslashreplace"))
    return page


def _unseen_escaped(text: str) -> str:
    r"""JSON in which what a terminal could obey, or nobody can see, is an escape such as `\u009b`."""
    return text.translate(_UNSEEN)
