"""Every example of the guides is a part of a mapping that works; what some of them make is looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS
from pipeline.mapping.compile.check import check_mapping
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.language.source_map import parse
from pipeline.mapping.language.spec import MappingSpec
from pipeline.workflows.mapping_tests import failures
from tests.command import REPOSITORY

BASE = """
mapping: example
source: {key: [Receipt]}
columns: {Pieces: integer, Price: decimal, Total: decimal}
transaction:
  external_id: Receipt
  total: Total
  transacted_at: {column: Sold, then: [{datetime: {formats: [iso], timezone: {constant: Europe/Berlin}}}]}
items: {name: Title, quantity: Pieces, price_current: Price, price_sell: Price}
"""
MERGED = ("source", "columns", "define", "transaction")
SALE = {"Receipt": "7", "Sold": "2024-05-01 10:00"}
CUP, GIFT = (
    {"Title": title, "Pieces": "2", "Price": price, "Kind": kind}
    for title, price, kind in (("Cup", "5", "HOME"), ("Gift card", "25", "GIFT CARD"))
)


def blocks() -> dict[str, str]:
    """The examples in YAML of the pages that people write, by page and line."""
    found = {}
    for page in ("mapping.md", "what-to-send.md"):
        text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8").partition("<!-- From here on")[0]
        for match in re.finditer(r"^```yaml\n(.*?)^```", text, re.M | re.S):
            found[f"{page}:{text[: match.start()].count(chr(10)) + 2}"] = match[1]
    return found


BLOCKS = blocks()


def whole(block: str) -> dict[str, Any]:
    """A mapping around an example: sections, or fields of a transaction or an item."""
    part = parse(Path("guide.yaml"), block).data
    mapping = parse(Path("base.yaml"), BASE).data
    if "mapping" in part:
        return dict(part)
    if part.keys() <= TRANSACTION_FIELDS.keys():
        part = {"transaction": part}
    elif part.keys() <= ITEM_FIELDS.keys():
        part = {"items": {**mapping["items"], **part}}
    assert part.keys() <= MappingSpec.model_fields.keys()
    for name, section in part.items():
        mapping[name] = {**mapping.get(name, {}), **section} if name in MERGED else section
    if mapping["source"].get("layout") == "headers":
        del mapping["items"]
    return dict(mapping)


def problems(mapping: Mapping[str, Any], directory: Path) -> list[str]:
    (directory / "stores.csv").write_text("code,omneo_id\nS1,MEL\n", encoding="utf-8")
    loaded = read_mapping(directory / "guide.yaml", json.dumps(mapping, default=str).encode())
    return [each.message for each in check_mapping(loaded) or failures(loaded)]


@pytest.mark.slow
@pytest.mark.parametrize("place", BLOCKS)
def test_every_example_of_the_guides_works(place: str, tmp_path: Path) -> None:
    assert problems(whole(BLOCKS[place]), tmp_path) == []


def sale(*rows: Mapping[str, str], **cells: str) -> list[dict[str, str]]:
    return [{**SALE, **cells, **row} for row in rows]


MADE = {
    "rows: {skip:": (sale(CUP, Total="10"), {"total": 10}),
    "%p %Z": (
        [{**CUP, "Receipt": "7", "Total": "10", "Sold": "05/01/2024 03:04 PM EST"}],
        {"transacted_at": "2024-05-01 20:04:00"},
    ),
    'total: {sum: {sql: "Pieces * Price"}, lines: kept}': (
        sale(CUP, GIFT),
        {"total": 10, "items": [{"name": "Cup"}]},
    ),
    "define:\n  not_sold": (sale(CUP, GIFT, Total="60"), {"total": 10, "items": [{"name": "Cup"}]}),
    "Paid for gift cards": (
        sale(CUP, GIFT, Total="60", Cash="0", Card="56", Voucher="4"),
        {"total": 10, "payments": [{"Card": 56}, {"Gift card": 4}, {"Paid for gift cards": -50}]},
    ),
    "charges:": (
        sale(CUP, Total="16.50", Freight="4.95", Surcharge="1.55"),
        {
            "items": [
                {"name": "Cup"},
                {"name": "Shipping", "quantity": 1, "price_sell": 4.95},
                {"name": "Card surcharge", "price_sell": 1.55},
            ]
        },
    ),
    "Change": (
        sale(CUP, Paid="12", Tip="2", Cash="5", Change="2", Card="9"),
        {"total": 10, "payments": [{"Cash": 3}, {"Card": 7}]},
    ),
    "items_missing: off": (sale({}, Total="10"), {"total": 10, "items": None}),
    "pieces: {sum": (
        sale({**CUP, "Pieces": "1"}, {**CUP, "Pieces": "2"}, Total="10"),
        {"items": [{"price_sell": 3.3333}, {"quantity": 2, "price_sell": 3.3333}]},
    ),
    "distinct: Season": (
        sale(
            {**CUP, "Season": "Summer"},
            CUP,
            {**CUP, "Season": "All"},
            {**GIFT, "Season": "Summer"},
            Total="80",
        ),
        {"tags": ["Summer", "All"]},
    ),
    "Variant:": (
        sale({**CUP, "Variant": "XL / Red / Matt"}, Total="10"),
        {"items": [{"product_variant": {"title": "XL"}, "meta": {"colour": "Red / Matt"}}]},
    ),
    "number_equal": ([{**SALE, "Shop": "A", "Amount": "3"}], {"external_id": "A-2024-05-01 10:00-3-1"}),
}
"""What an example makes: words in it, rows, and the payload."""


@pytest.mark.slow
@pytest.mark.parametrize("words", MADE)
def test_an_example_makes_what_the_guide_says(words: str, tmp_path: Path) -> None:
    block = next(block for block in BLOCKS.values() if words in block)
    rows, payload = MADE[words]
    mapping = whole(block)
    mapping["source"] = {**mapping["source"], "ignore": ["Kind", "Price", "Receipt"]}
    mapping["tests"] = [{"name": "t", "rows": rows, "expect": {"payload": payload}}]
    assert problems(mapping, tmp_path) == []


def test_a_sale_of_nothing_but_skipped_lines_is_no_sale(tmp_path: Path) -> None:
    mapping = whole(next(block for block in BLOCKS.values() if "lines_left" in block))
    mapping["tests"] = [{"name": "t", "rows": sale(GIFT), "expect": {"dropped": "excluded"}}]
    assert problems(mapping, tmp_path) == []


def test_what_is_skipped_and_counted_in_the_total_is_named(tmp_path: Path) -> None:
    mapping = whole(next(block for block in BLOCKS.values() if "not_sold" in block))
    mapping["transaction"]["total"] = "Total"
    del mapping["define"]
    payload = {"payload": {"total": 60}}
    mapping["tests"] = [
        {"name": "both", "rows": sale(CUP, GIFT, Total="60"), "expect": payload},
        {"name": "other", "rows": sale(CUP, GIFT, Total="61"), "expect": payload},
        {"name": "none", "rows": sale(GIFT, GIFT, Total="60"), "expect": payload},
    ]
    both, other, none = problems(mapping, tmp_path)
    difference = (
        "the items add up to 10.00: a difference of {}; the lines that the mapping skips "
        "(Gift card (line 2): 50)"
    )
    assert f"{difference.format('50.00')} are worth 50.00, which is the difference: leave them out" in both
    assert f"{difference.format('51.00')} are worth 50.00)" in other
    assert (
        "items_missing: the sale has no items, since the mapping leaves out all of its lines (Gift card"
        in none
    )
