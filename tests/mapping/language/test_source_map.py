from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.core.errors import MappingError
from pipeline.mapping.language.source_map import MAX_DEPTH, YamlDocument, parse

FILE = Path("m.yaml")


def refused(text: str) -> str:
    with pytest.raises(MappingError) as caught:
        parse(FILE, text)
    return str(caught.value)


def test_plain_words_are_those_of_yaml_1_2() -> None:
    text = (
        "a: yes\nb: off\nc: true\nd: 007\ne: 12\nf: 1.50\ng: 1e3\nh: 0x1F\ni: '12'\nj: NULL\nk: null\nl: 1:30"
    )

    data = parse(FILE, text).data

    assert data == {
        "a": "yes",
        "b": "off",
        "c": True,
        "d": "007",
        "e": 12,
        "f": Decimal("1.50"),
        "g": "1e3",
        "h": "0x1F",
        "i": "12",
        "j": "NULL",
        "k": None,
        "l": "1:30",
    }
    assert isinstance(data["f"], Decimal)


def test_keys_are_always_text() -> None:
    assert parse(FILE, "true: 1\n5: 2\nnull: 3\n1.50: 4\n").data == {"true": 1, "5": 2, "null": 3, "1.50": 4}


def test_a_number_too_long_for_one_stays_text() -> None:
    digits = "9" * 5000

    assert parse(FILE, f"a: {digits}").data == {"a": digits}


def places() -> YamlDocument:
    return parse(FILE, "a:\n  b: [x,\n      {c: y}]\n  d: z\n")


@pytest.mark.parametrize(
    ("loc", "where"),
    [
        ((), (1, 1)),
        (("a",), (1, 1)),
        (("a", "b"), (2, 6)),
        (("a", "b", 0), (2, 7)),
        (("a", "b", 1, "c"), (3, 11)),
        (("a", "d"), (4, 6)),
        (("a", "missing"), (1, 1)),
        (("a", "=tag", "d"), (4, 6)),
    ],
)
def test_where_points_at_scalars_and_at_the_key_of_blocks(
    loc: tuple[str | int, ...], where: tuple[int, int]
) -> None:
    assert places().where(loc) == where


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\n\tb: 2", "m.yaml:2:1: there is a tab here"),
        ("a: b: c", "m.yaml:1:5: there is a colon where none can be"),
        ("a: {store}-{no}", "m.yaml:1:11: this does not belong to the lines before it"),
        ("a: 'x\nb: 1", "m.yaml:1:4: the quote that is opened here is never closed"),
        ("a: [1, 2\nb: 3", "m.yaml:1:4: the [ that is opened here is not closed"),
        ("a: {b: 1\nc: 2", "m.yaml:1:4: the { that is opened here is not closed"),
        ("a: %Y", "m.yaml:1:4: a text cannot begin with this sign"),
        ("a: @x", "m.yaml:1:4: a text cannot begin with this sign"),
        ("a: *x", "m.yaml:1:4: a text that begins with * stands in quotes"),
        ("a: !x y", "m.yaml:1:4: the tag !x is not known"),
        ("a: 1\nb", "m.yaml:2:2: a key needs a colon"),
        ("   a: 1\n  b: 2", "m.yaml:2:3: this line is indented less"),
        ('a: "\\.0"', "m.yaml:1:6: in double quotes a backslash begins an escape"),
        ("a: 1\n---\nb: 2", "m.yaml:2:1: a mapping is one document"),
        ("a: 1\nb: 2\na: 3", "m.yaml:3:1: 'a' is there twice, first in line 1"),
        ("? [1]\n: 2", "m.yaml:1:3: a key is a plain text"),
        ("x: \x00", "m.yaml:1:4: a character that cannot be in YAML"),
        ("", "m.yaml:1:1: the file is empty"),
        ("# nothing\n", "m.yaml:1:1: the file is empty"),
        ("[" * 200, f"nested deeper than {MAX_DEPTH} levels"),
        ("a: &x [*x]", "m.yaml:1:4: aliases make"),
    ],
)
def test_what_is_no_yaml_is_reported_in_plain_words_at_its_place(text: str, said: str) -> None:
    assert said in refused(text)


@pytest.mark.slow
def test_aliases_are_read_but_cannot_blow_up() -> None:
    laughs = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert parse(FILE, "a: &a [x]\nb: *a").data == {"a": ["x"], "b": ["x"]}
    assert "more than 100000 values" in refused("\n".join(laughs))


def test_python_objects_are_never_made() -> None:
    assert "tag" in refused("a: !!python/object/apply:os.system ['true']")
