import csv
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.events import ignore
from pipeline.core.model import LINE, SOURCE
from pipeline.mapping.compile.check import check_mapping, mapping_notices
from pipeline.mapping.language import shipped
from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.mapping.language.shipped import find_mapping, shipped_mapping, shipped_names, shipped_sample
from pipeline.mapping.layout.raw_transactions import build_transactions
from pipeline.workflows.prepare import PrepareOptions, prepare
from tests.mapping.golden import golden_of, outcome_of
from tests.mapping.mapping_cases import compiled_of, keyed

NAMES = shipped_names()


def test_the_promised_mappings_are_shipped() -> None:
    promised = {"pos_lines", "online_retail", "shopify_orders", "square_items", "square_transactions"}
    promised |= {"lightspeed_x_sales", "loyverse_receipts", "toast_items", "shopware_orders"}
    promised |= {"marketplace_tables", "nested_parquet", "vend_sales_export"}
    promised |= {"ap21", "lightspeed_r", "woocommerce_orders", "etsy_orders", "stripe_payments"}

    assert promised <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_mapping_is_right_and_says_what_it_is_for(name: str) -> None:
    loaded = load_mapping(name)

    assert check_mapping(loaded) == []
    # An export that does not name its currency leaves that to the shop.
    notices = [notice.message for notice in mapping_notices(loaded)]
    assert [message for message in notices if not message.startswith("no `currency`")] == []
    assert loaded.spec.mapping == name
    assert loaded.spec.about


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_mapping_makes_of_its_sample_what_was_reviewed(name: str, tmp_path: Path) -> None:
    assert outcome_of(name, tmp_path / "work") == golden_of(name)


OLDER: dict[str, list[str]] = {
    "square_items": [
        *("Unit", "Count", "GTIN", "Itemization Type", "Fulfillment Note", "Channel", "Token"),
        *("Card Brand", "PAN Suffix"),
    ],
    "shopify_orders": [
        *("Payment Method", "Refunded Amount", "Vendor", "Employee", "Location", "Id", "Tags", "Source"),
        "Lineitem discount",
    ],
    "toast_items": ["Deferred", "Sales Category", "SKU"],
}
"""Columns that exports of earlier years did not have."""


@pytest.mark.slow
@pytest.mark.parametrize("name", OLDER)
def test_exports_of_earlier_years_are_read_as_well(name: str, tmp_path: Path) -> None:
    with shipped_sample(name).open(newline="") as file:
        rows = list(csv.reader(file))
    kept = [at for at, column in enumerate(rows[0]) if column not in OLDER[name]]
    assert len(kept) == len(rows[0]) - len(OLDER[name])
    older = tmp_path / "older.csv"
    with older.open("w", newline="") as file:
        csv.writer(file).writerows([row[at] for at in kept] for row in rows)

    summary = prepare(tmp_path / "work", name, [str(older)], PrepareOptions(), ignore).summary
    assert summary.transactions.accepted > 0


@pytest.mark.parametrize(
    ("name", "column", "written", "meant"),
    [
        ("square_items", "Qty", ["1.0", "2", "-3.00", "0.75", "1.50"], [1, 2, -3, 1, 1]),
        ("toast_items", "Qty", ["1", "2.0", "0.5"], [1, 2, 1]),
    ],
)
def test_quantities_that_are_no_whole_numbers_are_one_of_what_the_line_is(
    name: str, column: str, written: list[str], meant: list[int]
) -> None:
    spec = load_mapping(name).spec
    with shipped_sample(name).open(newline="") as file:
        first = next(csv.DictReader(file))
    rows = pl.DataFrame(
        [{**first, column: text, spec.source.key[0]: str(n)} for n, text in enumerate(written)]
    )
    rows = rows.with_columns(pl.lit(0, pl.UInt32).alias(SOURCE), pl.int_range(pl.len()).alias(LINE))
    tables = {"lines": keyed(rows, spec)}

    items = compiled_of(spec, tables).apply(build_transactions(tables, spec)).items
    assert items["quantity"].to_list() == meant
    assert items["price_sell"].null_count() == 0


def test_every_outcome_of_the_reference_export_is_in_its_sample() -> None:
    golden = golden_of("pos_lines")

    assert set(golden["dropped"]) == {"draft", "partially_paid"}
    assert set(golden["rejected"]) >= {
        *("transacted_at_missing", "transacted_at_invalid", "transacted_at_future", "malformed_row"),
        *("transacted_at_nonexistent", "total_missing", "total_invalid", "total_mismatch"),
        *("quantity_invalid", "profile_invalid", "header_conflict"),
    }
    assert set(golden["warnings"]) >= {"duplicate_row", "transacted_at_ambiguous", "guest"}


def test_mappings_and_samples_are_found_inside_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shipped" / "mappings").mkdir(parents=True)
    (tmp_path / "shipped" / "sample_data" / "two").mkdir(parents=True)
    for file in ("mappings/one.yaml", "mappings/two.yaml", "sample_data/one.csv"):
        (tmp_path / "shipped" / file).touch()
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path)

    assert shipped_names() == ("one", "two")
    assert find_mapping("two") == tmp_path / "shipped" / "mappings" / "two.yaml"
    assert shipped_sample("one") == tmp_path / "shipped" / "sample_data" / "one.csv"
    assert shipped_sample("two").is_dir()


def test_a_name_that_is_not_shipped_is_reported_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'toast_items'"):
        shipped_mapping("toast_item")
    with pytest.raises(SettingsError, match="no sample"):
        shipped_sample("toast_item")
