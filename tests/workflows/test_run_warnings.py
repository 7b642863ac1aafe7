"""Warnings that only the whole of a run shows, by real dry runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import CannotStart
from pipeline.core.events import ignore
from pipeline.core.memory import Budget
from pipeline.workflows.prepare import PrepareOptions, prepare

MAPPING = """
mapping: shop
source: {{key: [Receipt]}}
columns: {{Qty: integer, Price: decimal}}
transaction:
  external_id: Receipt
  total: {{sum: {{sql: "Qty * Price"}}}}
  transacted_at: {{column: Sold, then: [{{datetime: {{formats: {formats}}}}}]}}
items: {{external_id: {item}, name: Item, quantity: Qty, price_current: Price, price_sell: Price}}
checks: {{guest: "off", {checks}}}
"""
SMALL = Budget(partition_bytes=400)


def summary(
    directory: Path, rows: str, *, formats: str = "[iso]", item: str = "Line", checks: str = ""
) -> dict[str, Any]:
    (directory / "shop.yaml").write_text(MAPPING.format(formats=formats, item=item, checks=checks))
    (directory / "in.csv").write_text(f"Receipt,Sold,Line,Item,Qty,Price\n{rows}", encoding="utf-8")
    finished = prepare(
        directory / "work",
        str(directory / "shop.yaml"),
        [str(directory / "in.csv")],
        PrepareOptions(budget=SMALL),
        ignore,
    )
    found: dict[str, Any] = json.loads(json.dumps(finished.summary.as_dict()))
    return found


def sales(*lines: tuple[str, str]) -> str:
    return "".join(f"{receipt},2024-01-05 10:00:00,{line},Mug,1,8.00\n" for receipt, line in lines)


def test_an_item_id_that_sales_share_is_a_warning_however_far_apart_they_are(tmp_path: Path) -> None:
    between = [(f"R{n}", f"L{n}") for n in range(200)]
    rows = sales(("A", "1"), ("A", "2"), *between, ("B", "1"), ("C", "1"), ("D", "2"), ("E", "3"))
    found = summary(tmp_path, rows)
    assert found["warnings"] == {"item_external_id_repeated": 2}
    assert found["transactions"]["accepted"] == 205


def test_ids_of_items_that_are_not_imported_are_no_repeats(tmp_path: Path) -> None:
    conflict = sales(("B", "1")) + sales(("B", "1")).replace("Mug", "Cup")
    found = summary(tmp_path, sales(("A", "1")) + conflict)
    assert found["rejected"] == {"item_external_id_conflict": 1}
    assert found["warnings"] == {}


def test_a_mapping_may_not_want_to_know(tmp_path: Path) -> None:
    rows = sales(("A", "1"), ("B", "1"))
    assert summary(tmp_path, rows, checks="item_external_id_repeated: off")["warnings"] == {}


@pytest.mark.parametrize("code", ["item_external_id_repeated", "formats_disagree", "encoding_replaced"])
def test_what_is_about_the_run_rejects_no_transaction(tmp_path: Path, code: str) -> None:
    with pytest.raises(CannotStart, match="about the run"):
        summary(tmp_path, sales(("A", "1")), checks=f"{code}: reject")


@pytest.mark.slow
def test_formats_that_contradict_each_other_are_counted(tmp_path: Path) -> None:
    days = ["13/01/2024", "05/01/2024", "01/31/2024", "20/02/2024"]
    rows = "".join(f"R{n},{day},{n},Mug,1,8.00\n" for n, day in enumerate(days))
    formats = '["%d/%m/%Y", "%m/%d/%Y"]'
    assert summary(tmp_path, rows, formats=formats)["warnings"] == {"formats_disagree": 1}
    off = summary(tmp_path, rows, formats=formats, checks="formats_disagree: off")
    assert off["warnings"] == {}
