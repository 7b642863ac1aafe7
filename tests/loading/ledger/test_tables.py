from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from pipeline.loading.ledger.entries import State
from pipeline.loading.ledger.tables import METADATA, NEWEST

PAGE = (Path(__file__).parents[3] / "docs/ledger.md").read_text("utf-8")


def test_the_page_names_every_table_column_and_state() -> None:
    rows = {line.split("|")[1].strip(): line for line in PAGE.splitlines() if line.startswith("| `")}
    assert set(rows) == {f"`{table.name}`" for table in METADATA.sorted_tables}
    missing = [column for table in METADATA.sorted_tables for column in _unnamed(table, rows)]
    assert not missing
    assert all(f"`{state}`" in PAGE for state in State)
    assert f"Schema {NEWEST}" in PAGE


def _unnamed(table: sa.Table, rows: dict[str, str]) -> list[str]:
    return [
        f"{table}.{each.name}" for each in table.columns if f"`{each.name}`" not in rows[f"`{table.name}`"]
    ]
