from pathlib import Path

import pytest

from pipeline.core.errors import MappingError, SettingsError
from pipeline.mapping.language.mapping_file import LoadedMapping, load_mapping, read_mapping
from pipeline.mapping.language.spec import Check, Completion, Condition, MappingSpec
from pipeline.mapping.language.value_spec import ConstantValue

START = "mapping: m\nsource: {key: [a]}\n"
FIELDS = "transaction:\n  external_id: a\n"


def load(text: str) -> LoadedMapping:
    return read_mapping(Path("m.yaml"), text.encode())


def said(text: str) -> list[str]:
    with pytest.raises(MappingError) as caught:
        load(text)
    return [str(problem).removeprefix("m.yaml:") for problem in caught.value.problems]


def test_a_mapping_becomes_frozen_values_with_places() -> None:
    loaded = load(START + FIELDS + "  total:\n    column: t\n    then:\n      - round: 2\n")

    assert loaded.spec.mapping == "m"
    assert loaded.spec.source.key == ("a",)
    assert loaded.document.where(("transaction", "total", "then", 0, "round")) == (8, 16)
    assert loaded.document.where(("transaction", "total")) == (5, 3)
    with pytest.raises(ValueError, match="frozen"):
        loaded.spec.mapping = "other"  # type: ignore[misc]


def test_the_digest_is_that_of_the_values() -> None:
    one, other = load(START + FIELDS + "# a comment\n"), load(START + FIELDS + "  receipt_ref: a\n")

    assert one.digest == load(START + FIELDS).digest != other.digest
    assert len(one.digest) == 32


def test_a_byte_order_mark_is_no_part_of_the_mapping() -> None:
    assert read_mapping(Path("m.yaml"), b"\xef\xbb\xbf" + (START + FIELDS).encode()).spec.mapping == "m"


def test_what_is_not_utf_8_is_reported_with_its_place() -> None:
    with pytest.raises(MappingError, match=r"m\.yaml:2:10: byte 0xe9 is not UTF-8"):
        read_mapping(Path("m.yaml"), b"mapping: m\nabout: ca\xe9\n")


def test_numbers_and_booleans_are_words_where_words_are_wanted() -> None:
    spec = load(
        START + "transaction: {total: {constant: 1.50}, receipt_ref: {template: 5}}\n"
        "completion: {status: s, complete: [2, true, 1.50], cancelled: {status: [-1]}}\n"
    ).spec

    assert spec.completion == Completion(
        status="s", complete=("2", "true", "1.50"), cancelled=Condition(status=("-1",))
    )
    assert isinstance(spec.transaction["total"], ConstantValue)


def test_leading_zeros_of_a_key_stay() -> None:
    assert load("mapping: m\nsource: {key: [007]}\ntransaction: {}").spec.source.key == ("007",)


def test_a_check_is_a_word_or_an_object() -> None:
    spec = load(START + FIELDS + "checks: {guest: off, total_mismatch: {tolerance: 0.05}}").spec

    assert spec.checks["guest"] == "off"
    assert isinstance(spec.checks["total_mismatch"], Check)
    assert str(spec.checks["total_mismatch"].tolerance) == "0.05"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            "mapping: My Shop\n",
            [
                "1:1: `source` is missing in the mapping: how the files are laid out, as in "
                "`source: {key: [receipt_no]}`",
                "1:1: `transaction` is missing in the mapping: Omneo's fields, as in "
                "`transaction: {external_id: receipt_no, total: total}`",
                "1:10: 'My Shop' cannot be a name: lower-case letters, digits and underscores were expected, "
                "beginning with a letter",
            ],
            id="empty mapping",
        ),
        pytest.param(
            START + "transaction:\n  totl: x\n",
            ["4:3: 'totl' is not a field of a transaction; did you mean 'total'?"],
            id="misspelt field",
        ),
        pytest.param(
            START + "transaction: {payments: x}\n",
            ["3:15: `payments` is not set here but in the section `payments`"],
            id="field with a section of its own",
        ),
        pytest.param(
            START + "transaction:\n  total: 5\n",
            [
                "4:10: a bare 5 is not a column; write {constant: 5} for a fixed value, "
                'or "5" in quotes for a column of that name'
            ],
            id="bare number",
        ),
        pytest.param(
            START + "transaction:\n  total: {column: a, constant: 5}\n",
            [
                "4:22: a value has one origin, but here are both `column` and `constant`; "
                "write {first_of: [...]} for the first that is not blank"
            ],
            id="two origins",
        ),
        pytest.param(
            START + "transaction:\n  total: {colum: a}\n",
            ["4:10: 'colum' does not make a value; did you mean 'column'?"],
            id="misspelt origin",
        ),
        pytest.param(
            START + "transaction:\n  receipt_ref: {store}\n",
            ['4:16: a text with braces stands in quotes: write {template: "{store}"}'],
            id="template without quotes",
        ),
        pytest.param(
            START + "transaction:\n  total: {column: a, round: 2}\n",
            ["4:22: `round` is a step; steps stand in `then`, as in then: [{round: ...}]"],
            id="step outside then",
        ),
        pytest.param(
            START + "transaction:\n  total: {column: a, then: trim}\n",
            ["4:28: a list was expected; write [trim]"],
            id="one step without a list",
        ),
        pytest.param(
            START + "transaction:\n  total:\n    column: a\n    then:\n      - trimm\n      - number\n",
            [
                "7:9: 'trimm' is not a step; did you mean 'trim'?",
                "8:9: the step `number` needs its options, as in {number: ...}",
            ],
            id="misspelt step",
        ),
        pytest.param(
            START + "transaction:\n  total: {column: a, then: [{rund: 2}, {trim: 1}, {round: two}]}\n",
            [
                "4:29: 'rund' is not a step; did you mean 'round'?",
                "4:40: the step `trim` has no options; write it bare: trim",
                "4:59: a whole number was expected, not 'two'",
            ],
            id="steps with options",
        ),
        pytest.param(
            START + "transaction:\n  total: {column: a, then: [{map: {Y: yes}}]}\n",
            [
                "4:30: `values` is missing in `map`",
                "4:36: the words stand under `values`, as in map: {values: {Y: ...}}",
            ],
            id="map without values",
        ),
        pytest.param(
            START + FIELDS + "completion: {status: s, complete: PAID}\n",
            ["5:35: a list was expected; write [PAID]"],
            id="one word without a list",
        ),
        pytest.param(
            START + FIELDS + "profile: {value: e, handle: email}\n",
            ["5:10: a list was expected in `profile`; put `- ` before each of its members"],
            id="one member without a list",
        ),
        pytest.param(
            START + FIELDS + "checks: {total_mismach: warn, guest: wran}\n",
            [
                "5:10: 'total_mismach' is not a code; did you mean 'total_mismatch'?",
                "5:38: 'wran' is not one of reject, warn, off; did you mean 'warn'?",
            ],
            id="misspelt code",
        ),
        pytest.param(
            "mapping: m\nsource:\n  layout: line\n  csv: {delimeter: ;}\ntransaction: {}\n",
            [
                "3:11: 'line' is not one of lines, first_row, records, tables, nested, headers; "
                "did you mean 'lines'?",
                "4:9: 'delimeter' is not known in `csv`; did you mean 'delimiter'?",
            ],
            id="misspelt dialect",
        ),
        pytest.param(
            START + FIELDS + "item: {}\n",
            ["5:1: 'item' is not known in the mapping; did you mean 'items'?"],
            id="misspelt section",
        ),
        pytest.param(
            "- a\n",
            ["1:1: the mapping was expected to hold names and values, not a list"],
            id="a list",
        ),
        pytest.param(
            START + "transaction:\n  total:\n",
            [
                "4:9: a value was expected, not nothing (leave the key out where no value is needed); "
                "a value is a column's name, or an object with one of column, constant, template, sql, "
                "first_of, lookup, case, sum, count, distinct, first, last, min, max, line_number, list, "
                "object"
            ],
            id="nothing",
        ),
        pytest.param(
            START + "transaction: {tags: {lookup: s, key: [5], value: x}}\n",
            [
                "3:39: a bare 5 is not a column; write {constant: 5} for a fixed value, "
                'or "5" in quotes for a column of that name'
            ],
            id="inside a list of values",
        ),
        pytest.param(
            START + "transaction: {total: {sum: {sum: x, foo: 1}, foo: 1}}\n",
            [
                "3:37: 'foo' is not known in `sum`; known are then, sum, lines",
                "3:46: 'foo' is not known in `total`; known are then, sum, lines",
            ],
            id="the same key at two depths",
        ),
    ],
)
def test_every_fault_of_form_is_reported_with_its_place_and_the_way_out(
    text: str, problems: list[str]
) -> None:
    assert said(text) == problems


def test_no_message_speaks_of_the_inside() -> None:
    """Whatever value stands in whatever place of a mapping, no pydantic or Python term gets out."""
    wrong = ("5", "[x]", "{x: y}", "true", "''", "1.5")
    places = (
        "mapping: {}\nsource: {key: [a]}\ntransaction: {}",
        *(
            START + "transaction: {total: " + inner + "}"
            for inner in ("{}", "{column: {}}", "{constant: {}}")
        ),
        *(
            START + FIELDS + f"{section}: {{}}"
            for section in MappingSpec.model_fields
            if section != "mapping"
        ),
        *(
            START + FIELDS + "define: {x: {column: y, then: [{" + step + ": {}}]}}"
            for step in ("round", "pad", "map", "datetime", "replace", "default", "blank_if", "divide_by")
        ),
    )
    for place in places:
        for value in wrong:
            text = place.replace("{}", value, 1)
            message = message_of(text)
            for term in ("Input should", "pydantic", "NoneType", "dict", "tuple", "instance", "tag"):
                assert term not in message, text


def message_of(text: str) -> str:
    try:
        load(text)
    except MappingError as error:
        return str(error)
    return ""


def test_a_mapping_is_found_by_its_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pos_lines").write_text(START + FIELDS)

    assert load_mapping("pos_lines").spec.mapping == "m"
    Path("pos_lines").unlink()
    assert load_mapping("pos_lines").spec.mapping == "pos_lines"


def test_a_mapping_that_is_not_there_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").touch()

    with pytest.raises(SettingsError, match=r"did you mean 'mine\.yaml'"):
        load_mapping("min.yaml")
    with pytest.raises(SettingsError, match="did you mean 'pos_lines'") as caught:
        load_mapping("pos_line")
    assert "shopify_orders" in caught.value.hint
    with pytest.raises(SettingsError, match="is a directory"):
        load_mapping(".")
