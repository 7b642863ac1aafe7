"""Lists of transactions with a reason each, as CSV in the form of the quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from pipeline.core.frames import QUARANTINE
from pipeline.core.storage.files import write_private
from pipeline.core.text.safe_text import neutral


def write_reason_list(path: Path, reasons: Sequence[Mapping[str, str | None]]) -> None:
    """Write a private list, one row a reason.

    Args:
        path: The file.
        reasons: By columns of the quarantine; a column that a reason lacks is empty.
    """
    table = pl.DataFrame(reasons, schema=dict.fromkeys(QUARANTINE, pl.String))
    write_private(path, table.with_columns(neutral(pl.all())).write_csv(quote_style="non_numeric"))
