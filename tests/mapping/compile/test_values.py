"""Every kind of value and step of the mapping language."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import LINE, SOURCE
from pipeline.mapping.compile import steps, values
from pipeline.mapping.language.value_spec import STEPS, VALUES, OpenValue
from pipeline.mapping.layout.raw_transactions import build_transactions
from tests.fuzzing import examples
from tests.mapping.mapping_cases import (
    CompileError,
    compiled_of,
    keyed,
    mapped_of,
    problem_rows,
    spec_of,
    value_of,
)

D = Decimal


def test_every_value_and_step_of_the_language_has_an_operation() -> None:
    assert set(values.VALUE_COMPILERS) == {str, *VALUES.values()} - {OpenValue}  # it is refused before
    assert set(steps.STEP_COMPILERS) == set(STEPS.values())


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "cells", "expected"),
    [
        ("[trim]", ["  a  ", "   ", None], ["a", None, None]),
        ("[upper]", ["aé"], ["AÉ"]),
        ("[lower]", ["AÉ"], ["aé"]),
        ("[title]", ["ann o'neil"], ["Ann O'Neil"]),
        ("[digits]", ["(03) 9-1", "none"], ["0391", None]),
        ("[squeeze]", ["a \n\t b"], ["a b"]),
        ("[unguard]", ["'380001", "380001", "'"], ["380001", "380001", None]),
        ("[unguard]", ['="000123"', '=""', '="a'], ["000123", None, '="a']),
        (
            r"[{replace: {pattern: '^(\d+)\.0$', with: '$1'}}]",
            ["17850.0", "17850.5", None],
            ["17850", "17850.5", None],
        ),
        ("[{replace: {pattern: x}}]", ["xx", "axb"], [None, "ab"]),
        ("[{pad: {width: 4}}]", ["7", "12345", None], ["0007", "12345", None]),
        ("[{pad: {width: 3, fill: '*'}}]", ["7"], ["**7"]),
        ("[{slice: {start: 1, length: 2}}]", ["abcd", "a"], ["bc", None]),
        ("[{slice: {start: -2}}]", ["abcd"], ["cd"]),
        ("[{slice: {start: 1, length: 2}}]", ["ab cd", "a  b"], ["b", None]),
        ("[{split: {by: '-', index: 1, parts: 2}}]", ["a-b-c", "a"], ["b-c", None]),
        ("[{split: {by: ' + ', index: 1}}]", ["A + B", "A"], ["B", None]),
        ("[{split: {by: '/', index: -1}}]", ["a/b/c"], ["c"]),
        # Cells are trimmed, so that a blank part at an end takes a blank of ` / ` with it.
        ("[{split: {by: ' / ', index: 1, parts: 2}}]", ["S / Red", "S /", "/ Red"], ["Red", None, "Red"]),
        ("[{split: {by: ' ', index: 0}}]", ["S Red"], ["S"]),
        ("[{blank_if: ['0', none]}]", ["0", "none", "x", None], [None, None, "x", None]),
        # An expression that doubled with each step would never be done.
        (
            f"[{', '.join(['{replace: {pattern: x, with: y}}', '{blank_if: [y]}'] * 30)}]",
            ["x", "z"],
            [None, "z"],
        ),
        ("[{default: n/a}]", ["x", None, " "], ["x", "n/a", "n/a"]),
        ("[{map: {values: {a: Alpha}}}]", ["a", "b", None], ["Alpha", "b", None]),
        ("[{map: {values: {a: Alpha}, other: blank}}]", ["a", "b", None], ["Alpha", None, None]),
        ("[{map: {values: {a: Alpha}, default: Rest}}]", ["a", "b", None], ["Alpha", "Rest", None]),
        ("[{map: {values: {A: Alpha}, ignore_case: true}}]", ["a", "B"], ["Alpha", "B"]),
        ("[{map: {values: {a: 1}, other: blank}}, {default: 0}]", ["a", "b"], ["1", "0"]),
        ("[{map: {values: {a: true, b: false}, other: blank}}]", ["a", "b", "c"], ["true", "false", None]),
        ("[{map: {values: {a: 1}}}]", ["a", "b"], ["1", "b"]),
        ("[{number: {}}]", ["17850.0", "1.50"], ["17850", "1.5"]),
        ("[{boolean: {true: [x]}}]", ["X", "no"], ["true", "false"]),
        ("[{datetime: {formats: ['%d.%m.%Y']}}]", ["01.07.2021"], ["2021-07-01 00:00:00"]),
        ("[upper, {slice: {length: 1}}, {default: '-'}]", ["ann", None], ["A", "-"]),
    ],
)
def test_steps_on_texts(steps: str, cells: list[str | None], expected: list[str | None]) -> None:
    assert value_of(f"{{column: x, then: {steps}}}", *cells) == expected


@pytest.mark.parametrize(
    ("steps", "cells", "expected"),
    [
        ("[{number: {currency: ['$'], parentheses: true}}]", ["$8.00", "($3.5)"], [D(8), D("-3.5")]),
        ("[negate]", ["2", "-3", None], [D(-2), D(3), None]),
        ("[abs]", ["2", "-3"], [D(2), D(3)]),
        ("[{round: 1}]", ["1.25", "-1.25", "1.24"], [D("1.3"), D("-1.3"), D("1.2")]),
        ("[{divide_by: {constant: 3}}]", ["10", None], [D("3.3333"), None]),
        ("[{divide_by: x}]", ["5", "0", None], [D(1), None, None]),
        # Twelve decimals are kept on the way, whatever steps follow.
        ("[{divide_by: {constant: 3}}, {multiply_by: {constant: 30000}}]", ["1"], [D(10_000)]),
        ("[{multiply_by: {constant: 0.000001}}, {multiply_by: {constant: 1000000}}]", ["1.25"], [D("1.25")]),
        ("[{multiply_by: {constant: 1.1}}]", ["10", "0.01"], [D(11), D("0.011")]),
        ("[{default: 0}]", ["1.5", None], [D("1.5"), D(0)]),
        ("[{number: {}}, {default: 0}]", ["1.5", None, "x"], [D("1.5"), D(0), None]),
        ("[{map: {values: {a: 1.25, b: 2}, other: blank}}]", ["a", "b", "c"], [D("1.25"), D(2), None]),
        ("[{number: {minor_units: 2}}]", ["1999"], [D("19.99")]),
        ("[{number: {percent: true}}, {multiply_by: {constant: 200}}]", ["12.5%"], [D(25)]),
    ],
)
def test_steps_on_numbers(steps: str, cells: list[str | None], expected: list[Decimal | None]) -> None:
    assert value_of(f"{{column: x, then: {steps}}}", *cells, kind="total") == expected


def test_a_number_keeps_the_text_it_was_read_from() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    define: {amount: {column: x, then: [{number: {currency: ['$']}}, negate]}}
    transaction: {total: amount}
    """
    headers = mapped_of(spec, "id,x\n1,$5\n2,five\n3,\n").headers
    assert headers.select("total", "total|raw").rows() == [(D(-5), "$5"), (None, "five"), (None, None)]


def test_whole_numbers_are_divided_and_multiplied_exactly() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    columns: {x: integer, n: integer}
    transaction:
      total: {column: x, then: [{divide_by: n}, {multiply_by: {constant: 30000}}]}
      rounding: {column: x, then: [{multiply_by: n}]}
    """
    mapped = mapped_of(spec, "id,x,n\n1,1,3\n2,2,1\n3,2,0\n")
    assert mapped.headers.select("total", "rounding").rows() == [
        (D(10_000), D(3)),
        (D(60_000), D(2)),
        (None, D(0)),
    ]
    assert problem_rows(mapped.problems) == [("total_rounded", 2)]


def test_a_sum_that_needs_one_digit_too_many_is_reported() -> None:
    spec = """
    source: {layout: lines, key: [id]}
    transaction: {external_id: id, total: {sum: {column: x, then: [{number: {}}]}}}
    """
    mapped = mapped_of(spec, "id,x\n1,60000000000000000000000000\n1,50000000000000000000000000\n2,5\n")
    assert mapped.headers["total"].to_list() == [None, D(5)]
    assert problem_rows(mapped.problems, "code", "message") == [
        ("field_invalid", "The sum over the lines is too large to be computed.")
    ]


def test_divisors_that_cannot_be_read_are_reported() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    transaction: {total: {column: x, then: [{divide_by: n}]}}
    """
    headers = mapped_of(spec, "id,x,n\n1,6,2\n2,6,two\n3,6,0\n").headers
    assert headers.select("total", "total|raw").rows() == [(D(3), None), (None, "two"), (None, None)]


def test_a_list_out_of_a_text() -> None:
    found = value_of('{column: x, then: [{list_by: ","}]}', 'a, "b" ,,c', None, " , ", kind="tags")
    assert found == ['["a","\\"b\\"","c"]', None, None]


def test_a_map_that_refuses_other_words_tells_them() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    transaction:
      currency: {column: x, then: [{map: {values: {A$: AUD}, other: reject}}]}
      order_number: {column: x, then: [{map: {values: {A$: AUD}, other: reject}}]}
    """
    mapped = mapped_of(spec, "id,x\n1,A$\n2,Z$\n3,\n")
    assert mapped.headers["currency"].to_list() == ["AUD", None, None]
    assert problem_rows(mapped.problems, "code", "field", "value", LINE) == [
        ("currency_invalid", "currency", "Z$", 3),
        ("field_invalid", "order_number", "Z$", 3),
    ]


# ── Values ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "cells", "expected"),
    [
        ("x", [" a ", None], ["a", None]),
        ("{column: x}", ["a"], ["a"]),
        ("{constant: AUD}", ["a", None], ["AUD", "AUD"]),
        ("{constant: 5}", ["a"], ["5"]),
        ("{constant: true}", ["a"], ["true"]),
        ('{template: "{id}-{x}{{}}"}', ["a", None, "  "], ["0-a{}", None, None]),
        ("{sql: \"COALESCE(x, 'none') || '!'\"}", ["a", None], ["a!", "none!"]),
        ("{sql: \"NULLIF(x, 'a')\"}", ["a", "b"], [None, "b"]),
        ("{sql: \"'  '\"}", ["a"], [None]),
        ("{first_of: [x, {constant: z}]}", ["a", " ", None], ["a", "z", "z"]),
        ("{first_of: [x, x]}", [None], [None]),
        (
            "{case: [{when: \"x = 'a'\", value: {constant: A}}, {when: x > 'b', value: id}], else: x}",
            ["a", "b", "c", None],
            ["A", "b", "2", None],
        ),
        ("{case: [{when: \"x = 'a'\", value: {constant: A}}]}", ["a", "b", None], ["A", None, None]),
    ],
)
def test_values(value: str, cells: list[str | None], expected: list[str | None]) -> None:
    assert value_of(value, *cells) == expected


def test_words_for_blank_count_as_blank_everywhere() -> None:
    spec = """
    source: {layout: headers, key: [id], nulls: [N/A, '-']}
    transaction: {receipt_ref: {first_of: [x, y]}, total: z}
    """
    headers = mapped_of(spec, "id,x,y,z\n1, N/A ,b,-\n2,-,N/A,1\n").headers
    assert headers.select("receipt_ref", "total", "total|raw").rows() == [
        ("b", None, None),
        (None, D(1), "1"),
    ]


def test_declared_columns_are_typed_in_formulas_and_keep_their_texts() -> None:
    spec = """
    source: {layout: headers, key: [id], number: {decimal: ','}}
    columns:
      price: decimal
      n: integer
      paid: boolean
      tax: {number: {currency: ['$']}}
      at: {datetime: {formats: ['%d.%m.%Y %H:%M'], timezone: {constant: Europe/Berlin}}}
    transaction:
      total: {sql: "n * price + tax"}
      rounding: price
      redemption_id: n
      transacted_at: at
      is_void: paid
      receipt_ref: {sql: "CASE WHEN at > DATE '2021-06-01' THEN 'new' ELSE 'old' END"}
    """
    headers = mapped_of(
        spec,
        """
        id,price,n,paid,tax,at
        1,"1,50",2,yes,$1,01.07.2021 10:00
        2,1.5,2.0,perhaps,$1,01.02.2021 10:00
        """,
    ).headers
    assert headers.select(
        "total", "rounding", "rounding|raw", "redemption_id", "is_void", "is_void|raw", "receipt_ref"
    ).rows() == [
        (D(4), D("1.5"), "1,50", 2, True, "yes", "new"),
        (None, None, "1.5", 2, None, "perhaps", "old"),
    ]
    assert headers["total|raw"].to_list() == [None, "1.5"]
    assert headers["transacted_at"].to_list() == [datetime(2021, 7, 1, 8), datetime(2021, 2, 1, 9)]
    assert headers["transacted_at|local"].to_list() == [datetime(2021, 7, 1, 10), datetime(2021, 2, 1, 10)]


def test_a_fall_back_does_not_hide_what_cannot_be_read() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    columns: {a: decimal, b: decimal}
    transaction: {total: {first_of: [a, b]}}
    """
    headers = mapped_of(spec, "id,a,b\n1,1,2\n2,,2\n3,one,2\n4,,two\n").headers
    assert headers.select("total", "total|raw").rows() == [
        (D(1), "1"),
        (D(2), "2"),
        (None, "one"),
        (None, "two"),
    ]


def test_date_and_time_in_two_columns() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    transaction:
      transacted_at:
        template: "{date} {time}"
        then: [{datetime: {formats: ["%m/%d/%y %I:%M %p"], timezone: zone}}]
      timezone: zone
    """
    headers = mapped_of(
        spec,
        "id,date,time,zone\n"
        "1,10/8/26,5:18 PM,Eastern Time (US & Canada)\n"
        "2,10/8/26,5:18 PM,Mars\n"
        "3,10/8/26,,UTC\n",
    ).headers
    assert headers.select("transacted_at", "timezone", "timezone|raw").rows() == [
        (datetime(2026, 10, 8, 21, 18), "America/New_York", "Eastern Time (US & Canada)"),
        (None, None, "Mars"),
        (None, "UTC", "UTC"),
    ]
    assert headers["transacted_at|raw"].to_list() == ["10/8/26 5:18 PM", "10/8/26 5:18 PM", None]


def test_times_without_a_zone_are_in_the_transactions_own() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    transaction:
      timezone: {constant: Australia/Melbourne}
      transacted_at: {column: at, then: [{datetime: {formats: [iso]}}]}
      deliver_at: {column: at, then: [{datetime: {formats: [iso], timezone: {constant: UTC}}}]}
    """
    headers = mapped_of(spec, "id,at\n1,2021-07-01 10:00\n").headers
    assert headers.select("transacted_at", "deliver_at").row(0) == (
        datetime(2021, 7, 1),
        datetime(2021, 7, 1, 10),
    )


def test_lists_and_objects_are_json_without_what_is_blank() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    columns: {n: integer, price: decimal, ok: boolean}
    transaction:
      tags: {list: [x, {column: more, then: [{list_by: ";"}]}, {constant: pos}]}
      systems: {constant: pos}
      meta:
        object:
          'say "hi"': x
          count: n
          price: price
          ok: ok
          deep: {object: {more: more}}
          list: {list: [x, n]}
      custom_fields:
        list:
          - {object: {namespace: {constant: pos}, handle: {constant: x}, value: x}}
          - {object: {value: more}}
    """
    headers = mapped_of(spec, 'id,x,more,n,price,ok\n1,"é""\n",a;b,2,1.50,yes\n2,,,,,\n').headers
    first, second = headers.select("tags", "systems", "meta", "custom_fields").rows()
    assert [json.loads(text) for text in first] == [
        ['é"', "a", "b", "pos"],
        ["pos"],
        {'say "hi"': 'é"', "count": 2, "price": 1.5, "ok": True, "deep": {"more": "a;b"}, "list": ['é"', 2]},
        [{"namespace": "pos", "handle": "x", "value": 'é"'}, {"value": "a;b"}],
    ]
    assert second == ('["pos"]', '["pos"]', None, None)


def test_what_cannot_be_read_inside_an_object_is_reported() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    columns: {n: integer}
    transaction: {meta: {object: {n: n}}}
    """
    mapped = mapped_of(spec, "id,n\n1,two\n")
    assert problem_rows(mapped.problems, "code", "field", "value") == [("field_invalid", "meta", "two")]


# ── Over a transaction's lines ──────────────────────────────────────────────────────────────────────

OVER_LINES = """
source: {layout: lines, key: [id], duplicates: keep}
columns: {qty: integer, price: decimal}
transaction:
"""
LINES = "id,qty,price,what,at\n1,2,10,,09:05\n2,1,,Tie,08:00\n1,1,5,Cap,09:01\n1,3,,Hat,\n"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("total", "{sum: price}", [D(15), None]),
        ("total", '{sum: {sql: "qty * price"}}', [D(25), None]),
        (
            "total",
            "{sum: {column: what, then: [{map: {values: {Cap: 1, Hat: 2}, other: blank}}]}}",
            [D(3), None],
        ),
        ("total", "{sum: price, then: [negate]}", [D(-15), None]),
        ("redemption_id", "{count: 'qty > 1'}", [2, 0]),
        ("redemption_id", '{count: "true"}', [3, 1]),
        ("receipt_ref", "{first: what}", ["Cap", "Tie"]),
        ("receipt_ref", "{last: what}", ["Hat", "Tie"]),
        ("receipt_ref", "{min: at}", ["09:01", "08:00"]),
        ("receipt_ref", "{max: at, then: [{replace: {pattern: ':'}}]}", ["0905", "0800"]),
        ("total", "{min: price}", [D(5), None]),
        ("total", "{max: {column: price, then: [negate]}}", [D(-5), None]),
        ("total", "{first_of: [{sum: price}, {constant: 0}]}", [D(15), D(0)]),
        ("tags", "{list: [{first: what}, {last: what}]}", ['["Cap","Hat"]', '["Tie","Tie"]']),
    ],
)
def test_values_over_lines(field: str, value: str, expected: list[object]) -> None:
    mapped = mapped_of(f"{OVER_LINES}  {field}: {value}\n", LINES)
    assert mapped.headers[field].to_list() == expected
    assert mapped.problems.is_empty()


def test_one_line_that_cannot_be_read_spoils_the_sum() -> None:
    mapped = mapped_of(OVER_LINES + "  total: {sum: price}\n", "id,qty,price\n1,1,5\n1,1,x\n2,1,3\n")
    assert mapped.headers.select("total", "total|raw").rows() == [(None, "x"), (D(3), None)]


def test_the_first_moment_keeps_its_local_time() -> None:
    spec = """
    source: {layout: lines, key: [id]}
    transaction:
      transacted_at:
        min: {column: at, then: [{datetime: {formats: [iso], timezone: {constant: Australia/Melbourne}}}]}
    items: {name: what}
    """
    mapped = mapped_of(spec, "id,what,at\n1,a,2023-04-02 03:30\n1,b,2023-04-02 02:30\n2,c,bad\n")
    assert mapped.headers.select(
        "transacted_at", "transacted_at|local", "transacted_at|ambiguous"
    ).rows() == [
        (datetime(2023, 4, 1, 15, 30), datetime(2023, 4, 2, 2, 30), True),
        (None, None, False),
    ]
    assert mapped.headers["transacted_at|raw"].to_list() == [None, "bad"]


def test_a_sum_of_the_transaction_can_be_used_on_its_lines() -> None:
    spec = """
    source: {layout: lines, key: [id]}
    columns: {price: decimal}
    define: {whole: {sum: price}}
    transaction: {total: whole}
    items: {name: what, price_sell: {sql: "price / whole"}, meta: {object: {lines: {count: "true"}}}}
    """
    items = mapped_of(spec, "id,what,price\n1,a,1\n1,b,3\n2,c,5\n").items
    assert items["price_sell"].to_list() == [D("0.25"), D("0.75"), D(1)]
    assert items["meta"].to_list() == ['{"lines":2}', '{"lines":2}', '{"lines":1}']


def test_overflow_in_one_row_leaves_the_others_alone() -> None:
    spec = """
    source: {layout: headers, key: [id]}
    columns: {a: decimal}
    transaction: {total: {sql: "a * a * a / (a * a)"}}
    """
    huge = "9" * 20
    headers = mapped_of(spec, f"id,a\n1,2\n2,{huge}\n3,4\n4,0\n5,{huge}\n6,-3\n").headers
    assert headers["total"].to_list() == [D(2), None, D(4), None, None, D(-3)]


@pytest.mark.parametrize(("kind", "cell"), [("decimal", "9" * 31), ("integer", "9" * 18)])
def test_a_sum_that_runs_over_is_reported_and_is_no_number(kind: str, cell: str) -> None:
    spec = f"""
    source: {{layout: lines, key: [id], duplicates: keep}}
    columns: {{a: {kind}}}
    transaction: {{external_id: id, total: {{sum: a}}}}
    """
    lines = "".join(f"1,{cell}\n" for _ in range(20)) + "2,3\n2,4\n"
    mapped = mapped_of(spec, f"id,a\n{lines}")
    assert mapped.headers["total"].to_list() == [None, D(7)]
    assert problem_rows(mapped.problems) == [("field_invalid", 2)]


# ── Line numbers ────────────────────────────────────────────────────────────────────────────────────

NUMBERED = """
source: {{layout: lines, key: [id], duplicates: keep}}
transaction: {{external_id: id}}
items:
  name: what
  quantity: qty
  external_id: {{line_number: {order}, then: [{{pad: {{width: 2}}}}]}}
"""


def test_lines_are_numbered_in_the_order_of_the_file() -> None:
    items = mapped_of(NUMBERED.format(order="file"), "id,what,qty\n1,b,1\n2,c,1\n1,a,1\n1,b,1\n").items
    assert items.select("name", "external_id").rows() == [("b", "01"), ("a", "02"), ("b", "03"), ("c", "01")]


def numbers_by_content(rows: list[tuple[str, str, str]]) -> dict[tuple[str, str, str], list[str]]:
    spec = spec_of(NUMBERED.format(order="content"))
    table = pl.DataFrame(rows, schema={"id": pl.String, "what": pl.String, "qty": pl.String}, orient="row")
    table = table.with_columns(pl.lit(0, dtype=pl.UInt32).alias(SOURCE), pl.int_range(pl.len()).alias(LINE))
    tables = {"lines": keyed(table, spec)}
    mapped = compiled_of(spec, tables).apply(build_transactions(tables, spec))
    found: dict[tuple[str, str, str], list[str]] = {}
    for row, number in zip(mapped.items.select(LINE).to_series(), mapped.items["external_id"], strict=True):
        found.setdefault(rows[row], []).append(number)
    return {content: sorted(numbers) for content, numbers in found.items()}


@pytest.mark.slow
@examples(40)
@given(st.data())
def test_numbers_by_content_do_not_care_about_the_order_of_rows(data: st.DataObject) -> None:
    letters, quantity = st.sampled_from("ab"), st.sampled_from(["1", "2", "10"])
    rows = data.draw(st.lists(st.tuples(letters, letters, quantity), min_size=1, max_size=12))
    shuffled = data.draw(st.permutations(rows))
    assert numbers_by_content(rows) == numbers_by_content(shuffled)


# ── What cannot be compiled ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("total", "totl", "there is no column 'totl' in the source; did you mean 'total'?"),
        ("total", '{sql: "qty / 2"}', "does not work|floating-point"),
        ("total", '{sql: "n / 2"}', "floating-point number, which is not exact"),
        ("total", '{sql: "x * n"}', "text unless"),
        ("total", "{line_number: file}", "is for `items` only"),
        ("total", "{object: {a: x}}", "an object cannot be here: a decimal was expected"),
        ("receipt_ref", "{list: [x]}", "a list cannot be here: a string was expected"),
        ("meta", "x", "an object was expected here"),
        ("custom_fields", "x", "a list of objects was expected here"),
        ("transacted_at", "{sql: n > 1}", "the format of `transacted_at` is missing"),
        ("transacted_at", "{column: n, then: [{datetime: {formats: [iso]}}]}", "a text was expected"),
        (
            "transacted_at",
            "{column: x, then: [{datetime: {formats: ['%H:%M']}}]}",
            "has no year and no month and no day",
        ),
        (
            "transacted_at",
            "{column: x, then: [{datetime: {formats: [iso], timezone: {constant: Europe/Lodnon}}}]}",
            "did you mean 'Europe/London'",
        ),
        ("receipt_ref", "{column: x, then: [{split: {by: '-', index: 2, parts: 2}}]}", "to be 0 to 1, not 2"),
        (
            "receipt_ref",
            "{column: x, then: [{split: {by: '-', index: -1, parts: 2}}]}",
            "to be 0 to 1, not -1",
        ),
        ("total", "{column: n, then: [{number: {}}]}", "a text was expected"),
        ("total", "{case: [{when: n + 1, value: x}]}", "a condition was expected"),
        ("tags", "{first_of: [{list: [x]}, x]}", "cannot stand in for each other"),
    ],
)
def test_values_that_cannot_be_computed(field: str, value: str, message: str) -> None:
    spec = spec_of(
        f"source: {{layout: headers, key: [id]}}\ncolumns: {{n: integer}}\ntransaction: {{{field}: {value}}}"
    )
    rows = pl.DataFrame({"id": ["1"], "x": ["a"], "n": ["1"], "total": ["1"], "qty": ["1"]})
    with pytest.raises(CompileError, match=message) as error:
        compiled_of(spec, {"lines": rows})
    assert [issue.location[:2] for issue in error.value.issues] == [("transaction", field)]


def test_all_that_is_wrong_is_reported_at_once() -> None:
    spec = spec_of(
        """
        source: {layout: lines, key: [id]}
        define: {a: b, b: a}
        transaction: {total: nowhere, receipt_ref: a, currency: {constant: AUD}}
        items: {name: nothing}
        profile: [{value: nobody}]
        lines: {skip: ["id = 1", "id"]}
        """
    )
    with pytest.raises(CompileError) as error:
        compiled_of(spec, {"lines": pl.DataFrame({"id": ["1"]})})
    assert {issue.location for issue in error.value.issues} == {
        ("define", "a"),
        ("transaction", "total"),
        ("profile", 0, "value"),
        ("lines", "skip", 0),
        ("lines", "skip", 1),
        ("items", "name"),
    }
    assert "`a` uses `b`, defined after it" in str(error.value)
