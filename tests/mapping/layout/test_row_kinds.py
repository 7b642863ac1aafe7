"""Which rows are headers, items or payments, and which are left out."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.core.model import KEY, LINE, LOST, SOURCE, Lost
from pipeline.mapping.compile.own_cells import DefinedKeys, SkippedRows
from pipeline.mapping.language.source_spec import Source
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.row_kinds import columns_by_kind, rows_by_kind
from pipeline.mapping.usage.used_columns import UsedColumns
from tests.mapping.mapping_cases import raw_rows, spec_of


def lines_of(rows: pl.DataFrame | None) -> list[int] | None:
    return None if rows is None else rows[LINE].to_list()


RECORDS = """
source: {layout: records, key: [id], records: {column: kind, header: [H, h], item: [I], payment: [P]}}
transaction: {external_id: id}
items: {sku: id}
"""


def test_records_are_known_by_their_word() -> None:
    rows = raw_rows("kind,id\nH,1\n I ,1\nP,1\n,1\nX,1\nh,2\n")
    kinds = rows_by_kind({"lines": rows}, spec_of(RECORDS))
    found = (kinds.headers, kinds.items, kinds.payments, kinds.skipped)
    assert [lines_of(each) for each in found] == [[2, 7], [3], [4], [5, 6]]
    assert (kinds.nested, kinds.unreadable) == (False, ())


def test_rows_without_the_column_of_words_are_headers() -> None:
    kinds = rows_by_kind({"lines": raw_rows("id\n1\n")}, spec_of(RECORDS))
    assert (lines_of(kinds.headers), kinds.items, kinds.skipped) == ([2], None, None)


@pytest.mark.parametrize(
    ("layout", "headers", "items"), [("lines", None, [2]), ("first_row", None, [2]), ("headers", [2], None)]
)
def test_a_single_table(layout: str, headers: list[int] | None, items: list[int] | None) -> None:
    spec = spec_of(f"source: {{layout: {layout}, key: [id]}}\ntransaction: {{external_id: id}}\n")
    kinds = rows_by_kind({"lines": raw_rows("id\n1\n")}, spec)
    assert (lines_of(kinds.headers), lines_of(kinds.items), kinds.payments) == (headers, items, None)
    assert rows_by_kind({}, spec) is not None


def test_lists_inside_a_row() -> None:
    spec = spec_of(
        "source: {layout: nested, key: [id], nested: {items: lines}}\n"
        "transaction: {external_id: id}\nitems: {sku: items.sku}\n"
    )
    rows = pl.DataFrame(
        {
            "id": ["1", "2"],
            "lines": ['[{"sku": "a"}, {"sku": "b"}]', "odd"],
            KEY: [1, 2],
            SOURCE: [0, 0],
            LINE: [2, 3],
        }
    )
    kinds = rows_by_kind({"lines": rows}, spec)
    assert (lines_of(kinds.headers), lines_of(kinds.items), kinds.payments) == ([2, 3], [2, 2], None)
    assert [(column, lines_of(bad)) for column, bad in kinds.unreadable] == [("lines", [3])]
    assert kinds.nested


def test_rows_that_a_condition_leaves_out() -> None:
    spec = spec_of(
        'source: {layout: lines, key: [id], rows: {skip: ["id = \'Total\'", "CAST(n AS INTEGER) > 5"]}}\n'
        "transaction: {external_id: id}\n"
    )
    rows = raw_rows("id,n\nTotal,1\n1,6\n2,5\n3,odd\n,6\nTotal,7\n")
    skipped = SkippedRows(spec)
    kept, number = skipped.left_out(skipped.marked(rows))
    assert (lines_of(kept), number) == ([4, 5], 4)
    assert kept.columns == rows.columns
    lost = rows.with_columns(pl.Series(LOST, [None, None, None, None, None, Lost.KEYED], dtype=pl.UInt8))
    kept, number = skipped.left_out(skipped.marked(lost))
    assert (lines_of(kept), number) == ([4, 5, 7], 3)


def test_without_a_condition_no_row_is_left_out() -> None:
    spec = spec_of("source: {layout: lines, key: [id]}\ntransaction: {external_id: id}\n")
    rows, skipped = raw_rows("id\n1\n"), SkippedRows(spec)
    assert skipped.marked(rows) is rows
    assert skipped.left_out(rows) == (rows, 0)


def test_definitions_in_a_key_are_columns_for_a_while() -> None:
    spec = spec_of(
        "source: {layout: lines, key: [day, id]}\n"
        "define: {day: {column: at, then: [{slice: {start: 0, length: 10}}]}}\n"
        "transaction: {external_id: id}\n"
    )
    rows, keys = raw_rows("id,at\n\u200b1,2024-01-02 10:00\n2,\n"), DefinedKeys(spec, ["day", "id"])
    added = keys.added(rows)
    assert added["day"].to_list() == ["2024-01-02", None]
    assert keys.without(added).equals(rows)
    none = DefinedKeys(spec, ["id"])
    assert none.added(rows) is rows


FILES = {"headers": ["id", "total"], "items": ["id", "sku"], "payments": ["id", "paid"]}
EVERY = frozenset({"id", "total", "sku", "paid"})


@pytest.mark.parametrize(
    ("layout", "files", "kinds"),
    [
        ("lines", FILES, (EVERY, EVERY, frozenset())),
        ("first_row", FILES, (EVERY, EVERY, frozenset())),
        ("headers", FILES, (EVERY, frozenset(), frozenset())),
        ("records", FILES, (EVERY, EVERY, EVERY)),
        ("tables", FILES, tuple(frozenset(names) for names in FILES.values())),
        ("tables", {"items": ["id", "sku"]}, ({"id", "sku"}, {"id", "sku"}, frozenset())),
        ("nested", {"lines": ["id"]}, ({"id"}, {"items.sku"}, {"payments.paid"})),
    ],
)
def test_columns_belong_to_the_rows_that_have_them(
    layout: str, files: dict[str, list[str]], kinds: tuple[frozenset[str], ...]
) -> None:
    source = Source.model_construct(layout=layout, key=("id",))
    spec = MappingSpec.model_construct(mapping="shop", source=source, transaction={})
    of_lists = frozenset({"items.sku", "id"}), frozenset({"payments.paid"})
    used = UsedColumns(frozenset({"id"}), *of_lists, key=frozenset())
    assert tuple(columns_by_kind(files, spec, used)) == kinds
