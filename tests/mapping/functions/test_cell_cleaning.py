"""Trimming cells: however little of them is looked at, the result is that of trimming each."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mapping.functions.cell_cleaning import blank, cleaned, stripped, trimmed

_WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
_TEXTS = st.text(alphabet=st.sampled_from([*_WHITE, *"a-9é漢\x1c\x7f\0"]), max_size=15)


@pytest.mark.slow
@given(st.lists(st.none() | _TEXTS, max_size=5), st.sampled_from([(), ("-",), ("a", "9")]))
def test_cells_become_what_trimming_each_of_them_gives(
    cells: list[str | None], nulls: tuple[str, ...]
) -> None:
    rows = pl.DataFrame(
        {"one": cells, "other": ["tidy"] * len(cells)}, schema={"one": pl.String, "other": pl.String}
    )
    assert cleaned(rows, ["one", "other"], nulls).equals(
        rows.with_columns(trimmed(pl.col("one", "other"), nulls))
    )


@pytest.mark.parametrize("white", _WHITE)
@pytest.mark.parametrize("form", ["{}x", "x{}", "{}"])
def test_no_white_space_is_overlooked_among_tidy_cells(white: str, form: str) -> None:
    rows = pl.DataFrame({"name": ["tidy", None, form.format(white), "tidy too"]})
    assert cleaned(rows, ["name"], ())["name"][2] == (form.replace("{}", "") or None)


@pytest.mark.parametrize("nulls", [(), ("-",)])
@pytest.mark.parametrize("hidden", ["\u200b", "\ufeff", "\x7f", "\x00"])
def test_only_ids_lose_what_is_invisible(hidden: str, nulls: tuple[str, ...]) -> None:
    cells = [f"{hidden}x", f"x{hidden}", " x", "x", ""]
    found = cleaned(pl.DataFrame({"id": cells, "name": cells}), ["id", "name"], nulls, ids=["id"])
    assert found["id"].to_list() == ["x", "x", "x", "x", None]
    assert found["name"].to_list() == [f"{hidden}x", f"x{hidden}", "x", "x", None]
    assert pl.select(trimmed(pl.lit(f"{hidden}x"), nulls)).item() == f"{hidden}x"
    assert not pl.select(blank(pl.lit(hidden), nulls)).item()
    assert pl.select(stripped(pl.lit(f" {hidden}x"))).item() == f"{hidden}x"


@pytest.mark.parametrize(
    ("cells", "nulls", "expected"),
    [
        (["", ""], (), [None, None]),
        (["a", "", None], (), ["a", None, None]),
        (["-", "a", " - "], ("-",), [None, "a", None]),
        ([" ", "a"], ("-",), [None, "a"]),
    ],
)
def test_blank_cells_are_null(
    cells: list[str | None], nulls: tuple[str, ...], expected: list[str | None]
) -> None:
    assert cleaned(pl.DataFrame({"x": cells}), ["x"], nulls)["x"].to_list() == expected
