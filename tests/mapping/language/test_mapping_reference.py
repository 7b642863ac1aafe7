from pathlib import Path
from typing import get_args

import pytest

import pipeline
from docs.tools.mapping_reference import (
    LAYOUT_EXAMPLES,
    SECTION_EXAMPLES,
    STEP_EXAMPLES,
    VALUE_EXAMPLES,
    WORDS,
    Example,
    all_examples,
    mapping_with,
    with_reference,
)
from pipeline.mapping.compile.check import check_mapping
from pipeline.mapping.compile.compiler import examine
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.language.source_spec import Source
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import STEPS, VALUES, Word
from pipeline.mapping.usage.column_names import used_by_table
from pipeline.workflows.mapping_tests import failures

GUIDE = Path(pipeline.__file__).parent.parent / "docs" / "mapping.md"


@pytest.mark.slow
@pytest.mark.parametrize("example", all_examples().values(), ids=all_examples())
def test_every_example_of_the_reference_works(example: Example, tmp_path: Path) -> None:
    stores = tmp_path / "stores.csv"
    stores.write_text("code,zone\nBER1,Europe/Berlin\n", encoding="utf-8")

    loaded = read_mapping(tmp_path / "example.yaml", mapping_with(example).encode())
    columns = {table: sorted(names) for table, names in used_by_table(loaded.spec).items()}

    if "{open:" in example.text:
        assert [problem.message[:18] for problem in check_mapping(loaded)] == ["`staff_id` is open"]
        return
    for names in columns.values():
        names.extend(loaded.spec.columns)
    assert check_mapping(loaded) == []
    assert failures(loaded) == []
    assert examine(loaded.spec, columns, directory=tmp_path, sources=[str(stores)])[1] == []


def test_there_is_an_example_of_everything() -> None:
    assert VALUE_EXAMPLES.keys() == VALUES.keys()
    assert STEP_EXAMPLES.keys() == STEPS.keys()
    assert set(WORDS) == set(get_args(Word))
    assert SECTION_EXAMPLES.keys() == MappingSpec.model_fields.keys()
    layouts = set(get_args(Source.model_fields["layout"].annotation))
    assert layouts == {"lines", *LAYOUT_EXAMPLES}


def test_the_reference_in_the_docs_is_fresh() -> None:
    text = GUIDE.read_text(encoding="utf-8")

    assert text == with_reference(text), "run `python -m docs.tools.mapping_reference`"


def test_the_mapping_that_the_guide_begins_with_works() -> None:
    blocks = GUIDE.read_text(encoding="utf-8").split("```yaml\n")[1:]
    whole = next(block.split("```")[0] for block in blocks if block.startswith("mapping:"))

    assert check_mapping(read_mapping(Path("guide.yaml"), whole.encode())) == []
