"""Folders: files that are joined by their ids, or cannot be read; and lines without a quantity."""

import json
from pathlib import Path

import pytest

from tests.workflows.test_scaffold_evidence import DAYS, csv_of, draft_of, imported

pytestmark = pytest.mark.slow

SALES = [{"id": n, "created": f"{DAYS[n]} 10:00:00", "total": 5} for n in range(24)]


def test_a_json_document_in_a_folder_leaves_the_draft_open_and_is_named(tmp_path: Path) -> None:
    rows = [(n, DAYS[n], 5) for n in range(24)]
    csv_of(tmp_path / "sales.csv", "Receipt No,Date,Total", rows)
    (tmp_path / "empty.json").touch()
    assert imported(tmp_path, tmp_path) == (24, 120)
    (tmp_path / "orders.json").write_text(json.dumps(SALES, indent=1))
    text, _ = draft_of(tmp_path)
    assert '{open: "what orders.json holds: JSON is read with one object a line' in text


def test_json_lines_in_a_folder_are_read_whatever_their_name(tmp_path: Path) -> None:
    (tmp_path / "orders.json").write_text("\n".join(map(json.dumps, SALES)) + "\n")
    assert imported(tmp_path, tmp_path) == (24, 120)


@pytest.mark.parametrize(("more", "pieces"), [({}, True), ({"packs": 3}, False)])
def test_lines_without_a_quantity_are_one_piece_each(
    tmp_path: Path, more: dict[str, int], pieces: bool
) -> None:
    products = [{"name": "Tea", "price": 3, **more}, {"name": "Cup", "price": 8, **more}]
    sales = [{"id": n, "created": f"{DAYS[n]} 10:00:00", "products": products} for n in range(24)]
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, sales)))
    text, _ = draft_of(file)
    said = "quantity: {constant: 1}  # unsure: no column says how many, so each line is one piece"
    assert (said in text) is pieces
    assert ("`items.packs` may hold it" in text) is not pieces
    assert not pieces or imported(tmp_path, file) == (24, 264)


def test_lines_are_joined_by_the_id_that_is_named_after_the_file(tmp_path: Path) -> None:
    orders = [(f"{DAYS[n % 28]} 10:00:00", n) for n in range(1, 41)]
    csv_of(tmp_path / "sales_order.csv", "time_order_taken,id", orders)
    lines = [(n % 7 + 1, n, 2, 200 + at) for at, n in enumerate([*range(1, 41), *range(1, 41)])]
    csv_of(tmp_path / "sales_item.csv", "item_id,sales_order_id,quantity,id", lines)
    csv_of(tmp_path / "item.csv", "name,price,id", [(f"Shoe {n}", 10 + n, n) for n in range(1, 8)])
    text, _ = draft_of(tmp_path)
    assert "items: {inputs: [sales_item.csv], key: [sales_order_id]}" in text
    assert "item: {file: item.csv, key: [id], from: source}" in text
    assert imported(tmp_path, tmp_path) == (40, sum(2 * (10 + item) for item, *_ in lines))
