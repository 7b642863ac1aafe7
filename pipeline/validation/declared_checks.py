"""The declared checks of mapped transactions and items: one for each way in which a field can be wrong.

A check belongs to one column and gives one code. Its expressions may use any column of `SUPPORTING`, and the
`|raw` column of any field: where the mapping gives no such column, `completed` adds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

import polars as pl

from pipeline.core.currencies import smallest_amount
from pipeline.core.frames import MONEY, SUM, problems_at, type_of
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Field, Kind
from pipeline.core.time_zones import iana_zones
from pipeline.validation.message_text import amount, quoted
from pipeline.validation.policy import Policy, Severity

_KIND_WORDS: Final[Mapping[Kind, str]] = {
    Kind.DECIMAL: "an amount",
    Kind.INTEGER: "a whole number",
    Kind.BOOLEAN: "a yes or a no",
    Kind.DATETIME: "a date in the form that the mapping gives",
}
TYPES: Final[Mapping[str, pl.DataType]] = {
    field.name: type_of(field.kind) for field in (*ITEM_FIELDS.values(), *TRANSACTION_FIELDS.values())
}
"""The type of each field's column."""

SUPPORTING: Final[Mapping[str, pl.DataType]] = {
    "total": MONEY,
    "total|raw": pl.String(),
    "transacted_at": pl.Datetime("us"),
    "transacted_at|local": pl.Datetime("us"),
    "transacted_at|ambiguous": pl.Boolean(),
    "transacted_at|nonexistent": pl.Boolean(),
    "timezone": pl.String(),
    "timezone|raw": pl.String(),
    "profile_id_handle": pl.String(),
    "profile_id|no_person": pl.String(),
    "currency": pl.String(),
    "is_void": pl.Boolean(),
    "rounding": MONEY,
    "status|raw": pl.String(),
    "paid": MONEY,
    "payments_total": MONEY,
    "items_total": MONEY,
    "items_count": pl.UInt32(),
    "lines_set_apart": pl.String(),
    "set_apart_total": SUM,
}
"""Columns that checks of other columns use."""

# One `@`, no blanks or list separators, a domain with a dot: what mail systems accept, except quoted names.
_EMAIL: Final = r"^[^\s@<>()\[\]\\,;:\"]+@([^\s@<>()\[\]\\,;:\".]+\.)+[^\s@<>()\[\]\\,;:\".]{2,}$"
# RFC 5321, section 4.5.3.1.3, without the angle brackets.
_EMAIL_LENGTH: Final = 254
_UUID: Final = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_CURRENCY: Final = r"^[A-Z]{3}$"
# The clocks of tills are often a few minutes fast: without this a sale of the last minutes would be rejected.
CLOCKS_AHEAD: Final = timedelta(minutes=15)
# Before 1980 tills kept no electronic records, and 1970 and 1900 are what programs write for a missing date.
_EARLIEST_LIKELY: Final = datetime(1980, 1, 1)  # noqa: DTZ001 UTC, as all times here
# 1954 to 2119, if it counts a spreadsheet's days.
_DAY_NUMBER: Final = r"^[2-7][0-9]{4}(?:\.[0-9]+)?$"
_DAY_HINT: Final = "; where it is a day's number in a spreadsheet, read it with the format spreadsheet_days"
_SET_APART_HINT: Final = (
    ", which is the difference: leave them out of the total as well (`lines: kept` beside its `sum`, or less "
    "a sum with `lines: skipped`), or make them items"
)
_NONE: Final = pl.lit(None, pl.String)


@dataclass(frozen=True)
class DeclaredCheck:
    """One check of one column.

    Attributes:
        column: The column that is checked; where the mapping does not give it, the check is left out.
        code: The code of the rows that fail.
        expects: What the column must be, for the docs: a phrase that follows the name of the field.
        passes: True where the row is fine; null counts as fine.
        message: A sentence for people, for the rows that fail.
        field: Omneo's field, or the part of the transaction that the code is about; by default the column.
        value: The cell's text, for the rows that fail; by default the text that the column was read from.
        severity: What a failure does whatever the policy says; None leaves it to the policy.
        is_usual: Whether nearly every file has rows that fail, without anything being wrong with them.
    """

    column: str
    code: str
    expects: str
    passes: pl.Expr
    message: pl.Expr
    field: str = ""
    value: pl.Expr | None = None
    severity: Severity | None = None
    is_usual: bool = False

    def __post_init__(self) -> None:
        # A check is usually about its own column and the text that this was read from.
        object.__setattr__(self, "field", self.field or self.column)
        object.__setattr__(self, "value", _raw(self.column) if self.value is None else self.value)


def transaction_checks(policy: Policy, now: datetime) -> tuple[DeclaredCheck, ...]:
    """The checks of headers.

    Args:
        policy: Gives the tolerances.
        now: When the run started; a naive value is UTC.
    """
    started = now.astimezone(UTC).replace(tzinfo=None) if now.tzinfo else now
    return (
        *_field_checks(TRANSACTION_FIELDS),
        *_date_checks(started),
        _zone_check(),
        *_customer_checks(),
        _currency_check(),
        _currency_given(),
        *map(_fineness_check, ("total", "payments_total", "rounding")),
        _status_check(),
        _paid_check(),
        *sum_checks(policy),
        DeclaredCheck(
            "items_count",
            "items_missing",
            "is at least one, where the mapping gives items",
            pl.col("items_count") > 0,
            pl.format(
                "the sale has no items{}", _set_apart(", since the mapping leaves out all of its lines ({})")
            ),
            field="items",
            value=_NONE,
        ),
    )


def item_checks() -> tuple[DeclaredCheck, ...]:
    """The checks of items."""
    return tuple(_field_checks(ITEM_FIELDS))


def problems_of(check: DeclaredCheck, rows: pl.DataFrame) -> pl.DataFrame:
    """What is said of rows that fail a check, as `PROBLEMS`: one row each.

    Args:
        check: The check.
        rows: Those that fail it, in one chunk, with all columns that it uses.
    """
    return problems_at(
        rows, check.code, check.message, field=check.field, value=check.value, severity=check.severity
    )


def completed(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the columns that checks use and the mapping does not give: nulls, and a field as its own text."""
    # Only those that are missing: making an expression for each takes longer than checking a partition.
    present = frozenset(frame.columns)
    texts = [name for name in TYPES if name in present and f"{name}|raw" not in present]
    frame = frame.with_columns_seq(pl.col(name).cast(pl.String).alias(f"{name}|raw") for name in texts)
    nulls = SUPPORTING.keys() - frame.columns
    return frame.with_columns_seq(pl.lit(None, SUPPORTING[name]).alias(name) for name in sorted(nulls))


def underpaid(policy: Policy) -> pl.Expr:
    """True where a sale (a positive total, not void) is paid less than its total; over `completed` headers.

    Cash is rounded to the coins that exist. Unless the mapping sets a tolerance, a sale may fall short by
    what that usually leaves, or by its own `rounding` where that is more.
    """
    allowed: pl.Expr = pl.lit(policy.tolerance("partially_paid"))
    if "partially_paid" not in policy.tolerances:
        allowed = pl.max_horizontal(allowed.cast(MONEY), pl.col("rounding").abs())
    short = pl.col("total") - pl.col("paid") > allowed
    return (_is_sale() & short).fill_null(value=False)


def _raw(name: str) -> pl.Expr:
    """The cell's text before it was read."""
    return pl.col(f"{name}|raw")


def _field_checks(fields: Mapping[str, Field]) -> Iterator[DeclaredCheck]:
    """Required fields have a value, and a cell that is not blank could be read."""
    for field in fields.values():
        if field.name == "transacted_at":  # its checks tell more cases apart
            continue
        value, raw = pl.col(field.name), _raw(field.name)
        blank, misread = pl.lit(f"{field.name} is blank"), _misread(field.name, field.kind)
        kind = _KIND_WORDS.get(field.kind, "a text")
        if field.missing is not None and field.missing == field.invalid:
            message = pl.when(raw.is_null()).then(blank).otherwise(misread)
            yield DeclaredCheck(field.name, field.missing, f"is {kind}", value.is_not_null(), message)
            continue
        if field.missing is not None:
            is_there = value.is_not_null() | raw.is_not_null()
            yield DeclaredCheck(field.name, field.missing, "is not blank", is_there, blank)
        if field.kind in _KIND_WORDS:
            is_read = value.is_not_null() | raw.is_null()
            yield DeclaredCheck(field.name, field.invalid, f"is {kind}", is_read, misread)


def _misread(name: str, kind: Kind) -> pl.Expr:
    return pl.format("{} is not {}", quoted(_raw(name), name), pl.lit(_KIND_WORDS.get(kind, "a text")))


# ── Date, time and zone ──────────────────────────────────────────────────────────────────────────────


def _date_checks(started: datetime) -> Iterator[DeclaredCheck]:
    at, raw = pl.col("transacted_at"), _raw("transacted_at")
    unread = at.is_null() & pl.col("transacted_at|local").is_null()
    repeated = pl.col("transacted_at|ambiguous").fill_null(value=False)
    nonexistent = pl.col("transacted_at|nonexistent").fill_null(value=False)
    in_zone = pl.format("{} in {}", quoted(raw), _zone_text().fill_null("its time zone"))
    happened_twice = in_zone + pl.lit(" happened twice, when the clock was put back")
    day_hint = pl.when(raw.str.contains(_DAY_NUMBER)).then(pl.lit(_DAY_HINT)).otherwise(pl.lit(""))
    yield DeclaredCheck(
        "transacted_at",
        "transacted_at_missing",
        "is not blank",
        ~(unread & raw.is_null()),
        pl.lit("transacted_at is blank"),
    )
    yield DeclaredCheck(
        "transacted_at",
        "transacted_at_invalid",
        f"is {_KIND_WORDS[Kind.DATETIME]}",
        ~(unread & raw.is_not_null()),
        _misread("transacted_at", Kind.DATETIME) + day_hint,
    )
    yield DeclaredCheck(
        "transacted_at",
        "transacted_at_nonexistent",
        "is a time that the clocks of its zone showed",
        ~nonexistent,
        in_zone + pl.lit(" never happened: the clock skipped that hour"),
    )
    # A repeated time without a UTC value was not resolved: then the mapping asked for a rejection.
    yield DeclaredCheck(
        "transacted_at",
        "transacted_at_ambiguous",
        "is a time that the clocks of its zone showed once, where the mapping rejects others",
        ~(repeated & at.is_null()),
        happened_twice,
        severity="reject",
    )
    yield DeclaredCheck(
        "transacted_at",
        "transacted_at_ambiguous",
        "is a time that the clocks of its zone showed once",
        ~(repeated & at.is_not_null()),
        happened_twice + pl.format("; it was taken as {} UTC", at.dt.strftime("%H:%M:%S")),
    )
    yield DeclaredCheck(
        "transacted_at",
        "transacted_at_future",
        f"is at most {CLOCKS_AHEAD.seconds // 60} minutes after the run started",
        at <= started + CLOCKS_AHEAD,
        quoted(raw) + pl.lit(f" is after the run started ({started:%Y-%m-%d %H:%M:%S} UTC)"),
    )
    yield DeclaredCheck(
        "transacted_at",
        "transacted_at_implausible",
        f"is in {_EARLIEST_LIKELY.year} or later",
        at >= _EARLIEST_LIKELY,
        pl.format("{} is read as the year {}, before tills kept such data", quoted(raw), at.dt.year()),
    )


@cache
def _zones() -> pl.Series:
    return pl.Series(sorted(iana_zones()))


def _zone_text() -> pl.Expr:
    """The zone as it was written, else as it was understood."""
    return pl.coalesce("timezone|raw", "timezone")


def _zone_check() -> DeclaredCheck:
    text = _zone_text()
    known = pl.col("timezone").is_in(_zones().implode()).fill_null(value=False)
    is_unknown = text.is_not_null() & ~known
    # A local time that happened, and happened once, has a UTC value, unless its zone is missing.
    at, local = pl.col("transacted_at"), pl.col("transacted_at|local")
    is_odd = (pl.col("transacted_at|nonexistent") | pl.col("transacted_at|ambiguous")).fill_null(value=False)
    is_missing = at.is_null() & local.is_not_null() & ~is_odd
    return DeclaredCheck(
        "transacted_at",
        "timezone_unknown",
        "is an IANA name, and is not blank where local times need it",
        ~(is_unknown | is_missing),
        pl.when(is_unknown)
        .then(
            quoted(_zone_text())
            + pl.lit(" is not a time zone; a name such as Australia/Melbourne was expected")
        )
        .otherwise(pl.lit("the time zone of transacted_at is blank or unknown")),
        field="timezone",
        value=text,
    )


# ── Customer ─────────────────────────────────────────────────────────────────────────────────────────


def _customer_checks() -> Iterator[DeclaredCheck]:
    person, written, handle = pl.col("profile_id"), _raw("profile_id"), pl.col("profile_id_handle")
    is_email = person.str.contains(_EMAIL) & (person.str.len_chars() <= _EMAIL_LENGTH)
    by_email = (handle == "email").fill_null(value=False) & person.is_not_null()
    by_uuid = handle.is_null() & person.is_not_null()
    # The mapping leaves out an id that is in the form of neither an email nor a UUID, and keeps its text.
    left_out = person.is_null() & written.is_not_null()
    fails = left_out | (by_email & ~is_email) | (by_uuid & ~person.str.contains(_UUID))
    expected = (
        pl.when(by_email | (left_out & written.str.contains("@")))
        .then(pl.lit(" is not an email address"))
        .when(by_uuid)
        .then(pl.lit(" is not an Omneo profile id (a UUID); any other id needs its handle"))
        .otherwise(pl.lit(" is neither an email address nor an Omneo profile id (a UUID)"))
    )
    yield DeclaredCheck(
        "profile_id",
        "profile_invalid",
        "is an email address, an Omneo profile id (a UUID), or any id with a handle",
        ~fails,
        quoted(written, "profile_id") + expected,
    )
    yield DeclaredCheck(
        "profile_id|no_person",
        "profile_placeholder",
        "is not a word such as N/A, 0, guest or no card, or an address such as noreply@",
        pl.col("profile_id|no_person").is_null(),
        quoted(pl.col("profile_id|no_person")) + pl.lit(" stands for no person: it is a guest sale"),
        field="profile_id",
        value=pl.col("profile_id|no_person"),
    )
    yield DeclaredCheck(
        "profile_id",
        "guest",
        "is not blank",
        written.is_not_null(),
        pl.lit("no customer is named: a guest sale"),
        is_usual=True,
    )


# ── Amounts and currency ─────────────────────────────────────────────────────────────────────────────


def _currency_check() -> DeclaredCheck:
    currency = pl.col("currency")
    return DeclaredCheck(
        "currency",
        "currency_invalid",
        "is three capital letters",
        currency.str.contains(_CURRENCY),
        quoted(currency) + pl.lit(" is not a currency's three capital letters, such as AUD"),
        value=currency,
    )


def _currency_given() -> DeclaredCheck:
    return DeclaredCheck(
        "currency",
        "currency_missing",
        "is not blank, where the mapping has it",
        pl.col("currency").is_not_null(),
        pl.lit("currency is blank: Omneo takes the tenant's own"),
    )


def _fineness_check(name: str) -> DeclaredCheck:
    """A payment has no more decimal places than its currency has; the price of one piece may."""
    value, currency = pl.col(name), pl.col("currency")
    # In units of 0.0001, which is what a money column holds.
    is_whole = value.to_physical() % smallest_amount(currency).to_physical() == 0
    return DeclaredCheck(
        name,
        "amount_finer_than_currency",
        "has no more decimal places than its currency",
        is_whole | currency.is_null(),
        pl.format("{} is {}, finer than any amount in {}", pl.lit(name), amount(value), currency),
        value=amount(value),
    )


def sum_checks(policy: Policy) -> tuple[DeclaredCheck, ...]:
    """The checks that items and payments add up to the total."""
    items_tolerance: pl.Expr = pl.lit(policy.tolerance("total_mismatch"))
    if "total_mismatch" not in policy.tolerances:
        items_tolerance = smallest_amount(pl.col("currency"))
    has_items = pl.col("items_count").fill_null(1) > 0
    # A sale that is not paid in full is dropped for that, and not rejected because its payments fall short.
    payments_tolerance = pl.lit(policy.tolerance("payments_mismatch"))
    return (
        _sum_check("total_mismatch", "items", items_tolerance, has_items),
        _sum_check("payments_mismatch", "payments", payments_tolerance, ~underpaid(policy)),
    )


def _set_apart(text: str) -> pl.Expr:
    """A part of a sentence about the lines that the mapping sets apart; empty where there are none."""
    lines = pl.col("lines_set_apart")
    return pl.when(lines.is_null()).then(pl.lit("")).otherwise(pl.format(text, lines))


def _sum_check(code: str, parts: str, allowed: pl.Expr, applies: pl.Expr) -> DeclaredCheck:
    total, found = pl.col("total"), pl.col(f"{parts}_total")
    hint = pl.lit("")
    if parts == "items":
        is_cause = (total - found - pl.col("set_apart_total")).abs() <= allowed
        explained = pl.when(is_cause).then(pl.lit(_SET_APART_HINT)).otherwise(pl.lit(""))
        worth = amount(pl.col("set_apart_total"))
        hint = pl.concat_str(
            _set_apart("; the lines that the mapping skips ({}) are worth "), worth, explained
        ).fill_null("")
    return DeclaredCheck(
        f"{parts}_total",
        code,
        f"differs from the sum of the {parts} by no more than the tolerance",
        ((total - found).abs() <= allowed) | ~applies,
        pl.format(
            "total is {} but the {} add up to {}: a difference of {}{}",
            amount(total),
            pl.lit(parts),
            amount(found),
            amount(total - found),
            hint,
        ),
        field="total",
        value=_raw("total"),
    )


# ── Completeness ─────────────────────────────────────────────────────────────────────────────────────


def _is_sale() -> pl.Expr:
    """A positive total, and not void; null where the total is."""
    return (pl.col("total") > 0) & ~pl.col("is_void").fill_null(value=False)


def _status_check() -> DeclaredCheck:
    raw = pl.col("status|raw")
    return DeclaredCheck(
        "status|outcome",
        "field_invalid",
        "is one that the mapping knows",
        pl.col("status|outcome").is_not_null(),
        pl.when(raw.is_null())
        .then(pl.lit("the status is blank, and the mapping does not say what that means"))
        .otherwise(pl.format("the mapping does not know the status {}", quoted(raw))),
        field="status",
        value=raw,
    )


def _paid_check() -> DeclaredCheck:
    """Without what was paid it is not known whether a sale is complete.

    Only where the mapping says what was paid: then there is a `paid|raw`.
    """
    return DeclaredCheck(
        "paid|raw",
        "paid_missing",
        "is not blank, for a sale",
        pl.col("paid").is_not_null() | pl.col("paid|raw").is_not_null() | ~_is_sale(),
        pl.lit("what was paid is blank, so it is not known whether the sale is complete"),
        field="paid",
        value=_NONE,
    )
