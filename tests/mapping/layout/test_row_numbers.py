"""Rows that are equal in every cell, as sales of their own."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from pipeline.core.model import KEY
from pipeline.mapping.compile.check import check_mapping
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.layout.row_numbers import with_row_numbers
from tests.command import call
from tests.mapping.mapping_cases import spec_of, tables_of

MAPPING = """\
mapping: coffee
source: {layout: headers, key: [Store, Sold, nth], rows: {number_equal: nth}}
columns: {Amount: decimal}
transaction:
  external_id: {template: "{Store}-{Sold}-{Amount}-{nth}"}
  total: Amount
  transacted_at: {column: Sold, then: [{datetime: {formats: [iso], timezone: {constant: UTC}}}]}
"""
HEADER = "Store,Sold,Amount\n"
ROWS = ("A,2024-05-01,3\n", "A,2024-05-01,3\n", "A,2024-05-02,3\n", "A,2024-05-01,3.00\n")


@pytest.mark.parametrize("rows", [*permutations(ROWS)][::5])
def test_another_order_of_the_rows_gives_the_same_numbers(rows: tuple[str, ...]) -> None:
    spec = spec_of(MAPPING.partition("\n")[2])
    (table,) = with_row_numbers(tables_of(spec, HEADER + "".join(rows)), spec).values()
    ids = set(table.select("Sold", "Amount", "nth").iter_rows())
    (usual,) = with_row_numbers(tables_of(spec, HEADER + "".join(ROWS)), spec).values()
    assert ids == set(usual.select("Sold", "Amount", "nth").iter_rows())
    found = sorted(table.select("Sold", "nth").iter_rows())
    # 3 and 3.00 are equal, as `columns` makes them numbers.
    assert found == [("2024-05-01", "1"), ("2024-05-01", "2"), ("2024-05-01", "3"), ("2024-05-02", "1")]
    assert table[KEY].n_unique() == 4


@pytest.mark.slow
def test_each_equal_row_becomes_a_sale_and_a_second_export_changes_nothing(tmp_path: Path) -> None:
    mapping, one, two = (tmp_path / name for name in ("m.yaml", "one.csv", "two.csv"))
    mapping.write_text(MAPPING)
    one.write_text(HEADER + "".join(ROWS))
    two.write_text(HEADER + "".join(ROWS[::-1]) + "B,2024-05-01,9\n")
    alone = call("prepare", "-m", mapping, one, "--workdir", tmp_path / "w", "--json").summary
    assert alone["transactions"]["accepted"] == 4
    both = call("prepare", "-m", mapping, one, two, "--workdir", tmp_path / "w", "--json").summary
    assert both["transactions"] == {"read": 5, "accepted": 5, "dropped": 0, "rejected": 0}
    assert both["rows"]["duplicate"] == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("key: [Store, Sold, nth]", "key: [nth]", "a column of the file was expected in the key as well"),
        ("{Amount: decimal}", "{nth: decimal}", "'nth' has another meaning already"),
        (
            "{number_equal: nth}",
            "{number_equal: nth, skip: nth > 1}",
            "rows are left out before they are numbered",
        ),
        ("[Store, Sold, nth]", "[Store, k]", "put their number into the key by itself"),
    ],
)
def test_the_number_cannot_be_used_where_it_is_not_known(old: str, new: str, message: str) -> None:
    text = MAPPING.replace(old, new) + 'define: {k: {template: "{Sold}{nth}"}}\n'
    found = [problem.message for problem in check_mapping(read_mapping(Path("m.yaml"), text.encode()))]
    assert any(message in each for each in found), found


def test_a_file_that_has_the_column_already_is_named(tmp_path: Path) -> None:
    mapping, source = tmp_path / "m.yaml", tmp_path / "s.csv"
    mapping.write_text(MAPPING)
    source.write_text("Store,Sold,Amount,nth\nA,2024-05-01,3,1\n")
    ended = call("check", "-m", mapping, source)
    assert ended.code == 2
    assert ":2:73: 'nth' is a column of the source already; choose another name" in ended.stderr
