"""Lists inside a row."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.mapping.layout.nested_lists import explode
from tests.mapping.mapping_cases import mapped_of


def rows(*cells: object) -> pl.DataFrame:
    return pl.DataFrame(
        {"lines": cells, SOURCE: [0] * len(cells), LINE: range(1, len(cells) + 1), KEY: [7] * len(cells)},
        strict=False,
    )


def names(*cells: object, members: tuple[str, ...] = ("items.name",)) -> tuple[list[object], list[object]]:
    objects, bad = explode(rows(*cells), "lines", "items.", members)
    return objects.select(LINE, *members).rows(), bad[LINE].to_list()


GOOD = '[{"name": "a"}, {"name": "b"}]'


@pytest.mark.parametrize(
    "broken",
    ["{", "text", '{"name": "a"}', "[1, 2]", '["a"]', '[{"name": {"deep": 1}}]', '[{"name": ["a"]}]'],
)
def test_one_broken_cell_does_not_spoil_the_others(broken: str) -> None:
    assert names(GOOD, broken, GOOD, None, "", "[]", GOOD) == (
        [(1, "a"), (1, "b"), (3, "a"), (3, "b"), (7, "a"), (7, "b")],
        [2],
    )


def test_numbers_and_booleans_become_texts_and_keep_their_digits() -> None:
    cell = '[{"name": 1234567890123456789}, {"name": 12345678901.1234}, {"name": true}, {"name": null}]'
    assert names(cell) == (
        [(1, "1234567890123456789"), (1, "12345678901.1234"), (1, "true"), (1, None)],
        [],
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("9007199254740993.0", "9.007199254740993E+15"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("9007199254740993", "9007199254740993"),
        ("1.5e18", "1.5E+18"),
        ("12345678901234567890123456789012345.0", "1.2345678901234567890123456789012345E+34"),
        ("1.50e1000000", "1.5E+1000000"),
        ("1.5e3", "1500"),
        (r'"\"1.5e18"', '"1.5e18'),
    ],
)
def test_a_long_number_is_not_rounded_without_a_word(number: str, text: str) -> None:
    assert names(f'[{{"name": {number}}}]', GOOD)[0] == [(1, text), (2, "a"), (2, "b")]


def test_a_number_that_nothing_can_hold_spoils_its_own_cell_only() -> None:
    assert names('[{"name": 1e1000000000000000000000}]', GOOD) == ([(2, "a"), (2, "b")], [1])


def test_a_text_that_does_not_end_takes_no_ages() -> None:
    assert names('[{"name": 1.5e18}' + '"\\' * 200_000, GOOD) == ([(2, "a"), (2, "b")], [1])


def test_members_of_members() -> None:
    found, bad = names('[{"p": {"sku": {"id": "S"}}}, {"p": {}}, {}]', members=("items.p.sku.id",))
    assert (found, bad) == ([(1, "S"), (1, None), (1, None)], [])


def test_a_column_that_is_not_there_and_members_that_nobody_names() -> None:
    missing, bad = explode(rows(GOOD).drop("lines"), "lines", "items.", ["items.name"])
    assert (missing.height, missing.columns, bad.height) == (0, [SOURCE, LINE, KEY, "items.name"], 0)
    unnamed, _ = explode(rows(GOOD), "lines", "items.", ["other"])
    assert unnamed.height == 2


def test_a_nested_column_with_other_members_and_types() -> None:
    assert names([{"name": 5, "x": 1}], None, []) == ([(1, "5")], [])
    assert names([{"x": 1}]) == ([(1, None)], [])


@pytest.mark.parametrize(
    "cell", ['[{"*": "a", "^n|x$": "b", "name": "c"}]', [{"*": "a", "^n|x$": "b", "name": "c"}]]
)
def test_members_whose_names_look_like_patterns_are_taken_literally(cell: object) -> None:
    members = ("items.*", "items.^n|x$", "items.name")
    found, _ = explode(rows(cell), "lines", "items.", members)
    assert found.row(0, named=True) == {
        SOURCE: 0, LINE: 1, KEY: 7, "items.*": "a", "items.^n|x$": "b", "items.name": "c",
    }  # fmt: skip


def test_a_list_inside_an_object_where_one_object_is_a_list_of_one() -> None:
    cells = ('{"l\'s": {"l": [{"n": 1}, {"n": 2}]}}', '{"l\'s": {"l": {"n": 3}}}', '{"l\'s": {}}', "{}", None)
    objects, bad = explode(rows(*cells), "lines.l's.l", "items.", ["items.n"])
    assert (objects[LINE].to_list(), objects["items.n"].to_list()) == ([1, 1, 2], ["1", "2", "3"])
    assert bad.is_empty()


def test_of_a_member_that_is_there_twice_the_last_counts() -> None:
    spec = """
    source: {layout: nested, key: [id], nested: {items: order.lines}}
    transaction: {external_id: id}
    items: {name: items.name, sku: items.sku}
    """
    cell = '{""lines"": [], ""lines"": [{""name"": ""Tea"", ""sku"": ""1"", ""name"": ""Mug""}]}'
    mapped = mapped_of(spec, f'id,order\n1,"{cell}"\n')
    assert mapped.items.select("name", "sku").rows() == [("Mug", "1")]


@pytest.mark.parametrize(
    ("name", "is_text"), [("Te\\u0000a", False), ("Te\\ud800a", False), ("Te\\\\u0000a", True)]
)
def test_a_list_with_what_is_no_text_is_no_list(name: str, is_text: bool) -> None:
    spec = """
    source: {layout: nested, key: [id], nested: {items: lines}}
    transaction: {external_id: id}
    items: {name: items.name}
    """
    mapped = mapped_of(spec, f'id,lines\n1,"[{{""name"": ""{name}""}}]"\n')
    assert mapped.items.height == is_text
    assert ("field_invalid" in mapped.problems["code"]) is not is_text
