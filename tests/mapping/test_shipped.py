from pathlib import Path

import pytest

from pipeline.errors import SettingsError
from pipeline.mapping import shipped
from pipeline.mapping.check import check_mapping, mapping_notices
from pipeline.mapping.load import load_mapping
from pipeline.mapping.shipped import find_mapping, shipped_mapping, shipped_names, shipped_sample
from tests.mapping.golden import golden_of, outcome_of

NAMES = shipped_names()


def test_the_promised_mappings_are_shipped() -> None:
    promised = {"pos_lines", "online_retail", "shopify_orders", "square_items", "square_transactions"}
    promised |= {"lightspeed_x_sales", "loyverse_receipts", "toast_items", "shopware_orders"}
    promised |= {"marketplace_tables", "nested_parquet"}

    assert promised <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_mapping_is_right_and_says_what_it_is_for(name: str) -> None:
    loaded = load_mapping(name)

    assert check_mapping(loaded) == []
    assert mapping_notices(loaded) == []
    assert loaded.spec.mapping == name
    assert loaded.spec.about


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_mapping_makes_of_its_sample_what_was_reviewed(name: str, tmp_path: Path) -> None:
    assert outcome_of(name, tmp_path / "work") == golden_of(name)


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


def test_a_name_that_is_not_shipped_is_told_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'toast_items'"):
        shipped_mapping("toast_item")
    with pytest.raises(SettingsError, match="no sample"):
        shipped_sample("toast_item")
