from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.model import LINE, TX
from pipeline.validation.declared_checks import completed, underpaid
from pipeline.validation.policy import Policy
from pipeline.validation.schemas import header_problems, item_problems
from tests.validation.frames import NOW, headers, items, reasons_of

NO_DATE = {"transacted_at": None, "transacted_at|raw": None, "transacted_at|local": None}
BAD_DATE = {"transacted_at": None, "transacted_at|raw": "31/02/2021 10:00:00", "transacted_at|local": None}
SKIPPED = {
    "transacted_at": None,
    "transacted_at|raw": "02/10/2022 02:30:00",
    "transacted_at|local": datetime(2022, 10, 2, 2, 30),
    "transacted_at|nonexistent": True,
}
TWICE = {
    "transacted_at": datetime(2023, 4, 1, 15, 30),
    "transacted_at|raw": "02/04/2023 02:30:00",
    "transacted_at|local": datetime(2023, 4, 2, 2, 30),
    "transacted_at|ambiguous": True,
}


def check(*changes: dict[str, Any], policy: Policy | None = None, drop: tuple[str, ...] = ()) -> pl.DataFrame:
    return header_problems(headers(*changes, drop=drop), policy or Policy(), NOW, with_items=True)


def test_a_clean_header_has_no_problems() -> None:
    assert check({}).is_empty()


@pytest.mark.parametrize(
    ("change", "code", "field", "value", "message"),
    [
        ({"external_id": None}, "external_id_missing", "external_id", None, "external_id is blank"),
        ({"total": None, "total|raw": None}, "total_missing", "total", None, "total is blank"),
        ({"total": None, "total|raw": "N/A"}, "total_invalid", "total", "N/A", "'N/A' is not an amount"),
        (NO_DATE, "transacted_at_missing", "transacted_at", None, "transacted_at is blank"),
        (
            BAD_DATE,
            "transacted_at_invalid",
            "transacted_at",
            "31/02/2021 10:00:00",
            "'31/02/2021 10:00:00' is not a date in the form that the mapping gives",
        ),
        (
            SKIPPED,
            "transacted_at_nonexistent",
            "transacted_at",
            "02/10/2022 02:30:00",
            "'02/10/2022 02:30:00' in Australia/Melbourne never happened: the clock skipped that hour",
        ),
        (
            TWICE,
            "transacted_at_ambiguous",
            "transacted_at",
            "02/04/2023 02:30:00",
            "'02/04/2023 02:30:00' in Australia/Melbourne happened twice, when the clock was put back; "
            "it was taken as 15:30:00 UTC",
        ),
        (
            {"transacted_at": datetime(2025, 1, 1, 12, 15, 1), "transacted_at|raw": "later"},
            "transacted_at_future",
            "transacted_at",
            "later",
            "'later' is after the run started (2025-01-01 12:00:00 UTC)",
        ),
        (
            {"profile_id": None, "profile_id_handle": None, "profile_id|raw": "ann@"},
            "profile_invalid",
            "profile_id",
            "ann@",
            "'\u2068ann@\u2069' is not an email address",
        ),
        (
            {"profile_id": None, "profile_id_handle": None, "profile_id|raw": "nobody"},
            "profile_invalid",
            "profile_id",
            "nobody",
            "'\u2068nobody\u2069' is neither an email address nor an Omneo profile id (a UUID)",
        ),
        (
            {"profile_id": "x@y", "profile_id|raw": "x@y"},
            "profile_invalid",
            "profile_id",
            "x@y",
            "'\u2068x@y\u2069' is not an email address",
        ),
        (
            {"profile_id": "17850", "profile_id|raw": "17850", "profile_id_handle": None},
            "profile_invalid",
            "profile_id",
            "17850",
            "'\u206817850\u2069' is not an Omneo profile id (a UUID); any other id needs its handle",
        ),
        (
            {"profile_id": None, "profile_id_handle": None, "profile_id|raw": None},
            "guest",
            "profile_id",
            None,
            "no customer is named: a guest sale",
        ),
        (
            {"currency": "aud"},
            "currency_invalid",
            "currency",
            "aud",
            "'aud' is not a currency's three capital letters, such as AUD",
        ),
        (
            {"status|raw": "HELD", "status|outcome": None},
            "field_invalid",
            "status",
            "HELD",
            "the mapping does not know the status 'HELD'",
        ),
        (
            {"is_void": None, "is_void|raw": "maybe"},
            "field_invalid",
            "is_void",
            "maybe",
            "'maybe' is not a yes or a no",
        ),
        (
            {"total": Decimal("110.00"), "total|raw": "110", "items_total": Decimal("100.0050")},
            "total_mismatch",
            "total",
            "110",
            "total is 110.00 but the items add up to 100.005: a difference of 9.995",
        ),
        (
            {"payments_total": Decimal("12.50")},
            "payments_mismatch",
            "total",
            "10.00",
            "total is 10.00 but the payments add up to 12.50: a difference of -2.50",
        ),
        (
            {"items_count": 0, "items_total": Decimal(0)},
            "items_missing",
            "items",
            None,
            "the sale has no items",
        ),
    ],
)
def test_each_violation_has_its_code_its_cell_and_a_sentence(
    change: dict[str, Any], code: str, field: str, value: str | None, message: str
) -> None:
    found = check({}, change, {})
    assert found.select(TX, LINE, "code", "field", "value", "message").rows() == [
        (1, 12, code, field, value, message)
    ]


def test_every_violation_of_a_transaction_is_reported() -> None:
    found = check({"external_id": None, "total": None, "total|raw": "x", **BAD_DATE, "currency": "$"})
    assert reasons_of(found, columns=["code"]) == {
        "external_id_missing",
        "total_invalid",
        "transacted_at_invalid",
        "currency_invalid",
    }


@pytest.mark.parametrize("difference", ["0.05", "-0.05"])
def test_a_difference_as_large_as_the_tolerance_is_fine(difference: str) -> None:
    policy = Policy(tolerances={"total_mismatch": Decimal("0.05")})
    fine = {"items_total": Decimal("10.00") + Decimal(difference)}
    off = {"items_total": fine["items_total"] + Decimal(difference) / 5}
    assert reasons_of(check(fine, off, policy=policy), 0) == set()
    assert reasons_of(check(fine, off, policy=policy), 1, ["code"]) == {"total_mismatch"}


def test_no_mismatch_is_reported_where_the_items_or_the_total_are_unknown() -> None:
    unknown = {"items_total": None}
    no_total = {"total": None, "total|raw": "?", "items_total": Decimal(3)}
    found = check(unknown, no_total)
    assert "total_mismatch" not in found["code"]


def test_a_sale_paid_in_part_has_no_payments_mismatch() -> None:
    assert check({"paid": Decimal(2), "payments_total": Decimal(2)}).is_empty()


def test_a_repeated_time_without_utc_is_rejected_as_the_mapping_asked() -> None:
    found = check({**TWICE, "transacted_at": None})
    assert found.select("code", "severity").rows() == [("transacted_at_ambiguous", "reject")]


def test_an_unknown_zone_is_reported_and_not_taken_for_a_skipped_time() -> None:
    unknown = {**SKIPPED, "transacted_at|nonexistent": False, "timezone": None, "timezone|raw": "Mars/Base"}
    found = check(unknown)
    assert found.select("code", "field", "value", "message").rows() == [
        (
            "timezone_unknown",
            "timezone",
            "Mars/Base",
            "'Mars/Base' is not a time zone; a name such as Australia/Melbourne was expected",
        )
    ]


def test_a_zone_that_the_mapping_did_not_check_is_checked() -> None:
    assert reasons_of(check({"timezone": "Mars/Base"}, drop=("timezone|raw",)), columns=["code"]) == {
        "timezone_unknown"
    }


@pytest.mark.parametrize("drop", [(), ("timezone", "timezone|raw")])
def test_a_time_without_a_zone_is_reported(drop: tuple[str, ...]) -> None:
    lost = {**SKIPPED, "transacted_at|nonexistent": False, "timezone": None, "timezone|raw": None}
    found = check(lost, drop=drop)
    assert found.select("code", "message").rows() == [
        ("timezone_unknown", "the time zone of transacted_at is blank or unknown")
    ]


@pytest.mark.parametrize(
    "email",
    ["a@b.co", "ann.o'neil+till@mail.example.com.au", "x_y-z@sub.domain.museum", "jürgen@köln.de", "1@2.io"],
)
def test_usual_emails_pass(email: str) -> None:
    assert check({"profile_id": email, "profile_id|raw": email}).is_empty()


@pytest.mark.parametrize(
    "email",
    [
        "a@b",
        "@b.co",
        "a@",
        "a@@b.co",
        "a b@c.co",
        " a@b.co",
        "a@b.co ",
        "a@b.co,c@d.co",
        "Ann <a@b.co>",
        "a@.co",
        "a@b..co",
        "a@b.c",
        "a@b.co\n",
        "x" * 250 + "@b.co",
    ],
)
def test_malformed_emails_do_not(email: str) -> None:
    assert reasons_of(check({"profile_id": email, "profile_id|raw": email}), columns=["code"]) == {
        "profile_invalid"
    }


def test_ids_under_other_handles_are_free_and_uuids_need_none() -> None:
    card = {"profile_id": "LC00000001", "profile_id_handle": "loyalty-card"}
    uuid = {"profile_id": "928BC629-8646-4d4b-808d-790fe6f334ae", "profile_id_handle": None}
    assert check(card, uuid).is_empty()


def test_a_code_that_is_off_is_not_looked_for() -> None:
    assert check({"currency": "aud"}, policy=Policy({"currency_invalid": "off"})).is_empty()


def test_fields_that_the_mapping_does_not_give_are_not_checked() -> None:
    few = headers({}).select(TX, "__source", LINE, "external_id", "total", "transacted_at")
    assert header_problems(few, Policy(), NOW, with_items=False).is_empty()


def test_a_naive_now_is_utc() -> None:
    at_now = headers({"transacted_at": datetime(2025, 1, 1, 12)})
    naive = datetime(2025, 1, 1, 12)
    assert header_problems(at_now, Policy(), naive, with_items=True).is_empty()
    earlier = naive.replace(hour=11)
    assert reasons_of(header_problems(at_now, Policy(), earlier, with_items=True), columns=["code"]) == {
        "transacted_at_future"
    }


def test_items_have_their_own_line() -> None:
    bad = items(
        {},
        {TX: 0, "quantity": None, "quantity|raw": "two"},
        {TX: 0, "quantity": None, "quantity|raw": None},
        {TX: 0, "price_sell": None, "price_sell|raw": "free", "name": None},
        {TX: 0, "price_tax": None, "price_tax|raw": "1,50"},
        {TX: 0, "price_tax": None, "price_tax|raw": None},
    )
    found = item_problems(bad, Policy()).sort(LINE, "code")
    assert found.select(LINE, "code", "field", "value", "message").rows() == [
        (13, "quantity_invalid", "quantity", "two", "'two' is not a whole number"),
        (23, "quantity_invalid", "quantity", None, "quantity is blank"),
        (33, "name_missing", "name", None, "name is blank"),
        (33, "price_invalid", "price_sell", "free", "'free' is not an amount"),
        (43, "price_invalid", "price_tax", "1,50", "'1,50' is not an amount"),
    ]


def test_long_cells_are_cut_in_the_sentence_and_whole_in_the_value() -> None:
    cell = "x" * 10_000
    row = check({"total": None, "total|raw": cell}).row(0, named=True)
    assert row["value"] == cell
    assert len(row["message"]) < 150


def test_a_frame_of_another_type_is_a_bug_and_not_a_rejection() -> None:
    wrong = headers({}).with_columns(pl.col("total").cast(pl.Float64))
    with pytest.raises(AssertionError, match="total"):
        header_problems(wrong, Policy(), NOW, with_items=True)


@pytest.mark.slow
def test_pandera_cannot_be_switched_off_from_outside() -> None:
    script = (
        "from pipeline.validation.policy import Policy\n"
        "from tests.validation.test_schemas import check\n"
        "print(check({'total': None}).height)"
    )
    environment = {
        **os.environ,
        "PANDERA_VALIDATION_ENABLED": "False",
        "PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY",
    }
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("ahead", "code"), [(14 * 60, set()), (15 * 60, set()), (15 * 60 + 1, {"transacted_at_future"})]
)
def test_a_tills_clock_may_be_a_quarter_of_an_hour_fast(ahead: int, code: set[str]) -> None:
    at = NOW.replace(tzinfo=None) + timedelta(seconds=ahead)
    assert reasons_of(check({"transacted_at": at}), columns=("code",)) == code


@pytest.mark.parametrize(
    ("year", "codes"),
    [(1900, {"transacted_at_implausible"}), (1970, {"transacted_at_implausible"}), (1980, set())],
)
def test_a_date_before_tills_kept_data_is_reported(year: int, codes: set[str]) -> None:
    assert reasons_of(check({"transacted_at": datetime(year, 1, 1)}), columns=("code",)) == codes


@pytest.mark.parametrize("cell", ["43390", "45581.75"])
def test_a_days_number_that_is_no_date_is_said_to_be_one(cell: str) -> None:
    found = check(BAD_DATE | {"transacted_at|raw": cell})
    assert "spreadsheet_days" in found["message"][0]


@pytest.mark.parametrize(
    ("change", "policy", "short"),
    [
        ({"paid": Decimal("9.95")}, Policy(), False),
        ({"paid": Decimal("9.94")}, Policy(), True),
        ({"paid": Decimal("9.60"), "rounding": Decimal("-0.40")}, Policy(), False),
        ({"paid": Decimal("9.59"), "rounding": Decimal("0.40")}, Policy(), True),
        ({"paid": Decimal("9.95"), "rounding": None}, Policy(), False),
        ({"paid": Decimal("9.95")}, Policy(tolerances={"partially_paid": Decimal(0)}), True),
        (
            {"paid": Decimal("9.60"), "rounding": Decimal("0.40")},
            Policy(tolerances={"partially_paid": Decimal("0.02")}),
            True,
        ),
    ],
)
def test_cash_rounding_leaves_a_sale_paid(change: dict[str, Any], policy: Policy, short: bool) -> None:
    frame = headers({k: v for k, v in change.items() if k != "rounding"})
    if "rounding" in change:
        frame = frame.with_columns(pl.lit(change["rounding"], pl.Decimal(15, 4)).alias("rounding"))
    assert completed(frame).select(underpaid(policy)).to_series().to_list() == [short]


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({}, set()),
        ({"paid": None}, {"paid_missing"}),
        ({"paid": None, "total": Decimal("-10.00"), "items_total": Decimal("-10.00")}, set()),
        ({"paid": None, "is_void": True}, set()),
    ],
)
def test_a_sale_of_which_it_is_not_known_what_was_paid_is_reported(
    change: dict[str, Any], codes: set[str]
) -> None:
    frame = headers(change).with_columns(pl.lit(None, pl.String).alias("paid|raw"))
    found = header_problems(frame, Policy(), NOW, with_items=True)
    assert reasons_of(found, columns=("code",)) == codes


def test_nothing_is_asked_of_what_was_paid_where_the_mapping_does_not_say_it() -> None:
    assert check({"paid": None}).is_empty()


@pytest.mark.parametrize(
    ("currency", "total", "items_total", "codes"),
    [
        ("AUD", "10.00", "10.01", set()),
        ("AUD", "10.00", "10.02", {"total_mismatch"}),
        ("JPY", "100", "101", set()),
        ("JPY", "100", "102", {"total_mismatch"}),
        ("KWD", "1.500", "1.501", set()),
        ("KWD", "1.500", "1.502", {"total_mismatch"}),
        (None, "10.00", "10.01", {"currency_missing"}),
        ("AUD", "10.005", "10.005", {"amount_finer_than_currency"}),
        ("JPY", "33.34", "33.34", {"amount_finer_than_currency"}),
        ("KWD", "1.5005", "1.5005", {"amount_finer_than_currency"}),
        ("KWD", "-1.505", "-1.505", set()),
        (None, "10.005", "10.005", {"currency_missing"}),
    ],
)
def test_amounts_are_checked_in_what_the_currency_has(
    currency: str | None, total: str, items_total: str, codes: set[str]
) -> None:
    change = {"currency": currency, "total": Decimal(total), "items_total": Decimal(items_total)}
    found = check(change | {"paid": None}, drop=("paid",))
    assert reasons_of(found, columns=("code",)) == codes
