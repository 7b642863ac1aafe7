"""Real .xlsx files for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import xlsxwriter

ERRORS = ("#N/A", "#REF!")
"""Cells that become formulas with this error."""

Target = TypeVar("Target", Path, BytesIO)


def workbook(
    path: Target, rows: Sequence[Sequence[object]], formats: Mapping[str, str] | None = None, **options: Any
) -> Target:
    """Write rows to a workbook of one sheet.

    Args:
        path: Where to; it is given back.
        rows: The cells; None leaves one out. The first row with cells names the columns.
        formats: How Excel shows the numbers and dates of a column, by its name.
        **options: Of xlsxwriter.
    """
    with xlsxwriter.Workbook(path, {"strings_to_numbers": False, **options}) as book:
        sheet = book.add_worksheet("Sales")
        head = next((row for row in rows if any(row)), [])
        shown = [book.add_format({"num_format": (formats or {}).get(str(name), "")}) for name in head]
        for n, row in enumerate(rows):
            for m, cell in enumerate(row):
                if cell in ERRORS:
                    sheet.write_formula(n, m, "=NA()", None, str(cell))
                elif cell is not None:
                    sheet.write(n, m, cell, *([shown[m]] if formats and n else []))
    return path
