"""Every transaction gets exactly one outcome, and every violation is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

import polars as pl

from pipeline.core.codes import CODES, Outcome
from pipeline.core.errors import CannotStart
from pipeline.core.frames import NO_PROBLEMS, REASONS, problems_at
from pipeline.core.model import ITEM_FIELDS, LINE, SOURCE, TX
from pipeline.validation.declared_checks import completed, underpaid
from pipeline.validation.message_text import amount, quoted
from pipeline.validation.policy import OwnRule, Policy, Severity
from pipeline.validation.schemas import header_problems, item_problems

ACCEPTED: Final = "accepted"
DROPS: Final = tuple(name for name, code in CODES.items() if code.outcome is Outcome.DROPPED)
_ABOUT_ROWS: Final = ("duplicate_row", "older_version", "encoding_replaced")
"""Warnings that speak of rows, whatever becomes of the transaction."""
_ABOUT_IMPORT: Final = ("guest", "transacted_at_ambiguous")
"""Warnings that say how a transaction is imported; they mean nothing where it is not."""
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
"""Optional fields that a malformed value is taken out of where its code only warns."""


class MappedFrames(Protocol):
    """What the mapping gives for one bucket; see `judge`."""

    @property
    def headers(self) -> pl.DataFrame:
        """One row a transaction: TX, SOURCE, LINE and its fields, each beside the text it was read from."""

    @property
    def items(self) -> pl.DataFrame:
        """One row an item: TX, SOURCE, LINE and its fields."""

    @property
    def problems(self) -> pl.DataFrame:
        """One row a problem that was found on the way, as `PROBLEMS`."""

    @property
    def headless(self) -> pl.Series:
        """TX of the transactions whose header row was not read: what their headers say means nothing."""


@dataclass(frozen=True)
class TransactionOutcomes:
    """What became of one bucket's transactions.

    Attributes:
        outcomes: TX and `outcome` (accepted, dropped, rejected): one row a transaction, in TX order.
        reasons: As `REASONS`, in no particular order. A transaction that its status drops has that one
            reason, and warnings about its rows; any other has every violation.
        headers: The headers that were judged, without the optional values that a warning left out.
    """

    outcomes: pl.DataFrame
    reasons: pl.DataFrame
    headers: pl.DataFrame

    def transactions(self, outcome: str) -> pl.DataFrame:
        """The headers with one outcome, in TX order."""
        chosen = self.outcomes.filter(pl.col("outcome") == outcome)
        return self.headers.join(chosen.select(TX), on=TX, how="semi", maintain_order="left")

    def rejecting(self, rows: pl.DataFrame, code: str) -> TransactionOutcomes:
        """The verdict with some transactions rejected for one reason alone.

        Args:
            rows: SOURCE, LINE and `message` of their rows.
            code: The reason's code.
        """
        concerned = self.headers.select(TX, SOURCE, LINE).join(rows, on=[SOURCE, LINE])
        told = problems_at(concerned, code, pl.col("message"))
        told = told.with_columns(outcome=pl.lit(Outcome.REJECTED.value)).select(REASONS.keys())
        is_rejected = pl.col(TX).is_in(concerned[TX].implode())
        outcome = pl.when(is_rejected).then(pl.lit(Outcome.REJECTED.value)).otherwise("outcome")
        others = self.reasons.filter(~is_rejected.fill_null(value=False))
        return replace(
            self, outcomes=self.outcomes.with_columns(outcome=outcome), reasons=pl.concat([others, told])
        )


def decide_outcomes(mapped: MappedFrames, policy: Policy, now: datetime) -> TransactionOutcomes:
    """Decide for every transaction of a bucket.

    A status that drops wins, and nothing else is judged then; a transaction whose header row was not read
    has none. Otherwise any rejection rejects. Otherwise a
    sale that is paid less than its total is dropped as `partially_paid`. Everything else is accepted.

    Args:
        mapped: The bucket's frames.
        policy: What each code does.
        now: When the run started; a naive value is UTC.

    Raises:
        CannotStart: A rule of the mapping's own cannot be computed.
    """
    headers = mapped.headers
    headed = headers.filter(~pl.col(TX).is_in(mapped.headless.implode()))
    problems = [_status_problems(headed), mapped.problems, _violations(mapped, policy, now)]
    found = pl.concat([_classified(each, policy) for each in problems])
    unpaid = _unpaid(headers, found, policy)
    reasons = _undropped_only(pl.concat([found, unpaid]))
    outcomes = _outcomes(headers, reasons)
    _check_conservation(headers, outcomes, reasons)
    return TransactionOutcomes(outcomes, reasons, _left_out(headers, reasons))


def with_matching_sums(mapped: MappedFrames, policy: Policy, now: datetime) -> pl.Series:
    """TX of the transactions whose items, and payments where they have amounts, add up to their total."""
    strict = Policy(tolerances=policy.tolerances)  # also where the mapping does not want to know
    found = header_problems(mapped.headers, strict, now, with_items=True)
    off = found.filter(pl.col("code").is_in(_SUMS))[TX]
    headers = mapped.headers.filter(pl.col("total").is_not_null(), ~pl.col(TX).is_in(off.implode()))
    sums = [name for name in ("items_total", "payments_total") if name in headers.columns]
    return headers.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in sums))[TX]


_SUMS: Final = ("total_mismatch", "payments_mismatch")


def _violations(mapped: MappedFrames, policy: Policy, now: datetime) -> pl.DataFrame:
    with_items = any(name in ITEM_FIELDS for name in mapped.items.columns)
    found = [
        header_problems(mapped.headers, policy, now, with_items=with_items),
        item_problems(mapped.items, policy) if with_items else NO_PROBLEMS,
        *(_own_problems(mapped.headers, rule) for rule in policy.rules),
    ]
    problems = _told_once(pl.concat(found))
    # Where there is no header row, there is none to judge; a sale found to be without items is told once.
    told = _having(mapped.problems, "items_missing")
    return problems.filter(
        ~pl.col(TX).is_in(_rejected_headless(mapped, policy).implode()).fill_null(value=False)
        & ((pl.col("code") != "items_missing") | ~pl.col(TX).is_in(told[TX].implode()))
    )


def _rejected_headless(mapped: MappedFrames, policy: Policy) -> pl.Series:
    """Those of the transactions without a header row that are rejected for it, as the mapping wants it."""
    if mapped.headless.is_empty():
        return mapped.headless
    rejected = _transactions(_classified(mapped.problems, policy), Outcome.REJECTED)
    return mapped.headless.filter(mapped.headless.is_in(rejected[TX].implode()))


def _told_once(problems: pl.DataFrame) -> pl.DataFrame:
    """Leave out computed fields that are invalid only for a cell which another code names already."""
    again = pl.col("code") == "field_invalid"
    computed = problems.filter(again)
    if computed.is_empty():
        return problems
    named = problems.filter(~again).select(TX, "value").drop_nulls()
    return pl.concat([problems.filter(~again), computed.join(named, on=[TX, "value"], how="anti")])


def _having(problems: pl.DataFrame, code: str) -> pl.DataFrame:
    return problems.filter((pl.col("code") == code) & pl.col(TX).is_not_null()).select(TX).unique()


def _status_problems(headers: pl.DataFrame) -> pl.DataFrame:
    if "status|outcome" not in headers.columns:
        return NO_PROBLEMS
    raw = pl.col("status|raw") if "status|raw" in headers.columns else pl.lit(None, pl.String)
    titles = {name: CODES[name].title.lower() for name in DROPS}
    code = pl.col("status|outcome")
    message = (
        pl.when(raw.is_null())
        .then(code.replace(titles))
        .otherwise(pl.format("status {}: {}", quoted(raw), code.replace(titles)))
    )
    return problems_at(headers.filter(code.is_in(DROPS)), code, message, field="status", value=raw)


def _own_problems(headers: pl.DataFrame, rule: OwnRule) -> pl.DataFrame:
    return problems_at(headers.filter(_holds(headers, rule)), rule.code, rule.message)


def _holds(headers: pl.DataFrame, rule: OwnRule) -> pl.Series:
    """Where the rule's condition holds; a condition that is null does not."""
    try:
        holds = _computed(headers, rule)
    except pl.exceptions.PolarsError:
        _can_be_computed(headers.clear(), rule)
        raise
    if holds.dtype != pl.Boolean:
        raise CannotStart(f"rules: {rule.code}: a condition was expected, but it gives {holds.dtype}.")
    return holds.fill_null(value=False)


def _computed(headers: pl.DataFrame, rule: OwnRule) -> pl.Series:
    for column in rule.first:
        headers = headers.with_columns(column)
    return headers.select(TX, rule.when.alias("holds"))["holds"]


def _can_be_computed(none: pl.DataFrame, rule: OwnRule) -> None:
    known = ", ".join(name for name in none.columns if "|" not in name and not name.startswith("__"))
    try:
        _computed(none, rule)
    except pl.exceptions.PolarsError as error:
        raise CannotStart(
            f"rules: {rule.code}: the condition cannot be computed: {error}",
            hint=f"Fields that it may use: {known}. A date is written DATE '2024-12-31'.",
        ) from None


def _classified(problems: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Problems as `REASONS`; those whose code is off are gone."""
    by_code = {code: policy.severity(code) for code in problems["code"].unique()}
    outcome = pl.coalesce("severity", pl.col("code").replace_strict(by_code, return_dtype=pl.String))
    named = outcome.replace_strict(_OUTCOMES, default=None, return_dtype=pl.String).alias("outcome")
    return problems.with_columns(named).filter(pl.col("outcome").is_not_null()).select(REASONS.keys())


def _transactions(reasons: pl.DataFrame, outcome: Outcome) -> pl.DataFrame:
    chosen = (pl.col("outcome") == outcome.value) & pl.col(TX).is_not_null()
    return reasons.filter(chosen).select(TX).unique()


def _unpaid(headers: pl.DataFrame, found: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Sales that are paid less than their total, among those that nothing drops or rejects."""
    settled = found.filter(pl.col("outcome") != Outcome.WARNING.value).select(TX)
    rows = completed(headers).filter(underpaid(policy)).join(settled, on=TX, how="anti")
    if rows.is_empty():
        return pl.DataFrame(schema=REASONS)
    paid, total = amount(pl.col("paid")), amount(pl.col("total"))
    message = pl.format("{} of {} is paid", paid, total)
    return _classified(problems_at(rows, "partially_paid", message, field="paid", value=paid), policy)


def _undropped_only(reasons: pl.DataFrame) -> pl.DataFrame:
    """Leave a dropped transaction its reason to be dropped, and what is told of its rows as such.

    How a transaction is imported is told of none that is not.
    """
    dropped, rejected = (_transactions(reasons, each)[TX] for each in (Outcome.DROPPED, Outcome.REJECTED))
    is_dropped = pl.col(TX).is_in(dropped.implode()).fill_null(value=False)
    is_rejected = pl.col(TX).is_in(rejected.implode()).fill_null(value=False)
    about_import = (pl.col("outcome") == Outcome.WARNING.value) & pl.col("code").is_in(_ABOUT_IMPORT)
    stays = (pl.col("outcome") == Outcome.DROPPED.value) | (
        (pl.col("outcome") == Outcome.WARNING.value) & pl.col("code").is_in(_ABOUT_ROWS)
    )
    return reasons.filter((~is_dropped | stays) & ~(is_rejected & about_import))


def _outcomes(headers: pl.DataFrame, reasons: pl.DataFrame) -> pl.DataFrame:
    dropped, rejected = (
        pl.col(TX).is_in(_transactions(reasons, outcome)[TX].implode())
        for outcome in (Outcome.DROPPED, Outcome.REJECTED)
    )
    outcome = (
        pl.when(rejected)
        .then(pl.lit(Outcome.REJECTED.value))
        .when(dropped)
        .then(pl.lit(Outcome.DROPPED.value))
        .otherwise(pl.lit(ACCEPTED))
    )
    return headers.select(TX, outcome.alias("outcome")).sort(TX)


def _check_conservation(headers: pl.DataFrame, outcomes: pl.DataFrame, reasons: pl.DataFrame) -> None:
    """Every transaction has exactly one outcome, and every reason speaks of a transaction that was read."""
    if outcomes[TX].n_unique() != headers.height:
        raise AssertionError("a transaction has no outcome, or more than one")
    strangers = reasons.filter(pl.col(TX).is_not_null()).join(headers, on=TX, how="anti")
    if not strangers.is_empty():
        raise AssertionError(f"{strangers.height} reasons belong to no transaction of the bucket")


def _left_out(headers: pl.DataFrame, reasons: pl.DataFrame) -> pl.DataFrame:
    """Take malformed optional values out where the mapping only warns about them."""
    for code, fields in _LEFT_OUT.items():
        told = reasons.filter((pl.col("code") == code) & (pl.col("outcome") == Outcome.WARNING.value))
        present = [name for name in fields if name in headers.columns]
        if not told.is_empty() and present:
            kept = ~pl.col(TX).is_in(told[TX].implode())
            headers = headers.with_columns(pl.when(kept).then(pl.col(name)).alias(name) for name in present)
    return headers
