"""Every transaction gets exactly one outcome, and every problem is reported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.core.codes import ABOUT_IMPORT, CODES, Outcome
from pipeline.core.frames import NO_PROBLEMS, REASONS, problems_at
from pipeline.core.model import ITEM_FIELDS, LINE, SOURCE, TX
from pipeline.core.storage.partition_frames import MappedTransactions
from pipeline.validation.declared_checks import completed, sum_checks, underpaid
from pipeline.validation.message_text import amount, quoted
from pipeline.validation.own_rules import own_problems
from pipeline.validation.policy import Policy, Severity
from pipeline.validation.schemas import header_problems, item_problems

ACCEPTED: Final = "accepted"
DROPS: Final = tuple(name for name, code in CODES.items() if code.outcome is Outcome.DROPPED)
_ABOUT_ROWS: Final = ("duplicate_row", "older_version", "encoding_replaced")
"""Warnings about rows: they are reported whatever the outcome of the transaction is."""
_OUTCOMES: Final[dict[Severity, str]] = {
    "drop": Outcome.DROPPED.value,
    "reject": Outcome.REJECTED.value,
    "warn": Outcome.WARNING.value,
}
_LEFT_OUT: Final = {
    "profile_invalid": ("profile_id", "profile_id_handle"),
    "currency_invalid": ("currency",),
    "timezone_unknown": ("timezone",),
}
"""Optional fields that lose a malformed value where its code only warns."""


@dataclass(frozen=True)
class TransactionOutcomes:
    """The outcomes of the transactions of one partition.

    Attributes:
        outcomes: TX and `outcome` (accepted, dropped, rejected): one row a transaction, in TX order.
        reasons: As `REASONS`, in no particular order. A transaction that is dropped for its status has that
            reason and warnings about its rows; any other has all its problems.
        headers: The headers, without the optional values that a warning left out.
    """

    outcomes: pl.DataFrame
    reasons: pl.DataFrame
    headers: pl.DataFrame

    def transactions(self, outcome: str) -> pl.DataFrame:
        """The headers with one outcome, in TX order."""
        chosen = self.outcomes.filter(pl.col("outcome") == outcome)
        return self.headers.join(chosen.select(TX), on=TX, how="semi", maintain_order="left")

    def rejecting(self, rows: pl.DataFrame, code: str) -> TransactionOutcomes:
        """The same, with the transactions of some rows rejected for one reason alone.

        Args:
            rows: SOURCE, LINE and `message` of the rows.
            code: The code of the reason.
        """
        concerned = self.headers.select(TX, SOURCE, LINE).join(rows, on=[SOURCE, LINE])
        rejected = pl.lit(Outcome.REJECTED.value)
        problems = problems_at(concerned, code, pl.col("message"))
        reasons = problems.with_columns(outcome=rejected).select(REASONS.keys())
        is_concerned = _is_one_of(concerned[TX])
        outcome = pl.when(is_concerned).then(rejected).otherwise("outcome")
        return replace(
            self,
            outcomes=self.outcomes.with_columns(outcome=outcome),
            reasons=pl.concat([self.reasons.filter(~is_concerned), reasons]),
        )


def decide_outcomes(mapped: MappedTransactions, policy: Policy, now: datetime) -> TransactionOutcomes:
    """Decide the outcome of every transaction of a partition.

    A status that drops comes first, and nothing else of such a transaction is checked; a transaction without
    a header row has no status. Otherwise any rejection rejects. Otherwise a sale that is paid less than its
    total is dropped as `partially_paid`. Everything else is accepted.

    Args:
        mapped: The frames of the partition.
        policy: What each code does.
        now: When the run started; a naive value is UTC.

    Raises:
        CannotStart: One of the mapping's own rules cannot be computed.
    """
    headers = mapped.headers
    with_status = headers.filter(~_is_one_of(mapped.headless))
    problems = [_status_problems(with_status), mapped.problems, _problems_of_fields(mapped, policy, now)]
    found = _classified(pl.concat(problems), policy)
    found = pl.concat([found, _unpaid(headers, found, policy)])
    is_dropped, is_rejected = (
        _is_one_of(found.filter(pl.col("outcome") == outcome.value)[TX].unique())
        for outcome in (Outcome.DROPPED, Outcome.REJECTED)
    )
    reasons = found.filter(_is_reported(is_dropped, is_rejected))
    outcome = (
        pl.when(is_dropped)
        .then(pl.lit(Outcome.DROPPED.value))
        .when(is_rejected)
        .then(pl.lit(Outcome.REJECTED.value))
        .otherwise(pl.lit(ACCEPTED))
    )
    outcomes = headers.select(TX, outcome.alias("outcome")).sort(TX)
    _check_conservation(headers, outcomes, reasons)
    return TransactionOutcomes(outcomes, reasons, _without_left_out(headers, reasons))


def with_matching_sums(mapped: MappedTransactions, policy: Policy) -> pl.Series:
    """TX of the transactions whose items, and payments where they have amounts, add up to their total.

    Whatever the mapping does with the codes of sums: only its tolerances count.
    """
    headers = completed(mapped.headers).filter(pl.col("total").is_not_null())
    has_sum = pl.any_horizontal(pl.col("items_total", "payments_total").is_not_null())
    adds_up = pl.all_horizontal(each.passes.fill_null(value=True) for each in sum_checks(policy))
    return headers.filter(has_sum & adds_up)[TX]


def _is_one_of(transactions: pl.Series) -> pl.Expr:
    """Whether a row belongs to one of some transactions; never null, and nulls are none."""
    return pl.col(TX).is_in(transactions.implode()).fill_null(value=False)


def _problems_of_fields(mapped: MappedTransactions, policy: Policy, now: datetime) -> pl.DataFrame:
    """The problems that the declared checks and the mapping's own rules find."""
    with_items = any(name in ITEM_FIELDS for name in mapped.items.columns)
    found = [
        header_problems(mapped.headers, policy, now, with_items=with_items),
        item_problems(mapped.items, policy) if with_items else NO_PROBLEMS,
        *(own_problems(mapped.headers, rule) for rule in policy.rules),
    ]
    problems = _without_consequences(pl.concat(found))
    # The mapping may have reported sales without items already.
    is_repeated = (pl.col("code") == "items_missing") & _is_one_of(
        mapped.problems.filter(pl.col("code") == "items_missing")[TX]
    )
    return problems.filter(~_is_one_of(_rejected_headless(mapped, policy)) & ~is_repeated)


def _rejected_headless(mapped: MappedTransactions, policy: Policy) -> pl.Series:
    """Transactions rejected for their missing header row; their other problems only repeat that."""
    if mapped.headless.is_empty():
        return mapped.headless
    reasons = _classified(mapped.problems, policy)
    rejected = reasons.filter(pl.col("outcome") == Outcome.REJECTED.value)[TX]
    return mapped.headless.filter(mapped.headless.is_in(rejected.implode()))


def _without_consequences(problems: pl.DataFrame) -> pl.DataFrame:
    """Leave out computed fields that are invalid only because of a cell that has another problem."""
    is_invalid = pl.col("code") == "field_invalid"
    invalid = problems.filter(is_invalid)
    if invalid.is_empty():
        return problems
    others = problems.filter(~is_invalid)
    named = others.select(TX, "value").drop_nulls()
    return pl.concat([others, invalid.join(named, on=[TX, "value"], how="anti")])


def _status_problems(headers: pl.DataFrame) -> pl.DataFrame:
    if "status|outcome" not in headers.columns:
        return NO_PROBLEMS
    code, raw = pl.col("status|outcome"), pl.col("status|raw")
    title = code.replace({name: CODES[name].title.lower() for name in DROPS})
    message = pl.when(raw.is_null()).then(title).otherwise(pl.format("status {}: {}", quoted(raw), title))
    dropped = completed(headers.filter(code.is_in(DROPS)))
    return problems_at(dropped, code, message, field="status", value=raw)


def _classified(problems: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Problems as `REASONS`, without those whose code is off."""
    by_code = {code: policy.severity(code) for code in problems["code"].unique()}
    severity = pl.coalesce("severity", pl.col("code").replace_strict(by_code, return_dtype=pl.String))
    outcome = severity.replace_strict(_OUTCOMES, default=None, return_dtype=pl.String).alias("outcome")
    return problems.with_columns(outcome).drop_nulls("outcome").select(REASONS.keys())


def _unpaid(headers: pl.DataFrame, found: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Sales that are paid less than their total, among those that nothing drops or rejects."""
    settled = found.filter(pl.col("outcome") != Outcome.WARNING.value).select(TX)
    rows = completed(headers).filter(underpaid(policy)).join(settled, on=TX, how="anti")
    paid = amount(pl.col("paid"))
    message = pl.format("{} of {} is paid", paid, amount(pl.col("total")))
    return _classified(problems_at(rows, "partially_paid", message, field="paid", value=paid), policy)


def _is_reported(is_dropped: pl.Expr, is_rejected: pl.Expr) -> pl.Expr:
    """Whether a reason is reported, given whether its transaction is dropped or rejected."""
    warns = pl.col("outcome") == Outcome.WARNING.value
    about_rows = warns & pl.col("code").is_in(_ABOUT_ROWS)
    about_import = warns & pl.col("code").is_in(ABOUT_IMPORT)
    drops = pl.col("outcome") == Outcome.DROPPED.value
    return (~is_dropped | drops | about_rows) & ~(is_rejected & about_import)


def _check_conservation(headers: pl.DataFrame, outcomes: pl.DataFrame, reasons: pl.DataFrame) -> None:
    """Every transaction has exactly one outcome, and every reason belongs to a transaction that was read."""
    if outcomes[TX].n_unique() != headers.height:
        raise AssertionError("a transaction has no outcome, or more than one")
    unknown = reasons.drop_nulls(TX).join(headers, on=TX, how="anti")
    if not unknown.is_empty():
        raise AssertionError(f"{unknown.height} reasons belong to no transaction of the partition")


def _without_left_out(headers: pl.DataFrame, reasons: pl.DataFrame) -> pl.DataFrame:
    """Remove malformed optional values where the mapping only warns about them."""
    for code, fields in _LEFT_OUT.items():
        warned = reasons.filter((pl.col("code") == code) & (pl.col("outcome") == Outcome.WARNING.value))
        present = [name for name in fields if name in headers.columns]
        if not warned.is_empty() and present:
            kept = ~_is_one_of(warned[TX])
            headers = headers.with_columns(pl.when(kept).then(pl.col(name)).alias(name) for name in present)
    return headers
