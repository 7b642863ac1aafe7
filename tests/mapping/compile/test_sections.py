"""Sections that are more than fields: completion, profile, payments."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.core.model import LINE
from tests.mapping.mapping_cases import mapped_of, problem_rows

HEADERS = "source: {layout: headers, key: [id]}\ntransaction: {external_id: id}\n"


@pytest.mark.parametrize(
    ("section", "outcomes"),
    [
        ("status: s, complete: [PAID, ok], draft: [held]", ["complete", "complete", "draft", None, None]),
        (
            "status: s, complete: [paid], draft: [held], other: excluded",
            ["complete", "excluded", "draft", "excluded", "excluded"],
        ),
        ("status: s, draft: [held]", [None, None, "draft", None, None]),
        ("draft: {sql: \"s = 'held'\"}", ["complete", "complete", "draft", "complete", "complete"]),
        (
            "status: s, draft: {sql: \"paid = '0'\", status: [held]}, complete: [paid]",
            ["complete", "draft", "draft", None, None],
        ),
        ("status: s, void: [paid], complete: {sql: \"paid = '5'\"}", ["void", None, None, "complete", None]),
        (
            "status: s, cancelled: {sql: \"s = 'paid'\"}, draft: {sql: \"s <> ''\"}, complete: [ok]",
            ["cancelled", "draft", "draft", "draft", None],
        ),
    ],
)
def test_the_first_state_that_fits_is_taken(section: str, outcomes: list[str | None]) -> None:
    rows = "id,s,paid\n1,paid,1\n2,Ok,0\n3, HELD ,1\n4,odd,5\n5,,2\n"
    if "sql" in section:
        rows = rows.replace(" HELD ", "held")
    found = mapped_of(f"{HEADERS}completion: {{{section}}}\n", rows)
    assert found.headers["status|outcome"].to_list() == outcomes


def test_without_a_section_every_sale_is_complete() -> None:
    found = mapped_of(HEADERS, "id\n1\n").headers
    assert found.select("status|outcome", "status|raw", "paid").row(0) == ("complete", None, None)


def test_what_was_paid_is_an_amount_or_reported() -> None:
    found = mapped_of(
        HEADERS + "completion: {status: s, complete: [a], paid: p}\n", "id,s,p\n1,a,2.50\n2,a,odd\n3,a,\n"
    )
    assert found.headers.select("paid", "paid|raw").rows() == [
        (Decimal("2.5"), "2.50"),
        (None, "odd"),
        (None, None),
    ]
    assert problem_rows(found.problems, "code", "value", LINE) == [("field_invalid", "odd", 3)]


UUID = "0b0f3c1e-7a57-4a0e-9a43-0d9c4b7ad001"


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("ann@x.com,,", ("ann@x.com", "email", "ann@x.com", None)),
        (f",{UUID},", (UUID, None, UUID, None)),
        (",,C7", ("C7", "card", "C7", None)),
        (f"ann@x.com,{UUID},C7", ("ann@x.com", "email", "ann@x.com", None)),
        ("ann,,C7", (None, None, "ann", None)),
        (",17,C7", (None, None, "17", None)),
        (",,", (None, None, None, None)),
        (",,guest", (None, None, None, "guest")),
        ("noreply@x.com,,C7", ("C7", "card", "C7", None)),
        ("noreply@x.com,,", (None, None, None, "noreply@x.com")),
        ("noreply@x.com,,guest", (None, None, None, "noreply@x.com")),
    ],
)
def test_the_first_link_that_names_somebody_is_taken(cell: str, found: tuple[str | None, ...]) -> None:
    spec = HEADERS + "profile: [{value: mail, handle: email}, {value: uuid}, {value: card, handle: card}]\n"
    headers = mapped_of(spec, f"id,mail,uuid,card\n1,{cell}\n").headers
    names = ("profile_id", "profile_id_handle", "profile_id|raw", "profile_id|no_person")
    assert headers.select(names).row(0) == found


@pytest.mark.parametrize("severity", ["'off'", "{severity: 'off'}"])
def test_words_for_no_person_are_names_where_that_check_is_off(severity: str) -> None:
    spec = (
        HEADERS + f"profile: [{{value: card, handle: card}}]\nchecks: {{profile_placeholder: {severity}}}\n"
    )
    headers = mapped_of(spec, "id,card\n1,guest\n").headers
    assert headers.select("profile_id", "profile_id|no_person").row(0) == ("guest", None)


LINES = """
source: {layout: records, key: [id], records: {column: kind, header: [H], item: [I], payment: [P]}}
transaction: {external_id: id}
"""


@pytest.mark.parametrize(
    ("form", "payments"),
    [
        ("names", ['["CASH"]', '["CARD","GIFT"]', None]),
        ("amounts", ['[{"CASH":5.00},{"CASH":0.00}]', '[{"CARD":2.50},{"GIFT":1.00}]', None]),
    ],
)
def test_payments_with_rows_of_their_own(form: str, payments: list[str | None]) -> None:
    form_line = "payments_form: amounts\n" if form == "amounts" else ""
    spec = f"{LINES}{form_line}payments: [{{tender: tender, amount: amount}}]\n"
    rows = """
    kind,id,tender,amount
    H,1,,
    P,1,CASH,5
    P,1,CASH,0
    P,1,,9
    H,2,,
    P,2,CARD,2.5
    P,2,GIFT,1
    H,3,,
    """
    headers = mapped_of(spec, rows).headers
    assert headers["payments"].to_list() == payments
    assert headers["payments_total"].to_list() == [5, Decimal("3.5"), None]


def test_a_tender_with_a_column_of_its_own_was_used_where_that_is_not_zero() -> None:
    tenders = [f"{{tender: {{constant: {name.upper()}}}, amount: {name}}}" for name in ("cash", "card")]
    spec = f"{HEADERS}payments_form: amounts\npayments: [{', '.join(tenders)}]\n"
    headers = mapped_of(spec, "id,cash,card\n1,5,0\n2,,2.5\n3,0,0\n4,-1,3\n").headers
    assert headers["payments"].to_list() == [
        '[{"CASH":5.00}]',
        '[{"CARD":2.50}]',
        None,
        '[{"CASH":-1.00},{"CARD":3.00}]',
    ]
    assert headers["payments_total"].to_list() == [5, Decimal("2.5"), None, 2]


def test_tenders_without_an_amount_are_names() -> None:
    spec = HEADERS + "payments: [{tender: a}, {tender: b}]\n"
    headers = mapped_of(spec, "id,a,b\n1,CASH,CARD\n2,,CARD\n3,,\n").headers
    assert headers["payments"].to_list() == ['["CASH","CARD"]', '["CARD"]', None]
    assert headers["payments_total"].to_list() == [None, None, None]
