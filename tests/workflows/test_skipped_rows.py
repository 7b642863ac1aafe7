"""Rows that the mapping leaves out before they are grouped into sales, in every layout and format."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.errors import MappingError
from pipeline.core.events import ignore
from pipeline.core.memory import Budget
from pipeline.mapping.compile.check import check_mapping
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.workflows.prepare import PrepareOptions, prepare
from pipeline.workflows.runs.run_record import CommandResult

VALUES = """
columns: {qty: integer}
define: {n: {line_number: file}, word: {column: what, then: [lower]}}
transaction:
  external_id: no
  transacted_at: {column: at, then: [{datetime: {formats: [iso], timezone: {constant: UTC}}}]}
  total: total
items:
  {external_id: {template: "{no}-{n}"}, name: what, quantity: qty, price_current: price, price_sell: price}
checks: {guest: "off"}
"""
HEADERS = "no,at,total,what\nA,2026-01-02,5,\nB,2026-01-03,4,\nSubtotal,2026-01-03,9,subtotal\n"
CASES = {
    "lines": (
        "layout: lines, key: [no]",
        "no,at,total,what,qty,price\nA,2026-01-02,5,Tea,1,2\nA,2026-01-02,5,Subtotal,1,2\nA,2026-01-02,5,Cup,1,3\n"
        "B,2026-01-03,4,Pot,1,4\n,,9,SUBTOTAL,,\n",
        2,
    ),
    "first_row": (
        "layout: first_row, key: [no], carry_key: true",
        "no,at,total,what,qty,price\nA,2026-01-02,5,Tea,1,2\n,,,Subtotal,,\n,,,Cup,1,3\nB,2026-01-03,4,Pot,1,4\n"
        ",,9,subtotal,,\n",
        2,
    ),
    "records": (
        "layout: records, key: [no], records: {column: kind, header: [H], item: [L]}",
        "kind,no,at,total,what,qty,price\nH,A,2026-01-02,5,,,\nL,,,,Tea,1,2\nL,,,,Subtotal,1,2\nL,,,,Cup,1,3\n"
        "H,B,2026-01-03,4,,,\nL,,,,Pot,1,4\n",
        1,
    ),
    "headers": ("layout: headers, key: [no]", HEADERS, 1),
}
SKIP = "word = 'subtotal'"


def prepared(path: Path, source: str, *files: Path, values: str = VALUES, skip: str = SKIP) -> CommandResult:
    mapping = f'mapping: case\nsource: {{{source}, rows: {{skip: "{skip}"}}}}{values}'
    if "layout: headers" in source:
        mapping = mapping.replace("columns: {qty: integer}\n", "").replace(
            mapping[mapping.index("items:") : mapping.index("checks:")], ""
        )
    (path / "m.yaml").write_text(mapping)
    options = PrepareOptions(budget=Budget(partition_bytes=1))
    return prepare(path / "w", str(path / "m.yaml"), [str(file) for file in files], options, ignore)


def written(path: Path, text: str, form: str) -> Path:
    """A CSV text as a file of that format."""
    rows = list(csv.DictReader(StringIO(text)))
    file = path / f"rows.{form}"
    if form == "csv":
        file.write_text(text)
    elif form == "jsonl":
        lines = (json.dumps({name: cell for name, cell in row.items() if cell}) for row in rows)
        file.write_text("".join(f"{line}\n" for line in lines))
    else:
        pl.DataFrame([{name: cell or None for name, cell in row.items()} for row in rows]).write_parquet(file)
    return file


def bodies(result: CommandResult) -> dict[str, Any]:
    staged = pl.read_parquet(f"{result.summary.run_dir}/staged/*.parquet")
    return {body["external_id"]: body for body in map(json.loads, staged["body"])}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("layout", CASES)
def test_they_are_counted_and_change_nothing_else(layout: str, form: str, tmp_path: Path) -> None:
    source, text, skipped = CASES[layout]
    result = prepared(tmp_path, source, written(tmp_path, text, form))
    summary, found = result.summary, bodies(result)
    assert {number: body["total"] for number, body in found.items()} == {"A": 5, "B": 4}
    assert summary.rows.skipped == skipped
    assert summary.rows.read == text.count("\n") - 1
    assert summary.transactions.read == summary.transactions.accepted == 2
    if layout != "headers":
        assert [item["name"] for item in found["A"]["items"]] == ["Tea", "Cup"]


@pytest.mark.slow
def test_a_condition_is_blank_for_a_table_that_lacks_its_column(tmp_path: Path) -> None:
    headers, items = tmp_path / "headers.csv", tmp_path / "items.csv"
    headers.write_text("no,at,total\nA,2026-01-02,2\n")
    items.write_text("sale,what,qty,price\nA,Tea,1,2\nA,subtotal,1,2\n")
    tables = "{headers: {inputs: [headers.csv], key: [no]}, items: {inputs: [items.csv], key: [sale]}}"
    result = prepared(tmp_path, f"layout: tables, tables: {tables}", headers, items)
    assert (result.summary.rows.skipped, result.summary.transactions.accepted) == (1, 1)


@pytest.mark.slow
def test_rows_of_nested_sales_are_left_out_by_their_own_cells(tmp_path: Path) -> None:
    rows = [
        {
            "no": no,
            "at": "2026-01-02",
            "total": "2",
            "what": what,
            "i": [{"what": "Tea", "qty": "1", "p": "2"}],
        }
        for no, what in (("A", "sale"), ("B", "subtotal"))
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    items = "name: items.what, quantity: items.qty, price_current: items.p, price_sell: items.p"
    values = VALUES.replace("name: what, quantity: qty, price_current: price, price_sell: price", items)
    values = values.replace("columns: {qty: integer}", "")
    result = prepared(tmp_path, "layout: nested, key: [no], nested: {items: i}", file, values=values)
    assert (result.summary.rows.skipped, [*bodies(result)]) == (1, ["A"])


@pytest.mark.slow
def test_what_stands_below_a_first_row_that_is_left_out_joins_no_other_sale(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "no,at,total,what,qty,price\nA,2026-01-02,2,Tea,1,2\nB,2026-01-02,9,Subtotal,1,9\n,,,Cup,1,3\n"
        "C,2026-01-02,2,Tea,1,2\n"
    )
    result = prepared(tmp_path, CASES["first_row"][0], file)
    assert {*bodies(result)} == {"A", "C"}
    assert bodies(result)["A"]["total"] == 2
    assert (result.summary.rows.skipped, result.summary.transactions.rejected) == (1, 1)


@pytest.mark.slow
def test_a_row_that_cannot_be_read_is_never_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(
        "no,at,total,what,qty,price\nA,2026-01-02,2,subtotal,1,2,9\nA,2026-01-02,2,Tea,1,2\n"
        "B,2026-01-02,2,Tea,1,2\nB,2026-01-02,2,subtotal,1,2\n"
    )
    summary = prepared(tmp_path, CASES["lines"][0], file, skip="what = 'subtotal' OR at IS NULL").summary
    assert (summary.rows.malformed, summary.rows.skipped) == (1, 1)
    assert dict(summary.rejected) == {"malformed_row": 1, "row_lost": 1}


@pytest.mark.slow
def test_a_cell_that_does_not_decide_it_leaves_the_row_in(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("no,at,total,what,qty,price\nA,2026-01-02,2,Tea,x,2\nB,2026-01-02,2,Tea,1,2\n")
    summary = prepared(tmp_path, CASES["lines"][0], file, skip="qty > 5 OR CAST(price AS INT) > 9").summary
    assert (summary.rows.skipped, dict(summary.rejected)) == (0, {"quantity_invalid": 1})


@pytest.mark.parametrize(
    ("skip", "message"),
    [
        ("n = 2", "`n` cannot be used here: it uses other rows"),
        ("qty + 1", "a condition was expected, as in status = 'PAID'; this gives a number"),
        ("SUM(qty) > 1", "looks at other rows"),
        ("What = 'x'", "there is no column 'What' in the source; did you mean 'what'?"),
    ],
)
def test_a_condition_that_cannot_be_decided_is_a_problem_of_the_mapping(skip: str, message: str) -> None:
    text = f'mapping: case\nsource: {{key: [no], rows: {{skip: "{skip}"}}}}{VALUES}'
    columns = {"lines": ["no", "at", "total", "what", "qty", "price"]}
    try:
        (problem,) = check_mapping(read_mapping(Path("m.yaml"), text.encode()), columns)
    except MappingError as error:
        (problem,) = error.problems
    assert message in problem.message
    assert problem.line == 2
