"""Sections of a mapping that are more than fields: completion, profile, payments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final

import polars as pl

from pipeline.core.frames import MONEY
from pipeline.core.model import TX
from pipeline.core.text.no_person import NO_ADDRESS, NO_PERSON
from pipeline.mapping.compile.context import CompileContext
from pipeline.mapping.compile.fields import FieldColumns, report_too_large
from pipeline.mapping.compile.typed_expression import (
    BLANK_TEXT,
    TypedExpression,
    as_number,
    as_text,
    as_written,
)
from pipeline.mapping.functions import json_text
from pipeline.mapping.functions.numbers import amount_text, money
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.spec import Completion, Condition, ProfileLink
from pipeline.mapping.usage.used_columns import is_of_cells
from pipeline.mapping.usage.visitor import Scope

_BY_PRECEDENCE: Final = (
    "excluded",
    "cancelled",
    "draft",
    "order_open",
    "partially_paid",
    "void",
    "complete",
)
"""The states of a sale; the first one whose words or condition fit is taken."""

_EMAIL = r"^[^@\s\p{C},;:<>()\[\]\"]+@(?:[^@\s\p{C}.,;:<>()\[\]\"]+\.)+[^@\s\p{C}.,;:<>()\[\]\"]{2,}$"
_UUID = r"^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_NO_AMOUNT: Final = pl.lit(None, dtype=MONEY)


def amount_of(typed: TypedExpression, context: CompileContext) -> pl.Expr:
    """Money that is not a field of Omneo's; an invalid amount is reported under the context's target."""
    number = as_number(typed, context.number)
    amount = money(number.value)
    if number.raw is not None:
        invalid = amount.is_null() & number.raw.is_not_null()
        context.check("field_invalid", "This is not an amount.", invalid, number.raw)
    report_too_large(number, "field_invalid", context)
    return amount


# ── Completion ──────────────────────────────────────────────────────────────────────────────────────


def completion_columns(
    completion: Completion | None, context: CompileContext, negate: Callable[[pl.Expr], pl.Expr]
) -> FieldColumns:
    """`status|raw`, `status|outcome` (null where the mapping does not know the status) and `paid`.

    Where the mapping says what was paid, `paid|raw` is its text.

    Args:
        completion: The section.
        context: Where to compile it.
        negate: What a refund does to amounts.
    """
    if completion is None:
        return {"status|raw": BLANK_TEXT, "status|outcome": pl.lit("complete"), "paid": _NO_AMOUNT}
    status = BLANK_TEXT
    if completion.status is not None:
        status = as_text(context.compile(completion.status, "status")).value
    columns = {"status|raw": status, "status|outcome": _outcome(completion, status, context)}
    if completion.paid is None:
        return columns | {"paid": _NO_AMOUNT}
    number = as_number(context.compile(completion.paid, "paid"), context.number)
    return columns | {"paid": negate(amount_of(number, context)), "paid|raw": number.raw_or_blank}


def _outcome(completion: Completion, status: pl.Expr, context: CompileContext) -> pl.Expr:
    states = {state: getattr(completion, state) for state in _BY_PRECEDENCE}
    words = {state: each.status if isinstance(each, Condition) else each for state, each in states.items()}
    formulas = {state: each.sql for state, each in states.items() if isinstance(each, Condition) and each.sql}
    # The last entry of a dict wins, so a word of two states gets the one with precedence.
    by_word = {word.strip().lower(): state for state in reversed(_BY_PRECEDENCE) for word in words[state]}
    found = status.str.to_lowercase().replace_strict(by_word, default=None, return_dtype=pl.String)
    if formulas:
        applies = {state: found == state for state in _BY_PRECEDENCE}
        for state, sql in formulas.items():
            applies[state] = applies[state].fill_null(value=False) | context.condition(sql, state, "sql")
        found = reduce(
            lambda rest, pair: pl.when(pair[1]).then(pl.lit(pair[0])).otherwise(rest),
            reversed(applies.items()),
            BLANK_TEXT,
        )
    # Where the mapping only names exceptions, all other sales are complete.
    names_complete = bool(words["complete"]) or "complete" in formulas
    other = completion.other if completion.status is not None or names_complete else "complete"
    return found if other == "reject" else found.fill_null(other)


# ── Profile ─────────────────────────────────────────────────────────────────────────────────────────


def profile_columns(links: Sequence[ProfileLink], context: CompileContext) -> FieldColumns:
    """`profile_id` and `profile_id_handle` of the first link that names somebody, and `profile_id|raw`.

    A malformed email or Omneo UUID leaves both null beside the raw text. `profile_id|no_person` is the first
    word that stands for no person, such as "no card"; null where a link names somebody.
    """
    if not links:
        return {}
    found = [as_written(context.compile(link.value, i, "value")) for i, link in enumerate(links)]
    raws = [text.value if text.raw is None else pl.coalesce(text.value, text.raw) for text in found]
    ids, handles, named, no_person = BLANK_TEXT, BLANK_TEXT, BLANK_TEXT, BLANK_TEXT
    # Each link is put before the later ones, so the first link that names somebody wins.
    for link, text, raw in reversed([*zip(links, found, raws, strict=True)]):
        pattern = {"email": _EMAIL, None: _UUID}.get(link.handle)
        valid = text.value if pattern is None else pl.when(text.value.str.contains(pattern)).then(text.value)
        handle = pl.when(valid.is_not_null()).then(pl.lit(link.handle, dtype=pl.String))
        is_word = _is_word(raw, link.handle, context)
        ids, handles, named, no_person = (
            pl.when(raw.is_not_null() & ~is_word).then(here).otherwise(later)
            for here, later in ((valid, ids), (handle, handles), (raw, named), (BLANK_TEXT, no_person))
        )
        no_person = pl.when(is_word & named.is_null()).then(raw).otherwise(no_person)
    return {
        "profile_id": ids,
        "profile_id_handle": handles,
        "profile_id|raw": named,
        "profile_id|no_person": no_person,
    }


def _is_word(raw: pl.Expr, handle: str | None, context: CompileContext) -> pl.Expr:
    """Whether a text stands for no person, unless that check is off.

    A word that must be an email or a UUID is a malformed one, as any other there.
    """
    treatment = context.spec.checks.get("profile_placeholder")
    if handle is None or "off" in (treatment, getattr(treatment, "severity", None)):
        return pl.lit(value=False)
    return raw.str.contains(NO_ADDRESS if handle == "email" else NO_PERSON).fill_null(value=False)


# ── Payments ────────────────────────────────────────────────────────────────────────────────────────


def payment_columns(context: CompileContext, refund: pl.Expr | None) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """For each tender its JSON entry and its amount, both null where it was not used.

    A tender that a cell names was used, even with an amount of 0. A tender with a column of its own was not
    used where that column has 0.

    Args:
        context: Where to compile the section; its scope says whether payments have rows of their own.
        refund: Where amounts have to become negative; None where nowhere.
    """
    amounts: list[pl.Expr | None] = []
    for i, payment in enumerate(context.spec.payments):
        amounts.append(None)
        if payment.amount is not None:
            name = context.fresh("amount")
            amount = amount_of(context.compile(payment.amount, i, "amount"), context)
            context.plan.derive(context.scope, name, amount)
            amounts[-1] = pl.col(name)
        elif context.spec.payments_form == "amounts":
            raise FormulaError("`payments_form: amounts` needs an `amount` for each payment")
    given = [amount for amount in amounts if amount is not None]
    if refund is not None and given:
        name = context.fresh("paid_in_all")
        context.plan.derive(context.scope, name, pl.sum_horizontal(given))
        whole = pl.col(name) if context.scope is Scope.TRANSACTION else pl.col(name).sum().over(TX)
        amounts = [
            None if amount is None else negated_as_a_whole(amount, whole, refund) for amount in amounts
        ]
    entries: list[pl.Expr] = []
    used_amounts: list[pl.Expr] = []
    for i, payment in enumerate(context.spec.payments):
        paid = amounts[i]
        tender = as_written(context.compile(payment.tender, i, "tender")).value
        used, entry = tender.is_not_null(), json_text.scalar(tender, pl.String())
        if paid is not None:
            is_named = is_of_cells(context.spec, payment.tender, context.scope)
            used &= paid.is_not_null() if is_named else (paid != 0).fill_null(value=False)
            if context.spec.payments_form == "amounts":
                entry = pl.concat_str(pl.lit("{"), entry, pl.lit(":"), amount_text(paid), pl.lit("}"))
        entries.append(pl.when(used).then(entry))
        used_amounts.append(pl.when(used).then(_NO_AMOUNT if paid is None else paid))
    return entries, used_amounts


def negated_as_a_whole(part: pl.Expr, whole: pl.Expr, refund: pl.Expr) -> pl.Expr:
    """A part of a refund, negated where the refund as a whole is written as a positive number.

    Change, or an item handed out in exchange, has the opposite sign and must keep it.
    """
    return pl.when(refund & (whole > 0)).then(-part).otherwise(part)


def payments_by_transaction(
    rows: pl.DataFrame, entries: Sequence[pl.Expr], amounts: Sequence[pl.Expr], form: str
) -> pl.DataFrame:
    """Payment rows by transaction: TX, `payments` (JSON), `payments_total`; a mere name only once."""
    entry, amount = pl.col("entry").drop_nulls(), pl.col("amount")
    listed = pl.concat(
        rows.select(TX, each.alias("entry"), paid.alias("amount"))
        for each, paid in zip(entries, amounts, strict=True)
    )
    found = listed.group_by(TX, maintain_order=True).agg(
        entry if form == "amounts" else entry.unique(maintain_order=True),
        pl.when(amount.count() > 0).then(amount.sum()).alias("payments_total"),
    )
    joined = pl.when(pl.col("entry").list.len() > 0).then(pl.col("entry").list.join(","))
    return found.select(TX, json_text.entries([joined]).alias("payments"), "payments_total")
