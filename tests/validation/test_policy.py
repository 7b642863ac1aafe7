from decimal import Decimal

import polars as pl
import pytest

from pipeline.core.codes import CODES, Outcome
from pipeline.core.errors import CannotStart
from pipeline.validation.policy import OwnRule, Policy


def test_each_code_does_by_default_what_the_model_says() -> None:
    policy = Policy()
    severities = {Outcome.DROPPED: "drop", Outcome.REJECTED: "reject", Outcome.WARNING: "warn"}
    assert {code: policy.severity(code) for code in CODES} == {
        name: severities[code.outcome] for name, code in CODES.items()
    }


def test_a_mapping_can_turn_codes_around() -> None:
    policy = Policy({"guest": "reject", "total_mismatch": "warn", "profile_invalid": "off"})
    assert [policy.severity(code) for code in ("guest", "total_mismatch", "profile_invalid")] == [
        "reject",
        "warn",
        "off",
    ]


def test_own_rules_have_their_own_severity() -> None:
    policy = Policy(
        rules=(
            OwnRule("too_big", pl.sql_expr("total > 1"), "big", "warn"),
            OwnRule("odd", pl.sql_expr("total < 1"), "odd"),
        )
    )
    assert (policy.severity("too_big"), policy.severity("odd")) == ("warn", "reject")


def test_a_code_that_is_not_known_rejects() -> None:
    assert Policy().severity("nowhere") == "reject"
    assert Policy().tolerance("guest") == 0


@pytest.mark.parametrize("code", [code.name for code in CODES.values() if code.instead_of_reject])
def test_what_is_about_the_run_cannot_reject_a_sale(code: str) -> None:
    with pytest.raises(CannotStart, match=f"{code} cannot be 'reject'"):
        Policy({code: "reject"})
    assert Policy({code: "warn"}).severity(code) == "warn"


def test_tolerances_have_defaults() -> None:
    policy = Policy(tolerances={"total_mismatch": Decimal("0.05")})
    assert policy.tolerance("total_mismatch") == Decimal("0.05")
    assert Policy().tolerance("total_mismatch") == Decimal("0.01")
    assert Policy().tolerance("partially_paid") == Decimal("0.05")


@pytest.mark.parametrize("code", [code.name for code in CODES.values() if code.always])
def test_what_cannot_be_sent_cannot_be_let_through(code: str) -> None:
    with pytest.raises(CannotStart, match=f"{code} cannot be 'warn'"):
        Policy({code: "warn"})
    assert Policy({code: "reject"}).severity(code) == "reject"
