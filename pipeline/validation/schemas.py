"""What a mapped transaction and its items must look like, as pandera schemas built from Omneo's fields.

Each rule speaks of one column and gives one code. pandera checks on every bucket which rows break any rule;
only those are looked at rule by rule, and become problems with the cell's text, a sentence for people and
the file and line. Types are compared without it: it would take as long for them as for ten buckets. Nothing
here runs per row in Python: a million headers with 2.7 million items cost about half a second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Final
from zoneinfo import available_timezones

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.config import ValidationDepth, config_context
from pandera.constants import CHECK_OUTPUT_KEY
from pandera.errors import SchemaError, SchemaErrorReason, SchemaErrors

from pipeline.core.currencies import smallest_amount
from pipeline.core.frames import NO_PROBLEMS
from pipeline.core.model import (
    ITEM_FIELDS,
    LINE,
    MONEY_PRECISION,
    MONEY_SCALE,
    SOURCE,
    TRANSACTION_FIELDS,
    TX,
    Field,
    Kind,
)
from pipeline.validation.policy import Policy, Severity
from pipeline.validation.wording import amount, quoted

_TYPES: Final[dict[Kind, pl.DataType]] = {
    Kind.DECIMAL: pl.Decimal(MONEY_PRECISION, MONEY_SCALE),
    Kind.INTEGER: pl.Int64(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.DATETIME: pl.Datetime("us"),
}
_KIND_WORDS: Final[dict[Kind, str]] = {
    Kind.DECIMAL: "an amount",
    Kind.INTEGER: "a whole number",
    Kind.BOOLEAN: "a yes or a no",
    Kind.DATETIME: "a date in the form that the mapping gives",
}
_EMAIL: Final = r"^[^\s@<>()\[\]\\,;:\"]+@([^\s@<>()\[\]\\,;:\".]+\.)+[^\s@<>()\[\]\\,;:\".]{2,}$"
"""One `@`, no blanks or list marks, a domain with a dot: what mail systems take, less quoted names."""
_EMAIL_LENGTH: Final = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
_UUID: Final = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
CLOCKS_AHEAD: Final = timedelta(minutes=15)
"""How far ahead of ours a till's clock may be: such a sale is not in the future."""
_EARLIEST_LIKELY: Final = datetime(1980, 1, 1)  # noqa: DTZ001 UTC, as all times here
_DAY_NUMBER: Final = r"^[2-7][0-9]{4}(?:\.[0-9]+)?$"  # 1954 to 2119, where it counts a spreadsheet's days
_DAY_HINT: Final = "; where it is a day's number in a spreadsheet, read it with the format spreadsheet_days"
_CURRENCY: Final = r"^[A-Z]{3}$"


@dataclass(frozen=True)
class Rule:
    """One check of one column.

    Attributes:
        column: The column that the check is hung on.
        code: What a row that fails is told under.
        field: Omneo's field, or the part of the transaction that the code speaks of.
        passes: True where the row is fine; null counts as fine.
        value: The cell's text, for a row that fails.
        message: A sentence for people, for a row that fails.
        severity: What it does whatever the policy says; None asks the policy.
    """

    column: str
    code: str
    field: str
    passes: pl.Expr
    value: pl.Expr
    message: pl.Expr
    severity: Severity | None = None


def header_problems(
    headers: pl.DataFrame, policy: Policy, now: datetime, *, with_items: bool
) -> pl.DataFrame:
    """Check mapped headers.

    Args:
        headers: One row a transaction, as mapped; fields that the mapping does not give have no column.
        policy: Codes that are `off` are not looked for.
        now: When the run started; a naive value is UTC.
        with_items: Whether the mapping gives items, so that a sale without any is a defect.

    Returns:
        One row a violation, as `PROBLEMS`.
    """
    moment = now.astimezone(UTC).replace(tzinfo=None) if now.tzinfo else now
    return _violations(headers, _header_schema(_columns(headers), policy, moment, with_items))


def item_problems(items: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Check mapped items; as `header_problems`, with the item's own line."""
    return _violations(items, _item_schema(_columns(items), policy))


# ── pandera ──────────────────────────────────────────────────────────────────────────────────────────

_Columns = tuple[tuple[str, pl.DataType], ...]
"""Names and types of a frame's columns."""


@dataclass(frozen=True)
class _Schema:
    """What frames of one kind are checked with; made once, since that costs as much as checking a bucket.

    Attributes:
        rules: Those that the policy does not switch off.
        values: One check for all of them, since a check costs pandera more than the rules cost polars.
    """

    rules: tuple[Rule, ...]
    values: pa.DataFrameSchema


def _columns(frame: pl.DataFrame) -> _Columns:
    return tuple(frame.schema.items())


@lru_cache(maxsize=16)
def _header_schema(columns: _Columns, policy: Policy, moment: datetime, with_items: bool) -> _Schema:
    names = [name for name, _ in columns]
    rules = [
        *_field_rules(TRANSACTION_FIELDS, names),
        *_time_rules(names, moment),
        *_zone_rules(names),
        *_person_rules(names),
        *_currency_rules(names),
        *_fineness_rules(names),
        *_status_rules(names),
        *_paid_rules(names),
        *_sum_rules(names, policy),
        *(_items_missing_rules(names) if with_items else ()),
    ]
    return _schema(columns, rules, TRANSACTION_FIELDS, policy)


@lru_cache(maxsize=16)
def _item_schema(columns: _Columns, policy: Policy) -> _Schema:
    rules = _field_rules(ITEM_FIELDS, [name for name, _ in columns])
    return _schema(columns, rules, ITEM_FIELDS, policy)


def _schema(columns: _Columns, rules: Iterable[Rule], fields: Mapping[str, Field], policy: Policy) -> _Schema:
    """Compile the rules for frames with these columns.

    Raises:
        AssertionError: The columns are not as the mapping promised.
    """
    wanted = tuple(rule for rule in rules if rule.severity or policy.severity(rule.code) != "off")
    _check_types(columns, {rule.column for rule in wanted}, fields)
    every = [rule.passes.fill_null(value=True) for rule in wanted]

    def passes(data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.all_horizontal(every).alias("passes"))

    # One failure case is enough for pandera's own message: the rows are taken from the check's output.
    return _Schema(wanted, pa.DataFrameSchema(checks=pa.Check(passes, n_failure_cases=1) if every else None))


def _check_types(columns: _Columns, wanted: Collection[str], fields: Mapping[str, Field]) -> None:
    there = dict(columns)
    for name in wanted:
        if name not in there:
            raise AssertionError(f"the mapping's frames have no column {name}")
        agreed = _TYPES.get(fields[name].kind, pl.String()) if name in fields else there[name]
        if there[name] != agreed:
            raise AssertionError(f"the mapping's frames have {there[name]} in {name}, not {agreed}")


def _checking() -> AbstractContextManager[None]:
    """A user's PANDERA_* variables must not switch the checks off."""
    return config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA)


def _violations(frame: pl.DataFrame, schema: _Schema) -> pl.DataFrame:
    try:
        with _checking():
            schema.values.validate(frame, lazy=True)
    except SchemaErrors as errors:
        return pl.concat([NO_PROBLEMS, *_problems(frame, schema.rules, errors.schema_errors)])
    return NO_PROBLEMS


def _problems(
    frame: pl.DataFrame, rules: Sequence[Rule], errors: Sequence[SchemaError]
) -> list[pl.DataFrame]:
    """Which rules the rows that failed the check break, a frame each.

    Raises:
        AssertionError: The check could not be made.
    """
    (error,) = errors
    if error.reason_code is not SchemaErrorReason.DATAFRAME_CHECK:
        raise AssertionError(f"the mapping's frames cannot be checked: {error}") from error
    failed = frame.filter(~error.check_output[CHECK_OUTPUT_KEY])
    broken = failed.select_seq((~rule.passes).any().alias(str(n)) for n, rule in enumerate(rules)).row(0)
    found = (rule for rule, is_broken in zip(rules, broken, strict=True) if is_broken)
    return pl.collect_all([_rows_breaking(rule, failed.lazy()) for rule in found])


def _rows_breaking(rule: Rule, rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(~rule.passes).select_seq(
        pl.col(TX),
        pl.lit(rule.code).alias("code"),
        pl.lit(rule.field).alias("field"),
        rule.value.cast(pl.String).alias("value"),
        rule.message.alias("message"),
        pl.col(SOURCE, LINE),
        pl.lit(None, pl.String).alias("raw"),
        pl.lit(rule.severity, pl.String).alias("severity"),
    )


# ── Rules ────────────────────────────────────────────────────────────────────────────────────────────


def _raw(name: str, columns: Sequence[str]) -> pl.Expr:
    """The cell's text before it was read; where there is none beside the field, the field itself."""
    return pl.col(f"{name}|raw") if f"{name}|raw" in columns else pl.col(name).cast(pl.String)


def _field_rules(fields: Mapping[str, Field], columns: Sequence[str]) -> Iterator[Rule]:
    """Required fields have a value; a cell that is not blank could be read."""
    for field in fields.values():
        if field.name not in columns or field.kind is Kind.DATETIME:
            continue
        yield from _presence_rules(field, columns)


def _presence_rules(field: Field, columns: Sequence[str]) -> Iterator[Rule]:
    value, raw = pl.col(field.name), _raw(field.name, columns)
    blank = pl.lit(f"{field.name} is blank")
    misread = pl.format("{} is not {}", quoted(raw), pl.lit(_KIND_WORDS.get(field.kind, "a text")))
    if field.missing is not None and field.missing == field.invalid:
        message = pl.when(raw.is_null()).then(blank).otherwise(misread)
        yield Rule(field.name, field.missing, field.name, value.is_not_null(), raw, message)
        return
    if field.missing is not None:
        there = value.is_not_null() | raw.is_not_null()
        yield Rule(field.name, field.missing, field.name, there, raw, blank)
    if field.kind in _KIND_WORDS:
        read = value.is_not_null() | raw.is_null()
        yield Rule(field.name, field.invalid, field.name, read, raw, misread)


def _time_rules(columns: Sequence[str], now: datetime) -> Iterator[Rule]:
    for field in TRANSACTION_FIELDS.values():
        if field.kind is Kind.DATETIME and field.name != "transacted_at" and field.name in columns:
            yield from _presence_rules(field, columns)
    if "transacted_at" not in columns:
        return
    at, raw = pl.col("transacted_at"), _raw("transacted_at", columns)
    local = pl.col("transacted_at|local") if "transacted_at|local" in columns else at
    twice = _optional("transacted_at|ambiguous", columns, pl.lit(False)).fill_null(value=False)

    def rule(code: str, fails: pl.Expr, message: pl.Expr, severity: Severity | None = None) -> Rule:
        return Rule("transacted_at", code, "transacted_at", ~fails, raw, message, severity)

    unread = at.is_null() & local.is_null()
    there = pl.format("{} in {}", quoted(raw), _zone_text(columns).fill_null("its time zone"))
    skipped = _optional("transacted_at|nonexistent", columns, pl.lit(value=False)).fill_null(value=False)
    happened_twice = there + pl.lit(" happened twice, when the clock was put back")
    yield rule("transacted_at_missing", unread & raw.is_null(), pl.lit("transacted_at is blank"))
    misread = pl.format("{} is not {}", quoted(raw), pl.lit(_KIND_WORDS[Kind.DATETIME]))
    days = pl.when(raw.str.contains(_DAY_NUMBER)).then(pl.lit(_DAY_HINT)).otherwise(pl.lit(""))
    yield rule("transacted_at_invalid", unread & raw.is_not_null(), misread + days)
    yield rule(
        "transacted_at_nonexistent", skipped, there + pl.lit(" never happened: the clock skipped that hour")
    )
    # A repeated time that was not resolved has no UTC value: then the mapping asked for a rejection.
    yield rule("transacted_at_ambiguous", twice & at.is_null(), happened_twice, "reject")
    yield rule(
        "transacted_at_ambiguous",
        twice & at.is_not_null(),
        happened_twice + pl.format("; it was taken as {} UTC", at.dt.strftime("%H:%M:%S")),
    )
    started = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    late = quoted(raw) + pl.lit(f" is after the run started ({started})")
    yield rule("transacted_at_future", at > now + CLOCKS_AHEAD, late)
    early = pl.format("{} is read as the year {}, before tills kept such data", quoted(raw), at.dt.year())
    yield rule("transacted_at_implausible", at < _EARLIEST_LIKELY, early)


def _optional(name: str, columns: Sequence[str], otherwise: pl.Expr) -> pl.Expr:
    return pl.col(name) if name in columns else otherwise


@cache
def _zones() -> pl.Series:
    return pl.Series(sorted(available_timezones()))


def _zone_text(columns: Sequence[str]) -> pl.Expr:
    """The zone as it was written, else as it was understood."""
    written = [pl.col(name) for name in ("timezone|raw", "timezone") if name in columns]
    return pl.coalesce([*written, pl.lit(None, pl.String)])


def _zone_unknown(columns: Sequence[str]) -> pl.Expr:
    """True where a zone was named that is none; never null."""
    if "timezone" not in columns:
        return pl.lit(value=False)
    known = pl.col("timezone").is_in(_zones().implode()).fill_null(value=False)
    return _zone_text(columns).is_not_null() & ~known


def _without_zone(columns: Sequence[str]) -> pl.Expr:
    """True where a local time was read, and neither is in UTC nor was skipped or repeated by the clock."""
    needed = ("transacted_at|local", "transacted_at|nonexistent", "transacted_at|ambiguous")
    if not set(needed) <= set(columns):
        return pl.lit(value=False)
    local, skipped, twice = (pl.col(name) for name in needed)
    left = pl.col("transacted_at").is_null() & local.is_not_null()
    return left & ~(skipped | twice).fill_null(value=False)


def _zone_rules(columns: Sequence[str]) -> Iterator[Rule]:
    column = next((name for name in ("timezone", "transacted_at") if name in columns), None)
    if column is None:
        return
    text = _zone_text(columns)
    fails = _zone_unknown(columns) | _without_zone(columns)
    message = (
        pl.when(_zone_unknown(columns))
        .then(quoted(text) + pl.lit(" is not a time zone; a name such as Australia/Melbourne was expected"))
        .otherwise(pl.lit("the time zone of transacted_at is blank or unknown"))
    )
    yield Rule(column, "timezone_unknown", "timezone", ~fails, text, message)


def _person_rules(columns: Sequence[str]) -> Iterator[Rule]:
    if "profile_id" not in columns:
        return
    person = pl.col("profile_id")
    written = _raw("profile_id", columns)
    handle = _optional("profile_id_handle", columns, pl.lit(None, pl.String))
    is_email = person.str.contains(_EMAIL) & (person.str.len_chars() <= _EMAIL_LENGTH)
    by_email = (handle == "email").fill_null(value=False) & person.is_not_null()
    by_uuid = handle.is_null() & person.is_not_null()
    # The mapping leaves out what has not the form of an email or a UUID, and keeps what was written.
    left_out = person.is_null() & written.is_not_null()
    fails = left_out | (by_email & ~is_email) | (by_uuid & ~person.str.contains(_UUID))
    expected = (
        pl.when(by_email | (left_out & written.str.contains("@", literal=True)))
        .then(pl.lit(" is not an email address"))
        .when(by_uuid)
        .then(pl.lit(" is not an Omneo profile id (a UUID); any other id needs its handle"))
        .otherwise(pl.lit(" is neither an email address nor an Omneo profile id (a UUID)"))
    )
    yield Rule("profile_id", "profile_invalid", "profile_id", ~fails, written, quoted(written) + expected)
    nobody = pl.lit("no customer is named: a guest sale")
    yield Rule("profile_id", "guest", "profile_id", written.is_not_null(), written, nobody)


def _currency_rules(columns: Sequence[str]) -> Iterator[Rule]:
    if "currency" in columns:
        code = pl.col("currency")
        message = quoted(code) + pl.lit(" is not a currency's three capital letters, such as AUD")
        yield Rule("currency", "currency_invalid", "currency", code.str.contains(_CURRENCY), code, message)


def _fineness_rules(columns: Sequence[str]) -> Iterator[Rule]:
    """Amounts that were paid have no more places than their currency; prices for one may."""
    if "currency" not in columns:
        return
    currency = pl.col("currency")
    for name in ("total", "payments_total", "rounding"):
        if name in columns:
            value = pl.col(name)
            fits = value.to_physical() % smallest_amount(currency).to_physical() == 0
            message = pl.format(
                "{} is {}, finer than any amount in {}", pl.lit(name), amount(value), currency
            )
            yield Rule(
                name, "amount_finer_than_currency", name, fits | currency.is_null(), amount(value), message
            )


def _status_rules(columns: Sequence[str]) -> Iterator[Rule]:
    if "status|outcome" in columns:
        raw = _optional("status|raw", columns, pl.lit(None, pl.String))
        message = (
            pl.when(raw.is_null())
            .then(pl.lit("the status is blank, and the mapping does not say what that means"))
            .otherwise(pl.format("the mapping does not know the status {}", quoted(raw)))
        )
        known = pl.col("status|outcome").is_not_null()
        yield Rule("status|outcome", "field_invalid", "status", known, raw, message)


def underpaid(columns: Iterable[str], policy: Policy) -> pl.Expr:
    """True where a sale (a positive total, not void) is paid less than its total; never null.

    Cash is rounded to what coins there are. Unless the mapping sets a tolerance, a sale may fall short by
    what that usually leaves, or by its own `rounding` where it has one.
    """
    columns = list(columns)
    if not {"paid", "total"} <= set(columns):
        return pl.lit(value=False)
    allowed: pl.Expr = pl.lit(policy.tolerance("partially_paid"))
    if "rounding" in columns and "partially_paid" not in policy.tolerances:
        allowed = pl.max_horizontal(allowed.cast(_TYPES[Kind.DECIMAL]), pl.col("rounding").abs())
    short = pl.col("total") - pl.col("paid") > allowed
    return (_is_sale(columns) & short).fill_null(value=False)


def _is_sale(columns: Sequence[str]) -> pl.Expr:
    """A positive total, and not void; null where the total is."""
    return (pl.col("total") > 0) & ~_optional("is_void", columns, pl.lit(value=False)).fill_null(value=False)


def _paid_rules(columns: Sequence[str]) -> Iterator[Rule]:
    """Where the mapping says what was paid and the cell is blank, it is not known that a sale is complete."""
    if {"paid", "paid|raw", "total"} <= set(columns):
        there = pl.col("paid").is_not_null() | pl.col("paid|raw").is_not_null()
        message = pl.lit("what was paid is blank, so it is not known whether the sale is complete")
        none = pl.lit(None, pl.String)
        yield Rule("paid", "paid_missing", "paid", there | ~_is_sale(columns), none, message)


def _sum_rules(columns: Sequence[str], policy: Policy) -> Iterator[Rule]:
    """The items, and the payments where they have amounts, add up to the total."""
    if "total" not in columns:
        return
    if "items_total" in columns:
        there = _optional("items_count", columns, pl.lit(1)) > 0
        yield _sum_rule("total_mismatch", "items", "items_total", there, columns, policy)
    if "payments_total" in columns:
        # A sale that is not paid in full is dropped for that, not rejected for payments that do not add up.
        settled = ~underpaid(columns, policy)
        yield _sum_rule("payments_mismatch", "payments", "payments_total", settled, columns, policy)


def _sum_rule(
    code: str, noun: str, column: str, applies: pl.Expr, columns: Sequence[str], policy: Policy
) -> Rule:
    total, parts = pl.col("total"), pl.col(column)
    message = pl.format(
        "total is {} but the {} add up to {}: a difference of {}",
        amount(total),
        pl.lit(noun),
        amount(parts),
        amount(total - parts),
    )
    allowed: pl.Expr = pl.lit(policy.tolerance(code))
    if code == "total_mismatch" and "currency" in columns and code not in policy.tolerances:
        allowed = smallest_amount(pl.col("currency"))
    fits = (total - parts).abs() <= allowed
    return Rule("total", code, "total", fits | ~applies, _raw("total", columns), message)


def _items_missing_rules(columns: Sequence[str]) -> Iterator[Rule]:
    if "items_count" in columns:
        count = pl.col("items_count")
        message = pl.lit("the sale has no items")
        none = pl.lit(None, pl.String)
        yield Rule("items_count", "items_missing", "items", count > 0, none, message)
