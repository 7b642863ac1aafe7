"""Keys that are made of definitions."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.events import ignore
from pipeline.mapping.compile.check import check_mapping, mapping_notices
from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.workflows.prepare import PrepareOptions, prepare

HEAD = "mapping: shop\nchecks: {guest: 'off'}\ncolumns: {Qty: integer, Price: decimal}\n"
ITEMS = "items: {name: Item, quantity: Qty, price_current: Price, price_sell: Price}\n"
TIME = "transacted_at: {column: Sold, then: [{datetime: {formats: [iso]}}]}"
SUM = 'total: {sum: {sql: "Qty * Price"}}'


def found(directory: Path, mapping: str, **files: str) -> tuple[dict[str, object], dict[str, list[str]]]:
    """The counts of a dry run, and the names of the items of each sale by its id."""
    path = directory / "shop.yaml"
    path.write_text(HEAD + mapping, encoding="utf-8")
    for name, text in files.items():
        (directory / f"{name}.csv").write_text(text, encoding="utf-8")
    finished = prepare(
        directory / "work",
        str(path),
        [str(directory / f"{name}.csv") for name in files],
        PrepareOptions(),
        ignore,
    )
    bodies = pl.read_parquet(Path(finished.summary.run_dir) / "staged" / "*.parquet")["body"]
    sales = [json.loads(body) for body in bodies]
    items = {sale["external_id"]: [item["name"] for item in sale["items"]] for sale in sales}
    return finished.summary.as_dict(), items


DAILY = f"""
source: {{key: [Till, day, No]}}
define:
  day: {{column: Sold, then: [{{slice: {{start: 0, length: 10}}}}]}}
  sale: {{template: "{{Till}}/{{day}}/{{No}}"}}
transaction: {{external_id: sale, {SUM}, {TIME}}}
{ITEMS}"""


def test_numbers_that_start_again_each_day_are_distinguished_by_a_day_in_the_key(tmp_path: Path) -> None:
    rows = (
        "Till,No,Sold,Item,Qty,Price\n"
        "T1,1,2026-01-02 10:00:00,Tea,1,3\n"
        "T1,1,2026-01-02 10:00:00,Cake,1,4\n"
        "T1,1,2026-01-03 09:00:00,Tea,1,3\n"
    )
    counts, items = found(tmp_path, DAILY, day=rows)
    assert items == {"T1/2026-01-02/1": ["Tea", "Cake"], "T1/2026-01-03/1": ["Tea"]}
    assert counts["rejected"] == {}


def test_a_key_may_be_a_part_of_a_cell_in_which_the_rows_differ(tmp_path: Path) -> None:
    mapping = f"""
source: {{key: [sale]}}
define:
  sale: {{column: Txn, then: [{{replace: {{pattern: '/[0-9]+$', with: ''}}}}]}}
  line: {{column: Txn, then: [{{split: {{by: /, index: -1}}}}]}}
transaction: {{external_id: sale, {SUM}, {TIME}}}
items: {{external_id: Txn, sku: line, name: Item, quantity: Qty, price_current: Price, price_sell: Price}}
"""
    rows = (
        "Txn,Sold,Item,Qty,Price\n"
        "S/1/1,2026-01-02 10:00:00,Tea,1,3\n"
        "S/1/2,2026-01-02 10:00:00,Cake,1,4\n"
        "S/2/1,2026-01-02 10:00:00,Tea,1,3\n"
    )
    counts, items = found(tmp_path, mapping, day=rows)
    assert items == {"S/1": ["Tea", "Cake"], "S/2": ["Tea"]}
    assert counts["rejected"] == {}
    body = json.loads(
        pl.read_parquet(Path(str(counts["run_dir"])) / "staged" / "*.parquet")["body"].sort()[0]
    )
    assert [(item["external_id"], item["sku"]) for item in body["items"]] == [("S/1/1", "1"), ("S/1/2", "2")]


def test_a_cell_that_the_sale_uses_itself_must_still_agree(tmp_path: Path) -> None:
    mapping = DAILY.replace("external_id: sale,", "external_id: sale, receipt_ref: Sold,")
    rows = (
        "Till,No,Sold,Item,Qty,Price\nT1,1,2026-01-02 10:00:00,Tea,1,3\nT1,1,2026-01-02 11:00:00,Cake,1,4\n"
    )
    counts, _ = found(tmp_path, mapping, day=rows)
    assert counts["rejected"] == {"header_conflict": 1}


@pytest.mark.slow
def test_cells_of_a_key_are_carried_down(tmp_path: Path) -> None:
    mapping = DAILY.replace("key: [Till, day, No]", "layout: first_row, carry_key: true, key: [day, No]")
    rows = (
        "Till,No,Sold,Item,Qty,Price\n"
        "T1,1,2026-01-02 10:00:00,Tea,1,3\n"
        ",,,Cake,1,4\n"
        "T1,1,2026-01-03 10:00:00,Mug,1,4\n"
        ",,,Cup,1,4\n"
    )
    _, items = found(tmp_path, mapping, day=rows)
    assert items == {"T1/2026-01-02/1": ["Tea", "Cake"], "T1/2026-01-03/1": ["Mug", "Cup"]}


def test_each_table_may_have_a_definition_in_its_key(tmp_path: Path) -> None:
    mapping = f"""
source:
  layout: tables
  tables:
    headers: {{inputs: [sales.csv], key: [sale_no]}}
    items: {{inputs: [lines.csv], key: [line_sale]}}
define:
  sale_no: {{column: No, then: [{{replace: {{pattern: '^0+', with: ''}}}}]}}
  line_sale: {{column: Sale, then: [{{split: {{by: '#', index: 0}}}}]}}
transaction: {{external_id: sale_no, {SUM}, {TIME}}}
{ITEMS}"""
    _, items = found(
        tmp_path,
        mapping,
        sales="No,Sold\n0001,2026-01-02 10:00:00\n0002,2026-01-02 10:00:00\n",
        lines="Sale,Item,Qty,Price\n1#1,Tea,1,3\n2#1,Mug,1,4\n1#2,Cake,1,4\n",
    )
    assert items == {"1": ["Tea", "Cake"], "2": ["Mug"]}


@pytest.mark.slow
def test_a_blank_definition_is_a_blank_key_and_a_lost_row_is_known_by_its_cells(tmp_path: Path) -> None:
    rows = (
        "Till,No,Sold,Item,Qty,Price\n"
        "T1,1,2026-01-02 10:00:00,Tea,1,3\n"
        "T1,2,,Tea,1,3\n"
        "T1,1,2026-01-02 10:00:00,Tea, or so,1,3\n"
        "T1,3,2026-01-02 10:00:00,Mug,1,3\n"
    )
    counts, items = found(tmp_path, DAILY, day=rows)
    assert items == {"T1/2026-01-02/3": ["Mug"]}
    rejected = counts["rejected"]
    assert isinstance(rejected, dict)
    assert {"row_lost", "key_missing", "malformed_row"} <= {*rejected}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{first: No}", "it uses other rows"),
        ("{line_number: file}", "it uses other rows"),
        ("{lookup: stores, key: Till, value: id}", "it looks something up"),
    ],
)
def test_a_key_is_made_of_its_own_rows_cells(tmp_path: Path, value: str, why: str) -> None:
    (tmp_path / "stores.csv").write_text("code,id\nT1,1\n", encoding="utf-8")
    path = tmp_path / "shop.yaml"
    path.write_text(
        f"{HEAD}source: {{key: [part]}}\ndefine: {{part: {value}}}\n"
        "lookups: {stores: {file: stores.csv, key: [code]}}\n"
        f"transaction: {{external_id: No, {SUM}, {TIME}}}\n{ITEMS}",
        encoding="utf-8",
    )
    problems = [str(problem) for problem in check_mapping(load_mapping(str(path)))]
    assert any("`part` cannot be part of a key" in problem and why in problem for problem in problems)


def test_a_definition_in_a_key_is_used_and_its_columns_are_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(HEAD + DAILY.replace("external_id: sale", "external_id: No"), encoding="utf-8")
    loaded = load_mapping(str(path))
    columns = {"lines": ["Till", "No", "Sold", "Item", "Qty", "Price"]}
    assert check_mapping(loaded, columns) == []
    assert not any("`day`" in str(notice) for notice in mapping_notices(loaded, columns))
    (problem, *_) = check_mapping(loaded, {"lines": [name for name in columns["lines"] if name != "Sold"]})
    assert "Sold" in str(problem)
