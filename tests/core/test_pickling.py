from __future__ import annotations

import pickle
import subprocess
import sys

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import pipeline.core.pickling  # noqa: F401 (it says how frames are pickled)


def test_a_frame_of_many_pieces_comes_back_as_it_was() -> None:
    one = pl.DataFrame({"a": ["x", None], "b": [1, 2], "c": [[1], []]})
    many = pl.concat([one] * 50, rechunk=False)
    back = pickle.loads(pickle.dumps(many))
    assert_frame_equal(back, many)
    assert back.n_chunks() == 1
    assert pickle.loads(pickle.dumps(many["a"])).to_list() == many["a"].to_list()
    assert pickle.loads(pickle.dumps([many, many]))[1].height == 100


BOTH = """
import os, pickle, threading, time
import polars as pl
{first}
one = pl.DataFrame({{"a": [str(n) for n in range(2000)], "b": range(2000)}})
many = pl.concat([one[n : n + 10] for n in range(0, 2000, 10)], rechunk=False)
ends = time.monotonic() + 3
def function():
    while time.monotonic() < ends:
        more = pl.col("b").map_batches(lambda b: b + 1, return_dtype=pl.Int64)
        one.with_columns(*(more.alias(f"{{n}}") for n in range(8)))
def pickled():
    while time.monotonic() < ends:
        pickle.loads(pickle.dumps(many))
threads = [threading.Thread(target=each, daemon=True) for each in (function, pickled, pickled)]
for each in threads: each.start()
for each in threads: each.join()
print("through", flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_pickling_and_a_function_of_ours_do_not_wait_for_each_other() -> None:
    code = BOTH.format(first="import pipeline.core.pickling")
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout == "through\n", result.stderr


def test_the_parts_of_a_run_are_pickled_so() -> None:
    import copyreg

    import pipeline.engine.dask
    import pipeline.workflows.preparation.measurements  # noqa: F401 (for what they import)

    assert {pl.DataFrame, pl.Series} <= copyreg.dispatch_table.keys()
