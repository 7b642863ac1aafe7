"""What a value becomes in a field of each kind, and the text that is kept where it cannot."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from pipeline.core.model import LINE
from tests.mapping.mapping_cases import mapped_of, problem_rows

HEADERS = """
source: {{layout: headers, key: [id]}}
columns: {{n: integer, price: decimal}}
transaction:
  external_id: id
  {field}
"""


ISO = "{column: x, then: [{datetime: {formats: [iso]}}]}"


def headers_of(field: str, rows: str) -> list[tuple[object, ...]]:
    """The field and its text, for rows of the columns `id` and what the rows name first."""
    name = field.split(":")[0]
    return mapped_of(HEADERS.format(field=field), rows).headers.select(name, f"{name}|raw").rows()


@pytest.mark.parametrize(
    ("field", "cell", "value", "raw"),
    [
        ("total: x", "1.50", Decimal("1.5"), "1.50"),
        ("total: x", "abc", None, "abc"),
        ("total: x", "", None, None),
        ("total: {sql: n * 2}", "3", Decimal(6), None),
        ("is_void: x", "yes", True, "yes"),
        ("is_void: x", "perhaps", None, "perhaps"),
        ("is_void: {sql: n > 2}", "3", True, None),
        (f"transacted_at: {ISO}", "2024-01-02", datetime(2024, 1, 2), "2024-01-02"),
        (f"transacted_at: {ISO}", "soon", None, "soon"),
        ("timezone: x", "melbourne", "Australia/Melbourne", "melbourne"),
        ("timezone: x", "Nowhere", None, "Nowhere"),
        ("timezone: x", "", None, None),
    ],
)
def test_values_of_a_transaction(field: str, cell: str, value: object, raw: str | None) -> None:
    assert headers_of(field, f"id,x,n,price\n1,{cell},{cell if cell.isdigit() else ''},\n") == [(value, raw)]


@pytest.mark.parametrize(
    ("quantity", "cell", "value", "raw"),
    [
        ("x", "2", 2, "2"),
        ("x", "2.0", 2, "2.0"),
        ("x", "1.5", None, "1.5"),
        ("n", "2", 2, "2"),
        ("price", "2.0", 2, "2.0"),
        ("price", "1.5", None, "1.5"),
        ("{sql: n * 2}", "2", 4, None),
        ("{sql: price * 1.5}", "1", None, "1.5"),
        ("{sql: price * 2}", "1", 2, "2"),
    ],
)
def test_quantities_are_whole_numbers(quantity: str, cell: str, value: int | None, raw: str | None) -> None:
    spec = (
        "source: {layout: lines, key: [id]}\ncolumns: {n: integer, price: decimal}\n"
        f"transaction: {{external_id: id}}\nitems: {{quantity: {quantity}}}\n"
    )
    found = mapped_of(spec, f"id,x,n,price\n1,{cell},{cell if '.' not in cell else ''},{cell}\n")
    assert found.items.select("quantity", "quantity|raw").rows() == [(value, raw)]


def test_a_total_with_more_than_four_decimals_is_rounded_and_said() -> None:
    found = mapped_of(
        HEADERS.format(field="total: x"), "id,x,n,price\n1,1.00005,,\n2,1.0001,,\n3,,,\n4,odd,,\n"
    )
    assert found.headers["total"].to_list() == [Decimal("1.0001"), Decimal("1.0001"), None, None]
    assert problem_rows(found.problems, "code", "field", "value", LINE) == [
        ("total_rounded", "total", "1.00005", 2)
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [("total: {sql: n * 1000000}", "900000000000000"), ("rounding: {sql: n * 1000000}", "900000000000000")],
)
def test_a_computed_amount_that_does_not_fit_is_reported(field: str, value: str) -> None:
    found = mapped_of(HEADERS.format(field=field), "id,n,price\n1,900000000,\n2,9,\n3,,\n")
    name = field.split(":")[0]
    assert found.headers[name].to_list() == [None, Decimal(9_000_000), None]
    assert problem_rows(found.problems, "field", "value", LINE) == [(name, value, 2)]
    assert "more than 11 digits" in found.problems["message"][0]


@pytest.mark.parametrize("formats", ["[iso]", "['%d.%m.%Y %H:%M:%S', iso]"])
def test_a_time_says_how_the_clock_was_read(formats: str) -> None:
    step = f"{{datetime: {{formats: {formats}, ambiguous: first}}}}"
    field = f"transacted_at: {{column: x, then: [{step}]}}\n  timezone: {{constant: Australia/Melbourne}}"
    cells = ["2023-04-02 02:30:00", "2022-10-02 02:30:00", "2024-01-01 12:00:00", "soon", ""]
    rows = "\n".join(f"{n},{cell},,7" for n, cell in enumerate(cells))
    headers = mapped_of(HEADERS.format(field=field), f"id,x,n,price\n{rows}\n").headers
    assert headers["transacted_at|ambiguous"].to_list() == [True, False, False, False, False]
    assert headers["transacted_at|nonexistent"].to_list() == [False, True, False, False, False]
    assert headers["transacted_at|local"].null_count() == 2
    assert ("transacted_at|format" in headers.columns) is formats.startswith("['")


def test_a_text_refuses_what_is_no_text() -> None:
    tags = mapped_of(HEADERS.format(field="tags: x"), "id,x,n,price\n1,a,,\n2,,,\n").headers
    assert tags["tags"].to_list() == ['["a"]', None]
