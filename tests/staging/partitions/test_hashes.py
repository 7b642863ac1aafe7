from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.storage.directories import directory_at
from pipeline.staging.partitions.hashes import Hashes, repeated

LARGEST = 2**64 - 1
SERIES = st.lists(st.integers(0, 30) | st.just(LARGEST), max_size=40)


def series(numbers: list[int]) -> pl.Series:
    return pl.Series(numbers, dtype=pl.UInt64)


@pytest.mark.slow
@given(st.lists(SERIES, max_size=5), st.sampled_from([1, 7, 1 << 22]))
def test_what_is_there_twice_is_found_however_many_are_compared_at_a_time(
    partitions: list[list[int]], compared: int
) -> None:
    everything = [number for partition in partitions for number in partition]
    twice = {number for number in everything if everything.count(number) > 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.staging.partitions.hashes._COMPARED", compared)
        assert repeated([series(partition) for partition in partitions]).to_list() == sorted(twice)


def test_hashes_come_back_by_unit_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    directory = directory_at(tmp_path / "a [b]")
    keys, ids = Hashes(directory, "keys", [7, 100_000]), Hashes(directory, "ids", [1])
    keys.put(100_000, series([3, LARGEST]))
    keys.put(7, pl.concat([series([1]), series([2])], rechunk=False))
    keys.put(7, pl.concat([series([4]), series([5])], rechunk=False))
    ids.put(1, series([]))
    assert [own.to_list() for own in keys] == [[4, 5], [3, LARGEST]]
    assert keys.with_any_of(series([3])) == [100_000]
    assert repeated(ids).to_list() == []
    assert next(iter(ids)).dtype == pl.UInt64
    directory.remove("keys-00000_000007")
    with pytest.raises(FileNotFoundError):
        repeated(keys)


@pytest.mark.parametrize("compared", [2, 6, 7])
def test_what_is_there_twice_is_found_share_by_share(monkeypatch: pytest.MonkeyPatch, compared: int) -> None:
    monkeypatch.setattr("pipeline.staging.partitions.hashes._COMPARED", compared)
    partitions = [series([9, 1, 4]), series([3, 9, 1])]
    assert repeated(partitions).to_list() == [1, 9]
    assert repeated([series([5, 5]), series([]), series([LARGEST] * 5)]).to_list() == [5, LARGEST]
