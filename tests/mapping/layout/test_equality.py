"""When the cells of two rows are equal."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.mapping.layout.equality import Equality
from tests.mapping.mapping_cases import spec_of

SPEC = """
source: {layout: headers, key: [id], number: {decimal: ","}, nulls: ["-"]}
columns: {whole: integer, price: decimal, points: {number: {decimal: "."}}, note: boolean}
transaction: {external_id: id}
"""


@pytest.mark.parametrize(
    ("name", "cell", "same"),
    [
        ("whole", "12.0", "12"),
        ("whole", "12,0", "12,0"),
        ("price", "12,50", "12.5"),
        ("price", " 12,50 ", "12.5"),
        ("points", "12.50", "12.5"),
        ("points", "12,50", "12,50"),
        ("note", "12.50", "12.50"),
        ("id", "\u200b7 ", "7"),
    ],
)
def test_numbers_are_equal_by_value_and_ids_without_what_is_invisible(
    name: str, cell: str, same: str
) -> None:
    equality = Equality.of(spec_of(SPEC))
    assert equality.comparable(pl.Series(name, [cell])).to_list() == [same]
    assert pl.DataFrame({name: [cell]}).select(equality.form(name)).to_series().to_list() == [same]


def test_other_cells_are_trimmed_only_where_rows_are_compared() -> None:
    equality = Equality.of(spec_of(SPEC))
    cells = pl.Series("note", [" a ", "-"])
    assert equality.comparable(cells).to_list() == [" a ", "-"]
    assert cells.to_frame().select(equality.form("note")).to_series().to_list() == ["a", None]
