"""Parquet: every cell as exact text."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect
from pipeline.extract import find_sources, open_reader
from pipeline.extract import parquet_reader as parquet_reader


def cells(tmp_path: Path, array: pa.Array) -> list[str | None]:
    path = tmp_path / "any.parquet"
    parquet.write_table(pa.table({"x": array}), path)
    (batch,) = open_reader(find_sources([str(path)], [])[0], Dialect()).batches()
    assert batch.rows["__line"].to_list() == list(range(1, len(array) + 1))
    return batch.rows["x"].to_list()


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["00123", " x ", "", None]), ["00123", " x ", None, None]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.array([2**63 - 1, None, -5]), ["9223372036854775807", None, "-5"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([0.1, 17850.0, 1e-7, 1e22]), ["0.1", "17850.0", "0.0000001", "1E+22"]),
        (pa.array([0.1, float("nan")], pa.float32()), ["0.1", None]),
        (
            pa.array([2.0**53 - 1, -(2.0**53), 1e300]),
            ["9007199254740991.0", "-9.007199254740992E+15", "1E+300"],
        ),
        (pa.array([2.0**24 - 1, 2.0**24], pa.float32()), ["16777215.0", "1.6777216E+07"]),
        (pa.array([2047.0, 2048.0, float("inf")], pa.float16()), ["2047.0", "2.048E+03", "inf"]),
        (pa.array([Decimal("1.20"), Decimal("-0.05")], pa.decimal128(10, 2)), ["1.20", "-0.05"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([date(2020, 1, 2)]), ["2020-01-02"]),
        (pa.array([time(1, 2, 3)]), ["01:02:03"]),
        (pa.array([datetime(2020, 1, 2, 3, 4, 5)]), ["2020-01-02T03:04:05"]),
        (pa.array([datetime(2020, 1, 2, 3, 4, 5, 678000)]), ["2020-01-02T03:04:05.678"]),
        (
            pa.array(
                [datetime(2020, 1, 2, tzinfo=ZoneInfo("Australia/Sydney"))],
                pa.timestamp("ms", "Australia/Sydney"),
            ),
            ["2020-01-02T00:00:00+11:00"],
        ),
        (pa.array([b"caf\xc3\xa9", b"", None]), ["café", None, None]),
        (pa.array([b"\x00\xff", b"\x01\xfe", b"abc"]), ["00ff", "01fe", "616263"]),
        (pa.array([[b"caf\xc3\xa9", b"\xff"]]), ['["café","ff"]']),
        (pa.nulls(2), [None, None]),
    ],
)
def test_values_become_exact_text(tmp_path: Path, array: pa.Array, expected: list[str | None]) -> None:
    assert cells(tmp_path, array) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{"sku": 'a"é\n', "price": Decimal("1.50")}, {"sku": None, "price": None}],
         [{"sku": 'a"é\n', "price": "1.50"}, {"sku": None, "price": None}]),
        ([], []),
        ({"a": 2**60, "b": {"c": [0.1, None]}}, {"a": str(2**60), "b": {"c": ["0.1", None]}}),
        ([[1], [], None], [["1"], [], None]),
    ],
)  # fmt: skip
def test_nested_values_become_json_of_strings(tmp_path: Path, value: Any, expected: Any) -> None:
    present, missing = cells(tmp_path, pa.array([value, None]))
    assert json.loads(present or "") == expected
    assert missing is None


def test_a_map_is_a_list_of_keys_and_values(tmp_path: Path) -> None:
    array = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32()))
    assert cells(tmp_path, array) == ['[{"key":"k","value":"1"}]']


@pytest.mark.slow
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_survive_and_only_large_ones_have_an_exponent(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float]
) -> None:
    texts = cells(tmp_path_factory.mktemp("floats"), pa.array(numbers))
    assert [float(text or "") for text in texts] == numbers
    assert all(("e" in (text or "").lower()) == (abs(float(text or "")) >= 2**53) for text in texts)


def test_rows_are_numbered_across_slices_and_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_reader, "DECODED_ROWS", 8)
    monkeypatch.setattr(parquet_reader, "SLICE_BYTES", 100)
    path = tmp_path / "many.parquet"
    parquet.write_table(pa.table({"n": list(range(1, 101))}), path, row_group_size=30)
    batches = list(open_reader(find_sources([str(path)], [])[0], Dialect()).batches())
    rows = [row for batch in batches for row in batch.rows.rows()]
    assert rows == [(str(n), n) for n in range(1, 101)]
    assert max(batch.rows.height for batch in batches) == 16


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    parquet.write_table(pa.table({"n": [str(n) for n in range(9999)]}), path)
    content = bytearray(path.read_bytes())
    content[200:2000] = bytes(1800)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"damaged\.parquet cannot be read"):
        list(open_reader(find_sources([str(path)], [])[0], Dialect()).batches())


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (pa.array([b"tea", b"cak\xff", b"mug"]), "bytes that are no text"),
        (pa.array([b"tea", b"ca\0ke", b"mug"]), "NUL"),
        (pa.array(["tea", "ca\0ke", "mug"]), "NUL"),
        (pa.array(["tea", "cake\0", "mug"]).dictionary_encode(), "NUL"),
    ],
)
def test_a_row_with_what_is_no_text_is_malformed_and_its_other_cells_are_known(
    tmp_path: Path, array: pa.Array, why: str
) -> None:
    path = tmp_path / "any.parquet"
    parquet.write_table(pa.table({"id": ["A", "B", "C"], "x": array, "n": [1, 2, 3]}), path)
    reader = open_reader(find_sources([str(path)], [])[0], Dialect())
    (batch,) = reader.batches()
    assert batch.rows.rows() == [("A", "tea", "1", 1), ("C", "mug", "3", 3)]
    ((line, raw, message),) = batch.malformed.rows()
    assert (line, reader.cells(raw)[0], reader.cells(raw)[2]) == (2, "B", "2")
    assert why in message
