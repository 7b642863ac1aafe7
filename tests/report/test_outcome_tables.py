from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import polars as pl
import pytest

from pipeline.report.data import CheckMade, PreviousRun, RejectionGate, StateWorth
from pipeline.report.outcome_tables import changes, check_results, sums_by_place, where_everything_is
from pipeline.report.receipts import receipt_of
from pipeline.report.summary import DeliveryCounts, RowTotals, TransactionCounts, decimal_text
from pipeline.report.verdict import judge
from pipeline.report.view import view
from tests.report.made_up_report import made_up_facts, made_up_report, summary_of

FACTS = made_up_facts(300)
ALL = summary_of(FACTS).transactions.accepted


@pytest.mark.parametrize(
    ("delivery", "looked_up", "names"),
    [
        ({"pending": ALL}, (None, None, None), ["Delivered", "Pending"]),
        ({"delivered": 100, "pending": ALL - 100}, (None, None, None), ["Delivered", "Pending"]),
        ({"delivered": ALL}, (ALL, 0, 0), ["Confirmed"]),
        ({"delivered": ALL}, (20, 2, 1), ["Confirmed", "Delivered", "Differing", "Missing"]),
        (
            {"delivered": ALL - 9, "refused": 4, "in_doubt": 5},
            (None,) * 3,
            ["Delivered", "In doubt", "Refused"],
        ),
        ({"voided": ALL - 1, "forgotten": 1}, (None, None, None), ["Voided", "Forgotten"]),
        ({"unchanged": ALL}, (ALL, 0, 0), ["Unchanged"]),
    ],
)
def test_every_transaction_is_in_one_line_with_what_it_is_worth(
    delivery: dict[str, int], looked_up: tuple[int | None, ...], names: list[str]
) -> None:
    confirmed, missing, differing = looked_up
    summary = summary_of(
        FACTS,
        delivery=DeliveryCounts(**delivery),
        confirmed=confirmed,
        missing=missing,
        differing=differing,
    )
    rows = where_everything_is(made_up_report(FACTS, summary=summary))
    assert [row["name"] for row in rows] == [*names, "Rejected", "Dropped"]
    assert sum(row["transactions"] for row in rows) == summary.transactions.read
    for row in rows:
        whole = row["transactions"] in (0, ALL)
        assert (row["worth"] is not None) == (whole or row["name"] in ("Rejected", "Dropped"))


def test_a_closed_gate_says_that_nothing_can_be_sent() -> None:
    closed = made_up_report(FACTS, gate=RejectionGate("1%", closed=True))
    notes = [row["note"] for row in where_everything_is(closed)]
    assert notes[:2] == ["nothing was sent", "accepted; it cannot be sent while too much is rejected"]


def test_what_is_in_omneo_and_what_is_not_has_its_worth() -> None:
    summary = summary_of(FACTS, delivery=DeliveryCounts(delivered=ALL - 5, refused=2, pending=3))
    total = Decimal(str(summary.totals["accepted"]))
    states = {
        "delivered": StateWorth(ALL - 5, decimal_text(total - 30)),
        "refused": StateWorth(2, "10.00"),
        "pending": StateWorth(3, "20.00"),
    }
    data = made_up_report(FACTS, summary=summary, states=states)
    worth = {row["name"]: row["worth"] for row in where_everything_is(data)}
    assert (worth["Refused"], worth["Pending"]) == ("10.00", "20.00")
    places = sums_by_place(where_everything_is(data))
    assert places["in"] == {"transactions": ALL - 5, "worth": decimal_text(total - 30)}
    assert places["out"] == {"transactions": 5, "worth": "30.00"}
    said = judge(data).sentence
    assert f"{ALL - 5} of {ALL} accepted transactions were delivered (AUD " in said
    assert "3 pending, still to be sent (AUD 20.00); 2 refused for good (AUD 10.00)" in said
    unknown = sums_by_place(where_everything_is(made_up_report(FACTS, summary=summary)))
    assert unknown["in"]["worth"] is None, "a run of an older version, or one that is being loaded"


def test_checks_have_the_number_that_passed() -> None:
    summary = summary_of(
        FACTS,
        rows=RowTotals(read=900, malformed=2),
        transactions=TransactionCounts(read=100, accepted=80, dropped=12, rejected=8),
        delivery=DeliveryCounts(pending=80),
        dropped={"draft": 10, "partially_paid": 2},
        rejected={"total_mismatch": 5, "malformed_row": 2},
        warnings={"guest": 30, "profile_placeholder": 4},
    )
    known = {"handle": [None, "email"], "guest": [True, False], "transactions": [30, 50]}
    facts = replace(FACTS, profiles=pl.DataFrame(known, schema=FACTS.profiles.schema))
    checks = (
        CheckMade("draft", "Draft sale", "drop"),
        CheckMade("total_mismatch", "Total differs", "reject"),
        CheckMade("no_date", "No date", "reject"),
        CheckMade("payments_mismatch", "Payments differ", "reject", skipped="the mapping gives none"),
        CheckMade("malformed_row", "Malformed", "reject"),
        CheckMade("guest", "Guest", "warn"),
        CheckMade("profile_placeholder", "A word", "warn"),
        CheckMade("unmapped_column", "Unmapped", "warn"),
    )
    rows = check_results(made_up_report(facts, summary=summary, checks=checks))
    assert [(row["code"], row["checked"], row["passed"], row["found"]) for row in rows] == [
        ("draft", 100, 90, 10),
        ("total_mismatch", 90, 85, 5),
        ("malformed_row", 900, 898, 2),
        ("guest", 80, 50, 30),
        ("profile_placeholder", 54, 50, 4),
        ("no_date", 90, 90, 0),
        ("unmapped_column", None, None, 0),
        ("payments_mismatch", None, None, 0),
    ]


def test_counts_of_the_last_run_stand_beside_this_one() -> None:
    data = made_up_report(FACTS)
    before = PreviousRun(
        *("20240701-0900", "2024-07-01T09:00:00Z", True, 1, 2),
        *(TransactionCounts(10, 9, 0, 1), {"accepted": "1.00"}, {"name_missing": 1}, {}, {}),
    )
    rows = {row["name"]: (row["before"], row["now"]) for row in changes(replace(data, previous=before))}
    assert rows["Transactions read"] == (10, 300)
    assert rows["Item without a name"] == (1, 0)
    assert not [*changes(data)]


BODY = {
    "external_id": "MEL-1-9",
    "total": -474.7,
    "transacted_at": "2024-07-01 13:30:00",
    "profile_id": "ann@example.com",
    "location_id": "MEL",
    "payments": [{"CASH": 10}, "VISA"],
    "items": [{"name": f"Thing {n}", "quantity": -1, "price_sell": 10.8} for n in range(14)],
}
ROWS = {
    "personal": ["kunde"],
    "more": 2,
    "rows": [
        {
            "source": "till.csv",
            "line": 7,
            "cells": {
                "no": "9",
                "kunde": "4711",
                "note": "call ann@example.com",
                "who": "ANN@EXAMPLE.COM",
                "sale": '{"id": 5, "customer": {"name": "Bo Roy"}}',
                "odd": "{not json",
            },
        }
    ],
}


def test_a_receipt_is_drawn_from_the_body_and_its_rows_are_masked() -> None:
    samples = pl.DataFrame(
        [("return", "MEL-1-9", json.dumps(BODY), "2024-07-01 23:30", json.dumps(ROWS))],
        schema=FACTS.samples.schema,
        orient="row",
    )
    data = made_up_report(replace(FACTS, samples=samples))
    (sample,) = view(data)["samples"]
    sale = receipt_of(sample)
    assert (sale.store, sale.time, sale.is_local) == ("MEL", "2024-07-01 23:30", True)
    assert (sale.total, sale.paid_by, sale.lines[0].price) == ("-474.70", "CASH 10.00, VISA", "10.80")
    assert (len(sale.lines), sale.more_lines, sale.more_rows) == (12, 2, 2)
    assert sale.customer == "a***@***"
    cells = sale.rows[0]["cells"]
    assert cells == {
        "no": "9",
        "kunde": "4***",
        "note": "call a***@***",
        "who": "A***@***",
        "sale": '{"id": 5, "customer": {"name": "B***"}}',
        "odd": "{not json",
    }
    (shown,) = view(data, show_personal_data=True)["samples"]
    assert shown["rows"][0]["cells"] == ROWS["rows"][0]["cells"]  # type: ignore[index]


def test_a_receipt_of_an_older_run_and_of_an_odd_body() -> None:
    (*_, sample) = view(made_up_report(FACTS))["samples"]
    assert receipt_of(sample).rows == []
    odd = sample | {"local": None, "body": {"items": "none", "total": None, "transacted_at": "2024-07-01"}}
    sale = receipt_of(odd)
    assert (sale.time, sale.is_local, sale.lines, sale.total, sale.paid_by) == (
        "2024-07-01",
        False,
        [],
        "",
        "",
    )
