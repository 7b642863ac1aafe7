from pathlib import Path
from typing import Any

import jsonschema
import pytest

import pipeline
from pipeline.mapping.language.json_schema import mapping_schema, notes_of, schema_text
from pipeline.mapping.language.shipped import shipped_mapping, shipped_names
from pipeline.mapping.language.source_map import parse
from pipeline.mapping.language.source_spec import Source
from pipeline.mapping.language.spec import MappingSpec

VALIDATOR = jsonschema.Draft202012Validator(mapping_schema())


def errors(data: Any) -> set[str]:
    return {error.json_path for error in VALIDATOR.iter_errors(data)}


def pos_lines() -> dict[str, Any]:
    path = shipped_mapping("pos_lines")
    data: dict[str, Any] = parse(path, path.read_text(encoding="utf-8")).data
    return data


def test_the_schema_in_the_repository_is_fresh() -> None:
    file = Path(pipeline.__file__).parent.parent / "mappings" / "schema.json"

    assert file.read_text(encoding="utf-8") == schema_text(), "run `python -m docs.tools.mapping_reference`"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(mapping_schema())


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_names())
def test_an_editor_finds_nothing_wrong_with_a_shipped_mapping(name: str) -> None:
    path = shipped_mapping(name)

    assert errors(parse(path, path.read_text(encoding="utf-8")).data) == set()


@pytest.mark.parametrize(
    ("section", "key", "value", "where"),
    [
        ("transaction", "totl", "x", "$.transaction"),
        ("transaction", "total", 5, "$.transaction.total"),
        ("transaction", "total", {"colum": "x"}, "$.transaction.total"),
        ("transaction", "total", {"column": "x", "then": ["trimm"]}, "$.transaction.total"),
        ("source", "layout", "rows", "$.source.layout"),
        ("checks", "total_mismach", "warn", "$.checks"),
        ("completion", "complete", "PAID", "$.completion"),
    ],
)
def test_an_editor_underlines_what_check_would_tell(section: str, key: str, value: Any, where: str) -> None:
    data = pos_lines()
    data[section][key] = value

    assert errors(data) == {where}


def test_every_key_has_a_description() -> None:
    assert set(notes_of(MappingSpec)) == set(MappingSpec.model_fields)
    assert set(notes_of(Source)) == set(Source.model_fields)
    schema = mapping_schema()
    assert all(property_["description"] for property_ in schema["properties"].values())
    assert schema["$defs"]["Replace"]["properties"].keys() == {"pattern", "with"}
