"""SQL formulas and templates."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from decimal import Decimal

import polars as pl
import pytest

from pipeline.core.model import LINE
from pipeline.mapping.functions.formulas import (
    compile_formula,
    in_words,
    parse_formula,
    sql_columns,
    template_columns,
    template_parts,
)
from pipeline.mapping.language.mapping_errors import FormulaError
from tests.mapping.mapping_cases import mapped_of, problem_rows


def computed(rows: pl.DataFrame, sql: str) -> pl.Series:
    """What a formula gives over some rows."""
    return both(rows, sql)[0]


def both(rows: pl.DataFrame, sql: str) -> tuple[pl.Series, list[object]]:
    """What a formula gives over some rows, and the cells that could not be read."""
    frame = rows

    def keep(expression: pl.Expr) -> str:
        nonlocal frame
        name = f"__{frame.width}"
        frame = frame.with_columns(expression.alias(name))
        return name

    def type_of(expression: pl.Expr) -> pl.DataType:
        try:
            return frame.clear().select(expression.alias("it")).dtypes[0]
        except pl.exceptions.PolarsError as error:
            raise FormulaError(str(error).splitlines()[0]) from None

    compiled = compile_formula(sql, type_of, keep)
    failed = pl.lit(None) if compiled.failed is None else compiled.failed
    found = frame.with_columns(compiled.value.alias("__value"), failed.alias("__failed"))
    return found["__value"], found["__failed"].to_list()


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("quantity * rrp", ("quantity", "rrp")),
        ('"Net Sales" - "Tax"', ("Net Sales", "Tax")),
        ("CASE WHEN a = 'b' THEN c ELSE a END", ("c", "a")),
        ("true", ()),
    ],
)
def test_columns_of_a_formula(sql: str, columns: tuple[str, ...]) -> None:
    assert sorted(sql_columns(sql)) == sorted(columns)


@pytest.mark.parametrize(
    "sql",
    [
        "SUM(a)",
        "a - SUM(a)",
        "COUNT(*)",
        "ROW_NUMBER() OVER ()",
        "LAG(a) OVER (ORDER BY b)",
        "MAX(a) OVER (PARTITION BY b)",
        "FIRST(a)",
        "MEDIAN(a)",
    ],
)
def test_formulas_over_other_rows_are_refused(sql: str) -> None:
    with pytest.raises(FormulaError, match="looks at other rows"):
        parse_formula(sql)


@pytest.mark.parametrize("sql", ["a ||", "", "SELECT 1", "nosuch(a)", "read_csv('/etc/passwd')", "*"])
def test_what_is_no_formula_is_refused(sql: str) -> None:
    with pytest.raises(FormulaError):
        parse_formula(sql)


def test_words_of_the_mapping_are_not_taken_for_functions() -> None:
    assert sql_columns("a = 'Agg' OR \"Len\" = 'Over'") == ("a", "Len")


def test_money_stays_decimal_and_dividing_by_nothing_gives_nothing() -> None:
    rows = pl.DataFrame(
        {"a": [Decimal("10.00"), Decimal("1.10"), None], "b": [Decimal(4), Decimal(0), Decimal(1)]}
    )
    assert computed(rows, "a / b").to_list() == [Decimal("2.5"), None, None]
    assert computed(rows, "a % b").to_list() == [Decimal(2), None, None]
    found = computed(rows, "a * 0.1")
    assert found.dtype == pl.Decimal
    assert found.to_list() == [Decimal("1.0"), Decimal("0.11"), None]
    nested = computed(rows, "CASE WHEN a > 5 THEN 1 / (b - b) ELSE a / (a / b) END")
    assert nested.to_list() == [None, None, None]


def test_templates() -> None:
    assert template_parts("{store}-{ no }{{x}}") == (
        ("store", True),
        ("-", False),
        ("no", True),
        ("{x}", False),
    )
    assert template_columns("{a}{b}{a}") == ("a", "b")
    assert template_parts("plain") == (("plain", False),)


@pytest.mark.parametrize("text", ["{a", "a}", "{}", "{ }", "{a{b}}"])
def test_templates_with_a_lone_brace(text: str) -> None:
    with pytest.raises(FormulaError, match="brace"):
        template_parts(text)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a IS TRUE", [True, False, False]),
        ("a is not  true", [False, True, True]),
        ("a IS FALSE", [False, True, False]),
        ("a IS NOT FALSE", [True, False, True]),
        ("NOT a IS TRUE AND a IS NOT FALSE", [False, False, True]),
        ("CASE WHEN a THEN 'it IS TRUE' ELSE 'it''s not' END = 'it IS TRUE'", [True, False, False]),
    ],
)
def test_blanks_are_neither_true_nor_false(sql: str, expected: list[bool]) -> None:
    rows = pl.DataFrame({"a": [True, False, None]})
    assert computed(rows, sql).to_list() == expected


NASTY = [
    "",
    "abc",
    "2024-13-01",
    "2024-02-30",
    "1E999999",
    "9" * 40,
    "-",
    "0",
    "-1",
    "\x00",
    "é",
    "NaN",
    "inf",
    "0x1F",
]
"""Cells that no cast takes, or that lie at its edge."""


@pytest.mark.parametrize(
    ("sql", "cell", "value"),
    [
        ("CAST(c AS INTEGER)", "7", 7),
        ("CAST(c AS BIGINT)", "7000000000", 7_000_000_000),
        ("c::INT * 2", "3000000000", 6_000_000_000),
        ("CAST(c AS DECIMAL(10, 2))", "1.25", Decimal("1.25")),
        ("CAST(c AS BOOLEAN)", "yes", True),
        ("CAST(c AS DATE)", "2024-02-29", date(2024, 2, 29)),
        ("CAST(c AS DATE)", "2024-02-29T10:00", date(2024, 2, 29)),
        ("CAST(c AS TIMESTAMP)", "2024-02-29 10:11:12", datetime(2024, 2, 29, 10, 11, 12)),
        ("DATE(c)", "2024-02-29", date(2024, 2, 29)),
        ("DATE(c, '%d.%m.%Y')", "29.02.2024", date(2024, 2, 29)),
        ("STRPTIME(c, '%d/%m/%Y %H:%M')", "29/02/2024 10:11", datetime(2024, 2, 29, 10, 11)),
        ("TIMESTAMP(c, '%d/%m/%Y %H:%M')", "29/02/2024 10:11", datetime(2024, 2, 29, 10, 11)),
        ("EXTRACT(year FROM STRPTIME(c, '%d/%m/%Y %H:%M'))", "29/02/2024 10:11", 2024),
        ("STRFTIME(CAST(c AS DATE), '%d')", "2024-02-29", "29"),
    ],
)
def test_a_cell_that_a_cast_does_not_take_is_named_and_the_others_are_computed(
    sql: str, cell: str, value: object
) -> None:
    odd = [
        c for c in NASTY if not ("INT" in sql or "DECIMAL" in sql or "BOOLEAN" in sql) or c not in ("0", "-1")
    ]
    found, failed = both(pl.DataFrame({"c": [cell, None, *odd]}), sql)
    assert found.to_list() == [value, *[None] * (len(odd) + 1)]
    assert failed == [None, None, *odd]


@pytest.mark.parametrize(
    ("sql", "values", "failed"),
    [
        ("COALESCE(CAST(c AS INTEGER), 0)", [1, None, 0], [None, "x", None]),
        ("COALESCE(TRY_CAST(c AS INTEGER), 0)", [1, 0, 0], [None, None, None]),
        ("CASE WHEN c = 'x' THEN 5 ELSE CAST(c AS INTEGER) END", [1, 5, None], [None, None, None]),
        ("CASE WHEN CAST(c AS INTEGER) > 0 THEN 1 ELSE 2 END", [1, None, 2], [None, "x", None]),
        ("CASE c WHEN 'x' THEN 5 ELSE c::INT END", [1, 5, None], [None, None, None]),
        ("c <> 'x' AND CAST(c AS INTEGER) > 0", [True, False, None], [None, None, None]),
        ("c = 'x' OR CAST(c AS INTEGER) > 0", [True, True, None], [None, None, None]),
        ("CAST(c AS INTEGER) IS NULL", [False, None, True], [None, "x", None]),
        ("IF(c = 'x', 0, CAST(c AS INTEGER))", [1, 0, None], [None, None, None]),
        ("CAST(CAST(c AS DECIMAL) AS INTEGER) + 1", [2, None, None], [None, "x", None]),
        ("CASE WHEN c = 'x' THEN CAST(c AS INTEGER) END", [None, None, None], [None, "x", None]),
        ("CASE WHEN c <> 'x' THEN CAST(c AS INTEGER) ELSE 5 END", [1, 5, 5], [None, None, None]),
        ("c <> '1' AND CAST(c AS INTEGER) > 0", [False, None, None], [None, "x", None]),
        ("c = '1' OR CAST(c AS INTEGER) > 0", [True, None, None], [None, "x", None]),
        ("IFNULL(CAST(c AS INTEGER), 7)", [1, None, 7], [None, "x", None]),
        ("GREATEST(CAST(c AS INTEGER), 0)", [1, None, 0], [None, "x", None]),
        ("CAST(c AS INTEGER) IN (1, 2)", [True, None, None], [None, "x", None]),
    ],
)
def test_a_cell_counts_as_unreadable_only_where_the_value_depends_on_it(
    sql: str, values: list[object], failed: list[object]
) -> None:
    found, unread = both(pl.DataFrame({"c": ["1", "x", None]}), sql)
    assert (found.to_list(), unread) == (values, failed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sql", "value", "failed"),
    [
        ("COALESCE(CAST(c AS INTEGER), CAST(d AS INTEGER))", [1, None, None, 2], [None, "y", "x", None]),
        ("c = 'q' AND CAST(d AS INTEGER) > 0", [False, None, False, None], [None, "y", None, None]),
        ("c = 'q' OR CAST(d AS INTEGER) > 0", [None, None, True, True], ["x", "y", None, None]),
        ("CAST(c AS INTEGER) + CAST(d AS INTEGER)", [None, None, None, None], ["x", "y", "x", None]),
    ],
)
def test_the_first_cell_that_the_value_depends_on_is_named(
    sql: str, value: list[object], failed: list[str | None]
) -> None:
    rows = pl.DataFrame({"c": ["1", None, "x", None], "d": ["x", "y", "3", "2"]})
    found, unread = both(rows, sql)
    assert (found.to_list(), unread) == (value, failed)


@pytest.mark.parametrize(
    ("sql", "cell", "value"),
    [
        ("STRPTIME(c, '%Y-%m-%d %H:%M %z')", "2024-02-29 10:00 +0200", datetime(2024, 2, 29, 8)),
        ("DATE(c, '%Y-%m-%d %H:%M %z')", "2024-02-29 00:30 +0200", date(2024, 2, 28)),
        ("CAST(c AS DATE)", " 2024-02-29 ", date(2024, 2, 29)),
        ("CAST(c AS TIMESTAMP)", "2024-02-29T10:11", datetime(2024, 2, 29, 10, 11)),
        ("CAST(c AS TIME)", " 10:11:12 ", time(10, 11, 12)),
        ("CAST(c AS BOOLEAN)", " no ", False),
        ("TIMESTAMP(c)", "2024-02-29", datetime(2024, 2, 29)),
        ("CAST(c AS DOUBLE)", "inf", None),
        ("DATE '2024-12-31' > CAST(c AS DATE)", "2024-12-30", True),
        ("LPAD(c, 0 - 1, '0')", "ab", ""),
        ("LPAD(c, 4, '0')", "ab", "00ab"),
        ("SUBSTRING(c, 1, 0 - 1)", "ab", ""),
        ("SUBSTR(c, 2, 1)", "abc", "b"),
        ("7 / 0.50", "ab", Decimal(14)),
        ("LENGTH(c) / 0", "ab", None),
        ("MOD(LENGTH(c), 0)", "ab", None),
    ],
)
def test_what_a_cell_becomes(sql: str, cell: str, value: object) -> None:
    assert computed(pl.DataFrame({"c": [cell]}), sql).to_list() == [value]


def test_a_text_that_is_no_date_is_blank_where_that_is_asked_for() -> None:
    found, failed = both(pl.DataFrame({"c": ["x"]}), "TRY_CAST('2024-13-01' AS DATE)")
    assert (found.to_list(), failed) == ([None], [None])


def test_a_column_that_could_not_be_read_is_not_stood_in_for() -> None:
    mapped = mapped_of(
        """
        source: {layout: lines, key: [id]}
        columns: {n: integer}
        transaction:
          total: {sql: "COALESCE(n, 0)"}
          margin: {case: [{when: "n > 5", value: {constant: 1}}], else: {constant: 2}}
        items: {quantity: n}
        lines: {skip: ["n = 0"]}
        """,
        "id,n\n1,7\n2,x\n3,\n",
    )
    headers = mapped.headers
    assert headers.select("total", "total|raw", "margin", "margin|raw").rows() == [
        (Decimal("7.0000"), None, Decimal("1.0000"), None),
        (None, "x", None, "x"),
        (Decimal("0.0000"), None, Decimal("2.0000"), None),
    ]
    assert problem_rows(mapped.problems, "code", "field", "value", LINE) == [
        ("field_invalid", "lines", "x", 3)
    ]


@pytest.mark.parametrize(
    "sql",
    [
        *("n * n", "n + n", "0 - n - n - 2", "CASE WHEN n * n > 0 THEN 1 END", "LENGTH(t) - 9"),
        *(
            "(15 - LENGTH(t)) * 1000000000",
            "EXTRACT(YEAR FROM d) * 1070000",
            "0 - EXTRACT(YEAR FROM d) * 1060000 - 3000000",
        ),
    ],
)
def test_whole_numbers_that_run_over_are_no_numbers(sql: str) -> None:
    days = [date(2024, 1, 1), date(3, 1, 1)]
    rows = pl.DataFrame({"n": [2**62, 3], "t": ["abc", "abcdefghijkl"], "d": days})
    found, failed = both(rows, sql)
    if sql == "LENGTH(t) - 9":
        assert found.to_list() in ([-6, 3], [None, 3])
    else:
        assert found.to_list()[0] is None
        assert failed[0] is not None
        assert failed[1] is None


@pytest.mark.parametrize(
    "sql",
    [
        "SUBSTR(c, n, n)",
        "SUBSTRING(c, n, n)",
        "SUBSTR(c, n)",
        "LEFT(c, n)",
        "RIGHT(c, n)",
        "LPAD(c, n, '0')",
        "RPAD(c, n, '0')",
        "SPLIT_PART(c, '-', n)",
        "c || n",
        "n / n",
        "n % n",
        "MOD(n, n)",
        "DIV(n, n)",
        "REGEXP_REPLACE(c, '[^0-9]', '')",
        "REPLACE(c, '', 'x')",
        "INITCAP(c)",
    ],
)
def test_odd_arguments_stop_no_formula(sql: str) -> None:
    rows = pl.DataFrame({"c": [*NASTY], "n": [-3, -1, 0, 1, 2, 10**3, *range(len(NASTY) - 6)]})
    assert computed(rows, sql).len() == rows.height


@pytest.mark.parametrize("sql", ["DIV(n, by)", "MOD(n, by)", "n % by"])
@pytest.mark.parametrize("kind", [pl.Int64(), pl.Decimal(38, 6)])
def test_a_division_by_nothing_is_blank_and_not_wrong(sql: str, kind: pl.DataType) -> None:
    rows = pl.DataFrame({"n": [7, 7], "by": [0, 7]}).cast(kind)
    found, failed = both(rows, sql)
    assert found.to_list()[0] is None
    assert list(failed) == [None, None]


@pytest.mark.parametrize(
    ("sql", "message", "at"),
    [
        (
            "Price * COALECSE(a, 1)",
            "uses COALECSE, which is not a function of formulas; did you mean 'COALESCE'",
            8,
        ),
        ("a + + ", "something is missing here", 4),
        ("order.total > 1", 'stands in double quotes: "order.total"', 6),
        ("a > (SELECT 1)", "Subquery is not part of formulas", None),
        ("CAST(a AS COLOUR)", "casts to an unknown type", None),
        ("DATE '2024-13-01' = b", "'2024-13-01' is not a date", None),
        ("STRPTIME(a, b)", "needs a text and its format", None),
        ("STRPTIME(n, '%Y')", "reads texts, and this is a number", None),
        ("STRPTIME(a, '%d/%m/%Q')", "'%d/%m/%Q' is no format", None),
        ("CAST(n AS DATE)", "makes a date of a number", None),
        ("REGEXP_LIKE(a, '(')", "regex parse error", None),
        ("STRPTIME(a)", "needs a text and its format", None),
        ("(a = 'b'", "every ( needs its )", 5),
        ("*", "gives several columns, since `*` stands for many", None),
        ('"^a.*$" = 1', "names from `^` to `$` stand for many", None),
        ("a = 1; b", "one expression was expected", None),
        ("(" * 3_000 + "a" + ")" * 3_000, "is nested too deep", None),
        ("a = n", "text unless `columns` says otherwise: `a`", None),
    ],
)
def test_what_is_wrong_with_a_formula_is_said_with_its_place(sql: str, message: str, at: int | None) -> None:
    rows = pl.DataFrame(schema={"a": pl.String, "b": pl.Date, "n": pl.Int64, "Price": pl.Int64})
    with pytest.raises(FormulaError, match=re.escape(message)) as error:
        computed(rows, sql)
    assert error.value.at == at


@pytest.mark.parametrize(
    ("sql", "cause"),
    [
        ("a = 'b", "; a quote is not closed"),
        ('"a = b', "; a quote is not closed"),
        ("[a", "; every [ needs its ]"),
        ("a b 'c' 'd'", ""),
        ('a b "c" "d"', ""),
        ("a = '(' AND b = '(' c c", ""),
    ],
)
def test_a_likely_cause_is_said_where_it_is_certain(sql: str, cause: str) -> None:
    with pytest.raises(FormulaError) as error:
        parse_formula(sql)
    assert ("needs its" in str(error.value) or "not closed" in str(error.value)) is bool(cause)
    assert str(error.value).endswith(cause)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        *((pl.Int64(), "a number"), (pl.Decimal(38, 12), "a number"), (pl.Float64(), "a number")),
        *((pl.String(), "text"), (pl.Boolean(), "true or false"), (pl.Null(), "nothing")),
        *(
            (pl.Date(), "a date"),
            (pl.Time(), "a time without a date"),
            (pl.Datetime("us"), "a date and time"),
        ),
        *((pl.Duration("us"), "a span of time"), (pl.List(pl.String()), "a list")),
    ],
    ids=str,
)
def test_types_have_words_for_messages(dtype: pl.DataType, words: str) -> None:
    assert in_words(dtype) == words
