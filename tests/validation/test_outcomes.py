from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.codes import CODES
from pipeline.core.errors import CannotStart
from pipeline.core.frames import REASONS
from pipeline.core.model import LINE, SOURCE, TX
from pipeline.core.storage.partition_frames import MappedTransactions
from pipeline.validation.outcomes import DROPS, TransactionOutcomes, decide_outcomes, with_matching_sums
from pipeline.validation.policy import OwnRule, Policy
from tests.fuzzing import examples
from tests.validation.frames import NOW, headers, items, mapped, problems, reasons_of

PARKED = {"status|raw": "PARKED", "status|outcome": "draft"}
PART_PAID = {"paid": Decimal("2.00")}
GUEST = {"profile_id": None, "profile_id_handle": None, "profile_id|raw": None}
NOBODY = {"profile_id": "nobody", "profile_id|raw": "nobody"}
BAD_TOTAL = {"total": None, "total|raw": "N/A"}


def outcomes(verdict: TransactionOutcomes) -> list[str]:
    return verdict.outcomes["outcome"].to_list()


def reason_rows(verdict: TransactionOutcomes, tx: int | None = 0) -> set[Any]:
    return reasons_of(verdict.reasons, tx, ["code", "outcome"])


def test_a_clean_transaction_is_accepted_without_a_word() -> None:
    verdict = decide_outcomes(mapped({}), Policy(), NOW)
    assert outcomes(verdict) == ["accepted"]
    assert verdict.reasons.is_empty()
    assert verdict.reasons.schema == pl.Schema(REASONS)


def test_a_status_that_drops_wins_over_every_defect() -> None:
    verdict = decide_outcomes(mapped({**PARKED, **BAD_TOTAL, **GUEST, "external_id": None}), Policy(), NOW)
    assert outcomes(verdict) == ["dropped"]
    assert reason_rows(verdict) == {("draft", "dropped")}
    assert verdict.reasons["message"].to_list() == ["status 'PARKED': draft sale"]


@pytest.mark.parametrize("code", DROPS)
def test_each_dropping_status_gives_its_code(code: str) -> None:
    verdict = decide_outcomes(mapped({"status|raw": None, "status|outcome": code}), Policy(), NOW)
    assert reason_rows(verdict) == {(code, "dropped")}


def test_a_void_sale_is_judged_like_any_other() -> None:
    verdict = decide_outcomes(mapped({"status|outcome": "void", "is_void": True, **PART_PAID}), Policy(), NOW)
    assert outcomes(verdict) == ["accepted"]


def test_a_sale_paid_in_part_is_dropped() -> None:
    verdict = decide_outcomes(mapped(PART_PAID), Policy(), NOW)
    assert outcomes(verdict) == ["dropped"]
    assert verdict.reasons.select("code", "value", "message").rows() == [
        ("partially_paid", "2.00", "2.00 of 10.00 is paid")
    ]


def test_a_defect_wins_over_being_paid_in_part() -> None:
    verdict = decide_outcomes(mapped({**PART_PAID, "currency": "?"}), Policy(), NOW)
    assert outcomes(verdict) == ["rejected"]
    assert reason_rows(verdict) == {("currency_invalid", "rejected")}


def test_returns_and_sales_paid_in_full_are_not_paid_in_part() -> None:
    back = {"total": Decimal(-10), "items_total": Decimal(-10), "paid": Decimal(-20)}
    verdict = decide_outcomes(mapped(back, {"paid": None}, {"paid": Decimal(20)}), Policy(), NOW)
    assert outcomes(verdict) == ["accepted"] * 3


def test_a_sale_dropped_for_its_payment_is_not_called_a_guest_sale() -> None:
    verdict = decide_outcomes(mapped({**PART_PAID, **GUEST}), Policy(), NOW)
    assert reason_rows(verdict) == {("partially_paid", "dropped")}


def test_a_rejected_sale_is_not_called_a_guest_sale() -> None:
    verdict = decide_outcomes(mapped({**BAD_TOTAL, **GUEST}), Policy(), NOW)
    assert reason_rows(verdict) == {("total_invalid", "rejected")}


def test_header_item_and_mapping_defects_are_all_reported() -> None:
    bad = MappedTransactions(
        headers({**BAD_TOTAL, **NOBODY, "items_total": None}),
        items({"quantity": None, "quantity|raw": "two"}),
        problems({TX: 0, "code": "header_conflict", "field": "sale_total"}),
    )
    verdict = decide_outcomes(bad, Policy(), NOW)
    assert outcomes(verdict) == ["rejected"]
    assert reasons_of(verdict.reasons, 0) == {
        ("header_conflict", "sale_total"),
        ("total_invalid", "total"),
        ("profile_invalid", "profile_id"),
        ("quantity_invalid", "quantity"),
    }


def test_a_bad_item_rejects_its_own_transaction_only() -> None:
    frames = MappedTransactions(headers({}, {}, {}), items({}, {"name": None}, {}))
    assert outcomes(decide_outcomes(frames, Policy(), NOW)) == ["accepted", "rejected", "accepted"]


def test_warnings_do_not_reject() -> None:
    duplicate = problems({TX: 0, "code": "duplicate_row"}, {TX: 1, "code": "duplicate_row"})
    frames = MappedTransactions(headers(GUEST, PARKED), items({}, {}), duplicate)
    verdict = decide_outcomes(frames, Policy(), NOW)
    assert outcomes(verdict) == ["accepted", "dropped"]
    assert reason_rows(verdict) == {("guest", "warning"), ("duplicate_row", "warning")}
    assert reason_rows(verdict, 1) == {("draft", "dropped"), ("duplicate_row", "warning")}


def test_problems_of_no_transaction_pass_through() -> None:
    lost = problems({TX: None, "code": "malformed_row", "raw": "a,b,c", SOURCE: 1})
    verdict = decide_outcomes(MappedTransactions(headers({}), items({}), lost), Policy(), NOW)
    assert outcomes(verdict) == ["accepted"]
    assert reason_rows(verdict, None) == {("malformed_row", "rejected")}


def test_a_problem_of_an_unknown_transaction_is_a_bug() -> None:
    frames = MappedTransactions(headers({}), items({}), problems({TX: 7, "code": "header_conflict"}))
    with pytest.raises(AssertionError, match="no transaction"):
        decide_outcomes(frames, Policy(), NOW)


def test_a_transaction_that_is_there_twice_is_a_bug() -> None:
    twice = pl.concat([headers({}), headers({})])
    with pytest.raises(AssertionError, match="more than one"):
        decide_outcomes(MappedTransactions(twice, items({})), Policy(), NOW)


def test_an_item_without_its_sale_is_reported_once_and_not_as_a_sale_without_everything() -> None:
    blank = {name: None for name in headers({}).columns if name not in (TX, SOURCE, "__line")}
    headless = pl.Series(TX, [0], pl.UInt32)
    frames = MappedTransactions(headers(blank), items({}), problems({TX: 0, "code": "orphan_item"}), headless)
    assert reason_rows(decide_outcomes(frames, Policy(), NOW)) == {("orphan_item", "rejected")}


def test_a_sale_without_items_is_reported_once() -> None:
    empty = headers({"items_count": 0, "items_total": None})
    already = problems({TX: 0, "code": "items_missing"})
    for frames in (MappedTransactions(empty, items()), MappedTransactions(empty, items(), already)):
        verdict = decide_outcomes(frames, Policy(), NOW)
        assert verdict.reasons["code"].to_list() == ["items_missing"]


def test_sums_match_where_there_are_some_and_none_is_off() -> None:
    no_sum = {"items_total": None, "payments_total": None}
    off = {"items_total": Decimal("9.00")}
    paid_otherwise = {"payments_total": Decimal("12.50")}
    only_paid = {"items_total": None, "payments_total": Decimal("10.00")}
    found = with_matching_sums(mapped({}, no_sum, off, paid_otherwise, only_paid, BAD_TOTAL), Policy())
    assert found.to_list() == [0, 4]
    assert with_matching_sums(mapped(off), Policy({"total_mismatch": "off"})).is_empty()


def test_a_mapping_without_items_misses_none() -> None:
    no_items = items().select(TX, SOURCE, "__line")
    verdict = decide_outcomes(
        MappedTransactions(headers({"items_count": 0, "items_total": None}), no_items), Policy(), NOW
    )
    assert outcomes(verdict) == ["accepted"]


def test_codes_can_be_turned_around() -> None:
    policy = Policy({"guest": "reject", "total_mismatch": "warn", "draft": "off", "header_conflict": "warn"})
    frames = MappedTransactions(
        headers(GUEST, {"items_total": Decimal(1)}, PARKED, {}),
        items({}, {}, {}, {}),
        problems({TX: 3, "code": "header_conflict"}),
    )
    verdict = decide_outcomes(frames, policy, NOW)
    assert outcomes(verdict) == ["rejected", "accepted", "accepted", "accepted"]
    assert reason_rows(verdict, 0) == {("guest", "rejected")}
    assert reason_rows(verdict, 1) == {("total_mismatch", "warning")}
    assert reason_rows(verdict, 2) == set()
    assert reason_rows(verdict, 3) == {("header_conflict", "warning")}


@pytest.mark.parametrize(
    ("severity", "outcome", "reasons"),
    [
        ("off", "accepted", set()),
        ("warn", "accepted", {("partially_paid", "warning")}),
        ("reject", "rejected", {("partially_paid", "rejected")}),
    ],
)
def test_part_payment_can_be_turned_around(severity: Any, outcome: str, reasons: set[Any]) -> None:
    verdict = decide_outcomes(mapped(PART_PAID), Policy({"partially_paid": severity}), NOW)
    assert outcomes(verdict) == [outcome]
    assert reason_rows(verdict) == reasons


def test_a_malformed_customer_that_only_warns_makes_a_guest_sale() -> None:
    verdict = decide_outcomes(mapped(NOBODY, {}), Policy({"profile_invalid": "warn"}), NOW)
    assert outcomes(verdict) == ["accepted", "accepted"]
    assert verdict.headers.select("profile_id", "profile_id_handle").rows() == [
        (None, None),
        ("ann@example.com", "email"),
    ]


def test_own_rules_see_the_mapped_fields() -> None:
    rules = (
        OwnRule("huge", pl.sql_expr("total > 9999.99 AND currency = 'AUD'"), "more than a till takes"),
        OwnRule("old", pl.sql_expr("transacted_at < DATE '2024-01-01'"), "before the shop opened", "warn"),
        OwnRule("void", pl.sql_expr("is_void"), "void", "warn"),
    )
    big = {"total": Decimal(10_000), "items_total": Decimal(10_000), "paid": None}
    old = {"transacted_at": datetime(2023, 5, 1)}
    verdict = decide_outcomes(mapped(big, old, {"is_void": None}), Policy(rules=rules), NOW)
    assert outcomes(verdict) == ["rejected", "accepted", "accepted"]
    assert verdict.reasons.select(TX, "code", "outcome", "message").sort(TX).rows() == [
        (0, "huge", "rejected", "more than a till takes"),
        (1, "old", "warning", "before the shop opened"),
    ]


@pytest.mark.parametrize("when", ["no_such_field = 1", "total", "transacted_at < '2024-01-01'"])
def test_a_rule_that_cannot_be_computed_is_reported_by_name(when: str) -> None:
    policy = Policy(rules=(OwnRule("mine", pl.sql_expr(when), "…"),))
    with pytest.raises(CannotStart, match="rules: mine: "):
        decide_outcomes(mapped({}), policy, NOW)


def test_sales_can_be_rejected_afterwards_for_one_reason_alone() -> None:
    verdict = decide_outcomes(mapped(GUEST, GUEST, PARKED), Policy(), NOW)
    rows = pl.DataFrame({SOURCE: [0, 0], LINE: [12, 99], "message": ["too late", "nobody"]})
    after = verdict.rejecting(rows.cast({SOURCE: pl.UInt32}), "transacted_at_future")
    assert outcomes(after) == ["accepted", "rejected", "dropped"]
    assert reason_rows(after, 1) == {("transacted_at_future", "rejected")}
    assert after.reasons.filter(pl.col(TX) == 1)["message"].to_list() == ["too late"]
    assert reason_rows(after, 0) == {("guest", "warning")}
    assert after.transactions("accepted")[TX].to_list() == [0]
    assert after.transactions("rejected")[TX].to_list() == [1]


@pytest.mark.parametrize(("value", "is_reported"), [("N/A", False), ("other", True), (None, True)])
def test_a_computed_field_is_not_reported_beside_the_cell_that_makes_it_invalid(
    value: str | None, is_reported: bool
) -> None:
    computed = problems({TX: 0, "code": "field_invalid", "field": "margin", "value": value})
    own = headers({**BAD_TOTAL, "status|outcome": None, "status|raw": value})
    found = reasons_of(decide_outcomes(MappedTransactions(own, items({}), computed), Policy(), NOW).reasons)
    assert ("field_invalid", "margin") in found
    assert (("field_invalid", "status") in found) is is_reported


@pytest.mark.parametrize(
    ("change", "code", "fields"),
    [
        ({"currency": "aud"}, "currency_invalid", ["currency"]),
        ({"timezone": "Nowhere", "timezone|raw": "Nowhere"}, "timezone_unknown", ["timezone"]),
        (NOBODY, "profile_invalid", ["profile_id", "profile_id_handle"]),
    ],
)
def test_an_optional_value_is_left_out_where_its_code_only_warns(
    change: dict[str, Any], code: str, fields: list[str]
) -> None:
    clean = headers({}).select(fields).row(0)
    verdict = decide_outcomes(mapped(change, {}), Policy({code: "warn"}), NOW)
    assert verdict.headers.select(fields).rows() == [(None,) * len(fields), clean]
    assert reason_rows(verdict) == {(code, "warning")}
    rejected = decide_outcomes(mapped(change), Policy(), NOW).headers.select(fields).row(0)
    assert rejected == headers(change).select(fields).row(0)


def test_an_item_without_its_sale_has_its_other_problems_where_that_only_warns() -> None:
    headless = pl.Series(TX, [0], pl.UInt32)
    orphan = problems({TX: 0, "code": "orphan_item"})
    frames = MappedTransactions(headers({**BAD_TOTAL, **PARKED}), items({}), orphan, headless)
    assert ("total_invalid", "rejected") not in reason_rows(decide_outcomes(frames, Policy(), NOW))
    verdict = decide_outcomes(frames, Policy({"orphan_item": "warn"}), NOW)
    assert {("total_invalid", "rejected"), ("orphan_item", "warning")} <= reason_rows(verdict)
    assert outcomes(verdict) == ["rejected"]


def test_the_empty_bucket_is_judged() -> None:
    verdict = decide_outcomes(MappedTransactions(headers(), items()), Policy(), NOW)
    assert verdict.outcomes.is_empty()
    assert verdict.transactions("accepted").is_empty()


DEFECTS: list[dict[str, Any]] = [
    {},
    PARKED,
    PART_PAID,
    BAD_TOTAL,
    GUEST,
    {"currency": "?"},
    {"status|outcome": None},
    {"items_total": Decimal(1)},
    {"items_count": 0},
]


@pytest.mark.slow
@examples(40)
@given(
    combinations=st.lists(st.lists(st.sampled_from(DEFECTS), max_size=3), max_size=8),
    codes=st.dictionaries(
        st.sampled_from(["guest", "total_mismatch", "draft", "currency_invalid", "partially_paid"]),
        st.sampled_from(["reject", "warn", "off"]),
    ),
    extra=st.lists(st.sampled_from(sorted(CODES)), max_size=3),
)
def test_read_is_accepted_and_dropped_and_rejected(
    combinations: list[list[dict[str, Any]]], codes: dict[str, Any], extra: list[str]
) -> None:
    changes = [{key: value for each in defects for key, value in each.items()} for defects in combinations]
    found = problems(*[{TX: 0, "code": code} for code in extra if changes])
    verdict = decide_outcomes(
        MappedTransactions(headers(*changes), items(*[{} for _ in changes]), found), Policy(codes), NOW
    )
    assert verdict.outcomes[TX].to_list() == list(range(len(changes)))
    worst = {tx: set[str]() for tx in range(len(changes))}
    for tx, outcome in verdict.reasons.select(TX, "outcome").rows():
        worst[tx].add(outcome)
    for tx, outcome in verdict.outcomes.rows():
        assert worst[tx] - {"warning"} == ({outcome} - {"accepted"})


def test_a_rule_may_be_a_constant() -> None:
    verdict = decide_outcomes(
        mapped({}, {}), Policy(rules=(OwnRule("all", pl.sql_expr("true"), "…", "warn"),)), NOW
    )
    assert verdict.reasons.height == 2
