"""Mapping and files are looked at together: what is named first."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import MappingError, SourceError
from pipeline.core.events import ignore
from pipeline.mapping.language.mapping_file import load_mapping, read_mapping
from pipeline.workflows.preparation.import_plan import plan_import
from tests.command import REPOSITORY
from tests.receipts import export

WRONG = (REPOSITORY / "mappings/pos_lines.yaml").read_text().replace("sku: sku", "sku: {sql: 'sku +'}")


@pytest.mark.parametrize("is_there", [False, True])
def test_what_is_wrong_whatever_the_source_is_comes_first_and_alone(tmp_path: Path, is_there: bool):
    source = tmp_path / "pos_lines.csv"
    if is_there:
        # A column that the mapping uses is missing as well.
        text = export(source, 2).read_text()
        source.write_text(text.replace("staff_code", "clerk"))
    with pytest.raises(MappingError) as raised:
        plan_import(read_mapping(Path("m.yaml"), WRONG.encode()), [str(source)], ignore)
    assert len(raised.value.problems) == 1
    assert not raised.value.hint
    right = load_mapping("pos_lines")
    with pytest.raises(
        MappingError if is_there else SourceError, match="staff_code" if is_there else "exist"
    ):
        plan_import(right, [str(source)], ignore)
