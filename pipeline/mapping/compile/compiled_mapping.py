"""A compiled mapping, and how it turns the raw transactions of a partition into fields of Omneo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from pipeline.core.currencies import smallest_amount
from pipeline.core.frames import MONEY, NO_PROBLEMS, SUM, problems_at
from pipeline.core.model import LINE, SOURCE, TX
from pipeline.core.storage.partition_frames import MappedTransactions, RawTransactions
from pipeline.mapping.compile.column_plan import ColumnPlan, Frames, join_by_transaction, with_columns
from pipeline.mapping.compile.context import SET_APART
from pipeline.mapping.compile.fields import FieldColumns
from pipeline.mapping.compile.sections import payments_by_transaction
from pipeline.mapping.compile.typed_expression import BLANK_TEXT
from pipeline.mapping.functions import json_text
from pipeline.mapping.functions.numbers import decimal_text
from pipeline.mapping.language.spec import Charge, MappingSpec
from pipeline.mapping.layout.allocation import allocate
from pipeline.mapping.layout.id_checks import (
    invisible_characters,
    item_conflicts,
    rounded_cells,
    rounded_floats,
    rounded_ids,
)
from pipeline.mapping.usage.used_columns import key_cells, own_id_columns
from pipeline.mapping.usage.visitor import Scope

_ROW = (TX, SOURCE, LINE)
_SHOWN: Final = {"name": pl.String(), "quantity": pl.Int64(), "price_sell": MONEY}
_SHOWN_LINES: Final = 3
"""How many lines that are set apart a message names: enough to recognise the kind."""
_NAME_LENGTH: Final = 40


@dataclass
class CompiledMapping:
    """A mapping that can be applied; it keeps nothing of the rows it was applied to.

    Attributes:
        spec: The mapping.
        plan: What is computed first.
        headers: The columns of the transactions.
        items: The columns of the items.
        payments: For each tender its entry and its amount, where payments have rows of their own.
        not_items: Columns of the lines that are true for lines that are not items.
        discounts: The columns `amount`, `reason` and `taken_off` of discount lines, and which lines these
            are; None without discount lines.
        rewards: The same columns over the transactions; None without a reward.
        charges: Amounts that become items, which are made of a transaction's own cells.
    """

    spec: MappingSpec
    plan: ColumnPlan
    headers: FieldColumns = field(default_factory=dict)
    items: FieldColumns = field(default_factory=dict)
    payments: tuple[list[pl.Expr], list[pl.Expr]] | None = None
    not_items: list[str] = field(default_factory=list)
    discounts: tuple[FieldColumns, pl.Expr] | None = None
    rewards: FieldColumns | None = None
    charges: list[tuple[Charge, pl.Expr]] = field(default_factory=list)

    def apply(self, raw: RawTransactions) -> MappedTransactions:
        """Map the transactions of one partition."""
        problems: list[pl.DataFrame] = []
        frames = self._frames(raw, problems)
        lines = frames[Scope.LINE]
        if self.not_items:
            lines = lines.filter(~pl.any_horizontal(self.not_items))
        # A mapping without items imports sales alone, whatever lines there are.
        items = _fields(lines if self.items else lines.clear(), self.items, problems)
        headers = _fields(frames[Scope.TRANSACTION], self.headers, problems)
        if self.spec.lines.skip:
            headers = self._with_lines_set_apart(headers, frames[Scope.LINE].filter(SET_APART))
        if self.payments is not None:
            form = self.spec.payments_form
            payments = payments_by_transaction(frames[Scope.PAYMENT], *self.payments, form)
            headers = headers.join(payments, on=TX, how="left", maintain_order="left")
        items, not_allocated = self._with_allocations(items, frames, headers)
        if self.charges:
            items = self._with_charges(items, frames[Scope.TRANSACTION], headers)
        problems += self._id_problems(raw, headers, items)
        for check in self.plan.checks:
            problems.append(check.problems(lines if check.items_only else frames[check.scope]))
        return MappedTransactions(
            _with_item_totals(headers, items),
            items,
            pl.concat([raw.problems, *problems, not_allocated]),
            raw.headless,
        )

    def looked_up(self, raw: RawTransactions) -> pl.DataFrame:
        """What each transaction looks up: TX, `table` and `key`, the cells of a key joined by `SEPARATOR`."""
        frames = self._frames(raw, [])
        return pl.concat(
            frames[scope].select(TX, pl.lit(table).alias("table"), pl.col(column).alias("key"))
            for table, scope, column in self.plan.lookups
        )

    def _frames(self, raw: RawTransactions, problems: list[pl.DataFrame]) -> Frames:
        scopes = {Scope.TRANSACTION: raw.headers, Scope.LINE: raw.lines, Scope.PAYMENT: raw.payments}
        nulls = self.spec.source.nulls
        frames: Frames = {scope: self.plan.start(scope, rows, nulls) for scope, rows in scopes.items()}
        for operation in self.plan.operations:
            operation.run(frames, problems)
        return frames

    def _id_problems(
        self, raw: RawTransactions, headers: pl.DataFrame, items: pl.DataFrame
    ) -> Iterator[pl.DataFrame]:
        # Where a transaction has no row of its own, its cells are looked at on its lines.
        own_rows = [] if self.spec.source.headers_on_lines else [raw.headers]
        key = key_cells(self.spec, self.spec.source.all_keys)
        ids = {*key, *own_id_columns(self.spec)}
        for rows in (*own_rows, raw.lines, raw.payments):
            yield invisible_characters(rows, self.plan.ids)
            yield rounded_cells(rows, key)
            yield rounded_floats(rows, ids)
        yield rounded_ids(headers, ("external_id", "profile_id"))
        yield rounded_ids(items, ("external_id",))
        yield item_conflicts(items)

    def _with_charges(
        self, items: pl.DataFrame, transactions: pl.DataFrame, headers: pl.DataFrame
    ) -> pl.DataFrame:
        """Put an item for each charge behind the other items of its transaction."""
        found = [items]
        for charge, amount in self.charges:
            price = amount.abs().cast(MONEY)
            fields = {
                "external_id": pl.format("{}-{}", headers["external_id"], pl.lit(charge.id_end)),
                "name": pl.lit(charge.name),
                "quantity": amount.sign().cast(pl.Int64),
                "price_current": price,
                "price_sell": price,
            }
            own = {key: value for key, value in fields.items() if key in items.columns}
            found.append(transactions.select(*_ROW, **own).filter(pl.col("quantity") != 0))
        return pl.concat(found, how="diagonal").sort(TX, maintain_order=True)

    def _with_lines_set_apart(self, headers: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
        """Add `lines_set_apart` and `set_apart_total`, for messages."""
        # These cells are only shown in messages, so problems in them are not collected.
        lines = _fields(lines, {name: self.items[name] for name in _SHOWN if name in self.items}, [])
        lines = lines.with_columns(
            pl.lit(None, kind).alias(name) for name, kind in _SHOWN.items() if name not in lines.columns
        )
        worth = (pl.col("quantity") * pl.col("price_sell")).cast(SUM)
        name = pl.col("name").str.slice(0, _NAME_LENGTH)
        shown = pl.format(
            "{} (line {}): {}", name.fill_null("no name"), LINE, decimal_text(worth).fill_null("?")
        )
        found = lines.group_by(TX, maintain_order=True).agg(
            shown.head(_SHOWN_LINES).str.join("; ").alias("lines_set_apart"),
            worth.sum().alias("set_apart_total"),
        )
        return join_by_transaction(headers, found)

    def _with_allocations(
        self, items: pl.DataFrame, frames: Frames, headers: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Allocate discount lines and the reward to the items; report what no item can take."""
        parts = []
        if self.discounts is not None:
            columns, is_discount = self.discounts
            parts.append(frames[Scope.LINE].filter(is_discount).select(TX, **columns))
        if self.rewards is not None:
            parts.append(frames[Scope.TRANSACTION].select(TX, **self.rewards))
        if not parts:
            return items, NO_PROBLEMS
        amounts = pl.concat(parts).drop_nulls("amount")
        currency = headers["currency"].gather(amounts[TX]) if "currency" in headers.columns else BLANK_TEXT
        amounts = amounts.with_columns(currency.alias("currency"))
        amounts = amounts.with_columns(smallest_amount(pl.col("currency")).alias("smallest"))
        shares, left = allocate(items, amounts)
        own = json_text.inner(pl.col("discounts")) if "discounts" in items.columns else BLANK_TEXT
        items = items.with_columns(shares["price_sell"], shares["entries"])
        items = items.with_columns(json_text.entries([own, pl.col("entries")]).alias("discounts"))
        rows = left.join(frames[Scope.TRANSACTION].select(_ROW), on=TX, maintain_order="left")
        message = "There is no item with a price over which this could be spread."
        amount = decimal_text(pl.col("amount"))
        problems = problems_at(rows, "field_invalid", message, field="reward", value=amount)
        return items.drop("entries"), problems


def _fields(rows: pl.DataFrame, columns: FieldColumns, problems: list[pl.DataFrame]) -> pl.DataFrame:
    # A field may have the name of a source column that another field still needs, hence the prefix.
    prefixed = {f"={name}": expression for name, expression in columns.items()}
    fields = with_columns(rows, prefixed, problems).select_seq(*_ROW, *prefixed)
    return fields.rename({f"={name}": name for name in columns})


def _with_item_totals(headers: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Add `items_total`, to which void lines count 0, and `items_count`."""
    amount = pl.lit(None, dtype=MONEY)
    if {"quantity", "price_sell"} <= {*items.columns}:
        amount = pl.col("quantity") * pl.col("price_sell")
        if "is_void" in items.columns:
            is_void = pl.col("is_void").fill_null(value=False)
            amount = pl.when(is_void).then(pl.lit(0, MONEY)).otherwise(amount)
    # Items are in the order of TX. Polars groups faster where a column is marked as sorted.
    amounts = items.select(TX, amount.alias("amount")).with_columns(pl.col(TX).set_sorted())
    found = amounts.group_by(TX, maintain_order=True).agg(
        pl.when(pl.col("amount").null_count() == 0)
        .then(pl.col("amount").sum())
        .cast(SUM)
        .alias("items_total"),
        pl.len().cast(pl.UInt32).alias("items_count"),
    )
    return join_by_transaction(headers, found).with_columns(pl.col("items_count").fill_null(0))
