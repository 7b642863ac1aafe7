"""JSON lines: members as text, bad lines reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.core.model import LINE
from pipeline.extract import find_sources
from pipeline.extract.jsonl_reader import JsonLinesReader

CONTENT = (
    b'\xef\xbb\xbf{"id":"00123","total":19.90,"items":[{"sku":"a","n":[1,null]}]}\r\n\r\n'
    b'oops\n{"id":9007199254740993,"paid":true,"note":""}\n[1]\n{"total":"caf\xc3\xa9"}\n{"id":{"a":1}}'
)


@pytest.mark.parametrize("block_bytes", [16, 1 << 20])
def test_members_become_text(tmp_path: Path, block_bytes: int) -> None:
    path = tmp_path / "sales.jsonl"
    path.write_bytes(CONTENT)
    reader = JsonLinesReader(find_sources([str(path)], [])[0], block_bytes)
    assert reader.columns == ["id", "total", "items", "paid", "note"]
    batches = list(reader.batches())
    assert [row for batch in batches for row in batch.rows.rows()] == [
        ("00123", "19.9", '[{"sku": "a", "n": [1, null]}]', None, None, 1),
        ("9007199254740993", None, None, "true", None, 4),
        (None, "café", None, None, None, 6),
        ('{"a": 1}', None, None, None, None, 7),
    ]
    malformed = [row[:2] for batch in batches for row in batch.malformed.rows()]
    assert malformed == [(3, "oops"), (5, "[1]")]


def test_a_file_without_members_has_rows_and_no_columns(tmp_path: Path) -> None:
    path = tmp_path / "sales.jsonl"
    path.write_bytes(b'[1]\n{}\n\n{"a": \n')
    reader = JsonLinesReader(find_sources([str(path)], [])[0])
    (batch,) = reader.batches()
    assert (reader.columns, batch.rows.height, batch.blank) == ([], 0, 1)
    assert [row[:2] for row in batch.malformed.rows()] == [(1, "[1]"), (4, '{"a": ')]


def read(
    tmp_path: Path, *lines: str
) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], JsonLinesReader]:
    path = tmp_path / "sales.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    reader = JsonLinesReader(find_sources([str(path)], [])[0])
    batches = list(reader.batches())
    rows = [row for batch in batches for row in batch.rows.rows()]
    return rows, [row for batch in batches for row in batch.malformed.rows()], reader


def test_of_a_member_that_is_there_twice_the_last_counts(tmp_path: Path) -> None:
    rows, malformed, _ = read(
        tmp_path,
        '{"id":"A","n":1,"n":2}',
        '{"id":"B","n":1}',
        '{"id" : "C", "id" : "D", "n":null}',
        '{"id":"E","n":null,"n":7}',
        '{"id":"F","n":[{"n":null,"id":2}],"id":"G"}',
        '{"id":"H","n":"\\":\\":"}',
        '{"n":{"n":{"n":1}},"id":"I"}',
    )
    assert malformed == []
    assert [row[:2] for row in rows] == [
        ("A", "2"),
        ("B", "1"),
        ("D", None),
        ("E", "7"),
        ("G", '[{"n": null, "id": 2}]'),
        ("H", '":":'),
        ("I", '{"n": {"n": 1}}'),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("te\\u0000a", "NUL"),
        ("\\u0000", "NUL"),
        ("te\\ud800a", "half of a character"),
        ("te\\udc00a", "half of a character"),
        ("te\\ude00\\ud83da", "half of a character"),
    ],
)
def test_what_is_no_text_makes_a_line_malformed_and_its_other_members_are_known(
    tmp_path: Path, text: str, why: str
) -> None:
    rows, malformed, reader = read(tmp_path, '{"id":"A","x":"tea"}', f'{{"x":"{text}","id":5}}', '{"id":"C"}')
    assert rows == [("A", "tea", 1), ("C", None, 3)]
    ((line, raw, message),) = malformed
    assert (line, reader.cells(str(raw))[0]) == (2, "5")
    assert why in str(message)


def test_a_line_that_is_cut_off_is_no_object_also_where_it_has_a_character_written_as_a_pair(
    tmp_path: Path,
) -> None:
    _, ((_, _, message),), _ = read(tmp_path, '{"id":"A"}', '{"id":"te\\ud83d\\ude00a","x":"te')
    assert message == "not a JSON object"


def test_whole_characters_that_are_written_as_pairs_are_text(tmp_path: Path) -> None:
    rows, malformed, _ = read(tmp_path, '{"id":"te\\ud83d\\ude00a \\\\ud800 \\\\u0000"}')
    assert rows == [("te😀a \\ud800 \\u0000", 1)]
    assert malformed == []


@pytest.mark.parametrize(
    "text",
    [
        "back\\slash",
        "back\\nothing",
        'a "word"',
        "two\r\nlines",
        "a\tb",
        "\b\f\x01",
        "\\",
        '\\"',
        "é😀\u2028",
    ],
)
def test_texts_in_lists_and_objects_keep_every_character(tmp_path: Path, text: str) -> None:
    objects = [{"id": text, "list": [{"a": text}, {"b": [text]}], "one": {text: [1, 2.5]}}, {"id": "plain"}]
    rows, malformed, _ = read(tmp_path, *(json.dumps(each) for each in objects))
    assert malformed == []
    (id_, list_, one, _), (plain, *_) = rows
    assert (id_, plain) == (text, "plain")
    assert json.loads(str(list_)) == objects[0]["list"]
    assert json.loads(str(one)) == objects[0]["one"]


def test_a_text_in_brackets_keeps_every_character(tmp_path: Path) -> None:
    rows, _, _ = read(tmp_path, json.dumps({'odd "name"': "[a\\b", "x": '{"c": "d\\\\e"}'}))
    assert rows == [("[a\\b", '{"c": "d\\\\e"}', 1)]


@pytest.mark.parametrize("name", ["at", "place", "index", "raw", "line", ""])
def test_a_member_that_is_there_twice_harms_no_other_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sales.jsonl"
    path.write_text(f'{{"{name}":"x","id":"1"}}\n{{"id":"2","{name}":"y","id":"3"}}\n{{"id":"4"}}\n')
    reader = JsonLinesReader(find_sources([str(path)], [])[0])
    (batch,) = reader.batches()
    batch.rows.columns = [*reader.header, LINE]
    assert batch.rows["id"].to_list() == ["1", "3", "4"]
    assert batch.rows[name].to_list() == ["x", "y", None]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("9007199254740991.0", "9007199254740991"),
        ("9007199254740993.0", "9.007199254740993E+15"),
        ("1.5e18", "1.5E+18"),
        ("-2E18", "-2E+18"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1.5e3", "1500"),
        ("1e-20", "0.00000000000000000001"),
        ('"12345678901234568.0"', "12345678901234568.0"),
    ],
)
def test_a_number_that_a_parser_would_round_shows_that(tmp_path: Path, number: str, text: str) -> None:
    rows, malformed, _ = read(tmp_path, '{"id":"2,1.5e18","n":1}', f'{{"id":"A","n":{number}}}')
    assert (rows, malformed) == ([("2,1.5e18", "1", 1), ("A", text, 2)], [])


def test_a_number_that_a_parser_would_round_shows_that_in_a_list_too(tmp_path: Path) -> None:
    line = r'{"id":"[: 1.5e18, \" ,1.5e18","x":[{"n":12345678901234567890123,"m": 9007199254740993.0}]}'
    rows, _, _ = read(tmp_path, line)
    ((one, nested, _),) = rows
    assert one == '[: 1.5e18, " ,1.5e18'
    texts = {"n": "12345678901234567890123", "m": "9.007199254740993E+15"}
    assert json.loads(str(nested)) == [texts]
