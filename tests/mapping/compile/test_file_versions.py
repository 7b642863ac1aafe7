"""One sale in several files of a run: which of its rows count, in every layout; none counts twice."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.events import ignore
from pipeline.workflows.prepare import PrepareOptions, prepare
from pipeline.workflows.runs.run_record import CommandResult

pytestmark = pytest.mark.slow

NOW = time.time() - 86_400

COMMON = """
columns: {qty: integer, price: decimal}
define: {n: {line_number: file}}
transaction:
  external_id: no
  transacted_at: {column: at, then: [{datetime: {formats: ["%Y-%m-%d %H:%M"], timezone: {constant: UTC}}}]}
  total: TOTAL
items: {external_id: ID, name: what, quantity: qty, price_current: price, price_sell: price}
"""
LINES = "mapping: case\nsource: {layout: lines, key: [no], duplicates: DUP, ignore: [total]}" + COMMON
TOTALS = {"given": "total", "summed": '{sum: {sql: "qty * price"}}'}
IDS = {"by place": '{template: "{no}-{n}"}', "by name": '{template: "{no}-{what}"}'}
HEAD = "no,at,total,what,qty,price\n"
AT = "2026-01-02 10:00"


def mapping(
    path: Path, total: str = "summed", ids: str = "by place", dup: str = "keep", **source: str
) -> Path:
    text = LINES.replace("TOTAL", TOTALS[total]).replace("ID", IDS[ids]).replace("DUP", dup)
    for name, value in source.items():
        text = text.replace("{layout", f"{{{name}: {value}, layout")
    (path / "m.yaml").write_text(text)
    return path / "m.yaml"


def lines(*rows: str) -> str:
    return HEAD + "".join(f"{row}\n" for row in rows)


def prepared(path: Path, m: Path, *files: Path) -> CommandResult:
    return prepare(path / "w", str(m), [str(file) for file in files], PrepareOptions(), ignore)


def written(path: Path, *texts: str, age_s: int = 3600) -> list[Path]:
    """Files of which each is written an hour after the one before."""
    files = []
    for n, text in enumerate(texts):
        file = path / f"day{n}.csv"
        file.write_text(text)
        os.utime(file, (NOW + n * age_s,) * 2)
        files.append(file)
    return files


def bodies(finished: CommandResult) -> dict[str, tuple[Decimal, list[str]]]:
    """Total and names of items, by id."""
    found = {}
    for part in Path(finished.summary.run_dir).glob("staged/*.parquet"):
        for text in pl.read_parquet(part)["body"]:
            body: dict[str, Any] = json.loads(text, parse_float=Decimal)
            found[body["external_id"]] = (Decimal(body["total"]), [i["name"] for i in body["items"]])
    return found


WHOLE = lines(f"A,{AT},7.00,Tea,2,1.50", f"A,{AT},7.00,Cake,1,4.00", f"B,{AT},1.50,Tea,1,1.50")
RIGHT = {"A": (Decimal(7), ["Tea", "Cake"]), "B": (Decimal("1.5"), ["Tea"])}


@pytest.mark.parametrize("dup", ["keep", "drop"])
@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("copies", [1, 2])
def test_a_copied_file_changes_nothing(tmp_path: Path, total: str, ids: str, dup: str, copies: int) -> None:
    files = written(tmp_path, *[WHOLE] * (copies + 1))
    found = prepared(tmp_path, mapping(tmp_path, total, ids, dup), *files)
    assert bodies(found) == RIGHT
    assert found.summary.rows.duplicate == 3 * copies
    assert found.summary.warnings["older_version"] == 2


def as_gzip(path: Path) -> Path:
    to = path.with_suffix(".csv.gz")
    to.write_bytes(gzip.compress(path.read_bytes()))
    return to


def as_parquet(path: Path) -> Path:
    to = path.with_suffix(".parquet")
    pl.read_csv(path, infer_schema=False).write_parquet(to)
    return to


def as_json_lines(path: Path) -> Path:
    to = path.with_suffix(".jsonl")
    pl.read_csv(path, infer_schema=False).write_ndjson(to)
    return to


@pytest.mark.parametrize("pack", [as_gzip, as_parquet, as_json_lines])
def test_a_copy_in_another_format_changes_nothing(tmp_path: Path, pack: Callable[[Path], Path]) -> None:
    (first,) = written(tmp_path, WHOLE)
    found = prepared(tmp_path, mapping(tmp_path), first, pack(first))
    assert bodies(found) == RIGHT


OLD = lines(f"A,{AT},3.00,Tea,2,1.50", f"B,{AT},1.50,Tea,1,1.50")
NEW = lines(f"A,{AT},4.50,Tea,3,1.50")


@pytest.mark.parametrize("dup", ["keep", "drop"])
@pytest.mark.parametrize(
    ("total", "ids", "accepted"),
    [
        ("given", "by place", True),  # the total decides
        ("given", "by name", True),
        ("summed", "by name", True),  # they share a line
        ("summed", "by place", False),
    ],
)
def test_a_correction_counts_where_a_line_or_the_total_says_so(
    tmp_path: Path, total: str, ids: str, dup: str, accepted: bool
) -> None:
    found = prepared(tmp_path, mapping(tmp_path, total, ids, dup), *written(tmp_path, OLD, NEW))
    if accepted:
        assert bodies(found)["A"] == (Decimal("4.5"), ["Tea"])
        assert found.summary.warnings["older_version"] == 1
        assert found.summary.rows.duplicate == 1
    else:
        assert found.summary.rejected == {"in_several_files": 1}
        assert bodies(found).keys() == {"B"}


@pytest.mark.parametrize(
    ("policy", "right"),
    [("latest", (Decimal("4.5"), ["Tea"])), ("add", (Decimal("7.5"), ["Tea", "Tea"])), ("reject", None)],
)
def test_the_mapping_may_say_what_such_files_are(tmp_path: Path, policy: str, right: object) -> None:
    m = mapping(tmp_path, across_files=policy)
    assert bodies(prepared(tmp_path, m, *written(tmp_path, OLD, NEW))).get("A") == right


def test_files_that_continue_each_other_are_put_together_where_the_total_says_so(tmp_path: Path) -> None:
    head, first, second, other = WHOLE.splitlines(keepends=True)
    halves = written(tmp_path, head + first, head + second + other)
    found = prepared(tmp_path, mapping(tmp_path, "given"), *halves)
    assert bodies(found) == RIGHT
    assert found.summary.warnings == {}


def test_of_three_files_the_last_that_is_connected_counts(tmp_path: Path) -> None:
    m = mapping(tmp_path, "given", "by name")
    third = lines(f"A,{AT},6.00,Tea,4,1.50")
    found = prepared(tmp_path, m, *written(tmp_path, OLD, NEW, third))
    assert bodies(found)["A"] == (Decimal(6), ["Tea"])
    assert found.summary.rows.duplicate == 2


@pytest.mark.parametrize("apart_s", [1, 3])
def test_later_is_by_time_where_that_differs_and_else_by_name(tmp_path: Path, apart_s: int) -> None:
    new, old = written(tmp_path, NEW, OLD, age_s=-apart_s)  # the name says that OLD is later
    found = prepared(tmp_path, mapping(tmp_path, "summed", "by name"), old, new)
    assert bodies(found)["A"][0] == (Decimal("4.5") if apart_s > 2 else Decimal(3))


def test_later_is_by_the_order_given_where_names_and_times_are_alike(tmp_path: Path) -> None:
    files = []
    for n, text in enumerate([OLD, NEW]):
        (tmp_path / str(n)).mkdir()
        files += written(tmp_path / str(n), text)
    m = mapping(tmp_path, "summed", "by name")
    assert bodies(prepared(tmp_path, m, *files))["A"][0] == Decimal("4.5")
    assert bodies(prepared(tmp_path, m, *reversed(files)))["A"][0] == Decimal(3)


def test_two_sales_with_one_number_are_no_versions(tmp_path: Path) -> None:
    other_day = NEW.replace("2026-01-02", "2026-01-03")
    # Without a shared line the total of the later sale agrees, and would leave out the earlier one.
    for total, what in product(TOTALS, ["Tea", "Cake"]):
        m = mapping(tmp_path, total, "by name")
        found = prepared(tmp_path, m, *written(tmp_path, OLD, other_day.replace("Tea", what)))
        assert bodies(found).keys() == {"B"}
        assert found.summary.rejected["in_several_files"] == 1


def test_a_line_that_could_not_be_read_matters_only_in_the_version_that_counts(tmp_path: Path) -> None:
    m = mapping(tmp_path, "given", "by name")
    broken = OLD.replace(f"B,{AT}", f"A,{AT},3.00,Cup, blue,1,2.00\nB,{AT}")
    found = prepared(tmp_path, m, *written(tmp_path, broken, NEW))
    assert bodies(found)["A"] == (Decimal("4.5"), ["Tea"])
    turned = prepared(tmp_path, m, *written(tmp_path, NEW, broken))
    assert turned.summary.rejected == {"malformed_row": 1, "row_lost": 1}


TABLES = """
mapping: case
source:
  layout: tables
  duplicates: keep
  tables:
    headers: {inputs: ["h*.csv"], key: [no]}
    items: {inputs: ["i*.csv"], key: [order]}
""" + COMMON.replace("ID", '{template: "{order}-{n}"}')


@pytest.mark.parametrize("total", TOTALS)
def test_each_table_is_looked_at_by_itself(tmp_path: Path, total: str) -> None:
    (tmp_path / "m.yaml").write_text(TABLES.replace("TOTAL", TOTALS[total]))
    headers, items = f"no,at,total\nA,{AT},3.00\n", "order,what,qty,price\nA,Tea,2,1.50\n"
    texts = {
        "h1": headers, "i1": items, "i2": items,  # a copy of one table only
        "h2": headers.replace(f"A,{AT},3.00", f"B,{AT},1.50"), "i3": "order,what,qty,price\nB,Tea,1,1.50\n",
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    found = prepared(tmp_path, tmp_path / "m.yaml", *(tmp_path / f"{name}.csv" for name in texts))
    assert bodies(found) == {"A": (Decimal(3), ["Tea"]), "B": (Decimal("1.5"), ["Tea"])}
    assert found.summary.rows.duplicate == 1


RECORDS = """
mapping: case
source:
  layout: records
  key: [no]
  duplicates: keep
  records: {column: kind, header: [H], item: [L]}
""" + COMMON.replace("ID", '{template: "{no}-{n}"}')


@pytest.mark.parametrize("total", TOTALS)
def test_records_in_two_files_count_once(tmp_path: Path, total: str) -> None:
    (tmp_path / "m.yaml").write_text(RECORDS.replace("TOTAL", TOTALS[total]))
    text = f"kind,no,at,total,what,qty,price\nH,A,{AT},3.00,,,\nL,,,,Tea,2,1.50\n"
    found = prepared(tmp_path, tmp_path / "m.yaml", *written(tmp_path, text, text))
    assert bodies(found) == {"A": (Decimal(3), ["Tea"])}
    assert found.summary.rows.duplicate == 2


NESTED = """
mapping: case
source: {layout: nested, key: [no], nested: {items: lines}, duplicates: keep, ignore: [total]}
columns: {items.qty: integer, items.price: decimal}
transaction:
  external_id: no
  transacted_at: {column: at, then: [{datetime: {formats: ["%Y-%m-%d %H:%M"], timezone: {constant: UTC}}}]}
  total: TOTAL
items: {name: items.what, quantity: items.qty, price_current: items.price, price_sell: items.price}
"""


@pytest.mark.parametrize("total", ["total", '{sum: {sql: "\\"items.qty\\" * \\"items.price\\""}}'])
def test_lists_in_two_files_count_once_and_a_longer_list_corrects(tmp_path: Path, total: str) -> None:
    (tmp_path / "m.yaml").write_text(NESTED.replace("TOTAL", total))
    tea, cake = ({"what": what, "qty": 1, "price": price} for what, price in (("Tea", 1.5), ("Cake", 4)))
    sale = {"no": "A", "at": AT, "total": 1.5, "lines": [tea]}
    longer = sale | {"total": 5.5, "lines": [tea, cake]}
    files = written(tmp_path, *(json.dumps(each) + "\n" for each in (sale, sale, longer)))
    assert bodies(prepared(tmp_path, tmp_path / "m.yaml", *files[:2])) == {"A": (Decimal("1.5"), ["Tea"])}
    found = prepared(tmp_path, tmp_path / "m.yaml", *files)
    assert bodies(found) == {"A": (Decimal("5.5"), ["Tea", "Cake"])}


def test_whole_sales_that_differ_in_two_files_are_not_one(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "mapping: case\nsource: {layout: headers, key: [who], ignore: [paid]}\ntransaction:\n"
        "  external_id: who\n  total: total\n  transacted_at:\n    column: at\n"
        "    then: [{datetime: {formats: [iso], timezone: {constant: UTC}}}]\n"
    )
    files = written(tmp_path, *(f"who,at,total,paid\nann,2026-01-02,9.50,{how}\n" for how in ("p1", "p2")))
    found = prepared(tmp_path, tmp_path / "m.yaml", *files)
    assert found.summary.rejected["in_several_files"] == 1
    assert found.summary.transactions.accepted == 0
