"""What each section must hold: what is right at the edge of a rule, and what is said beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.mapping.compile.check import check_mapping
from pipeline.mapping.language.mapping_file import read_mapping

AT = "{column: at, then: [{datetime: {formats: [iso], timezone: {constant: Europe/London}}}]}"
HEAD = "mapping: m\nsource: {key: [id]}\n"
FIELDS = f"transaction:\n  external_id: id\n  total: amount\n  transacted_at: {AT}\n"
ITEMS = "items: {name: title, quantity: qty, price_current: price, price_sell: price}\n"


def said(text: str) -> list[str]:
    """What is wrong, without the places."""
    return [each.message for each in check_mapping(read_mapping(Path("m.yaml"), text.encode()), None)]


def check(text: str, words: str) -> None:
    """The one thing that is said has these words; nothing is said where there are none."""
    found = said(text)
    assert len(found) == bool(words), found
    assert all(words in message for message in found), found


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("key: [id], csv: {delimiter: TAB}", "'TAB' is a word; write the delimiter itself"),
        ("key: [id], csv: {delimiter: '||', comment: '//'}", ""),
        ("key: [id], csv: {quote: \"''\"}", "one character was expected, not ''''"),
        ("key: [id], csv: {escape: ''}", "one character was expected, not ''"),
        ("key: [id], csv: {comment: ''}", "one or more characters were expected, not ''"),
        ("key: [id], csv: {skip_lines: 1, escape: '\\'}", ""),
        ("key: [id], csv: {delimiter: '\\\\', escape: '\\'}", "holds a quote, an escape or a line break"),
        ('key: [id], csv: {delimiter: "|\\n"}', "holds a quote, an escape or a line break"),
        ("key: [id], csv: {encoding: klingon}", "'klingon' is not an encoding; common are utf-8, utf-16"),
        ("key: [id], csv: {positions: {id: 1-8, amount: 9-12}}", ""),
        ("key: [id], csv: {positions: {id: 1-8, amount: nine}}", "'nine' is no place in a line"),
        ("key: [id], csv: {positions: {}}", "a column and its place were expected"),
        (
            "key: [id], csv: {positions: {id: 1-8}, delimiter: ','}",
            "with `positions` there is no `delimiter`",
        ),
        ("key: [id], csv: {positions: {id: 1-8}, escape: '\\'}", "with `positions` there is no `escape`"),
        ("key: [id], csv: {positions: {id: 1-8}, header: false}", "the columns have their names there"),
        ("key: [id], excel: {header_row: 1}", ""),
        ("key: [id], excel: {header_row: 1048576}", ""),
        ("key: [id], carry_key: true, layout: first_row", ""),
        ("layout: tables, key: []", "`layout: tables` needs a section `tables` beside it"),
        ("key: [n], rows: {number_equal: n}", "a column of the file was expected in the key as well"),
        ("key: [id, n], rows: {number_equal: n}", ""),
        (
            "key: [id], rows: {number_equal: n, skip: [\"n = '2'\"]}",
            "rows are left out before they are numbered",
        ),
        ("key: [id], rows: {skip: [\"at = '2'\"]}", ""),
    ],
)
def test_sources(source: str, words: str) -> None:
    check(f"mapping: m\nsource: {{{source}}}\n{FIELDS}", words)


DEFINED = [
    ("{sum: amount}", "it uses other rows"),
    ("{lookup: shops, key: id, value: v}", "it looks something up"),
    ("{template: '{id}{n}'}", "equal rows are numbered later"),
    ("{first_of: [at, {lookup: shops, key: id, value: v}]}", "it looks something up"),
    ("{template: '{id}{at}'}", ""),
    ("amount", ""),
]


@pytest.mark.parametrize(("value", "words"), DEFINED)
@pytest.mark.parametrize("place", ["key: [id, d]", "key: [id], rows: {number_equal: n, skip: [\"d = '2'\"]}"])
def test_what_is_known_of_a_row_by_itself(place: str, value: str, words: str) -> None:
    numbered = place if "number_equal" in place else f"{place}, rows: {{number_equal: n}}"
    shops = "lookups: {shops: {file: s.csv, key: [k], from: source}}\n"
    text = f"mapping: m\nsource: {{{numbered}}}\n{FIELDS}define: {{d: {value}}}\n"
    check(text + shops * ("shops" in value), words)


def test_keys_of_tables_are_of_the_own_cells_of_a_row() -> None:
    tables = "layout: tables, tables: {headers: {inputs: [a], key: [id]}, items: {inputs: [b], key: [d]}}"
    check(f"mapping: m\nsource: {{{tables}}}\n{FIELDS}define: {{d: {{sum: amount}}}}\n", "it uses other rows")


def test_the_number_of_equal_rows_has_a_name_of_its_own() -> None:
    source = "mapping: m\nsource: {key: [id, n], rows: {number_equal: n}}\n"
    check(f"{source}{FIELDS}define: {{n: title}}\n", "'n' has another meaning already")
    check(f"{source}{FIELDS}columns: {{n: integer}}\n", "'n' has another meaning already")
    check(f"{source}{FIELDS}columns: {{amount: decimal}}\n", "")


@pytest.mark.parametrize(
    ("csv", "words"),
    [
        ("delimiter: '||'", "one character was expected, not '||'"),
        ("comment: '//'", ""),
        ("positions: {k: 1-8}", "`positions` is for sources"),
        ("delimiter: semicolon", "is a word"),
    ],
)
def test_look_up_tables_have_a_dialect(csv: str, words: str) -> None:
    lookups = f"lookups: {{shops: {{file: s.csv, key: [k], from: source, csv: {{{csv}}}}}}}\n"
    found = said(f"{HEAD}{FIELDS}{lookups}")
    assert [message for message in found if words not in message or not words][1:] == []
    assert bool(found) is bool(words)


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("completion: {status: status, other: complete}", ""),
        ("completion: {status: status, complete: {sql: \"status = 'x'\"}}", ""),
        ("completion: {complete: {status: [x]}}", "status words need `status`"),
        ("completion: {draft: {sql: \"status = 'x'\"}}", ""),
        (
            "completion: {status: status, draft: {sql: \"status = 'y'\", status: [x]}, void: [X]}",
            "'x' is in `void` as well",
        ),
        ("payments_form: amounts", "there are no `payments` that it could shape"),
        ("payments_form: amounts\npayments: [{tender: status, amount: amount}]", ""),
        ("payments: [{tender: status}]", ""),
        ("lines: {discount_amount: price}", "`discount` is missing: the condition for discount lines"),
        ("lines: {discount_reason: title}", "`discount` is missing: the condition for discount lines"),
        ("lines: {skip: [\"status = 'x'\"]}", "there are no `items`, so no line can be set apart"),
        (f"{ITEMS}lines: {{skip: [\"status = 'x'\"]}}", ""),
        (f"{ITEMS}lines: {{discount: \"status = 'x'\", discount_amount: price, discount_reason: title}}", ""),
        (
            "charges: [{name: Freight, amount: amount}]",
            "there are no `items` beside which a charge could be one",
        ),
        (f"{ITEMS}charges: [{{name: Freight, amount: amount}}, {{name: Gift, amount: price}}]", ""),
        (
            f"{ITEMS}charges: [{{name: Freight, amount: amount}}, {{name: freight, amount: price}}]",
            "the name of another charge gives the same id",
        ),
        (f"{ITEMS}charges: [{{name: '!', amount: amount}}]", "it has no letter and no digit"),
        (f"{ITEMS}reward: {{amount: price}}", ""),
        ("checks: {total_mismatch: {tolerance: 1}, guest: {severity: warn}, draft: {severity: warn}}", ""),
        ("checks: {guest: {severity: warn, tolerance: 0}}", "`guest` compares no amounts"),
        ("rules: [{code: big, when: total > 1, message: x}, {code: small, when: total < 1, message: x}]", ""),
        ("define: {a: id, b: a}", ""),
        ("define: {b: a, a: id}", "`b` uses `a`, defined after it"),
    ],
)
def test_sections(rest: str, words: str) -> None:
    check(f"{HEAD}{FIELDS}{rest}\n", words)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("currency: {constant: aud}", "'aud' is not a currency"),
        ("currency: {constant: AUDX}", "'AUDX' is not a currency"),
        ("currency: {constant: AUD}", ""),
        ("currency: {constant: aud, then: [upper]}", ""),
        ("tags: {column: status, then: [{list_by: ','}]}", ""),
        ("tags: {list: [status, title]}", ""),
        ("staff_id: {column: status, then: [{list_by: ','}]}", "a list cannot be here: a string"),
        ("staff_id: {column: status, then: [lower, {list_by: ','}]}", "a list cannot be here: a string"),
        ("staff_id: {distinct: status}", "a list cannot be here: a string"),
        ("staff_id: {object: {a: status}}", "an object cannot be here: a string was expected"),
        ("meta: {object: {a: status}}", ""),
        ("custom_fields: {list: [{object: {name: status}}]}", ""),
        ("custom_fields: {object: {name: status}}", "a list of objects was expected here"),
        ("staff_id: {lookup: shops, key: id, value: v}", "'shops' is not among `lookups`; there are none"),
        ("staff_id: {open: which}", "`staff_id` is open (which)"),
        ("staff_id: {first_of: [title, {open: which}]}", "is open (which)"),
    ],
)
def test_kinds_of_fields(field: str, words: str) -> None:
    check(f"{HEAD}{FIELDS}  {field}\n", words)


def test_an_open_value_hides_no_fault_of_another_field() -> None:
    found = said(f"{HEAD}{FIELDS}  staff_id: {{open: which}}\n  meta: {{constant: 5}}\n")
    assert [message.split(":")[0] for message in found] == [
        "`staff_id` is open (which)",
        "an object was expected here, as in {object",
    ]


@pytest.mark.parametrize(
    ("datetime", "words"),
    [
        ("formats: [epoch_s]", ""),
        ("formats: ['spreadsheet_days %H:%M']", ""),
        ("formats: ['%Y-%m-%d %l:%M']", "hours of 12 (%I) without %p"),
        ("formats: ['%Y-%m-%d %I:%M %p']", ""),
        ("formats: ['%Y']", "has no month and no day; a date needs"),
        ("formats: ['%-d %_m %0Y%%']", ""),
        ("formats: ['%F %T %Z']", "%Z reads abbreviations of zones"),
        ("formats: [iso, '%F %T %Z'], abbreviations: {}", ""),
        ("formats: ['%F %Z'], abbreviations: {EST: '-05:00', X: '+14:59'}", ""),
        ("formats: ['%F %Z'], abbreviations: {EST: '-5:00'}", "'-5:00' is not an offset"),
        ("formats: ['%F %Z'], abbreviations: {EST: '+15:00'}", "'+15:00' is not an offset"),
        ("formats: [iso], abbreviations: {EST: '-05:00'}", "no format reads abbreviations"),
        ("formats: [iso, epoch_s], timezone: {constant: UTC}", "`epoch_s` counts from 1970"),
        ("formats: [iso], timezone: zone", ""),
    ],
)
def test_dates(datetime: str, words: str) -> None:
    for before in ("", "upper, "):
        value = f"{{column: at, then: [{before}{{datetime: {{{datetime}}}}}]}}"
        check((HEAD + FIELDS).replace(AT, value), words)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("{boolean: {true: ['Yes'], false: ['YES']}}", "'Yes' means both true and false"),
        ("{boolean: {true: ['Yes'], false: ['No']}}", ""),
        ("{number: {decimal: ',', thousands: '.'}}", ""),
    ],
)
def test_steps(step: str, words: str) -> None:
    kind = "is_void" if "boolean" in step else "rounding"
    check(f"{HEAD}{FIELDS}  {kind}: {{column: status, then: [{step}]}}\n", words)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("id", "has a key of 2, here is 1 value for it"),
        ("[id, at]", ""),
        ("[id, at, qty]", "here are 3 values"),
    ],
)
def test_keys_of_look_ups(key: str, words: str) -> None:
    shops = "lookups: {shops: {file: s.csv, key: [k, l], from: source}}\n"
    check(f"{HEAD}{FIELDS}  staff_id: {{lookup: shops, key: {key}, value: v}}\n{shops}", words)
    other = f"{HEAD}{FIELDS}  staff_id: {{lookup: prices, key: [id, at], value: v}}\n{shops}"
    check(other, "'prices' is not among `lookups`; there are shops")


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("{rows: [{id: 1}], expect: {rejected: guest}}", ""),
        ("{rows: [{id: 1}], expect: {dropped: own}}", ""),
        ("{rows: [{id: 1}], expect: {rejected: gust}}", "'gust' is not a code; did you mean 'guest'?"),
        ("{rows: [{id: 1}], expect: {dropped: drafd}}", "'drafd' is not a code; did you mean 'draft'?"),
        ("{rows: [{id: 1}], expect: {}}", "one of `payload`, `rejected` and `dropped` was expected"),
        ("{rows: [{id: 1}], expect: {rejected: guest, dropped: draft}}", "one of `payload`, `rejected`"),
        ("{rows: [{id: 1}], expect: {payload: {total: 1, items: []}}}", ""),
        (
            "{rows: [{id: 1}], expect: {payload: {totl: 1}}}",
            "a payload never has 'totl'; did you mean 'total'?",
        ),
        ("{rows: {lines: [{id: 1}], shops: [{k: 1}]}, expect: {rejected: guest}}", ""),
        (
            "{rows: {lines: [{id: 1}], here: [{k: 1}]}, expect: {rejected: guest}}",
            "'here' is not a table of the source; there are lines, shops",
        ),
        (
            "{given: {id: 1}, rows: {lines: [{at: 1}]}, expect: {rejected: guest}}",
            "`given` is for a list of rows",
        ),
        ("{given: {id: 1}, rows: [{at: 1}], expect: {rejected: guest}}", ""),
    ],
)
def test_tests(test: str, words: str) -> None:
    rest = (
        "lookups:\n  shops: {file: s.csv, key: [k], from: source}\n"
        f"rules: [{{code: own, when: total > 1, message: x}}]\ntests:\n  - {{name: one, {test[1:]}\n"
    )
    check(f"{HEAD}{FIELDS}{rest}", words)


def test_tests_of_several_tables_have_rows_by_table() -> None:
    tables = "layout: tables, tables: {headers: {inputs: [a], key: [id]}, items: {inputs: [b], key: [id]}}"
    test = "{name: one, expect: {rejected: guest}, rows: ROWS}"
    text = f"mapping: m\nsource: {{{tables}}}\n{FIELDS}tests:\n  - {test}\n"
    check(text.replace("ROWS", "[{id: 1}]"), "rows by table were expected, as in {headers: [{...}]}")
    check(text.replace("ROWS", "{headers: [{id: 1}], items: []}"), "")
    check(text.replace("ROWS", "{lines: [{id: 1}]}"), "'lines' is not a table of the source")
