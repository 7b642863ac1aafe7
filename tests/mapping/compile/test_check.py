from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pipeline.mapping.compile.check import check_mapping, mapping_notices
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.usage.column_names import unmapped_columns, used_by_table

WHEN = "{column: at, then: [{datetime: {formats: [iso], timezone: {constant: Europe/London}}}]}"
FIELDS = f"transaction:\n  external_id: id\n  total: amount\n  transacted_at: {WHEN}\n"
MINIMAL = "mapping: m\nsource: {key: [id]}\n" + FIELDS
ITEMS = "items: {external_id: line, name: title, quantity: qty, price_current: price, price_sell: price}\n"
COLUMNS = {"lines": ["id", "amount", "at", "line", "title", "qty", "price", "status"]}


def said(
    text: str, columns: Mapping[str, Sequence[str]] | None = None, path: Path = Path("m.yaml")
) -> list[str]:
    problems = check_mapping(read_mapping(path, text.encode()), columns)
    return [f"{p.line}:{p.column}: {p.message}" for p in problems]


def test_a_right_mapping_has_no_problems() -> None:
    assert said(MINIMAL + ITEMS) == said(MINIMAL + ITEMS, COLUMNS) == []


REQUIRED = "Omneo needs it on every"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        pytest.param(
            "mapping: m\nsource: {key: [id]}\ntransaction:\n  receipt_ref: id\nitems:\n  sku: id\n",
            [
                f"3:1: `external_id` is not mapped; {REQUIRED} transaction",
                f"3:1: `total` is not mapped; {REQUIRED} transaction",
                f"3:1: `transacted_at` is not mapped; {REQUIRED} transaction",
                f"5:1: `name` is not mapped; {REQUIRED} item",
                f"5:1: `price_current` is not mapped; {REQUIRED} item",
                f"5:1: `price_sell` is not mapped; {REQUIRED} item",
                f"5:1: `quantity` is not mapped; {REQUIRED} item",
            ],
            id="required fields",
        ),
        pytest.param(
            "mapping: m\nsource: {layout: lines}\n" + FIELDS,
            ["2:9: `key` is missing: the columns that identify a transaction, as [receipt_no]"],
            id="no key",
        ),
        pytest.param(
            "mapping: m\nsource: {key: [id], carry_key: true}\n" + FIELDS,
            ["2:32: a key is carried down only with `layout: first_row` or `layout: records`"],
            id="key carried where each row has one",
        ),
        pytest.param(
            "mapping: m\nsource: {key: [id], layout: records}\n" + FIELDS,
            ["2:29: `layout: records` needs a section `records` beside it"],
            id="layout without its section",
        ),
        pytest.param(
            "mapping: m\nsource: {key: [id], nested: {items: x}}\n" + FIELDS,
            ["2:29: `nested` counts only with `layout: nested`, not lines"],
            id="section without its layout",
        ),
        pytest.param(
            "mapping: m\nsource: {layout: tables, tables: {items: {inputs: [a], key: [id]}}}\n" + FIELDS,
            ["2:34: `headers` is missing in `tables`: the file with one row per transaction"],
            id="tables without headers",
        ),
        pytest.param(
            "mapping: m\nsource:\n  layout: tables\n  key: [id]\n  tables:\n"
            "    headers: {inputs: [a], key: [id]}\n    items: {inputs: [b], key: [id, shop]}\n" + FIELDS,
            [
                "4:8: with `layout: tables` each table has its own `key`; leave this out",
                "7:31: the key was expected to have 1 column, as many as that of headers",
            ],
            id="keys of tables",
        ),
        pytest.param(
            "mapping: m\nsource: {key: [id], layout: headers}\n" + FIELDS + ITEMS,
            ["7:8: there are no items to map: `layout: headers` means one row per transaction without items"],
            id="items without rows",
        ),
        pytest.param(
            "mapping: m\nsource: {key: [id], csv: {delimiter: '|\"'}}\n" + FIELDS,
            [
                "2:38: '|\"' holds a quote, an escape or a line break; "
                "what stands between two cells was expected",
            ],
            id="delimiter with a quote",
        ),
        pytest.param(
            MINIMAL + "  receipt_ref: {constant: 9999999999999999999}\n",
            ["7:16: 9999999999999999999 is too large for a number; a text stands in quotes"],
            id="a number that is too large",
        ),
        pytest.param(
            "mapping: m\nsource: {key: [id], csv: {skip_lines: -1}}\n" + FIELDS,
            [
                "2:39: 0 or more lines were expected, not -1",
            ],
            id="lines that no file has",
        ),
        pytest.param(
            "mapping: m\nsource: {key: [id], csv: {delimiter: tab, encoding: utf8x}}\n" + FIELDS,
            [
                "2:38: 'tab' is a word; write the delimiter itself: \"\\t\"",
                "2:53: 'utf8x' is not an encoding; did you mean 'utf-8'?",
            ],
            id="dialect",
        ),
        pytest.param(
            MINIMAL + "completion: {status: status, complete: [Paid], void: [' PAID']}\n",
            ["7:55: ' PAID' is in `complete` as well; a status means one thing"],
            id="status word in two states",
        ),
        pytest.param(
            MINIMAL + "completion: {complete: [PAID]}\n",
            ["7:24: status words need `status`: the column that holds them"],
            id="words without a status",
        ),
        pytest.param(
            MINIMAL + "completion: {status: status}\n",
            ["7:13: no status is listed, so every sale would be rejected; list words under `complete`"],
            id="status without words",
        ),
        pytest.param(
            MINIMAL + "payments_form: amounts\npayments:\n  - tender: status\n",
            ["9:5: `payments_form: amounts` needs an `amount` on every tender"],
            id="payments without amounts",
        ),
        pytest.param(
            MINIMAL + "lines: {discount: \"title = 'x'\"}\nreward: {amount: price}\n",
            [
                "7:8: there are no `items`, so no line can be set apart from them",
                "7:19: `discount_amount` is missing: the amount of such a line",
                "8:9: there are no `items` that the reward could be spread over",
            ],
            id="lines and reward without items",
        ),
        pytest.param(
            MINIMAL + "checks: {draft: warn, guest: {tolerance: 1}}\n",
            [
                "7:42: `guest` compares no amounts; a tolerance is for "
                "partially_paid, total_mismatch, payments_mismatch",
            ],
            id="checks",
        ),
        pytest.param(
            MINIMAL
            + "rules:\n  - {code: draft, when: total > 1, message: x}\n"
            + "".join("  - {code: big, when: totl > 1, message: x}\n" for _ in range(2)),
            [
                "8:12: `draft` is built in; give the rule a code of its own",
                "9:12: `big` is there 2 times",
                "9:23: 'totl' is not a mapped field; did you mean 'total'?",
                "10:12: `big` is there 2 times",
                "10:23: 'totl' is not a mapped field; did you mean 'total'?",
            ],
            id="rules",
        ),
        pytest.param(
            MINIMAL + "define: {a: {template: '{c}'}, b: {sql: b}, c: {first_of: [a, title]}}\n",
            [
                "7:26: `a` uses `c`, defined after it; a definition may use columns and definitions above it",
                "7:41: `b` mentions itself; a definition may use columns and definitions above it",
            ],
            id="order of definitions",
        ),
        pytest.param(
            MINIMAL + "columns: {a: integer}\ndefine: {a: title}\n",
            ["7:14: 'a' is defined below; `columns` is for the source's own columns"],
            id="kind of a definition",
        ),
        pytest.param(
            MINIMAL.replace("amount", "{lookup: shop, key: [id, at], value: x}")
            + "lookups: {shops: {file: s.csv, key: [id], from: source}}\n",
            ["5:19: 'shop' is not among `lookups`; did you mean 'shops'?"],
            id="unknown look-up",
        ),
        pytest.param(
            MINIMAL.replace("amount", "{lookup: shops, key: [id, at], value: x}")
            + "lookups: {shops: {file: s.csv, key: [id], from: source}}\n",
            ["5:31: the table 'shops' has a key of 1, here are 2 values for it"],
            id="key of a look-up",
        ),
        pytest.param(
            MINIMAL.replace("amount", "{line_number: file}"),
            ["5:10: `line_number` counts lines; it is for `items` only"],
            id="line number of a transaction",
        ),
        pytest.param(
            MINIMAL + "  receipt_ref: {column: id, then: [{replace: {pattern: '(', with: ''}}]}\n",
            ["7:56: this is not a regular expression in Rust's syntax: unclosed group"],
            id="pattern",
        ),
        pytest.param(
            MINIMAL + "  rounding: {column: amount, then: [{number: {decimal: ',', thousands: ',.'}}]}\n",
            ["7:46: ',' cannot be both the decimal mark and a mark between thousands"],
            id="number",
        ),
        pytest.param(
            MINIMAL.replace("[iso]", "['%d/%m %H:%M', '%Y-%m-%d %I:%M', dd/mm/yyyy, iso8601]"),
            [
                "6:60: '%d/%m %H:%M' has no year; a date needs year, month and day",
                "6:75: '%Y-%m-%d %I:%M' has hours of 12 (%I) without %p for AM and PM; hours of 24 are %H",
                "6:93: 'dd/mm/yyyy' is not a date format; write one as %d/%m/%Y %H:%M:%S, or iso",
                "6:105: 'iso8601' is not a date format; did you mean 'iso'?",
            ],
            id="date formats",
        ),
        pytest.param(
            MINIMAL.replace("Europe/London", "Europe/Londn"),
            ["6:87: 'Europe/Londn' is not a time zone; did you mean 'Europe/London'?"],
            id="zone",
        ),
        pytest.param(
            MINIMAL.replace("{constant: Europe/London}", "Europe/London"),
            ["6:76: 'Europe/London' would be a column; write {constant: Europe/London}"],
            id="bare zone",
        ),
        pytest.param(
            MINIMAL.replace("[iso]", "[iso, epoch_ms]"),
            [
                "6:86: `epoch_ms` counts from 1970 in UTC, so a `timezone` beside it says nothing; leave it "
                "out, or read the other formats in a value of their own (first_of); days of a spreadsheet "
                "are spreadsheet_days"
            ],
            id="zone beside a count in UTC",
        ),
        pytest.param(
            MINIMAL.replace(WHEN, "at"),
            ["6:18: the format of `transacted_at` is missing; add {datetime: {formats: [...]}} to `then`"],
            id="date without a format",
        ),
        pytest.param(
            MINIMAL + "  meta: {constant: 5}\n  staff_id: {list: [id]}\n  custom_fields: id\n",
            [
                "7:9: an object was expected here, as in {object: {name: column}}",
                "8:13: a list cannot be here: a string was expected",
                "9:18: a list of objects was expected here, as in {list: [{object: {name: column}}]}",
            ],
            id="kinds",
        ),
        pytest.param(
            MINIMAL + "  receipt_ref: {template: 'a{id}{'}\n",
            [
                "7:27: the template 'a{id}{' has a '{' without a column's name in it; {name} was expected, "
                "and {{ for a brace that is text"
            ],
            id="braces",
        ),
    ],
)
def test_every_fault_of_meaning_is_reported_with_its_place(text: str, problems: list[str]) -> None:
    assert said(text) == problems


def test_formulas_are_tried_on_the_types_of_their_columns() -> None:
    formula = "  rounding: {sum: {sql: qty * price}}\n"

    assert said(MINIMAL + formula + "columns: {qty: integer, price: decimal}\n") == []
    (problem,) = said(MINIMAL + formula)
    assert problem.startswith("7:25: the formula 'qty * price' does not work")
    assert problem.endswith("text unless `columns` says otherwise: `qty`, `price`")


def test_a_condition_gives_yes_or_no() -> None:
    assert said(MINIMAL + "completion: {draft: {sql: status}}\n") == [
        "7:27: a condition was expected, as in status = 'PAID'; this gives text"
    ]


def test_sql_that_does_not_parse_is_reported() -> None:
    (problem,) = said(MINIMAL + "  rounding: {sql: 'amount +'}\n")

    assert problem.startswith("7:27: the formula 'amount +' is not SQL")


def test_a_rule_that_does_not_parse_is_reported() -> None:
    (problem,) = said(MINIMAL + "rules: [{code: big, when: 'total >', message: m}]\n")

    assert problem.startswith("7:34: the formula 'total >' is not SQL")


def test_a_formula_reaches_neither_files_nor_other_rows() -> None:
    (files,) = said(MINIMAL + "  rounding: {sql: \"read_csv('/etc/passwd')\"}\n")
    (rows,) = said(MINIMAL + "  rounding: {sql: 'SUM(amount)'}\n")

    assert "read_csv" in files
    assert "other rows" in rows


def test_columns_that_the_source_does_not_have_are_reported_at_each_place() -> None:
    text = (
        MINIMAL.replace("[id]", "[id, shop]")
        + "  receipt_ref: {template: '{id}-{tital}'}\n"
        + "define: {double: {sql: pryce = title}}\n"
        + "completion: {draft: {sql: double}}\n"
    )

    assert said(text, COLUMNS) == [
        "2:20: there is no column 'shop' in the source",
        "7:34: there is no column 'tital' in the source; did you mean 'title'?",
        "8:24: there is no column 'pryce' in the source; did you mean 'price'?",
    ]


def test_a_list_may_lie_in_an_object() -> None:
    text = MINIMAL.replace("[id]", "[id], layout: nested, nested: {items: lines.line}") + ITEMS.replace(
        "line,", "items.no,"
    )
    for name in ("title", "qty", "price"):
        text = text.replace(f": {name}", f": items.{name}")
    columns = {"lines": ["id", "amount", "at", "lines"]}

    assert said(text, columns) == []
    assert unmapped_columns(read_mapping(Path("m.yaml"), text.encode()).spec, columns) == {}
    assert said(text, {"lines": ["id", "amount", "at", "linez"]}) == [
        "2:53: there is no column 'lines.line' in the source"
    ]


def test_a_file_without_any_of_the_columns_is_reported_once() -> None:
    (problem,) = said(MINIMAL + ITEMS, {"lines": ["Export of 2024"]})

    assert problem.startswith(
        "2:9: no column that the mapping uses is in the source (id, amount, at, line, title, …); is it"
    )


def test_a_column_may_be_optional() -> None:
    text = MINIMAL.replace("{key: [id]}", "{key: [id], optional: [note]}") + "  receipt_ref: note\n"

    assert said(text, COLUMNS) == []


def test_a_definition_may_not_hide_a_column() -> None:
    assert said(MINIMAL + "define: {title: status}\n", COLUMNS) == [
        "7:17: 'title' is a column of the source as well; give the definition another name"
    ]


TABLES = (
    "mapping: m\nsource:\n  layout: tables\n  tables:\n"
    "    headers: {inputs: [a], key: [id]}\n    items: {inputs: [b], key: [sale]}\n"
) + FIELDS


def test_items_see_their_own_table_and_their_transaction() -> None:
    columns = {"headers": ["id", "amount", "at"], "items": ["sale", "line", "title", "qty", "price"]}
    right = TABLES + ITEMS.replace("title", "{template: '{header.id} {at} {title}'}")
    wrong = TABLES.replace("amount", "price") + ITEMS.replace("title", "{template: '{header.title}'}")

    assert said(right, columns) == []
    assert said(wrong, columns) == [
        "9:10: there is no column 'price' in the table headers; "
        "write {constant: price} for what is the same on every row",
        "11:54: there is no column 'title' in the table headers",
    ]
    used = used_by_table(read_mapping(Path("m.yaml"), right.encode()).spec)
    assert used["headers"] >= {"id", "amount", "at"}
    assert used["items"] == {"sale", "line", "title", "qty", "price", "at"}


def test_look_up_tables_lie_beside_the_mapping(tmp_path: Path) -> None:
    (tmp_path / "stores.csv").write_text("k,v\n1,x\n")
    uses = ", ".join(f"{{lookup: {name}, key: id, value: v}}" for name in "abc")
    text = (
        f"{MINIMAL}  location_id: {{first_of: [{uses}]}}\nlookups:\n  a: {{file: stores.csv, key: [k]}}\n"
        "  b: {file: store.csv, key: [k]}\n  c: {file: ../x, key: [k]}\n"
    )

    assert said(text, path=tmp_path / "m.yaml") == [
        "10:13: there is no file 'store.csv' beside the mapping; did you mean 'stores.csv'?",
        "11:13: '../x' is not under the mapping's own directory; put the table beside it",
    ]


def test_the_header_of_a_sheet_is_in_a_row_that_there_is() -> None:
    for row in (0, 1_048_577):
        text = MINIMAL.replace("{key: [id]}", f"{{key: [id], excel: {{header_row: {row}}}}}")
        assert said(text) == ["2:41: rows are counted from 1, as Excel shows them, to 1,048,576"]


def test_notices_tell_what_is_left_unused() -> None:
    text = (
        MINIMAL
        + "define: {a: title}\nlookups: {t: {file: x, key: [k], from: source}}\n"
        + ITEMS.replace("external_id: line, ", "")
    )
    notices = mapping_notices(read_mapping(Path("m.yaml"), text.encode()), COLUMNS)

    assert [f"{n.line}:{n.column}: {n.message}" for n in notices] == [
        "2:9: not mapped: line, status; map them or list them in `ignore`",
        "3:1: no `currency`, so Omneo takes the tenant's own; say it: `currency: {constant: AUD}`",
        "7:13: `a` is defined and never used",
        "8:14: the table `t` is never used",
        "9:8: items have no `external_id`; sent twice, they would be there twice",
    ]


def test_columns_are_ignored_by_name_or_pattern() -> None:
    text = MINIMAL.replace("{key: [id]}", "{key: [id], ignore: [status, 'Billing *']}")
    columns = {"lines": ["id", "amount", "at", "status", "Billing Zip", "Bill"]}

    assert unmapped_columns(read_mapping(Path("m.yaml"), text.encode()).spec, columns) == {"lines": ("Bill",)}


def test_the_zone_of_a_column_that_is_a_date_is_used() -> None:
    text = (
        MINIMAL.replace("amount", "{first: header.at, then: [{blank_if: [x]}]}")
        + "columns: {at: {datetime: {formats: [iso], timezone: zone}}}\n"
    )

    assert said(text, {"lines": ["id", "at", "zones"]}) == [
        "6:38: a text was expected to read a date from, and this is a date and time already",
        "7:53: there is no column 'zone' in the source; did you mean 'zones'?",
    ]


@pytest.mark.parametrize(
    ("format_", "is_asked"),
    [("%d/%m/%Y %H:%M", True), ("iso", False), ("%d/%m/%Y %z", False), ("%d/%m/%Y %Z", False)],
)
def test_times_without_a_zone_are_pointed_out(format_: str, is_asked: bool) -> None:
    text = MINIMAL.replace("[iso], timezone: {constant: Europe/London}", f"['{format_}']")
    assert text.count(format_) == 1
    found = [notice.message for notice in mapping_notices(read_mapping(Path("m.yaml"), text.encode()))]
    assert any("taken as UTC" in message for message in found) is is_asked
