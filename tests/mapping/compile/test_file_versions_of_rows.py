"""Which rows count for a sale in several files, by tables made by hand."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.mapping.compile.file_versions import ChosenRows, choose_versions
from pipeline.validation.outcomes import with_matching_sums
from pipeline.validation.policy import Policy
from tests.mapping.mapping_cases import compiled_of, keyed, raw_rows, spec_of

SPEC = """
source: {{layout: lines, key: [id]{source}}}
columns: {{qty: integer, price: decimal, total: decimal}}
transaction:
  external_id: id
  total: {total}
  transacted_at: {{column: at, then: [{{datetime: {{formats: [iso]}}}}]}}
items: {{{ids}name: what, quantity: qty, price_current: price, price_sell: price}}
"""
HEAD = "id,at,total,line,what,qty,price\n"


def chosen(
    *files: str,
    source: str = "",
    total: str = "total",
    ids: str = "",
    order: tuple[int, ...] = (0, 1, 2),
    more: str = "",
) -> ChosenRows:
    """The choice among files of rows `id,at,total,line,what,qty,price`, the later ones written later."""
    spec = spec_of(SPEC.format(source=source, total=total, ids=ids) + more)
    tables = {"lines": pl.concat(keyed(raw_rows(HEAD + rows, at), spec) for at, rows in enumerate(files))}
    compiled = compiled_of(spec, tables)
    written = dict(enumerate(order[: len(files)]))
    return choose_versions(tables, compiled, written, lambda mapped: with_matching_sums(mapped, Policy()))


def kept(found: ChosenRows) -> list[tuple[int, int]]:
    rows = found.tables["lines"].select(SOURCE, LINE).rows()
    gone = found.left_out.rows()
    assert not {*rows} & {*gone}
    return rows


def notes(found: ChosenRows) -> list[tuple[str, int | None, int | None]]:
    return found.notes.select("code", SOURCE, LINE).rows()


DAY = "2024-01-02 10:00"
MUG, CUP = f"1,{DAY},10,a,Mug,1,10\n", f"1,{DAY},10,b,Cup,1,4\n"


def test_sales_in_one_file_each_are_left_alone() -> None:
    found = chosen(MUG, MUG.replace("1,", "2,", 1))
    assert kept(found) == [(0, 2), (1, 2)]
    assert (found.left_out.height, found.notes.height, found.older.height) == (0, 0, 0)


@pytest.mark.parametrize(("order", "last"), [((0, 1), 1), ((1, 0), 0)])
@pytest.mark.parametrize("duplicates", ["", ", duplicates: keep"])
def test_a_copy_counts_once(order: tuple[int, ...], last: int, duplicates: str) -> None:
    found = chosen(MUG + CUP, CUP + MUG, order=order, source=duplicates)
    assert kept(found) == [(last, 2), (last, 3)]
    assert sorted(found.left_out.rows()) == [(1 - last, 2), (1 - last, 3)]
    repeats = [("duplicate_row", 1 - last, 2), ("duplicate_row", 1 - last, 3)]
    assert sorted(notes(found), key=str) == [*([] if duplicates else repeats), ("older_version", None, None)]
    assert found.older[SOURCE].to_list() == [1 - last]


def test_a_later_file_with_one_of_the_rows_corrects_the_earlier_one() -> None:
    found = chosen(MUG + CUP, MUG + f"1,{DAY},10,c,Jug,1,1\n")
    assert kept(found) == [(1, 2), (1, 3)]
    assert ("duplicate_row", 0, 2) in notes(found)
    assert ("duplicate_row", 0, 3) not in notes(found)


def test_a_later_file_with_the_id_of_a_line_corrects_the_earlier_one() -> None:
    changed = f"1,{DAY},9,a,Mug,1,9\n"
    found = chosen(MUG + CUP, changed, ids="external_id: line, ")
    assert (kept(found), notes(found)) == ([(1, 2)], [("older_version", None, None)])


@pytest.mark.parametrize(
    ("first", "second", "rows"),
    [
        # The rows of the last file alone agree with its total.
        (f"1,{DAY},10,a,Mug,1,9\n", f"1,{DAY},10,a,Mug,1,10\n", [(1, 2)]),
        # Only all rows together do.
        (f"1,{DAY},14,a,Mug,1,10\n", f"1,{DAY},14,b,Cup,1,4\n", [(0, 2), (1, 2)]),
    ],
)
def test_the_reading_that_agrees_with_the_total_is_taken(
    first: str, second: str, rows: list[tuple[int, int]]
) -> None:
    found = chosen(first, second)
    assert kept(found) == rows
    assert notes(found) == ([("older_version", None, None)] if len(rows) == 1 else [])


UNSETTLED = (f"1,{DAY},10,a,Mug,1,3\n", f"1,{DAY},10,b,Cup,1,4\n")


@pytest.mark.parametrize("total", ["total", '{sum: {sql: "qty * price"}}'])
@pytest.mark.parametrize(
    ("policy", "rows", "codes"),
    [
        ("reject", [(0, 2), (1, 2)], ["in_several_files"]),
        ("latest", [(1, 2)], ["older_version"]),
        ("add", [(0, 2), (1, 2)], []),
    ],
)
def test_what_nothing_decides_the_mapping_decides(
    policy: str, rows: list[tuple[int, int]], codes: list[str], total: str
) -> None:
    found = chosen(*UNSETTLED, source=f", across_files: {policy}", total=total)
    assert found.notes["code"].to_list() == codes
    if policy != "reject":
        assert kept(found) == rows


def test_payments_decide_nothing_where_the_total_is_added_up_from_the_lines() -> None:
    # The last file alone is paid in full: as each of two deliveries is, of which the sale needs both.
    files = (f"1,{DAY},3,a,Mug,1,3\n", f"1,{DAY},4,b,Cup,1,4\n")
    by_lines = '{sum: {sql: "qty * price"}}'
    paid = "\npayments: [{tender: {constant: Cash}, amount: total}]"
    assert notes(chosen(*files, total="total", more=paid)) == [("older_version", None, None)]
    assert notes(chosen(*files, total=by_lines, more=paid)) == [("in_several_files", None, None)]


@pytest.mark.parametrize(
    ("at", "words"),
    [("2024-01-02 22:00", "nothing says whether"), ("2024-01-02 22:01", "two sales with one number")],
)
def test_times_that_are_far_apart_are_of_two_sales(at: str, words: str) -> None:
    (message,) = chosen(UNSETTLED[0], UNSETTLED[1].replace(DAY, at)).notes["message"]
    assert words in message
    late = MUG.replace(DAY, at).replace("10,a", "14,a")
    found = chosen(MUG, late + CUP.replace(DAY, at).replace(",10,b", ",14,b"))
    assert (found.notes["code"].to_list() == ["in_several_files"]) is ("two sales" in words)


def test_of_three_files_the_last_counts_and_that_is_said_once() -> None:
    found = chosen(MUG, MUG, MUG)
    assert kept(found) == [(2, 2)]
    assert sorted(found.older[SOURCE]) == [0, 1]
    assert found.notes["code"].to_list() == ["older_version", "duplicate_row", "duplicate_row"]
    assert kept(chosen(MUG, MUG, MUG, order=(0, 2, 1))) == [(1, 2)]


def test_only_the_sales_that_are_in_several_files_are_looked_at() -> None:
    other = f"2,{DAY},9,x,Jug,1,9\n"
    found = chosen(MUG + other, MUG)
    assert kept(found) == [(0, 3), (1, 2)]
    assert found.older.select(SOURCE).rows() == [(0,)]


def test_notes_about_an_older_version_fall_away() -> None:
    found = chosen(MUG, MUG)
    lost = found.older.with_columns(pl.lit(5).alias(LINE))
    assert found.still_short(lost).is_empty()
    newer = lost.with_columns(pl.lit(1, pl.UInt32).alias(SOURCE))
    assert found.still_short(newer).height == 1
    assert newer[KEY].null_count() == 0
