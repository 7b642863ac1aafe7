"""No cell stops a run: every value, step and function meets cells that are at the edge of what there is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.core.model import KEY, LINE, SOURCE, TX
from pipeline.mapping.functions.sql import FUNCTIONS
from pipeline.mapping.layout.raw_transactions import build_transactions
from pipeline.mapping.layout.row_keys import key_hash
from pipeline.staging.payloads import encode
from pipeline.validation.outcomes import decide_outcomes
from pipeline.validation.policy import Policy
from tests.mapping.mapping_cases import compiled_of, spec_of

pytestmark = pytest.mark.slow

CELLS = [
    "1",
    "-1",
    "0",
    "2.5",
    "-0",
    "+7",
    ".5",
    "5.",
    "1e3",
    "1E999999",
    "-1E999999",
    "1E-999999",
    "NaN",
    "inf",
    "999999999999999999",
    "9999999999999999999",
    "9" * 38,
    "-" + "9" * 39,
    "9" * 60 + "." + "9" * 60,
    "0." + "1" * 60,
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "1700000000",
    "1700000000000",
    "17000000000000000000",
    "45000.5",
    "2024-01-02",
    "2024-02-30",
    "2024-01-02 03:04:05",
    "2024-01-02T03:04:05Z",
    "2024-01-02T03:04:05+25:00",
    "0000-00-00",
    "0001-01-01",
    "9999-12-31T23:59:59-23:59",
    "10000-01-01",
    "262143-01-01",
    "-262144-01-01",
    "2024-03-31 02:30:00",
    "2024-10-27 02:30:00",
    "2024-12-31T23:59:60",
    "24:00",
    "12:34",
    "2024-W01",
    "2024-366",
    "true",
    "NO",
    "a",
    "A-b-c",
    "-",
    "--",
    "a,b,,c",
    ",",
    "|",
    "%",
    "_",
    "$1",
    "\\",
    "'",
    '"',
    "''",
    "(",
    "[",
    "*",
    "^$",
    "{}",
    "[]",
    "[{}]",
    '{"a": 1}',
    '[{"a": {"b": [1]}}]',
    '{"a":',
    "[1, 2",
    "null",
    '"x"',
    "[[[[[[[[",
    "{{",
    "}",
    "\u0000",
    "a\u0000b",
    "\ufeff1",
    "\u200b",
    "\u00a0",
    "\u00e9",
    "\ud7ff",
    "\U0010ffff",
    "\u00df",
    "\u0130",
    "\u0661\u0662\u0663",
    "\U0001d7d9",
    "\u00bd",
    "e\u0301",
    "Europe/London",
    "Nowhere/Else",
    "+10:00",
    "UTC",
    "x" * 10_000,
    " " * 50 + "x",
    "1" * 400,
    "1,234.56",
    "(1)",
    "1-",
]
"""Cells as exports hold them, by accident or by malice."""

VALUES = {
    "column": "{column: x}",
    "template": "{template: '{x}-{y}'}",
    "first_of": "{first_of: [x, y, {constant: 1}]}",
    "lookup": "{lookup: shops, key: [x], value: id}",
    "case": "{case: [{when: \"x > y\", value: x}], else: y}",
    "list": "{list: [x, {object: {a: y}}]}",
    "object": "{object: {a: x, b: {sql: \"x || y\"}}}",
    "typed integer": "{sql: i}",
    "typed decimal": "{sql: d}",
    "typed date": "{sql: t}",
    "typed boolean": "{sql: b}",
    **{f"{kind} of lines": f"{{{kind}: {{sql: {column}}}}}" for kind in ("sum", "first", "last", "min", "max")
       for column in ("i", "d")},
    "count of lines": "{count: \"i > 5 OR d > 0 OR b\"}",
    "min of texts": "{min: x}",
    "max of dates": "{max: {column: x, then: [{datetime: {formats: [iso, epoch_s]}}]}}",
    **{f"then {step}": f"{{column: x, then: [{step}]}}" for step in (
        "trim", "upper", "lower", "title", "digits", "squeeze", "negate", "abs", "unguard",
        "{replace: {pattern: '[^0-9]', with: $1}}",
        "{replace: {pattern: '^(.)(.*)$', with: '$2$1'}}",
        "{pad: {width: 12}}",
        "{slice: {start: -3, length: 2}}",
        "{slice: {start: 100}}",
        "{slice: {start: 0, length: 0}}",
        "{split: {by: '-', index: 5}}",
        "{split: {by: '-', index: -9}}",
        "{map: {values: {a: 1, '1': 2.5, 'true': true}, other: keep}}",
        "{map: {values: {a: x}, other: reject, ignore_case: true}}",
        "{map: {values: {}, other: blank}}",
        "{number: {}}",
        "{number: {decimal: ',', thousands: '. ', currency: [$, x], parentheses: true}}",
        "{number: {trailing_minus: true, thousands: ','}}",
        "{number: {percent: true, minor_units: 4}}",
        "{boolean: {}}",
        "{default: 5}",
        "{round: 4}",
        "{divide_by: y}",
        "{multiply_by: x}",
        "{divide_by: {constant: 0}}",
        "{blank_if: [a]}",
        "{number: {}}, {multiply_by: y}, {multiply_by: y}, {round: 2}",
    )},
    **{f"list of {by}": f"{{column: x, then: [{{list_by: '{by}'}}]}}" for by in (",", "-")},
    **{f"datetime {form} {zone}": f"{{column: x, then: [{{datetime: {{formats: [{form}]{zone}}}}}]}}"
       for form in (
        "iso", "'%Y-%m-%d'", "'%d/%m/%y %H:%M'", "'%Y-%m-%dT%H:%M:%S%z'", "'%Y-%j'", "'%s'",
    ) for zone in ("", ", timezone: {constant: Europe/London}", ", timezone: y",
                   ", timezone: {constant: Europe/London}, nonexistent: shift, ambiguous: second")},
    **{f"datetime {form}": f"{{column: x, then: [{{datetime: {{formats: [{form}]}}}}]}}"
       for form in ("epoch_s", "epoch_ms", "iso, epoch_s", "spreadsheet_days")},
}  # fmt: skip
"""Each kind of value and step, over the texts `x` and `y`, and `i`, `d`, `t` and `b` that `columns` reads."""

TYPES = ("INTEGER", "SMALLINT", "BIGINT", "DECIMAL", "DECIMAL(5, 2)", "DECIMAL(38, 18)", "DATE", "TIMESTAMP")
CASTS = [f"{cast}(x AS {kind})" for cast in ("CAST", "TRY_CAST") for kind in (*TYPES, "BOOLEAN", "VARCHAR")]
FORMULAS = CASTS + [
    formula.strip()
    for formula in """
    i + i ; i - i - i ; i * i ; CAST(i / i AS DECIMAL) ; i % i ; -i ; d + d ; d * d ; d * d * d ; d / d
    d % d ; i * d ; x = y ; x < y ; i = d ; t > DATE '2024-01-01' ; t + INTERVAL '1 day' ; x || i
    x LIKE 'a%' ; x ILIKE '_' ; x ~ 'a' ; x IN ('a', '1') ; i IN (1, 2) ; i BETWEEN 0 AND 9
    b IS NOT TRUE ; x IS NULL ; NOT b ; CASE WHEN i > 0 THEN d ELSE 0 END ; COALESCE(d, 1)
    i IS DISTINCT FROM 5 ; b AND i > 0 OR d < 0 ; CAST(d AS INTEGER) ; CAST(i AS DECIMAL(5, 2))
    CAST(t AS DATE) ; CAST(CAST(x AS DECIMAL) AS INTEGER) * 3 ; EXTRACT(year FROM t)
    DATE_PART('month', t) ; STRFTIME(t, '%Y-%m-%d %H:%M:%S') ; STRPTIME(x, '%Y-%m-%d')
    STRPTIME(x, '%Y') ; STRPTIME(x, '%d/%m/%Y %H:%M') ; STRPTIME(x, '%Y-%m-%dT%H:%M:%S%z') ; DATE(x)
    DATE(x, '%Y%m%d') ; TIMESTAMP(x) ; TIMESTAMP(x, '%s') ; DATE(CAST(x AS TIMESTAMP)) ; SUBSTR(x, i)
    SUBSTR(x, i, i) ; SUBSTRING(x FROM i FOR i) ; LEFT(x, i) ; RIGHT(x, i) ; SPLIT_PART(x, '-', i)
    LPAD(x, 3, '0') ; RPAD(x, 3, ' ') ; POSITION('a' IN x) ; STRPOS(x, y) ; REPLACE(x, 'a', y)
    REPLACE(x, '', 'b') ; REGEXP_LIKE(x, '^[0-9]+$') ; REGEXP_REPLACE(x, '(.)', '$1$1')
    STARTS_WITH(x, y) ; ENDS_WITH(x, y) ; CONCAT(x, y) ; CONCAT_WS('-', x, i) ; GREATEST(i, d)
    LEAST(i, 5) ; NULLIF(x, y) ; IFNULL(x, y) ; IF(b, x, y) ; MOD(i, i) ; DIV(i, i) ; ROUND(d, 2)
    POW(i, 2) ; ABS(i) ; SIGN(d) ; CEIL(d) ; FLOOR(d) ; TRIM(BOTH 'a' FROM x) ; INITCAP(x) ; REVERSE(x)
    UPPER(x) ; LOWER(x) ; LENGTH(x) ; OCTET_LENGTH(x) ; NORMALIZE(x) ; LTRIM(x, 'a')
    CAST(ACOS(d) AS DECIMAL) ; CAST(ACOSD(d) AS DECIMAL) ; CAST(ASIN(d) AS DECIMAL)
    CAST(ASIND(d) AS DECIMAL) ; CAST(ATAN(d) AS DECIMAL) ; CAST(ATAND(d) AS DECIMAL)
    CAST(CBRT(d) AS DECIMAL) ; CAST(CEILING(d) AS DECIMAL) ; CAST(COS(d) AS DECIMAL)
    CAST(COSD(d) AS DECIMAL) ; CAST(COT(d) AS DECIMAL) ; CAST(COTD(d) AS DECIMAL)
    CAST(DEGREES(d) AS DECIMAL) ; CAST(EXP(d) AS DECIMAL) ; CAST(LN(d) AS DECIMAL)
    CAST(LOG10(d) AS DECIMAL) ; CAST(LOG1P(d) AS DECIMAL) ; CAST(LOG2(d) AS DECIMAL)
    CAST(RADIANS(d) AS DECIMAL) ; CAST(SIN(d) AS DECIMAL) ; CAST(SIND(d) AS DECIMAL)
    CAST(SQRT(d) AS DECIMAL) ; CAST(TAN(d) AS DECIMAL) ; CAST(TAND(d) AS DECIMAL)
    CAST(ATAN2(d, d) AS DECIMAL) ; CAST(ATAN2D(d, d) AS DECIMAL) ; CAST(LOG(d, d) AS DECIMAL)
    CAST(POWER(d, d) AS DECIMAL) ; DAY(t) ; DAYOFMONTH(t) ; DAYOFWEEK(t) ; DAYOFYEAR(t) ; HOUR(t)
    MINUTE(t) ; MONTH(t) ; QUARTER(t) ; SECOND(t) ; WEEK(t) ; YEAR(t) ; BIT_LENGTH(x) ; CHAR_LENGTH(x)
    CHARACTER_LENGTH(x) ; RTRIM(x) ; CAST(PI() AS DECIMAL) * d ; TRUNC(d) ; t < NOW()
    ARRAY_CONTAINS(STRING_TO_ARRAY(x, ','), 'a') ; ARRAY_TO_STRING(STRING_TO_ARRAY(x, ','), '-')
    ARRAY_LENGTH(STRING_TO_ARRAY(x, ',')) ; ARRAY_GET(STRING_TO_ARRAY(x, ','), i)
    """.replace("\n", ";").split(";")
    if formula.strip()
]

MAPPING = """
source: {{layout: lines, key: [id], duplicates: keep}}
columns: {{i: integer, d: decimal, t: {{datetime: {{formats: [iso, "%Y-%m-%d %H:%M:%S"]}}}}, b: boolean}}
transaction: {{external_id: id, {field}: {value}}}
"""
LOOKUPS = "lookups: {shops: {file: shops.csv, key: [k]}}\n"


def rows_of(cells: list[str | None]) -> pl.DataFrame:
    """Each cell in each column, beside another in `y`; every line is a transaction."""
    rows = pl.DataFrame(
        {"id": [f"r{n}" for n in range(len(cells))], "x": cells, "y": [*cells[7:], *cells[:7]]}
    )
    rows = rows.with_columns(pl.col("x").alias(name) for name in "idtb" if name != "i")
    return rows.with_columns(
        pl.col("x").alias("i"), pl.lit(0, pl.UInt32).alias(SOURCE), pl.int_range(2, pl.len() + 2).alias(LINE)
    )


ROWS = rows_of([*CELLS, None])
COLUMNS = [name for name in ROWS.columns if not name.startswith("__")]


def check(text: str, directory: Path) -> None:
    """Map all rows at once and in other company: no row may depend on its neighbours."""
    (directory / "shops.csv").write_text("k,id\na,1\n1,2\n")
    spec = spec_of(text + LOOKUPS if "lookup" in text else text)
    rows = ROWS.with_columns(key_hash(ROWS, ["id"]).alias(KEY))
    compiled = compiled_of(spec, {"lines": rows}, directory)
    for key in (pl.lit(1), pl.col(LINE) // 3):
        compiled.apply(build_transactions({"lines": rows.with_columns(key.cast(pl.UInt64).alias(KEY))}, spec))
    whole = compiled.apply(build_transactions({"lines": rows}, spec))
    halves = [compiled.apply(build_transactions({"lines": part}, spec)) for part in (rows[::2], rows[1::2])]
    apart = pl.concat([half.headers.drop(TX) for half in halves]).sort(LINE)
    assert whole.headers.drop(TX).equals(apart)
    assert whole.problems.height == sum(half.problems.height for half in halves)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_no_cell_stops_a_value_or_step(value: str, tmp_path: Path) -> None:
    field = "meta" if value.startswith("{object") else "custom_fields" if "{list" in value else "receipt_ref"
    field = "tags" if "list_by" in value else field
    check(MAPPING.format(field=field, value=value), tmp_path)


@pytest.mark.parametrize("field", ["total", "is_void", "currency", "timezone"])
def test_no_cell_stops_a_field(field: str, tmp_path: Path) -> None:
    check(MAPPING.format(field=field, value="x"), tmp_path)


@pytest.mark.parametrize("sql", FORMULAS)
def test_no_cell_stops_a_formula(sql: str, tmp_path: Path) -> None:
    members = f'a: {{sql: "{sql}"}}, b: {{max: {{sql: "{sql}"}}}}'
    check(MAPPING.format(field="meta", value=f"{{object: {{{members}}}}}"), tmp_path)


def test_every_function_meets_nasty_cells() -> None:
    everything = " ".join(FORMULAS)
    assert {name for name in FUNCTIONS if f"{name}(" not in everything} == set()


WHOLE = """
source: {{layout: {layout}, key: [id], duplicates: keep{more}}}
columns: {{d: decimal, i: integer}}
define: {{item: {names[0]}, tender: {names[1]}, amount: {names[2]}}}
transaction:
  external_id: id
  transacted_at: {{column: x, then: [{{datetime: {{formats: [iso]}}}}]}}
  total: d
completion: {{status: x, other: complete, paid: y, void: [a], draft: {{sql: "i = 5"}}}}
profile: [{{value: x, handle: email}}, {{value: y}}]
payments_form: amounts
payments: [{{tender: tender, amount: amount}}]
refund: {{when: "d < 0"}}
"""
ITEMS = """
items: {external_id: item, name: item, quantity: item, price_current: item, price_sell: item}
lines:
  discount: "item LIKE 'A%'"
  discount_amount: item
  discount_reason: item
  skip: ["item = '0'"]
reward: {amount: y}
"""
MORE = {
    "records": ", records: {column: kind, header: [H], item: [I], payment: [P]}",
    "nested": ", nested: {items: x, payments: y}",
}
LAYOUTS = ["lines", "first_row", "records", "nested", "headers"]


@pytest.mark.parametrize("items", [ITEMS, ""], ids=["items", "no items"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_cell_stops_a_layout(layout: str, items: str) -> None:
    names = ("items.a", "payments.b", "payments.a") if layout == "nested" else ("x", "x", "y")
    text = WHOLE.format(layout=layout, more=MORE.get(layout, ""), names=names)
    spec = spec_of(text if layout == "headers" else text + items)
    kinds = pl.Series("kind", ["H", "I", "P", "Z"] * ROWS.height).head(ROWS.height)
    for key in (pl.col("id").hash(), pl.col(LINE) // 5, pl.lit(None)):
        rows = ROWS.with_columns(kinds, key.cast(pl.UInt64).alias(KEY))
        tables = {"lines": rows}
        mapped = compiled_of(spec, tables).apply(build_transactions(tables, spec))
        verdict = decide_outcomes(mapped, Policy(), datetime(2026, 1, 1, tzinfo=UTC))
        encode(verdict.transactions("accepted"), mapped.items)
        assert verdict.outcomes.height == mapped.headers.height
