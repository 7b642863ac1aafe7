from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from pipeline.report.summary import (
    AccountingError,
    DeliveryCounts,
    Summary,
    TransactionCounts,
    decimal_text,
    totals_of,
)
from tests.report.made_up_report import made_up_facts, summary_of

FACTS = made_up_facts(300)
PREPARED = summary_of(FACTS)
ALL = PREPARED.transactions.accepted


def after(**delivery: int) -> Summary:
    return replace(PREPARED, delivery=DeliveryCounts(**delivery))


def test_the_keys_are_the_contracts_in_its_order() -> None:
    data = PREPARED.as_dict()
    assert list(data) == [
        "run_id", "run_dir", "report", "started_at", "duration_s", "rows", "transactions", "dropped",
        "rejected", "warnings", "totals", "delivery", "confirmed", "missing", "differing", "requests",
    ]  # fmt: skip
    assert list(data["rows"]) == ["read", "malformed", "duplicate", "skipped"]
    assert list(data["transactions"]) == ["read", "accepted", "dropped", "rejected"]
    assert list(data["delivery"]) == [
        "delivered", "unchanged", "refused", "failed", "pending", "in_doubt", "voided", "forgotten",
    ]  # fmt: skip
    assert list(data["requests"]) == ["sent", "retried", "throttled", "errors"]


def test_a_summary_survives_json_among_other_keys() -> None:
    text = json.dumps(PREPARED.as_dict() | {"by_month": []})
    assert Summary.from_dict(json.loads(text)) == PREPARED


def test_transactions_must_add_up() -> None:
    with pytest.raises(AccountingError, match=r"10 transactions were read, but .* make 9"):
        replace(PREPARED, transactions=TransactionCounts(read=10, accepted=5, dropped=2, rejected=2))


def test_the_delivery_must_add_up() -> None:
    with pytest.raises(AccountingError, match="delivery accounts for 3"):
        after(delivered=2, failed=1)


@pytest.mark.parametrize(
    ("sums", "expected"),
    [
        (
            {"accepted": {"AUD": Decimal("123.45")}, "rejected": {}},
            {"accepted": "123.45", "rejected": "0.00"},
        ),
        ({"accepted": {None: Decimal(5)}}, {"accepted": "5.00"}),
        ({"accepted": {}}, {"accepted": "0.00"}),
        (
            {
                "accepted": {"NZD": Decimal("0.1"), None: Decimal("0.0005"), "AUD": Decimal("1e3")},
                "dropped": {"AUD": Decimal(-1)},
            },
            {"accepted": {"AUD": "1000.00", "NZD": "0.10", "none": "0.0005"}, "dropped": {"AUD": "-1.00"}},
        ),
        (
            {"accepted": {"AUD": Decimal(1)}, "rejected": {"NZD": Decimal(2)}},
            {"accepted": {"AUD": "1.00"}, "rejected": {"NZD": "2.00"}},
        ),
    ],
)
def test_totals_are_by_currency_only_where_there_are_several(
    sums: dict[str, dict[str | None, Decimal]], expected: dict[str, object]
) -> None:
    assert totals_of(sums) == expected


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("5", "5.00"), ("0.1", "0.10"), ("0.125", "0.125"), ("1E+3", "1000.00"), ("-0.5000", "-0.50"),
        ("12345678901234567890.1234", "12345678901234567890.1234"),
    ],
)  # fmt: skip
def test_amounts_are_written_in_full(amount: str, text: str) -> None:
    assert decimal_text(Decimal(amount)) == text
