"""A look at the first transactions: what would be sent, beside the rows it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.events import ignore
from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.workflows.preparation.import_plan import plan_import
from pipeline.workflows.preview import Preview, preview
from tests.command import REPOSITORY
from tests.receipts import Row, receipt, write_export


def look(sources: list[Path], number: int, mapping: str = "pos_lines") -> Preview:
    return preview(plan_import(load_mapping(mapping), [str(source) for source in sources], ignore), number)


def test_each_payload_stands_beside_all_of_its_rows(tmp_path: Path):
    source = write_export(tmp_path / "pos_lines.csv", [*receipt(1, 2), *receipt(2, 1), *receipt(3, 3)])
    found = look([source], 2)
    assert [sample.payload["external_id"] for sample in found.samples] == ["S1-1-R1", "S1-1-R2"]
    assert [[row.line for row in sample.rows] for sample in found.samples] == [[2, 3], [4]]
    for sample in found.samples:
        assert {row.source for row in sample.rows} == {str(source)}
        names = [row.cells["description"] for row in sample.rows]
        assert [item["name"] for item in sample.payload["items"]] == names
        assert all("loyalty_card" not in row.cells for row in sample.rows)  # It is blank.
    assert found.reasons.is_empty()


def test_what_was_left_out_before_the_last_payload_is_reported_and_nothing_after_it(tmp_path: Path):
    rows: list[Row] = [
        *receipt(1, status="DRAFT"),
        *receipt(2),
        *receipt(3, sale_total="no"),
        *receipt(4),
        *receipt(5, sale_datetime=""),
    ]
    source = write_export(tmp_path / "pos_lines.csv", rows)
    for number, codes in ((1, ["draft"]), (2, ["draft", "total_invalid"])):
        found = look([source], number)
        assert [sample.payload["external_id"] for sample in found.samples] == [
            f"S1-1-R{2 * n}" for n in range(1, number + 1)
        ]
        assert list(found.reasons["code"]) == codes
    everything = look([source], 10)
    assert len(everything.samples) == 2
    assert list(everything.reasons["code"]) == ["draft", "total_invalid", "transacted_at_missing"]
    assert list(everything.reasons["external_id"]) == ["S1-1-R1", "S1-1-R3", "S1-1-R5"]


def test_an_export_without_rows_has_nothing_to_show(tmp_path: Path):
    found = look([write_export(tmp_path / "pos_lines.csv", [])], 5)
    assert (found.samples, found.rows, found.reasons.height) == ((), 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mapping", ["marketplace_tables", "lightspeed_x_sales", "shopify_orders", "nested_parquet"]
)
def test_it_works_for_every_layout(mapping: str):
    samples = list((REPOSITORY / "sample_data").glob(f"{mapping}*"))
    found = look(samples, 2, mapping)
    assert len(found.samples) == 2
    assert all(sample.rows and sample.payload["external_id"] for sample in found.samples)
