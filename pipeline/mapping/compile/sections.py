"""The sections of a mapping with a meaning of their own: completion, profile, payments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import polars as pl

from pipeline.core.model import TX
from pipeline.mapping.compile.fields import Columns
from pipeline.mapping.compile.typed_expression import (
    NOTHING,
    Computed,
    as_number,
    as_text,
    as_written,
    invalid,
)
from pipeline.mapping.compile.values import Bench
from pipeline.mapping.functions import json_text as jsontext
from pipeline.mapping.functions.numbers import MONEY, amount_text, money
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.spec import Completion, Condition, Payment, ProfileLink, Words
from pipeline.mapping.usage.used_columns import is_of_cells
from pipeline.mapping.usage.visitor import Scope

Turn = Callable[[pl.Expr], pl.Expr]
"""What is done to amounts because of `refund`."""

OUTCOMES = ("excluded", "cancelled", "draft", "order_open", "partially_paid", "void", "complete")
"""States of a sale, in the order in which they are tried: the first that fits is taken."""

_EMAIL = r"^[^@\s\p{C},;:<>()\[\]\"]+@(?:[^@\s\p{C}.,;:<>()\[\]\"]+\.)+[^@\s\p{C}.,;:<>()\[\]\"]{2,}$"
_UUID = r"^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def completion_columns(completion: Completion | None, bench: Bench, turned: Turn) -> Columns:
    """`status|raw`, `status|outcome` (null where the mapping does not know the status) and `paid`.

    Beside `paid` there is `paid|raw`, its text, where the mapping says what was paid.
    """
    if completion is None:
        return {
            "status|raw": NOTHING,
            "status|outcome": pl.lit("complete"),
            "paid": pl.lit(None, dtype=MONEY),
        }
    status = NOTHING if completion.status is None else as_text(bench.compile(completion.status)).value
    found = {"status|raw": status, "status|outcome": _outcome(completion, status, bench)}
    if completion.paid is None:
        return found | {"paid": pl.lit(None, dtype=MONEY)}
    number = as_number(bench.compile(completion.paid), bench.number)
    raw = NOTHING if number.raw is None else number.raw
    return found | {"paid": turned(amount_of(number, bench)), "paid|raw": raw}


def _outcome(completion: Completion, status: pl.Expr, bench: Bench) -> pl.Expr:
    words = {outcome: _words(getattr(completion, outcome)) for outcome in OUTCOMES}
    by_word = {word: outcome for outcome in reversed(OUTCOMES) for word in words[outcome]}
    found = status.str.to_lowercase().replace_strict(by_word, default=None, return_dtype=pl.String)
    conditions = {outcome: _sql_of(getattr(completion, outcome)) for outcome in OUTCOMES}
    if any(conditions.values()):
        holds = [
            (
                outcome,
                (found == outcome).fill_null(value=False) | bench.condition(sql) if sql else found == outcome,
            )
            for outcome, sql in conditions.items()
        ]
        found = reduce(
            lambda rest, pair: pl.when(pair[1]).then(pl.lit(pair[0])).otherwise(rest),
            reversed(holds),
            NOTHING,
        )
    # Where only exceptions are named, everything else is complete.
    names_complete = bool(words["complete"] or conditions["complete"])
    other = completion.other if completion.status is not None or names_complete else "complete"
    return found if other == "reject" else found.fill_null(other)


def _words(words: Words) -> list[str]:
    return [word.strip().lower() for word in (words.status if isinstance(words, Condition) else words)]


def _sql_of(words: Words) -> str | None:
    return words.sql if isinstance(words, Condition) else None


def amount_of(computed: Computed, bench: Bench) -> pl.Expr:
    """Money that is no field of Omneo's; what cannot be read is told under the bench's target."""
    number = as_number(computed, bench.number)
    raw = invalid(number)
    if raw is not None:
        bench.check("field_invalid", "This is not an amount.", raw.is_not_null(), raw)
    return money(number.value)


def profile_columns(links: Sequence[ProfileLink], bench: Bench) -> Columns:
    """`profile_id` and `profile_id_handle` of the first link that is not blank, and `profile_id|raw`.

    An email without the form of one, or an Omneo id that is no UUID, leaves both null beside the raw text.
    """
    if not links:
        return {}
    found = [as_written(bench.compile(link.value)) for link in links]
    raws = [text.value if text.raw is None else pl.coalesce(text.value, text.raw) for text in found]
    ids, handles = NOTHING, NOTHING
    for link, text, raw in reversed([*zip(links, found, raws, strict=True)]):
        pattern = {"email": _EMAIL, None: _UUID}.get(link.handle)
        valid = text.value if pattern is None else pl.when(text.value.str.contains(pattern)).then(text.value)
        handle = pl.when(valid.is_not_null()).then(pl.lit(link.handle, dtype=pl.String))
        ids = pl.when(raw.is_not_null()).then(valid).otherwise(ids)
        handles = pl.when(raw.is_not_null()).then(handle).otherwise(handles)
    return {"profile_id": ids, "profile_id_handle": handles, "profile_id|raw": pl.coalesce(raws)}


def payment_columns(
    payments: Sequence[Payment], form: str, bench: Bench, refund: pl.Expr | None
) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """For each way to pay: its JSON entry (null where it was not used), and its amount (null likewise).

    A tender that the source names was used, also for an amount of 0; of a tender that has a column of its
    own, 0 says that it was not.
    """
    given = [_payment_amount(payment, form, bench) for payment in payments]
    if refund is not None and (amounts := [amount for amount in given if amount is not None]):
        given = _turned_payments(given, pl.sum_horizontal(amounts), refund, bench)
    entries: list[pl.Expr] = []
    found: list[pl.Expr] = []
    for payment, amount in zip(payments, given, strict=True):
        tender = as_written(bench.compile(payment.tender)).value
        used = tender.is_not_null()
        if amount is not None:
            is_named = is_of_cells(bench.spec, payment.tender, bench.scope)
            used &= amount.is_not_null() if is_named else (amount != 0).fill_null(value=False)
        entry = jsontext.scalar(tender, pl.String())
        if form == "amounts" and amount is not None:
            entry = pl.concat_str(pl.lit("{"), entry, pl.lit(":"), amount_text(amount), pl.lit("}"))
        entries.append(pl.when(used).then(entry))
        found.append(pl.when(used).then(pl.lit(None, dtype=MONEY) if amount is None else amount))
    return entries, found


def _payment_amount(payment: Payment, form: str, bench: Bench) -> pl.Expr | None:
    """The column with a payment's amount; None where the mapping gives none."""
    if payment.amount is None:
        if form == "amounts":
            raise FormulaError("`payments_form: amounts` needs an `amount` for each payment")
        return None
    name = bench.fresh("amount")
    bench.plan.derive(bench.scope, name, amount_of(bench.compile(payment.amount), bench))
    return pl.col(name)


def _turned_payments(
    amounts: Sequence[pl.Expr | None], whole: pl.Expr, refund: pl.Expr, bench: Bench
) -> list[pl.Expr | None]:
    name = bench.fresh("paid_in_all")
    bench.plan.derive(bench.scope, name, whole)
    in_all = pl.col(name) if bench.scope is Scope.TRANSACTION else pl.col(name).sum().over(TX)
    return [amount if amount is None else turned_as_a_whole(amount, in_all, refund) for amount in amounts]


def turned_as_a_whole(part: pl.Expr, whole: pl.Expr, refund: pl.Expr) -> pl.Expr:
    """A part of a refund, turned where the refund as a whole is written as a positive number.

    Change, or an item that was exchanged, has the other sign: it must keep it.
    """
    return pl.when(refund & (whole > 0)).then(-part).otherwise(part)


def gathered_payments(
    rows: pl.DataFrame, entries: Sequence[pl.Expr], amounts: Sequence[pl.Expr], form: str
) -> pl.DataFrame:
    """Payment rows by transaction: TX, `payments` (JSON), `payments_total`; a name alone only once."""
    entry = pl.col("entry").drop_nulls()
    listed = [
        rows.select(TX, entry.alias("entry"), amount.alias("amount"))
        for entry, amount in zip(entries, amounts, strict=True)
    ]
    return (
        pl.concat(listed)
        .group_by(TX, maintain_order=True)
        .agg(
            entry if form == "amounts" else entry.unique(maintain_order=True),
            pl.when(pl.col("amount").count() > 0).then(pl.col("amount").sum()).alias("payments_total"),
        )
        .select(TX, jsontext.entries([nonempty_join(pl.col("entry"))]).alias("payments"), "payments_total")
    )


def nonempty_join(entries: pl.Expr) -> pl.Expr:
    """Entries joined by commas; null where there are none."""
    return pl.when(entries.list.len() > 0).then(entries.list.join(","))
