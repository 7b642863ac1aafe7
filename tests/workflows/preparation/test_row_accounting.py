"""Where rows end that are blank, repeated, malformed, without their sale, or two of one key."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.errors import SourceError
from pipeline.core.events import ignore
from pipeline.core.memory import Budget
from pipeline.core.storage.partition_frames import RawTransactions
from pipeline.mapping.layout.raw_transactions import build_transactions
from pipeline.report.summary import AccountingError
from pipeline.workflows.preparation import judged_partition, row_accounting
from pipeline.workflows.prepare import PrepareOptions, prepare
from pipeline.workflows.runs.run_record import CommandResult

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_page")]

VALUES = """
columns: {qty: integer, price: decimal}
define: {n: {line_number: file}}
transaction:
  external_id: no
  transacted_at: {column: at, then: [{datetime: {formats: ["%Y-%m-%d"], timezone: {constant: UTC}}}]}
  total: {sum: {sql: "qty * price"}}
items:
  {external_id: {template: "{no}-{n}"}, name: what, quantity: qty, price_current: price, price_sell: price}
checks: {guest: "off"}
"""
SOURCES = {
    "lines": "{layout: lines, key: [no]}",
    "first_row": "{layout: first_row, key: [no], carry_key: true}",
    "records": "{layout: records, key: [no], records: {column: kind, header: [H], item: [L]}}",
}
TEXTS = {
    "lines": "no,at,what,qty,price\n"
    "A,2026-01-02,Tea,1,2.00\nA,2026-01-02,Cup,1,3.00\nB,2026-01-02,Pot,1,4.00\n",
    "first_row": "no,at,what,qty,price\nA,2026-01-02,Tea,1,2.00\n,,Cup,1,3.00\nB,2026-01-02,Pot,1,4.00\n",
    "records": "kind,no,at,what,qty,price\n"
    "H,A,2026-01-02,,,\nL,,,Tea,1,2.00\nL,,,Cup,1,3.00\nH,B,2026-01-02,,,\nL,,,Pot,1,4.00\n",
}
RIGHT = {"A": (Decimal(5), ["Tea", "Cup"]), "B": (Decimal(4), ["Pot"])}
WHOLE = Budget()
ROW_BY_ROW = Budget(partition_bytes=1)


def prepared(
    path: Path, layout: str, *files: Path, budget: Budget = WHOLE, mapping: str = ""
) -> CommandResult:
    (path / "m.yaml").write_text(mapping or f"mapping: case\nsource: {SOURCES[layout]}{VALUES}")
    options = PrepareOptions(budget=budget)
    return prepare(path / "w", str(path / "m.yaml"), [str(file) for file in files], options, ignore)


def source(path: Path, text: str, name: str = "s.csv") -> Path:
    (path / name).write_text(text, encoding="utf-8")
    return path / name


def bodies(finished: CommandResult) -> dict[str, tuple[Decimal, list[str]]]:
    """Total and names of items, by id."""
    found = {}
    for part in Path(finished.summary.run_dir).glob("staged/*.parquet"):
        for text in pl.read_parquet(part)["body"]:
            body: dict[str, Any] = json.loads(text, parse_float=Decimal)
            found[body["external_id"]] = (Decimal(body["total"]), [i["name"] for i in body.get("items", [])])
    return found


def reasons(finished: CommandResult) -> set[tuple[str, int]]:
    """Codes and lines of the quarantine."""
    return {*quarantined(finished).select("code", "line").iter_rows()}


def quarantined(finished: CommandResult) -> pl.DataFrame:
    return pl.read_parquet(Path(finished.summary.run_dir) / "quarantine" / "*.parquet")


# ── Blank rows and repeated headers ─────────────────────────────────────────────────────────────────

EMPTY: dict[str, Callable[[list[str]], str]] = {
    "no cell": lambda header: "," * (len(header) - 1),
    "white space": lambda header: ",".join(" " * n for n in range(1, len(header) + 1)),
    "quoted": lambda header: ",".join('""' for _ in header),
    "too few": lambda header: "," * (len(header) - 2),
    "too many": lambda header: "," * (len(header) + 3),
    "one blank": lambda _: "  ",
    "header": ",".join,
    "header with a mark and blanks": lambda header: "\ufeff" + ", ".join(header),
}


@pytest.mark.parametrize("budget", [WHOLE, ROW_BY_ROW], ids=["whole", "row by row"])
@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("layout", TEXTS)
def test_rows_that_are_no_records_are_skipped_wherever_they_stand(
    tmp_path: Path, layout: str, kind: str, budget: Budget
) -> None:
    header, *rows = TEXTS[layout].splitlines()
    empty = EMPTY[kind](header.split(","))
    text = "\n".join([header, empty, *(line for row in rows for line in (row, empty))]) + "\n"
    found = prepared(tmp_path, layout, source(tmp_path, text), budget=budget)
    assert bodies(found) == RIGHT
    assert found.summary.rejected == {}
    assert (found.summary.rows.skipped, found.summary.rows.read) == (len(rows) + 1, 2 * len(rows) + 1)


def test_words_that_mean_an_empty_cell_make_a_blank_row(tmp_path: Path) -> None:
    mapping = f"mapping: case\nsource: {SOURCES['lines'].replace('key', 'nulls: [NULL], key')}{VALUES}"
    text = TEXTS["lines"] + "NULL,,NULL,NULL, NULL\n"
    found = prepared(tmp_path, "lines", source(tmp_path, text), mapping=mapping)
    assert (bodies(found), found.summary.rows.skipped) == (RIGHT, 1)


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@pytest.mark.parametrize("layout", TEXTS)
def test_other_formats_skip_them_as_well(tmp_path: Path, layout: str, ending: str) -> None:
    table = pl.read_csv(source(tmp_path, TEXTS[layout]), infer_schema=False)
    header = pl.DataFrame({name: [name] for name in table.columns})
    blank = pl.DataFrame({name: [" "] for name in table.columns})
    file = tmp_path / f"s.{ending}"
    table = pl.concat([table[:1], header, table[1:], blank])
    table.write_parquet(file) if ending == "parquet" else table.write_ndjson(file)
    found = prepared(tmp_path, layout, file)
    assert (bodies(found), found.summary.rows.skipped) == (RIGHT, 2)


@pytest.mark.parametrize("empty", ["[]", "{}", ""])
def test_an_empty_list_is_as_blank_as_an_empty_cell(tmp_path: Path, empty: str) -> None:
    values = VALUES.partition("items:")[0].replace('{sum: {sql: "qty * price"}}', "total")
    values = values.replace("columns: {qty: integer, price: decimal}\n", "")
    values += "items: {name: items.a, quantity: items.q, price_current: items.q, price_sell: items.q}"
    sale = {"no": "A", "at": "2026-01-02", "total": "1.00", "paid": "", "list": [{"a": "Tea", "q": "1"}]}
    blank = {"no": "", "at": " ", "total": None, "paid": "", "list": json.loads(empty or "null")}
    text = "".join(json.dumps(record) + "\n" for record in (sale, blank))
    mapping = f"mapping: case\n{TWICE['nested']}{values}"
    found = prepared(tmp_path, "headers", source(tmp_path, text, "s.jsonl"), mapping=mapping)
    assert (len(bodies(found)), found.summary.rejected, found.summary.rows.skipped) == (1, {}, 1)


def test_a_header_with_odd_names_repeats_too(tmp_path: Path) -> None:
    header, *rows = (f"{row},x,y," for row in TEXTS["lines"].splitlines())
    header = header.replace(",x,y,", ",*,price,")  # none of these three can be used as it is
    text = "\n".join([header, *rows[:2], header, *rows[2:]]) + "\n"
    found = prepared(tmp_path, "lines", source(tmp_path, text))
    assert (bodies(found), found.summary.rows.skipped) == (RIGHT, 1)


# ── Malformed rows ──────────────────────────────────────────────────────────────────────────────────


def spoiled(layout: str, starts: str, how: Callable[[str], str]) -> tuple[str, int]:
    """The text with the row that starts so made malformed, and its line."""
    lines = TEXTS[layout].splitlines()
    (at,) = (n for n, line in enumerate(lines) if line.startswith(starts))
    lines[at] = how(lines[at])
    return "\n".join(lines) + "\n", at + 1


WIDER, NARROWER = (lambda row: row + ",x"), (lambda row: row.rpartition(",")[0])
BROKEN, QUOTED = (
    lambda row: row.replace("2026", '"2026"x'),
    lambda row: '"' + row.replace('"', '""') + '"',
)


@pytest.mark.parametrize("budget", [WHOLE, ROW_BY_ROW], ids=["whole", "row by row"])
@pytest.mark.parametrize("how", [WIDER, NARROWER, BROKEN, QUOTED])
@pytest.mark.parametrize(
    ("layout", "starts", "lost"),
    [
        ("lines", "A,2026-01-02,Tea", {"row_lost"}),
        ("first_row", "A,", {"row_lost"}),
        ("records", "H,A", {"row_lost", "orphan_item"}),
    ],
)
def test_a_sale_that_lost_a_row_with_its_key_is_rejected(
    tmp_path: Path, layout: str, starts: str, lost: set[str], how: Callable[[str], str], budget: Budget
) -> None:
    text, line = spoiled(layout, starts, how)
    found = prepared(tmp_path, layout, source(tmp_path, text), budget=budget)
    assert bodies(found) == {"B": RIGHT["B"]}
    reported = reasons(found)
    assert ("malformed_row", line) in reported
    assert {code for code, at in reported if at > line} >= lost
    assert found.summary.rows.malformed == 1


def test_a_partition_of_lost_rows_only_is_staged_like_any_other(tmp_path: Path) -> None:
    """A file of JSON lines without a whole one has no column. Sales lie apart and meet by their keys."""
    sales = [{"no": no, "at": "2026-01-02", "what": "Tea", "qty": 1, "price": 2} for no in "ABCDEFGH" * 2]
    text = "".join(json.dumps(sale | {"what": str(at)}) + "\n" for at, sale in enumerate(sales))
    files = [source(tmp_path, text, "s.jsonl"), source(tmp_path, '{"no": "Z", "at": 2026-', "t.jsonl")]
    found = prepared(tmp_path, "lines", *files, budget=ROW_BY_ROW)
    assert bodies(found).keys() == set("ABCDEFGH")
    assert found.summary.rejected == {"malformed_row": 1}


@pytest.mark.parametrize("how", [WIDER, NARROWER, QUOTED])
@pytest.mark.parametrize(("layout", "starts"), [("first_row", ",,Cup"), ("records", "L,,,Cup")])
def test_a_row_without_a_key_is_missed_in_the_sale_above(
    tmp_path: Path, layout: str, starts: str, how: Callable[[str], str]
) -> None:
    text, _ = spoiled(layout, starts, how)
    found = prepared(tmp_path, layout, source(tmp_path, text))
    assert bodies(found) == {"B": RIGHT["B"]}
    assert found.summary.rejected == {"malformed_row": 1, "row_lost": 1}


@pytest.mark.parametrize("budget", [WHOLE, ROW_BY_ROW], ids=["whole", "row by row"])
@pytest.mark.parametrize("layout", ["first_row", "records"])
def test_rows_below_an_unreadable_one_go_to_no_sale(tmp_path: Path, layout: str, budget: Budget) -> None:
    """What such a row was is not known: part of the sale above, or the first of another one."""
    header, *rows = TEXTS[layout].splitlines()
    first, second = {"first_row": (rows[:1], rows[1:]), "records": (rows[:2], rows[2:])}[layout]
    # The key is far right, and the row too narrow for it.
    lines = [",".join(reversed(row.split(","))) for row in [header, *first, "4,5", *second]]
    found = prepared(tmp_path, layout, source(tmp_path, "\n".join(lines) + "\n"), budget=budget)
    assert bodies(found) == {"B": RIGHT["B"]}
    assert found.summary.rejected["row_lost"] == 2
    assert found.summary.transactions.rejected == 2  # the sale above, and the row below


def test_a_row_that_alone_has_its_key_is_no_sale_that_goes_short(tmp_path: Path) -> None:
    text = TEXTS["lines"] + "C,2026-01-02,Mug,1,1.00,x\n"
    found = prepared(tmp_path, "lines", source(tmp_path, text))
    assert bodies(found) == RIGHT
    assert found.summary.rejected == {"malformed_row": 1}


# ── Sales without their header row, and header rows of one key ──────────────────────────────────────

GATES = {
    "nothing": "",
    "sql": 'completion: {order_open: {sql: "shipped IS NULL"}}',
    "status": "completion: {status: shipped, complete: [yes], other: excluded}",
    "excluded": "completion: {excluded: {sql: \"COALESCE(shipped, '') <> 'yes'\"}}",
    "paid": "completion: {paid: paid}",
}
TABLES = """
mapping: case
source:
  layout: tables
  optional: [paid]
  tables: {headers: {inputs: ["h*.csv"], key: [no]}, items: {inputs: ["i*.csv"], key: [order]}}
""" + VALUES.replace("{no}-{n}", "{order}-{n}")


@pytest.mark.parametrize("key", ["X", ""])
@pytest.mark.parametrize("gate", GATES)
def test_an_item_without_its_sale_is_rejected_whatever_the_status_conditions(
    tmp_path: Path, gate: str, key: str
) -> None:
    headers = source(tmp_path, "no,at,shipped\nA,2026-01-02,yes\n", "h.csv")
    items = source(tmp_path, f"order,what,qty,price\nA,Tea,1,5.00\n{key},Cup,1,3.00\n", "i.csv")
    found = prepared(tmp_path, "tables", headers, items, mapping=f"{TABLES}{GATES[gate]}")
    assert bodies(found) == {"A": (Decimal(5), ["Tea"])}
    assert found.summary.dropped == {}
    assert reasons(found) == {("orphan_item" if key else "key_missing", 3)}


TWICE = {
    "headers": "source: {layout: headers, key: [no], duplicates: keep, ignore: [paid]}",
    "nested": "source: {layout: nested, key: [no], duplicates: keep, ignore: [paid], nested: {items: list}}",
}


@pytest.mark.parametrize("second", ["x", "y"])
@pytest.mark.parametrize("layout", TWICE)
def test_two_rows_that_are_each_a_whole_sale_are_not_one(tmp_path: Path, layout: str, second: str) -> None:
    values = VALUES.partition("items:")[0].replace('{sum: {sql: "qty * price"}}', "total")
    values = values.replace("columns: {qty: integer, price: decimal}\n", "")
    if layout == "nested":
        values += "items: {name: items.a, quantity: items.a, price_current: items.a, price_sell: items.a}"
    text = f"no,at,total,paid,list\nA,2026-01-02,9.50,x,\nA,2026-01-02,9.50,{second},\nB,2026-01-02,1.00,x,\n"
    found = prepared(
        tmp_path, layout, source(tmp_path, text), mapping=f"mapping: case\n{TWICE[layout]}{values}"
    )
    assert "A" not in bodies(found)
    assert found.summary.rejected["header_conflict"] == 1


# ── The count ───────────────────────────────────────────────────────────────────────────────────────


def without_first(frame: pl.DataFrame) -> pl.DataFrame:
    return frame[1:]


def first_again(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame[:1]])


@pytest.mark.parametrize("change", [without_first, first_again])
def test_a_row_that_is_merged_or_given_away_is_a_bug_that_stages_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    def wrong(*arguments: Any) -> RawTransactions:
        found = build_transactions(*arguments)
        return row_accounting.RawTransactions(**vars(found) | {"members": change(found.members)})

    monkeypatch.setattr(judged_partition, "build_transactions", wrong)
    with pytest.raises(AccountingError):
        prepared(tmp_path, "lines", source(tmp_path, TEXTS["lines"]))


def test_records_of_other_types_are_skipped(tmp_path: Path) -> None:
    text = TEXTS["records"] + "N,B,,note,,\n"
    found = prepared(tmp_path, "records", source(tmp_path, text))
    assert (bodies(found), found.summary.rows.skipped) == (RIGHT, 1)


# ── Messages ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('meta: {object: {code: {sql: "CAST(no AS INTEGER)"}}}', "a whole number for `code`"),
        ("meta: {object: {code: {column: no, then: [{number: {}}]}}}", "a number for `code`"),
        ('tags: {list: [{sql: "CAST(no AS DATE)"}]}', "a date"),
        ('receipt_ref: {sql: "CAST(no AS BOOLEAN)"}', "true or false"),
        ("receipt_ref: {column: no, then: [{map: {values: {A: one}, other: reject}}]}", "`map`"),
    ],
)
def test_a_cell_that_a_field_cannot_hold_is_shown_with_what_was_expected(
    tmp_path: Path, field: str, expected: str
) -> None:
    mapping = f"mapping: case\nsource: {SOURCES['lines']}{VALUES}".replace(
        "transaction:", f"transaction:\n  {field}"
    )
    text = TEXTS["lines"].replace("B,", "B7,")
    found = prepared(tmp_path, "lines", source(tmp_path, text), mapping=mapping)
    row = quarantined(found).filter(external_id="B7").row(0, named=True)
    assert (row["field"], row["value"]) == (field.partition(":")[0], "B7")
    assert expected in row["message"]


def test_two_rows_of_one_key_are_named_by_their_lines(tmp_path: Path) -> None:
    mapping = (
        "mapping: case\nsource: {layout: headers, key: [no], duplicates: keep}\n"
        "transaction: {external_id: no, total: total, transacted_at: {column: at, then: [{datetime: "
        '{formats: [iso]}}]}}\nchecks: {guest: "off"}\n'
    )
    text = "no,at,total\nA,2026-01-02,5\nB,2026-01-02,4\nA,2026-01-02,5\n"
    found = prepared(tmp_path, "headers", source(tmp_path, text), mapping=mapping)
    assert quarantined(found)["message"][0].startswith("Lines 2 and 4 have the same key")


@pytest.mark.parametrize("half", ["\\udc00", "\\ud800"])
def test_a_key_with_half_of_a_character_is_no_key(tmp_path: Path, half: str) -> None:
    mapping = (
        "mapping: case\nsource: {layout: headers, key: [no]}\n"
        "transaction: {external_id: no, total: total, transacted_at: {column: at, then: [{datetime: "
        '{formats: [iso]}}]}}\nchecks: {guest: "off"}\n'
    )
    rows = "".join(f'{{"no":"{no}","at":"2026-01-02","total":5}}\n' for no in ("A", f"B{half}", "C"))
    found = prepared(tmp_path, "headers", source(tmp_path, rows, "s.jsonl"), mapping=mapping)
    assert {*bodies(found)} == {"A", "C"}
    assert reasons(found) == {("malformed_row", 2)}


def test_an_id_that_parquet_holds_as_a_binary_number_has_lost_digits_and_an_amount_has_not(
    tmp_path: Path,
) -> None:
    mapping = (
        "mapping: case\nsource: {layout: headers, key: [no]}\n"
        "transaction: {external_id: no, total: total, transacted_at: {column: at, then: [{datetime: "
        '{formats: [iso]}}]}}\nchecks: {guest: "off"}\n'
    )
    path = tmp_path / "s.parquet"
    ids = [1.51591562544199e18, 2.3e17, 7.5]
    pl.DataFrame({"no": ids, "at": ["2026-01-02"] * 3, "total": [5.0, 5.0, 1e-2]}).write_parquet(path)
    found = prepared(tmp_path, "headers", path, mapping=mapping)
    assert bodies(found) == {"7.5": (Decimal("0.01"), [])}
    assert found.summary.rejected == {"id_rounded": 2}


@pytest.mark.parametrize("name", ["before.jsonl", "z.jsonl", "z.ndjson"])
@pytest.mark.parametrize(
    ("text", "malformed", "skipped"),
    [("", 0, 0), ("\n \n", 0, 0), ("{}\n", 0, 1), ("oops\n[1]\n", 2, 0), ('{"no": \n\n{}\n', 1, 1)],
    ids=["empty", "blank", "no member", "no object", "broken"],
)
def test_json_lines_without_a_readable_object_leave_the_other_files_alone(
    tmp_path: Path, name: str, text: str, malformed: int, skipped: int
) -> None:
    sale = '{"no": "A", "at": "2026-01-02", "what": "Tea", "qty": 1, "price": 2.00}\n'
    files = [source(tmp_path, sale, "good.jsonl"), source(tmp_path, text, name)]
    finished = prepared(tmp_path, "lines", *files)
    assert bodies(finished) == {"A": (Decimal(2), ["Tea"])}
    rows = finished.summary.rows
    assert (rows.read, rows.malformed, rows.skipped) == (1 + malformed + skipped, malformed, skipped)


def test_json_lines_without_any_readable_object_are_refused(tmp_path: Path) -> None:
    files = [source(tmp_path, text, name) for name, text in (("a.jsonl", ""), ("b.jsonl", "oops\n"))]
    with pytest.raises(SourceError, match=r"a\.jsonl has no JSON object"):
        prepared(tmp_path, "lines", *files)
