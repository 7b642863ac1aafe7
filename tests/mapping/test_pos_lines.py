"""The reference mapping against its format note: every field, and each outcome it must prepare."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline.mapping.language.mapping_file import load_mapping
from pipeline.mapping.language.spec import MappingSpec
from tests.mapping.mapping_cases import mapped_of, problem_rows

HEADER = (
    "receipt_no,store_code,register,sale_datetime,status,customer_email,loyalty_card,staff_code,"
    "sale_total,tender_type,tender_amount,line_no,sku,description,quantity,rrp,unit_price,tax"
)
ROW = {
    "receipt_no": "R1",
    "store_code": "ST0105",
    "register": "3",
    "sale_datetime": "11/07/2024 01:39:36",
    "status": "COMPLETED",
    "customer_email": "ann@example.com",
    "loyalty_card": "",
    "staff_code": "S024",
    "sale_total": "37.40",
    "tender_type": "EFTPOS",
    "tender_amount": "37.40",
    "line_no": "1",
    "sku": "SKU1",
    "description": "Shirt",
    "quantity": "2",
    "rrp": "20.00",
    "unit_price": "18.70",
    "tax": "3.40",
}


@pytest.fixture(scope="module")
def spec() -> MappingSpec:
    path = Path(__file__).parents[2] / "mappings" / "pos_lines.yaml"
    return load_mapping(str(path)).spec


def rows(*changes: dict[str, str]) -> str:
    quoted = [
        ",".join('"' + v.replace('"', '""') + '"' for v in (ROW | change).values()) for change in changes
    ]
    return "\n".join([HEADER, *quoted])


def header(spec: MappingSpec, **changes: str) -> dict[str, object]:
    return mapped_of(spec, rows(changes)).headers.row(0, named=True)


def item(spec: MappingSpec, **changes: str) -> dict[str, object]:
    return mapped_of(spec, rows(changes)).items.row(0, named=True)


def test_every_field_of_the_format_note(spec: MappingSpec) -> None:
    second = {
        "line_no": "2",
        "sku": "SKU2",
        "description": "Cap",
        "quantity": "1",
        "rrp": "5.5",
        "unit_price": "0",
    }
    mapped = mapped_of(spec, rows({}, second))
    assert mapped.problems.is_empty()
    assert (
        mapped.headers.drop("__tx", "__source", "__line").row(0, named=True).items()
        >= {
            "external_id": "ST0105-3-R1",
            "receipt_ref": "R1",
            "transacted_at": datetime(2024, 7, 10, 15, 39, 36),
            "timezone": "Australia/Melbourne",
            "location_id": "ST0105",
            "staff_id": "S024",
            "currency": "AUD",
            "total": Decimal("37.4"),
            "total_original": Decimal("45.5"),
            "payments": '["EFTPOS"]',
            "profile_id": "ann@example.com",
            "profile_id_handle": "email",
            "is_void": None,
            "paid": Decimal("37.4"),
            "items_total": Decimal("37.4"),
            "items_count": 2,
            "status|outcome": "complete",
            "payments_total": None,
        }.items()
    )
    assert mapped.items.select(
        "external_id", "name", "sku", "quantity", "price_original", "price_current", "price_sell", "price_tax"
    ).rows() == [
        ("ST0105-3-R1-1", "Shirt", "SKU1", 2, Decimal(20), Decimal(20), Decimal("18.7"), Decimal("3.4")),
        ("ST0105-3-R1-2", "Cap", "SKU2", 1, Decimal("5.5"), Decimal("5.5"), Decimal(0), Decimal("3.4")),
    ]
    types = {"total": pl.Decimal(15, 4), "transacted_at": pl.Datetime("us"), "external_id": pl.String}
    assert {name: mapped.headers.schema[name] for name in types} == types


@pytest.mark.parametrize(
    ("status", "outcome", "is_void"),
    [
        ("COMPLETED", "complete", None),
        ("REFUND", "complete", None),
        ("VOID", "void", True),
        ("DRAFT", "draft", None),
        ("PARKED", "draft", None),
        ("LAYBY", "partially_paid", None),
        (" completed ", "complete", None),
        ("LOST", None, None),
        ("", None, None),
    ],
)
def test_status(spec: MappingSpec, status: str, outcome: str | None, is_void: bool | None) -> None:
    found = header(spec, status=status)
    assert (found["status|outcome"], found["is_void"], found["status|raw"]) == (
        outcome,
        is_void,
        status.strip() or None,
    )


@pytest.mark.parametrize(
    ("cell", "utc", "raw", "local", "ambiguous", "nonexistent"),
    [
        ("", None, None, None, False, False),
        ("31/02/2021 10:00:00", None, "31/02/2021 10:00:00", None, False, False),
        ("01/02/21 10:00:00", None, "01/02/21 10:00:00", None, False, False),
        ("2021-02-01 10:00:00", None, "2021-02-01 10:00:00", None, False, False),
        (
            "02/10/2022 02:30:00",
            None,
            "02/10/2022 02:30:00",
            datetime(2022, 10, 2, 2, 30),
            False,
            True,
        ),
        (
            "02/04/2023 02:30:00",
            datetime(2023, 4, 1, 15, 30),
            "02/04/2023 02:30:00",
            datetime(2023, 4, 2, 2, 30),
            True,
            False,
        ),
        (
            "01/01/2099 09:00:00",
            datetime(2098, 12, 31, 22),
            "01/01/2099 09:00:00",
            datetime(2099, 1, 1, 9),
            False,
            False,
        ),
    ],
)
def test_sale_datetime(
    spec: MappingSpec,
    cell: str,
    utc: datetime | None,
    raw: str | None,
    local: datetime | None,
    ambiguous: bool,
    nonexistent: bool,
) -> None:
    found = header(spec, sale_datetime=cell)
    assert (
        found["transacted_at"],
        found["transacted_at|raw"],
        found["transacted_at|local"],
        found["transacted_at|ambiguous"],
        found["transacted_at|nonexistent"],
    ) == (utc, raw, local, ambiguous, nonexistent)


@pytest.mark.parametrize(
    ("cell", "total", "raw"),
    [("", None, None), ("N/A", None, "N/A"), ("-5", Decimal(-5), "-5"), (" 7.10 ", Decimal("7.1"), "7.10")],
)
def test_total(spec: MappingSpec, cell: str, total: Decimal | None, raw: str | None) -> None:
    found = header(spec, sale_total=cell)
    assert (found["total"], found["total|raw"]) == (total, raw)


@pytest.mark.parametrize(
    ("cell", "total"), [("1.00005", "1.0001"), ("-1.00005", "-1.0001"), ("2.000049", "2.0000")]
)
def test_total_with_too_many_places_is_rounded_away_from_zero_and_reported(
    spec: MappingSpec, cell: str, total: str
) -> None:
    mapped = mapped_of(spec, rows({"sale_total": cell}))
    assert mapped.headers["total"][0] == Decimal(total)
    assert problem_rows(mapped.problems, "code", "field", "value", "__line") == [
        ("total_rounded", "total", cell, 2)
    ]


@pytest.mark.parametrize(
    ("cell", "quantity"),
    [("2", 2), ("-1", -1), ("2.0", 2), ("+2", 2), ("1.5", None), ("two", None), ("1e999", None)],
)
def test_quantity(spec: MappingSpec, cell: str, quantity: int | None) -> None:
    found = item(spec, quantity=cell)
    assert (found["quantity"], found["quantity|raw"]) == (quantity, cell)


def test_an_unreadable_quantity_leaves_no_half_sum(spec: MappingSpec) -> None:
    mapped = mapped_of(spec, rows({}, {"line_no": "2", "quantity": "two"}))
    found = mapped.headers.row(0, named=True)
    assert found["total_original"] is None
    assert found["total_original|raw"] == "two"
    assert found["items_total"] is None
    assert found["items_count"] == 2


@pytest.mark.parametrize(
    ("email", "card", "profile", "handle", "raw"),
    [
        ("ann@example.com", "LC1", "ann@example.com", "email", "ann@example.com"),
        ("", "LC1", "LC1", "loyalty-card", "LC1"),
        ("  ", "LC1", "LC1", "loyalty-card", "LC1"),
        ("", "", None, None, None),
        ("not-an-email", "LC1", None, None, "not-an-email"),
        ("a@b", "", None, None, "a@b"),
        ("a b@example.com", "", None, None, "a b@example.com"),
        ("a@example..com", "", None, None, "a@example..com"),
        (
            "ann.o'neil+x@mail.example.co",
            "",
            "ann.o'neil+x@mail.example.co",
            "email",
            "ann.o'neil+x@mail.example.co",
        ),
    ],
)
def test_profile(
    spec: MappingSpec, email: str, card: str, profile: str | None, handle: str | None, raw: str | None
) -> None:
    found = header(spec, customer_email=email, loyalty_card=card)
    assert (found["profile_id"], found["profile_id_handle"], found["profile_id|raw"]) == (
        profile,
        handle,
        raw,
    )


def test_rows_that_disagree_name_the_column_and_both_cells(spec: MappingSpec) -> None:
    mapped = mapped_of(spec, rows({}, {"line_no": "2", "sale_total": "37.45"}))
    assert mapped.headers.height == 1
    assert problem_rows(mapped.problems, "code", "field", "value", "__line", "message") == [
        (
            "header_conflict",
            "sale_total",
            "37.45",
            3,
            "`sale_total` is 37.40 on line 2 and 37.45 here.",
        )
    ]


def test_a_row_that_is_there_twice_counts_once(spec: MappingSpec) -> None:
    mapped = mapped_of(spec, rows({}, {"line_no": "2"}, {}))
    assert mapped.items["external_id"].to_list() == ["ST0105-3-R1-1", "ST0105-3-R1-2"]
    assert problem_rows(mapped.problems) == [("duplicate_row", 4)]


def test_an_amount_paid_that_cannot_be_read_is_reported(spec: MappingSpec) -> None:
    mapped = mapped_of(spec, rows({"tender_amount": "lots"}))
    assert mapped.headers["paid"].to_list() == [None]
    assert problem_rows(mapped.problems, "code", "field", "value") == [("field_invalid", "paid", "lots")]
