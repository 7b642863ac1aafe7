"""Every format is recognized by what a file holds, and read the same whether it is stated or not."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from pipeline.core.model import Dialect
from pipeline.core.storage.file_formats import DATA_GLOBS, FORMATS, FileFormat
from pipeline.extract import find_sources, open_reader
from pipeline.extract.sniff import sniff
from tests.workbooks import workbook

ROWS = pl.DataFrame({"Receipt": ["1", "2"], "Item": ["Tea", "Cup"]})


def written(directory: Path, form: FileFormat, name: str) -> Path:
    path = directory / name
    match form:
        case "csv":
            ROWS.write_csv(path)
        case "jsonl":
            ROWS.write_ndjson(path)
        case "parquet":
            ROWS.write_parquet(path)
        case "xlsx":
            workbook(path, [ROWS.columns, *ROWS.rows()])
    return path


def cells(path: Path, form: FileFormat | None) -> list[tuple[str, ...]]:
    (file,) = find_sources([str(path)], [])
    with_place = pl.concat([batch.rows for batch in open_reader(file, Dialect(), form).batches()])
    return with_place.select(ROWS.columns).rows()


def test_every_name_of_a_format_has_its_line() -> None:
    assert set(get_args(FileFormat)) == FORMATS.keys()


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_is_recognized_by_its_content_and_read_as_if_it_were_stated(
    tmp_path: Path, form: FileFormat
) -> None:
    path = written(tmp_path, form, "no_ending")

    assert sniff(find_sources([str(path)], [])[0]).format == form
    assert cells(path, None) == cells(path, form) == ROWS.rows()


@pytest.mark.parametrize("form", FORMATS)
def test_a_mapping_that_states_a_format_reads_the_rows_to_fix_of_its_files(
    tmp_path: Path, form: FileFormat
) -> None:
    path = written(tmp_path, FORMATS[form].rows_to_fix, "quarantine_rows")

    assert cells(path, form) == ROWS.rows()


def test_files_of_every_format_are_found_in_a_folder_and_text_also_where_it_is_compressed() -> None:
    assert {f"*{ending}" for form in FORMATS.values() for ending in form.endings} <= {*DATA_GLOBS}
    assert {"*.csv.gz", "*.ndjson.zst", "*.zip"} <= {*DATA_GLOBS}
    assert {"*.parquet.gz", "*.xlsx.zst", "*.csv.zip"}.isdisjoint(DATA_GLOBS)
